"""Grokking at a held norm: at the right length of all weights the delay is gone.

Liu et al. 2022 (Omnigrok, arXiv:2210.01117) train a transformer on modular addition with all
weights, as one vector, brought back to a length of alpha times that of the start after each step,
without weight decay. It then understands when it fits. Here: one layer, width 32, p = 31, and the
same network with its norm left free, without and with weight decay. The full form has their size,
share, rate and steps (figure 7 and its code: alpha .8, and free with decay 1). The other lengths,
the free network without decay, a rate that rises for ten steps, a feed-forward layer without biases
and weights in float32 (the loss is in float64, as all is there) are not theirs.

Tuned after results were seen: learning rate 5e-3 (3e-3 left two of four runs at alpha 1 and 1.2
short of the mark), width 32 for its speed (at a width of 64, .8 was better than 1), weight decay 2
(1 took over 2000 steps), and that twice as late counts as together. The lengths were not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from scalefit.figures.style import FRONTIER, QUIET, SIZES, house_style
from trainers.studies.tools.adder import Shape, draw_adder, others, walk
from trainers.studies.tools.modular import FITTED, UNDERSTOOD, delays, norm, split
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The adder's shape, the share of pairs that is shown, AdamW, and decays where norm is free."""

    shape: Shape
    share: float
    rate: float
    steps: int
    every: int
    decays: tuple[float, ...]


_SMALL, _PAPER = Shape(prime=31, width=32, hidden=64), Shape(prime=113, width=128, hidden=512)
SMALL = Setting(shape=_SMALL, share=0.55, rate=5e-3, steps=1500, every=20, decays=(0.0, 2.0))
PAPER = Setting(shape=_PAPER, share=0.3, rate=1e-3, steps=15_000, every=10, decays=(0.0, 1.0))
LENGTHS = (0.6, 0.8, 1.0, 1.2, 1.5, 2.0)
TWICE = 2.0
"""Fitted and understood together: the second at most this many times as late."""
OUTCOMES = {"together": "#009e73", "fits first": "#e69f00", "never fits": "0.75"}


def run(ask: Ask) -> pd.DataFrame:
    """A row a seed, arm and look, columns seed, arm, alpha, step, train, test, new, norm.

    ``alpha`` is NaN where the norm is free; ``test`` is the accuracy on pairs (a, b) that were not
    shown, ``new`` that on those of which (b, a) was not either; ``norm`` counts from 1.
    """
    setting = PAPER if ask.full else SMALL
    free = [_trained(ask, setting, (np.nan,), decay) for decay in setting.decays]
    return pd.concat([_trained(ask, setting, LENGTHS), *free], ignore_index=True)


def _trained(
    ask: Ask, setting: Setting, lengths: Sequence[float], decay: float = 0.0
) -> pd.DataFrame:
    """All lengths and seeds as one batched network."""
    seeds, prime, steps = list(ask.seeds), setting.shape.prime, setting.steps
    replicas = seeds * len(lengths)
    alpha = torch.tensor(lengths).repeat_interleave(len(seeds))
    shown, hidden = (one.to(ask.device) for one in split(prime, setting.share, replicas))
    rest, start = others(hidden, prime), draw_adder(replicas, setting.shape, ask.device)
    first, looks = norm(list(start.weights.values())), list[pd.DataFrame]()
    held = None if alpha.isnan().any() else alpha.to(ask.device) * first
    names = [name_of(one, decay) for one in lengths for _ in seeds]
    runs = pd.DataFrame({"seed": replicas, "arm": names, "alpha": alpha.double()})
    for now in walk(start, shown, steps=steps, rate=setting.rate, decay=decay, hold=held):
        if now.step % setting.every == 0:
            length = norm(list(now.adder.weights.values())) / first
            seen = {"train": now.right, **rest.known(now.adder), "norm": length.detach()}
            columns = {name: value.cpu().numpy() for name, value in seen.items()}
            looks.append(runs.assign(step=now.step, **columns))
        if now.step and now.step % max(1, steps // 10) == 0:
            which = "held" if held is not None else names[0]
            ask.tell(f"{which}: {now.step} of {steps} steps")
    return pd.concat(looks, ignore_index=True)


def name_of(alpha: float, decay: float) -> str:
    """What an arm is called."""
    if np.isfinite(alpha):
        return f"held at {alpha:g}"
    return f"free, decay {decay:g}" if decay else "free, no decay"


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """By arm and seed: the columns of `delays` on new pairs, alpha, ratio and outcome.

    The ratio is that of the steps to understand and to fit, the outcome one of `OUTCOMES`; whoever
    fits and has not understood at the end fits first too.
    """
    found = delays(table.assign(test=table["new"]), ["arm", "seed"])
    ratio = found["understood"] / found["fitted"]
    fits = np.where(ratio <= TWICE, "together", "fits first")
    return found.assign(
        alpha=found["arm"].map(table.groupby("arm")["alpha"].first()),
        ratio=ratio,
        outcome=pd.Series(fits, dtype=object).where(found["fitted"].notna(), "never fits"),
    )


def best(found: pd.DataFrame) -> pd.DataFrame:
    """Runs at the held length where most seeds fit and understand together, the soonest if many."""
    held = found[found["alpha"].notna()]
    runs = held.assign(late=held["outcome"] != "together").groupby("alpha")
    order = pd.concat([runs["late"].mean(), runs[["understood", "fitted"]].median()], axis=1)
    chosen: pd.DataFrame = held[held["alpha"] == order.sort_values(list(order.columns)).index[0]]
    return chosen


def find(table: pd.DataFrame) -> Finding:
    """Whether a held length has no delay where the free network has one."""
    found = outcomes(table)
    free, held, right = found[found["alpha"].isna()], found[found["alpha"].notna()], best(found)
    alpha = float(right["alpha"].min())
    short, long = (held[side] for side in (held["alpha"] < alpha, held["alpha"] > alpha))
    share, freely = (float((part["outcome"] == "together").mean()) for part in (right, free))
    return Finding(
        showed=share >= 0.8 and freely <= 0.2,
        criterion=f"at one of the held lengths {UNDERSTOOD:.0%} of the new pairs are right at most "
        f"{TWICE:g} times as late as {FITTED:.0%} of the shown ones, in four seeds of five; with "
        "the norm left free in one of five at most",
        text=(
            *(_said_free(arm, rows, table) for arm, rows in free.groupby("arm", sort=False)),
            f"Held at {alpha:g} times its start the network {_when(right)}: together in "
            f"{(right['outcome'] == 'together').sum()} of {len(right)} seeds. "
            f"{_before(right, free)}",
            f"Of all {len(held)} runs at a held norm {_counts(held)}. Shorter than {alpha:g}: "
            f"{_counts(short)}. Longer: {_counts(long)}.",
            "It may not be concluded that a held norm always generalises: too short, the network "
            "does not fit in this time, too long, it fits and does not understand; which length is "
            "right was not known beforehand and belongs to this network and task.",
        ),
        numbers={
            "length": alpha,
            "together there": share,
            "together where free": freely,
            "ratio there": float(right["ratio"].median()),
            **{name: float((held["outcome"] == name).mean()) for name in OUTCOMES},
        },
    )


def _said_free(arm: object, rows: pd.DataFrame, table: pd.DataFrame) -> str:
    """What a network of free norm does."""
    end = table["step"].max()
    last = table[(table["arm"] == arm) & (table["step"] == end)]
    return (
        f"The norm {arm}: it {_when(rows)}. After {end} steps {last['new'].mean():.0%} of the new "
        f"pairs are right and the norm is {last['norm'].mean():.2f} times its start (means)."
    )


def _when(rows: pd.DataFrame) -> str:
    """When the runs fit and understand."""
    late, count = rows["ratio"].dropna(), len(rows)
    if rows["fitted"].isna().all():
        return f"never fits in {count} of {count} seeds"
    fits = f"fits after {span(rows['fitted'])} steps"
    if late.empty:
        return f"{fits} and does not understand in {count} of {count} seeds"
    when = f"{span(rows['understood'])} in {len(late)} of {count} seeds"
    return f"{fits} and understands after {when}, {late.median():.1f} times as late (median)"


def _before(held: pd.DataFrame, free: pd.DataFrame) -> str:
    """What is known of new pairs when the shown ones are fitted, means over runs that fit."""
    if held["before"].isna().all() or free["before"].isna().all():
        return "Not all fit, so that it is not known what they know when they do."
    return (
        f"When it fits, {held['before'].mean():.0%} of the new pairs are right, against "
        f"{free['before'].mean():.0%} where the norm is free."
    )


def _counts(rows: pd.DataFrame) -> str:
    """How many runs ended how."""
    counts = rows["outcome"].value_counts()
    late = int(rows["understood"][rows["outcome"] == "fits first"].notna().sum())
    said = {
        "together": "fit and understand together",
        "fits first": f"fit long before ({late} of them understand in time)",
        "never fits": "do not fit",
    }
    found = [f"{counts[name]} {words}" for name, words in said.items() if name in counts]
    return ", ".join(found) or "none"


def draw(table: pd.DataFrame) -> Figure:
    """Steps to fit and to understand by arm, and what is known of new pairs by step."""
    found = outcomes(table)
    arms = list(dict.fromkeys(found["arm"]))
    with house_style():
        figure = Figure(figsize=(12.5, 4.4), layout="constrained")
        steps, known = figure.subplots(1, 2)
        _draw_steps(steps, found, arms, float(table["step"].max()))
        _draw_known(known, table, found)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_steps(axes: Axes, found: pd.DataFrame, arms: list[str], end: float) -> None:
    """A dot a seed; what did not happen stands above the line of the last step."""
    for place, arm in enumerate(arms):
        most = str(found["outcome"][found["arm"] == arm].mode()[0])
        axes.axvspan(place - 0.5, place + 0.5, color=OUTCOMES[most], alpha=0.25, lw=0)
    aside = 0.07 * (found.groupby("arm").cumcount() - (found["seed"].nunique() - 1) / 2)
    for name, colour, marker, label, shift in (
        ("fitted", QUIET, "o", "shown pairs fitted", -0.15),
        ("understood", FRONTIER, "D", "new pairs understood", 0.15),
    ):
        at = found["arm"].map(arms.index) + shift + aside
        done = found[name].notna()
        axes.plot(at[done], found[name][done], marker, color=colour, ms=5.5, label=label)
        lost = np.full(int((~done).sum()), 2.1 * end)
        axes.plot(at[~done], lost, marker, color=colour, ms=5.5, mfc="none")
    axes.axhline(1.1 * end, color="0.4", lw=0.8, ls=":")
    axes.text(-0.4, 1.15 * end, "not in time", color="0.3", fontsize=8, va="bottom")
    marks = [Patch(color=colour, alpha=0.25, label=name) for name, colour in OUTCOMES.items()]
    handles = axes.get_legend_handles_labels()[0] + marks
    axes.legend(
        handles=handles, fontsize=8, frameon=False, ncols=5, columnspacing=0.8, loc=(-0.08, 1.01)
    )
    names = [arm.removeprefix("held at ").replace(", ", ",\n") for arm in arms]
    axes.set_xticks(range(len(arms)), names, fontsize=8)
    axes.set(xlabel="norm held at (of that at the start)", ylabel="steps of AdamW", yscale="log")
    axes.set(xlim=(-0.5, len(arms) - 0.5), ylim=(None, 3 * end))


def _draw_known(axes: Axes, table: pd.DataFrame, found: pd.DataFrame) -> None:
    """Accuracy on new pairs, means over seeds, with a dot where the shown ones are fitted."""
    for arm, rows in table.groupby("arm", sort=False):
        alpha = rows["alpha"].iloc[0]
        colour, style = QUIET, "--" if "no" in str(arm) else ":"
        if np.isfinite(alpha):
            place = np.log(alpha / min(LENGTHS)) / np.log(max(LENGTHS) / min(LENGTHS))
            colour, style = mpl.colormaps[SIZES](0.9 * place), "-"
        mean = rows[rows["step"] > 0].groupby("step")["new"].mean()
        axes.plot(mean.index, mean, style, color=colour, lw=1.8, label=str(arm))
        fitted = found["fitted"][found["arm"] == arm].median()
        if fitted in mean.index:
            axes.plot(fitted, mean[fitted], "o", color=colour, ms=7)
    axes.set(xscale="log", xlabel="steps of AdamW (a dot: shown pairs fitted)", ylim=(-0.03, 1.03))
    axes.set_ylabel("share of the new pairs that are right")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


STUDY = Study(
    title="Grokking at a held norm: too short, right, too long",
    sources=("Liu et al. 2022, arXiv:2210.01117",),
    bears_on="How long a run must be depends on where its weights' norm stands: a delay is no "
    "property of the task alone.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
    full="addition modulo 113 by a transformer of width 128, 15 000 steps, as Liu et al. did",
)
