"""Trains a trunk and its cooldown branches, several seeds at once, into rows of the runs table."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from numpy.typing import NDArray
from torch import Tensor

from trainers.recipe import Row, Run
from trainers.source import source
from trainers.transformer import Transformer

BETAS = (0.9, 0.95)
CHUNK = 64
"""Steps whose batches are prepared at once, and after which progress is told."""
EVALUATION_TOKENS = 4096
"""Tokens of each replica that are evaluated at once."""

Report = Callable[[float, Sequence[float | None]], None]
"""Told the FLOPs trained since it was last told, and the replicas' losses if just measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Held-out loss of one replica in nats a token; both are None where training diverged."""

    mean: float | None
    stderr: float | None


def train(runs: Sequence[Run], *, device: str, report: Report) -> list[list[Row]]:
    """Train runs that differ only in their seed, together; returns the rows of each.

    Per run: one "cooldown" row for each token count, and one "raw" row of the trunk where that
    branch left it.
    """
    trainer = Trainer(runs, device=device, report=report)
    rows: list[list[Row]] = [[] for _ in runs]
    for checkpoint in trainer.checkpoints():
        for replica, row in enumerate(checkpoint):
            rows[replica].append(row)
    return rows


class Trainer:
    """The replicas of one shape, with their optimiser, their tokens and the held-out set."""

    def __init__(self, runs: Sequence[Run], *, device: str, report: Report) -> None:
        self.runs, self.run, self.device, self.report = runs, runs[0], device, report
        tokens = source(str(self.run.source["name"]), self.run.shape.context)
        self.entropy = tokens.entropy
        self.model = Transformer(self.run.shape, [run.seed for run in runs]).to(device)
        self.optimiser = _optimiser(self.model, self.run)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]
        count = max(self.run.ends) * self.run.batch
        sequences = np.stack([tokens.sequences(run.seed, count) for run in runs])
        self.sequences = torch.from_numpy(sequences).to(device)
        held_out = tokens.held_out(self.run.held_out // tokens.context)
        self.held_out = torch.from_numpy(held_out.sequences).to(device)
        self.surprisal = held_out.surprisal
        self.seconds = 0.0

    def checkpoints(self) -> Iterator[list[Row]]:
        """Train everything, and yield the replicas' rows at each checkpoint."""
        plan, reached, trunk_seconds = self.run.schedule, 0, 0.0
        for end in self.run.ends:
            point = plan.branch_point(end)
            trunk_seconds += self._steps(reached, plan.trunk_factors(reached, point))
            reached = point
            yield self._rows(point, "raw", trunk_seconds)
            trunk = copy.deepcopy((self.model.state_dict(), self.optimiser.state_dict()))
            branch_seconds = self._steps(point, plan.cooldown_factors(end))
            yield self._rows(end, "cooldown", trunk_seconds + branch_seconds)
            self.model.load_state_dict(trunk[0])
            self.optimiser.load_state_dict(trunk[1])

    def _steps(self, start: int, factors: NDArray[np.float64]) -> float:
        """Train from step `start`, one step for each factor; returns the seconds that took."""
        begin = time.perf_counter()
        for first in range(0, len(factors), CHUNK):
            chunk = factors[first : first + CHUNK]
            for batch, factor in zip(self._batches(start + first, len(chunk)), chunk, strict=True):
                self._step(batch, float(factor))
            steps = len(chunk) * len(self.runs)
            self.report(
                steps * self.run.batch_tokens * self.run.shape.training_flops_per_token(), ()
            )
        return time.perf_counter() - begin

    def _batches(self, start: int, steps: int) -> tuple[Tensor, ...]:
        """The batches (replicas, batch, context + 1) of `steps` steps."""
        size = self.run.batch
        chunk = self.sequences[:, start * size : (start + steps) * size]
        return chunk.long().view(len(self.runs), steps, size, -1).unbind(1)

    def _step(self, batch: Tensor, factor: float) -> None:
        logits = self.model(batch[..., :-1])
        # the sum over replicas of their mean losses: each replica's gradient is then its own
        total = F.cross_entropy(logits.flatten(0, 1), batch[..., 1:].flatten(), reduction="sum")
        torch.autograd.backward(total / self.run.batch_tokens)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimiser.step()
        self.optimiser.zero_grad()

    def _rows(self, step: int, averaging: str, seconds: float) -> list[Row]:
        losses = self.evaluate()
        self.report(0.0, [loss.mean for loss in losses])
        share = seconds / len(self.runs)
        return [
            self._row(run, loss, step, averaging) | {"wall_seconds": share}
            for run, loss in zip(self.runs, losses, strict=True)
        ]

    def _row(self, run: Run, loss: Loss, step: int, averaging: str) -> Row:
        tokens = step * run.batch_tokens
        return run.columns() | {
            "run_id": run.id,
            "step": step,
            "tokens": tokens,
            "unique_tokens": tokens,  # one pass: no token is seen twice
            "flops": tokens * run.shape.training_flops_per_token(),
            "loss": loss.mean,
            "loss_unit": "nats/token",
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
        means = self._sequence_losses()
        if self.surprisal is not None and self.entropy is not None:
            means = means - self.surprisal + self.entropy
        return [_loss(replica) for replica in means]

    @torch.inference_mode()
    def _sequence_losses(self) -> NDArray[np.float64]:
        """Mean loss (replicas, sequences) of each held-out sequence."""
        parts, replicas = [], len(self.runs)
        size = max(1, EVALUATION_TOKENS // self.run.shape.context)
        for held_out in torch.split(self.held_out, size):
            batch = held_out.long().expand(replicas, -1, -1)
            logits = self.model(batch[..., :-1])
            losses = F.cross_entropy(
                logits.flatten(0, 1), batch[..., 1:].flatten(), reduction="none"
            )
            parts.append(losses.view(replicas, len(held_out), -1).double().mean(-1))
        return torch.cat(parts, dim=1).cpu().numpy()


def _optimiser(model: Transformer, run: Run) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) without decay, two learning rates."""
    matrices = [weight for name, weight in model.named_parameters() if name != "embedding"]
    groups = [
        {"params": [model.embedding], "lr": run.embedding_rate},
        {"params": matrices, "lr": run.matrix_rate},
    ]
    return torch.optim.AdamW(groups, betas=BETAS, weight_decay=0.0, fused=True)


def _loss(means: NDArray[np.float64]) -> Loss:
    """The mean over sequences and its standard error."""
    mean = float(means.mean())
    if not math.isfinite(mean):
        return Loss(mean=None, stderr=None)
    return Loss(mean=mean, stderr=float(means.std(ddof=1) / math.sqrt(len(means))))
