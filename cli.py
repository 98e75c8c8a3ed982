"""The command line: parse, call, print. stdout is the answer, stderr everything else."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from scalefit import __version__
from scalefit.errors import QuantityError, ScalefitError

if TYPE_CHECKING:
    from scalefit.fitting import Fit
    from scalefit.laws import Law

STOPPED = 130
LIVE_SECONDS, PLAIN_SECONDS = 0.2, 15.0
DEFAULT_LAW = "besiroglu2024"


class Commands(click.Group):
    """Turns the library's errors into one sentence and exit 1, and Ctrl-C into exit 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ScalefitError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nstopped; every finished run is kept, the same command goes on", err=True)
            ctx.exit(STOPPED)


class Amount(click.ParamType[float]):
    """An amount with its unit: 1e21, 2.5ZFLOP, 6.7B."""

    name = "amount"

    def __init__(self, parser: str) -> None:
        self.parser = parser

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse, or fail with examples."""
        from scalefit import quantities

        try:
            parsed: float = getattr(quantities, self.parser)(value)
        except QuantityError as error:
            self.fail(str(error), param, ctx)
        return parsed


class ColumnMap(click.ParamType[tuple[str, str]]):
    """QUANTITY=NAME, which column of the table holds a quantity."""

    name = "quantity=name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        quantity, equals, column = str(value).partition("=")
        if not (quantity and equals and column):
            self.fail(f"{value!r} is not of the form loss=NAME.", param, ctx)
        return quantity, column


class Status:
    """One line on stderr that is written over on a terminal, and now and then a line elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.shown:
            click.echo(err=True)

    def show(self, line: str) -> None:
        """Show progress, if the last was long enough ago."""
        now = time.monotonic()
        if now - self.shown < (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            return
        self.shown = now
        click.echo(f"\r\x1b[K{line}" if self.live else line, err=True, nl=not self.live)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same --json on every command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def level_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same --level on every command with intervals."""
    return click.option(
        "--level",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Confidence of the intervals.",
    )(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalefit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Fit neural scaling laws and plan compute-optimal training.

    \b
    scalefit train-grid              train a grid of small models: results.parquet
    scalefit fit results.parquet     fit L(N, D) = E + A/N^alpha + B/D^beta to runs
    scalefit plan --flops 1e21       the size and data to train for a budget
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True


@cli.command("train-grid")
@click.argument("grid", default="text", metavar="[GRID.toml|NAME]")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results.parquet"),
    show_default=True,
    help="Folder of parts, one a run; what is there is kept and skipped.",
)
@click.option(
    "--workers", type=click.IntRange(1), help="Processes of one thread each [default: one a core]."
)
@click.option("--device", default="cpu", show_default=True, help="Where torch trains.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop.")
@json_option
def train_grid_command(
    grid: str, results: Path, workers: int | None, device: str, dry_run: bool, as_json: bool
) -> None:
    """Train a grid of small models over N and D, and log their losses.

    GRID is a TOML file or the name of one that ships: text (Python's own sources) or markov (a
    source whose entropy is known exactly). Ctrl-C loses no finished run; the same command goes on.

    \b
    scalefit train-grid
    scalefit train-grid markov --results markov.parquet
    """
    from trainers.grid import load, train
    from trainers.report import grid_text, progress_text, trained_text

    if find_spec("torch") is None:
        raise ScalefitError('training needs torch; install it with: pip install "scalefit[train]"')
    asked = load(grid)
    size = asked.describe()
    _say([grid_text(asked, size)])
    if dry_run:
        if as_json:
            click.echo(json.dumps(asdict(size)))
        return
    with Status() as status:
        done = train(
            asked,
            results,
            workers=workers,
            device=device,
            report=lambda progress: status.show(progress_text(progress)),
        )
    click.echo(json.dumps(asdict(done)) if as_json else trained_text(done, results))
    if done.failed:
        raise ScalefitError(f"{done.failed} runs failed; the same command tries them again")
    _say([f"next    scalefit fit {results}"])


@cli.command("fit")
@click.argument("path")
@click.option(
    "--method",
    type=click.Choice(["parametric"]),
    default="parametric",
    show_default=True,
    expose_value=False,
    help="parametric: approach 3 of Hoffmann et al. 2022.",
)
@click.option("--form", type=click.Choice(["chinchilla"]), default="chinchilla", show_default=True)
@click.option(
    "--objective",
    type=click.Choice(["huber-log"]),
    default="huber-log",
    show_default=True,
    expose_value=False,
    help="huber-log: Huber's loss of log residuals, summed over rows.",
)
@click.option("--delta", type=float, default=1e-3, show_default=True, help="Huber's threshold.")
@click.option(
    "--drop-highest",
    type=click.IntRange(0),
    default=0,
    metavar="K",
    help="Leave out the K rows of highest loss.",
)
@click.option("--where", metavar="EXPR", help="Rows to use: \"dataset == 'c4' and step > 1000\".")
@click.option(
    "--column",
    "columns",
    type=ColumnMap(),
    multiple=True,
    help="Which column holds a quantity, e.g. loss=val_ppl_log. Repeatable.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    metavar="R",
    help="Replicates behind the intervals; 0 for none.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@level_option
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where the law is written [default: beside PATH, as NAME.fit.json].",
)
@click.option("--figures/--no-figures", default=True, show_default=True, help="Draw NAME.fit.png.")
@json_option
def fit_command(
    path: str,
    form: str,
    delta: float,
    drop_highest: int,
    where: str | None,
    columns: tuple[tuple[str, str], ...],
    bootstrap: int,
    seed: int,
    level: float,
    output: Path | None,
    figures: bool,
    as_json: bool,
) -> None:
    """Fit a scaling law to the runs in PATH.

    PATH is a file, a folder of parts, a glob or - for stdin; Parquet, CSV or JSON lines.

    \b
    scalefit fit results.parquet
    scalefit fit chinchilla.csv --drop-highest 5 --json
    """
    from scalefit.fitting import beside, fit, save
    from scalefit.report import fit_text
    from scalefit.runs import read

    runs = read(path, columns=dict(columns), where=where).without_highest(drop_highest)
    _say(runs.notes)
    fitted = fit(
        runs,
        form=form,
        delta=delta,
        bootstrap=bootstrap,
        seed=seed,
        level=level,
    )
    target = save(fitted, output or beside(path))
    click.echo(fitted.to_json() if as_json else fit_text(fitted))
    _say([f"law     {target}"])
    if figures:
        from scalefit.figures import save_fit

        _say([f"figure  {save_fit(fitted, runs, target.with_suffix('.png'))}"])
    _say([f"next    scalefit plan --flops 1e21 --law {target}"])


@cli.command("plan")
@click.option("--flops", type=Amount("parse_flops"), required=True, help="Compute: 1e21, 2.5ZFLOP.")
@click.option(
    "--law",
    "law_name",
    metavar="NAME|FILE",
    help="A law of the literature or a fit's JSON [default: the newest fit in this folder, "
    f"else {DEFAULT_LAW}].",
)
@level_option
@json_option
def plan_command(flops: float, law_name: str | None, level: float, as_json: bool) -> None:
    """The compute-optimal size and data for a budget.

    \b
    scalefit plan --flops 1e21
    scalefit plan --flops 11.6PF-days --law hoffmann2022
    """
    from scalefit.planning import plan
    from scalefit.report import plan_text

    law, origin = _find_law(law_name)
    planned = plan(law, flops=flops, level=level)
    click.echo(json.dumps(planned.to_dict()) if as_json else plan_text(planned, origin=origin))
    _say(f"note: {note}" for note in planned.notes)


def _find_law(asked: str | None) -> "tuple[Law | Fit, str]":
    """The law to plan by, and in words where it came from."""
    from scalefit.fitting import load, newest
    from scalefit.laws import published

    if asked is None:
        path = newest(Path())
        if path is None:
            return published(DEFAULT_LAW), f"{DEFAULT_LAW}, as there is no fit in this folder"
        return load(path), f"{path}, the newest fit in this folder"
    if asked.endswith(".json") or Path(asked).is_file():
        return load(Path(asked)), asked
    law = published(asked)
    return law, f"{asked} ({law.source})"


def _say(lines: Iterable[str]) -> None:
    """Everything that is not the answer."""
    for line in lines:
        click.echo(line, err=True)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="scalefit")


if __name__ == "__main__":
    main()
