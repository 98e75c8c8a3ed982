"""What the curves of training and development loss say of a run: labels C1 to C8, with reasons.

A run may carry several labels: one that memorises its data (C5) may well overfit it too (C2). The
eight are those of the lecture on overfitting; it shows them as pictures, so what each asks of the
numbers is this module's reading, and every threshold stands here by name. Everything is measured
against how far the loss fell, so that the unit of the loss does not matter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from scalefit.errors import DataError
from scalefit.importers import load, recognise
from scalefit.laws import FloatArray
from scalefit.where import select

LABELS = {
    "C1": "good: at the overfitting threshold",
    "C2": "right of the overfitting threshold: it overfits",
    "C3": "left of the overfitting threshold: stopped too early",
    "C4": "does not converge: check the learning rate",
    "C5": "training loss near 0: capacity large, maybe too large",
    "C6": "training loss stays large: capacity too small",
    "C7": "unstable training loss: lower the learning rate",
    "C8": "unstable development loss: average it over more data",
}
COLUMNS = ("step", "loss", "train_loss")
LEAST = 12  # values of each loss below which a curve has no shape
BINS = 60  # parts of the run over which losses are averaged before they are looked at
TAIL = 0.1  # share of a run that counts as its end
LAST = 0.25  # share of a run over which it is asked whether the loss still falls
# Shares of the whole fall of the loss:
RISES = 0.05  # C2: development loss above its lowest; or
WORSE = 0.1  # this share of the lowest itself, where that is less, but no less than
SLIGHT = 0.002  # this share of the fall
FALLING = 0.05  # C3: fallen over the last part of the run
LOST = 0.5  # C4: training loss above its minimum
JITTER = 0.04  # C7 and C8: deviation of a part from its neighbours; or
SHAKES = 0.01  # this, where it is also
SWAY = 0.2  # this share of the loss itself
# Shares of the rows, and of the first training loss:
DEAD = 0.05  # C4: rows at the end without any loss
STUCK = 0.1  # C4: all that the loss fell
ZERO = 0.01  # C5: what is left of it
LARGE = 0.4  # C6: what is left of it
SURE = 3.0  # standard errors that a change of the loss must exceed
SEEN = 0.001  # shares below are not told apart
LOUDER = 2.0  # C8: the development loss shakes this many times as much as the training loss


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveDiagnosis:
    """What the curves of one run say.

    Attributes:
        run: its run_id, or "" in a table of one run.
        labels: of C1 to C8, in this order; C1 stands alone.
        reasons: a sentence for each label.
    """

    run: str
    labels: tuple[str, ...]
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit diagnose --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Curve:
    """A loss by step, averaged over parts of the run.

    Attributes:
        steps, values: mean step and loss of each part that has any, shape (parts,).
        start: the first loss.
        low, at: the lowest smoothed value (three parts), and its step.
        end: mean over the end of the run.
        noise: deviation of one part from the line between its neighbours, as of independent noise.
    """

    steps: FloatArray
    values: FloatArray
    start: float
    low: float
    at: float
    end: float
    noise: float

    @property
    def fall(self) -> float:
        """From the start to the lowest; where it hardly fell, what it would have to fall."""
        return max(self.start - self.low, STUCK * abs(self.start), np.finfo(float).tiny)

    @property
    def left(self) -> float:
        """What is left of the first loss at the end; NaN for a loss that may be negative."""
        return self.end / self.start if self.start > 0.0 else np.nan

    @property
    def jitter(self) -> float:
        """The noise as a share of the fall."""
        return self.noise / self.fall

    @property
    def unstable(self) -> bool:
        """Whether the noise is large beside the fall, or beside what is left of the loss."""
        level = abs(float(self.values[len(self.values) // 4 :].mean()))
        return self.jitter > JITTER or (self.jitter > SHAKES and self.noise > SWAY * level)

    @property
    def error(self) -> float:
        """Standard error of the difference of two means as long as the end."""
        return float(self.noise * np.sqrt(2.0 / max(TAIL * len(self.values), 1.0)))

    def gain(self) -> float:
        """How far the loss fell over the last part of the run."""
        span = self.steps[-1] - self.steps[0]
        before = self.steps <= self.steps[-1] - LAST * span
        since = before & (self.steps > self.steps[-1] - (LAST + TAIL) * span)
        chosen = since if since.any() else before
        return float(self.values[chosen].mean()) - self.end


def read_curves(
    source: str, *, where: str | None = None, columns: Mapping[str, str] | None = None
) -> pd.DataFrame | None:
    """The curves of a file, a folder of parts or a glob; None if it is no table of curves.

    It is one if it has the columns step and train_loss. The development loss and the run are found
    under their common names, or where `columns` says ({"loss": "NAME"}).

    Raises:
        DataError: if the table cannot be read.
    """
    frame = load(source)
    if not {"step", "train_loss"} <= set(frame.columns):
        return None
    found = recognise(list(frame.columns), columns or {}, source, ("loss", "run_id"))
    chosen = frame if where is None else frame[select(frame, where)]
    return chosen.assign(**{quantity: chosen[name] for quantity, name in found.items()})


def diagnose_curves(frame: pd.DataFrame, source: str = "the table") -> list[CurveDiagnosis]:
    """Labels C1 to C8 of every run, each with its reason.

    Args:
        frame: columns step, loss (development) and train_loss, and run_id where there are several
            runs. A loss that was not measured at a step is missing there. Any order of rows.
        source: names the table in messages.

    Raises:
        DataError: if a column is missing or holds no numbers, or a curve is too short.
    """
    for name in COLUMNS:
        if name not in frame:
            raise DataError(
                f"{source} has no column {name}; curves need step, loss (development) and "
                "train_loss"
            )
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"{source}: the column {name} holds text; it should hold numbers")
    numbers = frame.astype(dict.fromkeys(COLUMNS, "float64"))
    if numbers.empty or not np.isfinite(numbers["step"]).all():
        raise DataError(f"{source} has no rows, or rows without a step; give every row its step")
    if "run_id" not in numbers:
        return [_diagnosed("", numbers, source)]
    groups = numbers.groupby("run_id", sort=False, dropna=False)
    return [_diagnosed(str(run), rows, f"{source}, run {run}") for run, rows in groups]


def _diagnosed(run: str, rows: pd.DataFrame, source: str) -> CurveDiagnosis:
    ordered = rows.sort_values("step", kind="stable")
    broken = _broken(ordered)
    if broken is not None:
        found = {"C4": f"no loss is finite from step {broken:g} on: the run diverged"}
    else:
        train, development = (_curve(ordered, name, source) for name in ("train_loss", "loss"))
        found = dict(_labels(train, development))
    if not found:
        found = {"C1": "development loss ends about its lowest, and little more is to be had"}
    order = sorted(found)
    return CurveDiagnosis(
        run=run, labels=tuple(order), reasons=tuple(found[label] for label in order)
    )


def _broken(rows: pd.DataFrame) -> float | None:
    """The step from which on no loss is finite, if that is more than a row not logged."""
    losses = rows[["train_loss", "loss"]].to_numpy(dtype=np.float64)
    infinite, finite = np.isinf(losses).any(axis=1), np.isfinite(losses).any(axis=1)
    if infinite.any():
        return float(rows["step"].iloc[int(infinite.argmax())])
    dead = int(finite[::-1].argmax()) if finite.any() else 0
    if dead < max(SURE, DEAD * len(finite)):
        return None
    return float(rows["step"].iloc[len(finite) - dead])


def _curve(rows: pd.DataFrame, name: str, source: str) -> _Curve:
    present = rows[["step", name]].dropna()
    if len(present) < LEAST or present["step"].nunique() < LEAST:
        raise DataError(
            f"{source}: {name} has values at {present['step'].nunique()} steps; "
            f"a curve needs {LEAST} or more"
        )
    raw_steps, raw = (present[key].to_numpy(dtype=np.float64) for key in ("step", name))
    part = np.floor((raw_steps - raw_steps[0]) / (np.ptp(raw_steps) * (1 + 1e-12)) * BINS)
    means = present.groupby(part).mean()
    steps, values = (means[key].to_numpy(dtype=np.float64) for key in ("step", name))
    smooth = np.convolve(np.pad(values, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    tail = max(round(TAIL * len(values)), 1)
    first = max(round(len(raw) / 100), 1)
    return _Curve(
        steps=steps,
        values=values,
        start=float(raw[:first].mean()),
        low=float(smooth.min()),
        at=float(steps[smooth.argmin()]),
        end=float(values[-tail:].mean()),
        noise=_noise(values[len(values) // 4 :]),
    )


def _noise(values: FloatArray) -> float:
    """Deviation from the line between neighbours; 3/2 of a variance is in it if they are apart."""
    apart = values[1:-1] - (values[:-2] + values[2:]) / 2.0
    return float(np.sqrt((apart**2).mean() / 1.5))


def _labels(train: _Curve, development: _Curve) -> Iterator[tuple[str, str]]:
    """What is wrong, if anything, with the reason."""
    stuck = _not_converged(train)
    if stuck is None:
        yield from _threshold(train, development)
    else:
        yield "C4", stuck
    left = train.left
    if left < ZERO:
        yield "C5", f"training loss ends at {train.end:.3g}, {_percent(left)} of where it began"
    yield from _unstable(train, development)


def _not_converged(train: _Curve) -> str | None:
    """Why the learning rate is suspected, or None."""
    if train.end - train.low > LOST * train.fall:
        return (
            f"training loss came down to {train.low:.4g} and went back up to {train.end:.4g}: "
            "lower the learning rate"
        )
    if train.start - train.end < STUCK * abs(train.start):
        return (
            f"training loss went from {train.start:.4g} to {train.end:.4g}, a fall of less than "
            f"{STUCK:.0%}: the learning rate is far too low, or far too high"
        )
    return None


def _threshold(train: _Curve, development: _Curve) -> Iterator[tuple[str, str]]:
    """On which side of the overfitting threshold, in time and in capacity: C2, C3, C6."""
    if _overfits(development):
        low, end = development.low, development.end
        yield (
            "C2",
            (
                f"development loss was lowest, {low:.4g}, near step {development.at:g} and ends at "
                f"{end:.4g}: stop there, regularise, or take more data"
            ),
        )
    falls = development.gain()
    sure = falls > max(FALLING * development.fall, SURE * development.error)
    unfinished = sure and train.gain() > FALLING * train.fall
    if unfinished:
        yield (
            "C3",
            (
                f"the last quarter still took {falls / development.fall:.0%} of the whole fall off "
                "the development loss: train longer"
            ),
        )
    left = train.left
    if left > LARGE and not unfinished:
        yield (
            "C6",
            (
                f"training loss ends at {train.end:.4g}, {left:.0%} of where it began: take a "
                "larger model, unless the data hold no more"
            ),
        )


def _overfits(development: _Curve) -> bool:
    rises = min(RISES * development.fall, WORSE * abs(development.low))
    needed = max(rises, SLIGHT * development.fall, SURE * development.noise)
    return development.end - development.low > needed


def _unstable(train: _Curve, development: _Curve) -> Iterator[tuple[str, str]]:
    """C7 and C8; a development loss that shakes no more than the training loss is not blamed."""
    if train.unstable:
        yield (
            "C7",
            (
                f"training loss shakes by {_share(train)} from one part of the run to the next: "
                "lower the learning rate, or log a mean over more steps"
            ),
        )
    if development.unstable and development.jitter > LOUDER * train.jitter:
        yield (
            "C8",
            (
                f"development loss shakes by {_share(development)}, training loss by "
                f"{_share(train)}: average it over the whole development set"
            ),
        )


def _share(curve: _Curve) -> str:
    return f"{_percent(curve.jitter)} of its fall" if curve.jitter < 1.0 else "more than it fell"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= SEEN else f"less than {SEEN:.1%}"
