"""Approach 3 of Hoffmann et al. 2022: fit L(N, D) to every run at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import intervals, replicate
from scalefit.fitting.certificate import certify
from scalefit.fitting.objective import Objective, adaptive_delta, huber, objective_named
from scalefit.fitting.optimum import Optimum, find
from scalefit.fitting.result import Certificate, Domain, Fit, Score, Status
from scalefit.fitting.solver import residuals
from scalefit.laws import Convention, FloatArray, Form, Law, Model, form_named
from scalefit.runs import Runs

HOFFMANNS = 1e-3  # the threshold of Hoffmann et al. 2022, and where adapting begins
ADAPTATIONS, SETTLED = 30, 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The numbers a fit uses; arrays of shape (runs,)."""

    params: FloatArray
    tokens: FloatArray
    flops: FloatArray
    loss: FloatArray
    cluster: npt.NDArray[np.intp] | None


def fit(
    runs: Runs,
    *,
    form: str = "chinchilla",
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Fit:
    """Fit a law to runs: global optimum, certificate, bootstrap intervals.

    Minimises the objective summed over runs, by default Huber's loss of log L(N, D) - log loss
    (Hoffmann et al. 2022, eq. 3). Starts come from variable projection in centred coordinates and
    are polished by an exact Newton method. Intervals are percentiles of a bootstrap that draws
    whole training runs where rows share a run, and rows otherwise.

    Args:
        runs: the table, from ``scalefit.read``.
        form: name of the functional form.
        objective: "huber-log", "lad-log", "mse-log", "mse" or "asymmetric-mae".
        delta: Huber's threshold in nats of log loss; None adapts it to the noise, as 1.345 robust
            standard deviations of the residuals.
        bootstrap: replicates; 0 for no intervals.
        seed: of the bootstrap.
        level: confidence of the intervals, between 0 and 1.

    Raises:
        FitError: if these runs cannot determine the law; the message says what is missing.
    """
    _check_options(bootstrap, level)
    shape = form_named(form)
    sample = _sample(runs)
    _check_sample(sample, shape, runs.source)
    numbers = sample.params, sample.tokens, sample.loss
    models = shape.models(*numbers)
    aim, optimum = _find(models, objective, delta, np.ones(len(sample.loss)))
    draws = replicate(models, aim, optimum, sample.cluster, count=bootstrap, seed=seed)
    gone = shape.vanished(np.vstack([optimum.natural, draws]), *numbers)
    certificate = certify(aim, optimum, (len(draws), bootstrap))
    return Fit(
        law=_law(shape, optimum.natural, runs, sample),
        method="parametric",
        status=_status(optimum, certificate),
        objective=Score(name=aim.name, delta=aim.delta, value=optimum.value),
        intervals=intervals(shape, optimum.natural, draws, level, gone),
        resampled="rows" if sample.cluster is None else "runs",
        used=len(sample.loss),
        dropped=tuple(runs.dropped),
        draws=draws,
        certificate=certificate,
        domain=_domain(sample),
    )


def _find(
    models: Sequence[Model], name: str, delta: float | None, weights: FloatArray
) -> tuple[Objective, Optimum]:
    """The objective and its optimum; an adaptive threshold is the fixed point of its own fit."""
    aim = objective_named(name, HOFFMANNS if delta is None else delta)
    optimum = find(models, aim, weights)
    for _ in range(ADAPTATIONS if delta is None and aim.delta else 0):
        before = aim.delta
        predicted = optimum.model.predict(optimum.theta[None])
        aim = huber(adaptive_delta(residuals(optimum.model, aim, predicted)[0][0]) or HOFFMANNS)
        optimum = find(models, aim, weights)
        if abs(aim.delta / before - 1) < SETTLED:
            break
    return aim, optimum


def _check_options(bootstrap: int, level: float) -> None:
    if bootstrap < 0 or bootstrap == 1:
        raise FitError(f"{bootstrap} replicates have no spread; draw 200 or more, or 0 for none")
    if not 0 < level < 1:
        raise FitError(f"the level is {level}; it must lie between 0 and 1, like 0.95")


def _sample(runs: Runs) -> Sample:
    columns = {
        name: runs.frame[name].to_numpy(dtype=np.float64)
        for name in ("params", "tokens", "flops", "loss")
    }
    labels = runs.cluster
    cluster = None if labels is None else np.unique(labels, return_inverse=True)[1]
    return Sample(**columns, cluster=cluster)


def _check_sample(sample: Sample, form: Form, source: str) -> None:
    rows, needed = len(sample.loss), len(form.parameters)
    if rows <= needed:
        raise FitError(
            f"{source} has {rows} usable row{'s' * (rows != 1)}; {form.equation} has {needed} "
            f"parameters and needs at least {needed + 1} runs of different N and D"
        )
    for name, values, what in (
        ("params", sample.params, "model sizes N"),
        ("tokens", sample.tokens, "token counts D"),
    ):
        if len(np.unique(values)) < 3:
            found = ", ".join(f"{value:.4g}" for value in np.unique(values))
            raise FitError(
                f"{source}: all {rows} usable rows have {name} in ({found}); telling the terms of "
                f"{form.equation} apart takes at least three different {what}: add runs"
            )
    if np.ptp(sample.loss) == 0:
        raise FitError(f"{source}: every loss is {sample.loss[0]:g}; a constant has no scaling law")
    if abs(np.corrcoef(np.log(sample.params), np.log(sample.tokens))[0, 1]) > 1 - 1e-9:
        raise FitError(
            f"{source}: D is the same power of N in every run, so the effects of size and data "
            "cannot be told apart; add runs off that line"
        )


def _law(form: Form, theta: FloatArray, runs: Runs, sample: Sample) -> Law:
    return Law(
        name=runs.source,
        form=form,
        params=dict(zip(form.parameters, theta.tolist(), strict=True)),
        convention=Convention(params=runs.params_kind, flops="6ND", loss=_loss_unit(runs)),
        source=f"fitted to {runs.source} ({len(sample.loss)} rows, sha256 {runs.fingerprint()})",
        flops_seen=float(sample.flops.max()),
    )


def _loss_unit(runs: Runs) -> str:
    """The unit all rows state, else "unknown"."""
    units = set(runs.frame["loss_unit"].dropna()) if "loss_unit" in runs.frame else set()
    return str(units.pop()) if len(units) == 1 else "unknown"


def _status(optimum: Optimum, certificate: Certificate) -> Status:
    if not optimum.converged:
        return Status.NOT_CONVERGED
    return Status.BOUND_HIT if certificate.bounds else Status.CONVERGED


def _domain(sample: Sample) -> Domain:
    ranges = {
        name: (float(values.min()), float(values.max()))
        for name, values in (
            ("params", sample.params),
            ("tokens", sample.tokens),
            ("flops", sample.flops),
            ("loss", sample.loss),
        )
    }
    return Domain(**ranges)
