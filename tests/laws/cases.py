"""Three known surfaces of every form, and runs at which each can be told: the table of laws."""

from collections.abc import Callable, Iterator, Mapping
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
SPANS = {"n": ("params", 1e6, 1e10), "d": ("tokens", 1e7, 1e11), "c": ("flops", 1e16, 1e22)}
# Kaplan's C_c is 1.6e7 PF-days of 8.64e19 FLOP.
STRAIGHT = {
    "n": {"kaplan": (8.8e13, 0.076), "steeper": (1e11, 0.2), "steep": (1e9, 0.5)},
    "d": {"kaplan": (5.4e13, 0.095), "steeper": (1e12, 0.25), "steep": (1e10, 0.45)},
    "c": {"kaplan": (1.3824e27, 0.057), "steeper": (3e24, 0.12), "steep": (1e20, 0.3)},
}
FLOORS = (0.6, 1.7, 2.2)
BENT = {  # E, height of the term at the break, c0, c1, place of the break in the range, f1
    "steepens": (1.2, 2.0, 0.05, 0.3, 0.4, 0.3),
    "flattens": (0.8, 1.5, 0.3, -0.2, 0.5, 0.4),
    "sharply": (0.4, 1.6, 0.02, 0.9, 0.6, 0.1),
}


def line(letter: str, count: int = 40) -> Design:
    name, low, high = SPANS[letter]
    return lambda: {name: np.geomspace(low, high, count)}


def straight(letter: str) -> Iterator[Case]:
    for (name, (scale, alpha)), floor in zip(STRAIGHT[letter].items(), FLOORS, strict=True):
        power = {f"{letter.upper()}_c": scale, "alpha": alpha}
        yield Case(f"power-{letter}", power, line(letter), name=name)
        yield Case(f"offset-{letter}", {"E": floor, **power}, line(letter, 80), name=name)


def bent(letter: str) -> Iterator[Case]:
    _, low, high = SPANS[letter]
    for name, (floor, height, before, more, place, width) in BENT.items():
        at = low * (high / low) ** place
        truth = {"E": floor, "A": height * at**before, "c0": before, "c1": more, "d1": at}
        design = line(letter, 120)
        yield Case(f"broken-{letter}", {**truth, "f1": width}, design, loose=("f1",), name=name)


def sizes_and_steps() -> dict[str, np.ndarray]:
    return grid(params=np.geomspace(1e6, 1e10, 9), steps=np.geomspace(1e3, 3e5, 6))


def losses() -> dict[str, np.ndarray]:
    return {"loss": np.geomspace(2.0, 6.0, 40)}


Truths = tuple[str, Design, tuple[str, ...], dict[str, tuple[float, ...]]]
KAPLAN: tuple[Truths, ...] = (
    (
        "kaplan",
        sizes_and_tokens,
        (),
        {
            "published": (6.4e13, 1.8e13, 0.076, 0.103),
            "steeper": (1e11, 2e12, 0.2, 0.25),
            "unlike": (1e12, 1e11, 0.12, 0.4),
        },
    ),
    (
        "kaplan-steps",
        sizes_and_steps,
        (),
        {
            "published": (6.5e13, 2.1e3, 0.077, 0.76),
            "steeper": (1e11, 5e3, 0.2, 0.6),
            "slow": (1e10, 3e4, 0.15, 0.3),
        },
    ),
    (
        "critical-batch",
        losses,
        (),
        {"published": (2.1e8, 0.21), "flat": (1e7, 0.8), "steep": (1e9, 0.15)},
    ),
)


def one_long_curve() -> dict[str, np.ndarray]:
    """A learning rate that jumps between twelve levels, each held for 200 steps."""
    shares = (1, 0.3, 1, 0.1, 0.6, 0.05, 0.2, 0.8, 0.02, 0.4, 0.1, 0.01)
    return {"steps": np.arange(10.0, 2401.0, 20.0), "lr": 2e-3 * np.repeat(shares, 10)}


SCHEDULES = {
    "luo": (2.4, 0.65, 0.45, 150.0, 2.0, 0.6, 0.6),
    "slow": (1.8, 0.9, 0.3, 250.0, 0.5, 1.2, 0.5),
    "steep": (3.0, 0.3, 0.7, 300.0, 5.0, 0.4, 0.7),
}


def repeated_data() -> dict[str, np.ndarray]:
    """Sizes on either side of what the data suit, and up to 64 epochs."""
    runs = grid(
        params=np.geomspace(5e7, 1e10, 6),
        unique=np.geomspace(1e8, 1e10, 4),
        epochs=2.0 ** np.arange(7),
    )
    unique = runs.pop("unique")
    return {**runs, "tokens": unique * runs["epochs"], "unique_tokens": unique}


def experts() -> dict[str, np.ndarray]:
    return grid(params=np.geomspace(1e7, 2e9, 6), experts=2.0 ** np.arange(10))


def error_losses() -> dict[str, np.ndarray]:
    return {"loss": np.linspace(2.0, 6.0, 60)}


def some_tokens() -> dict[str, np.ndarray]:
    return {"tokens": np.geomspace(1e9, 1e12, 30)}


OTHERS: tuple[Truths, ...] = (
    (
        "data-constrained",
        repeated_data,
        (),
        {
            "published": (1.87, 521.0, 1488.0, 0.35, 0.35, 15.4, 5.3),
            "forgetful": (1.7, 400.0, 400.0, 0.31, 0.31, 4.0, 2.0),
            "unlike": (2.1, 300.0, 2000.0, 0.31, 0.37, 25.0, 10.0),
        },
    ),
    (
        "overtraining",
        sizes_and_tokens,
        (),
        {
            "c4": (1.51, 141.0, 190.0, 0.121),
            "refinedweb": (1.73, 157.0, 246.0, 0.127),
            "steep": (2.0, 3000.0, 2000.0, 0.2),
        },
    ),
    (
        "downstream",
        error_losses,
        (),
        {
            "c4": (0.85, 2.08, 0.756),
            "steep": (0.9, 8.0, 1.4),
            "straight": (0.95, 1.5, 0.5),
        },
    ),
    (
        "routed",
        experts,
        (),
        {
            "s-base": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.5),
            "hash": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.7),
            "early": (-0.1, -0.2, 0.02, 1.3, 1.2, 60.0),
        },
    ),
    (
        "optimal-lr",
        sizes_and_tokens,
        (),
        {
            "step-law": (1.79, -0.713, 0.307),
            "size-only": (0.5, -0.25, 0.0),
            "sinking": (3e2, -0.4, -0.1),
        },
    ),
    (
        "optimal-batch",
        some_tokens,
        (),
        {"step-law": (0.58, 0.571), "slow": (3e3, 0.2), "steep": (1e-3, 0.8)},
    ),
)
CASES = [
    *(Case("chinchilla", truth, sizes_and_tokens, name=name) for name, truth in ADDITIVE.items()),
    *(
        Case("generalised", {**truth, "k": k}, sizes_and_tokens, loose=("E", "k"), name=name)
        for (name, truth), k in zip(ADDITIVE.items(), (1.5, 3.0, 0.8), strict=True)
    ),
    *(
        Case(
            "multi-power",
            dict(zip(("L0", "A", "alpha", "B", "C", "beta", "gamma"), theta, strict=True)),
            one_long_curve,
            name=name,
        )
        for name, theta in SCHEDULES.items()
    ),
    *(case for letter in SPANS for family in (straight, bent) for case in family(letter)),
    *(
        Case(form, dict(zip(FORMS[form].parameters, t, strict=True)), design, loose, name)
        for form, design, loose, truths in (*KAPLAN, *OTHERS)
        for name, t in truths.items()
    ),
]
