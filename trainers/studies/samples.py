"""Larger models need fewer samples to reach a loss, and the best size grows with the compute.

Networks of one hidden layer, 4 to 128 units wide, read a symbol and predict the next, and see every
sample once (Kaplan et al. 2020, arXiv:2001.08361, figure 2: transformers on text). The samples are
scalefit's source markov: the same for every Python, without end, and with a loss that can be
computed exactly, over all symbols. Every width has the best of three rates at every point, because
one rate for all, which is told too, can favour a width.

Looked at before: markov2, where all widths from 16 on suffice; the same networks without ReLU,
where width saves samples up to 16 units only; rates 2e-3 and 2e-1, which are best almost nowhere.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from torch import Tensor

from scalefit.errors import FitError
from scalefit.figures.style import FRONTIER, LABELS, QUIET, colours, house_style
from scalefit.fitting.result import Fit
from scalefit.frontiers.envelope import envelope
from scalefit.runs import Runs
from trainers.optim import AdamW
from trainers.sources.markov import load
from trainers.studies.parts.symbols import exact_loss, logits, pairs, start
from trainers.studies.tools.lines import seed_lines
from trainers.study import Ask, Finding, Study

WIDTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
RATES = (6e-3, 2e-2, 6e-2)
BATCH, STEPS = 128, 1536
MEASURED = frozenset(np.geomspace(4, STEPS, 56).round().astype(int).tolist())
TARGETS = (0.8, 0.5, 0.3, 0.2)
"""Excess losses in nats, above the entropy of the source."""
LEAST = 4
"""Widths that must reach a loss."""


def run(ask: Ask) -> pd.DataFrame:
    """Loss by samples seen, a row for each seed, width, rate and measurement.

    Columns seed, width, rate, params, samples, loss (nats, exact) and excess, the loss above that
    of the truth.
    """
    seeds, chances = list(ask.seeds), pairs()
    source = load("markov", 1)
    drawn = np.stack([source.rows(seed, BATCH * STEPS) for seed in seeds]).astype(np.int64)
    samples = torch.from_numpy(drawn).repeat(len(RATES), 1, 1)
    parts = []
    for width in WIDTHS:
        ask.tell(f"{width} units")
        parts.append(_trained(width, seeds, samples, chances))
    return pd.concat(parts, ignore_index=True)


def _trained(width: int, seeds: list[int], samples: Tensor, chances: Tensor) -> pd.DataFrame:
    """All seeds at all rates side by side; samples (rates * seeds, samples, 2)."""
    weights = start(seeds * len(RATES), width, len(chances))
    rates = np.repeat(RATES, len(seeds))
    optimiser, rows = AdamW({"all": weights}, {"all": rates.tolist()}), list[pd.DataFrame]()
    optimiser.aim(1.0)
    for step in range(1, STEPS + 1):
        seen = samples[:, (step - 1) * BATCH : step * BATCH]
        found = logits(weights, seen[..., 0]).flatten(0, 1)
        # the mean over examples, summed over replicas: each one's gradient is its own
        lost = F.cross_entropy(found, seen[..., 1].flatten(), reduction="sum") / BATCH
        torch.autograd.backward(lost)
        optimiser.step()
        if step in MEASURED:
            loss = exact_loss(weights, chances).numpy()
            one = {"seed": seeds * len(RATES), "rate": rates, "samples": step * BATCH, "loss": loss}
            rows.append(pd.DataFrame(one))
    truth = float(-(chances * (chances / chances.sum(1, keepdim=True)).log()).sum())
    size = sum(one[0].numel() for one in weights)
    table = pd.concat(rows, ignore_index=True).assign(width=width, params=size)
    return table.assign(excess=table["loss"] - truth)


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the rate that is best there, by width and samples: the mean over seeds says."""
    keys = ["width", "samples"]
    mean = table.groupby([*keys, "rate"], as_index=False)["loss"].mean()
    best = mean.loc[mean.groupby(keys)["loss"].idxmin(), [*keys, "rate"]]
    return table.merge(best, on=[*keys, "rate"])


def needed(rows: pd.DataFrame, target: float) -> pd.DataFrame:
    """Samples to an excess loss of one rate a point: seeds in rows, widths in columns, NaN: never.

    Between measurements straight lines in logarithms.
    """
    parts = rows.sort_values("samples").groupby(["seed", "width"])
    return parts[["samples", "excess"]].apply(_reached, target=target).unstack("width")  # noqa: PD010 - one value a pair


def _reached(rows: pd.DataFrame, target: float) -> float:
    x, y = np.log(rows["samples"].to_numpy()), np.log(rows["excess"].to_numpy() / target)
    below = np.flatnonzero(y <= 0.0)
    if not below.size:
        return np.nan
    last = max(int(below[0]), 1)
    return float(np.exp(np.interp(0.0, -y[last - 1 : last + 1], x[last - 1 : last + 1])))


def frontier(rows: pd.DataFrame) -> Fit | None:
    """Approach 1 of Hoffmann et al., as `scalefit fit` does it; None where too few curves cross."""
    runs = rows.rename(columns={"samples": "tokens"}).assign(
        run_id=[f"{w}-{s}" for w, s in zip(rows["width"], rows["seed"], strict=True)],
        flops=6.0 * rows["params"] * rows["samples"],
    )
    runs = runs.astype({"params": float, "tokens": float})
    try:
        # rates are constant: there is no warm-up to leave out
        return envelope(
            Runs(frame=runs, source="samples", params_kind="total"), warmup=0.0, bootstrap=300
        )
    except FitError:
        return None


def reached(rows: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """`needed` of every target, of the widths whose seeds all reach it, where these are four."""
    found = {target: needed(rows, target).dropna(axis=1) for target in TARGETS}
    return {target: samples for target, samples in found.items() if samples.shape[1] >= LEAST}


def find(table: pd.DataFrame) -> Finding:
    """Whether samples to every loss fall with the width, and the best size rises with compute."""
    best = tuned(table)
    found, fit = reached(best), frontier(best)
    means = {target: samples.mean() for target, samples in found.items()}
    order = [float(one.corr(one.index.to_series(), "spearman")) for one in means.values()]
    params = table.groupby("width")["params"].first()
    cheapest = [f"{(one * params[one.index]).idxmin()} ({target})" for target, one in means.items()]
    fixed = {rate: table[table["rate"] == rate] for rate in RATES}
    others = [f"{_exponent(frontier(rows))} at {rate:g}" for rate, rows in fixed.items()]
    grows = fit is not None and "a" in fit.intervals and (fit.intervals["a"].low or 0.0) > 0.0
    return Finding(
        showed=bool(order) and max(order) <= -0.9 and grows,
        criterion=f"at every loss that {LEAST} widths reach, samples fall with the width "
        "(Spearman's correlation -0.9 or less); the interval of the exponent of N*(C) is above 0",
        text=(
            f"Samples to an excess loss, best rate at each point: {_fewer(means)}.",
            f"With the rate {RATES[1]:g} for all widths: "
            f"{_fewer({t: samples.mean() for t, samples in reached(fixed[RATES[1]]).items()})}.",
            f"The width that reaches it with the least compute 6ND: {', '.join(cheapest) or 'none'}"
            " (in brackets the excess loss).",
            "Through the crossings of the curves (approach 1, `scalefit.envelope`) N* goes as C to "
            f"the power {_exponent(fit)}; with one rate for all {', '.join(others)}. An "
            "exponent belongs to a way of tuning the rates.",
            "It is the law of this source and of these networks with constant rates, not the "
            "0.73 or 0.5 of language models; where widths need equally many samples, the widest "
            "gains nothing.",
        ),
        numbers={
            **{f"fewer at {t}": float(one.iloc[0] / one.iloc[-1]) for t, one in means.items()},
            "exponent": float(fit.law.params["a"]) if fit else np.nan,
        },
    )


def _fewer(means: "dict[float, pd.Series[float]]") -> str:
    said = [
        f"{target}: {one.iloc[0]:,.0f} with {one.index[0]} units, {one.iloc[-1]:,.0f} with "
        f"{one.index[-1]} ({one.iloc[0] / one.iloc[-1]:.1f} times fewer)"
        for target, one in means.items()
    ]
    return "; ".join(said) or f"no loss asked for is reached by {LEAST} widths"


def _exponent(fit: Fit | None) -> str:
    if fit is None:
        return "unknown (too few curves cross)"
    value, one = fit.law.params["a"], fit.intervals.get("a")
    if one is None or one.low is None or one.high is None:
        return f"{value:.2f} (no interval)"
    return f"{value:.2f} ({one.low:.2f} to {one.high:.2f})"


def draw(table: pd.DataFrame) -> Figure:
    """Excess loss by samples and by compute, and samples to a loss by width."""
    best = tuned(table)
    cmap, norm = colours(np.array(WIDTHS, dtype=np.float64))
    with house_style():
        figure = Figure(figsize=(12.5, 4.2), layout="constrained")
        seen, spent, asked = figure.subplots(1, 3)
        for width, rows in best.groupby("width"):
            mean = rows.groupby("samples")[["excess", "params"]].mean()
            look = {"color": cmap(norm(float(str(width)))), "lw": 1.5}
            seen.plot(mean.index, mean["excess"], **look)
            spent.plot(6.0 * mean["params"] * mean.index, mean["excess"], **look)
        seen.set(xlabel="samples seen", ylabel="excess loss, nats")
        spent.set(xlabel=LABELS["flops"])
        shades, plain = ScalarMappable(norm, cmap), ScalarFormatter()
        figure.colorbar(shades, ax=seen, label="units", ticks=WIDTHS[::2], format=plain)
        _draw_frontier(spent, best)
        _draw_needed(asked, best)
        for axes in (seen, spent, asked):
            axes.set(xscale="log", yscale="log")
        for axis in (seen.yaxis, spent.yaxis, asked.xaxis):
            _plain(axis)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_frontier(axes: Axes, best: pd.DataFrame) -> None:
    fit, truth = frontier(best), float((best["loss"] - best["excess"]).iloc[0])
    if fit is None:
        return
    met = [(point.flops, point.loss - truth) for point in fit.points if point.loss is not None]
    label = f"crossings: N* ~ C^{fit.law.params['a']:.2f}"
    axes.plot(*zip(*met, strict=True), "o", color=FRONTIER, ms=6, label=label)
    axes.legend(frameon=False, fontsize=9, loc="lower left")


def _draw_needed(axes: Axes, best: pd.DataFrame) -> None:
    for target, samples in reached(best).items():
        rows = samples.reset_index().melt("seed", value_name="samples")
        seed_lines(axes, rows, "width", "samples", colour=QUIET, marker="o", ms=3, lw=1.5)
        last = samples.mean().iloc[-1]
        axes.annotate(f" {target} nats", (samples.columns[-1], last), va="center", fontsize=9)
    axes.set(xlabel="units", ylabel="samples to the excess loss at the line")


def _plain(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


STUDY = Study(
    title="Larger models need fewer samples, and more compute is for larger ones",
    sources=("Kaplan et al. 2020, arXiv:2001.08361", "Hoffmann et al. 2022, arXiv:2203.15556"),
    bears_on="Why N should grow with the budget at all, and how much its exponent hangs on rates "
    "that are tuned for each size.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
)
