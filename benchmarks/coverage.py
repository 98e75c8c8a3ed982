"""How often nominal 95 % intervals hold the truth: each method on tables of a known law.

    python benchmarks/coverage.py [--sims 200] [--replicates 300] [--cells iid-40,cluster-240]

The law is the one fitted to the runs of Hoffmann et al. 2022 by Besiroglu et al. 2024; what is
asked for is alpha, beta, a and ln N* at ten times the largest compute. A table of 40 rows has 10
model sizes at 4 token counts each, one of 240 has 40 at 6, and a model size is a run. The cells
"real" take the published runs themselves, each with its own residual under a random sign, and are
left out where that table is not at hand (SCALEFIT_PUBLISHED names its folder). HC3 and the wild
bootstrap go by run where rows share runs, as the profile does. Seeds are fixed: a cell gives the
same numbers whatever other cells are run, so an interrupted study goes on with ``--cells``.
"""

import argparse
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalefit.fitting.bootstrap import Units, by_size, replicate, replicate_wild
from scalefit.fitting.objective import LEAST_SQUARES, Objective, huber
from scalefit.fitting.optimum import find
from scalefit.fitting.profile import profile
from scalefit.fitting.sandwich import sandwich
from scalefit.fitting.targets import Target, planned, target
from scalefit.laws import FORMS, FloatArray
from scalefit.runs import read

FORM = FORMS["chinchilla"]
LAW = np.array([1.8172180990, 477.8258682, 2143.4173634, 0.3473104989, 0.3671724326])
SIGMA = 0.006  # of log loss; that of the published runs
LEVEL = 0.95
SHARED = 0.3  # part of the variance that the rows of a run share
SHAPES = {40: (10, 4), 240: (40, 6)}
FAR = 10.0  # times the largest compute: where the plan is asked for
ASKED = ("alpha", "beta", "a", "ln N*")
Limits = tuple[float | None, float | None]
OBJECTIVES: Mapping[str, Objective] = {"huber-log": huber(), "mse-log": LEAST_SQUARES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A kind of noise on a set of runs.

    Attributes:
        name: kind and rows, like "iid-40".
        params, tokens: of the runs, shape (rows,).
        run: the run of each row where rows share noise, else None.
        noise: draws the errors of log loss, shape (rows,).
    """

    name: str
    params: FloatArray
    tokens: FloatArray
    run: Units | None
    noise: Callable[[np.random.Generator], FloatArray]


def grid(rows: int) -> tuple[FloatArray, FloatArray]:
    """Model sizes, each at several token counts."""
    sizes, counts = SHAPES[rows]
    params, tokens = np.meshgrid(
        np.geomspace(5e7, 1.5e10, sizes), np.geomspace(1e9, 4e11, counts), indexing="ij"
    )
    return params.ravel(), tokens.ravel()


def gridded(kind: str, rows: int) -> Cell:
    """A cell on the grid."""
    params, tokens = grid(rows)
    run = by_size(params)
    place: FloatArray = np.log(params * tokens)
    edge = (2 * (place - place.min()) / np.ptp(place) - 1) ** 2

    def noise(rng: np.random.Generator) -> FloatArray:
        if kind == "t3":
            heavy: FloatArray = SIGMA * rng.standard_t(3, size=rows) / np.sqrt(3)
            return heavy
        own = rng.standard_normal(rows)
        if kind == "cluster":
            shared = rng.standard_normal(int(run.max()) + 1)[run]
            own = np.sqrt(1 - SHARED) * own + np.sqrt(SHARED) * shared
        return SIGMA * own * (0.5 + 2.5 * edge if kind == "edges" else 1.0)

    return Cell(
        name=f"{kind}-{rows}",
        params=params,
        tokens=tokens,
        run=run if kind == "cluster" else None,
        noise=noise,
    )


def real(rows: int, table: Path) -> Cell:
    """A cell of published runs, evenly taken by compute, with their own residuals."""
    frame = read(table).without_highest(5).frame.sort_values("flops")
    frame = frame.iloc[:: len(frame) // rows]
    params, tokens, loss = (frame[c].to_numpy(float) for c in ("params", "tokens", "loss"))
    residual = np.log(loss / FORM.predict(LAW, params, tokens))
    return Cell(
        name=f"real-{rows}",
        params=params,
        tokens=tokens,
        run=None,
        noise=lambda rng: residual * rng.choice([-1.0, 1.0], size=len(residual)),
    )


def cells() -> list[Cell]:
    """All there are, the small ones first."""
    folder = os.environ.get("SCALEFIT_PUBLISHED", Path(__file__).parents[2] / "shared/published")
    table = Path(folder) / "chinchilla_epoch.parquet"
    kinds = ("iid", "t3", "cluster", "edges")
    found = [gridded(kind, rows) for rows in SHAPES for kind in kinds]
    return [*found, *(real(rows, table) for rows in SHAPES)] if table.exists() else found


def asked(cell: Cell) -> list[Target]:
    """What each interval is about."""
    largest = float((6 * cell.params * cell.tokens).max())
    exponents = [target(FORM, name) for name in ASKED[:-1]]
    return [*exponents, planned(FORM, "params", FAR * largest)]


def methods(
    cell: Cell, objective: Objective, rng: np.random.Generator, replicates: int
) -> Mapping[str, Callable[[], list[Limits]]]:
    """One table of the cell, and each method's intervals on it."""
    loss = FORM.predict(LAW, cell.params, cell.tokens) * np.exp(cell.noise(rng))
    runs = cell.params, cell.tokens, loss
    models = FORM.models(*runs)
    best = find(models, objective, np.ones(len(loss)))
    goals, local = asked(cell), sandwich(models, objective, best, cell.run)
    seed = int(rng.integers(2**31))

    def resampled(cluster: Units | None) -> list[Limits]:
        draws = replicate(models, objective, best, cluster, count=replicates, seed=seed)
        return percentiles(draws, goals)

    def wild() -> list[Limits]:
        draws = replicate_wild(
            FORM, FORM.models, runs, objective, best, cell.run, count=replicates, seed=seed
        )
        return percentiles(draws, goals)

    def profiled(goal: Target) -> Limits:
        return profile(models, objective, best, FORM, goal, LEVEL, cluster=cell.run)

    return {
        "pairs": lambda: resampled(None),
        "by size": lambda: resampled(by_size(cell.params)),
        "wild": wild,
        "HC3": lambda: [local.interval(goal, LEVEL) for goal in goals],
        "profile": lambda: [profiled(goal) for goal in goals],
    }


def percentiles(draws: FloatArray, goals: list[Target]) -> list[Limits]:
    """Percentile intervals."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    limits = [np.quantile(goal.scaled(draws), tails) for goal in goals]
    return [
        (goal.unscaled(low), goal.unscaled(high))
        for goal, (low, high) in zip(goals, limits, strict=True)
    ]


def measure(cell: Cell, objective: Objective, sims: int, replicates: int) -> Iterator[list[str]]:
    """The rows of the cell in the table, a method each; the default one is marked."""
    goals = asked(cell)
    truth = [goal.unscaled(float(goal.scaled(LAW))) for goal in goals]
    held: dict[str, list[list[bool]]] = {}
    width: dict[str, list[float]] = {}
    for number in range(sims):
        rng = np.random.default_rng([zlib.crc32(cell.name.encode()), number])
        for name, intervals in methods(cell, objective, rng, replicates).items():
            limits = intervals()
            hits = [holds(limit, value) for limit, value in zip(limits, truth, strict=True)]
            held.setdefault(name, []).append(hits)
            low, high = limits[ASKED.index("a")]
            span = np.inf if low is None or high is None else high - low
            width.setdefault(name, []).append(span)
    default = "pairs" if cell.run is None else "by size"
    for name, shares in held.items():
        relative = np.median(width[name]) / np.median(width[default])
        share = [f"{x:.3f}" for x in np.mean(shares, axis=0)]
        yield [cell.name, name + " *" * (name == default), *share, f"{relative:.2f}"]


def holds(limits: Limits, value: float) -> bool:
    """Whether an interval holds a value; a side without a limit is open."""
    low, high = limits
    return (low is None or low <= value) and (high is None or value <= high)


def main() -> None:
    """Print the table."""
    found = {cell.name: cell for cell in cells()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sims", type=int, default=200, help="tables a cell")
    parser.add_argument("--replicates", type=int, default=300, help="resamples an interval")
    parser.add_argument("--cells", default=",".join(found), help="which, by name")
    parser.add_argument("--objective", choices=list(OBJECTIVES), default="huber-log")
    asked_for = parser.parse_args()
    unknown = set(asked_for.cells.split(",")) - set(found)
    if unknown:
        parser.error(f"no cell is called {', '.join(unknown)}; there is {', '.join(found)}")
    objective, sims = OBJECTIVES[asked_for.objective], asked_for.sims
    error = np.sqrt(LEVEL * (1 - LEVEL) / sims)
    print(f"{asked_for.objective}, {sims} tables a cell, {asked_for.replicates} replicates each;")
    print("* the default method; the width is relative to its own, by medians;")
    print(f"binomial standard error at {LEVEL}: {error:.3f}; at 0.90: {np.sqrt(0.09 / sims):.3f}\n")
    print("| cell | method | " + " | ".join(ASKED) + " | width of a |")
    print("|---|---|" + "---|" * (len(ASKED) + 1))
    begun = time.perf_counter()
    for name in asked_for.cells.split(","):
        for row in measure(found[name], objective, sims, asked_for.replicates):
            print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
