"""SGD's noise has structure: it dies with the loss, and lies in the span of the gradients.

With squared loss the gradient of example i is its residual times that of its prediction, r_i J_i.
So the covariance of SGD's noise lies in the span of the rows of J, and its trace is at most
2 L max|J_i|^2: it vanishes where all examples are fitted (Pesme et al. 2021, arXiv:2106.09524).
Fresh noise of deviation s on the labels adds s^2 mean J_i J_i', in the same span, and that stays
(Pillaud-Vivien et al. 2022, arXiv:2206.09841).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

EXAMPLES, INPUTS, RATE, STEPS = 16, 8, 0.05, 6_000
CHECKS = np.unique(np.geomspace(1, STEPS, 40).round().astype(int))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way of training: hidden units, standard deviation of label noise, and how it is drawn."""

    width: int
    noise: float
    label: str
    colour: str


ARMS = {
    "wide": Arm(width=64, noise=0.0, label="more weights than examples", colour=FRONTIER),
    "labels": Arm(width=64, noise=0.3, label="the same, label noise", colour="#2c7fb8"),
    "narrow": Arm(width=1, noise=0.0, label="fewer weights than examples", colour=QUIET),
}


def run(ask: Ask) -> pd.DataFrame:
    """SGD on one example a step; the exact covariance of its noise at some steps.

    Columns seed, arm, weights (their number), step, loss, trace; labels, the part of the trace that
    label noise makes; outside and start, the shares of the trace outside the span of the gradients
    J of now, and inside that of step 0.
    """
    return pd.concat([_arm(name, list(ask.seeds)) for name in ARMS], ignore_index=True)


def _arm(name: str, seeds: list[int]) -> pd.DataFrame:
    arm = ARMS[name]
    draws = [np.random.default_rng(seed) for seed in seeds]
    inputs = np.stack([draw.standard_normal((EXAMPLES, INPUTS)) for draw in draws])
    values = np.stack([draw.standard_normal(EXAMPLES) for draw in draws])
    weights = np.stack([_start(draw, arm.width) for draw in draws])
    first = _basis(network(weights, inputs)[1])
    rows = []
    for step in range(STEPS + 1):
        if step == 0 or step in CHECKS:
            found = noise(weights, inputs, values, arm.noise, first)
            rows.append(pd.DataFrame({"seed": seeds, "arm": name, "step": step} | found))
        taken = np.array([[draw.integers(EXAMPLES)] for draw in draws])
        chosen = np.take_along_axis(inputs, taken[..., None], axis=1)
        wrong = arm.noise * np.array([[draw.standard_normal()] for draw in draws])
        predicted, slopes = network(weights, chosen)
        residual = predicted - np.take_along_axis(values, taken, axis=1) - wrong
        weights = weights - RATE * residual * slopes[:, 0]
    return pd.concat(rows, ignore_index=True).assign(weights=weights.shape[1])


def _start(draw: np.random.Generator, width: int) -> FloatArray:
    """Weights of a tanh network, flat: a row (matrix, shift, output) for each hidden unit."""
    scales = np.r_[np.full(INPUTS + 1, INPUTS**-0.5), width**-0.5]
    flat: FloatArray = (scales * draw.standard_normal((width, INPUTS + 2))).ravel()
    return flat


def network(weights: FloatArray, inputs: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Predictions (seeds, examples) and their gradients J (seeds, examples, P)."""
    units = weights.reshape(len(weights), -1, INPUTS + 2)
    matrix, shift, output = units[..., :INPUTS], units[..., INPUTS], units[..., INPUTS + 1]
    hidden = np.tanh(inputs @ matrix.swapaxes(1, 2) + shift[:, None])
    inner = output[:, None] * (1.0 - hidden**2)
    parts = (inner[..., None] * inputs[:, :, None], inner[..., None], hidden[..., None])
    slopes = np.concatenate(parts, axis=-1)
    return (hidden * output[:, None]).sum(-1), slopes.reshape(*inputs.shape[:2], -1)


def _basis(slopes: FloatArray) -> FloatArray:
    """An orthonormal basis of the span of the rows of J, in rows."""
    basis: FloatArray = np.linalg.svd(slopes, full_matrices=False)[2]
    return basis


def factor(
    weights: FloatArray, inputs: FloatArray, values: FloatArray, spread: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Residuals, J, and F (seeds, 2 examples, P) with F'F the covariance of SGD's noise.

    Half of its rows are the gradients less their mean; half are what label noise adds.
    """
    predicted, slopes = network(weights, inputs)
    each = (predicted - values)[..., None] * slopes
    rows = np.concatenate((each - each.mean(axis=1, keepdims=True), spread * slopes), axis=1)
    return predicted - values, slopes, rows / EXAMPLES**0.5


def noise(
    weights: FloatArray, inputs: FloatArray, values: FloatArray, spread: float, first: FloatArray
) -> dict[str, FloatArray]:
    """Loss on the true labels; trace of the noise's covariance, and where it lies."""
    residual, slopes, rows = factor(weights, inputs, values, spread)
    trace = (rows**2).sum((1, 2))
    now = _basis(slopes)
    beyond = rows - rows @ now.swapaxes(1, 2) @ now
    return {
        "loss": 0.5 * (residual**2).mean(axis=1),
        "trace": trace,
        "labels": (rows[:, EXAMPLES:] ** 2).sum((1, 2)),
        "outside": (beyond**2).sum((1, 2)) / trace,
        "start": ((rows @ first.swapaxes(1, 2)) ** 2).sum((1, 2)) / trace,
    }


def find(table: pd.DataFrame) -> Finding:
    """Whether the noise dies where all is fitted, only there, and stays in the span of J."""
    ends = table[table["step"].isin([0, table["step"].max()])]
    fall = ends.groupby(["arm", "seed"])["trace"].agg(lambda two: two.iloc[-1] / two.iloc[0])
    stays = float(fall[["labels", "narrow"]].min())
    means = ends.groupby(["step", "arm"]).mean(numeric_only=True).loc[table["step"].max()]
    wide, labels, narrow = (means.loc[arm] for arm in ARMS)
    least, most = _orders(table[table["arm"].eq("wide")])
    outside = float(table["outside"].max())
    dies = bool(fall["wide"].max() < 1e-6 and least >= 0.9 and most <= 1.1)
    return Finding(
        showed=dies and stays > 1e-3 and outside < 1e-20,
        criterion="with more weights than examples the trace of the noise falls below 1e-6 of its "
        "start, as the loss (order within 0.1 of 1); with label noise or fewer weights than "
        "examples it stays above 1e-3; all of it lies in the span of the gradients; in every seed",
        text=(
            f"With {wide['weights']:.0f} weights for {EXAMPLES} examples the loss fell to "
            f"{wide['loss']:.0e} and the trace of the noise to {wide['trace']:.0e} (means), as the "
            f"loss to the power {least:.2f} to {most:.2f}, at a constant step size.",
            f"With label noise it stood at {labels['trace']:.2f}, of which label noise alone "
            f"makes {labels['labels']:.2f}; with {narrow['weights']:.0f} weights at "
            f"{narrow['trace']:.2f}, loss {narrow['loss']:.2f}.",
            f"Outside the span of the {EXAMPLES} gradients lies {outside:.0e} of the noise at "
            f"most; isotropic noise would have {1 - EXAMPLES / wide['weights']:.1%} there.",
            f"But the span moves: {wide['start']:.0%} of the last noise lies in the span of the "
            f"first gradients, {labels['start']:.0%} with label noise. A fixed manifold it is only "
            "for a linear model.",
            "That the noise lies in the span is an identity of squared loss, and says nothing of "
            "which minimum is found.",
        ),
        numbers={
            "order_low": least, "order_high": most, "stays": stays, "outside": outside,
            "wide_start": float(wide["start"]), "labels_start": float(labels["start"]),
        },
    )  # fmt: skip


def _orders(rows: pd.DataFrame) -> tuple[float, float]:
    """The order of the trace in the loss over all steps: least and most over seeds."""
    logs = rows.assign(x=np.log(rows["loss"]), y=np.log(rows["trace"]))
    found = [float(np.polyfit(one["x"], one["y"], 1)[0]) for _, one in logs.groupby("seed")]
    return min(found), max(found)


def draw(table: pd.DataFrame) -> Figure:
    """Trace of the noise by step, and how much of it lies in the span of the first gradients."""
    table = table[table["step"] > 0]
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, arm in ARMS.items():
            rows = table[table["arm"].eq(name)]
            for _, one in rows.groupby("seed"):
                left.plot(one["step"], one["trace"], color=arm.colour, lw=0.6, alpha=0.5)
            mean = np.exp(np.log(rows.set_index("step")["trace"]).groupby("step").mean())
            left.plot(mean.index, mean, color=arm.colour, lw=2.2, label=arm.label)
            if name != "narrow":  # its gradients span everything
                share = rows.groupby("step")["start"].mean()
                right.plot(share.index, share, color=arm.colour, lw=2.2)
        left.set(xscale="log", yscale="log", xlabel="steps of SGD", ylim=(1e-8, 1e3))
        left.set_ylabel("trace of the covariance of SGD's noise")
        left.legend(frameon=False, loc="lower left")
        even = EXAMPLES / table.loc[table["arm"].eq("wide"), "weights"].iloc[0]
        for height, line, label in (
            (1.0, "--", "in the span of the gradients of the same step"),
            (even, ":", f"isotropic noise: {even:.1%} in either span"),
        ):
            right.axhline(height, color=QUIET, lw=1, ls=line)
            right.text(1, height + 0.015, label, color=QUIET, fontsize=9)
        right.set(xscale="log", ylim=(0, 1.08), xlabel="steps of SGD")
        right.set_ylabel("share in the span of the first gradients")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="SGD's noise dies with the loss and lies in the span of the gradients",
    sources=(
        "Pesme, Pillaud-Vivien & Flammarion 2021, arXiv:2106.09524",
        "Pillaud-Vivien, Reygner & Flammarion 2022, arXiv:2206.09841",
    ),
    bears_on="Why SGD's noise is no constant part of a loss: it shrinks with what is fitted.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
