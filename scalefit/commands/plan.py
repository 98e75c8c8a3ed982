"""Law -> plan: plan, and the laws of the literature."""

import json
from pathlib import Path
from typing import Any

import click

from scalefit.commands.options import (
    answer_options,
    building_options,
    hardware_options,
    json_option,
    level_option,
    question_options,
    reading_options,
    terms_options,
)
from scalefit.commands.shell import completed_by, law_names
from scalefit.commands.steps import (
    DEFAULT_LAW,
    find_laws,
    planned,
    rungs,
    written,
)
from scalefit.commands.terminal import command, say


@command("plan")
@question_options
@click.option(
    "--law",
    "law_names",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=completed_by(law_names),
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


@command("laws")
@click.argument("name", required=False, shell_complete=completed_by(law_names))
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
