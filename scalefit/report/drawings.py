"""The figures of a report as they stand in its page."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit import figures
from scalefit.fitting import Fit
from scalefit.report.gather import Found

HEAVIEST = 150_000
"""Bytes of a drawing with lines; one of more is a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure with its caption; a wide one has a row of its own."""

    drawing: Markup
    caption: str
    wide: bool = False


def drawings(found: Found) -> Iterator[Drawing]:
    """All figures that this report can have."""
    fit, runs = found.fit, found.runs
    ways: list[tuple[str, str, bool, Callable[[], Axes | Figure]]] = []
    if fit.law.form.surface:
        ways += [
            ("curves", "The law through the runs: loss against tokens, a colour a size.", False,
             lambda: figures.curves(fit, runs)),
            ("contours", "The loss over N and D, the runs, and where compute is spent best.", False,
             lambda: figures.contours(fit, runs)),
            ("residuals", "What the law leaves over, by compute.", False,
             lambda: figures.residuals(fit, runs)),
        ]  # fmt: skip
    else:
        ways.append(("fit", "The law through the runs.", True, lambda: figures.fit(fit, runs)))
    for entry in found.comparison.approaches if found.comparison else ():
        if entry.fit is not None and entry.name in ("isoflop", "envelope"):
            ways.append((entry.name, APPROACH[entry.name], False, _approach(entry.fit, found)))
    if found.diagnosis:
        diagnosis = found.diagnosis
        ways.append(("influence", "How far a constant hangs on few rows.", False,
                     lambda: figures.influence(diagnosis)))  # fmt: skip
    if found.backtest and found.backtest.cuts:
        backtest = found.backtest
        ways.append(("backtest", "What would have been predicted from the cheaper runs.", False,
                     lambda: figures.backtest(backtest)))  # fmt: skip
    if found.comparison:
        comparison = found.comparison
        ways.append(("approaches", "The frontiers of the approaches.", True,
                     lambda: figures.approaches(comparison)))  # fmt: skip
    for name, caption, wide, way in ways:
        yield Drawing(drawing=_drawing(name, caption, way()), caption=caption, wide=wide)


IDS = re.compile(r'(\bid="|href="#|url\(#)')
"""Where drawings name their parts: all stand in one page, so each has its own prefix."""
APPROACH = {
    "envelope": "Approach 1: the lower envelope of all runs.",
    "isoflop": "Approach 2: the best size at each budget.",
}


def _approach(fit: Fit, found: Found) -> Callable[[], Axes]:
    draw = figures.isoflop if fit.method == "isoflop" else figures.envelope
    return lambda: draw(fit, found.runs)


def _drawing(name: str, caption: str, drawn: Axes | Figure) -> Markup:
    """Lines with text that can be searched; a picture where those weigh too much."""
    figure: Any = drawn.figure if isinstance(drawn, Axes) else drawn
    # the salt makes the page reproducible
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        lines = _saved(figure, "svg", metadata={"Date": None}).decode("utf-8")
    if len(lines) > HEAVIEST:
        content = b64encode(_saved(figure, "png", dpi=110)).decode("ascii")
        return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(caption, content)
    start = lines.index("<svg")
    lines = IDS.sub(rf"\1{name}-", lines)
    label = escape(caption)
    return Markup(f'<svg role="img" aria-label="{label}"' + lines[start + 4 :])  # noqa: S704 - matplotlib escapes text


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    content = BytesIO()
    figure.savefig(content, format=kind, transparent=True, **options)
    return content.getvalue()
