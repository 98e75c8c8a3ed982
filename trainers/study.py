"""What a study is, and how one is run: a table, a figure, and a finding in words.

    runs of a phenomenon -> table (a row a measurement) -> finding, figure

Everything that is said or drawn comes from the table, so that whoever has the table can check it.
"""

import ast
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalefit.errors import StudyError
from scalefit.fitting.files import replace_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a study found.

    Attributes:
        showed: whether the phenomenon showed, by the criterion that the study states.
        criterion: what was asked of the table.
        text: sentences with the figures of this table, and what may not be concluded.
        numbers: the same figures by name.
    """

    showed: bool
    criterion: str
    text: tuple[str, ...]
    numbers: dict[str, float]


def _silent(_text: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a study is asked to run.

    Attributes:
        seeds: numbers from 0 up, one a repetition.
        full: the configuration of the papers, where the study has one.
        data: the user's own file, where the study reads one.
        device: where tensors live, "cpu" or "cuda"; without ``full`` it is the CPU.
        tell: called with a few words on how far it has come.
    """

    seeds: Sequence[int]
    full: bool = False
    data: Path | None = None
    device: str = "cpu"
    tell: Callable[[str], None] = _silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A phenomenon that can be run.

    Attributes:
        title: what it is about, for the head of its figure.
        sources: papers, with their numbers.
        bears_on: the question about scaling laws that it helps to answer.
        seeds: how many are run if nothing else is said.
        run: from what is asked to the table, one row a measurement, with a column "seed".
        find: from the table to the finding.
        draw: from the table to the figure.
        full: what the configuration of the papers is, which may take a GPU; "" if there is none.
        data: what file ``Ask.data`` may be; "" if the study reads none.
    """

    title: str
    sources: tuple[str, ...]
    bears_on: str
    seeds: int
    run: "Callable[[Ask], pd.DataFrame]"
    find: "Callable[[pd.DataFrame], Finding]"
    draw: "Callable[[pd.DataFrame], Figure]"
    full: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A study that was run: what it found, and where its table and figure lie."""

    name: str
    title: str
    seeds: int
    seconds: float
    finding: Finding
    table: Path
    figure: Path

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit study --json``."""
        return asdict(self) | {"table": str(self.table), "figure": str(self.figure)}


def studies() -> dict[str, str]:
    """The first line that every study says of itself, by name; nothing is imported for it."""
    found = {}
    for file in sorted(resources.files("trainers.studies").iterdir(), key=lambda one: one.name):
        if file.name.endswith(".py") and not file.name.startswith("_"):
            docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            name = file.name.removesuffix(".py").replace("_", "-")
            found[name] = docstring.partition("\n")[0]
    return found


def study(name: str) -> Study:
    """The study of this name; StudyError names the nearest, or says that torch is missing."""
    known = studies()
    if name not in known:
        close = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{close[0]}"?' if close else "scalefit studies lists them"
        raise StudyError(f'there is no study "{name}"; {hint}')
    if find_spec("torch") is None:
        raise StudyError('studies need torch; install it with: pip install "scalefit[studies]"')
    found: Study = import_module(f"trainers.studies.{name.replace('-', '_')}").STUDY
    return found


def perform(
    name: str,
    output: Path,
    *,
    seeds: int | None = None,
    full: bool = False,
    data: Path | None = None,
    tell: Callable[[str], None] = _silent,
) -> Outcome:
    """Run a study; write `output`/NAME.parquet and NAME.png, over what an earlier run left there.

    What ``full`` makes is called NAME-full: it may have taken hours. It runs on a GPU where there
    is one.

    Raises:
        StudyError: if there is no such study, it has nothing fuller, it reads no data, torch is
            missing, or nothing can be written.
    """
    chosen = study(name)
    if full and not chosen.full:
        raise StudyError(f"the study {name} has no fuller form; leave out --full")
    if data is not None and not chosen.data:
        raise StudyError(f"the study {name} reads no data; leave out --data")
    count = chosen.seeds if seeds is None else seeds
    table_path, figure_path = _places(output, f"{name}-full" if full else name)
    device = _device() if full else "cpu"
    ask = Ask(seeds=range(count), full=full, data=data, device=device, tell=tell)
    from threadpoolctl import threadpool_limits  # it comes with the same extra as torch

    begin = time.perf_counter()
    # a default study multiplies many small matrices: more threads wait for each other longer than
    # they compute
    with threadpool_limits(None if full else 1):
        table = chosen.run(ask)
    seconds = time.perf_counter() - begin
    finding = chosen.find(table)
    _write(lambda path: table.to_parquet(path, index=False), table_path)
    _write(lambda path: chosen.draw(table).savefig(path, dpi=150), figure_path)
    return Outcome(
        name=name,
        title=chosen.title,
        seeds=count,
        seconds=seconds,
        finding=finding,
        table=table_path,
        figure=figure_path,
    )


def _device() -> str:
    """The GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _places(output: Path, name: str) -> tuple[Path, Path]:
    """The files of a study, in a folder that is there and can be written to."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / f".{name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StudyError(
            f"{output} cannot be written to ({error.strerror}); name another place with --output"
        ) from error
    return output / f"{name}.parquet", output / f"{name}.png"


def _write(save: Callable[[Path], object], path: Path) -> None:
    try:
        replace_file(path, save)
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror}") from error
