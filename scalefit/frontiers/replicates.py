"""Minima of profiles, as they might have come out: noise of the runs and scatter of the budgets."""

from collections.abc import Mapping, Sequence

import numpy as np

from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.frontier import line
from scalefit.frontiers.vertices import Noise, Variant
from scalefit.laws import Flags, FloatArray

NUDGE = 1e-3  # of log loss: small beside a profile, large beside rounding
MANY = 1000  # rows whose own weight is not asked for: with so many the noise is known well
WILDEST = 3.0  # noise of a replicate in log loss, at most: Student's tails know no end
FARTHEST = 30.0  # likewise the shift of an optimum, in log N

METHODS: Mapping[str, str] = {
    "residuals": "noise as large as each run's residual, and the scatter of optima that it leaves",
    "noise": "noise of one given size in every loss (Porian et al. 2024)",
}


def replicates(
    variant: Variant,
    profiles: Sequence[Profile],
    *,
    noise: float | None,
    count: int,
    rng: np.random.Generator,
) -> list[FloatArray]:
    """The losses of ``count`` tables with other noise, by profile (count, rows).

    Args:
        variant: whose curves and residuals they are.
        profiles: the runs; rows of one run share their noise.
        noise: standard deviation of every loss, in its unit, about the loss measured; None for
            noise about the curve, normal and as large as the residual that each row has from it (a
            wild bootstrap: Wu 1986), times the root of freedom over chi-squared, since residuals
            tell the size of noise only so well.
        count: replicates.
        rng: where they come from.
    """
    if noise is None:
        said = variant.noise(profiles)
        freedom = float(said.freedom)
        if not said.pooled:
            freedom = min(freedom, deciding(variant, profiles))
    else:
        values, errors = [p.loss for p in profiles], [noise / p.loss for p in profiles]
        said, freedom = Noise(values=values, errors=errors, freedom=0), 0.0
    runs = 1 + max(int(p.run.max()) for p in profiles)
    normal = _uncertain(freedom, count, rng) * rng.standard_normal((count, runs))
    return [
        value * np.exp(np.clip(error * normal[:, p.run], -WILDEST, WILDEST))
        for p, value, error in zip(profiles, said.values, said.errors, strict=True)
    ]


def deciding(variant: Variant, profiles: Sequence[Profile]) -> float:
    """How many runs decide the exponent a: the freedom of an error that each row's residual tells.

    With c what each run's log loss moves a by, (sum c^2)^2 / sum c^4 (Satterthwaite 1946). It is a
    fifth to a third of the runs: the ends of the profiles at the first and last budgets count most.
    """
    cuts = np.cumsum([len(p.rows) for p in profiles])
    if cuts[-1] > MANY:
        return np.inf
    moved = np.split(np.exp(NUDGE * np.eye(cuts[-1])), cuts[:-1], axis=1)
    minima = variant.vertices(
        profiles, [p.loss * each for p, each in zip(profiles, moved, strict=True)]
    )
    still = variant.vertices(profiles, [p.loss[None] for p in profiles]).log_params
    weights = variant.weights(profiles) * [not profile.note for profile in profiles]
    log_c = np.log([profile.flops for profile in profiles])
    slope = line(log_c - log_c.mean(), minima.log_params - still, weights)[1]
    runs = np.bincount(np.concatenate([p.run for p in profiles]), weights=np.nan_to_num(slope))
    return float((runs**2).sum() ** 2 / (runs**4).sum()) if runs.any() else np.inf


def scattered(
    log_c: FloatArray, minima: FloatArray, errors: FloatArray, weights: FloatArray
) -> float:
    """Standard deviation of optima about their line that the errors of the optima do not explain.

    By the method of moments, as in a meta-analysis (DerSimonian & Laird 1986): what the squared
    residuals of the line sum to, less what they would by the errors alone. 0 with two budgets.

    Args:
        log_c: of the budgets, shape (profiles,).
        minima: log N* of each.
        errors: its standard error.
        weights: in the line.
    """
    if len(log_c) < 3:
        return 0.0
    design = np.stack([np.ones_like(log_c), log_c - log_c.mean()], axis=1)
    weighed = design * weights[:, None]
    rest = np.eye(len(log_c)) - design @ np.linalg.solve(design.T @ weighed, weighed.T)
    found = ((rest @ minima) ** 2).sum() - (rest**2 @ errors**2).sum()
    return float(np.sqrt(max(found, 0.0) / (rest**2).sum()))


def shifts(scatter: float, used: Flags, count: int, rng: np.random.Generator) -> FloatArray:
    """Draws of that scatter, as uncertain as so few budgets leave it; (count, profiles)."""
    normal = rng.standard_normal((count, len(used)))
    drawn = scatter * _uncertain(int(used.sum()) - 2, count, rng) * normal
    return np.clip(drawn, -FARTHEST, FARTHEST)


def _uncertain(freedom: float, count: int, rng: np.random.Generator) -> FloatArray:
    """Factors that make normal noise Student's, one a replicate; (count, 1)."""
    if freedom <= 0:
        return np.ones((count, 1))
    factors: FloatArray = np.sqrt(freedom / rng.chisquare(freedom, size=(count, 1)))
    return factors
