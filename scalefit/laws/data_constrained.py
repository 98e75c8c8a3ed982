"""L(N, D, U): what data seen again, and parameters in excess of the data, are still worth.

Muennighoff et al. 2023 (arXiv:2305.16264): each further epoch, and each further multiple of the
size that the unique data suit, adds less than the one before.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.errors import PlanError
from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.chinchilla import Chinchilla
from scalefit.laws.form import Form, grid

DECAYS = (0.5, 1.7, 5.0, 15.0, 50.0, 200.0)
"""Values of R_D and R_N that are tried."""


class DataConstrained(Form):
    """theta = (E, A, B, alpha, beta, R_D, R_N); in the equation x is N or D.

    U_D = min(U, D) tokens are new, and U_N = min(N, N_opt(U_D)) parameters are what they suit, the
    optimum of the law without repetition. As R_D and R_N grow, all tokens and parameters count, and
    the law is that of Hoffmann et al. 2022. R_D is often loose upwards: few tables repeat their
    data long enough to see how slowly its worth decays.
    """

    name = "data-constrained"
    equation = (
        "L(N, D, U) = E + A/N'^alpha + B/D'^beta, x' = U_x (1 + R_x (1 - e^((1 - x/U_x)/R_x)))"
    )
    constants = (
        *Chinchilla.constants,
        Constant("R_D", 1e-3, 1e6, scale="log", essential=True),
        Constant("R_N", 1e-3, 1e6, scale="log"),
    )
    variables: tuple[str, ...] = ("params", "tokens", "unique_tokens")
    driven: ClassVar = {"params": "alpha", "tokens": "beta"}
    scanned = ("alpha", "beta")

    @property
    def surface(self) -> bool:
        """N and D alone do not say the loss."""
        return False

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation, by logarithms: N_opt of a nearly flat law leaves the range of doubles."""
        floor, size, data, alpha, beta, repeats, excess = theta
        params, tokens, unique = inputs
        log_n, log_new = np.log(params), np.log(np.minimum(unique, tokens))
        log_useful = np.minimum(log_n, _log_suited(size, data, alpha, beta, log_new))
        log_size = log_useful + _worth(log_n - log_useful, excess)
        log_data = log_new + _worth(np.log(tokens) - log_new, repeats)
        return floor + size * np.exp(-alpha * log_size) + data * np.exp(-beta * log_data)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Those of the additive law of N and D', for every pair of R_D and R_N tried."""
        params, tokens, unique = inputs
        new = np.minimum(unique, tokens)
        points = []
        for repeats in DECAYS:
            worth = new * np.exp(_worth(np.log(tokens / new), repeats))
            additive = Chinchilla().starts((params, worth), response, weights)
            additive[:, 0] = np.clip(additive[:, 0], 0.0, 0.99 * response.min())
            points += [
                np.column_stack([additive, np.tile(pair, (len(additive), 1))])
                for pair in grid([repeats], DECAYS)
            ]
        return np.concatenate(points)

    def suited(self, theta: FloatArray, unique_tokens: FloatArray) -> FloatArray:
        """N_opt(U_D): the size that so much data suit where none is seen twice; they broadcast."""
        _, size, data, alpha, beta, _, _ = np.moveaxis(np.asarray(theta, float), -1, 0)
        found: FloatArray = np.exp(_log_suited(size, data, alpha, beta, np.log(unique_tokens)))
        return found

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:  # noqa: ARG002 - without U
        """Not known of compute alone.

        Raises:
            PlanError: always; see ``Limited``.
        """
        raise PlanError(
            "how far to repeat data depends on how much there is, so this law plans only for a "
            "given amount of unique data; say it with --unique-tokens"
        )


class Limited(DataConstrained):
    """The same law as one of N and D alone, where ``unique_tokens`` are all the data there are."""

    variables = ("params", "tokens")
    plans = True

    def __init__(self, unique_tokens: float) -> None:
        self.unique_tokens = unique_tokens

    @property
    def surface(self) -> bool:
        """Now N and D say the loss."""
        return True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation at this U."""
        return super().formula(theta, *inputs, self.unique_tokens)

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """Least loss under C = 6ND, by search: how often to repeat has no closed form."""
        return Form.optimum(self, theta, flops)


def _log_suited(size: Any, data: Any, alpha: Any, beta: Any, log_new: Any) -> Any:
    """Log N_opt(U_D), which solves alpha A/N^alpha = beta B/U_D^beta (Hoffmann et al. 2022)."""
    return (np.log(alpha * size) - np.log(beta * data) + beta * log_new) / alpha


def _worth(log_ratio: Any, decay: Any) -> Any:
    """Log of what a total is worth over its unique part, for the log ratio of the two."""
    return np.log1p(-decay * np.expm1(-np.expm1(log_ratio) / decay))
