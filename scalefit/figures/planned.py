"""A plan on one page: where it lies among N and D, how flat its optimum is, how it grows with C."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import (
    FRONTIER,
    LABELS,
    LINES,
    QUIET,
    house_style,
    plain_numbers,
    spread,
    wider,
)
from scalefit.laws import FloatArray
from scalefit.planning import Plan
from scalefit.planning.allocate import plan as replan
from scalefit.planning.near import behind
from scalefit.planning.rivals import Rivals
from scalefit.quantities import format_count, format_flops

AROUND = 100.0  # how far the figure reaches beyond the plan, as a factor of N and of D
NEAR, HEIGHT = 12.0, 7.0  # of the loss by size: a factor of N, and of what the widest band loses
BUDGETS, SIZES = 60, 300
TOKENS = "#2471a3"
MARKERS = "o^sDvP"


def plan_figure(found: Plan | Rivals) -> Figure:
    """What is drawn depends on what the laws say: a surface of losses, or their optimum alone."""
    plans = found.plans if isinstance(found, Rivals) else (found,)
    with house_style():
        if len(plans) > 1:
            return _rivals(plans)
        return _single(plans[0])


def _single(plan: Plan) -> Figure:
    grid = _over_budgets(plan)
    alone = np.ndim(plan.params.value) > 0 or plan.regret is None
    figure = Figure(figsize=(10 if alone else 15, 4.8), layout="constrained")
    if alone:
        growth, ratio = figure.subplots(1, 2)
        _draw_growth(growth, plan, grid)
        _draw_ratio(ratio, grid)
    else:
        plane, cost, growth = figure.subplots(1, 3)
        draw_plane(plane, plan)
        draw_cost(cost, plan)
        _draw_growth(growth, plan, grid)
    figure.suptitle(_title(plan), fontsize=11)
    return figure


def _title(plan: Plan) -> str:
    if np.ndim(plan.params.value):
        return f"{plan.law.name}: {np.size(plan.params.value)} budgets"
    unit = "" if plan.loss_unit == "unknown" else f" {plan.loss_unit}"
    loss = f", loss {plan.loss.value:.4g}{unit}" if plan.loss else ""
    return (
        f"{plan.law.name}: {format_count(plan.params.value)} parameters on "
        f"{format_count(plan.tokens.value)} tokens, {format_flops(plan.flops)} FLOP{loss}"
    )


def draw_plane(axes: Axes, plan: Plan) -> None:
    """Contours of loss over N and D, the frontier, the plan on its cost, and the limits."""
    theta, problem = behind(plan)
    middle = plan.params.value, plan.tokens.value
    n, d = (np.geomspace(x / AROUND, x * AROUND, 140) for x in middle)
    loss = problem.at(theta, n, d[:, None]).loss
    levels = np.unique(np.quantile(loss, np.linspace(0.02, 0.9, 12)).round(3))
    lines = axes.contour(n, d, loss, levels=levels, cmap="mako", linewidths=0.7)
    axes.clabel(lines, fontsize=7, fmt="%.3g")
    budgets = np.geomspace(plan.flops / AROUND**2, plan.flops * AROUND**2, BUDGETS)
    best = problem.best(theta, budgets)
    axes.plot(best.params, best.tokens, color=FRONTIER, lw=2, label="best of every cost")
    cost = problem.terms.tokens(plan.flops, n)
    axes.plot(n, np.where(cost > 0, cost, np.nan), color=QUIET, lw=1, ls="--", label="same cost")
    level = float(problem.at(theta, *middle).loss)
    axes.contour(n, d, loss, levels=[level], colors="k", linewidths=1)
    axes.plot([], [], color="k", lw=1, label="same loss")
    if plan.band:
        band = plan.band[-1]
        inside = np.geomspace(*band.params, 50)
        axes.plot(
            inside, problem.terms.tokens(plan.flops, inside), color=QUIET, lw=6, alpha=0.35,
            solid_capstyle="butt", label=f"wastes at most {band.overhead:.0%}",
        )  # fmt: skip
    _draw_limits(axes, plan, n, d)
    axes.plot(*middle, "*", ms=14, color=FRONTIER, mec="white", mew=0.8, label="plan", zorder=5)
    axes.set(
        xscale="log", yscale="log", xlim=(n[0], n[-1]), ylim=(d[0], d[-1]),
        xlabel=LABELS["params"], ylabel=LABELS["tokens"],
    )  # fmt: skip
    axes.set_title("the plan among N and D", fontsize=10)
    axes.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=7.5, loc="lower left")


def _draw_limits(axes: Axes, plan: Plan, n: FloatArray, d: FloatArray) -> None:
    """What is not allowed is grey; the unique data are a line."""
    if np.isfinite(plan.terms.max_params):
        axes.axvspan(plan.terms.max_params, n[-1], color="0.5", alpha=0.25, lw=0)
    if np.isfinite(plan.terms.max_tokens):
        axes.axhspan(plan.terms.max_tokens, d[-1], color="0.5", alpha=0.25, lw=0)
    if plan.unique_tokens is not None:
        axes.axhline(plan.unique_tokens, color=TOKENS, lw=1, ls=":", label="all unique tokens")


def draw_cost(axes: Axes, plan: Plan) -> None:
    """The loss of every size at the plan's cost: how flat the optimum is."""
    if plan.loss is None:
        return
    n, loss = _by_size(plan)
    axes.plot(n, loss, color="k", lw=1.3)
    for band, shade in zip(reversed(plan.band), (0.15, 0.25, 0.4), strict=False):
        axes.axvspan(
            *band.params, color=FRONTIER, alpha=shade, lw=0,
            label=f"wastes at most {band.overhead:.0%}",
        )  # fmt: skip
    least = plan.loss.value
    axes.plot(plan.params.value, least, "*", ms=13, color=FRONTIER, mec="white", zorder=5)
    if plan.params.low and plan.params.high and plan.params.low < plan.params.high:
        axes.plot(
            [plan.params.low, plan.params.high], [least, least], color=FRONTIER, lw=2,
            label=f"{plan.params.level:.0%} interval of N",
        )  # fmt: skip
    shown = plan.band[-1].loss if plan.band else float(np.quantile(loss, 0.5))
    height = HEIGHT * max(shown - least, 1e-3 * least)
    spread(axes, n)
    axes.set(
        xlabel=LABELS["params"], ylim=(least - 0.08 * height, least + height),
        ylabel=f"loss, {plan.loss_unit}" if plan.loss_unit != "unknown" else "loss",
    )  # fmt: skip
    axes.set_title(f"other sizes for {format_flops(plan.flops)} FLOP", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="best")


def _by_size(plan: Plan) -> tuple[FloatArray, FloatArray]:
    """Sizes about the plan that its cost and its limits allow, and their losses in its unit."""
    theta, problem = behind(plan)
    middle, terms = plan.params.value, problem.terms
    n = np.geomspace(middle / NEAR, min(middle * NEAR, terms.max_params), SIZES)
    d = terms.tokens(plan.flops, n)
    fine = (d >= 1) & (d <= terms.max_tokens)
    loss = problem.at(theta, n[fine], d[fine]).loss
    assert plan.loss is not None
    return n[fine], loss * plan.loss.value / problem.at(theta, middle, plan.tokens.value).loss


def _draw_growth(axes: Axes, plan: Plan, grid: Plan) -> None:
    """N* and D* by budget, with their intervals, and how far the runs reach."""
    for name, colour in (("params", FRONTIER), ("tokens", TOKENS)):
        _draw_interval(axes, grid, name, colour)
        value = getattr(plan, name).value
        single = np.ndim(value) == 0
        axes.plot(
            plan.flops, value, "*" if single else "o", ms=13 if single else 4, color=colour,
            mec="white", zorder=5,
        )  # fmt: skip
    if plan.law.flops_seen:
        axes.axvline(plan.law.flops_seen, color="0.4", lw=1, ls=":", label="largest run behind it")
    axes.set(
        xscale="log", yscale="log", xlabel="compute C, FLOP", ylabel="parameters N*, tokens D*"
    )
    axes.set_title("the best N and D by budget", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_ratio(axes: Axes, grid: Plan) -> None:
    _draw_interval(axes, grid, "tokens_per_param", FRONTIER)
    axes.set(xscale="log", yscale="log", xlabel="compute C, FLOP", ylabel="tokens per parameter")
    plain_numbers(axes)
    axes.set_title("how much data a parameter gets", fontsize=10)


def _draw_interval(axes: Axes, grid: Plan, name: str, colour: str) -> None:
    quantity = getattr(grid, name)
    words = {"params": "N*", "tokens": "D*", "tokens_per_param": "D*/N*"}[name]
    axes.plot(grid.flops, quantity.value, color=colour, lw=1.6, label=words)
    if quantity.level is not None:
        low, high = quantity.low, np.where(np.isfinite(quantity.high), quantity.high, np.nan)
        axes.fill_between(
            grid.flops, low, high, color=colour, alpha=0.2, lw=0,
            label=f"{quantity.level:.0%} interval",
        )  # fmt: skip


def _over_budgets(plan: Plan) -> Plan:
    """The same question for many budgets, from the runs to beyond the plan."""
    spent = np.ravel(plan.flops)
    least = min(spent.min() / AROUND, plan.law.flops_seen or np.inf)
    return replan(
        plan.fit or plan.law,
        flops=np.geomspace(*wider((least, spent.max() * AROUND)), BUDGETS),
        inference_tokens=plan.terms.inference_tokens,
        max_params=plan.terms.max_params,
        max_tokens=plan.terms.max_tokens,
        unique_tokens=plan.unique_tokens,
        level=plan.params.level or 0.95,
        overheads=(),
        force=True,
    )


def _rivals(plans: Sequence[Plan]) -> Figure:
    """The frontiers of several laws and their plans; loss by size for each that says it."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    plane, cost = figure.subplots(1, 2)
    for plan, colour, marker in zip(plans, LINES * len(plans), MARKERS * len(plans), strict=False):
        grid = _over_budgets(plan)
        plane.plot(grid.params.value, grid.tokens.value, color=colour, lw=1.5, label=plan.law.name)
        point = plan.params.value, plan.tokens.value
        plane.plot(*point, marker, ms=9, color=colour, mec="white", zorder=5)
        if plan.regret is not None:
            _draw_losses(cost, plan, colour, marker)
    middles = [np.array([plan.params.value, plan.tokens.value]) for plan in plans]
    low, high = np.min(middles, axis=0) / 30, np.max(middles, axis=0) * 30
    plane.set(
        xscale="log", yscale="log", xlim=(low[0], high[0]), ylim=(low[1], high[1]),
        xlabel=LABELS["params"], ylabel=LABELS["tokens"],
    )  # fmt: skip
    plane.set_title("the best N and D by each law, and their plans", fontsize=10)
    plane.legend(frameon=False, fontsize=8)
    cost.set(
        xscale="log", xlabel=LABELS["params"], ylabel="loss at the plan's cost, each in its unit"
    )
    cost.set_title("how flat each law says the optimum is", fontsize=10)
    return figure


def _draw_losses(axes: Axes, plan: Plan, colour: str, marker: str) -> None:
    if plan.loss is None:
        return
    axes.plot(*_by_size(plan), color=colour, lw=1.5)
    axes.plot(plan.params.value, plan.loss.value, marker, ms=9, color=colour, mec="white", zorder=5)
