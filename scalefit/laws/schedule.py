"""The loss at every step under any learning-rate schedule: the multi-power law.

Luo et al. 2025 (arXiv:2503.12811): a power law of the learning rate summed so far, and for every
fall of the rate a relief that comes in over the learning rate summed since.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import FitError, PlanError
from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Constant, Constraints, FloatArray, Model
from scalefit.laws.form import Form, Law, grid
from scalefit.laws.history import NOTICEABLE, History, looking_back
from scalefit.laws.jets import Jet, lift
from scalefit.laws.smooth import LEAST, Smooth

TOGETHER = 2048  # rows of a predicted curve whose histories are in memory at once
SCAN = grid((0.2, 0.35, 0.5, 0.8), (10.0, 100.0, 1000.0, 10000.0), (0.3, 0.6, 1.2), (0.3, 0.7))
"""alpha, what C lr^-gamma S is at the end of training, beta and gamma."""


class MultiPower(Form):
    """theta = (L0, A, alpha, B, C, beta, gamma); of curves of one model, at any number of rows.

    The variables are each row's step and learning rate; what the rate was at all other steps
    follows from the rows of the same run (``history.per_step``). The warm-up, from a rate of 0, is
    part of the sum, so that B times the peak rate belongs to the floor that a constant rate has. It
    ends at the first row of a run unless a column "warmup_steps" tells the step of its end.
    """

    name = "multi-power"
    equation = (
        "L(t) = L0 + A S(t)^-alpha + B sum_k (lr_k - lr_(k-1)) "
        "(1 - (1 + C lr_k^-gamma (S(t) - S(k-1)))^-beta)"
    )
    constants = (
        Constant("L0"),
        Constant("A", scale="amplitude", exponent="alpha", variable="steps"),
        Constant("alpha", 1e-3, 5.0, essential=True),
        Constant("B", scale="log"),
        Constant("C", 1e-6, 1e6, scale="log"),
        Constant("beta", 1e-3, 10.0, scale="log"),
        Constant("gamma", 0.0, 3.0),
    )
    variables = ("steps", "lr")
    driven: ClassVar = {"steps": "alpha"}

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The law of S(t), shape (rows,), and of ``History.at`` its rows, shape (rows, 3, K)."""
        floor, height, alpha, drop, pace, beta, gamma = theta
        total, history = inputs
        relief = _relief(history, np.log(pace), beta, gamma)
        return floor + height * total**-alpha + drop * relief

    def inputs(self, frame: pd.DataFrame) -> tuple[FloatArray, ...]:
        """S(t) of each row, shape (rows,), and what it looks back on, shape (rows, 3, K).

        Raises:
            DataError: if the rows of a run do not tell its schedule.
        """
        return looking_back(frame)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best L0, A and B for every combination of the others scanned.

        Raises:
            FitError: if the learning rate is the same in all rows.
        """
        total, history = inputs
        rate = history[:, 0].sum(axis=1)
        peak = float(rate.max())
        if np.ptp(rate) < NOTICEABLE * peak:
            raise FitError(
                f"every row has a learning rate of {peak:.3g}, and {self.equation} is about its "
                "changes; add curves whose rate decays, or fit a law of a constant rate"
            )
        alpha, speed, beta, gamma = SCAN.T
        pace = speed / total.max() * peak**gamma
        relief = _relief(history, np.log(pace)[:, None], beta[:, None], gamma[:, None])
        terms = np.stack([np.ones_like(relief), total ** -alpha[:, None], relief])
        floor, height, drop = amplitudes(terms / response, weights, np.ones_like(response))
        return np.stack([floor, height, alpha, drop, pace, beta, gamma], axis=1)

    def models(
        self, *columns: FloatArray, constraints: Constraints | None = None
    ) -> tuple[Model, ...]:
        """The law on curves, in the coordinates of ``Relieved``."""
        return (Relieved(self, columns[:-1], columns[-1], constraints),)


class Relieved(Smooth):
    """The law with, in place of B, the share of it that a typical fall of the rate has brought.

    As beta goes to 0, B goes to infinity while B beta stays; curves determine only their relief.
    """

    def __init__(
        self,
        form: MultiPower,
        inputs: tuple[FloatArray, ...],
        response: FloatArray,
        constraints: Constraints | None = None,
    ) -> None:
        self._moves = not (constraints or Constraints()).touches("B")
        _, history = inputs
        falls = np.maximum(-history[:, 0], 0.0)
        total = max(float(falls.sum()), LEAST)
        self._log_rate, self._log_since = (
            float((falls * history[:, k]).sum()) / total for k in (1, 2)
        )
        super().__init__(form, inputs, response, constraints)

    def _constants(self, coordinates: Sequence[Any]) -> list[Any]:
        found = super()._constants(coordinates)
        if self._moves:
            *_, relief, pace, beta, gamma = found
            found[self.form.parameters.index("B")] = relief / self._share(pace, beta, gamma)
        return found

    def _coordinate(self, constant: Constant, column: dict[str, FloatArray]) -> FloatArray:
        coordinate = super()._coordinate(constant, column)
        if constant.name != "B" or not self._moves:
            return coordinate
        share: FloatArray = self._share(*(column[name] for name in ("C", "beta", "gamma")))
        return coordinate + np.log(share)

    def _share(self, pace: Any, beta: Any, gamma: Any) -> Any:
        """1 - (1 + C lr^-gamma S)^-beta of a typical fall."""
        log_pace = np.log(pace) - gamma * self._log_rate + self._log_since
        return -np.expm1(-beta * np.log1p(np.exp(log_pace)))


def curve(law: Law, lr: npt.ArrayLike) -> FloatArray:
    """The loss at every step of a schedule, by a multi-power law.

    Args:
        law: of the form "multi-power".
        lr: the learning rate of every step from 0, warm-up included, shape (steps,).

    Returns:
        shape (steps,); infinite where nothing is learned yet.

    Raises:
        PlanError: for a law of another form or an impossible schedule.
    """
    if not isinstance(law.form, MultiPower):
        raise PlanError(f"{law.form.equation} knows no schedules; take a multi-power law")
    rate = np.asarray(lr, dtype=np.float64)
    if rate.ndim != 1 or len(rate) < 2:
        raise PlanError("a schedule is a list of learning rates, one for each step, two or more")
    for at in np.flatnonzero(~((rate > 0) & np.isfinite(rate))):
        if at > 0 or rate[at] != 0:
            raise PlanError(
                f"the learning rate of step {at} is {rate[at]:g}; this law takes rates above 0, "
                "or of 0 at step 0 alone, so let a decay end a little above 0"
            )
    past, steps = History(rate), np.arange(len(rate))
    parts = np.split(steps, range(TOGETHER, len(steps), TOGETHER))
    return np.concatenate([law.predict(past.total[part], past.at(part)) for part in parts])


def _relief(history: FloatArray, log_pace: Any, beta: Any, gamma: Any) -> Any:
    """sum_k (lr_k - lr_(k-1)) (1 - (1 + C lr_k^-gamma (S(t) - S(k-1)))^-beta).

    Constants are numbers, arrays that broadcast against the rows, or jets; they go through the sum
    one by one, and jets as its derivatives by three constants instead of seven.
    """
    inner = log_pace, beta, gamma
    plain = [np.asarray(x.value if isinstance(x, Jet) else x, dtype=np.float64) for x in inner]
    shape = np.broadcast_shapes(*(x.shape for x in plain))
    if shape and shape[-1] > 1:  # constants of each row's own
        return _sum(history, *(x[..., None] for x in plain))
    sets = np.stack([np.broadcast_to(x, shape).ravel() for x in plain], axis=1)
    if not any(isinstance(x, Jet) for x in inner):
        return np.stack([_sum(history, *one) for one in sets]).reshape(*shape[:-1], -1)
    found = np.stack([_expand(history, *one) for one in sets], axis=1)
    pairs = (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)
    return lift(found[0], list(found[1:4]), dict(zip(pairs, found[4:], strict=True)), inner)


def _sum(history: FloatArray, log_pace: Any, beta: Any, gamma: Any) -> FloatArray:
    """The sum for constants that broadcast against (rows, K)."""
    change, log_rate, log_since = history[:, 0], history[:, 1], history[:, 2]
    grown = np.log1p(np.exp(log_pace - gamma * log_rate + log_since))
    total: FloatArray = -(change * np.expm1(-beta * grown)).sum(axis=-1)
    return total


def _expand(history: FloatArray, log_pace: float, beta: float, gamma: float) -> FloatArray:
    """The sum, its slopes by (log C, beta, gamma) and its second derivatives; shape (10, rows).

    The latter by pairs (0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2).
    """
    change, log_rate, log_since = history[:, 0], history[:, 1], history[:, 2]
    fast = np.exp(log_pace - gamma * log_rate + log_since)
    grown, share = np.log1p(fast), fast / (1 + fast)
    left = change * np.exp(-beta * grown)
    slow, moved = left * share, left * grown
    twice = beta * slow * (1 - (1 + beta) * share)
    mixed = slow * (1 - beta * grown)
    ones = np.ones(history.shape[-1])

    def over(terms: FloatArray, factor: FloatArray) -> FloatArray:
        summed: FloatArray = np.einsum("rk,rk->r", terms, factor)
        return summed

    by_gamma = -beta * over(slow, log_rate)
    return np.stack(
        [
            change @ ones - left @ ones,
            beta * (slow @ ones),
            moved @ ones,
            by_gamma,
            twice @ ones,
            mixed @ ones,
            -over(moved, grown),
            -over(twice, log_rate),
            -over(mixed, log_rate),
            over(twice * log_rate, log_rate),
        ]
    )
