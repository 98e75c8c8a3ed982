"""Laws: forms (one file each) and the laws of the literature (``published.toml``)."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from scalefit.errors import FitError, PlanError
from scalefit.laws.base import (
    Allocation,
    Constant,
    Constraints,
    Convention,
    Derivatives,
    Flags,
    FloatArray,
    Model,
)
from scalefit.laws.chinchilla import Chinchilla
from scalefit.laws.form import Form, Law
from scalefit.laws.frontier import Frontier
from scalefit.laws.generalised import Generalised

__all__ = [
    "FORMS",
    "Allocation",
    "Constant",
    "Constraints",
    "Convention",
    "Derivatives",
    "Flags",
    "FloatArray",
    "Form",
    "Law",
    "Model",
    "form_named",
    "published",
    "published_names",
]

FORMS: Mapping[str, Form] = {form.name: form for form in (Chinchilla(), Generalised(), Frontier())}


def form_named(name: str) -> Form:
    """The form called ``name``.

    Raises:
        FitError: if there is none.
    """
    if name not in FORMS:
        raise FitError(f"no form is called {name!r}; there is {', '.join(FORMS)}")
    return FORMS[name]


def published_names() -> tuple[str, ...]:
    """Names of the laws of the literature that ship with the package."""
    return tuple(_table())


def published(name: str) -> Law:
    """A law of the literature, for example ``published("besiroglu2024")``.

    Raises:
        PlanError: if no law has this name; the message gives the nearest names.
    """
    table = _table()
    if name not in table:
        near = get_close_matches(name, table, n=3, cutoff=0.4) or list(table)
        raise PlanError(f"no law is called {name!r}; did you mean {', '.join(near)}?")
    entry = table[name]
    return Law(
        name=name,
        form=FORMS[entry["form"]],
        params=entry["params"],
        convention=Convention(**entry["convention"]),
        source=entry["source"],
        flops_seen=entry.get("flops_seen"),
    )


@cache
def _table() -> dict[str, dict]:  # type: ignore[type-arg] # parsed TOML
    text = files("scalefit.laws").joinpath("published.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
