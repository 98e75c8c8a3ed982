"""The options of the commands, in the same words wherever they mean the same."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scalefit.commands.shell import completed_by, device_names
from scalefit.commands.terminal import Amount, ColumnMap, FormName, Loss, Threshold, Wish

Command = Callable[..., Any]
Option = Callable[[Command], Command]


def json_option(command: Command) -> Command:
    """The same --json on every command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def form_option(command: Command) -> Command:
    """The same --form on every command that fits a law of N and D."""
    return click.option(
        "--form",
        type=FormName(),
        metavar="NAME",
        default="chinchilla",
        show_default=True,
        help="Of the law; scalefit laws --forms lists them.",
    )(command)


def level_option(command: Command) -> Command:
    """The same --level on every command with intervals."""
    return click.option(
        "--level",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Confidence of the intervals.",
    )(command)


INTERVALS = ("bootstrap", "size", "wild", "hc3", "profile")
OBJECTIVES = ("huber-log", "lad-log", "mse-log", "mse", "asymmetric-mae")


def together(options: Sequence[Option]) -> Option:
    """Several options as one decorator, in this order in --help."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


fitting_options = together(
    (
        click.option(
            "--objective",
            type=click.Choice(OBJECTIVES),
            default="huber-log",
            show_default=True,
            help="What is summed over rows and minimised.",
        ),
        click.option(
            "--delta",
            type=Threshold(),
            default=1e-3,
            show_default=True,
            help="Huber's threshold, or adaptive: 1.345 robust sd of the residuals.",
        ),
        click.option(
            "--fix", type=Wish("value"), multiple=True, help="E=1.69: not fitted. Repeatable."
        ),
        click.option(
            "--bound", type=Wish("range"), multiple=True, help="alpha=0.1:0.9. Repeatable."
        ),
        click.option(
            "--tie", type=Wish("other"), multiple=True, help="alpha=beta: one exponent for both."
        ),
        click.option("--weights", metavar="COLUMN", help="What each row's loss counts."),
        click.option(
            "--interval",
            type=click.Choice(INTERVALS),
            default="bootstrap",
            show_default=True,
            help="How the intervals are found; see docs/statistics.md.",
        ),
        click.option(
            "--bootstrap",
            type=click.IntRange(0),
            default=1000,
            show_default=True,
            metavar="R",
            help="Replicates behind the intervals; 0 for none.",
        ),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option(
            "--certify", is_flag=True, help="Also scan all exponents for a better optimum."
        ),
    )
)
"""The options of approach 3, of which the replicates and their seed serve every approach."""

LAW, WISHES = ("form", "objective", "delta"), ("fix", "bound", "tie", "weights", "interval")
MEANINGLESS: Mapping[str, tuple[str, ...]] = {
    "parametric": ("variant", "flops"),
    "isoflop": (*LAW, *WISHES, "certify", "flops"),
    "envelope": (*LAW, *WISHES, "certify", "flops"),
    "all": (*WISHES, "certify", "variant", "output"),
    "audit": (*WISHES, "certify", "variant", "output", "form", "method"),
}
"""What says nothing to a task of ``scalefit fit``; ignoring it would mislead."""


def refuse(task: str) -> None:
    """Stop where an option was given that the task does not know."""
    ctx = click.get_current_context()
    for name in MEANINGLESS[task]:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            what = "--audit" if task == "audit" else f"--method {task}"
            raise click.UsageError(
                f"--{name} means nothing with {what}; leave one of them out", ctx
            )


column_option = click.option(
    "--column",
    "columns",
    type=ColumnMap(),
    multiple=True,
    help="Which column holds a quantity, e.g. loss=val_ppl_log. Repeatable.",
)

reading_options = together(
    (
        click.option(
            "--drop-highest",
            type=click.IntRange(0),
            default=0,
            metavar="K",
            help="Leave out the K rows of highest loss.",
        ),
        click.option(
            "--where", metavar="EXPR", help="Rows to use: \"dataset == 'c4' and step > 1000\"."
        ),
        column_option,
    )
)
"""The same --drop-highest, --where and --column on every command that reads a table."""

POSITIVE = click.FloatRange(0, min_open=True)

question_options = together(
    (
        click.option(
            "--flops", type=Amount("parse_flops", several=True),
            help="Compute: 1e21, 2.5ZFLOP, 11.6PF-days; or several, 1e19:1e22:4.",
        ),
        click.option("--loss", type=Loss(), help="To be reached at least cost: 2.1, 0.9bits/byte."),
        click.option("--params", type=Amount("parse_params"), help="A size N: 7B."),
        click.option("--tokens", type=Amount("parse_tokens"), help="An amount of data D: 2T."),
    )
)  # fmt: skip
"""What is asked of a planner: one amount, or two that leave nothing open."""

terms_options = together(
    (
        click.option(
            "--inference-tokens", type=Amount("parse_tokens"), metavar="T",
            help="Served after training; C = 6ND + 2NT is what counts then.",
        ),
        click.option(
            "--unique-tokens", type=Amount("parse_tokens"), metavar="U",
            help="All the data there are; more are had by repeating them.",
        ),
        click.option("--max-params", type=Amount("parse_params"), help="The most N may be."),
        click.option("--max-tokens", type=Amount("parse_tokens"), help="The most D may be."),
    )
)  # fmt: skip
"""What is paid for and what is allowed."""

hardware_options = together(
    (
        click.option(
            "--gpu", metavar="NAME", shell_complete=completed_by(device_names),
            help="h100, a100, rtx-4090, tpu-v5p, ...",
        ),
        click.option("--count", type=click.IntRange(1), help="How many of them."),
        click.option(
            "--mfu", type=click.FloatRange(0, 1, min_open=True), default=0.4, show_default=True,
            help="The part of their peak that training uses.",
        ),
        click.option("--price", type=POSITIVE, help="Of one for an hour, in your money."),
        click.option("--days", type=POSITIVE, help="Instead of --flops: what they do in so long."),
        click.option("--spend", type=POSITIVE, help="Instead of --flops: what it buys."),
        click.option(
            "--hardware", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Your own table of accelerators, TOML.",
        ),
        click.option(
            "--bytes-per-param", type=POSITIVE, default=16.0, show_default=True,
            help="Held in training: weights, gradients and Adam's state, over all devices.",
        ),
    )
)  # fmt: skip
"""On what it is trained, for how long and for how much."""

building_options = together(
    (
        click.option("--vocab", type=click.IntRange(2), default=32_768, show_default=True),
        click.option("--context", type=click.IntRange(2), default=2048, show_default=True),
        click.option(
            "--head-width", type=click.IntRange(2), help="Of every head [default: by size]."
        ),
        click.option(
            "--rate-law", default="li2025/learning-rate", show_default=True, metavar="NAME|FILE",
            help="Of the form optimal-lr: the peak learning rate.",
        ),
        click.option(
            "--batch-law", default="li2025/batch", show_default=True, metavar="NAME|FILE",
            help="Of the form optimal-batch.",
        ),
    )
)  # fmt: skip
"""The model to build near N*, and how to train it."""

method_options = together(
    (
        click.option(
            "--method", type=click.Choice(["parametric", "isoflop", "envelope", "all"]),
            default="parametric", show_default=True,
            help="Approach 3, 2 or 1 of Hoffmann et al. 2022, or all held against each other.",
        ),
        click.option(
            "--form", type=FormName(auto=True), metavar="NAME|auto", default="chinchilla",
            show_default=True,
            help="Of the law (scalefit laws --forms lists them), or the one that predicts best.",
        ),
        click.option("--variant", help="Of isoflop or envelope; see docs/approaches.md."),
    )
)  # fmt: skip
"""What is fitted."""

outcome_options = together(
    (
        click.option(
            "--audit", is_flag=True, help="Refit under every way to count N and C."
        ),
        click.option(
            "--flops", type=Amount("parse_flops", several=True),
            help="Budgets at which --method all and --audit compare: 1e20,1e21.",
        ),
        click.option(
            "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Where the law is written [default: beside PATH, as NAME.fit.json].",
        ),
        click.option(
            "--figures/--no-figures", default=True, show_default=True, help="Draw NAME.fit.png."
        ),
    )
)  # fmt: skip
"""What comes of a fit."""

answer_options = together(
    (
        click.option(
            "--within", type=POSITIVE, multiple=True, default=(1.0, 5.0, 20.0), metavar="PERCENT",
            help="Compute that near-optimal sizes may waste. Repeatable [default: 1, 5 and 20].",
        ),
        click.option("--loss-unit", help="Of all losses: nats/token, bits/byte."),
        click.option("--bytes-per-token", type=POSITIVE, help="Of the tokenizer: 4.3, say."),
        click.option(
            "--profile", metavar="RUNS", help="Intervals by profiles of the fit to these runs."
        ),
        click.option("--force", is_flag=True, help="Plan by a fit that did not converge."),
        click.option(
            "--ladder", type=Amount("parse_flops", several=True),
            help="Instead of a plan, a grid file of runs up to it: 1e17:1e21:5.",
        ),
        click.option(
            "--source", default="text", show_default=True, help="Of the tokens of a ladder."
        ),
        click.option(
            "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="Also write .json or .csv, or draw .svg or .png.",
        ),
    )
)  # fmt: skip
"""How a plan is answered."""
