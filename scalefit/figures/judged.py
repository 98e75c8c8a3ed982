"""What speaks for or against a fit: the rows that move it, and what it predicted that came true."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from scalefit.diagnosis.backtest import Backtest, Forecast
from scalefit.diagnosis.diagnose import Diagnosis
from scalefit.figures.style import FRONTIER, LINES, QUIET
from scalefit.quantities import format_count

MOST_ROWS = 40
"""Units that get a point of their own: those that move the parameter most."""
MARKERS = "osD^vP"


def draw_influence(axes: Axes, found: Diagnosis) -> None:
    """A parameter without each unit alone, and without those that together move it most."""
    moved = found.influence
    whole = moved.estimates[moved.parameter]
    order = np.argsort(-np.abs(moved.alone - whole))[:MOST_ROWS]
    alone = np.sort(moved.alone[order])
    axes.axhspan(
        whole - moved.stderr, whole + moved.stderr, color="0.9", lw=0,
        label="one standard error",
    )  # fmt: skip
    axes.axhline(whole, color="0.4", lw=1)
    axes.plot(
        np.ones(len(alone)), alone, "_", color=QUIET, ms=12, mew=0.8,
        label=f"without one {moved.unit} alone",
    )  # fmt: skip
    if moved.path:
        steps = [whole, *(step.estimates[moved.parameter] for step in moved.path)]
        axes.plot(
            range(len(steps)), steps, "o-", color=FRONTIER, ms=5,
            label=f"without the first k {moved.unit}s of the worst {len(moved.path)}",
        )  # fmt: skip
    axes.set(xlabel=f"{moved.unit}s removed, k", ylabel=moved.parameter)
    axes.set_xticks(range(len(moved.path) + 1))
    axes.set_title(f"what few {moved.unit}s do to {moved.parameter}", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def draw_backtest(axes: Axes, found: Backtest) -> None:
    """The error of every forecaster above each cut of compute, the law's with its sign."""
    named: dict[str, list[tuple[float, Forecast]]] = {}
    for cut in found.cuts:
        for forecast in cut.forecasts:
            named.setdefault(forecast.predictor, []).append((cut.flops, forecast))
    styles = zip(named.items(), LINES * 3, MARKERS * 3, strict=False)
    for (name, entries), colour, marker in styles:
        flops = [at for at, _ in entries]
        rms = [100 * forecast.rms for _, forecast in entries]
        axes.plot(flops, rms, marker=marker, color=colour, lw=1.4, ms=5, label=name)
    axes.set(
        xscale="log", yscale="log", xlabel="runs up to this compute were fitted, FLOP",
        ylabel="rms error above it, %",
    )  # fmt: skip
    axes.set_title(
        f"runs up to {format_count(max(cut.reach for cut in found.cuts), 2)} times as dear, "
        "predicted",
        fontsize=10,
    )
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=8)
