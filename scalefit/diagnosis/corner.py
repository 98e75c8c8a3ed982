"""Do the runs want the additive law? The k of the generalised sum says so, with its interval."""

from scalefit.errors import FitError
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Interval
from scalefit.runs import Runs


def corner(
    runs: Runs, *, objective: str = "huber-log", delta: float | None = 1e-3, level: float = 0.95
) -> Interval | None:
    """The k of L = E + [(A/N^alpha)^k + (B/D^beta)^k]^(1/k), 1 for the additive law.

    With robust standard errors, which take no resampling. None where these runs do not tell k.
    """
    try:
        found = fit(
            runs, form="generalised", objective=objective, delta=delta, interval="hc3",
            bootstrap=0, level=level,
        )  # fmt: skip
    except FitError:
        return None
    k = found.intervals["k"]
    return k if k.identified and k.low is not None else None


def on_corner(k: Interval | None) -> str | None:
    """In plain words, if the interval leaves out 1."""
    if k is None or k.low is None or k.high is None or k.low <= 1 <= k.high:
        return None
    shape = (
        "the larger shortage hides the other more than in a sum"
        if k.value > 1
        else "the two shortages make each other worse than in a sum"
    )
    return (
        f"These runs do not want the additive law: k = {k.value:.2f} [{k.low:.2f}, {k.high:.2f}] "
        f"in the generalised sum, where it has 1; {shape}. Fit them with --form generalised."
    )
