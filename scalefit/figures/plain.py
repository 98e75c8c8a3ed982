"""Any other law against its runs: the response by each variable, and what is left over."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import (
    FRONTIER,
    QUIET,
    column,
    house_style,
    label,
    plain_numbers,
    spread,
    title,
)
from scalefit.fitting import Fit
from scalefit.laws import FloatArray
from scalefit.runs import Runs

MOST = 3  # variables with a panel of their own
MANY = 150  # rows that are drawn small


def plain_figure(fit: Fit, runs: Runs) -> Figure:
    """Measured and fitted response by each variable, and the residuals by the fitted response."""
    form = fit.law.form
    names = [name for name in form.variables if name in runs.frame][:MOST]
    measured = column(runs, form.response)
    fitted = fit.law.predict(*form.inputs(runs.frame))
    with house_style():
        figure = Figure(figsize=(5 * (len(names) + 1), 4.8), layout="constrained")
        *panels, last = np.atleast_1d(figure.subplots(1, len(names) + 1))
        for axes, name in zip(panels, names, strict=True):
            _draw_response(axes, fit, name, column(runs, name), measured, fitted)
        _draw_residuals(last, fit, measured, fitted)
        figure.suptitle(title(fit, form.equation), fontsize=11)
    return figure


def _draw_response(
    axes: Axes, fit: Fit, name: str, values: FloatArray, measured: FloatArray, fitted: FloatArray
) -> None:
    size = 16 if len(values) <= MANY else 4
    axes.scatter(values, measured, s=size, color=QUIET, linewidths=0, label="measured")
    if len(fit.law.form.variables) == 1:
        grid = np.geomspace(values.min() / 1.25, values.max() * 1.25, 300)
        axes.plot(grid, fit.law.predict(grid), color=FRONTIER, lw=1.5, label="law")
    else:
        axes.scatter(
            values, fitted, s=1.5 * size, facecolors="none", edgecolors=FRONTIER,
            linewidths=size / 16, label="law",
        )  # fmt: skip
    response = label(fit.law.form.response, fit.law)
    axes.set(yscale="log", xlabel=label(name, fit.law), ylabel=response)
    spread(axes, values)
    if fit.law.form.response in ("loss", "error"):
        plain_numbers(axes)
    axes.legend(frameon=False, fontsize=8)


def _draw_residuals(axes: Axes, fit: Fit, measured: FloatArray, fitted: FloatArray) -> None:
    axes.axhline(0, color="0.5", lw=1)
    size = 16 if len(fitted) <= MANY else 4
    axes.scatter(fitted, 100 * (measured / fitted - 1), s=size, color=QUIET, linewidths=0)
    response = label(fit.law.form.response, fit.law)
    axes.set(xlabel=f"fitted {response}", ylabel="measured over law, %")
    spread(axes, fitted)
    axes.set_title("residuals", fontsize=10)
