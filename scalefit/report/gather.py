"""All that a report shows: the fit, the approaches held against it, what speaks against it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from scalefit.diagnosis.backtest import Backtest, backtest
from scalefit.diagnosis.compare import Comparison, compare
from scalefit.diagnosis.diagnose import Diagnosis, diagnose
from scalefit.errors import ScalefitError
from scalefit.fitting import Fit
from scalefit.runs import Runs

SCHEMA = 1
FEWEST = 100
"""Replicates behind the parts of a report, where the fit has fewer draws."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a report is made of; what could not be had is a reason in words.

    Attributes:
        fit: the law and how it was found.
        runs: those it was fitted to.
        comparison: the approaches of Hoffmann et al. 2022 side by side.
        diagnosis: residuals and influence.
        backtest: what the law would have predicted.
        missing: reasons by name of what is None.
    """

    fit: Fit
    runs: Runs
    comparison: Comparison | None
    diagnosis: Diagnosis | None
    backtest: Backtest | None
    missing: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit report --json``."""
        parts = ("comparison", "diagnosis", "backtest")
        found = {name: getattr(self, name) for name in parts}
        return {
            "schema": SCHEMA,
            "fit": self.fit.to_dict(),
            **{name: part and part.to_dict() for name, part in found.items()},
            "missing": dict(self.missing),
        }


def gather(
    fit: Fit, runs: Runs, *, seed: int = 0, tell: Callable[[str], None] = lambda _: None
) -> Found:
    """Hold a fit against its runs from every side.

    Args:
        fit: of a law to these runs.
        runs: the table.
        seed: of everything random.
        tell: called with a few words before each part.
    """
    level = next(iter(fit.intervals.values())).level
    form, aim = fit.law.form.name, fit.objective
    common: dict[str, Any] = {
        "form": form, "objective": aim.name, "delta": aim.delta, "seed": seed,
        "bootstrap": max(len(fit.draws), FEWEST),
    }  # fmt: skip
    missing: dict[str, str] = {}

    def have(name: str, words: str, way: Callable[[], T]) -> T | None:
        tell(words)
        try:
            return way()
        except ScalefitError as error:
            missing[name] = str(error)
            return None

    return Found(
        fit=fit,
        runs=runs,
        comparison=have(
            "comparison", "holding the three approaches against each other",
            lambda: compare(runs, level=level, **common),
        ),
        diagnosis=have(
            "diagnosis", "looking for the rows that move the fit",
            lambda: diagnose(runs, **common),
        ),
        backtest=have(
            "backtest", "predicting the dear runs from the cheap ones",
            lambda: backtest(runs, level=level, **common),
        ),
        missing=missing,
    )  # fmt: skip
