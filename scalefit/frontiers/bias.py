"""How far approach 2 misses the optimum with no noise at all, because a curve has a wrong shape.

A parabola through a profile that falls faster on one side than it rises on the other has its
minimum off the profile's. That moves N* by the same factor at every budget whose sizes lie alike
about the optimum, and so leaves the exponent alone; where the sizes drift from the optimum as
compute grows, it tilts the exponent too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from scalefit.errors import FitError
from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.frontier import LEAST, line
from scalefit.frontiers.joint import Joint
from scalefit.frontiers.vertices import CUBIC, PARABOLA, Akima, Variant
from scalefit.laws import Flags, FloatArray, Law

VARIANTS: dict[str, Variant] = {v.name: v for v in (PARABOLA, CUBIC, Akima(), Joint())}
FAR = 10.0  # times the largest budget: where the bias of the frontier is told
BEYOND = 2.0  # how far outside of the sizes a law's own optimum is looked for, in log N
CLOSE = 1e-9  # of that optimum, in log N


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """Errors without noise.

    Attributes:
        params, tokens: of N* and D* at each budget, relative (0.01 is 1 % too high); NaN where no
            minimum is inside the sizes; shape (budgets,).
        a, b: of the exponents, absolute.
        flops: a compute to which the lines are extended.
        params_there, tokens_there: the relative errors of N* and D* there.
    """

    params: FloatArray
    tokens: FloatArray
    a: float
    b: float
    flops: float
    params_there: float
    tokens_there: float


def predicted_bias(
    law: Law,
    *,
    flops: npt.ArrayLike,
    params: npt.ArrayLike | None = None,
    around: float = 4.0,
    sizes: int = 9,
    variant: str = "parabola",
    at: float | None = None,
) -> Bias:
    """What approach 2 would find of a known law with these runs and without noise.

    Args:
        law: the truth, a law of N and D with an optimum.
        flops: the budgets, FLOP, with C = 6ND.
        params: sizes trained, shape (sizes,) for all budgets or (budgets, sizes); None for
            ``sizes`` evenly in log N within a factor ``around`` of the law's own optimum.
        around: see ``params``.
        sizes: see ``params``.
        variant: "parabola", "cubic", "akima" or "joint".
        at: compute to which the lines are extended; ten times the largest budget if None.

    Raises:
        FitError: for an unknown variant, or if fewer than two budgets have a minimum.
    """
    kind, budgets = named(variant), np.atleast_1d(np.asarray(flops, dtype=np.float64))
    best = law.optimum(budgets).params
    if params is None:
        n = best[:, None] * np.geomspace(1 / around, around, sizes)
    else:
        n = np.broadcast_to(np.asarray(params, float), (len(budgets), np.shape(params)[-1]))
    if n.shape[1] < kind.least:
        raise FitError(f"{kind.curve} takes {kind.least} sizes at a budget, not {n.shape[1]}")
    profiles = [_designed(c, np.sort(row)) for c, row in zip(budgets, n, strict=True)]
    at = FAR * float(budgets.max()) if at is None else at
    found = bias(law, kind, profiles, np.log(best), at=at)
    if found is None:
        raise FitError("without noise fewer than two budgets have their minimum inside the sizes")
    return found


def bias(
    law: Law, variant: Variant, profiles: Sequence[Profile], log_params: FloatArray, *, at: float
) -> Bias | None:
    """The errors of a variant if this law were exact, on the sizes of these profiles.

    None if fewer than two minima are inside. Sizes are taken to be trained on the budget's own
    curve D(N), so that what rows miss their budget by does not count; ``log_params`` is the true
    log N* there, shape (profiles,).
    """
    exact = [replace(p, loss=_loss(law, p, p.log_params)) for p in profiles]
    log_n = variant.vertices(exact, [p.loss[None] for p in exact]).log_params[0]
    kept = inside(profiles, log_n)
    if kept.sum() < LEAST:
        return None
    pairs = zip(profiles, np.stack([log_n, log_params], axis=1), strict=True)
    log_d = np.array([profile.tokens_at(pair) for profile, pair in pairs])
    off = np.stack([log_n - log_params, log_d[:, 0] - log_d[:, 1]], axis=1)
    off[~kept] = np.nan
    log_c = np.log([profile.flops for profile in profiles]) - np.log(at)
    weights = variant.weights(exact)
    there, slope = line(log_c, off.T, weights)
    (params, tokens), (a, b) = np.expm1(there).tolist(), slope.tolist()
    return Bias(
        params=np.expm1(off[:, 0]),
        tokens=np.expm1(off[:, 1]),
        a=a,
        b=b,
        flops=at,
        params_there=params,
        tokens_there=tokens,
    )


def named(variant: str) -> Variant:
    """The variant called so.

    Raises:
        FitError: if there is none.
    """
    if variant not in VARIANTS:
        raise FitError(f"approach 2 has no variant {variant!r}; it has {', '.join(VARIANTS)}")
    return VARIANTS[variant]


def inside(profiles: Sequence[Profile], log_params: FloatArray) -> Flags:
    """Whether the minimum of each profile lies between the sizes trained, shape (profiles,)."""
    low, high = np.transpose([profile.ends for profile in profiles])
    within: Flags = (low < log_params) & (log_params < high)
    return within


def _loss(law: Law, profile: Profile, log_params: FloatArray) -> FloatArray:
    return law.loss(np.exp(log_params), np.exp(profile.tokens_at(log_params)))


def law_minimum(law: Law, profile: Profile) -> float:
    """Log N of the law's least loss on the budget's own curve D(N), near the sizes trained."""
    low, high = profile.ends
    found = minimize_scalar(
        lambda x: float(_loss(law, profile, np.array(x))),
        bounds=(low - BEYOND, high + BEYOND),
        options={"xatol": CLOSE},
    )
    return float(found.x)


def _designed(flops: float, params: FloatArray) -> Profile:
    """Runs that are only planned: their losses are not known."""
    rows = np.arange(len(params))
    return Profile(
        flops=flops,
        rows=rows,
        log_params=np.log(params),
        log_tokens=np.log(flops / 6 / params),
        loss=np.full(len(params), np.nan),
        size=rows,
        run=rows,
    )
