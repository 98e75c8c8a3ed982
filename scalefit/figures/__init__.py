"""Figures: a fit against its runs, on one page; which page depends on what was fitted."""

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from scalefit.errors import ScalefitError
from scalefit.figures.frontier import frontier_figure
from scalefit.figures.plain import plain_figure
from scalefit.figures.surface import surface_figure
from scalefit.fitting import Fit
from scalefit.runs import Runs

if TYPE_CHECKING:
    from scalefit.diagnosis.compare import Comparison
    from scalefit.planning import Plan
    from scalefit.planning.rivals import Rivals

__all__ = ["fit_figure", "save_comparison", "save_fit", "save_plan"]


def fit_figure(fit: Fit, runs: Runs) -> Figure:
    """The figure of a fit: a frontier with its optima, a surface of N and D, or a plain law."""
    if fit.points:
        return frontier_figure(fit, runs)
    return surface_figure(fit, runs) if fit.law.form.surface else plain_figure(fit, runs)


def save_fit(fit: Fit, runs: Runs, path: Path) -> Path:
    """Draw ``fit_figure`` into a file; the suffix gives the format.

    Raises:
        ScalefitError: if the file cannot be written.
    """
    return _save(fit_figure(fit, runs), path)


def save_comparison(found: "Comparison", path: Path) -> Path:
    """Draw ``comparison.comparison_figure`` into a file; likewise."""
    from scalefit.figures.comparison import comparison_figure

    return _save(comparison_figure(found), path)


def save_plan(found: "Plan | Rivals", path: Path) -> Path:
    """Draw ``plan.plan_figure`` into a file; likewise."""
    from scalefit.figures.plan import plan_figure

    return _save(plan_figure(found), path)


def _save(figure: Figure, path: Path) -> Path:
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise ScalefitError(f"the figure cannot be written to {path}: {error.strerror}") from None
    return path
