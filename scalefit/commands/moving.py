"""Tables in, out and at a glance: import, export, runs."""

import json
from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import column_option, json_option, together
from scalefit.commands.terminal import Amount, command, say

KINDS = ("wandb", "tensorboard", "mlflow", "nanogpt", "nanochat", "trainer")


class Given(click.ParamType[tuple[str | None, float]]):
    """An amount for every run, 124M, or for one, NAME=124M."""

    name = "[name=]amount"

    def __init__(self, parser: str) -> None:
        self.amount = Amount(parser)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str | None, float]:
        """Split at the last equals sign: names of runs may hold one."""
        run, equals, amount = str(value).rpartition("=")
        return (run if equals else None), float(self.amount.convert(amount, param, ctx))


where_option = click.option("--where", metavar="EXPR", help='Rows: "lr > 1e-3 and seed == 0".')

stated_options = together(
    (
        click.option(
            "--metric", metavar="NAME",
            help="The loss [default: the only held-out loss, val_loss or eval/loss].",
        ),
        click.option(
            "--params", type=Given("parse_params"), multiple=True,
            help="N, all parameters: 124M, or NAME=124M for one run. Repeatable.",
        ),
        click.option(
            "--tokens-per-step", type=Given("parse_tokens"), multiple=True,
            help="Of an optimiser step: 491520, or NAME=491520. Repeatable.",
        ),
        click.option("--tokens-metric", metavar="NAME", help="The metric that counts tokens seen."),
        click.option("--step-metric", metavar="NAME", help="What counts steps in a W&B history."),
        click.option("--loss-unit", metavar="UNIT", help="nats/token, bits/byte."),
        click.option(
            "--flops", type=click.Choice(["source", "6nd"]), default="source", show_default=True,
            help="C as the source counts it, where it does for every run; or 6ND.",
        ),
        click.option("--keep", multiple=True, metavar="NAME", help="Another metric as a column."),
    )
)  # fmt: skip
"""What the user says of runs where their source does not."""


@command("import")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="A new .parquet file, or a folder to which runs are added.",
)
@click.option(
    "--from", "kind", type=click.Choice(KINDS), help="What SOURCE is [default: told by content]."
)
@click.option("--filter", "chosen", metavar="TEXT", help="Runs of wandb: (JSON) and mlflow: (SQL).")
@click.option(
    "--all-steps", is_flag=True, help="Every checkpoint with a loss, not only each run's last."
)
@stated_options
@json_option
def import_command(
    sources: tuple[str, ...],
    output: Path,
    kind: str | None,
    chosen: str | None,
    as_json: bool,
    step_metric: str | None,
    **stated: Any,
) -> None:
    """Make a runs table of the logs of other tools, and say what was taken from where.

    SOURCE is an export, history or wandb:ENTITY/PROJECT of W&B; TensorBoard event files; mlruns,
    mlflow.db or mlflow:URI of MLflow; a log of nanoGPT or nanochat; a trainer_state.json of
    Hugging Face. What a source does not state must be given; nothing is guessed.

    A run gives one row, its last checkpoint with a loss. With --all-steps it gives all: a fit takes
    each as a point and resamples whole runs, but a law of N and D is about runs that were trained
    to their end, and a checkpoint before the learning rate has decayed lies above it.

    \b
    scalefit import logs/*.log -o runs.parquet
    scalefit import wandb_export.csv -o runs.parquet --params 124M --tokens-per-step 491520
    scalefit import wandb:me/scaling -o runs/ --filter '{"state": "finished"}'
    scalefit import out/ -o runs.parquet --from trainer --params 1.1B
    """
    from scalefit.importers.convert import convert
    from scalefit.importers.output import check, write
    from scalefit.importers.sources import Choice, read_sources
    from scalefit.report.runs import mapping_lines

    wanted = _wanted(stated)
    found = read_sources(sources, Choice(kind=kind, step=step_metric, filter=chosen))
    made = convert(found, wanted)
    check(made.rows, output)
    say(mapping_lines(made))
    target = write(made.rows, output)
    if as_json:
        click.echo(json.dumps(made.to_dict() | {"output": str(target)}))
    count = sum(map(len, made.rows.values()))
    rows = f"{count} row{'' if count == 1 else 's'}"
    say([f"runs    {len(made.rows)}, {rows}, in {target}", f"next    scalefit runs {target}"])


def _wanted(stated: dict[str, Any]) -> Any:
    from scalefit.importers.rows import Wanted
    from scalefit.quantities import loss_unit

    unit = stated["loss_unit"]
    return Wanted(
        metric=stated["metric"],
        params=dict(stated["params"]),
        tokens_per_step=dict(stated["tokens_per_step"]),
        tokens_metric=stated["tokens_metric"],
        loss_unit=None if unit is None else loss_unit(unit),
        six_nd=stated["flops"] == "6nd",
        all_steps=stated["all_steps"],
        keep=stated["keep"],
    )


@command("export")
@click.argument("path")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A new .csv, .jsonl or .ndjson file [default: CSV on stdout].",
)
@where_option
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout.")
def export_command(path: str, output: Path | None, where: str | None, as_json: bool) -> None:
    """Write a runs table as CSV or JSON lines, every column and digit.

    \b
    scalefit export results.parquet -o runs.csv
    scalefit export results.parquet --where "status == 'ok'" | head
    """
    from scalefit.export import as_csv, as_json_lines, encoded, write_new
    from scalefit.summary import chosen

    if output is not None and as_json:
        raise click.UsageError("--json is for stdout; the suffix of --output says the format")
    frame = chosen(path, where)
    if output is None:
        click.echo(as_json_lines(frame) if as_json else as_csv(frame), nl=False)
        return
    target = write_new(encoded(frame, output), output)
    say([f"rows    {len(frame)} in {target}"])


@command("runs")
@click.argument("path")
@where_option
@column_option
@click.option("--by", metavar="COLUMN", help="Also count rows and runs by its values.")
@json_option
def runs_command(
    path: str,
    where: str | None,
    columns: tuple[tuple[str, str], ...],
    by: str | None,
    as_json: bool,
) -> None:
    """Say what a table of runs holds, and what a fit would leave out of it and why.

    \b
    scalefit runs results.parquet
    scalefit runs results.parquet --by seed --where "params_total > 5e4"
    """
    from scalefit.report.runs import runs_text
    from scalefit.summary import summarise

    found = summarise(path, where=where, columns=dict(columns), by=by)
    click.echo(json.dumps(found.to_dict()) if as_json else runs_text(found))
