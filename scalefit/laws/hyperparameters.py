"""Best learning rate and batch size, power laws of N and D (Li et al. 2025, arXiv:2503.04715).

Their N leaves embeddings out, D is in tokens and so is the batch. They are fitted to optima, one of
every pair (N, D), which ``scalefit.sweeps`` finds in a sweep.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.laws.base import Constant, FloatArray
from scalefit.laws.form import Form

POWERS = (-5.0, 5.0)


class OptimalRate(Form):
    """Equation 1; theta = (c, p, q): bigger models want smaller steps, more data larger ones."""

    name = "optimal-lr"
    equation = "lr*(N, D) = c N^p D^q"
    constants: tuple[Constant, ...] = (
        Constant("c", scale="log"),
        Constant("p", *POWERS, essential=True),
        Constant("q", *POWERS, essential=True),
    )
    response = "lr"
    driven: ClassVar = {"params": "p", "tokens": "q"}

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 1, by logarithms: c is a rate at N = D = 1, far outside of any sweep."""
        scale, *powers = theta
        terms = (power * np.log(x) for power, x in zip(powers, inputs, strict=True))
        return np.exp(sum(terms, np.log(scale)))

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best plane in logarithms, which is all there is to find."""
        root = np.sqrt(weights)
        plane = np.stack([np.ones_like(response), *(np.log(x) for x in inputs)], axis=1)
        found = np.linalg.lstsq(plane * root[:, None], np.log(response) * root)[0]
        return np.array([[np.exp(found[0]), *found[1:]]])


class OptimalBatch(OptimalRate):
    """Equation 1; theta = (c, q): the best batch grows with the data alone."""

    name = "optimal-batch"
    equation = "B*(D) = c D^q"
    constants = (Constant("c", scale="log"), Constant("q", *POWERS, essential=True))
    variables = ("tokens",)
    response = "batch_tokens"
    driven: ClassVar = {"tokens": "q"}
