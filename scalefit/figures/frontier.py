"""A frontier with the optima it is drawn through, and the runs those come from."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import (
    FRONTIER,
    QUIET,
    SIZES,
    colours,
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
from scalefit.frontiers.bias import named
from scalefit.frontiers.budgets import TOLERANCE, profiles
from scalefit.runs import Runs


def frontier_figure(fit: Fit, runs: Runs) -> Figure:
    """Where the optima come from, and the lines N*(C) and D*(C) through them."""
    used = sum(not point.note for point in fit.points)
    with house_style():
        figure = Figure(figsize=(15, 4.8), layout="constrained")
        source, sizes, data = figure.subplots(1, 3)
        (draw_curves if fit.method == "envelope" else draw_profiles)(source, fit, runs)
        draw_line(sizes, fit, "params", "N*(C)")
        draw_line(data, fit, "tokens", "D*(C)")
        said = f"{fit.method} ({fit.variant}), {used} of {len(fit.points)} optima used"
        figure.suptitle(title(fit, said), fontsize=11)
    return figure


def draw_curves(axes: Axes, fit: Fit, runs: Runs) -> None:
    """Loss against compute of every run, coloured by size, and the envelope's points."""
    params, flops, loss = (column(runs, name) for name in ("params", "flops", "loss"))
    palette, norm = colours(params)
    labels = runs.cluster if runs.cluster is not None else params.astype(object)
    for label in dict.fromkeys(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(flops[rows])]
        axes.plot(flops[rows], loss[rows], color=palette(norm(params[rows[0]])), lw=0.8, alpha=0.8)
    found = [point for point in fit.points if point.loss is not None]
    axes.plot(
        [point.flops for point in found], [point.loss or np.nan for point in found],
        color=FRONTIER, lw=1.5, label="envelope",
    )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlabel="training compute C, FLOP", ylabel=loss_label(fit.law)
    )
    plain_numbers(axes)
    axes.legend(frameon=False, fontsize=8)
    bar = axes.figure.colorbar(mpl.cm.ScalarMappable(norm, SIZES), ax=axes, pad=0.01)
    bar.set_label("parameters N")


def draw_profiles(axes: Axes, fit: Fit, runs: Runs) -> None:
    """Loss against size, coloured by budget, the curve through each profile and its optimum."""
    kind = named(fit.variant)
    runs, found = profiles(runs, tolerance=TOLERANCE, least=kind.least, sizes=None)
    able = [profile for profile in found if not profile.note]
    curves = kind.noise(able).values
    palette, norm = colours(np.array([profile.flops for profile in found]))
    for profile in found:
        colour, size = palette(norm(profile.flops)), np.exp(profile.log_params)
        axes.plot(size, profile.loss, "o", color=colour, ms=3.5, alpha=0.8)
    for profile, curve in zip(able, curves, strict=True):
        axes.plot(np.exp(profile.log_params), curve, color=palette(norm(profile.flops)), lw=1)
    for point in fit.points:
        if point.params is not None and point.loss is not None:
            edge = QUIET if point.note else FRONTIER
            fill = palette(norm(point.flops))
            axes.plot(point.params, point.loss, "*", ms=10, mfc=fill, mec=edge, mew=1)
    axes.set(xscale="log", yscale="log", xlabel="parameters N", ylabel=loss_label(fit.law))
    plain_numbers(axes)
    axes.set_title(f"profiles by {kind.name}, and their optima (stars)", fontsize=10)
    bar = axes.figure.colorbar(mpl.cm.ScalarMappable(norm, SIZES), ax=axes, pad=0.01)
    bar.set_label("budget C, FLOP")


def draw_line(axes: Axes, fit: Fit, name: str, heading: str) -> None:
    """A power law of compute through the optima, with its interval."""
    for used, mark in ((True, "o"), (False, "x")):
        chosen = [point for point in fit.points if (not point.note) == used]
        known = [(point.flops, value) for point in chosen if (value := getattr(point, name))]
        if known:
            axes.plot(
                *zip(*known, strict=True), mark, ms=5, color=FRONTIER if used else "0.6",
                label="optima" if used else "not used",
            )  # fmt: skip
    budgets = np.geomspace(*wider(fit.domain["flops"], 2.0), 100)
    axes.plot(budgets, getattr(fit.law.optimum(budgets), name), color="k", lw=1.2, label="line")
    if len(fit.draws):
        drawn = getattr(fit.law.form.optimum(fit.draws[:, None], budgets), name)
        low, high = np.quantile(drawn, tails(fit), axis=0)
        axes.fill_between(
            budgets, low, high, color="0.85", lw=0, label=f"{level(fit):.0%} interval"
        )
    axes.set(xscale="log", yscale="log", xlabel="training compute C, FLOP")
    exponent = fit.intervals["a" if name == "params" else "b"].value
    axes.set_title(f"{heading} ~ C^{exponent:.3f}", fontsize=10)
    axes.set_ylabel("parameters N*" if name == "params" else "tokens D*")
    axes.legend(frameon=False, fontsize=8)
