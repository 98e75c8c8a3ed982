"""The commands that train: grids, what became of them, learning rates, studies."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import (
    json_option,
)
from scalefit.commands.shell import completed_by, grid_names, study_names
from scalefit.commands.terminal import Status, command, say
from trainers.options import grid_options, study_options, sweep_options, training_options


@command("train-grid")
@click.argument(
    "grid", default="text", metavar="[GRID.toml|NAME]", shell_complete=completed_by(grid_names)
)
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


@command("tune")
@click.argument(
    "grid", default="text", metavar="[GRID.toml|NAME]", shell_complete=completed_by(grid_names)
)
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


@command("grids")
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


@command("status")
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


@command("studies")
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


@command("study")
@click.argument("name", shell_complete=completed_by(study_names))
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


@command("doctor")
@json_option
def doctor_command(as_json: bool) -> None:
    """What this machine has: versions, extras, devices, threads, and where results lie.

    \b
    scalefit doctor
    """
    from trainers.doctor import doctor_text, examine

    found = examine(Path())
    click.echo(json.dumps(found) if as_json else doctor_text(found))
