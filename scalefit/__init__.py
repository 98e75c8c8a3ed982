"""scalefit: fit neural scaling laws, say how sure the fit is, plan compute-optimal training.

The flow is runs -> law -> fit -> plan -> report:

    import scalefit as sf
    runs = sf.read("results.parquet")
    fit = sf.fit(runs)
    sf.plan(fit, flops=1e21)

Names load on first use (PEP 562), so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scalefit.diagnosis.audit import audit as audit
    from scalefit.diagnosis.choose import choose as choose
    from scalefit.diagnosis.compare import compare as compare
    from scalefit.errors import ScalefitError as ScalefitError
    from scalefit.fitting import Fit as Fit
    from scalefit.fitting import fit as fit
    from scalefit.frontiers.envelope import envelope as envelope
    from scalefit.frontiers.isoflop import isoflop as isoflop
    from scalefit.laws import Law as Law
    from scalefit.laws import published as published
    from scalefit.laws.custom import law_of as law_of
    from scalefit.planning import Plan as Plan
    from scalefit.planning import plan as plan
    from scalefit.report.html import write_report as write_report
    from scalefit.runs import Runs as Runs
    from scalefit.runs import read as read

__version__ = "0.1.0"

_HOMES = {
    "audit": "scalefit.diagnosis.audit",
    "choose": "scalefit.diagnosis.choose",
    "compare": "scalefit.diagnosis.compare",
    "envelope": "scalefit.frontiers.envelope",
    "isoflop": "scalefit.frontiers.isoflop",
    "law_of": "scalefit.laws.custom",
    "ScalefitError": "scalefit.errors",
    "Fit": "scalefit.fitting",
    "fit": "scalefit.fitting",
    "Law": "scalefit.laws",
    "published": "scalefit.laws",
    "Plan": "scalefit.planning",
    "plan": "scalefit.planning",
    "write_report": "scalefit.report.html",
    "Runs": "scalefit.runs",
    "read": "scalefit.runs",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the lazy names below are real


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'scalefit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
