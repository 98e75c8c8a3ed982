"""What N and C count, and how far that alone moves the answer.

The same runs say that the best size grows as C^.37, C^.54 or C^.70, depending on whether N holds
the embedding, the output matrix or neither, and whether C is 6ND or counted by layer. A law fitted
under one convention is wrong under another (Pearce & Song 2024, arXiv:2406.12907; Porian et al.
2024, arXiv:2406.19146). Here the law is fitted again under every convention the table allows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from scalefit.errors import FitError
from scalefit.fitting.parametric import fit
from scalefit.laws import Allocation, FloatArray, Law
from scalefit.laws.form import lowest
from scalefit.runs import Runs

SCHEMA = 1
COUNTS: Mapping[str, tuple[str, ...]] = {
    "total": ("params_total",),
    "matrix": ("params_non_embedding", "params_head"),
    "non_embedding": ("params_non_embedding",),
}
"""Which columns add up to N: everything (Hoffmann et al. 2022), all that is multiplied with every
token, and neither embedding nor output matrix (Kaplan et al. 2020)."""
SAME = 0.01  # FLOPs of a size and token that differ by more are no function of the size
BUDGETS = 33  # of the line through N*(C)
Curve = Callable[[FloatArray], FloatArray]
"""A function of log N."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """One way to count, and what the runs say under it.

    Attributes:
        params: what N counts: a key of ``COUNTS``, or "as given".
        flops: "6ND", or "exact": the table's own.
        a: exponent of N* over the budgets the runs span, of a line through log N*(log C).
        low, high: its interval.
        size: N* in this count at ``Audit.flops``.
        total: the same model in the widest count there is.
        tokens: D* there.
    """

    params: str
    flops: str
    a: float
    low: float | None
    high: float | None
    size: float
    total: float
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All conventions that a table allows, at one budget; ``left_out`` says which it does not."""

    source: str
    flops: float
    level: float
    conventions: tuple[Convention, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit fit --audit --json``."""
        return {"schema": SCHEMA, **asdict(self)}


def audit(
    runs: Runs,
    *,
    flops: float | None = None,
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    bootstrap: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Audit:
    """Fit the additive law under every convention of N and C that the table has columns for.

    Args:
        runs: the table; params_total, params_non_embedding and params_head as columns say what
            parameters there are, flops what each run cost.
        flops: the budget C to compare at; by default the largest in the table.
        objective: as for ``fit``.
        delta: likewise.
        bootstrap: replicates behind the intervals of a.
        seed: of them.
        level: confidence of them.

    Raises:
        FitError: if the runs cannot determine the law under any of them.
    """
    counts = dict(_counts(runs))
    costs = {"6ND": None, **_exact(runs)}
    budget = float(runs.frame["flops"].max()) if flops is None else flops
    widest = next(iter(counts.values()))
    found, left_out = [], _missing(counts, costs)
    for name, sizes in counts.items():
        try:
            fitted = fit(
                _recounted(runs, sizes),
                objective=objective, delta=delta, bootstrap=bootstrap, seed=seed, level=level,
            )  # fmt: skip
        except FitError as error:
            left_out.append(f"N as {name}: {error}")
            continue
        for rule, cost in costs.items():
            per_token = _six if cost is None else _curve(sizes, cost)
            found.append(
                _convention(
                    name, rule, fitted.law, fitted.draws, per_token, _curve(sizes, widest),
                    budget, runs, level,
                )
            )  # fmt: skip
    if not found:
        raise FitError("; ".join(left_out))
    return Audit(
        source=runs.source, flops=budget, level=level, conventions=tuple(found),
        left_out=tuple(left_out),
    )  # fmt: skip


def restated(law: Law, total: Curve, cost: Curve, flops: FloatArray) -> Allocation:
    """The optimum of a law whose N is counted otherwise: params are the other count.

    Args:
        law: of L(N, D).
        total: log N of the law's count, given the log of the other.
        cost: log FLOP of a token, given the log of the other count.
        flops: budgets C, as the other convention counts them.
    """
    log_c = np.log(np.asarray(flops, dtype=np.float64))

    def loss(log_n: FloatArray) -> FloatArray:
        return law.loss(np.exp(total(log_n)), np.exp(log_c - cost(log_n)))

    log_n = lowest(loss, np.zeros_like(log_c), log_c)
    tokens = np.exp(log_c - cost(log_n))
    return Allocation(
        flops=np.exp(log_c),
        params=np.exp(log_n),
        tokens=tokens,
        loss=law.loss(np.exp(total(log_n)), tokens),
    )


def _convention(
    params: str,
    rule: str,
    law: Law,
    draws: FloatArray,
    cost: Curve,
    total: Curve,
    budget: float,
    runs: Runs,
    level: float,
) -> Convention:
    spent = runs.frame["flops"].to_numpy(dtype=np.float64)
    budgets = np.geomspace(spent.min(), spent.max(), BUDGETS)
    best = restated(law, _same, cost, np.array([budget]))
    drawn = [_exponent(replace(law, params=_named(law, draw)), cost, budgets) for draw in draws]
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if drawn else (None, None)
    return Convention(
        params=params,
        flops=rule,
        a=_exponent(law, cost, budgets),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        size=float(best.params[0]),
        total=float(max(np.exp(total(np.log(best.params))[0]), best.params[0])),
        tokens=float(best.tokens[0]),
    )


def _named(law: Law, theta: FloatArray) -> dict[str, float]:
    return dict(zip(law.form.parameters, theta.tolist(), strict=True))


def _exponent(law: Law, cost: Curve, budgets: FloatArray) -> float:
    best = restated(law, _same, cost, budgets)
    return float(np.polyfit(np.log(budgets), np.log(best.params), 1)[0])


def _counts(runs: Runs) -> Iterator[tuple[str, FloatArray]]:
    """N of every row by each count that the table has, the widest first."""
    frame = runs.frame
    given = frame["params"].to_numpy(dtype=np.float64)
    found = {
        name: frame[list(columns)].to_numpy(dtype=np.float64).sum(axis=1)
        for name, columns in COUNTS.items()
        if all(column in frame and frame[column].notna().all() for column in columns)
    }
    if "total" not in found and not any(np.array_equal(given, sizes) for sizes in found.values()):
        yield "as given", given
    yield from found.items()


def _exact(runs: Runs) -> dict[str, FloatArray]:
    """FLOP of a token of every row, if the table counts them and not by 6ND."""
    frame = runs.frame
    per_token = np.asarray(frame["flops"] / frame["tokens"], dtype=np.float64)
    if np.abs(per_token / 6 / frame["params"].to_numpy() - 1).max() <= SAME:
        return {}
    spread = frame.assign(cost=per_token).groupby("params")["cost"].agg(np.ptp)
    return {"exact": per_token} if (spread <= SAME * per_token.mean()).all() else {}


def _missing(counts: Mapping[str, object], costs: Mapping[str, object]) -> list[str]:
    lacking = [
        f"N as {name}: no column {' or '.join(columns)}"
        for name, columns in COUNTS.items()
        if name not in counts
    ]
    if "exact" not in costs:
        lacking.append("exact FLOPs: the table's own are 6ND, or no function of the size")
    return lacking


def _recounted(runs: Runs, sizes: FloatArray) -> Runs:
    return replace(runs, frame=runs.frame.assign(params=sizes))


def _six(log_n: FloatArray) -> FloatArray:
    per_token: FloatArray = np.log(6.0) + log_n
    return per_token


def _same(log_n: FloatArray) -> FloatArray:
    return log_n


def _curve(x: Sequence[float] | FloatArray, y: FloatArray) -> Curve:
    """How log y follows log x, through all sizes and straight on beyond the last two."""
    at, first = np.unique(np.log(x), return_index=True)
    height = np.log(y)[first]
    if len(at) < 2:
        return lambda log_x: height[0] + (log_x - at[0])
    slopes = np.diff(height) / np.diff(at)

    def curve(log_x: FloatArray) -> FloatArray:
        inside = np.interp(log_x, at, height)
        below, above = np.minimum(log_x - at[0], 0.0), np.maximum(log_x - at[-1], 0.0)
        value: FloatArray = inside + below * slopes[0] + above * slopes[-1]
        return value

    return curve
