"""L(N, D) = E + [(A/N^alpha)^k + (B/D^beta)^k]^(1/k): how sharply one shortage hides the other.

k = 1 is the additive law of Hoffmann et al. 2022; as k grows, the larger of the two terms alone
sets the loss. Small models prefer k between 1.7 and 5.5 (measured on the grids of this project).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.chinchilla import Chinchilla
from scalefit.laws.form import Form

BENDS = (1.0, 2.0, 4.0)
"""Values of k whose best additive starts are tried."""


class Generalised(Form):
    """theta = (E, A, B, alpha, beta, k); on one table k is often the loosest of them."""

    name = "generalised"
    equation = "L(N, D) = E + [(A/N^alpha)^k + (B/D^beta)^k]^(1/k)"
    constants = (*Chinchilla.constants, Constant("k", 0.2, 30.0, scale="log"))
    driven: ClassVar = {"params": "alpha", "tokens": "beta"}
    scanned = ("alpha", "beta")
    plans = True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation, by logarithms: the terms to the k-th power leave the range of doubles."""
        floor, size, data, alpha, beta, k = theta
        params, tokens = inputs
        log_size = np.log(size) - alpha * np.log(params)
        log_data = np.log(data) - beta * np.log(tokens)
        return floor + np.exp(np.logaddexp(k * log_size, k * log_data) / k)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Those of the additive law, with every k that is tried."""
        additive = Chinchilla().starts(inputs, response, weights)
        additive[:, 0] = np.clip(additive[:, 0], 0.0, 0.99 * response.min())
        return np.concatenate(
            [np.concatenate([additive, np.full((len(additive), 1), k)], axis=1) for k in BENDS]
        )

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """Least loss under C = 6ND: that of an additive law whose terms are the k-th powers."""
        floor, size, data, alpha, beta, k = np.moveaxis(theta, -1, 0)
        powers = np.stack([0 * floor, size**k, data**k, alpha * k, beta * k], axis=-1)
        best = Chinchilla().optimum(powers, flops)
        loss = self.predict(theta, best.params, best.tokens)
        return Allocation(flops=flops, params=best.params, tokens=best.tokens, loss=loss)

    def exponents(self, theta: FloatArray) -> FloatArray:
        """(a, b) = (beta, alpha)/(alpha + beta), whatever k is; shape (..., 2)."""
        return Chinchilla().exponents(theta)
