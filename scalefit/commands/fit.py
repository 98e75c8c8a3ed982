"""Runs -> law: fit, diagnose, backtest."""

import json
from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import (
    fitting_options,
    form_option,
    json_option,
    level_option,
    method_options,
    outcome_options,
    reading_options,
    refuse,
)
from scalefit.commands.steps import (
    choice,
    curves_of,
    fitted_by,
    kept,
    needed,
    read_runs,
    side_by_side,
)
from scalefit.commands.terminal import command, say

SQUARES = "resampling is a little too sure of least squares; try --interval hc3"


@command("fit")
@click.argument("path")
@method_options
@fitting_options
@reading_options
@level_option
@outcome_options
@json_option
def fit_command(
    path: str,
    method: str,
    form: str,
    variant: str | None,
    audit: bool,
    flops: Any,
    output: Path | None,
    figures: bool,
    as_json: bool,
    drop_highest: int,
    where: str | None,
    columns: tuple[tuple[str, str], ...],
    **options: Any,
) -> None:
    """Fit a scaling law to the runs in PATH.

    PATH is a file, a folder of parts, a glob or - for stdin; Parquet, CSV or JSON lines.

    \b
    scalefit fit results.parquet
    scalefit fit chinchilla.csv --drop-highest 5 --certify
    scalefit fit runs.csv --objective lad-log --tie alpha=beta --json
    scalefit fit runs.csv --method all
    scalefit fit runs.csv --form auto
    """
    from scalefit.fitting import beside, save
    from scalefit.report import choice_text, fit_text

    task = "audit" if audit else method
    refuse(task)
    runs = read_runs(
        path, drop_highest=drop_highest, where=where, columns=columns, **needed(task, form)
    )
    if task in ("all", "audit"):
        found, text = side_by_side(runs, task, form, flops, options)
        click.echo(json.dumps(found.to_dict()) if as_json else text)
        say(kept(found, runs, path, figures=figures))
        return
    extra: dict[str, Any] = {}
    if form == "auto":
        tried = choice(runs, options)
        form, extra["choice"] = tried.form, tried.to_dict()
        if not as_json:
            click.echo(choice_text(tried) + "\n")
    fitted = fitted_by(runs, method, form, variant, options)
    target = save(fitted, output or beside(path, method))
    click.echo(json.dumps(fitted.to_dict() | extra) if as_json else fit_text(fitted))
    say([f"law     {target}"])
    if options["objective"].startswith("mse") and options["interval"] in ("bootstrap", "size"):
        say([f"note: {SQUARES}"])
    if figures:
        from scalefit import figures as drawn

        page = drawn.save(drawn.fit(fitted, runs), target.with_suffix(".png"))
        say([f"figure  {page}"])
    if fitted.status != "converged":
        say([f"next    scalefit diagnose {path}"])
    elif fitted.law.form.plans:
        say([f"next    scalefit plan --flops 1e21 --law {target}"])


@command("diagnose")
@click.argument("path")
@click.option("--parameter", default="beta", show_default=True, help="What few rows may move.")
@click.option("--drop", type=click.IntRange(0), default=5, show_default=True, metavar="K")
@click.option("--by", type=click.Choice(["row", "run", "size"]), default="row", show_default=True)
@form_option
@reading_options
@json_option
def diagnose_command(
    path: str, parameter: str, drop: int, by: str, form: str, as_json: bool, **reading: Any
) -> None:
    """Say what speaks against the fit to the runs in PATH, or what curves of losses say.

    Residuals, the K rows (or runs, or sizes) that move a parameter most, other objectives. A table
    with the columns step and train_loss holds curves: each run gets its labels of C1 to C8, from
    good (C1) over overfitted (C2) to unstable (C7, C8), and the reasons.

    \b
    scalefit diagnose results.parquet
    scalefit diagnose chinchilla.csv --drop-highest 5 --parameter a --drop 3
    scalefit diagnose curves.parquet --column loss=val_loss
    """
    from scalefit.diagnosis.diagnose import diagnose
    from scalefit.report.diagnosis import curves_text, diagnosis_text

    curves = curves_of(path, **reading)
    if curves is not None:
        answer = json.dumps({"schema": 1, "curves": [one.to_dict() for one in curves]})
        click.echo(answer if as_json else curves_text(curves))
        return
    runs = read_runs(path, **reading)
    found = diagnose(runs, form=form, parameter=parameter, drop=drop, unit=by)
    click.echo(json.dumps(found.to_dict()) if as_json else diagnosis_text(found))


@command("backtest")
@click.argument("path")
@click.option("--cuts", type=click.IntRange(1), default=4, show_default=True)
@form_option
@level_option
@reading_options
@json_option
def backtest_command(
    path: str, cuts: int, form: str, level: float, as_json: bool, **reading: Any
) -> None:
    """Fit the runs in PATH below a cut of compute, predict those above it, and score that.

    \b
    scalefit backtest results.parquet
    scalefit backtest chinchilla.csv --cuts 3 --json
    """
    from scalefit.diagnosis.backtest import backtest
    from scalefit.report.diagnosis import backtest_text

    done = backtest(read_runs(path, **reading), form=form, cuts=cuts, level=level)
    click.echo(json.dumps(done.to_dict()) if as_json else backtest_text(done))
