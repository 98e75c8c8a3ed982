"""Figures: a fit, its runs, what speaks against it, a plan; each a matplotlib Axes or Figure.

    ax = scalefit.figures.contours(fit, runs)          # or into axes of your own: ax=...
    scalefit.figures.save(ax, "contours.svg")

What is drawn on one panel takes ``ax`` and returns it; what takes several returns its Figure.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from scalefit.errors import ScalefitError
from scalefit.figures import frontier, surface
from scalefit.figures.plain import plain_figure
from scalefit.figures.style import house_style, wider
from scalefit.fitting import Fit
from scalefit.fitting.files import replace_file
from scalefit.runs import Runs

if TYPE_CHECKING:
    from scalefit.diagnosis.backtest import Backtest
    from scalefit.diagnosis.compare import Comparison
    from scalefit.diagnosis.diagnose import Diagnosis
    from scalefit.planning import Plan
    from scalefit.planning.rivals import Rivals

__all__ = [
    "approaches", "backtest", "checked", "contours", "curves", "envelope", "fit", "influence",
    "isoflop", "plan", "residuals", "save",
]  # fmt: skip
FORMATS = (".svg", ".png", ".pdf")
SIZE = (6.8, 4.6)
"""Inches of a single panel."""


def fit(found: Fit, runs: Runs) -> Figure:
    """The page of a fit: a frontier with its optima, a surface of N and D, or a plain law."""
    if found.points:
        return frontier.frontier_figure(found, runs)
    if found.law.form.surface:
        return surface.surface_figure(found, runs)
    return plain_figure(found, runs)


def curves(found: Fit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Loss against tokens, a colour a size, the law through the runs with its interval."""
    _needs_surface(found, "curves")
    with _panel(ax) as axes:
        surface.draw_curves(axes, found, runs, LogNorm(*wider(found.domain["params"])))
    return axes


def contours(found: Fit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """The loss over N and D, the runs, and the compute-optimal frontier with its interval."""
    _needs_surface(found, "contours")
    with _panel(ax) as axes:
        surface.draw_surface(axes, found, runs)
    return axes


def residuals(found: Fit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Measured over fitted loss, percent, against compute."""
    _needs_surface(found, "residuals")
    with _panel(ax) as axes:
        surface.draw_residuals(axes, found, runs, LogNorm(*wider(found.domain["params"])))
    return axes


def isoflop(found: Fit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Loss against size, a colour a budget, and the optimum of each; of ``scalefit.isoflop``."""
    _needs_method(found, "isoflop")
    with _panel(ax) as axes:
        frontier.draw_profiles(axes, found, runs)
    return axes


def envelope(found: Fit, runs: Runs, *, ax: Axes | None = None) -> Axes:
    """Loss against compute of every run, and their envelope; of ``scalefit.envelope``."""
    _needs_method(found, "envelope")
    with _panel(ax) as axes:
        frontier.draw_curves(axes, found, runs)
    return axes


def influence(found: "Diagnosis", *, ax: Axes | None = None) -> Axes:
    """A parameter without each row, and without the few that together move it most."""
    from scalefit.figures.judged import draw_influence

    with _panel(ax) as axes:
        draw_influence(axes, found)
    return axes


def backtest(found: "Backtest", *, ax: Axes | None = None) -> Axes:
    """The error of every forecaster above each cut of compute."""
    from scalefit.figures.judged import draw_backtest

    with _panel(ax) as axes:
        draw_backtest(axes, found)
    return axes


def approaches(found: "Comparison") -> Figure:
    """N*, D* and L* against compute by every approach, with intervals."""
    from scalefit.figures.comparison import comparison_figure

    return comparison_figure(found)


def plan(found: "Plan | Rivals") -> Figure:
    """A plan among N and D, how flat it is, and how it grows with compute."""
    from scalefit.figures.planned import plan_figure

    return plan_figure(found)


def save(drawn: Axes | Figure, path: str | Path) -> Path:
    """Write a figure; the suffix gives the format: .svg, .png or .pdf.

    The file is whole or is not written. Raises ScalefitError for another suffix, or a place that
    cannot be written to.
    """
    place = checked(path)
    figure: Any = drawn.figure if isinstance(drawn, Axes) else drawn
    kind = place.suffix.lower().removeprefix(".")
    try:
        replace_file(place, lambda part: figure.savefig(part, dpi=150, format=kind))
    except OSError as error:
        raise ScalefitError(f"the figure cannot be written to {place}: {error.strerror}") from None
    return place


def checked(path: str | Path) -> Path:
    """The place of a figure, if its suffix says what to draw; ScalefitError if it does not."""
    place = Path(path)
    if place.suffix.lower() not in FORMATS:
        raise ScalefitError(f"{place} has no suffix that says what to draw: {', '.join(FORMATS)}")
    return place


@contextmanager
def _panel(ax: Axes | None) -> Iterator[Axes]:
    """The axes given, or the only ones of a new figure."""
    with house_style():
        yield Figure(figsize=SIZE, layout="constrained").subplots() if ax is None else ax


def _needs_surface(found: Fit, what: str) -> None:
    if not found.law.form.surface:
        raise ScalefitError(
            f"{what} are drawn of a law of N and D; {found.law.form.equation} is none"
        )


def _needs_method(found: Fit, method: str) -> None:
    if found.method != method:
        raise ScalefitError(
            f"this figure is drawn of a fit by {method}, and this one is by {found.method}; "
            f"make it with scalefit.{method}(runs)"
        )
