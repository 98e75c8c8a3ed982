"""The command line: parse, call, print. stdout is the answer, stderr everything else."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scalefit import __version__
from scalefit.options import (
    answer_options,
    building_options,
    fitting_options,
    form_option,
    hardware_options,
    json_option,
    level_option,
    method_options,
    outcome_options,
    question_options,
    reading_options,
    refuse,
    terms_options,
)
from scalefit.steps import (
    DEFAULT_LAW,
    bare,
    choice,
    curves_of,
    find_law,
    find_laws,
    fitted_by,
    kept,
    needed,
    planned,
    read_runs,
    rungs,
    side_by_side,
    written,
)
from scalefit.terminal import Amount, Commands, Status, say
from trainers.options import grid_options, study_options, sweep_options, training_options

SQUARES = "resampling is a little too sure of least squares; try --interval hc3"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="scalefit")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Fit neural scaling laws and plan compute-optimal training.

    \b
    scalefit train-grid              train a grid of small models: results.parquet
    scalefit grids, scalefit status RESULTS   what can be trained, what was
    scalefit tune GRID               the learning rate that its models want
    scalefit studies, scalefit study NAME   where power laws come from and where they break
    scalefit fit results.parquet     fit L(N, D) = E + A/N^alpha + B/D^beta to runs
    scalefit plan --flops 1e21       the size and data to train for a budget
    scalefit diagnose results.parquet   what speaks against the fit
    scalefit backtest results.parquet   fit cheap runs, predict the dear ones
    scalefit simulate --law NAME     runs of a known law
    scalefit sweep sweep.csv         the best learning rate and batch of each size
    scalefit laws                    the laws of the literature
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True


@cli.command("train-grid")
@click.argument("grid", default="text", metavar="[GRID.toml|NAME]")
@grid_options
@training_options
@json_option
def train_grid_command(
    grid: str, results: Path, seeds: int | None, as_json: bool, **options: Any
) -> None:
    """Train a grid of small models over N and D, and log their losses.

    GRID is a TOML file or the name of one that ships (scalefit grids lists them). Ctrl-C and
    SIGTERM save what is half trained; the same command goes on.

    \b
    scalefit train-grid
    scalefit train-grid markov --results markov.parquet
    scalefit train-grid --dry-run --max-hours 0.5
    """
    from trainers.grid import load
    from trainers.report import trained_text
    from trainers.terminal import trained, whole

    asked = load(grid) if seeds is None else load(grid).with_seeds(seeds)
    done = trained(asked, results, as_json=as_json, **options)
    if done is not None:
        click.echo(json.dumps(asdict(done)) if as_json else trained_text(done, results))
        whole(done)
        say([f"next    scalefit fit {results}"])


@cli.command("tune")
@click.argument("grid", default="text", metavar="[GRID.toml|NAME]")
@sweep_options
@training_options
@json_option
def tune_command(
    grid: str, results: Path, output: Path | None, as_json: bool, **options: Any
) -> None:
    """Sweep the learning rate of a GRID at every width, and say which is best.

    \b
    scalefit tune text
    scalefit tune mine.toml --rates 9 --span 256 --output tuned.toml
    """
    from trainers.grid import load
    from trainers.report import sweep_text
    from trainers.terminal import trained, whole
    from trainers.tune import SWEEP, save, sweep_of, tuned

    asked = load(grid)
    sweep = sweep_of(asked, **{key: options.pop(key) for key in SWEEP})
    done = trained(sweep, results, as_json=as_json, **options)
    if done is not None:
        whole(done)
        found = tuned(asked, sweep, results)
        click.echo(json.dumps(found.to_dict()) if as_json else sweep_text(found))
        if output:
            say([f"grid    {save(found, asked, output)}"])


@cli.command("grids")
@click.argument("name", required=False)
@json_option
def grids_command(name: str | None, as_json: bool) -> None:
    """The grids that ship, or one of them as a file to begin a grid of your own with.

    \b
    scalefit grids
    scalefit grids text > mine.toml
    """
    from trainers.grid import shipped, text_of
    from trainers.report import grids_answer

    if name is not None:
        click.echo(json.dumps({"name": name, "text": text_of(name)}) if as_json else text_of(name))
        return
    found, text = grids_answer(shipped())
    click.echo(json.dumps(found) if as_json else text)


@cli.command("status")
@click.argument("results", type=click.Path(path_type=Path))
@click.argument("grid", required=False, metavar="[GRID.toml|NAME]")
@json_option
def status_command(results: Path, grid: str | None, as_json: bool) -> None:
    """What a folder of results holds: runs done, diverged, failed and why; what a GRID lacks.

    \b
    scalefit status results.parquet
    scalefit status results.parquet text
    """
    from trainers.grid import load
    from trainers.report import status_text
    from trainers.status import status

    found = status(results, load(grid) if grid else None)
    click.echo(json.dumps(found.to_dict()) if as_json else status_text(found))


@cli.command("studies")
@json_option
def studies_command(as_json: bool) -> None:
    """The studies: phenomena of over-parameterised models that can be run.

    \b
    scalefit studies
    """
    from trainers.study import studies

    found = studies()
    width = max(map(len, found))
    lines = [f"{name:<{width}}  {about}" for name, about in found.items()]
    click.echo(json.dumps(found) if as_json else "\n".join(lines))


@cli.command("study")
@click.argument("name")
@study_options
@json_option
def study_command(name: str, output: Path, as_json: bool, **options: Any) -> None:
    """Run a study: a table, a figure, and what was found.

    \b
    scalefit study epochs
    scalefit study knots --seeds 20 --output figures
    """
    from trainers.report import study_text
    from trainers.study import perform

    with Status() as status:
        done = perform(name, output, tell=status.show, **options)
    click.echo(json.dumps(done.to_dict()) if as_json else study_text(done))
    say([f"table   {done.table}", f"figure  {done.figure}"])


@cli.command("fit")
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
        from scalefit.figures import save_fit

        say([f"figure  {save_fit(fitted, runs, target.with_suffix('.png'))}"])
    if fitted.status != "converged":
        say([f"next    scalefit diagnose {path}"])
    elif fitted.law.form.plans:
        say([f"next    scalefit plan --flops 1e21 --law {target}"])


@cli.command("plan")
@question_options
@click.option(
    "--law",
    "law_names",
    multiple=True,
    metavar="NAME|FILE",
    help="A law of the literature or a fit's JSON [default: the newest fit in this folder, "
    f"else {DEFAULT_LAW}]. Repeat it to hold laws against each other.",
)
@click.option("--approaches", is_flag=True, help="All approaches that were fitted beside --law.")
@terms_options
@hardware_options
@building_options
@answer_options
@reading_options
@level_option
@json_option
def plan_command(
    law_names: tuple[str, ...],
    approaches: bool,
    ladder: Any,
    source: str,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """The model to train and the data to train it on.

    Given a budget, a loss to reach, a size or an amount of data; or two of them. N, D and C are
    counted as the law counts them.

    \b
    scalefit plan --flops 1e21
    scalefit plan --loss 2.1 --inference-tokens 2T --law besiroglu2024
    scalefit plan --gpu h100 --count 512 --price 2.5 --days 30 --unique-tokens 1T
    scalefit plan --params 7B --tokens 2T --law besiroglu2024 --law hoffmann2022
    scalefit plan --ladder 1e17:1e21:5 > ladder.toml
    """
    from scalefit.planning.rivals import rivals
    from scalefit.report.plan import planned_text

    laws = find_laws(law_names, approaches=approaches)
    if ladder is not None:
        text, notes = rungs(laws, ladder, source, options)
        say(notes)
        click.echo(text, nl=False)
        return
    plans = [planned(law, options) for law, _ in laws]
    found = plans[0] if len(plans) == 1 else rivals(plans)
    origins = [origin for _, origin in laws]
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        click.echo(planned_text(found, origins))
    say(f"note: {note}" for note in found.notes)
    if output:
        say([f"plan    {written(found, output)}"])


@cli.command("diagnose")
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


@cli.command("backtest")
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


@cli.command("laws")
@click.argument("name", required=False)
@click.option("--exponents", is_flag=True, help="How N* and D* grow with compute, law by law.")
@click.option("--forms", is_flag=True, help="The functional forms, for scalefit fit --form.")
@json_option
def laws_command(name: str | None, exponents: bool, forms: bool, as_json: bool) -> None:
    """The laws of the literature: all, those of a paper, or one with its constants and source.

    \b
    scalefit laws
    scalefit laws henighan2020/image-32x32
    scalefit laws --exponents
    """
    from scalefit.report.laws import answer

    found, text = answer(name, forms=forms, growth=exponents)
    click.echo(json.dumps(found, allow_nan=False) if as_json else text)


@cli.command("sweep")
@click.argument("path")
@click.option(
    "--sequence",
    type=Amount("parse_tokens"),
    help="Tokens of a sequence, where the batch is counted in sequences.",
)
@reading_options
@json_option
def sweep_command(path: str, sequence: float | None, as_json: bool, **reading: Any) -> None:
    """Find the best learning rate and batch of every N and D in a sweep, as CSV.

    Diverged runs are left out and counted. What comes out is what --form optimal-lr and
    optimal-batch are fitted to.

    \b
    scalefit sweep sweep.csv > optima.csv
    scalefit sweep sweep.csv --column batch_tokens=batch_size --sequence 2048 \\
      | scalefit fit - --form optimal-lr --objective mse-log
    """
    from scalefit.sweeps import NEEDED, best_of_sweep, summary

    runs = read_runs(path, **reading, needed=NEEDED)
    found = best_of_sweep(runs.scaled("batch_tokens", sequence or 1.0))
    say(found.notes[len(runs.notes) :])
    text = json.dumps(summary(found)) + "\n" if as_json else found.frame.to_csv(index=False)
    click.echo(text, nl=False)


@cli.command("simulate")
@click.option("--law", "law_name", required=True, metavar="NAME|FILE", help="The truth.")
@click.option("--noise", type=float, default=0.01, show_default=True, help="Its sd in log loss.")
@click.option("--params", type=Amount("parse_params", several=True), help="70M:16B:8, or 70M,1B.")
@click.option("--tokens", type=Amount("parse_tokens", several=True), help="Of every size.")
@click.option("--flops", type=Amount("parse_flops", several=True), help="Or: isoFLOP budgets.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A new .csv or .parquet.")
@json_option
def simulate_command(
    law_name: str, noise: float, seed: int, output: Path | None, as_json: bool, **axes: Any
) -> None:
    """Make a table of runs from a known law, with noise.

    isoFLOP budgets without --params have sizes about the optimum. Without -o CSV goes to stdout.

    \b
    scalefit simulate --law besiroglu2024 --params 70M:16B:8 --tokens 1B:300B:6 -o runs.csv
    scalefit simulate --law besiroglu2024 --flops 1e19:1e21:5 | scalefit fit -
    """
    from scalefit.simulate import Noise, grid, simulate, summary, write

    law = bare(find_law(law_name)[0])
    params, tokens = grid(law, **axes)
    frame = simulate(law, params=params, tokens=tokens, noise=Noise(sd=noise), seed=seed)
    if output:
        say([f"runs    {len(frame)} in {write(frame, output)}", f"next    scalefit fit {output}"])
    if as_json:
        click.echo(json.dumps(summary(frame, law)))
    elif not output:
        click.echo(frame.to_csv(index=False), nl=False)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="scalefit")


if __name__ == "__main__":
    main()
