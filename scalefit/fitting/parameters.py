"""What users say about parameters, carried by lmfit (Newville et al.): fixed, bounded, tied.

lmfit takes a second to import, so only a constrained fit does it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from scalefit.errors import FitError
from scalefit.laws import Constraints, Form

if TYPE_CHECKING:
    import lmfit


def parameters(
    form: Form,
    *,
    fix: Iterable[tuple[str, float]] = (),
    bound: Iterable[tuple[str, float, float]] = (),
    tie: Iterable[tuple[str, str]] = (),
) -> "lmfit.Parameters":
    """An ``lmfit.Parameters`` of a form with what the command line says.

    Raises:
        FitError: for a name that the form does not have, or said twice.
    """
    import lmfit

    wanted = lmfit.Parameters()
    for name in form.parameters:
        wanted.add(name, value=1.0)
    said: set[str] = set()
    for name, value in fix:
        _once(form, name, said)
        wanted[name].set(value=value, vary=False)
    for name, low, high in bound:
        _once(form, name, said)
        wanted[name].set(min=low, max=high)
    for name, other in tie:
        _known(form, other)
        _once(form, name, said)
        wanted[name].set(expr=other)
    return wanted


def constraints(form: Form, wanted: "lmfit.Parameters") -> Constraints:
    """What an ``lmfit.Parameters`` says about the parameters of a form.

    ``vary=False`` fixes, ``min`` and ``max`` bound, ``expr`` with the name of another ties.

    Raises:
        FitError: for a parameter that the form does not have, an impossible range or value, or an
            expression that is more than a tie.
    """
    fixed, bounds, tied = {}, {}, {}
    for name, entry in wanted.items():
        _known(form, name)
        if entry.expr:
            tied[name] = _tie(form, name, entry.expr)
        elif not entry.vary:
            fixed[name] = _possible(form, name, float(entry.value))
        elif np.isfinite(entry.min) or np.isfinite(entry.max):
            bounds[name] = _range(form, name, float(entry.min), float(entry.max))
    for name, other in tied.items():
        if other in tied:
            raise FitError(
                f"{name} = {other} and {other} = {tied[other]}; tie one to the other, not both"
            )
    if len(fixed) + len(tied) >= len(form.parameters):
        raise FitError("every parameter is fixed, so there is nothing to fit; free one")
    return Constraints(fixed=fixed, bounds=bounds, tied=tied)


def _known(form: Form, name: str) -> None:
    if name not in form.parameters:
        raise FitError(
            f"the {form.name} law has no parameter {name!r}; it has {', '.join(form.parameters)}"
        )


def _once(form: Form, name: str, said: set[str]) -> None:
    _known(form, name)
    if name in said:
        raise FitError(f"{name} is constrained twice; say one thing about it")
    said.add(name)


def _tie(form: Form, name: str, other: str) -> str:
    _known(form, other.strip())
    other = other.strip()
    if form.ties is not None and {name, other} not in form.ties:
        allowed = ", or ".join(" with ".join(sorted(pair)) for pair in form.ties)
        raise FitError(f"{name} = {other} cannot be fitted; tie {allowed}")
    return other


def _possible(form: Form, name: str, value: float) -> float:
    constant = form.constant(name)
    signed, floor = constant.low < 0, constant.scale == "plain" and constant.low == 0
    if not np.isfinite(value) or (value < 0 and not signed) or (value == 0 and not signed | floor):
        raise FitError(f"{name} = {value:g} is impossible; it must be positive and finite")
    return value


def _range(form: Form, name: str, low: float, high: float) -> tuple[float, float]:
    low = max(low, min(form.constant(name).low, 0.0))
    if not low < high:
        raise FitError(
            f"{low:g} <= {name} <= {high:g} holds no value; give a low and a higher limit"
        )
    return low, high
