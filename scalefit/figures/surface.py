"""Figures: a fit against its runs, on one page."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from scalefit.errors import ScalefitError
from scalefit.fitting import Fit
from scalefit.laws import FloatArray, Law
from scalefit.quantities import format_count
from scalefit.runs import Runs

SIZES = "viridis"  # readable in grey and by the colour-blind
FRONTIER = "#c0392b"
LINES = 12  # at most this many model sizes get a line of their own


def fit_figure(fit: Fit, runs: Runs) -> Figure:
    """Loss against tokens by size, the loss surface with its frontier, and the residuals."""
    with (
        sns.axes_style("ticks"),
        mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}),
    ):
        figure = Figure(figsize=(15, 4.6), layout="constrained")
        curves, surface, residuals = figure.subplots(1, 3)
        sizes = LogNorm(*_wider(fit.domain["params"]))
        draw_curves(curves, fit, runs, sizes)
        draw_surface(surface, fit, runs)
        draw_residuals(residuals, fit, runs, sizes)
        figure.suptitle(_title(fit), fontsize=11)
    return figure


def save_fit(fit: Fit, runs: Runs, path: Path) -> Path:
    """Draw ``fit_figure`` into a file; the suffix gives the format.

    Raises:
        ScalefitError: if the file cannot be written.
    """
    try:
        fit_figure(fit, runs).savefig(path, dpi=150)
    except OSError as error:
        raise ScalefitError(f"the figure cannot be written to {path}: {error.strerror}") from None
    return path


def draw_curves(axes: Axes, fit: Fit, runs: Runs, sizes: LogNorm) -> None:
    """Measured loss against tokens, one colour per size, with the law through them."""
    params, tokens, loss = _columns(runs)
    axes.scatter(tokens, loss, c=params, cmap=SIZES, norm=sizes, s=16, linewidths=0, alpha=0.85)
    grid = np.geomspace(*_wider(fit.domain["tokens"]), 100)
    shown = np.unique(params)
    shown = shown[np.unique(np.linspace(0, len(shown) - 1, LINES).round().astype(int))]
    for size in shown:
        axes.plot(grid, fit.law.loss(size, grid), color=mpl.colormaps[SIZES](sizes(size)), lw=1)
    axes.set(xscale="log", yscale="log", xlabel="tokens D", ylabel=_loss_label(fit.law))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
    axes.set_title("the law through the runs", fontsize=10)
    bar = axes.figure.colorbar(mpl.cm.ScalarMappable(sizes, SIZES), ax=axes, pad=0.01)
    bar.set_label("parameters N")


def draw_surface(axes: Axes, fit: Fit, runs: Runs) -> None:
    """Contours of loss over N and D, the runs, and the compute-optimal frontier."""
    params, tokens, _ = _columns(runs)
    n = np.geomspace(*_wider(fit.domain["params"], 2.0), 120)
    d = np.geomspace(*_wider(fit.domain["tokens"], 2.0), 120)
    contours = axes.contour(
        n, d, fit.law.loss(n, d[:, None]), levels=14, cmap="mako", linewidths=0.8
    )
    axes.clabel(contours, fontsize=7, fmt="%.2f")
    axes.scatter(params, tokens, s=9, color="0.35", linewidths=0, label="runs")
    budgets = 6 * np.geomspace(n[0] * d[0], n[-1] * d[-1], 200)
    best = fit.law.optimum(budgets)
    axes.plot(best.params, best.tokens, color=FRONTIER, lw=2, label="compute-optimal")
    axes.set(
        xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]),
        xlabel="parameters N", ylabel="tokens D",
    )  # fmt: skip
    axes.set_title("loss and the frontier N*, D*", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def draw_residuals(axes: Axes, fit: Fit, runs: Runs, sizes: LogNorm) -> None:
    """Measured over predicted loss, in percent, against compute."""
    params, tokens, loss = _columns(runs)
    excess = 100 * (loss / fit.law.loss(params, tokens) - 1)
    flops = runs.frame["flops"].to_numpy(dtype=np.float64)
    axes.axhline(0, color="0.5", lw=1)
    axes.scatter(flops, excess, c=params, cmap=SIZES, norm=sizes, s=16, linewidths=0, alpha=0.85)
    axes.set(xscale="log", xlabel="training compute, FLOP", ylabel="measured over law, %")
    axes.set_title("residuals", fontsize=10)


def _columns(runs: Runs) -> tuple[FloatArray, FloatArray, FloatArray]:
    params, tokens, loss = (
        runs.frame[name].to_numpy(dtype=np.float64) for name in ("params", "tokens", "loss")
    )
    return params, tokens, loss


def _wider(limits: tuple[float, float], factor: float = 1.25) -> tuple[float, float]:
    return limits[0] / factor, limits[1] * factor


def _loss_label(law: Law) -> str:
    return f"loss, {law.convention.loss}" if law.convention.loss != "unknown" else "loss"


def _title(fit: Fit) -> str:
    values = "   ".join(f"{name} {value:.4g}" for name, value in fit.law.params.items())
    least, most = fit.domain["params"]
    span = f"N {format_count(least)} to {format_count(most)}"
    return f"{Path(fit.law.name).name}: {fit.used} rows, {span}     {values}"
