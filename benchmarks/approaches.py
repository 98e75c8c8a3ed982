"""How often the intervals of approach 2 hold the truth, and how far it misses without noise.

    python benchmarks/approaches.py isoflop [--sims 200] [--replicates 300] [--cells iid-4x7,...]
    python benchmarks/approaches.py bias

Tables of a known law: nine budgets from 6e18 to 3e21 FLOP, at each so many sizes evenly in log N
within a factor of the optimum ("4x7" is seven sizes within a factor of four). What is asked for is
the exponent a and ln N* at ten times the largest budget. Seeds are fixed: a cell gives the same
numbers whatever other cells are run.
"""

import argparse
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from scalefit.frontiers.bias import VARIANTS, inside, named, predicted_bias
from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.frontier import line
from scalefit.frontiers.isoflop import sampled
from scalefit.laws import FORMS, FloatArray, Law

FORM = FORMS["chinchilla"]
EPOCH = (1.8172180990, 477.8258682, 2143.4173634, 0.3473104989, 0.3671724326)
SKEWED = (1.8, 2000.0, 60.0, 0.50, 0.25)
CHINCHILLA = (1.69, 406.4, 410.7, 0.34, 0.28)
FLOPS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
PLACE = np.linspace(-1, 1, len(FLOPS))
FAR, LEVEL = 10.0, 0.95
Noise = Callable[[FloatArray, int, np.random.Generator], FloatArray]
Limits = tuple[FloatArray, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A truth and how it is measured.

    Attributes:
        law: the constants (E, A, B, alpha, beta).
        around, sizes: of the profiles.
        sd: of log loss.
        noise: draws the errors of a budget in units of sd, from the places of its sizes (-1 to 1)
            and its number.
        drift: how far the sizes lie from the optimum at the largest budget, in log N, and on its
            other side at the smallest.
        scatter: standard deviation of each budget's own shift of the optimum, in log N.
    """

    law: tuple[float, ...] = EPOCH
    around: float = 4.0
    sizes: int = 7
    sd: float = 0.003
    noise: Noise = lambda at, _, rng: rng.standard_normal(len(at))
    drift: float = 0.0
    scatter: float = 0.0


CELLS = {
    "iid-4x7": Cell(),
    "iid-4x9-loud": Cell(sizes=9, sd=0.01),
    "iid-4x5": Cell(sizes=5),
    "iid-8x9": Cell(around=8.0, sizes=9),
    "iid-16x7-loud": Cell(around=16.0, sd=0.01),
    "iid-16x9": Cell(around=16.0, sizes=9),
    "t3-4x7": Cell(noise=lambda at, _, rng: rng.standard_t(3, len(at)) / np.sqrt(3)),
    "edges-4x7": Cell(
        noise=lambda at, k, rng: rng.standard_normal(len(at)) * (0.5 + 2.5 * PLACE[k] ** 2)
    ),
    "wings-4x7": Cell(noise=lambda at, _, rng: rng.standard_normal(len(at)) * (0.5 + 2.5 * at**2)),
    "scatter-4x7": Cell(scatter=0.1),
    "drift-4x9": Cell(sizes=9, drift=1.0),
    "skewed-4x9": Cell(law=SKEWED, sizes=9),
    "skewed-16x9": Cell(law=SKEWED, around=16.0, sizes=9),
    "skewed-drift-16x9": Cell(law=SKEWED, around=16.0, sizes=9, drift=1.0),
}


def table(cell: Cell, rng: np.random.Generator) -> list[Profile]:
    """One table of the cell, by budget."""
    theta, at = np.array(cell.law), np.linspace(-1, 1, cell.sizes)
    rows = np.arange(cell.sizes)
    found = []
    for k, flops in enumerate(FLOPS):
        best = float(FORM.optimum(theta, np.asarray(flops)).params)
        log_n = np.log(best) + np.log(cell.around) * at + cell.drift * PLACE[k]
        seen = np.exp(log_n - cell.scatter * rng.standard_normal())
        loss = FORM.predict(theta, seen, flops / 6 / seen)
        found.append(
            Profile(
                flops=float(flops),
                rows=rows + k * cell.sizes,
                log_params=log_n,
                log_tokens=np.log(flops / 6) - log_n,
                loss=loss * np.exp(cell.sd * cell.noise(at, k, rng)),
                size=rows,
                run=rows + k * cell.sizes,
            )
        )
    return found


def measure(
    cell: Cell, variant: str, replicates: int, rng: np.random.Generator, seed: int
) -> dict[str, tuple[FloatArray, Limits]]:
    """By method the estimate of (a, ln N*) and its limits, on one table."""
    kind, profiles = named(variant), table(cell, rng)
    minima = kind.vertices(profiles, [p.loss[None] for p in profiles])
    used = inside(profiles, minima.log_params[0])
    profiles = [
        profile if good else replace(profile, note="no minimum inside")
        for profile, good in zip(profiles, used, strict=True)
    ]
    far = np.log(FAR * FLOPS[-1])
    weights = used * kind.weights(profiles)

    def lined(log_n: FloatArray) -> FloatArray:
        level, slope = line(np.log(FLOPS) - far, log_n, weights)
        return np.stack([slope, level], axis=-1)

    best = lined(minima.log_params)[0]
    found = {}
    if variant != "joint":  # whose minima lie on their line, whatever the noise
        found["line"] = best, classical(minima.log_params[0], weights, best, far)
    for name, noise in (("residuals", None), ("noise", 0.002)):
        drawn = sampled(kind, profiles, minima, noise=noise, count=replicates, seed=seed)
        found[name] = best, quantiles(lined(drawn.draws[..., 0]))
    return found


def classical(log_n: FloatArray, weights: FloatArray, best: FloatArray, far: float) -> Limits:
    """Student's limits of a and ln N* from the scatter of the optima about their line."""
    kept = weights > 0
    x, w = np.log(FLOPS)[kept] - far, weights[kept]
    middle = np.average(x, weights=w)
    spread = (w * (x - middle) ** 2).sum()
    freedom = max(int(kept.sum()) - 2, 1)
    residual = log_n[kept] - best[1] - best[0] * x
    sd = np.sqrt((w * residual**2).sum() / freedom)
    half = student.ppf((1 + LEVEL) / 2, freedom) * sd
    width = half * np.sqrt([1 / spread, 1 / w.sum() + middle**2 / spread])
    return best - width, best + width


def quantiles(draws: FloatArray) -> Limits:
    """Percentile limits of draws (replicates, 2)."""
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def study(name: str, variant: str, sims: int, replicates: int) -> Iterator[str]:
    """Rows of the table of coverage for one cell and variant."""
    cell = CELLS[name]
    rng = np.random.default_rng(zlib.crc32(f"{name} {variant}".encode()))
    theta = np.array(cell.law)
    best = FORM.optimum(theta, np.asarray(FAR * FLOPS[-1]))
    truth = np.array([float(FORM.exponents(theta)[0]), float(np.log(best.params))])
    results: dict[str, list[FloatArray]] = {}
    for sim in range(sims):
        for method, (value, (low, high)) in measure(cell, variant, replicates, rng, sim).items():
            held = (low <= truth) & (truth <= high)
            results.setdefault(method, []).append(
                np.stack([held, high - low, value - truth]).astype(np.float64)
            )
    for method, entries in results.items():
        held, width, error = np.moveaxis(np.array(entries), 1, 0)
        cover, wide, off = held.mean(axis=0), np.median(width, axis=0), error.mean(axis=0)
        rmse = np.sqrt((error**2).mean(axis=0))
        yield (
            f"| {name} | {variant} | {method} | {cover[0]:.3f} | {cover[1]:.3f} "
            f"| {wide[0]:.4f} | {off[0]:+.4f} | {off[1]:+.3f} | {rmse[0]:.4f} | {rmse[1]:.3f} |"
        )


def coverage(cells: list[str], variants: list[str], sims: int, replicates: int) -> None:
    """Print the table of coverage."""
    heading = [*("cell", "variant", "method", "a", "ln N*", "width of a"), "bias of a", "of ln N*"]
    heading += ["RMSE of a", "of ln N*"]
    print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for name in cells:
        for variant in variants:
            start = time.perf_counter()
            for row in study(name, variant, sims, replicates):
                print(row, flush=True)
            print(f"<!-- {time.perf_counter() - start:.0f} s -->", flush=True)


def bias() -> None:
    """Print the error of D* at 1e24 FLOP of noise-free budgets 1e17 to 1e21 with 15 sizes each."""
    widths = (2.0, 4.0, 8.0, 16.0)
    heading = ["law", "variant", *(f"within {width:g}" for width in widths)]
    print(f"| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for name, theta in (("alpha .34, beta .28", CHINCHILLA), ("alpha .50, beta .25", SKEWED)):
        law = Law(name=name, form=FORM, params=dict(zip(FORM.parameters, theta, strict=True)))
        for variant in VARIANTS:
            off = [
                predicted_bias(
                    law, flops=np.logspace(17, 21, 5), around=width, sizes=15, variant=variant,
                    at=1e24,
                ).tokens_there
                for width in widths
            ]  # fmt: skip
            print(f"| {name} | {variant} | {' | '.join(f'{x:+.3%}' for x in off)} |")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=("isoflop", "bias"))
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--sims", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=300)
    asked = parser.parse_args()
    if asked.part == "bias":
        bias()
        return
    coverage(asked.cells.split(","), asked.variants.split(","), asked.sims, asked.replicates)


if __name__ == "__main__":
    main()
