"""A law of L(N, D) against its runs: curves by size, the surface with its frontier, residuals."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from scalefit.figures.style import (
    FRONTIER,
    QUIET,
    SIZES,
    column,
    house_style,
    level,
    loss_label,
    plain_numbers,
    tails,
    title,
    wider,
)
from scalefit.fitting import Fit
from scalefit.quantities import format_count
from scalefit.runs import Runs

LINES = 12  # at most this many model sizes get a line of their own


def surface_figure(fit: Fit, runs: Runs) -> Figure:
    """Loss against tokens by size, the loss surface with its frontier, and the residuals."""
    least, most = fit.domain["params"]
    with house_style():
        figure = Figure(figsize=(15, 4.8), layout="constrained")
        curves, surface, residuals = figure.subplots(1, 3)
        sizes = LogNorm(*wider(fit.domain["params"]))
        draw_curves(curves, fit, runs, sizes)
        draw_surface(surface, fit, runs)
        draw_residuals(residuals, fit, runs, sizes)
        span = f"N {format_count(least)} to {format_count(most)}"
        figure.suptitle(title(fit, span), fontsize=11)
    return figure


def draw_curves(axes: Axes, fit: Fit, runs: Runs, sizes: LogNorm) -> None:
    """Measured loss against tokens, one colour per size, with the law through them."""
    params, tokens, loss = (column(runs, name) for name in ("params", "tokens", "loss"))
    axes.scatter(tokens, loss, c=params, cmap=SIZES, norm=sizes, s=16, linewidths=0, alpha=0.85)
    grid = np.geomspace(*wider(fit.domain["tokens"]), 100)
    shown = np.unique(params)
    shown = shown[np.unique(np.linspace(0, len(shown) - 1, LINES).round().astype(int))]
    for size in shown:
        colour = mpl.colormaps[SIZES](sizes(size))
        axes.plot(grid, fit.law.loss(size, grid), color=colour, lw=1)
        if len(fit.draws):
            drawn = fit.law.form.predict(fit.draws[:, None], np.full_like(grid, size), grid)
            axes.fill_between(grid, *np.nanquantile(drawn, tails(fit), axis=0), color=colour,
                              alpha=0.15, lw=0)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="tokens D", ylabel=loss_label(fit.law))
    plain_numbers(axes)
    axes.set_title("the law through the runs", fontsize=10)
    bar = axes.figure.colorbar(mpl.cm.ScalarMappable(sizes, SIZES), ax=axes, pad=0.01)
    bar.set_label("parameters N")


def draw_surface(axes: Axes, fit: Fit, runs: Runs) -> None:
    """Contours of loss over N and D, the runs, and the compute-optimal frontier."""
    params, tokens = column(runs, "params"), column(runs, "tokens")
    n = np.geomspace(*wider(fit.domain["params"], 2.0), 120)
    d = np.geomspace(*wider(fit.domain["tokens"], 2.0), 120)
    contours = axes.contour(
        n, d, fit.law.loss(n, d[:, None]), levels=14, cmap="mako", linewidths=0.8
    )
    axes.clabel(contours, fontsize=7, fmt="%.2f")
    axes.scatter(params, tokens, s=9, color=QUIET, linewidths=0, label="runs")
    budgets = 6 * np.geomspace(n[0] * d[0], n[-1] * d[-1], 200)
    best = fit.law.optimum(budgets)
    axes.plot(best.params, best.tokens, color=FRONTIER, lw=2, label="compute-optimal")
    if len(fit.draws):
        # N* of a budget lies on its line of equal cost, and so do the ends of its interval
        ends = np.nanquantile(
            fit.law.form.optimum(fit.draws[:, None], budgets).params, tails(fit), axis=0
        )
        low, high = ends
        axes.fill(
            np.concatenate([low, high[::-1]]),
            np.concatenate([budgets / (6 * low), (budgets / (6 * high))[::-1]]),
            color=FRONTIER, alpha=0.15, lw=0, label=f"its {level(fit):.0%} interval",
        )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]),
        xlabel="parameters N", ylabel="tokens D",
    )  # fmt: skip
    axes.set_title("loss and the frontier N*, D*", fontsize=10)
    axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=8, loc="lower right")


def draw_residuals(axes: Axes, fit: Fit, runs: Runs, sizes: LogNorm) -> None:
    """Measured over predicted loss, in percent, against compute."""
    params, tokens, loss = (column(runs, name) for name in ("params", "tokens", "loss"))
    excess = 100 * (loss / fit.law.loss(params, tokens) - 1)
    flops = column(runs, "flops")
    axes.axhline(0, color="0.5", lw=1)
    axes.scatter(flops, excess, c=params, cmap=SIZES, norm=sizes, s=16, linewidths=0, alpha=0.85)
    axes.set(xscale="log", xlabel="training compute, FLOP", ylabel="measured over law, %")
    axes.set_title("residuals", fontsize=10)
