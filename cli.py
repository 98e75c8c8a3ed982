"""The command line: which commands there are, and where each lives until it is asked for."""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from scalefit import __version__
from scalefit.commands.config import PREFIX, configured
from scalefit.commands.terminal import Commands, Entry

SECTIONS: Mapping[str, tuple[Entry, ...]] = {
    "Train": (
        Entry("train-grid", "trainers.commands", "Train a grid of small models over N and D."),
        Entry("grids", "trainers.commands", "The grids that ship, or one as a file to begin with."),
        Entry("status", "trainers.commands", "What a folder of results holds, and what it lacks."),
        Entry("tune", "trainers.commands", "Sweep the learning rate of a grid at every width."),
        Entry("studies", "trainers.commands", "Where power laws come from and where they break."),
        Entry("study", "trainers.commands", "Run a study: a table, a figure, what was found."),
    ),
    "Fit": (
        Entry("fit", "scalefit.commands.fit", "Fit L(N, D) = E + A/N^alpha + B/D^beta to runs."),
        Entry("diagnose", "scalefit.commands.fit", "Say what speaks against the fit."),
        Entry("backtest", "scalefit.commands.fit", "Fit cheap runs, predict the dear ones."),
    ),
    "Plan": (
        Entry("plan", "scalefit.commands.plan", "The model and the data to train for a budget."),
        Entry("laws", "scalefit.commands.plan", "The laws of the literature."),
    ),
    "Look": (
        Entry("report", "scalefit.commands.look", "One page to share, with a planner in it."),
        Entry("plot", "scalefit.commands.look", "A figure of runs, a fit or a plan."),
    ),
    "Tables": (
        Entry("simulate", "scalefit.commands.tables", "Runs of a known law, with noise."),
        Entry("sweep", "scalefit.commands.tables", "The best learning rate and batch of a sweep."),
        Entry("import", "scalefit.commands.moving", "Logs of W&B, TensorBoard, MLflow and others."),
        Entry("export", "scalefit.commands.moving", "A table of runs as CSV or JSON lines."),
        Entry("runs", "scalefit.commands.moving", "What a table of runs holds."),
    ),
    "Help": (
        Entry("doctor", "trainers.commands", "What this machine has, and where results lie."),
        Entry("completion", "scalefit.commands.shell", "Completion for bash, zsh or fish."),
    ),
}


COMMANDS = tuple(entry.name for entries in SECTIONS.values() for entry in entries)


@click.group(
    cls=Commands,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX},
)
@click.version_option(__version__, prog_name="scalefit")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Defaults of the commands [default: scalefit.toml in this folder, if there is one].",
)  # fmt: skip
@click.option("--show-config", is_flag=True, help="Say what a command would use, and stop.")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, show_config: bool) -> None:
    """Fit neural scaling laws and plan compute-optimal training.

    \b
    scalefit train-grid              train a grid of small models: results.parquet
    scalefit fit results.parquet     fit a law to runs, yours or these
    scalefit plan --flops 1e21       the size and the data to train for a budget

    Options come from the command line, else from SCALEFIT_COMMAND_OPTION in the environment
    (SCALEFIT_FIT_LEVEL=0.9), else from scalefit.toml ([fit] level = 0.9).
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):
        ctx.color = True
    ctx.obj = show_config
    ctx.default_map = configured(config, COMMANDS)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="scalefit")


if __name__ == "__main__":
    main()
