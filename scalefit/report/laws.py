"""The laws of the literature as text and as JSON objects: what was printed, and what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from math import isfinite
from textwrap import TextWrapper

import numpy as np

from scalefit.laws import FORMS, Form
from scalefit.laws.literature import Entry, answers, entries, exponents, named, planners
from scalefit.quantities import UNKNOWN, format_count, format_flops, format_number
from scalefit.report.text import COUNTED, flops_rule, loss_unit

SCHEMA = 1
WIDTH, HEAD, NAME = 98, 10, 41
BUDGETS = np.array([1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25])
"""Of the table of optima, in FLOP."""
UNITS = {
    "C_1": "FLOP", "C_c": "FLOP", "N_1": "parameters", "N_c": "parameters", "D_1": "tokens",
    "D_c": "tokens", "B_star": "tokens", "S_c": "steps",
}  # fmt: skip
OPTIMUM = ("flops", "params", "tokens", "loss")
PRINT_EXPONENTS = ("frontier", "exponents")  # other laws' a and b are something else
LOSSES = ("E", "L_1", "L0")  # constants in the unit of the loss


def answer(name: str | None, *, forms: bool, growth: bool) -> tuple[dict[str, object], str]:
    """What ``scalefit laws`` says, as a JSON object and as text.

    Args:
        name: a law or a paper; None for all laws.
        forms: the forms that can be fitted, in place of laws.
        growth: the exponents of N* and D* of these laws.

    Raises:
        PlanError: if no law has this name; the message gives the nearest names.
    """
    if forms:
        return forms_dict(), forms_text()
    found = entries(name)
    if growth:
        return exponents_dict(found), exponents_text(found)
    exact = None if name is None else named(name)
    if exact:
        return law_dict(exact), law_text(exact)
    return laws_dict(found), laws_text(found)


def laws_text(found: Sequence[Entry]) -> str:
    """The laws by paper: what each says, and whether it can plan."""
    lines = []
    for paper, laws in groupby(found, key=lambda entry: entry.paper):
        lines += ["", paper, *(_law_row(entry) for entry in laws)]
    return "\n".join(lines[1:])


def _law_row(entry: Entry) -> str:
    law = entry.law
    plans = "plans" if law.form.plans else ""
    return f"  {entry.name:<{NAME}}{', '.join(answers(law)):<26}{plans:<7}{entry.form}"


def forms_text() -> str:
    """The forms that runs can be fitted with: what each is about, and its equation."""
    return "\n".join(f"{form.name:<18}{form.equation}" for form in _fitted())


def law_text(entry: Entry) -> str:
    """One law: its equation, constants, source and variants, and what it plans."""
    law = entry.law
    what = f"{law.form.name}; it says {', '.join(answers(law))}"
    equation = law.form.equation if "L*" in what else law.form.equation.partition(", L*")[0]
    return "\n".join(
        [
            f"{entry.name}   {what}",
            *_wrapped(equation, later=2),
            "",
            *_told(entry),
            "",
            *_constant_rows(entry),
            *_relation_rows(entry),
            *_variant_rows(entry),
            *_optimum_rows(entry),
            *_point_rows(entry),
        ]
    )


def exponents_text(found: Sequence[Entry]) -> str:
    """How N* and D* grow with compute by law, with the printed bands."""
    known = [entry for entry in found if exponents(entry.law)]
    head = f"{'':<34}{'a, N* ~ C^a':<25}{'b, D* ~ C^b':<25}"
    return "\n".join([head.rstrip(), *(_exponent_row(entry) for entry in known)])


def laws_dict(found: Sequence[Entry]) -> dict[str, object]:
    """The JSON object of ``scalefit laws --json``."""
    return {"schema": SCHEMA, "laws": [_short(entry) for entry in found]}


def forms_dict() -> dict[str, object]:
    """The JSON object of ``scalefit laws --forms --json``."""
    return {
        "schema": SCHEMA,
        "forms": [
            {
                "name": form.name,
                "equation": form.equation,
                "constants": list(form.parameters),
                "needs": list(form.quantities),
                "plans": form.plans,
            }
            for form in _fitted()
        ],
    }


def exponents_dict(found: Sequence[Entry]) -> dict[str, object]:
    """The JSON object of ``scalefit laws --exponents --json``."""
    grown = ((entry, exponents(entry.law)) for entry in found)
    return {"schema": SCHEMA, "exponents": [_growth(entry, *both) for entry, both in grown if both]}


def _growth(entry: Entry, a: float, b: float) -> dict[str, object]:
    return {
        "law": entry.name,
        "a": a,
        "b": b,
        "intervals": _bands(entry),
        "band": entry.band,
        "printed": entry.form in PRINT_EXPONENTS,
        "source": entry.source,
    }


def law_dict(entry: Entry) -> dict[str, object]:
    """The JSON object of ``scalefit laws NAME --json``."""
    law = entry.law
    return {
        "schema": SCHEMA,
        **_short(entry),
        "equation": law.form.equation,
        "params": {name: _json(value) for name, value in law.params.items()},
        "units": {name: _constant_unit(entry, name) for name in law.params},
        "printed": dict(entry.printed),
        "convention": asdict(entry.convention),
        "note": entry.note,
        "flops_seen": entry.flops_seen,
        "intervals": dict(entry.intervals),
        "band": entry.band,
        "errors": dict(entry.errors),
        "also": [asdict(relation) for relation in entry.also],
        "points": [dict(point) for point in entry.points],
        "optima": [dict(zip(OPTIMUM, optimum, strict=True)) for optimum in _optima(entry)],
        "related": [one.name for one in entries(entry.family) if one.name != entry.name],
    }


def _fitted() -> list[Form]:
    """A frontier is drawn through optima, not fitted to runs."""
    return [form for name, form in FORMS.items() if name != "frontier"]


def _short(entry: Entry) -> dict[str, object]:
    law = entry.law
    return {
        "name": entry.name,
        "form": entry.form,
        "answers": list(answers(law)),
        "plans": law.form.plans,
        "source": entry.source,
    }


def _json(value: float) -> float | None:
    return value if isfinite(value) else None


def _told(entry: Entry) -> list[str]:
    lines = {
        "Source": entry.source,
        "Printed": _numbers(entry.printed),
        "Counted": _counted(entry),
        "Note": entry.note,
        "Seen": f"C to {format_flops(entry.flops_seen)} FLOP" if entry.flops_seen else "",
        "Plans": "" if entry.law.form.plans else _instead(entry),
    }
    return [
        line
        for head, text in lines.items()
        if text
        for line in _wrapped(f"{head:<{HEAD}}{text}", later=HEAD)
    ]


def _counted(entry: Entry) -> str:
    """The part of the convention that matters to this law."""
    form, convention = entry.law.form, entry.convention
    about = (form.response, *form.variables, *(("params", "flops") if form.plans else ()))
    parts = {
        "flops": f"C {flops_rule(convention)}",
        "params": COUNTED[convention.params],
        "loss": loss_unit(convention.loss),
    }
    return "; ".join(part for quantity, part in parts.items() if quantity in about)


def _wrapped(text: str, *, first: int = 0, later: int) -> list[str]:
    return TextWrapper(
        WIDTH,
        initial_indent=" " * first,
        subsequent_indent=" " * later,
        break_on_hyphens=False,  # names have them
    ).wrap(text)


def _instead(entry: Entry) -> str:
    others = planners(entry.name)
    return f"no; plan with {' or '.join(others)}" if others else "no"


def _numbers(constants: Mapping[str, float | str]) -> str:
    return ", ".join(f"{name} = {_as_printed(value)}" for name, value in constants.items())


def _as_printed(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if value >= 1e6:
        return format_flops(value, 12)
    return short if float(short := f"{value:g}") == value else str(value)


def _constant_rows(entry: Entry) -> list[str]:
    band = entry.band if entry.intervals else ""
    head = f"{'':<10}{'value':>12}  {'':<12}{'printed error' if entry.errors else '':<15}{band}"
    known = {name: value for name, value in entry.law.params.items() if isfinite(value)}
    return [head.rstrip(), *(_constant_row(entry, name, value) for name, value in known.items())]


def _constant_row(entry: Entry, name: str, value: float) -> str:
    unit = _constant_unit(entry, name)
    error = f"{entry.errors[name]:g}" if name in entry.errors else ""
    gap = f"{error:<15}" if entry.errors else ""
    low, high = entry.intervals.get(name, (None, None))
    band = "" if low is None else f"{low:g} … {high:g}"
    return f"{name:<10}{format_number(value):>12}  {unit:<12}{gap}{band}".rstrip()


def _constant_unit(entry: Entry, name: str) -> str:
    form = entry.law.form
    losses = LOSSES if form.response == "loss" and "E_max" not in form.parameters else ()
    return entry.convention.loss if name in losses else UNITS.get(name, "")


def _relation_rows(entry: Entry) -> list[str]:
    if not entry.also:
        return []
    rows = (
        f"  {relation.equation}{f' {relation.unit}' if relation.unit else ''}, "
        f"{_numbers(relation.constants)}"
        for relation in entry.also
    )
    return ["", "Also printed", *rows]


def _variant_rows(entry: Entry) -> list[str]:
    """The laws under this one in full, and the names of the paper's others."""
    family = entries(entry.family)
    under = [one for one in family if one.name.startswith(f"{entry.name}/")]
    beside = [one.name for one in family if one not in under and one != entry]
    rows = [line for one in under for line in _variant_lines(one)]
    others = _wrapped(", ".join(beside), first=2, later=2)
    return [
        *(["", "Variants", *rows] if rows else []),
        *(["", "Of the same paper", *others] if others else []),
    ]


def _variant_lines(entry: Entry) -> list[str]:
    said = ", ".join(answers(entry.law))
    text = f"{entry.name:<{NAME}}{said}: {_numbers(entry.printed)}"
    return _wrapped(text, first=2, later=NAME + 2)


def _optima(entry: Entry) -> list[tuple[float, float, float, float | None]]:
    """(C, N*, D*, L*) at ``BUDGETS``; L* is None where it is not said."""
    if not entry.law.form.plans:
        return []
    best = entry.law.optimum(BUDGETS)
    columns = (BUDGETS, best.params, best.tokens)
    losses = [_json(loss) for loss in best.loss.tolist()]
    return list(zip(*(column.tolist() for column in columns), losses, strict=True))


def _optimum_rows(entry: Entry) -> list[str]:
    optima = _optima(entry)
    if not optima:
        return []
    head = f"{'C':>10}{'N*':>10}{'D*':>10}{'D*/N*':>10}{'L*':>10}"
    return ["", head, *(_optimum_row(*optimum) for optimum in optima)]


def _optimum_row(flops: float, params: float, tokens: float, loss: float | None) -> str:
    counts = f"{format_flops(flops):>10}{format_count(params):>10}{format_count(tokens):>10}"
    said = UNKNOWN if loss is None else f"{loss:.3f}"
    return f"{counts}{format_number(tokens / params):>10}{said:>10}"


def _point_rows(entry: Entry) -> list[str]:
    """Printed optima beside what the law says of their compute."""
    if not entry.points:
        return []
    flops = np.array([point["C"] for point in entry.points])
    best = entry.law.optimum(flops)
    head = f"{'C':>10}{'N':>10}{'D':>10}{'N*':>10}{'D*':>10}"
    rows = (
        f"{format_flops(point['C']):>10}{format_count(point['N']):>10}"
        f"{format_count(point['D'], 4):>10}{format_count(size):>10}{format_count(data):>10}"
        for point, size, data in zip(
            entry.points, best.params.tolist(), best.tokens.tolist(), strict=True
        )
    )
    return ["", "Printed optima, and those of the law", head, *rows]


def _bands(entry: Entry) -> dict[str, tuple[float, float]]:
    """Of the exponents, where they are printed."""
    printed = entry.form in PRINT_EXPONENTS
    return {name: band for name, band in entry.intervals.items() if printed and name in ("a", "b")}


def _exponent_row(entry: Entry) -> str:
    both = exponents(entry.law)
    assert both is not None
    cells = (_exponent(entry, name, value) for name, value in zip("ab", both, strict=True))
    band = entry.band if entry.intervals else ""
    remark = band if entry.form in PRINT_EXPONENTS else "follow from the law"
    a, b = cells
    return f"{entry.name:<34}{a:<25}{b:<25}{remark}".rstrip()


def _exponent(entry: Entry, name: str, value: float) -> str:
    """With at least the digits of the paper's habit, and its band."""
    digits = max(2, len(f"{round(value, 4):g}".partition(".")[2]))
    low, high = _bands(entry).get(name, (None, None))
    band = "" if low is None else f" ({low:g}, {high:g})"
    return f"{value:.{digits}f}{band}"
