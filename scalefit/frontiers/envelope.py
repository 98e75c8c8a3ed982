"""Approach 1 of Hoffmann et al. 2022: the envelope of training curves, and a line through it.

arXiv:2203.15556, section 3.1. At every compute some size has the least loss of all curves; log N*
and log D* are each fitted a line in log C. What each variant misses and how often its intervals
held the truth is in docs/approaches.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from scalefit.errors import FitError
from scalefit.fitting.parametric import check_sampling
from scalefit.fitting.result import Fit, Point
from scalefit.frontiers.curves import LEAST_SIZES, Curves, Sizes, curves
from scalefit.frontiers.frontier import LEAST, frontier, line
from scalefit.frontiers.noise import Noise, noise
from scalefit.frontiers.readings import EDGES, READINGS, Optima, best
from scalefit.laws import FloatArray
from scalefit.quantities import format_count
from scalefit.runs import Runs

METHODS: Mapping[str, str] = {
    "noise": "every size's curve moved by as much noise as crossings and seeds show",
    "bootstrap": "whole runs drawn again",
}
BUDGETS = 1500  # of Hoffmann et al.
MANY = 8  # sizes: enough for draws of them to have most
EDGY = 0.05  # part of the budgets whose optimum may lie outside the sizes that is remarked on
SHRUNK = 0.1  # part of the spread of crossings that noise may make
LOST = 0.05  # part of the replicates that may have no line
BIASED = ("hull", "binned")


def envelope(
    runs: Runs,
    *,
    variant: str = "crossing",
    edges: bool = False,
    budgets: int = BUDGETS,
    warmup: float | None = None,
    interval: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Fit:
    """Fit N*(C), D*(C) and L*(C) through the envelope of training curves.

    A curve is the rows of one run. ``Fit.points`` holds every optimum, those left out with the
    reason; ``Fit.notes`` tells what else was left out, how much of the envelope the smallest and
    the largest size hold, and what the exponent would be through all of it.

    Args:
        runs: the table, from ``scalefit.read``; runs must be named.
        variant: "crossing", "minimum" (as published), "hull" or "binned"; see
            ``scalefit.frontiers.readings``.
        edges: use the sizes that the envelope begins and ends with too, as published, though they
            bend the exponent. Crossings have none.
        budgets: values of C at which curves are compared, evenly in the logarithm.
        warmup: share of its own compute that is left out at the start of each run; None leaves out
            what can be told to be warm-up.
        interval: "noise" or "bootstrap"; see ``METHODS``. None takes the one that held known truths
            more often: bootstrap for crossings of eight sizes or more, else noise.
        bootstrap: replicates; 0 for none.
        seed: of the replicates.
        level: confidence of the intervals, between 0 and 1.

    Raises:
        FitError: if there are no curves, or too few of them meet; the message says what to do.
    """
    _check(variant, budgets, warmup, interval or "noise", bootstrap, level)
    found = curves(runs, budgets=budgets, warmup=warmup)
    sizes = found.by_size()
    if interval is None:
        many = variant == "crossing" and len(sizes.log_n) >= MANY
        interval = "bootstrap" if many else "noise"
    if variant != "crossing":
        _check_envelope(sizes, runs.source)
    optima = _read(variant, sizes, edges=edges)
    if not len(optima.log_c):
        raise FitError(
            f"{runs.source}: no two neighbouring sizes have a curve at the same compute, so none "
            "overtakes another; train them longer, or fit with parametric"
        )
    known = noise(found, sizes)
    tables = _tables(found, sizes, known, interval, bootstrap, np.random.default_rng(seed))
    drawn = [_replicate(variant, table, optima, edges=edges) for table in tables]
    draws = np.array(drawn).reshape(len(drawn), len(optima.log_c), 3)
    order = np.argsort(optima.log_c, kind="stable")
    points = _points(sizes, optima, known if variant == "crossing" else None)
    return frontier(
        runs,
        [points[k] for k in order],
        draws[:, order],
        method="envelope",
        variant=variant,
        interval=interval,
        resampled="runs" if interval == "bootstrap" else "sizes",
        level=level,
        weights=optima.weights[order],
        notes=(
            *found.notes,
            *_edge_notes(sizes, optima, variant, edges=edges),
            *_noise_notes(known, interval),
            *_draw_notes(draws, variant, int(optima.used.sum())),
        ),
    )


def _check(
    variant: str,
    budgets: int,
    warmup: float | None,
    interval: str,
    bootstrap: int,
    level: float,
) -> None:
    for kind, name, known in (("variant", variant, READINGS), ("interval", interval, METHODS)):
        if name not in known:
            raise FitError(f"no {kind} of an envelope is {name!r}; there is {', '.join(known)}")
    if budgets < 2:
        raise FitError(f"curves cannot be compared at {budgets} budgets; take {BUDGETS}")
    if warmup is not None and not 0 <= warmup < 1:
        raise FitError(f"the warm-up is {warmup}; it is a share of each run, like 0.02")
    check_sampling(bootstrap, level)


def _check_envelope(sizes: Sizes, source: str) -> None:
    winner, _ = best(sizes)
    held = np.unique(winner[winner >= 0])
    if len(held) < LEAST_SIZES:
        listed = " and ".join(format_count(float(np.exp(sizes.log_n[k]))) for k in held)
        raise FitError(
            f"{source}: of {len(sizes.log_n)} sizes only {listed} are ever best at a compute, and "
            f"an exponent takes {LEAST_SIZES}; train sizes that are best between or beyond them, "
            "or fit with parametric"
        )


def _read(variant: str, sizes: Sizes, *, edges: bool) -> Optima:
    optima = READINGS[variant](sizes)
    if edges:
        kept = tuple("" if note in EDGES else note for note in optima.notes)
        return replace(optima, notes=kept)
    return optima


def _lines(optima: Optima) -> tuple[FloatArray, FloatArray]:
    """Level at log C = 0 and slope of the lines of log N* and log D*, each of shape (2,)."""
    values = np.stack([optima.log_n, optima.log_d])
    return line(optima.log_c, values, optima.weights * optima.used)


def _points(sizes: Sizes, optima: Optima, known: Noise | None) -> list[Point]:
    errors = np.full(len(optima.notes), np.nan)
    if known is not None:
        errors = known.errors * abs(_lines(optima)[1][0])
    loss = np.exp(_losses(sizes, optima))
    return [
        Point(
            flops=float(np.exp(optima.log_c[k])),
            params=float(np.exp(optima.log_n[k])) if np.isfinite(optima.log_d[k]) else None,
            tokens=_known(np.exp(optima.log_d[k])),
            loss=_known(loss[k]) if np.isfinite(optima.log_d[k]) else None,
            error=_known(errors[k]),
            rows=int(optima.runs[k]),
            note=note,
        )
        for k, note in enumerate(optima.notes)
    ]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _tables(
    found: Curves,
    sizes: Sizes,
    known: Noise,
    interval: str,
    count: int,
    rng: np.random.Generator,
) -> Iterator[Sizes | None]:
    """As the curves might have come out; None where too few were drawn."""
    if interval == "bootstrap":
        for _ in range(count):
            drawn = rng.multinomial(found.total, np.full(found.total, 1 / found.total))
            present = np.unique(found.size[drawn[found.run] > 0])
            yield found.by_size(drawn.astype(float)) if len(present) >= LEAST_SIZES else None
    elif known.freedom:
        for _ in range(count):
            scale = np.sqrt(known.variance * known.freedom / rng.chisquare(known.freedom))
            yield sizes.shifted(scale * rng.standard_normal(len(sizes.log_n)) / sizes.seeds**0.5)


def _losses(sizes: Sizes, optima: Optima) -> FloatArray:
    """Log L* at the log C of these optima, as known as it is at those that are used."""
    found = np.full(len(optima.log_c), np.nan)
    for part in (optima.used, ~optima.used):
        if part.any():
            found[part] = sizes.lowest(optima.log_c[part])
    return found


def _replicate(variant: str, table: Sizes | None, optima: Optima, *, edges: bool) -> FloatArray:
    """(log N*, log D*, log L*) of a table at the log C of those optima, by its own lines.

    Shape (optima, 3).
    """
    nothing = np.full((len(optima.log_c), 3), np.nan)
    if table is None:
        return nothing
    found = _read(variant, table, edges=edges)
    if found.used.sum() < LEAST:
        return nothing
    level, slope = _lines(found)
    lines = level + slope * optima.log_c[:, None]
    return np.column_stack([lines, _losses(table, optima)])


def _edge_notes(sizes: Sizes, optima: Optima, variant: str, *, edges: bool) -> Iterator[str]:
    winner, inner = best(sizes)
    there = winner >= 0
    share = float((~inner[there]).mean())
    if share < EDGY:
        return
    through_all = line(sizes.grid[there], sizes.log_n[winner[there]][None], np.ones(there.sum()))
    use = {"crossing": "crossings do not see them"}.get(variant, "they are left out")
    if edges and variant != "crossing":
        use = "they are used, and bend a"
    yield (
        f"at {share:.0%} of all budgets the best size is the smallest or the largest that has a "
        f"curve there, and a better one may lie beyond: {use} (a is {_lines(optima)[1][0]:.3f} "
        f"here, {through_all[1][0]:.3f} through all budgets)"
    )


def _noise_notes(known: Noise, interval: str) -> Iterator[str]:
    if not known.freedom:
        if interval == "noise":
            yield (
                "no seeds, and too few crossings to tell noise by, so there are no intervals: add "
                "sizes or seeds"
            )
        return
    source = "crossings" if known.beyond or not known.by_seeds else "crossings and seeds"
    more = " (more than seeds alone explain)" if known.beyond else ""
    yield (
        f"{source} show a noise of {known.variance**0.5:.2%} in the loss of a run{more}, with "
        f"{known.freedom} degrees of freedom"
    )
    if known.attenuation > SHRUNK:
        yield (
            f"that noise makes {known.attenuation:.0%} of how far crossings lie apart in compute: "
            "a is drawn toward 0 and the intervals are too narrow; add sizes farther apart, or "
            "seeds, or fit with parametric"
        )


def _draw_notes(draws: FloatArray, variant: str, used: int) -> Iterator[str]:
    if used == LEAST:
        yield "the line goes through two optima, and nothing tells whether others would lie on it"
    lost = float(np.isnan(draws[:, :1, 0]).mean()) if len(draws) else 0.0
    if lost > LOST:
        yield f"{lost:.0%} of the replicates have no line, so the intervals are those of the rest"
    if variant in BIASED:
        yield (
            f"{variant} is biased where runs are noisy and its intervals do not know of it; "
            "crossing is not"
        )
