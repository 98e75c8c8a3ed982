"""Exponents alone: how N* and D* grow with compute, where a paper prints no size at any compute."""

from collections.abc import Sequence
from typing import Any, NoReturn

from scalefit.errors import PlanError
from scalefit.laws.base import Allocation, Constant, FloatArray
from scalefit.laws.form import Form


class Exponents(Form):
    """theta = (a, b). It can be compared with other laws, not planned by, nor fitted to runs."""

    name = "exponents"
    equation = "N* ~ C^a, D* ~ C^b"
    constants = (Constant("a", -5.0, 5.0), Constant("b", -5.0, 5.0))
    variables = ("flops",)

    def formula(self, theta: Sequence[Any], *inputs: Any) -> NoReturn:
        """None: the loss is not said."""
        raise NotImplementedError

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> NoReturn:
        """None: exponents follow from other laws."""
        raise NotImplementedError

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:  # noqa: ARG002 - see Form
        """Not known.

        Raises:
            PlanError: always.
        """
        raise PlanError("only the exponents of N* and D* were published, no size at any compute")

    def exponents(self, theta: FloatArray) -> FloatArray:
        """(a, b), shape (..., 2)."""
        return theta
