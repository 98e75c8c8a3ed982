"""Back-tests: fit the runs below a compute, predict those above it, and see what came true."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from scalefit.diagnosis.residuals import residuals
from scalefit.errors import FitError
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Fit
from scalefit.laws import Flags, FloatArray, form_named, published
from scalefit.runs import Runs

SCHEMA = 1
FIRST, LAST = 0.5, 0.9  # quantiles of compute: the first and the last cut
PINNED = "besiroglu2024"  # whose E the pinned baseline takes
RATIO, NEAR = 20.0, 2.0  # tokens per parameter, and within which factor of it a run counts
LEAST = 3  # points below which no line is drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Runs as arrays of shape (runs,)."""

    params: FloatArray
    tokens: FloatArray
    flops: FloatArray
    loss: FloatArray

    @classmethod
    def of(cls, runs: Runs) -> "Points":
        """The quantities of a table."""
        names = ("params", "tokens", "flops", "loss")
        return cls(**{name: runs.frame[name].to_numpy(dtype=np.float64) for name in names})

    def select(self, rows: Flags) -> "Points":
        """Some of them."""
        return Points(
            params=self.params[rows],
            tokens=self.tokens[rows],
            flops=self.flops[rows],
            loss=self.loss[rows],
        )

    def best(self) -> Flags:
        """Whether no other run of as little compute had a lower loss: the lower envelope."""
        order = np.lexsort((self.loss, self.flops))
        loss = self.loss[order]
        before = np.minimum.accumulate(np.concatenate([[np.inf], loss[:-1]]))
        found = np.empty(len(loss), dtype=bool)
        found[order] = loss < before
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How one predictor did above one cut; errors are log(measured) - log(predicted).

    Attributes:
        predictor: who.
        bias, rms: mean and root mean square error over all rows above the cut; a positive bias
            means that the runs came out worse than predicted.
        best_bias, best_rms: over those of them that no run of as little compute had beaten, which
            is all that a law of compute alone speaks of; None if none was.
        coverage: share of the rows inside their prediction interval, None for a bare number.
    """

    predictor: str
    bias: float
    rms: float
    best_bias: float | None
    best_rms: float | None
    coverage: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One cut through compute.

    Attributes:
        flops: rows of at most this compute were fitted.
        fitted, predicted, best: rows below, rows above, and how many of those were the best yet.
        reach: the largest compute predicted over the largest fitted.
        forecasts: the law first, then the baselines that could be drawn.
    """

    flops: float
    fitted: int
    predicted: int
    best: int
    reach: float
    forecasts: tuple[Forecast, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """All cuts; ``skipped`` says why some could not be fitted."""

    source: str
    level: float
    cuts: tuple[Cut, ...]
    skipped: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit backtest --json``."""
        return {"schema": SCHEMA, **asdict(self)}


def backtest(
    runs: Runs,
    *,
    cuts: int = 4,
    form: str = "chinchilla",
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    bootstrap: int = 400,
    seed: int = 0,
    level: float = 0.95,
) -> Backtest:
    """Fit the runs up to expanding cuts of compute and predict all runs above each.

    Cuts lie at quantiles of compute, evenly from one half to nine tenths. The prediction interval
    of a row holds two uncertainties: every bootstrap replicate predicts it, and adds a residual
    drawn from those of the fit, widened by sqrt(rows / (rows - parameters)) for the parameters
    that were fitted to them. It knows nothing of a law that bends: that is what is tested.

    Baselines, each a straight line or a number: "power law in C" and "pinned E" (log(L - E)
    against log C with E = 0, and with the E of Besiroglu et al. 2024, which is hindsight on the
    runs of Hoffmann et al.) through the best runs below the cut; "20 tokens per parameter", the
    same with E = 0 through the runs within a factor of two of that ratio; "last value", the lowest
    loss below the cut.

    Raises:
        FitError: if no cut leaves enough on both sides; the message says what is missing.
    """
    if not form_named(form).surface:
        raise FitError(f"a back-test is of a law of N and D, and {form} is none")
    if cuts < 1:
        raise FitError(f"{cuts} cuts test nothing; ask for one or more")
    learn = partial(
        fit, form=form, objective=objective, delta=delta, bootstrap=max(bootstrap, 2), seed=seed
    )
    done, skipped = [], []
    for at in places(runs, cuts):
        try:
            done.append(_cut(runs, at, learn, seed, level))
        except FitError as error:
            skipped.append(f"C up to {at:.3g}: {error}")
    if not done:
        reason = skipped[-1] if skipped else f"{runs.source} has one compute only"
        raise FitError(f"no cut of compute leaves runs to fit and runs to predict ({reason})")
    return Backtest(source=runs.source, level=level, cuts=tuple(done), skipped=tuple(skipped))


def predict(
    fitted: Fit, runs: Runs, points: Points, *, seed: int, level: float
) -> tuple[FloatArray, FloatArray]:
    """Limits of the loss of new runs, low and high, each of shape (points,).

    ``runs`` are those that were fitted; their residuals are the noise.
    """
    rng = np.random.default_rng(seed)
    noise = residuals(fitted.law, runs)
    rows, parameters = len(noise), fitted.draws.shape[1]
    noise = (noise - noise.mean()) * np.sqrt(rows / (rows - parameters)) + noise.mean()
    theta = fitted.draws[:, None, :]
    curves = np.log(fitted.law.form.predict(theta, points.params, points.tokens))
    tail = (1 - level) / 2
    low, high = np.exp(
        np.quantile(curves + rng.choice(noise, size=curves.shape), [tail, 1 - tail], axis=0)
    )
    return low, high


def places(runs: Runs, cuts: int, axis: str = "flops") -> list[float]:
    """Where to cut compute (or another axis), ascending; below the largest, and each but once."""
    values = runs.frame[axis].to_numpy(dtype=np.float64)
    found = np.quantile(values, np.linspace(FIRST, LAST, cuts), method="lower")
    return [float(place) for place in np.unique(found[found < values.max()])]


def _cut(runs: Runs, at: float, learn: Callable[[Runs], Fit], seed: int, level: float) -> Cut:
    points = Points.of(runs)
    above = points.flops > at
    below = runs.only(~above, "above the cut")
    fitted = learn(below)
    known, new = points.select(~above), points.select(above)
    best = points.best()[above]
    low, high = predict(fitted, below, new, seed=seed, level=level)
    held = float(((new.loss >= low) & (new.loss <= high)).mean())
    law = _forecast(fitted.law.form.name, fitted.law.loss(new.params, new.tokens), new, best, held)
    naive = [_forecast(name, guess, new, best, None) for name, guess in _baselines(known, new)]
    return Cut(
        flops=at,
        fitted=len(known.loss),
        predicted=len(new.loss),
        best=int(best.sum()),
        reach=float(new.flops.max() / known.flops.max()),
        forecasts=(law, *naive),
    )


def _baselines(known: Points, new: Points) -> Iterator[tuple[str, FloatArray]]:
    """Predictions of the new runs by the naive rules that the known runs allow."""
    best = known.select(known.best())
    ratio = np.abs(np.log(known.tokens / known.params / RATIO)) <= np.log(NEAR)
    near = known.select(np.asarray(ratio))
    lines: Mapping[str, tuple[Points, float]] = {
        "power law in C": (best, 0.0),
        "pinned E": (best, published(PINNED).params["E"]),
        "20 tokens per parameter": (near, 0.0),
    }
    for name, (points, floor) in lines.items():
        if len(np.unique(points.flops)) >= LEAST and points.loss.min() > floor:
            slope, level = np.polyfit(np.log(points.flops), np.log(points.loss - floor), 1)
            yield name, floor + np.exp(level + slope * np.log(new.flops))
    yield "last value", np.full(len(new.loss), known.loss.min())


def _forecast(
    predictor: str, guess: FloatArray, new: Points, best: Flags, coverage: float | None
) -> Forecast:
    error = np.log(new.loss) - np.log(guess)
    bias, rms = _moments(error)
    best_bias, best_rms = _moments(error[best]) if best.any() else (None, None)
    return Forecast(
        predictor=predictor,
        bias=bias,
        rms=rms,
        best_bias=best_bias,
        best_rms=best_rms,
        coverage=coverage,
    )


def _moments(error: FloatArray) -> tuple[float, float]:
    return float(error.mean()), float(np.sqrt((error**2).mean()))
