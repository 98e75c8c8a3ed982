"""The laws of the literature: what was printed, by whom and where (``published.toml``).

A paper's numbers stay as it prints them; ``Entry.law`` brings them to FLOP, parameters and tokens.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from math import exp, isnan, nan
from typing import Any

from scalefit.errors import PlanError
from scalefit.laws.base import Convention
from scalefit.laws.exponents import Exponents
from scalefit.laws.form import Form, Law
from scalefit.quantities import parse_flops

MAIN = "main"  # the law that bears the paper's name
SAID = re.compile(r"([\w*']+\([^()]*\)) =")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What a source prints beside its law, for example the best batch.

    Attributes:
        equation: in the letters of ``constants``.
        unit: of its left-hand side, "" for none.
        constants: as printed.
    """

    equation: str
    unit: str
    constants: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A law as its source prints it.

    Attributes:
        name: authorYear, or authorYear/variant.
        paper, where: the source, and the table or equation in it.
        form: the name of the functional form.
        printed: the printed constants; a text is a number with its unit.
        convention: what N, C and L mean.
        note: what to know before using it; "" for nothing.
        flops_seen: the largest compute among the runs behind it, None where unknown.
        intervals, band: printed (low, high) by constant, and what they are.
        errors: printed standard errors by constant.
        also: see ``Relation``.
        points: printed optima, each with C, N and D.
    """

    name: str
    paper: str
    where: str
    form: str
    printed: Mapping[str, float | str]
    convention: Convention
    note: str = ""
    flops_seen: float | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    band: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)
    also: tuple[Relation, ...] = ()
    points: tuple[Mapping[str, float], ...] = ()

    @property
    def family(self) -> str:
        """The paper's name, which all its laws begin with."""
        return self.name.partition("/")[0]

    @property
    def source(self) -> str:
        """In one line."""
        return f"{self.paper}, {self.where}"

    @property
    def law(self) -> Law:
        """In FLOP, parameters and tokens."""
        form = _form(self.form)
        given = _natural(self.printed)
        if self.form == "frontier":
            given = _frontier(given)
        elif "A" in given and "C_c" in form.parameters:
            given["C_c"] = given["A"] ** (1 / given["alpha"])
        elif isinstance(form, Exponents):
            given = {"b": _rest(given["a"]), **given}
        return Law(
            name=self.name,
            form=form,
            params={name: given.get(name, nan) for name in form.parameters},
            convention=self.convention,
            source=self.source,
            flops_seen=self.flops_seen,
        )


def published(name: str) -> Law:
    """A law of the literature, for example ``published("besiroglu2024")``.

    Raises:
        PlanError: if no law has this name; the message gives the nearest names.
    """
    return entry(name).law


def published_names() -> tuple[str, ...]:
    """Names of the laws of the literature that ship with the package."""
    return tuple(_entries())


def entry(name: str) -> Entry:
    """What was printed of a law; a paper may go by another name, "llama3" for "grattafiori2024".

    Raises:
        PlanError: if no law has this name; the message gives the nearest names.
    """
    found = named(name)
    if found is None:
        raise PlanError(f"no law is called {name!r}; did you mean {_near(_full(name))}?")
    return found


def named(name: str) -> Entry | None:
    """The law of this name, None if there is none."""
    return _entries().get(_full(name))


def entries(name: str | None = None) -> tuple[Entry, ...]:
    """All laws, or that of this name with its variants.

    Raises:
        PlanError: if no law has this name; the message gives the nearest names.
    """
    if name is None:
        return tuple(_entries().values())
    full = _full(name)
    found = tuple(one for key, one in _entries().items() if f"{key}/".startswith(f"{full}/"))
    return found or (entry(name),)


def planners(name: str) -> tuple[str, ...]:
    """The laws of the same paper that plan: first that whose variant this is; none if unknown."""
    if name not in _entries():
        return ()
    family = [one for one in entries(_entries()[name].family) if one.law.form.plans]
    above = [one.name for one in family if name.startswith(f"{one.name}/")]
    return tuple(above[-1:] or [one.name for one in family])


def answers(law: Law) -> tuple[str, ...]:
    """What a law says, as its equation writes it: ("L(N, D)",) or ("N*(C)", "D*(C)", "L*(C)")."""
    said = tuple(SAID.findall(law.form.equation)) or (law.form.equation,)
    unknown = law.form.name == "frontier" and isnan(law.params["L_1"])
    return tuple(one for one in said if not (unknown and one.startswith("L")))


def exponents(law: Law) -> tuple[float, float] | None:
    """(a, b), how N* and D* grow with compute; None where the law does not say."""
    if not (law.form.plans or isinstance(law.form, Exponents)):
        return None
    a, b = law.form.exponents(law.theta).tolist()
    return a, b


def _form(name: str) -> Form:
    from scalefit.laws import form_named  # which itself offers ``published``

    return Exponents() if name == Exponents.name else form_named(name)


def _natural(printed: Mapping[str, float | str]) -> dict[str, float]:
    """Numbers for texts with units, and X for logX."""
    given = {name: parse_flops(x) if isinstance(x, str) else x for name, x in printed.items()}
    return {
        name.removeprefix("log"): exp(x) if name.startswith("log") else float(x)
        for name, x in given.items()
    }


def _frontier(given: Mapping[str, float]) -> dict[str, float]:
    """The constants of the frontier, of which C = 6ND gives those that are not printed."""
    whole = dict(given)
    if "M_1" in whole:
        whole["N_1"] = whole["M_1"] / 6
    for size, power, other, others_power in (("N_1", "a", "D_1", "b"), ("D_1", "b", "N_1", "a")):
        if size not in whole:
            whole[size] = whole["C_1"] / 6 / whole[other]
            whole[power] = _rest(whole[others_power])
    if "C_c" in whole:
        whole["L_1"] = (whole["C_c"] / whole["C_1"]) ** whole["c"]
    return whole


def _rest(exponent: float) -> float:
    """The other exponent where C = 6ND, with no more digits than the one printed."""
    return round(1 - exponent, 9)


def _full(name: str) -> str:
    paper, slash, variant = name.partition("/")
    return f"{_papers()[1].get(paper, paper)}{slash}{variant}"


def _near(name: str) -> str:
    variants = [key for key in _entries() if key.startswith(f"{name}/")]
    near = variants or get_close_matches(name, [*_entries(), *_papers()[1]], n=3, cutoff=0.4)
    return ", ".join(near[:3] or _papers()[0])


@cache
def _entries() -> dict[str, Entry]:
    found = {}
    for paper, said in _papers()[0].items():
        shared = {key: said[key] for key in said.keys() - {"alias", "laws"}}
        for variant, own in said["laws"].items():
            name = paper if variant == MAIN else f"{paper}/{variant}"
            found[name] = _entry(name, shared, own)
    return found


def _entry(name: str, shared: Mapping[str, Any], own: Mapping[str, Any]) -> Entry:
    both = {**shared, **own}
    convention = {**shared.get("convention", {}), **own.get("convention", {})}
    notes = [said["note"] for said in (own, shared) if "note" in said]
    return Entry(
        name=name,
        paper=both["paper"],
        where=both["where"],
        form=both["form"],
        printed=both["params"],
        convention=Convention(**convention),
        note=". ".join(notes),
        flops_seen=both.get("flops_seen"),
        intervals={key: (low, high) for key, (low, high) in both.get("intervals", {}).items()},
        band=both.get("band", ""),
        errors=both.get("errors", {}),
        also=tuple(Relation(**relation) for relation in both.get("also", ())),
        points=tuple(both.get("points", ())),
    )


@cache
def _papers() -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What stands in published.toml by paper, and papers by their other names."""
    text = files("scalefit.laws").joinpath("published.toml").read_text(encoding="utf-8")
    papers = tomllib.loads(text)
    return papers, {said["alias"]: name for name, said in papers.items() if "alias" in said}
