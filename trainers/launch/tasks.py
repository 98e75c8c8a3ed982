"""What is handed to whoever executes it, and what comes back."""

from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainers.recipe import Row, Run

STEP_SECONDS = 1.3e-3
FLOPS_PER_SECOND = 5e10
"""A step on one Zen 4 core: its fixed cost, and the rate of its arithmetic."""
TOGETHER = 32
"""Replicas of one model at most: what more of them save is little, and all wait for the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Runs of one group (``Run.group``), which train as one batched model."""

    runs: tuple[Run, ...]

    @property
    def flops(self) -> float:
        """Training FLOPs of all its runs."""
        return sum(run.flops for run in self.runs)

    @property
    def seconds(self) -> float:
        """Expected time on one core: good for order and shares, not as a promise."""
        return self.runs[0].steps * STEP_SECONDS + self.flops / FLOPS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A worker went on by `flops`, and measured `losses` (None where a replica diverged)."""

    flops: float
    losses: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task is done: the rows of each of its runs."""

    rows: list[list[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A task could not be done, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A task is somebody else's: another process trains its runs now, or has just done so."""


Message = Trained | Finished | Failed | Elsewhere


class Claimed(Protocol):
    """Who may train a run (``trainers.claims.Claims``)."""

    def take(self, runs: Sequence[Run]) -> tuple[Run, ...]:
        """Those of the runs that are now this process's; the others are somebody else's."""


class Launcher(Protocol):
    """Executes tasks somewhere.

    Closing the generator stops what still trains, and returns when it has stopped.
    """

    @property
    def workers(self) -> int:
        """How many tasks it executes at once: groups are split by it."""

    def __call__(
        self, todo: Sequence[Task], *, claims: Claimed, results: Path
    ) -> Generator[tuple[Task, Message]]:
        """Execute the tasks in order, each once it is claimed; yield what is heard of them."""


def tasks(runs: Sequence[Run], workers: int, kept: Sequence[tuple[str, ...]] = ()) -> list[Task]:
    """Group runs that can train as one model, longest first.

    A group that would outlast all the others is split. Runs whose ids are `kept`, those of a
    checkpoint, stay together as they were.
    """
    missing = {run.id: run for run in runs}
    groups = [
        Task(runs=tuple(missing.pop(key) for key in together))
        for together in kept
        if missing.keys() >= set(together)
    ]
    alike = defaultdict[str, list[Run]](list)
    for run in missing.values():
        alike[run.group].append(run)
    todo = deque(
        Task(runs=tuple(group[first : first + TOGETHER]))
        for group in alike.values()
        for first in range(0, len(group), TOGETHER)
    )
    fair = sum(task.seconds for task in (*todo, *groups)) / workers
    while todo:
        task = todo.popleft()
        half = len(task.runs) // 2
        if half and task.seconds > fair:
            todo += (Task(runs=task.runs[:half]), Task(runs=task.runs[half:]))
        else:
            groups.append(task)
    return sorted(groups, key=lambda task: -task.seconds)


def claimed(task: Task, claims: Claimed) -> tuple[Task | None, Task | None]:
    """The part of a task that is now this process's, and the part that is somebody else's."""
    mine = claims.take(task.runs)
    others = tuple(run for run in task.runs if run not in mine)
    return Task(runs=mine) if mine else None, Task(runs=others) if others else None
