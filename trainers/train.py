"""A grid is trained: what is done is skipped, the rest is handed out, and nothing is lost."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from scalefit.errors import GridError
from scalefit.runs import finished, is_finished
from trainers import checkpoint
from trainers.claims import Claims
from trainers.estimate import affordable
from trainers.grid import Grid, Grids
from trainers.launch.local import Local, worker_count
from trainers.launch.parts import write_reason, write_rows
from trainers.launch.tasks import (
    Elsewhere,
    Failed,
    Finished,
    Launcher,
    Message,
    Task,
    Trained,
    tasks,
)
from trainers.launch.work import code
from trainers.recipe import Row, Run

FORETELLS = 0.02
"""Share of the work after which the time left can be told: before, most of it was starting up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where training stands: (done, in all) of this call; `remaining` seconds may be unknown.

    `losses` are those measured last, in nats a token, one a seed; None where one diverged.
    """

    runs: tuple[int, int]
    flops: tuple[float, float]
    elapsed: float
    remaining: float | None
    losses: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a call did: runs trained (diverged ones among them), skipped as done, and failed.

    `left` are those that a budget did not reach, `elsewhere` those that another process trains.
    """

    trained: int
    skipped: int
    left: int
    diverged: int
    failed: int
    elsewhere: int
    failures: tuple[str, ...]
    seconds: float
    flops: float


def train(
    grid: Grid | Grids,
    results: Path,
    *,
    launcher: Launcher | None = None,
    workers: int | None = None,
    device: str = "cpu",
    report: Callable[[Progress], None],
    max_flops: float | None = None,
    max_hours: float | None = None,
) -> Summary:
    """Train what `results` does not hold yet, and write a part there for every run that ends.

    The launcher executes it (None: `workers` local processes of one thread each; None of them: one
    a core, or one where the device is not the CPU). Of a budget, `max_flops` or `max_hours`, the
    cheapest runs are trained that fit into it by estimate. What another process trains in the same
    folder is left to it. Ctrl-C and SIGTERM save what is half trained, stop, and raise
    KeyboardInterrupt. Raises GridError if `results` cannot be written.
    """
    start = launcher or Local(workers=worker_count(workers, device), device=device)
    runs, count = grid.runs(), start.workers
    _make_folder(results)
    missing = _missing(runs, results)
    left = affordable(missing, count, max_flops=max_flops, max_hours=max_hours)
    todo = tasks(left, count, _kept(results))
    ledger = _Ledger(todo=todo, results=results, claims=Claims(results), code=code(), report=report)
    try:
        with (
            _terminable(),
            closing(start(todo, claims=ledger.claims, results=results)) as messages,
        ):
            for task, message in messages:
                ledger.note(task, message)
    finally:
        ledger.claims.release_all()
    return ledger.summary(skipped=len(runs) - len(missing), left=len(missing) - len(left))


def left_of(
    grid: Grid | Grids,
    results: Path,
    workers: int,
    *,
    max_flops: float | None = None,
    max_hours: float | None = None,
) -> list[Run]:
    """The runs that ``train`` would train now."""
    missing = _missing(grid.runs(), results)
    return affordable(missing, workers, max_flops=max_flops, max_hours=max_hours)


def _missing(runs: Sequence[Run], results: Path) -> list[Run]:
    done = finished(results)
    return [run for run in runs if run.id not in done]


def _kept(results: Path) -> list[tuple[str, ...]]:
    """The runs of every checkpoint; one whose runs are done by now is removed."""
    found = checkpoint.kept(results)
    stale = [runs for runs in found if any(is_finished(results, run) for run in runs)]
    for runs in stale:
        checkpoint.remove(results, runs)
    return [runs for runs in found if runs not in stale]


@dataclass(slots=True, kw_only=True)
class _Ledger:
    """Counts what the workers tell, and writes what they finished."""

    todo: Sequence[Task]
    results: Path
    claims: Claims
    code: str
    report: Callable[[Progress], None]
    began: float = field(default_factory=time.monotonic)
    trained: int = 0
    diverged: int = 0
    failed: int = 0
    elsewhere: int = 0
    failures: list[str] = field(default_factory=list)
    flops: float = 0.0
    work: float = 0.0
    losses: tuple[float | None, ...] = ()

    def note(self, task: Task, message: Message) -> None:
        match message:
            case Trained(flops=flops, losses=losses):
                self.flops += flops
                self.work += task.seconds * flops / task.flops
                self.losses = losses or self.losses
            case Finished(rows=rows):
                for run, run_rows in zip(task.runs, rows, strict=True):
                    self._write(run, run_rows)
                checkpoint.remove(self.results, [run.id for run in task.runs])
                self.claims.release(task.runs)
            case Failed(reason=reason):
                self.failed += len(task.runs)
                self.failures.append(f"{_named(task)}: {reason}")
                for run in task.runs:
                    write_reason(self.results, run, reason, self.code)
                self.claims.release(task.runs)  # its checkpoint stays: the next try goes on from it
            case Elsewhere():
                self.elsewhere += len(task.runs)
        self.report(self._progress())

    def _write(self, run: Run, rows: list[Row]) -> None:
        try:
            write_rows(self.results, run, rows, self.code)
        except OSError as error:
            raise GridError(
                f"{self.results} cannot be written ({error.strerror}); {self.trained} runs of this "
                "call are kept there: mend it, and the same command goes on"
            ) from error
        self.trained += 1
        self.diverged += any(row["status"] == "diverged" for row in rows)

    def _progress(self) -> Progress:
        elapsed = time.monotonic() - self.began
        whole = sum(task.seconds for task in self.todo)
        told = self.work > FORETELLS * whole
        done = self.trained + self.failed + self.elsewhere
        return Progress(
            runs=(done, sum(len(task.runs) for task in self.todo)),
            flops=(self.flops, sum(task.flops for task in self.todo)),
            elapsed=elapsed,
            remaining=elapsed * max(0.0, whole / self.work - 1) if told else None,
            losses=self.losses,
        )

    def summary(self, *, skipped: int, left: int) -> Summary:
        return Summary(
            trained=self.trained,
            skipped=skipped,
            left=left,
            diverged=self.diverged,
            failed=self.failed,
            elsewhere=self.elsewhere,
            failures=tuple(self.failures),
            seconds=time.monotonic() - self.began,
            flops=self.flops,
        )


def _named(task: Task) -> str:
    seeds = ", ".join(str(run.seed) for run in task.runs)
    return f"width {task.runs[0].shape.width}, seed {seeds}"


def _make_folder(results: Path) -> None:
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GridError(
            f"{results} cannot be made a folder of results ({error.strerror}); name another place"
        ) from error


@contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt too, so that both take the same way out."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
