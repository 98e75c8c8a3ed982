"""The laws of two variables and of the critical batch of Kaplan et al. 2020, arXiv:2001.08361."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.form import Form, grid
from scalefit.laws.power import EXPONENTS

SCAN = grid(*[(0.03, 0.06, 0.1, 0.18, 0.35, 0.7, 1.4)] * 2)
"""Pairs of exponents that are tried."""
ALPHAS_B = np.geomspace(0.03, 3.0, 16)
"""And exponents of the critical batch."""


class Kaplan(Form):
    """Equation 1.5; theta = (N_c, D_c, alpha_N, alpha_D). N leaves embeddings out.

    With endless data L is (N_c/N)^alpha_N, with an endless model (D_c/D)^alpha_D. It has no floor.
    """

    name = "kaplan"
    equation = "L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D"
    constants = (
        Constant("N_c", scale="crossover", exponent="alpha_N", variable="params"),
        Constant("D_c", scale="crossover", exponent="alpha_D", variable="tokens"),
        Constant("alpha_N", *EXPONENTS, essential=True),
        Constant("alpha_D", *EXPONENTS, essential=True),
    )
    driven: ClassVar = {"params": "alpha_N", "tokens": "alpha_D"}
    scanned = ("alpha_N", "alpha_D")
    plans = True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 1.5, by logarithms: its inner power leaves the range of doubles."""
        size, data, alpha_n, alpha_d = theta
        params, tokens = inputs
        from_size = alpha_n / alpha_d * (np.log(size) - np.log(params))
        return np.exp(alpha_d * np.logaddexp(from_size, np.log(data) - np.log(tokens)))

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best N_c and D_c for every pair of exponents scanned.

        L^(1/alpha_D) is a sum of two terms, whose relative error is that of L over alpha_D.
        """
        alpha_n, alpha_d = SCAN.T
        (x, y), middle = _centred(inputs)
        ratio = alpha_n / alpha_d
        level = np.log(response).mean()  # near 1 is where powers stay in range
        inverse = np.exp((level - np.log(response)) / alpha_d[:, None])
        terms = np.stack([np.exp(-ratio[:, None] * x), np.tile(np.exp(-y), (len(SCAN), 1))])
        found = amplitudes(terms * inverse, weights, np.ones_like(response))
        with np.errstate(divide="ignore", over="ignore"):
            log_size, log_data = np.log(found) + level / alpha_d
            crossovers = np.exp([middle[0] + log_size / ratio, middle[1] + log_data])
        return np.stack([*crossovers, alpha_n, alpha_d], axis=1)

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """Least loss under C = 6ND, in closed form.

        With r = alpha_N/alpha_D the bracket is least where r (N_c/N)^r = D_c/D, so that
        N*^(1 + r) = r N_c^r C/(6 D_c).
        """
        size, data, alpha_n, alpha_d = np.moveaxis(np.asarray(theta, float), -1, 0)
        ratio, log_nd = alpha_n / alpha_d, np.log(flops / 6)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            balance = np.log(ratio) + ratio * np.log(size) - np.log(data)
            log_n = (balance + log_nd) / (1 + ratio)
            params, tokens = np.exp(log_n), np.exp(log_nd - log_n)
        loss = self.predict(theta, params, tokens)
        return Allocation(flops=flops, params=params, tokens=tokens, loss=loss)

    def exponents(self, theta: FloatArray) -> FloatArray:
        """(a, b) = (alpha_D, alpha_N)/(alpha_N + alpha_D), shape (..., 2)."""
        alpha_n, alpha_d = theta[..., 2], theta[..., 3]
        return np.stack([alpha_d, alpha_n], axis=-1) / (alpha_n + alpha_d)[..., None]


class KaplanSteps(Form):
    """Equation 1.6; theta = (N_c, S_c, alpha_N, alpha_S). N leaves embeddings out.

    S is S_min, the fewest steps in which the loss could be reached, those of a batch far above
    the critical one: S_min = S/(1 + B_crit/B) for S steps of B tokens (eq. 5.4).
    """

    name = "kaplan-steps"
    equation = "L(N, S) = (N_c/N)^alpha_N + (S_c/S)^alpha_S"
    constants = (
        Constant("N_c", scale="crossover", exponent="alpha_N", variable="params"),
        Constant("S_c", scale="crossover", exponent="alpha_S", variable="steps"),
        Constant("alpha_N", *EXPONENTS, essential=True),
        Constant("alpha_S", *EXPONENTS, essential=True),
    )
    variables = ("params", "steps")
    driven: ClassVar = {"params": "alpha_N", "steps": "alpha_S"}
    scanned = ("alpha_N", "alpha_S")

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 1.6."""
        size, length, alpha_n, alpha_s = theta
        params, steps = inputs
        from_size = np.exp(alpha_n * (np.log(size) - np.log(params)))
        return from_size + np.exp(alpha_s * (np.log(length) - np.log(steps)))

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best N_c and S_c for every pair of exponents scanned."""
        logs, middle = _centred(inputs)
        terms = np.exp(-SCAN.T[:, :, None] * np.stack(logs)[:, None])
        found = amplitudes(terms / response, weights, np.ones_like(response))
        with np.errstate(divide="ignore", over="ignore"):
            crossovers = np.exp(np.array(middle)[:, None] + np.log(found) / SCAN.T)
        return np.concatenate([crossovers, SCAN.T]).T


class CriticalBatch(Form):
    """Equation 1.4; theta = (B_star, alpha_B). The batch, in tokens, above which steps are wasted.

    It depends on the loss alone (McCandlish et al. 2018, arXiv:1812.06162).
    """

    name = "critical-batch"
    equation = "B_crit(L) = B_star/L^(1/alpha_B)"
    constants = (
        Constant("B_star", scale="log"),
        Constant("alpha_B", 1e-2, 10.0, essential=True),
    )
    variables = ("loss",)
    response = "batch_tokens"
    driven: ClassVar = {"loss": "alpha_B"}
    scanned = ("alpha_B",)

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 1.4."""
        scale, alpha = theta
        (loss,) = inputs
        return np.exp(np.log(scale) - np.log(loss) / alpha)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best B_star for every exponent scanned."""
        gap = np.log(response) + np.log(inputs[0]) / ALPHAS_B[:, None]
        return np.stack([np.exp(np.average(gap, axis=1, weights=weights)), ALPHAS_B], axis=1)


def _centred(inputs: tuple[FloatArray, ...]) -> tuple[list[FloatArray], list[float]]:
    """The logarithms of the variables less their means, and the means."""
    middle = [float(np.log(values).mean()) for values in inputs]
    return [np.log(x) - at for x, at in zip(inputs, middle, strict=True)], middle
