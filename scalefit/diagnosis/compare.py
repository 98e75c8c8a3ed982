"""The three approaches of Hoffmann et al. 2022 held against each other on the same runs.

Each sees something else: the envelope the best loss at every compute in mid-training, the IsoFLOP
profiles the neighbourhood of every budget's optimum, the law all runs. Where they agree, no
assumption that only one of them makes decides the answer; where they do not, one of them is wrong
about these runs, and which pair disagrees says where to look.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from scalefit.cleaning import SAME, over_six_nd
from scalefit.diagnosis.corner import corner, on_corner
from scalefit.errors import FitError, PlanError
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Fit, Status
from scalefit.frontiers.envelope import envelope
from scalefit.frontiers.isoflop import isoflop
from scalefit.laws import FloatArray, Form
from scalefit.planning import Quantity, plan
from scalefit.quantities import format_count, format_flops
from scalefit.runs import Runs

SCHEMA = 1
NUMBERS = {"envelope": 1, "isoflop": 2, "parametric": 3}
SIGNIFICANT = 0.05
REACHES = (1.0, 10.0)  # times the largest compute: the default budgets
ONE_SD = 0.6827  # level of a normal interval of one sd on each side


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """What one approach plans for one budget."""

    flops: float
    params: Quantity
    tokens: Quantity
    loss: Quantity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """One approach: its fit or why there is none, and its optima by budget."""

    name: str
    fit: Fit | None
    a: Quantity | None
    b: Quantity | None
    optima: tuple[Optimum, ...]
    refusal: str = ""

    @property
    def number(self) -> int:
        """As Hoffmann et al. count them."""
        return NUMBERS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Two approaches on one number.

    Attributes:
        first, second: their names.
        quantity: "a", or "N*" at ``flops``.
        flops: the budget, None for an exponent.
        difference: second minus first; of N* in logarithms.
        z: over the root of the sum of their variances. Both come from the same runs, so this
            overstates the error of the difference: a disagreement it finds is one.
        p: two-sided, of a normal z, times the number of pairs (Bonferroni).
    """

    first: str
    second: str
    quantity: str
    flops: float | None
    difference: float
    z: float
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All approaches on one table, whether they agree, and what that means in words."""

    source: str
    level: float
    approaches: tuple[Approach, ...]
    agreements: tuple[Agreement, ...]
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit fit --method all --json``."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "level": self.level,
            "approaches": {entry.name: _approach_dict(entry) for entry in self.approaches},
            "agreements": [asdict(entry) for entry in self.agreements],
            "findings": list(self.findings),
        }


def compare(
    runs: Runs,
    *,
    flops: Sequence[float] | None = None,
    form: str = "chinchilla",
    variant: str = "parabola",
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Fit the runs by every approach that they allow, and test whether the answers agree.

    Args:
        runs: the table.
        flops: budgets to compare N*, D* and L* at; by default the largest in the table and ten
            times that.
        form: of the law in approach 3.
        variant: of the profiles in approach 2.
        objective: of approach 3.
        delta: its threshold.
        bootstrap: replicates behind each approach's intervals.
        seed: of them.
        level: confidence of the intervals.

    Raises:
        FitError: if no approach can be fitted.
    """
    most = float(runs.frame["flops"].max())
    budgets = [most * reach for reach in REACHES] if flops is None else list(flops)
    common: Mapping[str, Any] = {"bootstrap": bootstrap, "seed": seed, "level": level}
    ways: Mapping[str, Callable[[], Fit]] = {
        "envelope": lambda: envelope(runs, **common),
        "isoflop": lambda: isoflop(runs, variant=variant, **common),
        "parametric": lambda: fit(runs, form=form, objective=objective, delta=delta, **common),
    }
    approaches = tuple(_approach(name, way, budgets, level) for name, way in ways.items())
    if not any(entry.fit for entry in approaches):
        raise FitError(
            f"{runs.source} can be fitted by no approach: "
            + "; ".join(f"{entry.name}: {entry.refusal}" for entry in approaches)
        )
    agreements = tuple(_agreements(approaches, budgets))
    return Comparison(
        source=runs.source,
        level=level,
        approaches=approaches,
        agreements=agreements,
        findings=(
            *_findings(approaches, agreements, level),
            *(_on_compute(runs) if agreements else ()),
            *(_on_form(runs, objective, delta) if form == "chinchilla" else ()),
        ),
    )


def _approach(
    name: str, way: Callable[[], Fit], budgets: Sequence[float], level: float
) -> Approach:
    try:
        fitted = _told(way())
        optima = tuple(_optimum(fitted, budget, level) for budget in budgets)
    except (FitError, PlanError) as error:
        return Approach(name=name, fit=None, a=None, b=None, optima=(), refusal=str(error))
    a, b = (
        Quantity(
            value=fitted.intervals[key].value,
            low=fitted.intervals[key].low,
            high=fitted.intervals[key].high,
            level=level,
        )
        for key in ("a", "b")
    )
    return Approach(name=name, fit=fitted, a=a, b=b, optima=optima)


def _told(fitted: Fit) -> Fit:
    """The fit, if its runs tell its exponents."""
    if fitted.status == Status.NOT_IDENTIFIED:
        raise FitError("these runs leave its exponents open")
    return fitted


def _optimum(fitted: Fit, flops: float, level: float) -> Optimum:
    best = plan(fitted, flops=flops, level=level)
    return Optimum(flops=flops, params=best.params, tokens=best.tokens, loss=best.loss)


def _agreements(approaches: Sequence[Approach], budgets: Sequence[float]) -> Iterator[Agreement]:
    fits = [entry for entry in approaches if entry.fit is not None and len(entry.fit.draws)]
    pairs = list(combinations(fits, 2))
    for first, second in pairs:
        for quantity, flops in (("a", None), *(("N*", budget) for budget in budgets)):
            values, spreads = zip(
                *(_measured(entry, flops) for entry in (first, second)), strict=True
            )
            difference = values[1] - values[0]
            error = float(np.hypot(*spreads))
            z = difference / error if error > 0 else 0.0
            yield Agreement(
                first=first.name,
                second=second.name,
                quantity=quantity,
                flops=flops,
                difference=difference,
                z=z,
                p=min(1.0, float(2 * norm.sf(abs(z))) * len(pairs)),
            )


def _measured(entry: Approach, flops: float | None) -> tuple[float, float]:
    """The exponent a, or log N* at a budget, and its robust standard error."""
    assert entry.fit is not None
    form = entry.fit.law.form
    drawn = _number(form, entry.fit.draws, flops)
    low, high = np.quantile(drawn[np.isfinite(drawn)], [0.5 - ONE_SD / 2, 0.5 + ONE_SD / 2])
    return float(_number(form, entry.fit.law.theta, flops)), float(high - low) / 2


def _number(form: Form, theta: FloatArray, flops: float | None) -> FloatArray:
    if flops is None:
        exponent: FloatArray = form.exponents(theta)[..., 0]
        return exponent
    size: FloatArray = np.log(form.optimum(theta, np.asarray(flops)).params)
    return size


def _findings(
    approaches: Sequence[Approach], agreements: Sequence[Agreement], level: float
) -> Iterator[str]:
    for entry in approaches:
        if entry.fit is None:
            yield f"Approach {entry.number} ({entry.name}) cannot be fitted: {entry.refusal}."
    apart = [entry for entry in agreements if entry.p < SIGNIFICANT]
    if not agreements:
        yield "There is nothing to hold one approach against."
    elif not apart:
        yield _agreed(approaches, agreements, level)
    for pair in dict.fromkeys((entry.first, entry.second) for entry in apart):
        yield _apart([entry for entry in apart if (entry.first, entry.second) == pair])


def _on_compute(runs: Runs) -> Iterator[str]:
    off = over_six_nd(runs.frame)[1]
    if off > SAME:
        yield (
            f"Approaches 1 and 2 take the table's C, approach 3 plans by C = 6ND, and here the two "
            f"differ by {off:.0%} in the median: so much of N* and D* is convention."
        )


def _on_form(runs: Runs, objective: str, delta: float | None) -> Iterator[str]:
    said = on_corner(corner(runs, objective=objective, delta=delta))
    if said:
        yield said


def _agreed(approaches: Sequence[Approach], agreements: Sequence[Agreement], level: float) -> str:
    fits = [entry for entry in approaches if entry.fit]
    last = [entry.optima[-1] for entry in fits]
    sizes = [optimum.params.value for optimum in last]
    least = min(entry.p for entry in agreements)
    numbers = " and ".join(str(entry.number) for entry in fits)
    return (
        f"Approaches {numbers} agree within their errors (smallest p {least:.2g}): at "
        f"{format_flops(last[0].flops)} FLOP N* lies from {format_count(min(sizes))} to "
        f"{format_count(max(sizes))}. Plan by any of them; their {level:.0%} intervals stand."
    )


def _apart(found: Sequence[Agreement]) -> str:
    first, second = found[0].first, found[0].second
    on = "; ".join(
        f"a by {entry.difference:+.3f} (z {entry.z:+.1f})"
        if entry.flops is None
        else f"N* at {format_flops(entry.flops)} FLOP by a factor of "
        f"{np.exp(entry.difference):.2f} (z {entry.z:+.1f})"
        for entry in found
    )
    numbers = f"{NUMBERS[second]} ({second}) from {NUMBERS[first]} ({first})"
    return f"Approach {numbers} differs in {on}. {MEANINGS[first, second]}"


MEANINGS = {
    ("isoflop", "parametric"): (
        "The profiles look at each budget's optimum only, the law at all runs: either the law's "
        "form does not hold over all of them (see scalefit diagnose), "
        "or the profiles are too wide or off centre for their parabola (try --variant joint). "
        "Until they agree, no interval of either covers the truth as it says."
    ),
    ("envelope", "isoflop"): (
        "The envelope takes losses in mid-training, when the learning rate has not yet decayed; "
        "the profiles compare runs at their budget. Trust the profiles where runs ended there."
    ),
    ("envelope", "parametric"): (
        "The envelope takes losses in mid-training, and its optima from few pairs of sizes. Trust "
        "the law where its residuals show no pattern (scalefit diagnose)."
    ),
}


def _approach_dict(entry: Approach) -> dict[str, object]:
    return {
        "approach": entry.number,
        "a": entry.a and asdict(entry.a),
        "b": entry.b and asdict(entry.b),
        "optima": [asdict(optimum) for optimum in entry.optima],
        "refusal": entry.refusal or None,
        "fit": entry.fit and entry.fit.to_dict(),
    }
