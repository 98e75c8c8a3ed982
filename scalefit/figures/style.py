"""What all figures share: one look, one palette, the same labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from scalefit.fitting import Fit
from scalefit.laws import FloatArray, Law
from scalefit.runs import Runs

SIZES = "viridis"  # readable in grey and by the colour-blind
FRONTIER = "#c0392b"
QUIET = "0.35"
LINES = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#6c3483", "#566573")
"""Of several laws or forecasters; told apart by the colour-blind, and by their markers."""
NARROW, WIDE = 5.0, 50.0  # spans of an axis
LABELS = {
    "params": "parameters N",
    "tokens": "tokens D",
    "flops": "training compute C, FLOP",
    "unique_tokens": "unique tokens",
    "steps": "steps",
    "lr": "learning rate",
    "batch_tokens": "batch, tokens",
    "experts": "experts",
    "error": "error",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Ticks, no box, for everything that is drawn inside."""
    with (
        sns.axes_style("ticks"),
        mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False}),
    ):
        yield


def label(name: str, law: Law) -> str:
    """What stands at an axis."""
    return loss_label(law) if name == "loss" else LABELS.get(name, name)


def loss_label(law: Law) -> str:
    """The loss with its unit, if that is known."""
    return f"loss, {law.convention.loss}" if law.convention.loss != "unknown" else "loss"


def title(fit: Fit, said: str) -> str:
    """The table, how much of it was used, and what was found."""
    values = "   ".join(f"{name} {value:.4g}" for name, value in fit.law.params.items())
    name = Path(fit.law.name).name
    return f"{name}: {fit.used} rows, {said}\n{values}"


def level(fit: Fit) -> float:
    """The confidence of the fit's intervals."""
    return next(iter(fit.intervals.values())).level


def tails(fit: Fit) -> tuple[float, float]:
    """The shares of draws below and above which an interval ends."""
    return (1 - level(fit)) / 2, (1 + level(fit)) / 2


def column(runs: Runs, name: str) -> FloatArray:
    """A quantity of all rows, shape (rows,)."""
    values: FloatArray = runs.frame[name].to_numpy(dtype=np.float64)
    return values


def colours(values: FloatArray) -> tuple[Colormap, LogNorm]:
    """Colours by the logarithm of a quantity, also where it has one value only."""
    return mpl.colormaps[SIZES], LogNorm(*wider((float(values.min()), float(values.max()))))


def wider(limits: tuple[float, float], factor: float = 1.25) -> tuple[float, float]:
    """A range with a margin on a logarithmic axis."""
    return limits[0] / factor, limits[1] * factor


def spread(axes: Axes, values: FloatArray) -> None:
    """A logarithmic x axis where the values span one, with labels that do not meet."""
    span = float(values.max() / values.min())
    if span < NARROW:
        return
    axes.set_xscale("log")
    if span < WIDE:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())


def plain_numbers(axes: Axes) -> None:
    """Losses as 2.5, not as powers of ten, on a logarithmic axis."""
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter())
