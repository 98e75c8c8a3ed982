"""What every command shares: values with units, options in the same words, one line of progress."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import click
from click.core import ParameterSource

from scalefit.errors import QuantityError, ScalefitError

if TYPE_CHECKING:
    from scalefit.laws import FloatArray

STOPPED = 130
LIVE_SECONDS, PLAIN_SECONDS = 0.2, 15.0


class Commands(click.Group):
    """Turns the library's errors into one sentence and exit 1, and Ctrl-C into exit 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ScalefitError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nstopped; every finished run is kept, the same command goes on", err=True)
            ctx.exit(STOPPED)


def say(lines: Iterable[str]) -> None:
    """Everything that is not the answer."""
    for line in lines:
        click.echo(line, err=True)


class Amount(click.ParamType[Any]):
    """An amount with its unit, 1e21, 2.5ZFLOP, 6.7B; or several, 1e8:1e10:8 or 70M,1B."""

    name = "amount"

    def __init__(self, parser: str, *, several: bool = False) -> None:
        self.parser = parser
        self.several = several

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "float | FloatArray":
        """Parse, or fail with examples."""
        from scalefit import quantities

        parse: Callable[[str], float] = getattr(quantities, self.parser)
        try:
            if not self.several:
                return parse(value)
            from scalefit.simulate import spaced

            return spaced(value, parse)
        except QuantityError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error


class Wish(click.ParamType[tuple[Any, ...]]):
    """What is known of a parameter: NAME=VALUE, NAME=LOW:HIGH or NAME=OTHER."""

    def __init__(self, kind: str) -> None:
        self.name = {"value": "name=value", "range": "name=low:high", "other": "name=other"}[kind]
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Split, or fail with an example."""
        name, _, rest = str(value).partition("=")
        low, colon, high = rest.partition(":")
        try:
            if name and self.kind == "value":
                return name, float(rest)
            if name and self.kind == "range" and colon:
                return name, float(low or "-inf"), float(high or "inf")
        except ValueError:
            rest = ""  # and on to the example
        if name and rest and self.kind == "other":
            return name, rest
        example = {"value": "E=1.69", "range": "alpha=0.1:0.9", "other": "alpha=beta"}[self.kind]
        message = f"{value!r} is not of the form {example}."
        raise click.BadParameter(message, ctx=ctx, param=param)


class Threshold(click.ParamType[float | None]):
    """A positive number, or adaptive."""

    name = "number|adaptive"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Parse, or fail with examples; adaptive is None, as in the library."""
        if value == "adaptive":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not a threshold. Try 0.001 or adaptive.", param, ctx)


class FormName(click.ParamType[str]):
    """The name of a functional form, or auto where that is offered."""

    name = "form"

    def __init__(self, *, auto: bool = False) -> None:
        self.auto = auto

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Look it up, or fail with the nearest names; the default is known without a look."""
        if value == "chinchilla" or (value == "auto" and self.auto):
            return str(value)
        from scalefit.errors import FitError
        from scalefit.laws import form_named

        try:
            return form_named(value).name
        except FitError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error


class ColumnMap(click.ParamType[tuple[str, str]]):
    """QUANTITY=NAME, which column of the table holds a quantity."""

    name = "quantity=name"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        quantity, equals, column = str(value).partition("=")
        if not (quantity and equals and column):
            self.fail(f"{value!r} is not of the form loss=NAME.", param, ctx)
        return quantity, column


class Status:
    """One line on stderr that is written over on a terminal, and now and then a line elsewhere."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self.shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.live and self.shown:
            click.echo(err=True)

    def show(self, line: str) -> None:
        """Show progress, if the last was long enough ago."""
        now = time.monotonic()
        if now - self.shown < (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            return
        self.shown = now
        click.echo(f"\r\x1b[K{line}" if self.live else line, err=True, nl=not self.live)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same --json on every command."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")(
        command
    )


def form_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same --form on every command that fits a law of N and D."""
    return click.option(
        "--form",
        type=FormName(),
        metavar="NAME",
        default="chinchilla",
        show_default=True,
        help="Of the law; scalefit laws --forms lists them.",
    )(command)


def level_option(command: Callable[..., Any]) -> Callable[..., Any]:
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


def fitting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of approach 3, of which the replicates and their seed serve every approach."""
    options = (
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
    for option in reversed(options):
        command = option(command)
    return command


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


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same --drop-highest, --where and --column on every command that reads a table."""
    options = (
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
        click.option(
            "--column",
            "columns",
            type=ColumnMap(),
            multiple=True,
            help="Which column holds a quantity, e.g. loss=val_ppl_log. Repeatable.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
