"""L(N, E): routed models (mixtures of experts) by size and number of experts.

Clark et al. 2022 (arXiv:2202.01169): a power law of N whose exponent changes with the
number of experts E, and an E whose worth saturates. N counts the parameters that each token meets,
those of the dense model.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from scalefit.laws.base import Constant, FloatArray
from scalefit.laws.form import Form, grid

FIRST = (1.0, 1.5, 2.0, 3.0, 5.0)
LAST = (30.0, 100.0, 300.0, 1000.0, 1e5)
"""Values of E_start and E_max that are tried."""


class Routed(Form):
    """theta = (a, b, c, d, E_start, E_max); L is of any unit, for d takes it up.

    a and b are negative where size and experts help; c is positive where experts help large models
    less. E_start is what a dense model counts as, E_max what endless experts do.
    """

    name = "routed"
    equation = (
        "log10 L(N, E) = a log10 N + b log10 E' + c log10 N log10 E' + d, "
        "1/E' = 1/(E - 1 + 1/(1/E_start - 1/E_max)) + 1/E_max"
    )
    constants = (
        Constant("a", -5.0, 5.0, essential=True),
        Constant("b", -5.0, 5.0, essential=True),
        Constant("c", -1.0, 1.0),
        Constant("d", -50.0, 50.0),
        Constant("E_start", 0.1, 1e3, scale="log"),
        Constant("E_max", 1.0, 1e6, scale="log"),
    )
    variables = ("params", "experts")
    driven: ClassVar = {"params": "a", "experts": "b"}

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation, in a form that does not divide by 0 where E_start is E_max."""
        a, b, c, d, first, last = theta
        params, experts = inputs
        log_n, log_e = np.log10(params), _log_worth(experts, first, last)
        return 10.0 ** (a * log_n + b * log_e + c * log_n * log_e + d)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best a, b, c and d, in which log L is linear, for every E_start and E_max tried."""
        params, experts = inputs
        log_n, root = np.log10(params), np.sqrt(weights)
        found = []
        for first, last in (tried := grid(FIRST, LAST)):
            log_e = _log_worth(experts, first, last)
            terms = np.stack([log_n, log_e, log_n * log_e, np.ones_like(log_n)], axis=1)
            found.append(np.linalg.lstsq(terms * root[:, None], np.log10(response) * root)[0])
        return np.hstack([np.array(found), tried])


def _log_worth(experts: Any, first: Any, last: Any) -> Any:
    """log10 of the number of experts that count."""
    gap = 1 / first - 1 / last
    return -np.log10(gap / (1 + (experts - 1) * gap) + 1 / last)
