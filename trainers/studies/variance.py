"""Bias and variance against width: variance peaks where the model just interpolates.

Random ReLU features on digits, a fifth of the training labels wrong, one model for each of seven
disjoint training sets, with the unbiased estimates of Yang et al. 2020 (arXiv:2002.11328). Their
claim is a bias that falls and a variance with one peak. The lemma has three terms: where labels
are noisy, squared error = variance + bias^2 + noise; a form without noise holds for clean ones.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools import digits
from trainers.studies.tools.bias import expected_error, label_noise, split_error
from trainers.studies.tools.digits import CLASSES, PIXELS, Floats, Labels, mislabel, one_hot
from trainers.studies.tools.features import draw_directions, minimum_norm, relu_features
from trainers.studies.tools.lines import seed_lines
from trainers.study import Ask, Finding, Study

SETS, EXAMPLES, WRONG = 7, 200, 0.2
WIDTHS = (10, 20, 30, 60, 100, 140, 180, 200, 220, 260, 340, 500, 1000, 2000, 4000)
NEAR = 0.15
"""So near to the threshold (as a share of it) the estimate of the bias is noise."""
RISE = 0.02
SHOWN = 50.0
"""Where the axis of the figure ends; the peak goes far beyond."""


def run(ask: Ask) -> pd.DataFrame:
    """Terms of the squared error by width.

    Columns seed, width; variance and bias2 against the true labels, error their sum; the same for
    labels that are wrong as often as in training (noisy_bias2, noise, noisy_error); wrong, the
    share of test images given another class; inverse, one by the smallest eigenvalue of the
    Hessian that is not 0 (geometric mean over the sets).
    """
    return pd.DataFrame([row for seed in ask.seeds for row in _measure(seed)])


def _measure(seed: int) -> Iterator[dict[str, float]]:
    draw = np.random.default_rng(seed)
    images, targets, tests, answers = noisy_sets(seed, draw)
    directions = [draw_directions(PIXELS, max(WIDTHS), draw) for _ in range(SETS)]
    seen = [relu_features(one, way) for one, way in zip(images, directions, strict=True)]
    unseen = [relu_features(tests, way) for way in directions]
    for width in WIDTHS:
        outputs = [
            there[:, :width] @ minimum_norm(here[:, :width], target)
            for here, there, target in zip(seen, unseen, targets, strict=True)
        ]
        inverse = np.exp(np.mean([np.log(_inverse(here[:, :width])) for here in seen]))
        where = {"seed": seed, "width": width, "inverse": float(inverse)}
        yield where | _terms(np.stack(outputs), answers)


def noisy_sets(seed: int, draw: np.random.Generator) -> tuple[Floats, Floats, Floats, Labels]:
    """Seven disjoint training sets with wrong labels among theirs, and what is left for tests.

    Returns:
        Training images, shape (sets, examples, pixels), and their one-hot labels; test images and
        their labels. The mean training image is taken off all.
    """
    images, labels = digits.shuffled(seed)
    taught = SETS * EXAMPLES
    images = images - images[:taught].mean(axis=0)
    targets = one_hot(mislabel(labels[:taught], WRONG, draw))
    return (
        images[:taught].reshape(SETS, EXAMPLES, -1),
        targets.reshape(SETS, EXAMPLES, -1),
        images[taught:],
        labels[taught:],
    )


def _inverse(design: Floats) -> float:
    """1 / lambda_r of the Hessian design' design / examples, by the smaller Gram matrix."""
    gram = design.T @ design if design.shape[1] <= len(design) else design @ design.T
    return len(design) / float(np.linalg.eigvalsh(gram)[0])


def _terms(outputs: Floats, labels: Labels) -> dict[str, float]:
    """What is measured of the models of one width; outputs of shape (models, tests, classes)."""
    clean = one_hot(labels)
    noisy = WRONG / (CLASSES - 1) + clean * (1.0 - WRONG - WRONG / (CLASSES - 1))
    variance, bias2 = split_error(outputs, clean)
    return {
        "variance": variance,
        "bias2": bias2,
        "error": float(((outputs - clean) ** 2).sum(axis=-1).mean()),
        "noisy_bias2": split_error(outputs, noisy)[1],
        "noise": label_noise(noisy),
        "noisy_error": expected_error(outputs, noisy),
        "wrong": float((outputs.argmax(axis=-1) != labels).mean()),
    }


def shapes(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed: where variance and 1 / lambda_r peak, and whether the two claims hold."""
    return pd.DataFrame([_shape(seed, rows) for seed, rows in table.groupby("seed")])


def _shape(seed: object, rows: pd.DataFrame) -> dict[str, Any]:
    step = np.diff(rows["variance"])
    peak = int(rows["variance"].to_numpy().argmax())
    bias = away(rows)["bias2"].to_numpy()
    return {
        "seed": seed,
        "peak": rows["width"].iloc[peak],
        "inverse_peak": rows["width"].iloc[int(rows["inverse"].to_numpy().argmax())],
        "unimodal": bool((step[:peak] > 0).all() and (step[peak:] < 0).all()),
        "rise": float(np.diff(bias).max()),
        "strict": bool((np.diff(bias) < 0).all()),
    }


def away(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that are not near to the threshold."""
    return table[(table["width"] / EXAMPLES - 1.0).abs() >= NEAR]


def find(table: pd.DataFrame) -> Finding:
    """Whether the variance has one peak, at the threshold, over a bias that does not rise."""
    found = shapes(table)
    mean = table.groupby("width").mean(numeric_only=True)
    holds = (found["peak"] == EXAMPLES) & found["unimodal"] & (found["rise"] <= RISE)
    last = max(WIDTHS)
    first = min((one for one in WIDTHS if one < EXAMPLES), key=lambda one: mean["wrong"][one])
    terms = table[["variance", "noisy_bias2", "noise"]].sum(axis=1)
    gap = float((terms / table["noisy_error"] - 1.0).abs().max())
    return Finding(
        showed=bool(holds.mean() >= 0.8),
        criterion=f"in four seeds of five, the variance rises to one peak at width = {EXAMPLES} "
        f"examples and falls after it, and the squared bias never rises by more than {RISE} "
        "(widths within 15 % of the threshold left out)",
        text=(
            f"The variance has one peak, at width {EXAMPLES}, in "
            f"{int(((found['peak'] == EXAMPLES) & found['unimodal']).sum())} of {len(found)} "
            f"seeds: {mean['variance'].iloc[0]:.3f} at width {mean.index[0]}, "
            f"{mean['variance'][EXAMPLES]:.3g} at {EXAMPLES}, {mean['variance'][last]:.3f} at "
            f"{last} (means).",
            f"The squared bias falls from {mean['bias2'].iloc[0]:.3f} to a plateau, "
            f"{mean['bias2'][500]:.3f} at 500 and {mean['bias2'][last]:.3f} at {last}; it falls "
            f"at every step in {found['strict'].sum()} of {len(found)} seeds, so a bias that is "
            "strictly monotone, as one lecture says, is not what is seen.",
            f"The widest models only tie with the best narrow ones: {mean['wrong'][last]:.3f} of "
            f"the test images wrong at {last}, {mean['wrong'][first]:.3f} at {first}, "
            f"{mean['wrong'][EXAMPLES]:.3f} at the threshold.",
            f"Against labels as noisy as the training ones the error has a third term, "
            f"{mean['noise'].iloc[0]:.3f}, that no width removes; with it the sum is the "
            f"error measured, to {gap:.0e} of it. The lecture that leaves it out has no noise.",
            f"One by the smallest eigenvalue of the Hessian, {mean['inverse'][WIDTHS[0]]:.2g} at "
            f"width {WIDTHS[0]} and {mean['inverse'][last]:.2g} at {last}, peaks at {EXAMPLES} too "
            f"in {int((found['inverse_peak'] == EXAMPLES).sum())} of {len(found)} seeds: the study "
            "singh-bound says why.",
            "Widths near the threshold say nothing about the bias: its estimate subtracts a "
            "seventh of the variance.",
        ),
        numbers={
            "unimodal": float(found["unimodal"].mean()),
            "peak_variance": float(mean["variance"][EXAMPLES]),
            "last_variance": float(mean["variance"][last]),
            "last_bias2": float(mean["bias2"][last]),
            "last_wrong": float(mean["wrong"][last]),
            "first_wrong": float(mean["wrong"][first]),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: variance and bias by width. Right: test images given a wrong class."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        dots: dict[str, Any] = {"marker": "o", "ms": 3.5}
        shown = ((table, "variance", FRONTIER, "variance"), (away(table), "bias2", QUIET, "bias²"))
        for rows, name, colour, label in shown:
            seed_lines(left, rows, "width", name, colour=colour, label=label, **dots)
        left.set(yscale="log", ylabel="part of the squared test error", ylim=(0.08, SHOWN))
        highest = table.loc[table["width"] == EXAMPLES, "variance"].mean()
        left.text(EXAMPLES * 1.2, SHOWN / 2, f"up to {highest:.0e}", color=FRONTIER, fontsize=9)
        seed_lines(right, table, "width", "wrong", colour=FRONTIER, **dots)
        right.set(ylabel="share of test images wrong", ylim=(0, None))
        for axes in (left, right):
            axes.axvline(EXAMPLES, color=QUIET, lw=0.8, ls=":")
            axes.set(xscale="log", xlabel="random features")
        left.legend(frameon=False, loc="upper left")
        top = right.get_ylim()[1]
        right.text(EXAMPLES * 1.1, 0.04 * top, f"{EXAMPLES} examples", color=QUIET, fontsize=9)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Variance peaks where random features just interpolate; bias levels off",
    sources=("Yang et al. 2020, arXiv:2002.11328", "Belkin et al. 2019, arXiv:1812.11118"),
    bears_on="Why no power law may be drawn through sizes on both sides of the interpolation "
    "threshold: between them the loss rises.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
