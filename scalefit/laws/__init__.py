"""Laws: forms (one file each) and the laws of the literature (``published.toml``)."""

from collections.abc import Mapping

from scalefit.errors import FitError
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
from scalefit.laws.broken import Broken
from scalefit.laws.chinchilla import Chinchilla
from scalefit.laws.data_constrained import DataConstrained
from scalefit.laws.form import Form, Law
from scalefit.laws.frontier import Frontier
from scalefit.laws.generalised import Generalised
from scalefit.laws.hyperparameters import OptimalBatch, OptimalRate
from scalefit.laws.kaplan import CriticalBatch, Kaplan, KaplanSteps
from scalefit.laws.literature import published, published_names
from scalefit.laws.overtraining import Downstream, Overtraining
from scalefit.laws.power import AXES, Offset, Power
from scalefit.laws.routed import Routed
from scalefit.laws.schedule import MultiPower

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

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Chinchilla(),
        Generalised(),
        Kaplan(),
        KaplanSteps(),
        CriticalBatch(),
        *(kind(axis) for kind in (Power, Offset, Broken) for axis in AXES),
        MultiPower(),
        DataConstrained(),
        Overtraining(),
        Downstream(),
        Routed(),
        OptimalRate(),
        OptimalBatch(),
        Frontier(),
    )
}


def form_named(name: str) -> Form:
    """The form called ``name``.

    Raises:
        FitError: if there is none.
    """
    if name not in FORMS:
        raise FitError(f"no form is called {name!r}; there is {', '.join(FORMS)}")
    return FORMS[name]
