"""Laws of Gadre et al. 2024 (arXiv:2403.08540): over-trained models, and their errors on tasks."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.chinchilla import Chinchilla
from scalefit.laws.form import Form

EXPONENTS = (1e-3, 2.5)
"""The box of eta, half that of the additive law's exponents."""
SCAN = np.geomspace(0.02, 0.8, 20)
DECAYS = np.geomspace(0.05, 10.0, 24)
"""Values of gamma that are tried, per nat."""


class Overtraining(Form):
    """theta = (E, A, B, eta), with M = D/N, the tokens per parameter, and C = 6ND.

    The paper's a and b are A and B here: a and b are the exponents of N* and D*.

    It is the additive law of N and D with one exponent, 2 eta, so that the loss at every fixed M
    falls as the same power of compute, and the best M is the same at every compute.
    """

    name = "overtraining"
    equation = "L(C, M) = E + (A M^eta + B M^-eta) C^-eta, M = D/N, C = 6ND"
    constants = (
        Constant("E"),
        Constant("A", scale="amplitude", exponent="eta", variable="params"),
        Constant("B", scale="amplitude", exponent="eta", variable="tokens"),
        Constant("eta", *EXPONENTS, essential=True),
    )
    driven: ClassVar = {"params": "eta", "tokens": "eta"}
    scanned = ("eta",)
    plans = True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation, with C^-eta M^eta = (6 N^2)^-eta and C^-eta M^-eta = (6 D^2)^-eta."""
        floor, size, data, eta = theta
        params, tokens = inputs
        from_size = size * np.exp(-eta * np.log(6 * params**2))
        return floor + from_size + data * np.exp(-eta * np.log(6 * tokens**2))

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best E, A and B for every eta scanned."""
        powers, scale = zip(*(_powers(6 * x**2) for x in inputs), strict=True)
        terms = np.stack([*powers, np.ones_like(powers[0])])
        size, data, floor = amplitudes(terms / response, weights, np.ones_like(response))
        return np.stack([floor, size * scale[0], data * scale[1], SCAN], axis=1)

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """Least loss under C = 6ND: M* = (B/A)^(1/(2 eta)) at every compute."""
        return Chinchilla().optimum(additive(theta), flops)

    def exponents(self, theta: FloatArray) -> FloatArray:
        """N* and D* both grow as C^(1/2); shape (..., 2)."""
        return np.full((*theta.shape[:-1], 2), 0.5)


def additive(theta: FloatArray) -> FloatArray:
    """(E, A, B, alpha, beta) of the same law in the terms of Hoffmann et al. 2022."""
    floor, size, data, eta = np.moveaxis(np.asarray(theta, float), -1, 0)
    six = 6.0**-eta
    return np.stack([floor, size * six, data * six, 2 * eta, 2 * eta], axis=-1)


class Downstream(Form):
    """theta = (epsilon, k, gamma): the mean top-1 error over tasks, from the loss.

    epsilon is the error of a model that knows nothing.
    """

    name = "downstream"
    equation = "Err(L) = epsilon - k e^(-gamma L)"
    constants = (
        Constant("epsilon"),
        Constant("k", scale="log"),
        Constant("gamma", 1e-2, 50.0, essential=True),
    )
    variables = ("loss",)
    response = "error"
    driven: ClassVar = {"loss": "gamma"}
    scanned = ("gamma",)

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation."""
        worst, height, decay = theta
        (loss,) = inputs
        return worst - height * np.exp(-decay * loss)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best epsilon and k for every gamma scanned."""
        (loss,) = inputs
        middle = loss.mean()
        falls = -np.exp(-DECAYS[:, None] * (loss - middle))
        terms = np.stack([np.ones_like(falls), falls]) / response
        worst, height = amplitudes(terms, weights, np.ones_like(response))
        return np.stack([worst, height * np.exp(DECAYS * middle), DECAYS], axis=1)


def _powers(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x^-eta over its value mid-range for every eta scanned, and one over that value."""
    middle = np.log(x).mean()
    return np.exp(-SCAN[:, None] * (np.log(x) - middle)), np.exp(SCAN * middle)
