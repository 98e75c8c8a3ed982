"""A fit that was saved, set up on its runs again: what only the objective itself can say."""

from collections.abc import Mapping
from dataclasses import replace
from math import isclose

from scalefit.errors import FitError
from scalefit.fitting.parametric import check_sampling, sampled, set_up
from scalefit.fitting.result import Fit
from scalefit.fitting.targets import Target
from scalefit.fitting.uncertainty import Setting, profiled, sizes
from scalefit.runs import Runs

SAME = 1e-9  # of the objective: how closely a fit made again meets the one that was saved
ROUNDED = 1e-12  # of the objective: what rounding may leave where the runs obey a law exactly
Limits = tuple[float | None, float | None]


def limits(fit: Fit, runs: Runs, targets: Mapping[str, Target], level: float) -> dict[str, Limits]:
    """Profile limits of whatever follows from a law; see ``scalefit.fitting.profile``.

    Rows are independent as far as the fit took them to be: of one run, or with ``--interval size``
    of one size, they are not.

    Args:
        fit: by approach 3.
        runs: those it was made from, read in the same way.
        targets: the quantities, by name.
        level: confidence, between 0 and 1.

    Returns:
        The low and the high limit of each; None where the runs leave that side open.

    Raises:
        FitError: if the fit has no objective to profile, the runs are others, or the level is none.
    """
    check_sampling(0, level)
    made = _set_up(fit, runs)
    if fit.resampled == "sizes":
        made = replace(made, cluster=sizes(made))
    return {name: profiled(made, target, level) for name, target in targets.items()}


def _set_up(fit: Fit, runs: Runs) -> Setting:
    """What the fit was made of; its optimum is searched again, which takes less than a second."""
    if fit.method != "parametric":
        raise FitError(
            f"{fit.law.name} comes from approach {1 if fit.method == 'envelope' else 2}, which has "
            "no objective to profile; its intervals come from its draws"
        )
    form, score = fit.law.form, fit.objective
    runs, sample = sampled(form, runs, fit.weights)
    if sample.fingerprint() != fit.fingerprint:
        raise FitError(
            f"{runs.source} does not hold the {fit.used} rows that {fit.law.name} was fitted to; "
            "give --where, --drop-highest and --column as for the fit"
        )
    said = fit.constraints if fit.constraints.sentences() else None
    made = set_up(form, sample, score.name, score.delta, said, runs.source)
    if not isclose(made.optimum.value, score.value, rel_tol=SAME, abs_tol=ROUNDED):
        raise FitError(
            f"{fit.law.name} fitted again has an objective of {made.optimum.value:.6g}, not the "
            f"{score.value:.6g} that was saved, so its file was changed or is of another version; "
            "refit the runs"
        )
    return made
