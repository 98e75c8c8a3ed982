"""What was asked of a planner, one amount or two, and how each is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from scalefit.errors import PlanError
from scalefit.laws import Allocation, FloatArray
from scalefit.laws.literature import planners
from scalefit.planning.problem import DEAREST, MOST, Problem, Terms
from scalefit.planning.result import Number, number
from scalefit.planning.subject import Subject
from scalefit.quantities import format_count, format_flops

WORDS = {
    "flops": "a budget of {} FLOP", "loss": "a loss of {}", "params": "{} parameters",
    "tokens": "{} tokens",
}  # fmt: skip
TOGETHER = "a budget with a size or with tokens, a loss with a size or with tokens, or N and D"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The amounts that were given, of one shape: "flops", "loss", "params", "tokens"."""

    given: Mapping[str, FloatArray]

    @property
    def amounts(self) -> dict[str, Number]:
        """As they were given."""
        return {name: number(value) for name, value in self.given.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all of them."""
        return next(iter(self.given.values())).shape

    @property
    def free(self) -> bool:
        """Whether N and D are both the planner's to choose."""
        return not {"params", "tokens"} & self.given.keys()

    def scaled(self, *, loss: float) -> "Question":
        """With the loss in another unit."""
        factors = {"loss": loss}
        return replace(
            self, given={name: x * factors.get(name, 1.0) for name, x in self.given.items()}
        )

    def take(self, rows: npt.NDArray[np.intp]) -> "Question":
        """Some of the amounts, in a row."""
        return replace(self, given={name: x.ravel()[rows] for name, x in self.given.items()})

    def answer(  # noqa: PLR0911 - one return a question
        self, problem: Problem, theta: FloatArray
    ) -> Allocation:
        """The plan of every law theta (..., parameters)."""
        terms, given = problem.terms, self.given
        match sorted(given):
            case ["flops"]:
                return problem.best(theta, given["flops"])
            case ["loss"]:
                return problem.cheapest(theta, given["loss"])
            case ["params"] | ["tokens"]:
                alone = Problem(form=problem.form, terms=Terms())
                (name,) = given
                best = (alone.of_size if name == "params" else alone.on_data)(theta, given[name])
                return replace(best, flops=terms.cost(best.params, best.tokens))
            case ["params", "tokens"]:
                return problem.at(theta, given["params"], given["tokens"])
            case ["flops", "params"]:
                return problem.at(
                    theta, given["params"], terms.tokens(given["flops"], given["params"])
                )
            case ["flops", "tokens"]:
                return problem.at(
                    theta, terms.params(given["flops"], given["tokens"]), given["tokens"]
                )
            case ["loss", "params"]:
                tokens = problem.tokens_for(theta, given["params"], given["loss"])
                return problem.at(theta, given["params"], tokens)
            case _:
                params = problem.params_for(theta, given["tokens"], given["loss"])
                return problem.at(theta, params, given["tokens"])


def ask(**amounts: Any) -> Question:
    """The question, if it is one.

    Raises:
        PlanError: if nothing is given, too much, or no positive number.
    """
    given = {
        name: np.asarray(value, dtype=np.float64)
        for name, value in amounts.items()
        if value is not None
    }
    if not given:
        raise PlanError(
            "there is nothing to plan for; give a budget (--flops), a loss, a size or tokens"
        )
    for name, value in given.items():
        if not ((value > 0) & np.isfinite(value)).all():
            shown = WORDS[name].format(value if value.ndim else float(value))
            raise PlanError(f"{shown} cannot be planned; give a positive number")
    if len(given) > 2 or given.keys() == {"flops", "loss"}:
        said = " and ".join(_said(name, value) for name, value in given.items())
        raise PlanError(f"{said} contradict each other; give one of them, or {TOGETHER}")
    shaped = np.broadcast_arrays(*given.values())
    return Question(given=dict(zip(given, shaped, strict=True)))


def refuse_unreachable(
    problem: Problem, about: Subject, question: Question, best: Allocation
) -> None:
    """Stop where the law has no answer.

    Raises:
        PlanError: with what it could answer.
    """
    given, name = question.given, about.law.name
    fine = np.isfinite(best.params) & np.isfinite(best.tokens) & (best.params > 0)
    fine &= (best.tokens > 0) & np.isfinite(best.flops) & (best.flops > 0)
    if fine.all():
        _refuse_beyond(problem.terms, question, best)
        return
    bad = int(np.argmin(fine.ravel()))
    asked = {key: float(value.ravel()[bad]) for key, value in given.items()}
    said = " and ".join(_said(key, value) for key, value in asked.items())
    if "loss" in asked:
        raise PlanError(_loss_out_of_reach(problem, about, asked, said))
    if problem.terms.inference_tokens and len(asked) == 2:
        raise PlanError(
            f"{said} leave nothing for training, since serving "
            f"{format_count(problem.terms.inference_tokens)} tokens costs more"
        )
    if question.free:
        lacking = "D" if float(best.params.ravel()[bad]) > 0 else "N"
        raise PlanError(
            f"{name} has no compute-optimal size: its term in {lacking} is absent; fit runs that "
            "span more sizes and token counts"
        )
    raise PlanError(f"by {name} no budget makes {said} the best choice")


def _refuse_beyond(terms: Terms, question: Question, best: Allocation) -> None:
    if question.free:
        return
    for value, most, what, option in (
        (best.params, terms.max_params, "parameters", "max-params"),
        (best.tokens, terms.max_tokens, "tokens", "max-tokens"),
    ):
        if np.any(value > most * (1 + 1e-9)):
            said = " and ".join(_said(key, x) for key, x in question.given.items())
            raise PlanError(
                f"{said} mean {format_count(float(np.max(value)))} {what}, and at most "
                f"{format_count(most)} are allowed; raise --{option} or change what was asked"
            )


def _loss_out_of_reach(
    problem: Problem, about: Subject, asked: Mapping[str, float], said: str
) -> str:
    theta, most = about.theta, np.exp(MOST)
    if "params" in asked:
        least = problem.at(theta, asked["params"], most).loss
    elif "tokens" in asked:
        least = problem.at(theta, most, asked["tokens"]).loss
    else:
        least = problem.best(theta, np.exp(DEAREST)).loss
    if not np.isfinite(least):
        return f"{about.law.name} does not say the loss{instead(about.law.name)}"
    if asked["loss"] <= least:
        within = " within these limits" if problem.terms.limited else ""
        return f"{about.law.name} never reaches {said}{within}: its least is {least:.4g}"
    return f"by {about.law.name} {said} would take no training at all; give a lower loss"


def instead(name: str) -> str:
    """The laws of the same paper that plan, to stand behind a refusal."""
    others = planners(name)
    return f"; plan with {' or '.join(others)}" if others else ""


def _said(name: str, value: Any) -> str:
    one = np.ravel(value)[0]
    shown = {"flops": format_flops, "loss": lambda x: f"{x:.4g}"}.get(name, format_count)(one)
    return WORDS[name].format(shown)
