"""What to know of a fit by approach 2, in sentences."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scalefit.errors import FitError
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Status
from scalefit.frontiers.bias import FAR, bias, law_minimum
from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.vertices import Variant
from scalefit.laws import FloatArray
from scalefit.quantities import format_flops
from scalefit.runs import Runs

JITTER = 0.01  # of a row's compute about its budget, relative, that is remarked on
UNLIKE = 0.03  # so far apart in log loss, rows of one size and budget are hardly of one setting
USABLE = (Status.CONVERGED, Status.BOUND_HIT)


def remarks(
    kind: Variant, profiles: Sequence[Profile], runs: Runs, scatter: float
) -> tuple[str, ...]:
    """Sentences on the method, the table, the scatter and the bias.

    Args:
        kind: the variant.
        profiles: of the budgets that have a minimum.
        runs: whose rows the profiles number.
        scatter: standard deviation of optima about their line, beyond the noise of the runs.
    """
    return (
        f"N* is where {kind.curve} is lowest at each budget, D* the tokens of that size there",
        *_jitter(profiles, runs.frame["flops"].to_numpy(np.float64)),
        *_unlike(profiles),
        *_scatter(scatter),
        *_bias(kind, profiles, runs),
    )


def _jitter(profiles: Sequence[Profile], flops: FloatArray) -> list[str]:
    most = max(float(np.abs(flops[p.rows] / p.flops - 1).max()) for p in profiles)
    if most < JITTER:
        return []
    return [f"the compute of rows is up to {most:.0%} off their budget's and counts as equal to it"]


def _unlike(profiles: Sequence[Profile]) -> list[str]:
    """A table that mixes settings has several losses for one size and budget."""
    for profile in profiles:
        alike = pd.Series(np.log(profile.loss)).groupby(profile.size)
        widest = float((alike.max() - alike.min()).max())
        if widest > UNLIKE:
            said = (
                f"at {format_flops(profile.flops)} FLOP runs of one size differ by {widest:.0%} in "
                "loss; if they were trained in different ways, select one with --where"
            )
            return [said]
    return []


def _scatter(scatter: float) -> list[str]:
    if not scatter:
        return []
    said = (
        f"the optima scatter about the line of N* by {scatter:.1%} beyond what the noise of the "
        "runs explains; the intervals hold that too"
    )
    return [said]


def _bias(kind: Variant, profiles: Sequence[Profile], runs: Runs) -> list[str]:
    """What the method would miss if the law fitted to all these runs were the true one."""
    try:
        found = fit(runs, bootstrap=0)
    except FitError:
        return []
    at = FAR * max(profile.flops for profile in profiles)
    true = np.array([law_minimum(found.law, profile) for profile in profiles])
    off = bias(found.law, kind, profiles, true, at=at) if found.status in USABLE else None
    if off is None:
        return []
    alpha, beta = found.law.params["alpha"], found.law.params["beta"]
    said = (
        f"if {found.law.form.equation} held (alpha {alpha:.3f}, beta {beta:.3f}, fitted to these "
        f"runs), {kind.curve} on these sizes would, without any noise, put N* {_span(off.params)} "
        f"and D* {_span(off.tokens)} off at the budgets, a {off.a:+.4f} and b {off.b:+.4f}, and at "
        f"{format_flops(at)} FLOP N* {off.params_there:+.1%} and D* {off.tokens_there:+.1%}"
    )
    return [said]


def _span(errors: FloatArray) -> str:
    low, high = (f"{bound(errors):+.1%}" for bound in (np.nanmin, np.nanmax))
    return low if low == high else f"{low} to {high}"
