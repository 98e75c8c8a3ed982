"""Trains a trunk and its branches, several replicas at once, into rows of the runs table."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scalefit.errors import GridError
from trainers import checkpoint
from trainers.average import EVERY, PowerAverage
from trainers.crowd import Crowd
from trainers.models.base import build
from trainers.optim import OPTIMISERS
from trainers.recipe import Row, Run
from trainers.schedule import Factors
from trainers.step import Step, precise, recorder

CHUNK = 64
CHUNK_FLOPS = 1e11
"""Steps whose batches are prepared at once, and after which progress is told: fewer of large
models, of which so many FLOPs take a core a second or two."""
EVALUATED = {"cpu": 1024}
"""Predictions of each replica that are evaluated at once: few, where a cache is to hold them."""
EVALUATED_ELSEWHERE = 65_536
EVERY_SECONDS = 60.0
"""Time between two checkpoints: what a power cut can cost."""

Report = Callable[[float, Sequence[float | None]], None]
"""Told the FLOPs trained since it was last told, and the replicas' losses if just measured."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """Training was told to stop, and did; what was done is in its checkpoint, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Held-out loss of one replica, in the source's unit; both are None where it diverged."""

    mean: float | None
    stderr: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where training stands: on the way to the branch of an end, or in that branch; and when.

    `seconds` are those of the trunk, and of the branch so far.
    """

    end: int = 0
    branch: bool = False
    step: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Where a checkpoint goes, how often, and who says when to stop."""

    folder: Path | None = None
    every: float = EVERY_SECONDS
    told_to_stop: Callable[[], bool] = lambda: False


def train(
    runs: Sequence[Run],
    *,
    device: str,
    report: Report,
    keeper: Keeper | None = None,
    crowd: Crowd | None = None,
) -> list[list[Row]]:
    """Train runs of one group together (``Run.group``); returns the rows of each.

    Per run and token count: a "cooldown" row, and where its branch left the trunk a "raw" row and
    an "ema" row of the trunk. What a checkpoint of these runs holds is not trained again. Raises
    Stopped when the keeper says so, and GridError if the source is not what it was when the runs
    were planned.
    """
    trainer = Trainer(runs, device=device, report=report, keeper=keeper, crowd=crowd)
    return trainer.train()


class Trainer:
    """The replicas of one shape, with their optimiser, their tokens and the held-out set."""

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        device: str,
        report: Report,
        keeper: Keeper | None = None,
        crowd: Crowd | None = None,
    ) -> None:
        self.runs, self.run, self.device, self.report = runs, runs[0], device, report
        self.keeper, self.crowd = keeper or Keeper(), crowd or Crowd()
        self.source = self.run.open()
        self.entropy = self.source.entropy  # once: a chain solves for it
        if dict(self.source.config()) != dict(self.run.source):
            raise GridError(
                f"the source {self.run.origin} has changed since its runs were planned; "
                "start the command again"
            )
        self.model = build(self.run.shape, [run.seed for run in runs])
        module = self.model
        assert isinstance(module, nn.Module)
        module.to(device)
        groups = self.model.groups()
        rates = {kind: [run.rates[kind] for run in runs] for kind in groups}
        self.optimiser = OPTIMISERS[self.model.OPTIMISER](groups, rates)
        self.average = PowerAverage([weight.data for weight in self.optimiser.params])
        self.step = Step(
            self.model,
            self.optimiser,
            precision=self.run.precision,
            crowd=self.crowd,
            record=recorder(device, self.crowd),
        )
        count = max(self.run.ends) * self.run.batch
        self.data = torch.from_numpy(
            np.stack([self.source.rows(run.seed, count) for run in runs])
        ).to(device)
        held_out = self.source.held_out(self.run.held_out // self.run.shape.context)
        self.held_out = torch.from_numpy(held_out.rows).to(device)
        self.surprisal = held_out.surprisal
        self.place, self.rows = Place(), [list[Row]() for _ in runs]
        self.trunk: list[Tensor] | None = None
        self.saved = time.monotonic()

    def train(self) -> list[list[Row]]:
        """Train everything that a checkpoint does not hold; returns the rows of each replica."""
        self._resume()
        plan, ends = self.run.schedule, self.run.ends
        for index in range(self.place.end, len(ends)):
            end, point = ends[index], plan.branch_point(ends[index])
            if not self.place.branch:
                self._advance(plan.trunk_factors(self.place.step, point))
                self._measure_trunk()
                self.trunk = [tensor.clone() for tensor in self._state()]
                self.place = Place(end=index, branch=True, step=point, seconds=self.place.seconds)
            self._advance(plan.branch_factors(end)[self.place.step - point :])
            self._measure("cooldown", sum(self.place.seconds))
            assert self.trunk is not None
            self._restore(self.trunk)
            self.trunk = None
            self.place = Place(end=index + 1, step=point, seconds=(self.place.seconds[0], 0.0))
        return self.rows

    def _measure_trunk(self) -> None:
        """Rows of the weights where a branch leaves the trunk, and of their average so far."""
        if self.place.step:
            self._measure("raw", self.place.seconds[0])
        if self.place.step >= EVERY:
            self.average.swap()
            self._measure("ema", self.place.seconds[0])
            self.average.swap()

    def _advance(self, factors: Factors) -> None:
        """Train from where it stands, one step for each factor."""
        per_step = self.run.batch_tokens * self.run.shape.training_flops_per_token()
        per_step *= len(self.runs)
        if self._lost():
            self._note(len(factors), 0.0)
            self.report(len(factors) * per_step, ())
            return
        size = max(1, min(CHUNK, int(CHUNK_FLOPS / per_step)))
        for first in range(0, len(factors), size):
            chunk, begin = factors[first : first + size], time.perf_counter()
            batches = self._batches(self.place.step, len(chunk))
            done = 0
            for batch, factor in zip(batches, chunk, strict=True):
                self.step(batch, float(factor))
                done += 1
                if not self.place.branch:
                    self.average.look(self.place.step + done)
                if self.crowd.size == 1 and self.keeper.told_to_stop():
                    break
            self._note(done, time.perf_counter() - begin)
            self.report(done * per_step, ())
            self._keep()

    def _lost(self) -> bool:
        """Whether every replica diverged on the trunk: no step would bring a number back."""
        trunk = [[row for row in rows if row["averaging"] == "raw"] for rows in self.rows]
        return all(rows and rows[-1]["loss"] is None for rows in trunk)

    def _note(self, steps: int, seconds: float) -> None:
        trunk, branch = self.place.seconds
        passed = (trunk, branch + seconds) if self.place.branch else (trunk + seconds, branch)
        self.place = replace(self.place, step=self.place.step + steps, seconds=passed)

    def _batches(self, start: int, steps: int) -> tuple[Tensor, ...]:
        """The batches (replicas, batch, row) of `steps` steps."""
        size = self.run.batch
        chunk = whole_numbers(self.data[:, start * size : (start + steps) * size])
        return chunk.view(len(self.runs), steps, size, -1).unbind(1)

    def _measure(self, averaging: str, seconds: float) -> None:
        losses = self.evaluate()
        self.report(0.0, [loss.mean for loss in losses])
        for run, loss, rows in zip(self.runs, losses, self.rows, strict=True):
            row = self._row(run, loss, averaging)
            rows.append(row | {"wall_seconds": seconds / len(self.runs)})

    def _row(self, run: Run, loss: Loss, averaging: str) -> Row:
        tokens, there = self.place.step * run.batch_tokens, self.source.available
        return run.columns() | {
            "run_id": run.id,
            "step": self.place.step,
            "tokens": tokens,
            "unique_tokens": tokens if there is None else min(tokens, there),
            "flops": tokens * run.shape.training_flops_per_token(),
            "loss": loss.mean,
            "loss_unit": self.source.loss_unit,
            "loss_stderr": loss.stderr,
            "source_entropy": self.entropy,
            "averaging": averaging,
            "device": self.device,
            "status": "diverged" if loss.mean is None else "ok",
        }

    def evaluate(self) -> list[Loss]:
        """Held-out loss of every replica.

        Where the source's own loss on the held-out set is known, it serves as a control variate:
        the model's loss minus the truth's, plus the entropy. That has the same expectation, and as
        both losses rise and fall with the same rare tokens, a smaller error.
        """
        means = self._row_losses()
        if self.surprisal is not None and self.entropy is not None:
            means = means - self.surprisal + self.entropy
        return [_loss(replica) for replica in means]

    @torch.inference_mode()
    def _row_losses(self) -> NDArray[np.float64]:
        """Mean loss (replicas, rows) of each held-out row; each process does its share."""
        size = EVALUATED.get(self.device, EVALUATED_ELSEWHERE)
        found = torch.zeros(len(self.runs), len(self.held_out), device=self.device).double()
        rows = range(0, len(self.held_out), max(1, size // self.run.shape.context))
        for turn, first in enumerate(rows):
            if turn % self.crowd.size == self.crowd.rank:
                part = slice(first, first + rows.step)
                batch = whole_numbers(self.held_out[part]).expand(len(self.runs), -1, -1)
                with precise(found.device.type, self.run.precision):
                    found[:, part] = self.model.losses(batch).double().mean(-1)
        return self.crowd.sum(found).cpu().numpy()

    def _state(self) -> list[Tensor]:
        """Everything that a step reads or writes."""
        weights = [param.data for param in self.optimiser.params]
        return [*weights, *self.optimiser.state(), *self.average.mean]

    def _restore(self, state: Sequence[Tensor]) -> None:
        for now, then in zip(self._state(), state, strict=True):
            now.copy_(then)

    def _keep(self) -> None:
        """Write a checkpoint if it is time; leave if told to."""
        stop = self.crowd.any(self.keeper.told_to_stop(), self.device)
        due = time.monotonic() - self.saved > self.keeper.every
        if self.keeper.folder is not None and self.crowd.rank == 0 and (stop or due):
            state = [*self._state(), *(self.trunk or [])]
            said = {"place": asdict(self.place), "rows": self.rows}
            arrays = [tensor.cpu().numpy() for tensor in state]
            checkpoint.save(self.keeper.folder, [run.id for run in self.runs], arrays, said)
            self.saved = time.monotonic()
        if stop:
            raise Stopped

    def _resume(self) -> None:
        """Go to where the checkpoint of these runs stands, if there is one that fits."""
        found = None
        if self.keeper.folder is not None:
            found = checkpoint.load(self.keeper.folder, [run.id for run in self.runs])
        if found is None:
            return
        state = [torch.from_numpy(array).to(self.device) for array in found.arrays]
        count = len(self._state())
        self._restore(state[:count])
        self.trunk = state[count:] or None
        said: dict[str, Any] = found.said["place"]
        self.place = Place(**(said | {"seconds": tuple(said["seconds"])}))
        self.rows = [list(rows) for rows in found.said["rows"]]


def whole_numbers(rows: Tensor) -> Tensor:
    """Symbols as the integers that PyTorch looks up by; measured numbers as they are."""
    return rows if rows.is_floating_point() else rows.long()


def _loss(means: NDArray[np.float64]) -> Loss:
    """The mean over rows and its standard error."""
    mean = float(means.mean())
    if not math.isfinite(mean):
        return Loss(mean=None, stderr=None)
    return Loss(mean=mean, stderr=float(means.std(ddof=1) / math.sqrt(len(means))))
