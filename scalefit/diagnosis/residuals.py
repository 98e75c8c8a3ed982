"""What a fit leaves over: its size, its tails, whom it belongs to, and where the law does not fit.

A residual is log(measured loss) - log(loss by the law): 0.01 is a loss 1 % above the law.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from scalefit.fitting.parametric import columns
from scalefit.laws import Flags, FloatArray, Law
from scalefit.runs import Runs

EXACT = 1e-12  # residuals below this are rounding: the law passes through every row
NORMAL_MAD = 1.4826  # sd of a normal distribution in units of its median absolute deviation
WILD = 3.0  # robust sds beyond which a row only counts as wild
MOST_DF = 1000.0  # a Student t of so many degrees of freedom is a normal distribution
SAME_SIZE = 0.01  # sizes this close in log N are one model read off a figure
EDGE_SHARE, EDGE_ROWS = 1 / 40, 5  # the outermost rows of each axis
PERMUTATIONS, BLOCK = 1999, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Size and shape of the residuals.

    Attributes:
        mean, sd: of log loss, so that 0.01 is 1 %.
        robust_sd: 1.4826 times the median absolute deviation; few wild rows do not move it.
        kurtosis: fourth standardised moment, 3 for a normal distribution; None if all are 0.
        df: degrees of freedom of the Student t of highest likelihood, at most 1000; None likewise.
    """

    mean: float
    sd: float
    robust_sd: float
    kurtosis: float | None
    df: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Residuals of the rows in a range of C, N or D/N.

    Attributes:
        axis: "C", "N" or "D/N".
        part: "lowest", "lower third", "middle third", "upper third" or "highest".
        low, high: the range of the axis among these rows.
        rows: how many they are.
        mean, median, sd, robust_sd: of their residuals.
        z: how far they lie from all other rows: the difference of the means of residuals clipped
            at three robust sds, over its standard error by the larger of the two spreads. Neither
            wild rows nor a group that is merely noisy mislead it. Rows count as independent.
    """

    axis: str
    part: str
    low: float
    high: float
    rows: int
    mean: float
    median: float
    sd: float
    robust_sd: float
    z: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustering:
    """Whether rows that share a run, or else a model size, share their residual.

    Attributes:
        unit: "run" or "size".
        units: how many there are.
        icc: intraclass correlation by one-way analysis of variance (Fisher 1925); 1 if rows of a
            unit are equal, 0 if they have nothing in common; it may come out below 0.
        p: share of permutations of the residuals with so large an F; no normality is assumed.
    """

    unit: str
    units: int
    icc: float
    p: float


def residuals(law: Law, runs: Runs) -> FloatArray:
    """log(measured) - log(law) of each row, shape (rows,)."""
    *inputs, measured = columns(law.form, runs)
    excess: FloatArray = np.log(measured) - np.log(law.predict(*inputs))
    return excess


def spread(residual: FloatArray) -> Spread:
    """Describe residuals, shape (rows,), two or more."""
    sd = float(residual.std(ddof=1))
    known = sd > EXACT
    return Spread(
        mean=float(residual.mean()),
        sd=sd,
        robust_sd=robust_sd(residual),
        kurtosis=float(stats.kurtosis(residual, fisher=False)) if known else None,
        df=_student_df((residual - residual.mean()) / sd) if known else None,
    )


def robust_sd(residual: FloatArray) -> float:
    """The spread of the bulk: 1.4826 median |r - median r|."""
    return float(NORMAL_MAD * np.median(np.abs(residual - np.median(residual))))


def groups(runs: Runs, residual: FloatArray) -> tuple[Group, ...]:
    """Residuals by thirds and edges of C, N and D/N."""
    frame = runs.frame
    axes = {"C": frame["flops"], "N": frame["params"], "D/N": frame["tokens"] / frame["params"]}
    return tuple(
        _group(axis, part, values, residual, inside)
        for axis, values in ((axis, column.to_numpy()) for axis, column in axes.items())
        for part, inside in _parts(values)
    )


def clustering(runs: Runs, residual: FloatArray, *, seed: int = 0) -> Clustering | None:
    """Test the residuals for what rows of one run, or else of one size, share.

    None where it cannot be told: every unit has one row, there is one unit, or nothing is left
    over.
    """
    unit = "size" if runs.cluster is None else "run"
    label = unit_labels(runs, unit)
    counts = np.bincount(label)
    alone = not 1 < len(counts) < len(residual)
    if alone or residual.std() <= EXACT:
        return None
    ordered = residual[np.argsort(label, kind="stable")]
    observed = _variance_ratio(ordered[None], counts)[0]
    shuffled = _shuffled_ratios(ordered, counts, np.random.default_rng(seed))
    size = (len(residual) - (counts**2).sum() / len(residual)) / (len(counts) - 1)
    return Clustering(
        unit=unit,
        units=len(counts),
        icc=float((observed - 1) / (observed + size - 1)) if np.isfinite(observed) else 1.0,
        p=float((1 + (shuffled >= observed).sum()) / (1 + PERMUTATIONS)),
    )


def unit_labels(runs: Runs, unit: str) -> npt.NDArray[np.intp]:
    """The number of the row, run or model size that each row belongs to, shape (rows,).

    Without labels of runs, every row is a run of its own.
    """
    if unit == "run" and runs.cluster is not None:
        return np.unique(runs.cluster, return_inverse=True)[1]
    if unit != "size":
        return np.arange(len(runs))
    size = np.log(runs.frame["params"].to_numpy(dtype=np.float64))
    order = np.argsort(size, kind="stable")
    label = np.empty(len(size), dtype=np.intp)
    label[order] = np.concatenate([[0], np.cumsum(np.diff(size[order]) > SAME_SIZE)])
    return label


def _student_df(standard: FloatArray) -> float:
    """Degrees of freedom of highest likelihood, with location and scale free."""

    def cost(theta: FloatArray) -> float:
        log_df, centre, log_scale = theta
        z = (standard - centre) / np.exp(log_scale)
        return float(len(z) * log_scale - stats.t.logpdf(z, np.exp(log_df)).sum())

    bounds = [(np.log(0.5), np.log(MOST_DF)), (-3.0, 3.0), (-15.0, 3.0)]
    start = [np.log(4.0), float(np.median(standard)), np.log(max(robust_sd(standard), 1e-3))]
    found = optimize.minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(found.x[0]))


def _parts(values: FloatArray) -> Iterator[tuple[str, Flags]]:
    """Named ranges of an axis; rows that tie stay together, and a range comes but once."""
    ordered, rows = np.sort(values), len(values)
    edge, third = max(EDGE_ROWS, round(rows * EDGE_SHARE)), rows // 3
    named = [
        ("lower third", values <= ordered[third]),
        ("middle third", (values > ordered[third]) & (values <= ordered[2 * third])),
        ("upper third", values > ordered[2 * third]),
    ]
    if 2 * edge < third:
        lowest, highest = values <= ordered[edge - 1], values >= ordered[-edge]
        named = [("lowest", lowest), *named, ("highest", highest)]
    seen: set[bytes] = set()
    for part, inside in named:
        if 2 <= inside.sum() <= rows - 2 and inside.tobytes() not in seen:
            seen.add(inside.tobytes())
            yield part, inside


def _group(axis: str, part: str, values: FloatArray, residual: FloatArray, inside: Flags) -> Group:
    its = residual[inside]
    return Group(
        axis=axis,
        part=part,
        low=float(values[inside].min()),
        high=float(values[inside].max()),
        rows=len(its),
        mean=float(its.mean()),
        median=float(np.median(its)),
        sd=float(its.std(ddof=1)),
        robust_sd=robust_sd(its),
        z=_clipped_z(residual, inside),
    )


def _clipped_z(residual: FloatArray, inside: Flags) -> float:
    unit = robust_sd(residual) or residual.std()
    if unit <= EXACT:
        return 0.0
    clipped = np.clip((residual - np.median(residual)) / unit, -WILD, WILD)
    its, others = clipped[inside], clipped[~inside]
    wider = max(its.std(ddof=1), others.std(ddof=1))
    return float((its.mean() - others.mean()) / wider / np.sqrt(1 / len(its) + 1 / len(others)))


def _variance_ratio(ordered: FloatArray, counts: npt.NDArray[np.intp]) -> FloatArray:
    """F of a one-way analysis of variance for residuals (batch, rows), sorted by unit."""
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(ordered, first, axis=1)
    total = ordered.sum(axis=1)
    between = (sums**2 / counts).sum(axis=1) - total**2 / counts.sum()
    within = (ordered**2).sum(axis=1) - (sums**2 / counts).sum(axis=1)
    freedom = (counts.sum() - len(counts)) / (len(counts) - 1)
    with np.errstate(divide="ignore"):
        ratio: FloatArray = between / np.maximum(within, 0.0) * freedom
    return ratio


def _shuffled_ratios(
    ordered: FloatArray, counts: npt.NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    ratios = [
        _variance_ratio(
            rng.permuted(np.tile(ordered, (min(BLOCK, PERMUTATIONS - done), 1)), axis=1), counts
        )
        for done in range(0, PERMUTATIONS, BLOCK)
    ]
    return np.concatenate(ratios)
