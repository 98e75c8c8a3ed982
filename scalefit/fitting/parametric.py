"""Approach 3 of Hoffmann et al. 2022: fit L(N, D) to every run at once."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import FitError
from scalefit.fitting.certificate import certify as certified
from scalefit.fitting.objective import Objective, adaptive_delta, huber, objective_named
from scalefit.fitting.optimum import Limits, Optimum, find
from scalefit.fitting.parameters import constraints
from scalefit.fitting.result import Certificate, Domain, Fit, Interval, Score, Status
from scalefit.fitting.solver import residuals
from scalefit.fitting.uncertainty import Setting, uncertainty
from scalefit.laws import Constraints, Convention, FloatArray, Form, Law, Model, form_named
from scalefit.runs import Runs

if TYPE_CHECKING:
    import lmfit

HOFFMANNS = 1e-3  # the threshold of Hoffmann et al. 2022, and where adapting begins
ADAPTATIONS, SETTLED = 30, 1e-7
FEW_RUNS = 8  # with fewer, resampled runs do not tell how far other runs would lie
ONE_LINE = 1e-5  # how near to one line in (log N, log D) is on it
NAMES = {"params": "N", "tokens": "D", "flops": "C", "unique_tokens": "unique data"}
WORDS = {
    "params": "model sizes N",
    "tokens": "token counts D",
    "flops": "budgets C",
    "unique_tokens": "amounts of unique data",
    "steps": "numbers of steps",
    "experts": "numbers of experts",
    "loss": "losses",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a fit uses: the form's variables and the response, the rows' weights, their runs."""

    inputs: tuple[FloatArray, ...]
    response: FloatArray
    weights: FloatArray
    cluster: npt.NDArray[np.intp] | None

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name all of these, whatever order the rows are in."""
        rows = len(self.response)  # an input may have several numbers a row, a history of rates
        columns = [x.reshape(rows, -1) for x in (*self.inputs, self.response, self.weights)]
        numbers = np.concatenate(columns, axis=1).astype("<f8")
        order = np.lexsort(numbers.T)
        units = np.arange(len(order)) if self.cluster is None else self.cluster[order]
        met: dict[int, int] = {}
        together = [met.setdefault(int(unit), len(met)) for unit in units]
        return hashlib.sha256(
            numbers[order].tobytes() + np.array(together, dtype="<i8").tobytes()
        ).hexdigest()[:12]


def fit(
    runs: Runs,
    *,
    form: str | Form = "chinchilla",
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    parameters: "lmfit.Parameters | None" = None,
    weights: str | None = None,
    interval: str = "bootstrap",
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    certify: bool = False,
) -> Fit:
    """Fit a law to runs: global optimum, certificate, bootstrap intervals.

    Minimises the objective summed over runs, by default Huber's loss of log L(N, D) - log loss
    (Hoffmann et al. 2022, eq. 3). Starts come from variable projection in centred coordinates and
    are polished by an exact Newton method. Intervals are by default percentiles of a bootstrap that
    draws whole training runs where rows share a run, and rows otherwise.

    Args:
        runs: the table, from ``scalefit.read``.
        form: name of the functional form (``scalefit.laws.FORMS``), or one of your own.
        objective: "huber-log", "lad-log", "mse-log", "mse" or "asymmetric-mae".
        delta: Huber's threshold in nats of log loss; None adapts it to the noise, as 1.345 robust
            standard deviations of the residuals.
        parameters: values, ranges and ties of the law's parameters, as an ``lmfit.Parameters``:
            ``vary=False`` fixes, ``min`` and ``max`` bound, ``expr`` ties one to another.
        weights: name of the column that weighs each row's loss; rows of weight 0 are left out.
        interval: "bootstrap", "size", "wild", "hc3" or "profile"; see ``uncertainty.METHODS``.
        bootstrap: replicates; 0 for none.
        seed: of the bootstrap.
        level: confidence of the intervals, between 0 and 1.
        certify: also scan the exponents for a better optimum, cell by cell.

    Raises:
        FitError: if these runs cannot determine the law; the message says what is missing.
    """
    check_sampling(bootstrap, level)
    shape = form_named(form) if isinstance(form, str) else form
    said = constraints(shape, parameters) if parameters is not None else None
    runs, sample = sampled(shape, runs, weights)
    setting = set_up(shape, sample, objective, delta, said, runs.source)
    aim, optimum = setting.objective, setting.optimum
    sure = uncertainty(setting, interval, count=bootstrap, seed=seed, level=level)
    certificate = certified(
        aim,
        optimum,
        setting.weights,
        (len(sure.draws), sure.tried),
        scanned=shape.scanned if certify else (),
    )
    return Fit(
        law=fitted_law(shape, optimum.natural, runs),
        method="parametric",
        status=_status(shape, optimum, certificate, sure.intervals),
        objective=Score(name=aim.name, delta=aim.delta, value=optimum.value),
        intervals=sure.intervals,
        interval=interval,
        constraints=said or Constraints(),
        weights=weights,
        fingerprint=sample.fingerprint(),
        resampled=sure.unit,
        used=len(runs),
        dropped=tuple(runs.dropped),
        draws=sure.draws,
        certificate=certificate,
        domain=domain((*shape.variables, "flops", shape.response), runs),
        notes=tuple(_notes(runs, bootstrap)),
    )


def set_up(
    form: Form,
    sample: Sample,
    objective: str,
    delta: float | None,
    said: Constraints | None,
    source: str,
) -> Setting:
    """Everything that a fit is made of, its optimum too; ``source`` is where the sample came from.

    Raises:
        FitError: if these runs cannot determine the law.
    """
    _check_sample(sample, form, said, source)
    numbers = *sample.inputs, sample.response
    models, limits = form.models(*numbers, constraints=said), form.limits(said)
    aim, optimum = _find(models, objective, delta, sample.weights, limits)
    return Setting(
        form=form,
        build=partial(form.models, constraints=said),
        models=models,
        objective=aim,
        optimum=optimum,
        runs=numbers,
        weights=sample.weights,
        cluster=sample.cluster,
        limits=limits,
    )


def _find(
    models: Sequence[Model],
    name: str,
    delta: float | None,
    weights: FloatArray,
    limits: Limits,
) -> tuple[Objective, Optimum]:
    """The objective and its optimum; an adaptive threshold is the fixed point of its own fit."""
    aim = objective_named(name, HOFFMANNS if delta is None else delta)
    optimum = find(models, aim, weights, limits, direct=True)
    if delta is not None or aim.delta is None:
        return aim, optimum
    before, now = 0.0, aim.delta
    for _ in range(ADAPTATIONS):
        if abs(now - before) <= SETTLED * now:
            break
        predicted = optimum.model.predict(optimum.theta[None])
        residual = residuals(optimum.model, aim, predicted)[0][0]
        before, now = now, adaptive_delta(residual) or HOFFMANNS
        aim = huber(now)
        optimum = find(models, aim, weights, limits, direct=True)
    return aim, optimum


def check_sampling(bootstrap: int, level: float) -> None:
    """Raise FitError for replicates that have no spread and for a level that is none."""
    if bootstrap < 0 or bootstrap == 1:
        raise FitError(f"{bootstrap} replicates have no spread; draw 200 or more, or 0 for none")
    if not 0 < level < 1:
        raise FitError(f"the level is {level}; it must lie between 0 and 1, like 0.95")


def sampled(form: Form, runs: Runs, weights: str | None) -> tuple[Runs, Sample]:
    """The runs that count and their numbers.

    Raises:
        FitError: if the table lacks a column, or its weights mean nothing.
    """
    weigh = np.ones(len(runs)) if weights is None else _weights(runs, weights)
    if (weigh == 0).any():
        runs = runs.only(weigh > 0, "weight 0")
    *inputs, response = columns(form, runs)
    labels = runs.cluster
    cluster = None if labels is None else np.unique(labels, return_inverse=True)[1]
    if cluster is not None and not cluster.any():  # one run cannot be resampled; its rows can
        cluster = None
    return runs, Sample(
        inputs=tuple(inputs), response=response, weights=weigh[weigh > 0], cluster=cluster
    )


def columns(form: Form, runs: Runs) -> tuple[FloatArray, ...]:
    """The form's variables and then its response, from the rows of a table.

    Raises:
        FitError: if the table was read without one of them.
    """
    for name in (*form.variables, form.response):
        if name not in runs.frame:
            raise FitError(
                f"{runs.source} has no {name!r}, which {form.equation} is about; "
                f"map a column with --column {name}=NAME"
            )
    return *form.inputs(runs.frame), runs.frame[form.response].to_numpy(dtype=np.float64)


def _weights(runs: Runs, column: str) -> FloatArray:
    if column not in runs.frame:
        raise FitError(f'{runs.source} has no column "{column}" to weigh rows by')
    values: FloatArray = pd.to_numeric(runs.frame[column], errors="coerce").to_numpy(np.float64)
    if not (np.isfinite(values) & (values >= 0)).all() or not values.any():
        raise FitError(
            f'{runs.source}, column "{column}": weights must be numbers of 0 or more, not all 0'
        )
    return values


def _check_sample(sample: Sample, form: Form, said: Constraints | None, source: str) -> None:
    known = {*said.fixed, *said.tied} if said else set()
    free = [name for name in form.parameters if name not in known]
    rows, needed, measured = len(sample.response), len(free), sample.response
    if rows <= needed:
        about = " and ".join(NAMES.get(name, name) for name in form.variables)
        raise FitError(
            f"{source} has {rows} usable row{'s' * (rows != 1)}; {form.equation} has {needed} "
            f"free parameters and needs at least {needed + 1} runs of different {about}"
        )
    for name, exponent in form.driven.items():
        found = np.unique(sample.inputs[form.variables.index(name)])
        if len(found) < (3 if exponent in free else 2):
            listed = ", ".join(f"{value:.4g}" for value in found)
            enough = "three" if exponent in free else "two"
            raise FitError(
                f"{source}: all {rows} usable rows have {name} in ({listed}); telling the terms of "
                f"{form.equation} apart takes at least {enough} different {WORDS[name]}: add runs"
            )
    if np.ptp(measured) == 0:
        raise FitError(
            f"{source}: every {form.response} is {measured[0]:g}; a constant has no scaling law"
        )
    least = said.range("E", (0.0, np.inf))[0] if said else 0.0
    if least >= measured.min():
        raise FitError(
            f"{source}: E of {least:g} or more is above the least {form.response}, "
            f"{measured.min():.4g}, and no law falls below its floor; lower it"
        )
    if form.surface:
        _check_spread(sample, source)


def _check_spread(sample: Sample, source: str) -> None:
    """N and D must vary in more than one direction."""
    size, data = (np.log(values) for values in sample.inputs[:2])
    if np.ptp(size + data) < ONE_LINE:
        raise FitError(
            f"{source}: every run has the same compute, N D = {np.exp((size + data)[0]):.3g}, so "
            "the effects of size and data cannot be told apart; add runs of another budget"
        )
    if abs(np.corrcoef(size, data)[0, 1]) > 1 - ONE_LINE**2:
        raise FitError(
            f"{source}: D is the same power of N in every run, so the effects of size and data "
            "cannot be told apart; add runs off that line"
        )


def fitted_law(form: Form, theta: FloatArray, runs: Runs) -> Law:
    """A law that was found from runs, with where it comes from."""
    return Law(
        name=runs.source,
        form=form,
        params=dict(zip(form.parameters, theta.tolist(), strict=True)),
        convention=Convention(params=runs.params_kind, flops="6ND", loss=_loss_unit(runs)),
        source=f"fitted to {runs.source} ({len(runs)} rows, sha256 {runs.fingerprint()})",
        flops_seen=float(runs.frame["flops"].max()) if "flops" in runs.frame else None,
    )


def _notes(runs: Runs, bootstrap: int) -> Iterator[str]:
    """What the intervals cannot know."""
    count = len(runs) if runs.cluster is None else len(set(runs.cluster))
    if bootstrap and count == 1:
        yield (
            "all rows are of one run, so rows are resampled as if each had noise of its own: the "
            "intervals are too narrow; add runs, or name their column with --column run_id=NAME"
        )
    elif bootstrap and runs.cluster is not None and count < FEW_RUNS:
        yield f"{count} runs are few to resample: the intervals say little; add runs"


def _loss_unit(runs: Runs) -> str:
    """The unit all rows state, else "unknown"."""
    units = set(runs.frame["loss_unit"].dropna()) if "loss_unit" in runs.frame else set()
    return str(units.pop()) if len(units) == 1 else "unknown"


def _status(
    form: Form, optimum: Optimum, certificate: Certificate, intervals: Mapping[str, Interval]
) -> Status:
    # The floor may be nothing; a law whose exponents may be anything plans nothing, and a search
    # along a valley without end need not end either.
    if not all(intervals[c.name].identified for c in form.constants if c.essential):
        return Status.NOT_IDENTIFIED
    if not optimum.converged:
        return Status.NOT_CONVERGED
    return Status.BOUND_HIT if certificate.bounds else Status.CONVERGED


def domain(names: Iterable[str], runs: Runs) -> Domain:
    """The ranges of these quantities among the runs, of those that the table has."""
    found = {name: runs.frame[name] for name in dict.fromkeys(names) if name in runs.frame}
    return {name: (float(values.min()), float(values.max())) for name, values in found.items()}
