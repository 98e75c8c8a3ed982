"""What every command shares: values with units, errors in one sentence, one line of progress."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

import click

from scalefit.commands.config import Command
from scalefit.errors import PlanError, QuantityError, ScalefitError

if TYPE_CHECKING:
    from scalefit.laws import FloatArray

STOPPED = 130
LIVE_SECONDS, PLAIN_SECONDS = 0.2, 15.0


class AskedWrongly(click.ClickException):
    """One sentence, and the exit code that click's own refusals have."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its name, the module with its function NAME_command, and what it does."""

    name: str
    module: str
    about: str


class Commands(click.Group):
    """Loads a command when it is asked for, and turns errors into one sentence.

    What was asked wrongly exits 2, as click's own refusals do, what cannot be done exits 1, and
    Ctrl-C exits 130.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Sequence[Entry]] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.sections = sections or {}
        self.entries = {entry.name: entry for part in self.sections.values() for entry in part}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, as they stand in the sections."""
        return [*self.entries, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return super().get_command(ctx, cmd_name)
        name = f"{entry.name.replace('-', '_')}_command"
        found: click.Command = getattr(import_module(entry.module), name)
        return found

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The sections, without loading what they list."""
        wide = max(map(len, self.entries), default=0)
        for title, entries in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(f"{entry.name:<{wide}}", entry.about) for entry in entries])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ScalefitError as error:
            wrong = isinstance(error, PlanError | QuantityError)
            raise (AskedWrongly if wrong else click.ClickException)(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nstopped; every finished run is kept, the same command goes on", err=True)
            ctx.exit(STOPPED)


command = partial(click.command, cls=Command)
"""Makes a function a command, as ``click.command`` does."""


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


class Loss(click.ParamType[tuple[float, str | None]]):
    """A loss, with its unit where that is not the law's: 2.1 or 0.9bits/byte."""

    name = "loss"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, str | None]:
        """Parse, or fail with examples."""
        from scalefit.quantities import parse_loss

        try:
            return parse_loss(str(value))
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
