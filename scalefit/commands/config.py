"""Where a command's options come from: command line, environment, ``scalefit.toml``, defaults."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scalefit.errors import PlanError

FILE = Path("scalefit.toml")
PREFIX = "SCALEFIT"
"""Of environment variables: SCALEFIT_FIT_LEVEL is the option --level of scalefit fit."""


class WrongConfigError(PlanError):
    """A file of defaults that cannot be used as it is."""


def configured(path: Path | None, commands: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The options that a file states for each command, ``[fit] level = 0.9``; none without one.

    Raises:
        WrongConfigError: if the file cannot be read, or speaks of a command that there is not.
    """
    place = FILE if path is None else path
    if path is None and not FILE.is_file():
        return {}
    try:
        found = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongConfigError(f"{place} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongConfigError(f"{place} is not valid TOML: {error}") from None
    for name, section in found.items():
        if name not in commands:
            raise WrongConfigError(
                f"{place}: [{name}] is no command of scalefit; {_near(name, commands)}"
            )
        if not isinstance(section, dict):
            raise WrongConfigError(f"{place}: write [{name}] and the options of it below")
    return found


class Command(click.Command):
    """A command whose defaults a file may state, and which says on demand what it would use."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with the file's options by the names that people type."""
        ctx.default_map = self._stated(ctx.default_map or {}, _place(ctx))
        for param in self.params:  # by the name that people type, not the function's
            if isinstance(param, click.Option) and ctx.auto_envvar_prefix:
                param.envvar = f"{ctx.auto_envvar_prefix}_{_flag(param)}"
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, or say with which options it would run."""
        if ctx.parent is not None and ctx.parent.obj:
            click.echo(self._told(ctx))
            return None
        return super().invoke(ctx)

    def _stated(self, section: Mapping[str, Any], place: str) -> dict[str, Any]:
        options = {
            flag.lstrip("-"): param.name
            for param in self.params
            if isinstance(param, click.Option)
            for flag in param.opts
            if flag.startswith("--")
        }
        for name in section:
            if name.replace("_", "-") not in options:
                raise WrongConfigError(
                    f"{place}: scalefit {self.name} has no option {name}; {_near(name, options)}"
                )
        return {
            str(options[name.replace("_", "-")]): _typed(value) for name, value in section.items()
        }

    def _told(self, ctx: click.Context) -> str:
        rows = [
            (_shown(param), ctx.params[str(param.name)], _source(ctx, param))
            for param in self.params
            if param.name in ctx.params
        ]
        if ctx.params.get("as_json"):
            said = {name: {"value": _plain(value), "from": source} for name, value, source in rows}
            return json.dumps({"command": self.name, "options": said})
        wide = max(len(name) for name, _, _ in rows)
        values = [_words(value) for _, value, _ in rows]
        far = max(map(len, values))
        return "\n".join(
            f"{name:<{wide}}  {value:<{far}}  {source}"
            for (name, _, source), value in zip(rows, values, strict=True)
        )


def _place(ctx: click.Context) -> str:
    """The file of defaults, as the user named it."""
    return str(ctx.find_root().params.get("config") or FILE)


def _source(ctx: click.Context, param: click.Parameter) -> str:
    found = ctx.get_parameter_source(str(param.name))
    if found is ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    words = {
        ParameterSource.COMMANDLINE: "command line",
        ParameterSource.DEFAULT_MAP: _place(ctx),
    }
    return "default" if found is None else words.get(found, "default")


def _flag(option: click.Option) -> str:
    """DROP_HIGHEST of --drop-highest."""
    return max(option.opts, key=len).removeprefix("--").replace("-", "_").upper()


def _shown(param: click.Parameter) -> str:
    return (
        max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name
    )


def _words(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_words, value)) or "-"
    if hasattr(value, "tolist"):  # an array, of a library that is not loaded for this
        return _words(value.tolist())
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _typed(value: Any) -> Any:
    """As it would be typed on the command line, several of them apart."""
    if isinstance(value, list):
        return tuple(_typed(one) for one in value)
    return value if isinstance(value, bool) else str(value)


def _near(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name.replace("_", "-"), list(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
