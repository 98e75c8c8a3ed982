"""The numbers behind a plan: least loss for a cost, least cost for a loss, and all in between.

Everything is elementwise over laws and amounts that broadcast, so that one call answers for a law,
for all its draws, or for ten thousand budgets.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize.elementwise import find_root

from scalefit.errors import PlanError
from scalefit.laws import Allocation, FloatArray, Form
from scalefit.laws.form import lowest

CHEAPEST, DEAREST = np.log(1e3), np.log(1e60)  # between which FLOP a budget is looked for
LEAST, MOST = 0.0, np.log(1e40)  # between which counts N and D are
CLOSE = 1e-13  # of a root, in the logarithm
SLACK = 1e-12  # of a loss: where limits hold, it ceases to fall, and any cost would do


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is paid for and what is allowed.

    A model of N parameters that is trained on D tokens and then serves T costs C = 6ND + 2NT
    (Sardana et al. 2024, arXiv:2401.00448, section 2): a token is served by a forward pass only.

    Attributes:
        inference_tokens: T, those it reads and writes over its life; 0 where only training is paid.
        max_params: the most N may be.
        max_tokens: the most D may be, repeats among them.
    """

    inference_tokens: float = 0.0
    max_params: float = np.inf
    max_tokens: float = np.inf

    @property
    def limited(self) -> bool:
        """Whether N or D may not be what they like."""
        return bool(np.isfinite(self.max_params) or np.isfinite(self.max_tokens))

    def cost(self, params: Any, tokens: Any) -> Any:
        """C in FLOP."""
        return 6.0 * params * tokens + self.serving(params)

    def serving(self, params: Any) -> Any:
        """The part of C that is spent after training."""
        return 2.0 * params * self.inference_tokens if self.inference_tokens else 0.0

    def tokens(self, flops: Any, params: Any) -> Any:
        """The D that a cost leaves for N; negative where serving alone costs more."""
        return (flops / params - 2.0 * self.inference_tokens) / 6.0

    def params(self, flops: Any, tokens: Any) -> Any:
        """The N that a cost leaves for D."""
        return flops / (6.0 * tokens + 2.0 * self.inference_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A form under terms; its answers are for theta (..., parameters) and amounts that broadcast.

    What cannot be reached has an infinite cost, what needs nothing a cost of 0.
    """

    form: Form
    terms: Terms

    def at(self, theta: FloatArray, params: Any, tokens: Any) -> Allocation:
        """A model and its data, whatever they are."""
        shape = np.broadcast_shapes(theta.shape[:-1], np.shape(params), np.shape(tokens))
        n, d = (np.broadcast_to(np.asarray(x, dtype=np.float64), shape) for x in (params, tokens))
        return Allocation(
            flops=self.terms.cost(n, d), params=n, tokens=d, loss=self._loss(theta, n, d)
        )

    def best(self, theta: FloatArray, flops: Any) -> Allocation:
        """The least loss for a cost.

        Where the limits leave no way to spend all of it, the largest model on the most data; its
        ``flops`` are what that costs.
        """
        flops = np.asarray(flops, dtype=np.float64)
        if not (self.terms.limited or self.terms.inference_tokens):
            return self.form.optimum(theta, flops)
        if not self.form.surface:
            return self._within(self.form.optimum(theta, flops))
        shape = np.broadcast_shapes(theta.shape[:-1], flops.shape)
        flops = np.broadcast_to(flops, shape)
        most = np.minimum(self.terms.max_params, self.terms.params(flops, 1.0))
        least = np.clip(self.terms.params(flops, self.terms.max_tokens), 1.0, most)

        def loss(log_n: FloatArray) -> FloatArray:
            n = np.exp(log_n)
            return self._loss(theta, n, self._affordable(flops, n))

        log_n = lowest(loss, np.log(least), np.log(most))
        params = np.where(np.log(most) - log_n < CLOSE, most, np.exp(log_n))
        return self.at(theta, params, self._affordable(flops, params))

    def cheapest(self, theta: FloatArray, loss: Any) -> Allocation:
        """The least cost for a loss, or for one so little above it that doubles hardly tell."""
        found = self._where(lambda best: np.log(best.loss), theta, np.log(loss) + SLACK)
        return replace(found, loss=np.broadcast_to(loss, found.loss.shape))

    def of_size(self, theta: FloatArray, params: Any) -> Allocation:
        """The cost whose best model has so many parameters."""
        return self._where(lambda best: np.log(best.params), theta, np.log(params))

    def on_data(self, theta: FloatArray, tokens: Any) -> Allocation:
        """The cost whose best model is trained on so many tokens."""
        return self._where(lambda best: np.log(best.tokens), theta, np.log(tokens))

    def tokens_for(self, theta: FloatArray, params: Any, loss: Any) -> FloatArray:
        """The D with which N reaches a loss; infinite where none is enough."""
        params, loss = np.broadcast_arrays(np.asarray(params, float), np.asarray(loss, float))
        return _inverse(
            lambda some, log_d, n: self._loss(some, n, np.exp(log_d)), theta, loss, params
        )

    def params_for(self, theta: FloatArray, tokens: Any, loss: Any) -> FloatArray:
        """The N with which D reaches a loss; infinite where none is enough."""
        tokens, loss = np.broadcast_arrays(np.asarray(tokens, float), np.asarray(loss, float))
        return _inverse(
            lambda some, log_n, d: self._loss(some, np.exp(log_n), d), theta, loss, tokens
        )

    def _loss(self, theta: FloatArray, params: FloatArray, tokens: FloatArray) -> FloatArray:
        if not self.form.surface:
            raise PlanError(
                f"{self.form.equation} knows its own optimum only; take a law of L(N, D) to plan "
                "for a size and an amount of data of your own"
            )
        return self.form.predict(theta, params, tokens)

    def _within(self, best: Allocation) -> Allocation:
        """The optimum of a law that knows nothing else, where nothing forbids it."""
        terms = self.terms
        beyond = (best.params > terms.max_params) | (best.tokens > terms.max_tokens)
        if terms.inference_tokens or np.any(beyond):
            raise PlanError(
                f"{self.form.equation} knows its own optimum only, which these terms do not allow; "
                "take a law of L(N, D), or lift the limits"
            )
        return best

    def _affordable(self, flops: FloatArray, params: FloatArray) -> FloatArray:
        tokens: FloatArray = np.clip(self.terms.tokens(flops, params), 1.0, self.terms.max_tokens)
        return tokens

    def _where(
        self, of: Callable[[Allocation], FloatArray], theta: FloatArray, level: FloatArray
    ) -> Allocation:
        """The best use of the cost at which something about the best use is at a level."""
        flops = _inverse(
            lambda some, log_c: of(self.best(some, np.exp(log_c))), theta, level,
            span=(CHEAPEST, DEAREST),
        )  # fmt: skip
        with np.errstate(all="ignore"):
            found = self.best(theta, np.where(np.isfinite(flops) & (flops > 0), flops, 1.0))
        lost = ~np.isfinite(flops) | (flops == 0)
        return Allocation(
            flops=np.where(lost, flops, found.flops),
            params=np.where(lost, flops, found.params),
            tokens=np.where(lost, flops, found.tokens),
            loss=np.where(lost, np.nan, found.loss),
        )


def _inverse(
    of: Callable[..., FloatArray],
    theta: FloatArray,
    level: FloatArray,
    *others: FloatArray,
    span: tuple[float, float] = (LEAST, MOST),
) -> FloatArray:
    """The amount at which ``of(theta, its log, *others)`` is at a level, elementwise.

    Returns:
        0 where it is beyond the level already at the least amount, infinity where it is not there
        at the greatest; shape of theta[..., 0] and the level.
    """
    shape = np.broadcast_shapes(theta.shape[:-1], np.shape(level))
    laws = np.broadcast_to(theta, (*shape, theta.shape[-1])).reshape(-1, theta.shape[-1])
    aim, *given = (np.broadcast_to(x, shape).ravel() for x in (level, *others))

    def gap(log_x: FloatArray, row: FloatArray) -> FloatArray:
        rows = row.astype(int)
        with np.errstate(all="ignore"):
            off: FloatArray = of(laws[rows], log_x, *(x[rows] for x in given)) - aim[rows]
        return off

    all_rows = np.arange(len(aim), dtype=np.float64)
    found = find_root(
        gap, tuple(np.full(aim.shape, end) for end in span), args=(all_rows,),
        tolerances={"xatol": CLOSE, "xrtol": CLOSE},
    )  # fmt: skip
    ends = [gap(np.full(aim.shape, end), all_rows) for end in span]
    beyond = np.where(np.abs(ends[0]) < np.abs(ends[1]), 0.0, np.inf)
    amount: FloatArray = np.where(found.success, np.exp(found.x), beyond).reshape(shape)
    return amount
