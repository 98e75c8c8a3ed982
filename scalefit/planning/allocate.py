"""What to train: N and D for a budget, a loss, a size or an amount of data, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scalefit.errors import PlanError
from scalefit.fitting import Fit
from scalefit.laws import Allocation, FloatArray, Law
from scalefit.planning.hardware import Cluster, bill
from scalefit.planning.near import bands, regret, same_loss
from scalefit.planning.problem import Problem, Terms
from scalefit.planning.question import Question, ask, instead, refuse_unreachable
from scalefit.planning.remarks import notes
from scalefit.planning.result import Number, Plan, Quantity, quantiles, quantity
from scalefit.planning.shape import Build, Model, realise
from scalefit.planning.subject import Subject, subject
from scalefit.quantities import format_count, loss_ratio
from scalefit.runs import Runs

OVERHEADS = (0.01, 0.05, 0.2)
"""Compute wasted at the edges of the near-optimal bands."""
NEARLY = 1 - 1e-6  # of a limit, from where on it holds the plan
ROUNDING = 1e-9
AT_ONCE = 2**16  # answers for draws that are held at a time: more leave the cache


def _training(at: Allocation) -> FloatArray:
    """6ND, or the very cost that was planned where that is all of it."""
    six_nd = 6 * at.params * at.tokens
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(six_nd / at.flops - 1) < ROUNDING, at.flops, six_nd)


NUMBERS: Mapping[str, Callable[[Allocation], FloatArray]] = {
    "params": lambda at: at.params,
    "tokens": lambda at: at.tokens,
    "tokens_per_param": lambda at: at.tokens / at.params,
    "loss": lambda at: at.loss,
    "training_flops": _training,
    "serving_flops": lambda at: at.flops - _training(at),
}


def plan(
    law: Law | Fit,
    *,
    flops: Any = None,
    loss: Any = None,
    params: Any = None,
    tokens: Any = None,
    inference_tokens: float = 0.0,
    max_params: float = np.inf,
    max_tokens: float = np.inf,
    unique_tokens: float | None = None,
    loss_unit: str | None = None,
    bytes_per_token: float | None = None,
    level: float = 0.95,
    overheads: Sequence[float] = OVERHEADS,
    force: bool = False,
    runs: Runs | None = None,
    cluster: Cluster | None = None,
    bytes_per_param: float = 16.0,
    build: Build | None = None,
) -> Plan:
    """What to train, under the law's own convention of N, D and C.

    One amount is given, and the plan is the optimum with it; or two, and the plan is what they
    leave, with its regret. Arrays are answered elementwise, in one call.

    Args:
        law: a law, or a fit, whose joint draws give the intervals.
        flops: the budget C = 6ND, with ``inference_tokens`` C = 6ND + 2NT: least loss.
        loss: to be reached at least cost.
        params: N: the budget for which it is the best size. With ``inference_tokens``, the loss of
            that model is what is reached at least cost over its life.
        tokens: D: the budget for which it is the best amount of data.
        inference_tokens: T, those that the model reads and writes after training (Sardana et al.
            2024, arXiv:2401.00448).
        max_params: limit on N.
        max_tokens: limit on D, repeats among them.
        unique_tokens: U, all the data there are; more are had by repeating them (Muennighoff et
            al. 2023, arXiv:2305.16264).
        loss_unit: "nats/token", "bits/byte", ...: of the loss given and of all losses of the plan;
            by default the law's own.
        bytes_per_token: of the tokenizer, to turn a loss per token into one per byte.
        level: confidence of the intervals.
        overheads: of the near-optimal bands.
        force: plan by a fit whose status is not "converged" too.
        runs: those the fit was made from; then the intervals are profiles of the objective.
        cluster: what is trained on: its memory limits N, and the plan has a bill.
        bytes_per_param: held there in training; see ``Cluster.most_params``.
        build: what kind of model to build near N; a single plan has it then.

    Raises:
        PlanError: if amounts are missing, contradictory or out of reach, or the law cannot answer;
            of a law of the literature the message names those that can.
        QuantityError: if the loss cannot be turned into the unit.
        FitError: if ``runs`` are not those of the fit.
    """
    if not 0 < level < 1:
        raise PlanError(f"the level is {level}; it must lie between 0 and 1, like 0.95")
    about = subject(law, unique_tokens=unique_tokens, force=force)
    unit = loss_unit or about.law.convention.loss
    factor = loss_ratio(about.law.convention.loss, unit, bytes_per_token)
    room = cluster.most_params(bytes_per_param) if cluster else np.inf
    terms = _terms(inference_tokens, min(max_params, room), max_tokens)
    asked = ask(flops=flops, loss=loss, params=params, tokens=tokens)
    inner = asked.scaled(loss=1 / factor)
    problem = Problem(form=about.form, terms=terms)
    try:
        best = inner.answer(problem, about.theta)
    except PlanError as error:
        name = about.law.name
        raise PlanError(f"{name}: {error}{instead(name)}") from error
    refuse_unreachable(problem, about, inner, best)
    limits, interval = _limits(about, problem, inner, level, runs)
    numbers = {
        name: quantity(of(best), limits.get(name), level)
        for name, of in NUMBERS.items()
        if _known(name, best, terms)
    }
    single = best.params.ndim == 0
    judged = single and about.form.surface
    extrapolation = _extrapolation(about.law, numbers["training_flops"].value)
    remarks = notes(about, problem, inner, best, extrapolation, interval)
    model, why = _model(about, best, build) if build and single else (None, ())
    return Plan(
        law=about.law,
        fit=about.fit,
        asked=asked.amounts,
        terms=terms,
        unique_tokens=unique_tokens,
        params=numbers["params"],
        tokens=numbers["tokens"],
        tokens_per_param=numbers["tokens_per_param"],
        loss=_times(numbers.get("loss"), factor),
        training_flops=numbers["training_flops"],
        serving_flops=numbers.get("serving_flops"),
        loss_unit=unit,
        interval=interval,
        band=bands(problem, about.theta, best, overheads, factor) if inner.free else (),
        regret=regret(problem, about, best, level, factor) if judged else None,
        same_loss=same_loss(problem, about.theta, best, factor) if judged else (),
        bound=_bound(best, terms),
        extrapolation=extrapolation,
        notes=(*remarks, *_room(best, room, bytes_per_param), *why),
        model=model,
        bill=bill(cluster, numbers["training_flops"]) if cluster else None,
    )


def _terms(inference_tokens: float, max_params: float, max_tokens: float) -> Terms:
    if not 0 <= inference_tokens < np.inf:
        raise PlanError(f"{inference_tokens} tokens cannot be served; give a number, like 2e12")
    for what, most in (("parameters", max_params), ("tokens", max_tokens)):
        if not most >= 1:
            raise PlanError(f"at most {most} {what} leave nothing to train; give 1 or more")
    return Terms(inference_tokens=inference_tokens, max_params=max_params, max_tokens=max_tokens)


def _model(about: Subject, best: Allocation, build: Build) -> tuple[Model | None, tuple[str, ...]]:
    """A model near N*, or why there is none.

    Raises:
        PlanError: if there are fewer unique tokens than it takes for one step.
    """
    counted = about.law.convention.params
    unique = about.unique_tokens or np.inf
    _refuse_too_few(unique, build.context)
    try:
        model = realise(float(best.params), float(best.tokens), counted, build)
    except PlanError as error:
        return None, (str(error),)
    _refuse_too_few(unique, model.batch_tokens)
    return model, ()


def _refuse_too_few(unique: float, batch_tokens: int) -> None:
    if unique < batch_tokens:
        raise PlanError(
            f"{format_count(unique)} unique tokens are fewer than the "
            f"{format_count(batch_tokens)} of one batch; that is too little to train on"
        )


def _room(best: Allocation, room: float, each: float) -> tuple[str, ...]:
    """Said where the memory of the machines is the limit."""
    if not np.any(best.params >= room * NEARLY):
        return ()
    return (f"N is held by the memory of the machines, at {each:g} bytes a parameter",)


def _known(name: str, best: Allocation, terms: Terms) -> bool:
    if name == "loss":
        return bool((best.loss > 0).all())
    return name != "serving_flops" or terms.inference_tokens > 0


def _limits(
    about: Subject, problem: Problem, asked: Question, level: float, runs: Runs | None
) -> tuple[dict[str, FloatArray], str]:
    """(low, high) of every number, and where they come from."""
    if runs is not None:
        return about.profiles(runs, NUMBERS, lambda theta: asked.answer(problem, theta), level)
    if not len(about.draws):
        return {}, ""
    shape = asked.shape
    rows = int(np.prod(shape, dtype=int))
    parts = [
        _quantiles(asked.take(some).answer(problem, about.draws[:, None]), level)
        for some in np.array_split(np.arange(rows), max(1, rows * len(about.draws) // AT_ONCE))
    ]
    whole = np.concatenate(parts, axis=-1).reshape(2, len(NUMBERS), *shape)
    return {name: whole[:, i] for i, name in enumerate(NUMBERS)}, "draws"


def _quantiles(drawn: Allocation, level: float) -> FloatArray:
    """Of every number over the draws (axis 0), shape (2, numbers, amounts)."""
    with np.errstate(invalid="ignore"):
        values = np.stack([of(drawn) for of in NUMBERS.values()])
    values[np.isnan(values)] = np.inf
    return quantiles(values, level, axis=1)


def _times(quantity: Quantity | None, factor: float) -> Quantity | None:
    return quantity if quantity is None or factor == 1 else quantity.times(factor)


def _extrapolation(law: Law, training: Number) -> Number | None:
    return training / law.flops_seen if law.flops_seen else None


def _bound(best: Allocation, terms: Terms) -> tuple[str, ...]:
    """Which limits the plan touches."""
    most = {
        "max_params": (best.params, terms.max_params),
        "max_tokens": (best.tokens, terms.max_tokens),
    }
    return tuple(name for name, (value, limit) in most.items() if np.any(value >= limit * NEARLY))
