"""Which form: the one that predicts the dear runs from the cheap ones, not the one that bends most.

Every form is fitted to the runs below expanding cuts of compute and predicts those above. A form
with more constants always fits the runs it has seen better; it has to earn its place on runs that
it has not seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from scalefit.diagnosis.backtest import places
from scalefit.diagnosis.residuals import residuals, robust_sd
from scalefit.errors import FitError
from scalefit.fitting.parametric import columns, fit
from scalefit.laws import FORMS, FloatArray
from scalefit.runs import Runs

SURFACES = ("chinchilla", "overtraining", "generalised", "kaplan", "data-constrained")
CURVES = ("power", "offset", "broken")
INSIDE = {
    "generalised": ("chinchilla", "overtraining"),
    "data-constrained": ("chinchilla", "overtraining"),
    "chinchilla": ("overtraining",),
    "broken": ("offset", "power"),
    "offset": ("power",),
}
"""By form, those that it becomes when some of its constants are given."""
AXES = {"params": "n", "tokens": "d", "flops": "c"}
CLEAR = 1.5  # times: a special case so much worse beyond the cuts is given up for the general


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One form on trial.

    Attributes:
        form: its name.
        constants: how many it has.
        inside: robust sd of the log residuals of all runs, fitted to all.
        outside: mean absolute error of log loss above the cuts, None if it could not be fitted.
        bias: mean of those errors; positive where runs come out worse than predicted.
        behind: that error over the best form's.
        note: why it is out of the running, in words.
    """

    form: str
    constants: int
    inside: float | None = None
    outside: float | None = None
    bias: float | None = None
    behind: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The form to take, and all that were tried, best first.

    Attributes:
        form: the one that predicts best, or a special case of it that predicts nearly as well.
        axis: what the cuts cut.
        cuts: where, ascending.
        predicted: rows above the first of them; what is averaged over those cuts below a row
            first, since its errors there are one error.
        candidates: the forms.
    """

    form: str
    axis: str
    cuts: tuple[float, ...]
    predicted: int
    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object under "choice" of ``scalefit fit --form auto --json``."""
        return asdict(self)


def choose(
    runs: Runs,
    *,
    forms: Sequence[str] | None = None,
    cuts: int = 3,
    objective: str = "huber-log",
    delta: float | None = 1e-3,
) -> Choice:
    """Compare forms by held-out extrapolation.

    The form of least mean absolute error above the cuts is taken, or its simplest special case
    whose error is at most half as large again: a fit errs in the same direction on all rows above a
    cut, so that many rows are not much evidence. Absolute, since a table may hold diverged runs,
    which no form predicts.

    Args:
        runs: the table.
        forms: names of the forms to try; by default those of the quantities that vary in it.
        cuts: of compute (or of the one quantity there is), at quantiles from .5 to .9.
        objective: as for ``fit``.
        delta: likewise.

    Raises:
        FitError: if no form could be fitted below and scored above a cut.
    """
    names = tuple(forms or suitable(runs))
    axis = "flops" if "flops" in runs.frame else FORMS[names[0]].variables[0]
    at = places(runs, cuts, axis)
    trials = {name: _trial(runs, name, axis, at, objective, delta) for name in names}
    errors = {name: trial for name, trial in trials.items() if not isinstance(trial, str)}
    if not errors:
        reasons = "; ".join(f"{name}: {trial}" for name, trial in trials.items())
        raise FitError(
            f"no form could be tested on {runs.source} ({reasons}); name one with --form"
        )
    wrong = {name: np.nanmean(np.abs(trial), axis=0) for name, trial in errors.items()}
    best = min(wrong, key=lambda name: float(wrong[name].mean()))
    behind = {name: float(wrong[name].mean() / wrong[best].mean()) for name in wrong}
    good = [n for n in wrong if n == best or (behind[n] <= CLEAR and special(n, best))]
    candidates = [
        _candidate(runs, name, trials[name], behind.get(name), objective, delta) for name in names
    ]
    return Choice(
        form=min(good, key=lambda name: (len(FORMS[name].constants), behind[name])),
        axis=axis,
        cuts=tuple(at),
        predicted=len(wrong[best]),
        candidates=tuple(sorted(candidates, key=lambda c: c.outside or np.inf)),
    )


def special(form: str, general: str) -> bool:
    """Whether a form is a special case of another."""
    family, _, axis = general.partition("-")
    if f"-{axis}" in {f"-{end}" for end in AXES.values()}:
        return form in {f"{name}-{axis}" for name in INSIDE.get(family, ())}
    return form in INSIDE.get(general, ())


def suitable(runs: Runs) -> Iterator[str]:
    """The forms of the quantities that vary in a table."""
    varied = [name for name in AXES if name in runs.frame and runs.frame[name].nunique() > 1]
    if {"params", "tokens"} <= set(varied):
        repeated = (
            "unique_tokens" in runs.frame
            and (runs.frame["unique_tokens"] < runs.frame["tokens"]).any()
        )
        yield from (form for form in SURFACES if form != "data-constrained" or repeated)
    elif varied:
        yield from (f"{form}-{AXES[varied[0]]}" for form in CURVES)
    else:
        raise FitError(f"{runs.source}: neither N nor D nor C varies, so no law can be told")


def _trial(
    runs: Runs, name: str, axis: str, cuts: Sequence[float], objective: str, delta: float | None
) -> FloatArray | str:
    """Errors of log loss at every cut, NaN below it, or why there are none.

    Shape (cuts, rows above the first cut).
    """
    values = runs.frame[axis].to_numpy(dtype=np.float64)
    errors = []
    for cut in cuts:
        above = values > cut
        try:
            below = runs.only(~above, "above the cut")
            fitted = fit(below, form=name, objective=objective, delta=delta, bootstrap=0)
            *inputs, measured = columns(fitted.law.form, runs)
        except FitError as refusal:
            return str(refusal)
        with np.errstate(all="ignore"):
            error = np.log(measured) - np.log(fitted.law.predict(*inputs))
        if not np.isfinite(error[above]).all():
            return "it predicts no positive loss above a cut"
        errors.append(np.where(above, error, np.nan)[values > cuts[0]])
    return np.array(errors)


def _candidate(
    runs: Runs,
    name: str,
    trial: FloatArray | str,
    behind: float | None,
    objective: str,
    delta: float | None,
) -> Candidate:
    constants = len(FORMS[name].constants)
    if isinstance(trial, str):
        return Candidate(form=name, constants=constants, note=trial)
    law = fit(runs, form=name, objective=objective, delta=delta, bootstrap=0).law
    return Candidate(
        form=name,
        constants=constants,
        inside=robust_sd(residuals(law, runs)),
        outside=float(np.nanmean(np.abs(trial), axis=0).mean()),
        bias=float(np.nanmean(trial, axis=0).mean()),
        behind=behind,
    )
