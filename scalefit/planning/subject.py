"""Whom the planner asks: a law or a fit with its draws, made fit for data that run out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from scalefit.errors import PlanError
from scalefit.fitting import Fit
from scalefit.fitting.again import limits
from scalefit.fitting.targets import Target
from scalefit.laws import Allocation, FloatArray, Form, Law, published
from scalefit.laws.data_constrained import Limited
from scalefit.quantities import format_count
from scalefit.runs import Runs

LENDER = "muennighoff2023/data-constrained"
DECAYS = ("R_D", "R_N")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A law as it is planned by.

    Attributes:
        law: as people know it.
        form: what is asked for N and D: the law's, or the same with the unique data known.
        borrowed: constants of ``form`` that the law itself has not, shape (borrowed,).
        fit: where the law came from; None for a law of the literature.
        note: what was done to it; empty for nothing.
    """

    law: Law
    form: Form
    borrowed: FloatArray
    fit: Fit | None
    note: str = ""

    @property
    def theta(self) -> FloatArray:
        """The constants of ``form``, shape (parameters,)."""
        return self.lent(self.law.theta)

    @property
    def draws(self) -> FloatArray:
        """Likewise of every draw, shape (draws, parameters); none of a law without."""
        return self.lent(self.fit.draws if self.fit else np.empty((0, len(self.law.params))))

    @property
    def unique_tokens(self) -> float | None:
        """All the data there are; None for enough."""
        return self.form.unique_tokens if isinstance(self.form, Limited) else None

    def lent(self, theta: FloatArray) -> FloatArray:
        """The law's constants (..., parameters) with those that are borrowed."""
        more = np.broadcast_to(self.borrowed, (*theta.shape[:-1], len(self.borrowed)))
        return np.concatenate([theta, more], axis=-1)

    def profiles(
        self,
        runs: Runs,
        numbers: Mapping[str, Callable[[Allocation], FloatArray]],
        answer: Callable[[FloatArray], Allocation],
        level: float,
    ) -> tuple[dict[str, FloatArray], str]:
        """(low, high) of every number by profiles of the objective, and what they are called.

        Raises:
            PlanError: of a law without runs.
            FitError: if the runs are not those of the fit.
        """
        if self.fit is None:
            raise PlanError(f"{self.law.name} was not fitted here, so it has no profiles; fit runs")

        def follows(of: Callable[[Allocation], FloatArray]) -> Callable[[FloatArray], FloatArray]:
            return lambda theta: of(answer(self.lent(theta)))

        best = answer(self.theta)
        targets = {
            name: Target(of=follows(of), log=True)
            for name, of in numbers.items()
            if best.params.ndim == 0 and float(of(best)) > 0
        }
        found = limits(self.fit, runs, targets, level)
        open_ended = {
            name: np.array([np.nan if x is None else x for x in pair])
            for name, pair in found.items()
        }
        return open_ended, "profile"


def subject(law: Law | Fit, *, unique_tokens: float | None, force: bool) -> Subject:
    """Take a law or a fit at its word, or say why not.

    Raises:
        PlanError: if a fit is not to be trusted, or the law says nothing of repeated data.
    """
    fit = law if isinstance(law, Fit) else None
    law = law.law if isinstance(law, Fit) else law
    if fit and fit.status != "converged" and not force:
        raise PlanError(
            f"the status of {law.name} is {fit.status.replace('_', ' ')}, so its plan is not to be "
            "trusted: mend the fit (scalefit diagnose says how), or plan all the same with --force"
        )
    plain = Subject(law=law, form=law.form, borrowed=np.empty(0), fit=fit)
    return plain if unique_tokens is None else _with_data(plain, unique_tokens)


def _with_data(plain: Subject, unique_tokens: float) -> Subject:
    if not 1 <= unique_tokens < np.inf:
        raise PlanError(f"{unique_tokens} unique tokens are nothing to train on; give 1 or more")
    form = Limited(unique_tokens)
    if plain.form.name == form.name:
        return replace(plain, form=form)
    if plain.form.name != "chinchilla":
        raise PlanError(
            f"{plain.law.name} says nothing of repeated data; plan with {LENDER}, or fit --form "
            f"{form.name} or chinchilla"
        )
    lender = published(LENDER)
    worth = {name: lender.params[name] for name in DECAYS}
    said = ", ".join(f"{name} = {value:.4g}" for name, value in worth.items())
    return replace(
        plain,
        form=form,
        borrowed=np.array([*worth.values()]),
        note=f"what repeated data are worth is borrowed from {LENDER}: {said}; this law knows only "
        f"data seen once, of which there are {format_count(unique_tokens)} tokens",
    )
