"""Epoch-wise double descent: the test error of one model falls, rises and falls again.

Two groups of features, one a fiftieth of the other in scale, are learned by gradient descent on a
linear model. The strong ones fit, then overfit the noise, while the weak ones have hardly begun:
test error has a peak between the two (Heckel & Yilmaz 2020, arXiv:2007.10099; Pezeshki et al. 2021,
arXiv:2112.03215). The trajectory has a closed form in the singular values of the data.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.study import Ask, Finding, Study

SAMPLES, STRONG, WEAK, SCALE, NOISE = 200, 100, 100, 0.02, 0.3
TIMES = np.unique(np.geomspace(1, 1e6, 240).round())
RISE, FALL = 1.05, 0.95
"""A peak is this much above the first minimum; the second minimum is this much below the peak."""


def run(ask: Ask) -> pd.DataFrame:
    """Excess test error by step of gradient descent, columns seed, step, error."""
    return pd.concat([_trajectory(seed) for seed in ask.seeds], ignore_index=True)


def _trajectory(seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    scales = np.repeat([1.0, SCALE], [STRONG, WEAK])
    features = draw.standard_normal((SAMPLES, STRONG + WEAK)) * scales
    # both groups carry the same part of the signal
    truth = draw.standard_normal(STRONG + WEAK) / scales / np.sqrt(STRONG + WEAK)
    values = features @ truth + NOISE * draw.standard_normal(SAMPLES)
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    solved = (left.T @ values) / singular
    rate = 1.0 / singular[0] ** 2
    # w_t = V (1 - (1 - rate s^2)^t) s^-1 U'y, from w_0 = 0
    learned = 1.0 - (1.0 - rate * singular**2) ** TIMES[:, None]
    weights = (learned * solved) @ right
    error = (((weights - truth) * scales) ** 2).sum(axis=1)
    return pd.DataFrame({"seed": seed, "step": TIMES, "error": error})


def descents(table: pd.DataFrame) -> pd.DataFrame:
    """First minimum, peak and second minimum of each seed, and whether it descended twice."""
    return pd.DataFrame([_descent(seed, rows) for seed, rows in table.groupby("seed")])


def _descent(seed: object, rows: pd.DataFrame) -> dict[str, Any]:
    error = rows["error"].to_numpy()
    before = np.minimum.accumulate(error)
    after = np.minimum.accumulate(error[::-1])[::-1]
    # the peak stands highest over the lower of its two sides
    peak = int(np.minimum(error / before, error / after).argmax())
    first, second = before[peak], after[peak]
    twice = error[peak] > RISE * first and second < FALL * error[peak]
    return {"seed": seed, "first": first, "peak": error[peak], "second": second, "twice": twice}


def find(table: pd.DataFrame) -> Finding:
    """Whether the error fell twice in nine of ten seeds or more."""
    found = descents(table)
    share = float(found["twice"].mean())
    first, peak, second = (float(found[name].mean()) for name in ("first", "peak", "second"))
    lower = int((found["second"] < found["first"]).sum())
    return Finding(
        showed=share >= 0.9,
        criterion="test error rises 5 % above its first minimum and then falls 5 % below the peak, "
        "in nine seeds of ten",
        text=(
            f"It fell twice in {found['twice'].sum()} of {len(found)} seeds: to {first:.3f}, up to "
            f"{peak:.3f}, down to {second:.3f} (means).",
            f"The second minimum is the lower one in {lower} of {len(found)}: who stops early, at "
            "the first, pays for it.",
            "There are as many samples as features here, so in the end the noise wins: after the "
            "second minimum the error rises once more.",
        ),
        numbers={"share": share, "first": first, "peak": peak, "second": second},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Test error by step: every seed, and their mean."""
    with house_style():
        figure = Figure(figsize=(7.0, 4.4), layout="constrained")
        axes = figure.subplots()
        for _, rows in table.groupby("seed"):
            axes.plot(rows["step"], rows["error"], color=QUIET, lw=0.6, alpha=0.5)
        mean = table.groupby("step")["error"].mean()
        axes.plot(mean.index, mean, color=FRONTIER, lw=2.2, label="mean over seeds")
        axes.set(xscale="log", xlabel="steps of gradient descent", ylabel="excess test error")
        axes.set_ylim(0, None)
        axes.set_title(STUDY.title, fontsize=11)
        axes.legend(frameon=False)
    return figure


STUDY = Study(
    title="Two scales of features: test error descends twice",
    sources=("Heckel & Yilmaz 2020, arXiv:2007.10099", "Pezeshki et al. 2021, arXiv:2112.03215"),
    bears_on="Why a loss read off in mid-training is no point of L(N, D): more steps can be worse.",
    seeds=10,
    run=run,
    find=find,
    draw=draw,
)
