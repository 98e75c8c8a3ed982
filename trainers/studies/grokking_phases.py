"""Four phases of learning, by weight decay and share of the data: one of them is grokking.

Liu et al. 2022 (arXiv:2205.10343) sort runs by when they fit what they are shown and when they
understand the rest: at about the same time (comprehension), the rest much later (grokking), only
what is shown (memorisation), nothing (confusion). They call a delay under 1 000 of 100 000 steps
comprehension, and sweep learning rates and decay of a decoder; here it is under 100 of 2 000, for
the quadratic network of the study grokking (Gromov 2023, arXiv:2301.02679).

The accuracies that count are the paper's, 90 %. The limit of 100 steps and the grid were set after
one to three seeds had been looked at. What was looked at and left out: a fifth of the pairs, which
does as three tenths do, and a decay of 1/10.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from scalefit.figures.style import house_style
from trainers.studies.tools import modular
from trainers.studies.tools.modular import Replica
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

PRIME, HIDDEN, STEPS, EVERY = 31, 128, 2000, 20
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
DECAYS = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0)
RIGHT, AT_ONCE = 0.9, 100
"""The accuracy that counts as fitted and as understood, and the delay that counts as none."""
PHASES = {
    "comprehension": "#56b4e9",
    "grokking": "#c0392b",
    "memorisation": "#b8b8b8",
    "confusion": "#3a3a3a",
}
"""The order of Liu et al., with colours that differ in lightness too."""


def run(ask: Ask) -> pd.DataFrame:
    """Accuracy by step, columns seed, share, decay, step, train, test."""
    rows = []
    for share in SHARES:
        for decay in DECAYS:
            found = modular.train(
                [Replica(seed=seed, decay=decay) for seed in ask.seeds],
                prime=PRIME,
                share=share,
                hidden=HIDDEN,
                steps=STEPS,
                every=EVERY,
                stop=RIGHT,
            )
            rows.append(found.assign(share=share))
        ask.tell(f"{share:.0%} of the pairs shown")
    return pd.concat(rows, ignore_index=True)[["seed", "share", "decay", "step", "train", "test"]]


def phases(table: pd.DataFrame) -> pd.DataFrame:
    """By share, decay and seed: steps to fit and to understand, their difference, and the phase."""
    found = modular.delays(table, ["share", "decay", "seed"], fitted=RIGHT, understood=RIGHT)
    found["delay"] = found["understood"] - found["fitted"]
    both = zip(found["fitted"], found["delay"], strict=True)
    found["phase"] = [_phase(fitted, delay) for fitted, delay in both]
    return found


def _phase(fitted: float, delay: float) -> str:
    """From the steps to fit and from there to understanding; NaN is never."""
    if pd.isna(fitted):
        return "confusion"
    if pd.isna(delay):
        return "memorisation"
    return "comprehension" if delay < AT_ONCE else "grokking"


def majorities(found: pd.DataFrame) -> "pd.Series[str]":
    """The phase of more than half of the seeds, by share and decay; "" where there is none."""

    def most(phase: "pd.Series[str]") -> str:
        counts = phase.value_counts()
        return str(counts.index[0]) if counts.iloc[0] > len(phase) / 2 else ""

    return found.groupby(["share", "decay"])["phase"].agg(most)


def find(table: pd.DataFrame) -> Finding:
    """Whether each of the four phases is that of most seeds somewhere on the grid."""
    found = phases(table)
    cells = majorities(found)
    counts = {phase: int((cells == phase).sum()) for phase in PHASES}
    absent = [phase for phase, count in counts.items() if count == 0]
    kinds = found[["share", "decay", "phase"]].drop_duplicates().groupby(["share", "decay"]).size()
    agreed = int((kinds == 1).sum())
    where = "; ".join(_where(cells, phase, count) for phase, count in counts.items() if count)
    return Finding(
        showed=not absent,
        criterion="each of the four phases is that of most seeds in at least one setting",
        text=(
            f"Of {len(cells)} settings most seeds show {where}."
            + (f" There is no {' and no '.join(absent)} on this grid." if absent else ""),
            f"In {agreed} settings all seeds agree. {_along(cells)}",
            f"The phases are named by limits: {RIGHT:.0%} right within {STEPS} steps, and a delay "
            f"under {AT_ONCE} steps counts as none. {_range(found['delay'])} What is called "
            "memorised may be understood in a longer run.",
        ),
        numbers={f"settings of {phase}": float(count) for phase, count in counts.items()}
        | {"settings": float(len(cells)), "all seeds agree": float(agreed)},
    )


def _in_order(cells: "pd.Series[str]") -> list[bool]:
    """By decay at which something is fitted: whether phases come in their order along shares."""
    order = ("memorisation", "grokking", "comprehension")
    found = []
    for _, column in cells.groupby("decay"):
        ranks = [order.index(phase) for phase in column if phase in order]
        if ranks:
            found.append(ranks == sorted(ranks))
    return found


def _along(cells: "pd.Series[str]") -> str:
    """The same in a sentence; "" if nothing is fitted at any decay."""
    rising = _in_order(cells)
    if not rising:
        return ""
    return (
        "As more pairs are shown, memorisation gives way to grokking and that to comprehension, "
        f"never the other way, at {sum(rising)} of {len(rising)} decays."
    )


def _range(delay: "pd.Series[float]") -> str:
    """From where to where delays go, in a sentence; "" if there is none."""
    if delay.isna().all():
        return ""
    return f"Delays are all between {delay.min():.0f} and {delay.max():.0f} steps."


def _where(cells: "pd.Series[str]", phase: str, count: int) -> str:
    """Between which shares and decays a phase lies, in words."""
    here = cells.index[cells == phase].to_frame()
    return (
        f"{phase} in {count} ({span(here['share'], '.0%')} of the pairs shown, decay "
        f"{span(here['decay'], 'g')})"
    )


def draw(table: pd.DataFrame) -> Figure:
    """The map: a stripe a seed in every cell, and the median delay of those that understood."""
    found = phases(table)
    with house_style():
        figure = Figure(figsize=(7.6, 5.2), layout="constrained")
        axes = figure.subplots()
        for (share, decay), rows in found.groupby(["share", "decay"]):
            _draw_cell(axes, DECAYS.index(decay), SHARES.index(share), rows)
        axes.set(xlim=(-0.5, len(DECAYS) - 0.5), ylim=(-0.5, len(SHARES) - 0.5))
        axes.set_xticks(range(len(DECAYS)), [f"{decay:g}" for decay in DECAYS])
        axes.set_yticks(range(len(SHARES)), [f"{share:.0%}" for share in SHARES])
        axes.tick_params(length=0)
        axes.set(xlabel="weight decay", ylabel="share of pairs that is shown")
        axes.set_title(STUDY.title, fontsize=11)
        patches = [Patch(color=colour, label=phase) for phase, colour in PHASES.items()]
        figure.legend(
            handles=patches,
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=9,
            title="a stripe a seed; the number is the median delay in steps",
            title_fontsize=9,
        )
    return figure


def _draw_cell(axes: Axes, x: int, y: int, rows: pd.DataFrame) -> None:
    """Stripes of the seeds, sorted by phase, and the delay."""
    width = 0.94 / len(rows)
    order = sorted(rows["phase"], key=list(PHASES).index)
    for place, phase in enumerate(order):
        corner = (x - 0.47 + place * width, y - 0.47)
        axes.add_patch(Rectangle(corner, width, 0.94, color=PHASES[phase], lw=0))
    if rows["delay"].notna().any():
        said = f"{rows['delay'].median():.0f}"
        dark = "grokking" in order
        axes.text(x, y, said, ha="center", va="center", color="white" if dark else "0.1")


STUDY = Study(
    title="Four phases of learning addition modulo 31",
    sources=("Liu et al. 2022, arXiv:2205.10343", "Gromov 2023, arXiv:2301.02679"),
    bears_on="Why settings must be tuned before D is varied: whether more data or more steps help "
    "at all depends on the phase that a run is in.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
)
