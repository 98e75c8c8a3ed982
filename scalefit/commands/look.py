"""What people look at: figures, and the page they share."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalefit.commands.options import (
    fitting_options,
    form_option,
    json_option,
    level_option,
    reading_options,
)
from scalefit.commands.steps import find_law, fitted_by, read_runs
from scalefit.commands.terminal import Amount, Status, command, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from scalefit.runs import Runs

OUTPUT: Any = click.Path(path_type=Path, dir_okay=False)
COMMON = ("level", "bootstrap", "seed")


def _fit(runs: "Runs", form: str, **common: Any) -> Any:
    from scalefit.fitting import fit

    return fit(runs, form=form, **common)


def _by_law(name: str) -> "Callable[..., Axes | Figure]":
    """A figure of the fitted law."""

    def drawn(runs: "Runs", form: str, **common: Any) -> "Axes | Figure":
        from scalefit import figures

        found: Axes | Figure = getattr(figures, name)(_fit(runs, form, **common), runs)
        return found

    return drawn


def _isoflop(runs: "Runs", _form: str, **common: Any) -> "Axes":
    from scalefit import figures
    from scalefit.frontiers.isoflop import isoflop

    return figures.isoflop(isoflop(runs, **common), runs)


def _envelope(runs: "Runs", _form: str, **common: Any) -> "Axes":
    from scalefit import figures
    from scalefit.frontiers.envelope import envelope

    return figures.envelope(envelope(runs, **common), runs)


def _approaches(runs: "Runs", form: str, **common: Any) -> "Figure":
    from scalefit import figures
    from scalefit.diagnosis.compare import compare

    return figures.approaches(compare(runs, form=form, **common))


def _influence(runs: "Runs", form: str, *, parameter: str, seed: int, **_: Any) -> "Axes":
    from scalefit import figures
    from scalefit.diagnosis.diagnose import diagnose

    return figures.influence(diagnose(runs, form=form, parameter=parameter, seed=seed))


def _backtest(runs: "Runs", form: str, *, level: float, seed: int, **_: Any) -> "Axes":
    from scalefit import figures
    from scalefit.diagnosis.backtest import backtest

    return figures.backtest(backtest(runs, form=form, level=level, seed=seed))


KINDS: "Mapping[str, Callable[..., Axes | Figure]]" = {
    "fit": _by_law("fit"),
    "curves": _by_law("curves"),
    "contours": _by_law("contours"),
    "residuals": _by_law("residuals"),
    "isoflop": _isoflop,
    "envelope": _envelope,
    "approaches": _approaches,
    "influence": _influence,
    "backtest": _backtest,
}


@command("plot")
@click.argument("kind", type=click.Choice([*KINDS, "plan"]))
@click.argument("path", metavar="PATH|LAW")
@click.option("-o", "--output", type=OUTPUT, help="A .svg, .png or .pdf [default: KIND.svg].")
@form_option
@click.option("--parameter", default="beta", show_default=True, help="What influence is about.")
@click.option(
    "--flops", type=Amount("parse_flops"), default="1e21", show_default=True,
    help="The budget of a plan.",
)  # fmt: skip
@click.option("--bootstrap", type=click.IntRange(0), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@level_option
@reading_options
@json_option
def plot_command(
    kind: str,
    path: str,
    output: Path | None,
    as_json: bool,
    form: str,
    parameter: str,
    flops: float,
    bootstrap: int,
    seed: int,
    level: float,
    **reading: Any,
) -> None:
    """Draw a figure of the runs in PATH, or the plan of a law, for a paper or a slide.

    \b
    fit         the page of a fit           isoflop    profiles and their optima
    curves      loss against tokens         envelope   loss against compute
    contours    loss over N and D           approaches the three, side by side
    residuals   what the law leaves over    influence  the few rows that move it
    plan        of PATH|LAW, at --flops     backtest   what it would have predicted

    \b
    scalefit plot contours results.parquet -o contours.svg
    scalefit plot plan besiroglu2024 --flops 1e23 -o plan.pdf
    """
    from scalefit import figures

    place = figures.checked(output or Path(f"{kind}.svg"))
    common = {"level": level, "bootstrap": bootstrap, "seed": seed}
    drawn: Axes | Figure
    if kind == "plan":
        drawn = _plan(path, flops, form, common, reading)
    else:
        extra = {"parameter": parameter} if kind == "influence" else {}
        drawn = KINDS[kind](read_runs(path, **reading), form, **common, **extra)
    target = figures.save(drawn, place)
    if as_json:
        click.echo(json.dumps({"schema": 1, "kind": kind, "figure": str(target)}))
    say([f"figure  {target}"])


def _plan(
    path: str, flops: float, form: str, common: Mapping[str, Any], reading: Mapping[str, Any]
) -> "Figure":
    """The plan of a law, of a fit, or of runs that are fitted for it."""
    from scalefit import figures
    from scalefit.planning import plan

    is_table = Path(path).exists() and not path.endswith(".json")
    law = _fit(read_runs(path, **reading), form, **common) if is_table else find_law(path)[0]
    return figures.plan(plan(law, flops=flops, level=common["level"]))


@command("report")
@click.argument("path")
@click.option(
    "-o", "--output", type=OUTPUT, default=Path("report.html"), show_default=True, metavar="FILE"
)
@form_option
@fitting_options
@reading_options
@level_option
@json_option
def report_command(
    path: str,
    output: Path,
    form: str,
    as_json: bool,
    drop_highest: int,
    where: str | None,
    columns: tuple[tuple[str, str], ...],
    **options: Any,
) -> None:
    """One page to share: the fit to the runs in PATH, how sure it is, and a planner in it.

    The page needs no network. It holds the data seen, the law with its intervals and certificate,
    the three approaches side by side, figures, and a planner that answers for any budget.

    \b
    scalefit report results.parquet
    scalefit report chinchilla.csv --drop-highest 5 --certify -o chinchilla.html
    """
    from scalefit.report.gather import gather
    from scalefit.report.html import write

    with Status() as status:
        status.show("reading the runs")
        runs = read_runs(path, drop_highest=drop_highest, where=where, columns=columns)
        status.show("fitting the law")
        fitted = fitted_by(runs, "parametric", form, None, options)
        found = gather(fitted, runs, tell=status.show)
    target = write(found, output)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    say([f"report  {target}"])
