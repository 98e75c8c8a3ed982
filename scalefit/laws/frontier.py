"""The compute-optimal frontier itself, N*(C), D*(C) and L*(C), without a law of L(N, D) behind it.

What approaches 1 and 2 of Hoffmann et al. 2022 (arXiv:2203.15556) fit, and what many papers report:
N* and D* are power laws of compute, each of its own, so that a + b need not be 1 where C is not
6ND.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.form import Form

KNOWN = ("C_1", "N_1", "a", "D_1", "b")


class Frontier(Form):
    """Power laws anchored at a compute C_1; theta = (C_1, N_1, a, D_1, b, E, L_1, c).

    E, L_1 and c are NaN where nothing is known of the loss.
    """

    name = "frontier"
    equation = "N*(C) = N_1 (C/C_1)^a, D*(C) = D_1 (C/C_1)^b, L*(C) = E + L_1 (C/C_1)^-c"
    constants = (
        Constant("C_1", scale="log"),
        Constant("N_1", scale="log"),
        Constant("a", -5.0, 5.0, essential=True),
        Constant("D_1", scale="log"),
        Constant("b", -5.0, 5.0, essential=True),
        Constant("E"),
        Constant("L_1", scale="log"),
        Constant("c", 0.0, 5.0),
    )
    variables = ("flops",)
    plans = True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The loss at the optimum."""
        anchor, _, _, _, _, floor, height, decay = theta
        (flops,) = inputs
        return floor + height * (flops / anchor) ** -decay

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """None: a frontier is drawn through the optima of many runs, not fitted to runs."""
        raise NotImplementedError

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """The frontier at a budget; its loss is NaN where it is not known."""
        anchor, size, a, data, b, *_ = np.moveaxis(np.asarray(theta, float), -1, 0)
        ratio = flops / anchor
        return Allocation(
            flops=flops,
            params=size * ratio**a,
            tokens=data * ratio**b,
            loss=self.predict(theta, np.asarray(flops, float)),
        )

    def exponents(self, theta: FloatArray) -> FloatArray:
        """(a, b), shape (..., 2)."""
        return np.stack([theta[..., 2], theta[..., 4]], axis=-1)
