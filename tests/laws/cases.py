"""Three known surfaces of every form, and runs at which each can be told: the table of laws."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalefit.laws import FORMS, Form
from scalefit.runs import Runs

Design = Callable[[], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Case:
    """A truth, and where it is measured.

    `loose` are constants that noise leaves open, though noise-free runs tell them.
    """

    form: str
    truth: Mapping[str, float]
    design: Design
    loose: tuple[str, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        return f"{self.form}-{self.name}"

    def theta(self) -> np.ndarray:
        return np.array([self.truth[name] for name in FORMS[self.form].parameters])

    def runs(self, *, noise: float = 0.0, seed: int = 0, form: Form | None = None) -> Runs:
        """Runs of the truth with Gaussian noise in the logarithm of the response."""
        form = form or FORMS[self.form]
        frame = pd.DataFrame(self.design())
        exact = form.predict(self.theta(), *form.inputs(frame))
        error = noise * np.random.default_rng(seed).standard_normal(len(frame))
        frame[form.response] = exact * np.exp(error)
        if form.surface:
            frame["flops"] = 6 * frame["params"] * frame["tokens"]
        return Runs(frame=frame, source=str(self), params_kind="total", quantities=form.quantities)


def grid(**axes: np.ndarray) -> dict[str, np.ndarray]:
    """Every combination of the axes, as columns."""
    columns = np.meshgrid(*axes.values(), indexing="ij")
    return {name: column.ravel() for name, column in zip(axes, columns, strict=True)}


def sizes_and_tokens() -> dict[str, np.ndarray]:
    return grid(params=np.geomspace(5e7, 1e10, 9), tokens=np.geomspace(1e9, 3e11, 6))


ADDITIVE = {
    "hoffmann": {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
    "symmetric": {"E": 1.69, "A": 400.0, "B": 400.0, "alpha": 0.31, "beta": 0.31},
    "asymmetric": {"E": 2.1, "A": 4000.0, "B": 60.0, "alpha": 0.5, "beta": 0.18},
}
CASES = [
    *(Case("chinchilla", truth, sizes_and_tokens, name=name) for name, truth in ADDITIVE.items()),
    *(
        Case("generalised", {**truth, "k": k}, sizes_and_tokens, loose=("E", "k"), name=name)
        for (name, truth), k in zip(ADDITIVE.items(), (1.5, 3.0, 0.8), strict=True)
    ),
]
