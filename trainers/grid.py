"""A grid file becomes runs; what is done is skipped, the rest is trained, and nothing is lost."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import Any, Self

import scalefit
from scalefit.errors import GridError
from scalefit.flops import MLP_RATIO, TransformerShape
from scalefit.runs import finished, write_failure, write_part
from trainers import grid_keys
from trainers.estimate import affordable
from trainers.launch import Failed, Finished, Task, Trained, available_workers, launch, tasks
from trainers.recipe import Row, Run
from trainers.schedule import Schedule
from trainers.source import source

FORETELLS = 0.02
"""Share of the work after which the time left can be told: before, most of it was starting up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a grid is: runs, their training FLOPs, and (smallest, largest) of both axes."""

    runs: int
    flops: float
    params: tuple[int, int]
    tokens: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every width with every seed, trained to every token count; the keys of a grid file."""

    name: str
    source: str
    context: int
    widths: tuple[int, ...]
    depth: int
    head_width: int
    tokens: tuple[int, ...]
    seeds: tuple[int, ...]
    batch: int
    learning_rate: float
    embedding_rate: float
    warmup: int
    cooldown: float
    held_out: int

    def runs(self) -> list[Run]:
        """All runs; GridError if the source has too few tokens, or the schedule too few steps."""
        tokens = source(self.source, self.context)
        self._check(tokens.available)
        config, seeds = tokens.config(), self.seeds
        shapes = [self._shape(width, tokens.vocab) for width in self.widths]
        return [self._run(config, shape, seed) for shape in shapes for seed in seeds]

    def describe(self) -> Size:
        """The size of the whole grid, done or not."""
        return _size(self.runs())

    def with_seeds(self, count: int) -> Self:
        """The same with so many seeds, from 0 on."""
        return replace(self, seeds=tuple(range(count)))

    def _run(self, config: Any, shape: TransformerShape, seed: int) -> Run:
        return Run(
            source=config,
            shape=shape,
            tokens=self.tokens,
            batch=self.batch,
            learning_rate=self.learning_rate,
            embedding_rate=self.embedding_rate,
            schedule=Schedule(warmup=self.warmup, cooldown=self.cooldown),
            held_out=self.held_out,
            seed=seed,
        )

    def _shape(self, width: int, vocab: int) -> TransformerShape:
        heads = max(1, width // self.head_width)
        if width % (2 * heads):
            raise GridError(
                f"{self.name}: width {width} does not divide into {heads} heads of an even width; "
                f"choose a multiple of {2 * heads}, or another head_width than {self.head_width}"
            )
        return TransformerShape(
            vocab=vocab,
            context=self.context,
            width=width,
            depth=self.depth,
            heads=heads,
            hidden=MLP_RATIO * width,
        )

    def _check(self, available: int | None) -> None:
        least, most, step = min(self.tokens), max(self.tokens), self.batch * self.context
        plan = Schedule(warmup=self.warmup, cooldown=self.cooldown)
        if least < step or plan.branch_point(least // step) < max(1, self.warmup):
            raise GridError(
                f"{self.name}: {least} tokens are {least // step} steps of {step} tokens, which "
                f"leaves no trunk after a warm-up of {self.warmup}; "
                "raise tokens, or lower batch or warmup"
            )
        if available is not None and most > available:
            raise GridError(
                f"{self.name}: {most} tokens would be {most / available:.1f} epochs of the source "
                f"{self.source}, and every token is to be seen once; ask for at most {available}"
            )
        if self.held_out < 2 * self.context:
            raise GridError(
                f"{self.name}: held_out must be two sequences or more, {2 * self.context} tokens"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grids:
    """The grids of a file with several, each under [[runs]]: a ladder of models, say."""

    name: str
    parts: tuple[Grid, ...]

    def runs(self) -> list[Run]:
        """The runs of all, each once."""
        return list({run.id: run for part in self.parts for run in part.runs()}.values())

    def describe(self) -> Size:
        """The size of all together."""
        return _size(self.runs())

    def with_seeds(self, count: int) -> Self:
        """The same with so many seeds each, from 0 on."""
        return replace(self, parts=tuple(part.with_seeds(count) for part in self.parts))


def _size(runs: Sequence[Run]) -> Size:
    params = [run.shape.params().total for run in runs]
    tokens = [end * run.batch_tokens for run in runs for end in run.ends]
    return Size(
        runs=len(runs),
        flops=sum(run.flops for run in runs),
        params=(min(params), max(params)),
        tokens=(min(tokens), max(tokens)),
    )


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

    `left` are those that a budget did not reach.
    """

    trained: int
    skipped: int
    left: int
    diverged: int
    failed: int
    failures: tuple[str, ...]
    seconds: float
    flops: float


def shipped() -> dict[str, str]:
    """The text of every grid that ships, by its name."""
    folder = resources.files("trainers").joinpath("grids")
    return {
        file.name.removesuffix(".toml"): file.read_text("utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    }


def text_of(name: str) -> str:
    """The file of a grid that ships; GridError names the nearest."""
    known = shipped()
    if name not in known:
        hint = grid_keys.nearest(name, known, "shipped grids")
        raise GridError(f'no grid that ships is called "{name}"; {hint}')
    return known[name]


def load(name_or_path: str | Path) -> Grid | Grids:
    """The grid, or grids, of a shipped name or of a TOML file.

    GridError says what is wrong, and where.
    """
    name, known = str(name_or_path), shipped()
    if name in known:
        text = known[name]
    else:
        try:
            text = Path(name_or_path).read_text("utf-8")
        except FileNotFoundError as error:
            hint = grid_keys.nearest(name, known, "shipped grids")
            raise GridError(f"there is no grid file {name}; {hint}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise GridError(f"the grid file {name} cannot be read: {error}") from error
    found: list[dict[str, Any]] = grid_keys.parse(text, name)
    parts = tuple(Grid(name=name, **values) for values in found)
    return parts[0] if len(parts) == 1 else Grids(name=name, parts=parts)


def train(
    grid: Grid | Grids,
    results: Path,
    *,
    workers: int | None,
    device: str = "cpu",
    report: Callable[[Progress], None],
    max_flops: float | None = None,
    max_hours: float | None = None,
) -> Summary:
    """Train what `results` does not hold yet, and write a part there for every run that ends.

    `workers` are processes of one thread each (None: one a core, or one where the device is not the
    CPU). Of a budget, `max_flops` or `max_hours`, the cheapest runs are trained that fit into it by
    estimate. Ctrl-C and SIGTERM stop at once and raise KeyboardInterrupt. Raises GridError if
    `results` cannot be written.
    """
    runs, count = grid.runs(), worker_count(workers, device)
    _make_folder(results)
    missing = _missing(runs, results)
    left = affordable(missing, count, max_flops=max_flops, max_hours=max_hours)
    todo = tasks(left, count)
    ledger = _Ledger(todo=todo, results=results, code=_code(), report=report)
    with _terminable(), closing(launch(todo, workers=count, device=device)) as messages:
        for task, message in messages:
            ledger.note(task, message)
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


def worker_count(workers: int | None, device: str) -> int:
    """As asked for; else one a core, or one where the device is not the CPU."""
    return workers or (available_workers() if device == "cpu" else 1)


@dataclass(slots=True, kw_only=True)
class _Ledger:
    """Counts what the workers tell, and writes what they finished."""

    todo: Sequence[Task]
    results: Path
    code: str
    report: Callable[[Progress], None]
    began: float = field(default_factory=time.monotonic)
    trained: int = 0
    diverged: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    flops: float = 0.0
    work: float = 0.0
    losses: tuple[float | None, ...] = ()

    def note(self, task: Task, message: Trained | Finished | Failed) -> None:
        match message:
            case Trained(flops=flops, losses=losses):
                self.flops += flops
                self.work += task.seconds * flops / task.flops
                self.losses = losses or self.losses
            case Finished(rows=rows):
                for run, run_rows in zip(task.runs, rows, strict=True):
                    self._write(run, run_rows)
            case Failed(reason=reason):
                self.failed += len(task.runs)
                seeds = ", ".join(str(run.seed) for run in task.runs)
                self.failures.append(f"width {task.runs[0].shape.width}, seed {seeds}: {reason}")
                for run in task.runs:
                    write_failure(self.results, run.id, run.columns() | {"code": self.code}, reason)
        self.report(self._progress())

    def _write(self, run: Run, rows: list[Row]) -> None:
        try:
            # another process with the same grid and folder may have been faster
            if not (self.results / f"{run.id}.parquet").exists():
                write_part(self.results, run.id, [row | {"code": self.code} for row in rows])
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
        return Progress(
            runs=(self.trained + self.failed, sum(len(task.runs) for task in self.todo)),
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
            failures=tuple(self.failures),
            seconds=time.monotonic() - self.began,
            flops=self.flops,
        )


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


def _code() -> str:
    """The version, and the commit where the code is a git checkout."""
    root = Path(scalefit.__file__).parents[1]
    version = f"scalefit {scalefit.__version__}"
    if not (root / ".git").exists():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return version  # no git here, or no commit yet
    return f"{version} ({answer.stdout.strip()})"
