"""Tables of runs: made from a law, or cut down from a sweep."""

import json
from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import (
    json_option,
    reading_options,
)
from scalefit.commands.steps import (
    bare,
    find_law,
    read_runs,
)
from scalefit.commands.terminal import Amount, command, say


@command("sweep")
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


@command("simulate")
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
