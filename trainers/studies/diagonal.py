"""Diagonal networks u^2 - v^2: a small start finds L1, a large one L2, label noise L1 again.

Sparse regression with fewer samples than inputs, weights w = u^2 - v^2, u = v = alpha at the start.
Gradient descent from a small alpha ends near the interpolant of least L1 norm, from a large one
near that of least L2 norm (Woodworth et al. 2020, arXiv:2002.09277). A step multiplies u by 1 - q
and v by 1 + q, so uv shrinks by 1 - q^2 and never recovers: whoever keeps noise up long enough ends
as if it had started small (Pesme et al. 2021, arXiv:2106.09524; HaoChen et al. 2020,
arXiv:2006.08680, for noise on labels).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.studies.fourier import least_absolute_norm
from trainers.study import Ask, Finding, Study

SAMPLES, INPUTS, TERMS = 40, 100, 5
NOISY, CLEAN = 40_000, 20_000
"""Steps with label noise, and then without, so that every arm comes to an interpolant."""
CHECKS = frozenset(np.geomspace(1, NOISY + CLEAN, 50).round().astype(int).tolist())
CHUNK, NEAR, FAR = 1000, 0.05, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way of training: start, step size, one sample a step or all, label noise; and its look."""

    label: str
    colour: str = "0.7"
    alpha: float = 1.0
    rate: float = 0.002
    single: bool = False
    noise: float = 0.0

    @property
    def left(self) -> float:
        """What label noise alone leaves of the start: q^2 averages 4 (rate noise)^2 / batch."""
        squares = 4.0 * (self.rate * self.noise) ** 2 / (1 if self.single else SAMPLES)
        return self.alpha * float(np.exp(-squares * NOISY / 2.0))


ARMS = {
    f"full {alpha}": Arm(label=f"full batch, start {alpha}", alpha=alpha, rate=0.02)
    for alpha in (0.003, 0.01, 0.03, 0.1, 0.3)
} | {
    "full 1": Arm(label="full batch, start 1", colour=QUIET, rate=0.02),
    "sgd": Arm(label="SGD", colour="#2c7fb8", single=True),
    "weak": Arm(label="SGD, weak label noise", colour="#d95f0e", single=True, noise=1.0),
    "strong": Arm(label="SGD, strong label noise", colour=FRONTIER, single=True, noise=4.0),
    "full same": Arm(label="full batch, same step and noise", colour="#7b3294", noise=4.0),
    "full wide": Arm(
        label="full batch, noise, tenfold step", colour="#1b7837", rate=0.02, noise=2.5
    ),
}
FULL = [name for name, arm in ARMS.items() if arm.rate == 0.02 and not arm.noise]
NO_GAIN = ("sgd", "weak", "full same")


def run(ask: Ask) -> pd.DataFrame:
    """Relative squared error of w by step, of every arm and of the least norms.

    Columns seed, arm (a key of ARMS, or L1, L2 for the interpolants of least norm), step, error,
    loss (mean square, true labels), start: the median of sqrt(uv), alpha before the first step.
    """
    problems = [problem(seed) for seed in ask.seeds]
    inputs, truth = (np.stack(part) for part in zip(*problems, strict=True))
    tables = [_arm(name, inputs, truth, list(ask.seeds)) for name in ARMS]
    return pd.concat([*_least_norms(inputs, truth, list(ask.seeds)), *tables], ignore_index=True)


def problem(seed: int) -> tuple[FloatArray, FloatArray]:
    """Standard normal inputs (SAMPLES, INPUTS), and the sparse weights (INPUTS,) behind them."""
    draw = np.random.default_rng(seed)
    inputs, truth = draw.standard_normal((SAMPLES, INPUTS)), np.zeros(INPUTS)
    truth[draw.choice(INPUTS, TERMS, replace=False)] = draw.standard_normal(TERMS)
    return inputs, truth


def _least_norms(inputs: FloatArray, truth: FloatArray, seeds: list[int]) -> list[pd.DataFrame]:
    pairs = [(x, x @ w) for x, w in zip(inputs, truth, strict=True)]
    found = {
        "L1": np.stack([least_absolute_norm(x, y, constant=False) for x, y in pairs]),
        "L2": np.stack([np.linalg.lstsq(x, y, rcond=None)[0] for x, y in pairs]),
    }
    return [
        _measured(w, inputs, truth).assign(seed=seeds, arm=arm, step=0) for arm, w in found.items()
    ]


def _measured(w: FloatArray, inputs: FloatArray, truth: FloatArray) -> pd.DataFrame:
    off = w - truth
    loss = ((inputs @ off[..., None]) ** 2).mean(axis=(1, 2))
    return pd.DataFrame({"error": (off**2).sum(1) / (truth**2).sum(1), "loss": loss})


def _arm(name: str, inputs: FloatArray, truth: FloatArray, seeds: Sequence[int]) -> pd.DataFrame:
    tables = [
        _measured(u**2 - v**2, inputs, truth).assign(
            seed=seeds, step=step, start=np.median(np.abs(u * v), axis=1) ** 0.5
        )
        for step, (u, v) in enumerate(train(ARMS[name], inputs, truth, seeds))
        if step in CHECKS
    ]
    return pd.concat(tables).assign(arm=name)


def train(
    arm: Arm, inputs: FloatArray, truth: FloatArray, seeds: Sequence[int]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Both factors u, v (seeds, INPUTS), before the first step and after each."""
    u = v = np.full_like(truth, arm.alpha)
    yield u, v
    for taken, noise in _draws(arm, seeds):
        # (seeds, samples of this step, INPUTS)
        x = np.take_along_axis(inputs, taken[..., None], axis=1) if arm.single else inputs
        residual = x @ (u * u - v * v - truth)[..., None] - noise[..., None]
        q = 2.0 * arm.rate / x.shape[1] * (x.swapaxes(1, 2) @ residual)[..., 0]
        u, v = u * (1.0 - q), v * (1.0 + q)
        yield u, v


def _draws(arm: Arm, seeds: Sequence[int]) -> Iterator[tuple[Any, FloatArray]]:
    """The sample of each step (seeds, 1), whole, and the noise on labels (seeds, samples)."""
    draws = [np.random.default_rng((seed, 1)) for seed in seeds]
    size = 1 if arm.single else SAMPLES
    for begin in range(0, NOISY + CLEAN, CHUNK):
        taken = np.stack([draw.integers(SAMPLES, size=(CHUNK, 1)) for draw in draws], axis=1)
        noise = np.zeros((CHUNK, len(draws), size))
        if arm.noise and begin < NOISY:
            noise = np.stack([draw.normal(0, arm.noise, (CHUNK, size)) for draw in draws], axis=1)
        yield from zip(taken, noise, strict=True)


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of every arm and seed: columns arm, seed, error, loss, start."""
    return table.sort_values("step").groupby(["arm", "seed"]).last().reset_index()


def find(table: pd.DataFrame) -> Finding:
    """Whether start and label noise decide which norm is least, in nine of ten seeds or more."""
    last = ends(table)
    error = last.pivot_table(index="seed", columns="arm", values="error")
    low, high, start = error.min(), error.max(), last.groupby("arm")["start"].mean()
    spans = {arm: f"{low[arm]:.2g} to {high[arm]:.2g}" for arm in low.index}
    near = error[["full 0.01", "strong"]].max(axis=1) <= NEAR
    shown = near & (error[["full 1", "sgd"]].min(axis=1) >= FAR)
    return Finding(
        showed=float(shown.mean()) >= 0.9,
        criterion=f"relative squared error at most {NEAR} from a small start and by SGD with label "
        f"noise, at least {FAR} from a large start without noise, in nine seeds of ten",
        text=(
            f"All of it held in {shown.sum()} of {len(shown)} seeds.",
            f"Errors: least L2 norm {spans['L2']}, least L1 norm {spans['L1']}. Full batches end "
            f"at {spans['full 1']} from the large start, at {spans['full 0.01']} from the small.",
            f"SGD with strong label noise came from the large start to {spans['strong']}; of the "
            f"start, sqrt(uv) = 1, {start['strong']:.2g} was left.",
            "No gain, or little (left of the start): "
            + "; ".join(f"{ARMS[arm].label}, {spans[arm]} ({start[arm]:.2g})" for arm in NO_GAIN)
            + ".",
            f"It is not SGD as such: {ARMS['full wide'].label}, came to "
            f"{spans['full wide']}. What counts is the sum of step^2 noise^2 / batch, which alone "
            f"would leave {ARMS['full same'].left:.2g} where {start['full same']:.2g} was left, "
            f"and {ARMS['full wide'].left:.2g} where {start['full wide']:.2g} was.",
            "L1 is better here because the target is sparse. SGD without label noise stops moving "
            "once all is fitted; with steps this small that is too soon to gain.",
        ),
        numbers={"share": float(shown.mean())}
        | {f"worst {arm}": float(high[arm]) for arm in high.index}
        | {f"start {arm}": float(start[arm]) for arm in ARMS},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Error by step, and the last error by what was left of the start."""
    last = ends(table)
    with house_style():
        figure = Figure(figsize=(10.5, 4.8), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        means = last.groupby("arm")[["start", "error"]].mean()
        right.plot(means["start"][FULL], means["error"][FULL], color="0.7", lw=4, zorder=0)
        for name, arm in ARMS.items():
            rows = last[last["arm"].eq(name)]
            right.plot(rows["start"], rows["error"], "o", ms=5, color=arm.colour)
            if name not in FULL or arm.alpha in {0.01, 1.0}:
                mean = table[table["arm"].eq(name)].groupby("step")["error"].mean()
                left.plot(mean.index, mean, color=arm.colour, lw=2, label=arm.label)
        left.axvline(NOISY, color=QUIET, lw=0.8, ls=":")
        left.text(NOISY, 1e-3, "noise ends ", ha="right", color=QUIET, fontsize=9)
        right.axhline(means["error"]["L2"], color=QUIET, lw=0.8, ls="--")
        right.text(3e-3, means["error"]["L2"] * 1.1, "least L2 norm", color=QUIET, fontsize=9)
        right.text(0.04, 4e-3, "full batch, by start", color=QUIET, fontsize=9)
        left.set(xscale="log", yscale="log", xlabel="steps", ylabel="relative squared error of w")
        right.set(xscale="log", xlabel="left of the start at the end, √(uv)")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Diagonal networks: start and label noise decide which interpolant is found",
    sources=(
        "Woodworth et al. 2020, arXiv:2002.09277",
        "HaoChen et al. 2020, arXiv:2006.08680",
        "Pesme, Pillaud-Vivien & Flammarion 2021, arXiv:2106.09524",
    ),
    bears_on="Why runs of one law must share start, step and batch: they choose the solution.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
