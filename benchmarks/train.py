"""How fast is a grid trained? Against a plain eager trainer of the same sizes, in one run.

    python benchmarks/train.py [--share 0.25] [--rounds 7]

Both sides train the same shapes on the same tokens a step, in turn, and what is compared is the
training FLOPs (scalefit.flops) that each gets done in a second. Only ratios mean something.

The plain side is written as nanoGPT is: modules, LayerNorm, AdamW, clipped gradients, a cosine, one
model after the other on all cores, a separate run for each token count, evaluated at its end. It is
timed without its start, and with one seed, since each takes the same time. Our side is all of
``scalefit train-grid``: processes that start, three evaluations a token count, files. Other work on
the machine slows the plain side most, whose threads wait for each other: leave it alone meanwhile.

Tokens, held-out tokens and warm-up are the grid's times `--share`: a copy short enough to repeat.
What branches save by sharing a trunk is not in the ratios: it has a line of its own.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from scalefit.flops import TransformerShape
from trainers.grid import Grid, load
from trainers.launch.local import Local, available_workers
from trainers.launch.tasks import Claimed, Message, Task, Trained
from trainers.recipe import Run
from trainers.sources.base import source
from trainers.train import Progress, train

NARROW = (8, 16, 24, 32)
"""Widths of the narrow text grid; all of markov is as narrow."""
CLIP, EVALUATED = 1.0, 128
"""Norm of the gradient, and sequences evaluated at once, of the plain side."""
PEAK, FLOOR = 1e-3, 1e-4
"""Its learning rates; they do not change its speed."""
MEASURES = {
    "FLOPs a second, ours / plain": "",
    "the same from our first progress on": "-",
    "our start-up, in seconds": "-",
    "our wall time / tasks packed without a gap": "1.15",
    "that packing from our first progress on": "-",
}
"""Of each round, with what is asked of it; nothing where that depends on the grid."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=7)
    asked, cores = parser.parse_args(), available_workers()
    print(f"{cores} cores, {asked.share} of each grid, {asked.rounds} alternated rounds\n")
    print("| task | ratio, median [lowest, highest] | asked |\n|---|---|---|")
    for row in rows(asked.share, asked.rounds, cores):
        print(row, flush=True)


def rows(share: float, rounds: int, workers: int) -> Iterator[str]:
    """The lines of the table."""
    text, markov = shipped("text"), shipped("markov")
    for name, grids, asked in (
        (f"`text`, widths {text.widths[0]} to {text.widths[-1]}", (text,), "2"),
        ("`text` and `markov`, widths up to 32", (replace(text, widths=NARROW), markov), "3"),
    ):
        parts = [shorter(grid, share) for grid in grids]
        found = [one_round(parts, workers) for _ in range(rounds)]
        for measure, ratios in zip(MEASURES, zip(*found, strict=True), strict=True):
            yield line(f"{name}: {measure}", ratios, MEASURES[measure] or asked)
    for grid in (text, markov):
        yield line(f"`{grid.name}`, FLOPs saved by branches", [saved(grid)])


def shipped(name: str) -> Grid:
    """A grid that ships, which is one and not several."""
    grid = load(name)
    assert isinstance(grid, Grid)
    return grid


def shorter(grid: Grid, share: float) -> Grid:
    """The same grid with so much of its tokens, its evaluations and its warm-up."""
    step = grid.batch * (grid.context or 1)
    return replace(
        grid,
        tokens=tuple(max(step, round(share * count / step) * step) for count in grid.tokens),
        held_out=round(share * grid.held_out),
        warmup=max(1, round(share * grid.warmup)),
    )


def saved(grid: Grid) -> float:
    """FLOPs of a run for each token count, over those of a trunk with branches."""
    runs = grid.runs()
    return sum(sum(run.ends) for run in runs) / sum(run.steps for run in runs)


def line(task: str, ratios: Sequence[float], asked: str = "-") -> str:
    """A row of the table; of one number there is no range."""
    shown = f"{statistics.median(ratios):.2f}"
    if len(ratios) > 1:
        shown += f" [{min(ratios):.2f}, {max(ratios):.2f}]"
    return f"| {task} | {shown} | {asked} |"


def one_round(grids: Sequence[Grid], workers: int) -> tuple[float, ...]:
    """Train every grid on both sides in turn; returns a number for each of `MEASURES`.

    Of several grids, each side's seconds for all FLOPs are added up.
    """
    ours, theirs = list[Ours](), 0.0
    for grid in grids:
        ours.append(batched(grid, workers))
        theirs += ours[-1].flops / plain_rate(grid, workers)
    whole = sum(run.seconds for run in ours)
    started = sum(run.started for run in ours)
    start, ideal = sum(run.start for run in ours), sum(run.ideal for run in ours)
    return theirs / whole, theirs / started, start, whole / ideal, (whole - start) / ideal


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Stands in for the launcher, and notes when each task was first heard of and finished."""

    workers: int
    first: dict[int, float] = field(default_factory=dict)
    finished: list[tuple[int, float]] = field(default_factory=list)

    def __call__(
        self, todo: Sequence[Task], *, claims: Claimed, results: Path
    ) -> Generator[tuple[Task, Message]]:
        """Local processes as ever; when each message came is noted."""
        places = {task.runs[0].id: place for place, task in enumerate(todo)}
        local = Local(workers=self.workers)
        with closing(local(todo, claims=claims, results=results)) as messages:
            for task, message in messages:
                now, place = time.perf_counter(), places[task.runs[0].id]
                self.first.setdefault(place, now)
                if not isinstance(message, Trained):
                    self.finished.append((place, now))
                yield task, message

    def ideal(self) -> float:
        """Seconds of all tasks, shared by the workers without a gap; not below the longest task.

        The first tasks, whose workers have to start, count from their first message. Every other
        begins when one before it ends: tasks are handed out in order.
        """
        ends = [now for _, now in self.finished]
        spans = [
            now - (self.first[place] if place < self.workers else ends[place - self.workers])
            for place, now in self.finished
        ]
        return max(*spans, sum(spans) / self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Seconds of a whole call and those before its first progress; FLOPs, and those by then."""

    seconds: float
    start: float
    flops: float
    first_flops: float
    ideal: float

    @property
    def started(self) -> float:
        """Seconds for all FLOPs at the rate from the first progress to the end of the call."""
        return (self.seconds - self.start) * self.flops / (self.flops - self.first_flops)


def batched(grid: Grid, workers: int) -> Ours:
    """Our side, as ``scalefit train-grid`` has it; what a process loads once is loaded anew."""
    source.cache_clear()
    heard, clock = list[tuple[float, float]](), Clock(workers=workers)

    def hear(progress: Progress) -> None:
        heard.append((time.perf_counter(), progress.flops[0]))

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = train(grid, Path(folder) / "runs.parquet", launcher=clock, report=hear)
        seconds = time.perf_counter() - began
    if done.failed:
        raise SystemExit("; ".join(done.failures))
    return Ours(
        seconds=seconds,
        start=heard[0][0] - began,
        flops=done.flops,
        first_flops=heard[0][1],
        ideal=clock.ideal(),
    )


class Block(nn.Module):
    """Attention and a GELU MLP, each after a LayerNorm and added to what came in."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(sequences, context, width), of the same shape."""
        sequences, context, width = x.shape
        parts = self.qkv(self.before_attention(x)).split(width, dim=-1)
        q, k, v = (
            one.view(sequences, context, self.heads, width // self.heads).transpose(1, 2)
            for one in parts
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(mixed.transpose(1, 2).reshape(sequences, context, width))
        mlp: Tensor = self.down(F.gelu(self.up(self.before_mlp(x))))
        return x + mlp


class Plain(nn.Module):
    """A decoder-only transformer with learned positions."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.symbols = nn.Embedding(shape.vocab, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.depth)))
        self.last = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of the next tokens; both are (sequences, context)."""
        x = self.symbols(inputs) + self.positions(torch.arange(inputs.shape[1]))
        logits = self.head(self.last(self.blocks(x)))
        loss: Tensor = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss


def plain_rate(grid: Grid, threads: int) -> float:
    """FLOPs a second of the plain side: every width and token count, with the first seed."""
    torch.set_num_threads(threads)
    seconds, flops = 0.0, 0.0
    for run in replace(grid, seeds=grid.seeds[:1]).runs():
        tokens = run.open().rows(run.seed, max(run.ends) * run.batch)[:, :-1].ravel()
        held_out = run.open().held_out(run.held_out // run.shape.context).rows
        for steps in run.ends:
            began = time.perf_counter()
            plain(run, steps, tokens, torch.from_numpy(held_out).long())
            seconds += time.perf_counter() - began
            flops += steps * run.batch_tokens * run.shape.training_flops_per_token()
    return flops / seconds


def plain(run: Run, steps: int, tokens: np.ndarray, held_out: Tensor) -> float:
    """Train one model for so many steps; returns its held-out loss in nats a token."""
    assert isinstance(run.shape, TransformerShape)
    torch.manual_seed(run.seed)
    model = Plain(run.shape)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.95), weight_decay=0.1)
    batch = sampler(tokens, run.batch, run.shape.context)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = FLOOR + (PEAK - FLOOR) * 0.5 * (1 + np.cos(np.pi * step / steps))
        loss = model(*batch())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
    with torch.no_grad():
        parts = [model(rows[:, :-1], rows[:, 1:]) for rows in torch.split(held_out, EVALUATED)]
    return float(torch.stack(parts).mean())


def sampler(tokens: np.ndarray, count: int, context: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Draws random windows (count, context) and their next tokens, faster than the usual loop."""
    stream, window = torch.from_numpy(tokens), torch.arange(context + 1)

    def draw() -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(stream) - context, (count, 1))
        rows = stream[starts + window].long()
        return rows[:, :-1], rows[:, 1:]

    return draw


if __name__ == "__main__":
    main()
