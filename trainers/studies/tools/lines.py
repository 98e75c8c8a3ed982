"""Lines of several seeds in one look: each seed thin, their mean thick."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes


def seed_lines(
    axes: Axes, table: pd.DataFrame, x: str, y: str, *, colour: str, label: str = "", **style: Any
) -> None:
    """Draw column `y` against `x`, a thin line a seed and their mean.

    Args:
        axes: where.
        table: columns seed, `x` and `y`, one row a seed and `x`.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        colour: of all lines.
        label: of the mean.
        style: of the mean, for matplotlib.
    """
    for _, rows in table.groupby("seed"):
        axes.plot(rows[x], rows[y], color=colour, lw=0.6, alpha=0.4)
    mean = table.groupby(x)[y].mean()
    axes.plot(mean.index, mean, color=colour, label=label, **({"lw": 2.2} | style))
