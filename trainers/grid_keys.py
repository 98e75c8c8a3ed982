"""What each key of a grid file may hold, and one sentence for whatever it holds instead."""

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from scalefit.errors import GridError
from scalefit.quantities import parse_tokens
from trainers.models.base import FAMILIES
from trainers.sources.base import FILES, SOURCES, kind

Reader = Callable[[object], object]
"""Takes a TOML value and returns what it means; ValueError if it is not allowed."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a key allows, in words, and how it is read."""

    allowed: str
    read: Reader


RUNS = "runs"
"""The tables of a grid file with several grids: each has the keys that it alone sets."""


def parse(text: str, place: str) -> list[dict[str, object]]:
    """The values of every key of a grid file, once for each of its [[runs]] or once in all.

    What a table of [[runs]] does not say is taken from the top of the file. GridError names file,
    table, key and what is allowed.
    """
    try:
        top = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GridError(f"{place} is not valid TOML: {error}") from error
    if RUNS not in top:
        return [_values(top, place)]
    tables = top.pop(RUNS)
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise GridError(f"{place}: runs must be tables with keys of their own, each under [[runs]]")
    return [_values(top | table, f"{place}, [[runs]] {i}") for i, table in enumerate(tables, 1)]


def _values(values: Mapping[str, object], place: str) -> dict[str, object]:
    for key in values:
        if key not in KEYS:
            raise GridError(f'{place} has an unknown key "{key}"; {nearest(key, KEYS, "keys")}')
    family = _family(values, place)
    needed = [key for key in KEYS if key in REQUIRED or key in FAMILIES[family].keys]
    missing = [key for key in needed if key not in values]
    if missing:
        raise GridError(f"{place} lacks {missing[0]}; it must be {KEYS[missing[0]].allowed}")
    for key in values:
        if key not in (*needed, *OPTIONAL):
            raise GridError(
                f"{place}: {key} means nothing to a {family}, which is what trains on the source "
                f"{_shown(values['source'])}; leave it out"
            )
    return {key: _value(key, values[key], place) for key in KEYS if key in values}


def _family(values: Mapping[str, object], place: str) -> str:
    """The family of models that trains on the source of a grid file."""
    if "source" not in values:
        raise GridError(f"{place} lacks source; it must be {KEYS['source'].allowed}")
    found = kind(str(_value("source", values["source"], place)))
    assert found is not None
    return found.family


def nearest(word: str, known: Mapping[str, object], kind: str) -> str:
    """A suggestion for a word that is not known."""
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else f"the {kind} are {', '.join(known)}"


def _value(key: str, value: object, place: str) -> object:
    try:
        return KEYS[key].read(value)
    except ValueError as error:  # a QuantityError is one
        allowed = KEYS[key].allowed
        raise GridError(f"{place}: {key} must be {allowed}, not {_shown(value)}") from error


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _require(allowed: bool) -> None:
    if not allowed:
        raise ValueError


def _source(value: object) -> str:
    _require(isinstance(value, str) and kind(value) is not None)
    return str(value)


def _one_of(*words: str) -> Reader:
    def read(value: object) -> str:
        _require(value in words)
        return str(value)

    return read


def _number(low: float, high: float) -> Reader:
    def read(value: object) -> float:
        number = float(value) if type(value) in (int, float) else math.nan  # type: ignore[arg-type]
        _require(low <= number <= high)
        return number

    return read


def _whole(low: int, high: int) -> Reader:
    def read(value: object) -> int:
        # type(), because a bool is an int
        number = int(value) if type(value) is int else low - 1
        _require(low <= number <= high)
        return number

    return read


def _tokens(value: object) -> int:
    _require(type(value) in (int, float, str))
    return round(parse_tokens(value))  # type: ignore[arg-type]


def _several(read: Reader) -> Reader:
    def read_all(value: object) -> tuple[object, ...]:
        items = tuple(map(read, value)) if isinstance(value, list) else ()
        _require(0 < len(items) == len(set(items)))
        return items

    return read_all


WIDEST = 65_536

KEYS: dict[str, Key] = {
    "source": Key(
        f"{', '.join(map(repr, SOURCES))} or the path of a file (*{', *'.join(FILES)})".replace(
            "'", '"'
        ),
        _source,
    ),
    "context": Key("a whole number of tokens from 2 to 1048576", _whole(2, 2**20)),
    "widths": Key(
        f"a list of different whole numbers from 2 to {WIDEST}", _several(_whole(2, WIDEST))
    ),
    "depth": Key("a whole number from 1 to 1024", _whole(1, 1024)),
    "head_width": Key("a whole number from 2 to 8192", _whole(2, 8192)),
    "tokens": Key(
        'a list of different numbers of tokens such as 65_536 or "1M tokens"', _several(_tokens)
    ),
    "seeds": Key(
        "a list of different whole numbers from 0 to 2147483647", _several(_whole(0, 2**31 - 1))
    ),
    "batch": Key("a whole number of sequences from 1 to 16777216", _whole(1, 2**24)),
    "learning_rate": Key("a number from 1e-9 to 10", _number(1e-9, 10.0)),
    "embedding_rate": Key("a number from 1e-9 to 10", _number(1e-9, 10.0)),
    "warmup": Key("a whole number of steps from 0 to 1000000", _whole(0, 1_000_000)),
    "cooldown": Key("a share of each token count from 0.01 to 0.99", _number(0.01, 0.99)),
    "held_out": Key("a number of tokens such as 65_536", _tokens),
    "schedule": Key('"wsd" or "cosine"', _one_of("wsd", "cosine")),
    "precision": Key('"float32" or "bf16"', _one_of("float32", "bf16")),
    "max_epochs": Key("a number of passes from 1 to 10000", _number(1.0, 1e4)),
    "unique_tokens": Key(
        'a list of different numbers of tokens such as 65_536 or "1M tokens"', _several(_tokens)
    ),
}
"""Every key; those of no family and not optional are asked of every grid."""

OPTIONAL = ("schedule", "precision", "max_epochs", "unique_tokens")
REQUIRED = ("source", "widths", "tokens", "seeds", "batch", "warmup", "cooldown", "held_out")
