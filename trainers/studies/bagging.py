"""Bagging: the mean of models varies less than one, most where one just interpolates.

Random ReLU features on digits, a fifth of the labels wrong. Models of one training set differ in
their features alone, or are bagged: each has a bootstrap sample of the set as well (Breiman 1996).
The mean of R models of R independent sets would have the variance of one by R; models that share
a set are correlated and fall to a floor: rho s^2 + (1 - rho) s^2 / R (Hastie et al. 2009, 15.1).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.bias import split_error
from trainers.studies.tools.digits import PIXELS, Floats, Labels, one_hot
from trainers.studies.tools.features import draw_directions, minimum_norm, relu_features
from trainers.studies.variance import EXAMPLES, SETS, noisy_sets
from trainers.study import Ask, Finding, Study

WIDTHS = (30, 60, 126, 200, 300, 600)
MODELS = (1, 2, 4, 8, 16)
ANEW, BAGGED = "features anew", "bagged"
NARROW, DISTINCT, WIDE = 60, 126, 600
"""DISTINCT is 1 - 1/e of the examples: so many differ in a bootstrap sample."""


def run(ask: Ask) -> pd.DataFrame:
    """Terms of the error of the mean of R models over seven training sets.

    Columns seed, way, width, models; variance, bias2 and error, their sum; wrong, the share of
    test images given another class.
    """
    return pd.DataFrame([row for seed in ask.seeds for row in _measure(seed)])


def _measure(seed: int) -> Iterator[dict[str, object]]:
    draw = np.random.default_rng(seed)
    images, targets, tests, answers = noisy_sets(seed, draw)
    for way in (ANEW, BAGGED):
        for width in WIDTHS:
            outputs = np.stack(
                [
                    _outputs(images[part], targets[part], tests, width, way, draw)
                    for part in range(SETS)
                ]
            )
            for models in MODELS:
                where = {"seed": seed, "way": way, "width": width, "models": models}
                yield where | _terms(outputs[:, :models].mean(axis=1), answers)


def _outputs(
    images: Floats,
    targets: Floats,
    tests: Floats,
    width: int,
    way: str,
    draw: np.random.Generator,
) -> Floats:
    """Outputs of all models of one training set, shape (models, tests, classes)."""
    outputs = []
    for _ in range(max(MODELS)):
        counts = resample(len(images), draw) if way == BAGGED else np.ones(len(images))
        directions = draw_directions(PIXELS, width, draw)
        weights = fit_counted(relu_features(images, directions), targets, counts)
        outputs.append(relu_features(tests, directions) @ weights)
    return np.stack(outputs)


def _terms(outputs: Floats, labels: Labels) -> dict[str, float]:
    """Variance, bias and errors of one predictor a training set."""
    variance, bias2 = split_error(outputs, one_hot(labels))
    wrong = float((outputs.argmax(axis=-1) != labels).mean())
    return {"variance": variance, "bias2": bias2, "error": variance + bias2, "wrong": wrong}


def resample(examples: int, draw: np.random.Generator) -> Floats:
    """How often each example comes in a bootstrap sample, shape (examples,)."""
    return np.bincount(draw.integers(0, examples, examples), minlength=examples).astype(np.float64)


def fit_counted(design: Floats, targets: Floats, counts: Floats) -> Floats:
    """Least squares of minimum norm where each row comes so often, shape (features, outputs).

    Rows that come twice make a design singular; one row times sqrt(2) asks for the same.
    """
    there = counts > 0
    root = np.sqrt(counts[there])[:, None]
    return minimum_norm(design[there] * root, targets[there] * root)


def ratios(table: pd.DataFrame, way: str) -> pd.DataFrame:
    """Variance of the mean of most models by that of one plain model; seeds by widths."""
    many = table[table["models"] == table["models"].max()]
    return _grid(many, way) / _grid(table[table["models"] == 1], ANEW)


def _grid(rows: pd.DataFrame, way: str) -> pd.DataFrame:
    return rows[rows["way"] == way].pivot_table("variance", "seed", "width")


def find(table: pd.DataFrame) -> Finding:
    """Whether bagging lowers the variance, but at the threshold of the bootstrap samples."""
    share = ratios(table, BAGGED)
    most = int(table["models"].max())
    holds = (share.drop(columns=DISTINCT) < 1.0).all(axis=1)
    raised = int((share[DISTINCT] > 1.0).sum())
    bagged, anew = share.mean(), ratios(table, ANEW).mean()
    wrong = table.groupby(["way", "width", "models"])["wrong"].mean()
    return Finding(
        showed=bool(holds.all()),
        criterion=f"in every seed the mean of {most} bagged models has less variance than one "
        f"model at each width but {DISTINCT}, where a bootstrap sample is just interpolated",
        text=(
            f"The mean of {most} bagged models has {bagged[NARROW]:.2f} of one model's variance "
            f"at width {NARROW}, {bagged[EXAMPLES]:.1e} at {EXAMPLES} and {bagged[WIDE]:.2f} at "
            f"{WIDE}; {most} independent sets would give {1 / most:.3f}.",
            f"At width {DISTINCT} bagging raises the variance, {bagged[DISTINCT]:.1f} times, in "
            f"{raised} of {len(share)} seeds: a bootstrap sample of {EXAMPLES} holds about "
            f"{DISTINCT} distinct examples, so the peak is moved there. That bagging always "
            "lowers variance may not be concluded.",
            f"Features drawn anew on the same set leave {anew[NARROW]:.2f} at {NARROW} and "
            f"{anew[WIDE]:.2f} at {WIDE}: the rest is owed to the training set, and more models "
            "do not remove it. Narrow models gain more from this than from bagging.",
            f"Images given a wrong class, one model and {most} bagged: "
            + ", ".join(
                f"{wrong[ANEW, width, 1]:.3f} and {wrong[BAGGED, width, most]:.3f} at {width}"
                for width in (NARROW, EXAMPLES, WIDE)
            )
            + ".",
            f"The factors at {DISTINCT} and {EXAMPLES} have heavy tails: only on which side of 1 "
            "they lie may be used.",
        ),
        numbers={f"bagged_{width}": float(bagged[width]) for width in WIDTHS}
        | {f"anew_{width}": float(anew[width]) for width in WIDTHS},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: variance by width, one model and many. Right: variance by the number of models."""
    most = int(table["models"].max())
    mean = table.groupby(["way", "models", "width"])["variance"].mean()
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _line(left, mean[ANEW, 1], QUIET, "-", "one model")
        _line(left, mean[BAGGED, 1], FRONTIER, ":", "one, on a bootstrap sample")
        _line(left, mean[BAGGED, most], FRONTIER, "-", f"mean of {most} bagged")
        left.set(xlabel="random features", ylabel="variance of the outputs")
        for way, colour in ((ANEW, QUIET), (BAGGED, FRONTIER)):
            for width, style in ((NARROW, "-"), (WIDE, "--")):
                share = mean[way].xs(width, level="width") / mean[ANEW, 1, width]
                _line(right, share, colour, style, f"{way}, width {width}")
        models = np.array(MODELS)
        right.plot(models, 1 / models, color=QUIET, lw=0.9, ls=":", label="independent sets")
        right.set(xlabel="models in the mean", ylabel="variance, one model = 1")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log")
            axes.legend(frameon=False, fontsize=8)
            axes.minorticks_off()
        left.set_xticks(WIDTHS, [str(one) for one in WIDTHS])
        right.set_xticks(MODELS, [str(one) for one in MODELS])
        right.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _line(axes: Axes, values: pd.Series, colour: str, style: str, label: str) -> None:
    axes.plot(values.index, values, color=colour, ls=style, lw=1.8, marker="o", ms=3, label=label)


STUDY = Study(
    title="Bagging lowers the variance, but moves the peak to fewer features",
    sources=("Breiman 1996, Machine Learning 24", "Hastie, Tibshirani & Friedman 2009, eq. 15.1"),
    bears_on="How much of a loss is variance that averaging removes: a law fitted to single runs "
    "and one fitted to means of runs are not the same law.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
