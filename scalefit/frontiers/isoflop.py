"""Approach 2 of Hoffmann et al. 2022: the minimum of the loss at each budget, and a line through.

arXiv:2203.15556, section 3.2. Each budget's isoFLOP profile has a minimum in N; log N* and log D*
are each fitted a line in log C.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from scalefit.errors import FitError
from scalefit.fitting.parametric import check_sampling
from scalefit.fitting.result import Fit, Point
from scalefit.frontiers.bias import inside, named
from scalefit.frontiers.budgets import TOLERANCE, Profile, profiles
from scalefit.frontiers.frontier import LEAST, frontier
from scalefit.frontiers.remarks import remarks
from scalefit.frontiers.replicates import METHODS, replicates, scattered, shifts
from scalefit.frontiers.vertices import Variant, Vertices
from scalefit.laws import FloatArray
from scalefit.runs import Runs

SEEDS = 0.002  # how much a loss differs between seeds, in the code of Porian et al. 2024
LOSS = 2  # the place of log L* among optima


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Replicates (count, profiles, 3) of log N*, log D* and log L*, and what follows from them.

    Attributes:
        draws: the replicates.
        errors: standard error of log N* by the noise of the runs alone, shape (profiles,); NaN
            without replicates.
        weights: of the profiles in the lines, shape (profiles,).
        scatter: standard deviation of optima about their line that the errors do not explain.
    """

    draws: FloatArray
    errors: FloatArray
    weights: FloatArray
    scatter: float


def isoflop(
    runs: Runs,
    *,
    variant: str = "parabola",
    tolerance: float = TOLERANCE,
    sizes: int | None = None,
    interval: str = "residuals",
    noise: float = SEEDS,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Fit:
    """Fit N*(C), D*(C) and L*(C) through the minima of isoFLOP profiles.

    D* is the token count of a model of size N* at that budget, by the table's own N, D and C: where
    C is not 6ND, a + b is not 1. Budgets without a minimum are left out, each with its reason in
    ``Fit.points``. ``Fit.notes`` tells how far the method would miss without any noise.

    Args:
        runs: the table, from ``scalefit.read``. Of the curve of a run its last row counts, unless
            losses were read off at budgets that sizes share.
        variant: "parabola" (as published: of loss in log N), "cubic", "akima" (interpolation and
            weights of Porian et al. 2024) or "joint" (all budgets share one asymmetric shape; see
            ``scalefit.frontiers.joint``).
        tolerance: how far the compute of a row may be from its budget, relative.
        sizes: how many sizes about the lowest loss are used at each budget; None for all.
        interval: "residuals" or "noise"; see ``replicates.METHODS``.
        noise: standard deviation of a loss, in its unit, for ``interval="noise"``.
        bootstrap: replicates; 0 for none.
        seed: of the replicates.
        level: confidence of the intervals, between 0 and 1.

    Raises:
        FitError: if fewer than two budgets have a minimum; the message says why.
    """
    kind = named(variant)
    _check(kind, tolerance, sizes, interval, noise, bootstrap, level)
    runs, found = profiles(runs, tolerance=tolerance, least=kind.least, sizes=sizes)
    able, minima = _located(kind, runs, found)
    used = [profile for profile in able if not profile.note]
    given = noise if interval == "noise" else None
    sample = sampled(kind, able, minima, noise=given, count=bootstrap, seed=seed)
    optima = zip(able, _optima(able, minima)[0], sample.errors.tolist(), strict=True)
    points = [_point(*optimum) for optimum in optima]
    fit = frontier(
        # A joint shape is that of all profiles, with a minimum inside or not.
        _kept(runs, able if kind.name == "joint" else used),
        points,
        sample.draws,
        method="isoflop",
        variant=variant,
        interval=interval,
        resampled="rows" if runs.cluster is None else "runs",
        level=level,
        weights=sample.weights,
        notes=(*remarks(kind, used, runs, sample.scatter), *_silent(sample)),
    )
    points += [_point(profile) for profile in found if profile.note]
    return replace(fit, points=tuple(sorted(points, key=lambda point: point.flops)))


def _silent(sample: Sample) -> tuple[str, ...]:
    """Why L* is left out, where it is."""
    if not len(sample.draws) or np.isfinite(sample.draws[..., LOSS]).any():
        return ()
    return (
        "every profile has just as many sizes as its curve takes, which tells nothing of the noise "
        "of losses: L* is left out",
    )


def _check(
    kind: Variant,
    tolerance: float,
    sizes: int | None,
    interval: str,
    noise: float,
    bootstrap: int,
    level: float,
) -> None:
    if interval not in METHODS:
        raise FitError(f"approach 2 has no interval {interval!r}; it has {', '.join(METHODS)}")
    if not 0 < tolerance < 1:
        raise FitError(f"a tolerance of {tolerance} groups no budgets; give a part of C, like 0.1")
    if sizes is not None and sizes < kind.least:
        raise FitError(f"{kind.curve} takes {kind.least} sizes or more at a budget, not {sizes}")
    if not 0 < noise < np.inf:
        raise FitError(f"the noise is {noise}; it is a standard deviation of the loss, like 0.002")
    check_sampling(bootstrap, level)


def _located(kind: Variant, runs: Runs, found: Sequence[Profile]) -> tuple[list[Profile], Vertices]:
    """The profiles that can have a minimum, with a note where it is not inside, and the minima.

    Raises:
        FitError: if fewer than two have one.
    """
    able = [profile for profile in found if not profile.note]
    if len(able) < LEAST:
        raise _refusal(runs, found)
    minima = kind.vertices(able, [profile.loss[None] for profile in able])
    log_n = minima.log_params[0]
    judged = [
        profile if good else replace(profile, note=_fault(profile, x))
        for profile, x, good in zip(able, log_n, inside(able, log_n), strict=True)
    ]
    if sum(not profile.note for profile in judged) < LEAST:
        raise _refusal(runs, [*(profile for profile in found if profile.note), *judged])
    return judged, minima


def _refusal(runs: Runs, found: Sequence[Profile]) -> FitError:
    notes = dict.fromkeys(profile.note for profile in found if profile.note)
    reasons = f" ({'; '.join(notes)})" if notes else ""
    good = sum(not profile.note for profile in found)
    return FitError(
        f"{runs.source}: {good} of {len(found)} budgets {'has' if good == 1 else 'have'} a minimum"
        f"{reasons}, and a frontier takes {LEAST} or more; add sizes or budgets, or fit a law to "
        "all runs"
    )


def _fault(profile: Profile, log_params: float) -> str:
    """Why a profile has no minimum inside the sizes trained."""
    bend = np.polyfit(profile.log_params - profile.log_params.mean(), profile.loss, 2)[0]
    if bend <= 0 or np.isnan(log_params):
        return "its losses do not curve upwards in log N"
    low, high = profile.ends
    end = "largest" if log_params > (low + high) / 2 else "smallest"
    return f"its loss still falls towards the {end} size"


def _kept(runs: Runs, profiles: Sequence[Profile]) -> Runs:
    """The rows that have a part in the result."""
    part = np.concatenate([profile.rows for profile in profiles])
    kept = np.isin(np.arange(len(runs)), part)
    return runs if kept.all() else runs.only(kept, "at a budget without a minimum")


def sampled(
    kind: Variant,
    profiles: Sequence[Profile],
    minima: Vertices,
    *,
    noise: float | None,
    count: int,
    seed: int,
) -> Sample:
    """Replicates of all profiles; those that have a note have weight 0 and no draws.

    Args:
        kind: how minima are found.
        profiles: where they are looked for.
        minima: those of the losses measured.
        noise: as for ``replicates``; if it is given, optima have no scatter of their own.
        count: replicates.
        seed: of them.
    """
    used = np.array([not profile.note for profile in profiles])
    weights, rng = used * kind.weights(profiles), np.random.default_rng(seed)
    if not count:
        unknown, none = np.full(len(profiles), np.nan), np.empty((0, len(profiles), 3))
        return Sample(draws=none, errors=unknown, weights=weights, scatter=0.0)
    drawn = kind.vertices(profiles, replicates(kind, profiles, noise=noise, count=count, rng=rng))
    scatter, moved = 0.0, drawn.log_params
    if noise is None:
        log_c = np.log([profile.flops for profile in profiles])[used]
        own = _deviation(drawn.own[:, used])
        scatter = scattered(log_c, minima.own[0, used], own, weights[used])
        moved = moved + shifts(scatter, used, count, rng)
    draws = _optima(profiles, replace(drawn, log_params=moved))
    draws[:, ~used] = np.nan
    if noise is None and kind.noise(profiles).freedom <= 0:
        draws[..., LOSS] = np.nan  # each curve passes through its losses, so their noise is unknown
    errors = _deviation(drawn.log_params)
    return Sample(draws=draws, errors=errors, weights=weights, scatter=scatter)


def _deviation(draws: FloatArray) -> FloatArray:
    """Standard deviation of each column, of the replicates that have a minimum."""
    deviation: FloatArray = pd.DataFrame(draws).std(ddof=0).to_numpy(np.float64)
    return deviation


def _optima(profiles: Sequence[Profile], minima: Vertices) -> FloatArray:
    """Log N*, log D* and log L* of minima, shape (batch, profiles, 3)."""
    log_n = minima.log_params
    log_d = [profile.tokens_at(log_n[:, i]) for i, profile in enumerate(profiles)]
    return np.stack([log_n, np.stack(log_d, axis=1), minima.log_loss], axis=-1)


def _point(profile: Profile, optimum: FloatArray | None = None, error: float = np.nan) -> Point:
    found = [np.nan] * 4 if optimum is None or profile.note else [*np.exp(optimum).tolist(), error]
    params, tokens, loss, sure = (x if np.isfinite(x) else None for x in found)
    return Point(
        flops=profile.flops,
        params=params,
        tokens=tokens,
        loss=loss,
        error=sure,
        rows=len(profile.rows),
        note=profile.note,
    )
