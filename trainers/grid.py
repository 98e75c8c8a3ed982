"""A grid file becomes runs: every width, with every amount of data and every seed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

from scalefit.errors import GridError
from trainers import grid_keys
from trainers.models.base import FAMILIES, Layout, Shape
from trainers.recipe import Run
from trainers.schedule import Cosine, Schedule
from trainers.sources.base import Source, kind, source
from trainers.sources.limited import Limited


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a grid is: runs, their training FLOPs, and (smallest, largest) of both axes."""

    runs: int
    flops: float
    params: tuple[int, int]
    tokens: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Every width with every seed, trained to every token count; the keys of a grid file.

    What a family of models has no use for is as it stands here.
    """

    name: str
    source: str
    widths: tuple[int, ...]
    tokens: tuple[int, ...]
    seeds: tuple[int, ...]
    batch: int
    warmup: int
    held_out: int
    cooldown: float
    context: int = 1
    depth: int = 0
    head_width: int = 0
    learning_rate: float = 0.0
    embedding_rate: float = 0.0
    schedule: str = "wsd"
    precision: str = "float32"
    max_epochs: float = 1.0
    unique_tokens: tuple[int, ...] = ()

    def runs(self) -> list[Run]:
        """All runs; GridError if the source has too few tokens, or the schedule too few steps."""
        origin = source(self.source, self.context)
        self._check(origin.available)
        family = FAMILIES[self.family]
        layout = Layout(
            name=self.name, depth=self.depth, context=self.context, head_width=self.head_width
        )
        shapes = [family.shape(layout, width, origin) for width in self.widths]
        return [
            self._run(origin, shape, unique, seed)
            for shape in shapes
            for unique in self.unique_tokens or (None,)
            for seed in self.seeds
        ]

    def describe(self) -> Size:
        """The size of the whole grid, done or not."""
        return _size(self.runs())

    def with_seeds(self, count: int) -> Self:
        """The same with so many seeds, from 0 on."""
        return replace(self, seeds=tuple(range(count)))

    @property
    def swept(self) -> str:
        """The key of the rate that a sweep varies: that of the matrices, where there are any."""
        return "learning_rate" if self.learning_rate else "embedding_rate"

    @property
    def rate(self) -> float:
        """What it states for that key."""
        return self.learning_rate or self.embedding_rate

    def at_rate(self, rate: float) -> Self:
        """The same at another rate."""
        change: dict[str, Any] = {self.swept: rate}
        return replace(self, **change)

    def text(self) -> str:
        """The grid as a file."""
        said = {
            key.name: getattr(self, key.name)
            for key in fields(self)
            if key.name != "name" and getattr(self, key.name) != key.default
        }
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())

    @property
    def family(self) -> str:
        """The family of models that trains on the source."""
        found = kind(self.source)
        assert found is not None  # the keys of a grid file were checked
        return found.family

    @property
    def plan(self) -> Schedule | Cosine:
        """The schedule of its learning rates."""
        if self.schedule == "cosine":
            return Cosine(warmup=self.warmup)
        return Schedule(warmup=self.warmup, cooldown=self.cooldown)

    def _run(self, origin: Source, shape: Shape, unique: int | None, seed: int) -> Run:
        seen = origin if unique is None else Limited(source=origin, unique=unique)
        return Run(
            source=seen.config(),
            origin=self.source,
            shape=shape,
            tokens=self.tokens,
            unique_tokens=unique,
            batch=self.batch,
            learning_rate=self.learning_rate,
            embedding_rate=self.embedding_rate,
            schedule=self.plan,
            precision=self.precision,
            held_out=self.held_out,
            seed=seed,
        )

    def _check(self, available: int | None) -> None:
        least, step = min(self.tokens), self.batch * self.context
        if least < step or self._trunk(least // step) < max(1, self.warmup):
            raise GridError(
                f"{self.name}: {least} tokens are {least // step} steps of {step} tokens, which "
                f"leaves no trunk after a warm-up of {self.warmup}; "
                "raise tokens, or lower batch or warmup"
            )
        for unique in self.unique_tokens:
            if not step <= unique <= (available or unique):
                raise GridError(
                    f"{self.name}: unique_tokens {unique} must be a batch of {step} or more"
                    + (f", and {available} at most" if available is not None else "")
                )
        there = min(self.unique_tokens) if self.unique_tokens else available
        if there is not None:
            self._check_epochs(there)
        if self.held_out < 2 * self.context:
            raise GridError(
                f"{self.name}: held_out must be two examples or more, {2 * self.context} tokens"
            )

    def _trunk(self, steps: int) -> int:
        """Steps before the rate falls, warm-up among them."""
        plan = self.plan
        return steps - 1 if isinstance(plan, Cosine) else plan.branch_point(steps)

    def _check_epochs(self, there: int) -> None:
        most = max(self.tokens)
        if most > self.max_epochs * there:
            raise GridError(
                f"{self.name}: {most} tokens would be {most / there:.1f} epochs of the {there} of "
                f"{self.source}, and max_epochs is {self.max_epochs:g}; ask for at most "
                f"{int(self.max_epochs * there)}, or allow more with max_epochs"
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
