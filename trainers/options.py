"""The options of the commands that train."""

from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import Option, together
from scalefit.commands.terminal import Amount

FOLDER: Any = click.Path(path_type=Path, file_okay=False)
FILE: Any = click.Path(path_type=Path, dir_okay=False)

training_options: Option = together(
    (
        click.option(
            "--workers", type=click.IntRange(1),
            help="Processes of one thread each [default: one a core]; with slurm, jobs at once.",
        ),
        click.option("--device", default="cpu", show_default=True, help="Where torch trains."),
        click.option(
            "--launcher", type=click.Choice(["local", "slurm", "dask"]), default="local",
            show_default=True, help="What executes the runs.",
        ),
        click.option(
            "--scheduler", metavar="ADDRESS", help="Of the Dask cluster: tcp://host:8786."
        ),
        click.option("--slurm-partition", metavar="NAME", help="[default: the site's]"),
        click.option(
            "--slurm-minutes", type=click.IntRange(1),
            help="Of one job [default: 60]; what needs more is requeued and goes on.",
        ),
        click.option("--slurm-cpus", type=click.IntRange(1), help="Of one job [default: 1]."),
        click.option(
            "--slurm-gpus", type=click.IntRange(0), help="Of one job [default: 1 on cuda, else 0]."
        ),
        click.option("--slurm-memory", metavar="SIZE", help="Of one job: 8G."),
        click.option(
            "--slurm-option", multiple=True, metavar="NAME=VALUE",
            help="Any other of sbatch: account=physics. Repeatable.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would be trained, and stop."),
    )
)  # fmt: skip
"""Where and how runs are trained."""

grid_options: Option = together(
    (
        click.option(
            "--results", type=FOLDER, default=Path("results.parquet"), show_default=True,
            help="Folder of parts, one a run; what is there is kept and skipped.",
        ),
        click.option(
            "--seeds", type=click.IntRange(1), help="So many of each run, in place of the grid's."
        ),
        click.option(
            "--max-flops", type=Amount("parse_flops"), help="Train the cheapest runs up to it."
        ),
        click.option(
            "--max-hours", type=click.FloatRange(0, min_open=True), help="Likewise, by estimate."
        ),
    )
)  # fmt: skip
"""What of a grid is trained, and where its runs lie."""

sweep_options: Option = together(
    (
        click.option(
            "--results", type=FOLDER, default=Path("tune.parquet"), show_default=True,
            help="Folder of the sweep's runs.",
        ),
        click.option("--rates", type=click.IntRange(5, 99), default=7, show_default=True),
        click.option(
            "--span", type=click.FloatRange(2, 1e6), default=64.0, show_default=True,
            help="Highest rate over lowest, around the grid's own.",
        ),
        click.option(
            "--tokens", type=Amount("parse_tokens"), help="Of each run [default: the fewest]."
        ),
        click.option("--seeds", type=click.IntRange(1), default=2, show_default=True),
        click.option(
            "--output", type=FILE, metavar="FILE", help="Write the grid with the rate found."
        ),
    )
)  # fmt: skip
"""What of a grid is swept."""

study_options: Option = together(
    (
        click.option("--seeds", type=click.IntRange(1), help="So many [default: the study's own]."),
        click.option(
            "--output", type=FOLDER, default=Path("studies"), show_default=True, metavar="DIR",
            help="Where the table and the figure go.",
        ),
        click.option("--full", is_flag=True, help="The papers' own size; may want a GPU."),
        click.option(
            "--data", type=FILE, metavar="FILE",
            help="Your own data, for the studies that read some.",
        ),
    )
)  # fmt: skip
"""How a study is run."""
