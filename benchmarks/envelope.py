"""How far approach 1 misses and how often its intervals hold the truth, on curves of a known law.

    python benchmarks/envelope.py [--sims 200] [--replicates 200] [--cells ratio-9-0.3,edge-9-0.3]

The law is the one fitted to the runs of Hoffmann et al. 2022 by Besiroglu et al. 2024. A cell
"KIND-SIZES-NOISE" has so many sizes and noise of so many per cent of the loss in each run, the same
all along its curve; "x3" after the sizes gives each size three seeds. Kinds:

- grid: 50M to 10B parameters, every size on 1e9 to 4e11 tokens;
- ratio: the same sizes, each on 1 to 200 tokens a parameter;
- edge: 200M to 3B parameters, each from 1e18 to 1e22 FLOP, where the best size is 100M to 10B;
- short: 50M to 1B parameters on 1e9 to 1.6e10 tokens, 5 checkpoints a factor of two apart;
- points: as grid, with noise of the same size in each checkpoint as well.

Of every variant: bias and standard deviation of a over the tables, and of the intervals of a and of
ln N* at ten times the largest compute the share that holds the truth. Seeds are fixed: a cell gives
the same numbers whatever other cells are run.
"""

import argparse
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scalefit.errors import FitError
from scalefit.fitting.result import Fit
from scalefit.frontiers.envelope import envelope
from scalefit.laws import FloatArray, published
from scalefit.runs import Runs

LAW = published("besiroglu2024")
LEVEL = 0.95
FAR = 10.0  # times the largest compute: where the plan is asked for
CHECKPOINTS = 40
METHODS: Mapping[str, Mapping[str, object]] = {
    "crossing, noise": {"variant": "crossing", "interval": "noise"},
    "crossing, bootstrap": {"variant": "crossing", "interval": "bootstrap"},
    "minimum, noise": {"variant": "minimum", "interval": "noise"},
    "minimum with edges, noise": {"variant": "minimum", "interval": "noise", "edges": True},
    "hull, noise": {"variant": "hull", "interval": "noise"},
    "binned, noise": {"variant": "binned", "interval": "noise"},
}
CELLS = [
    *(f"{kind}-{sizes}-{noise}" for kind in ("grid", "ratio", "edge") for sizes in (9, 20)
      for noise in ("0", "0.3", "1")),
    "grid-5-0.3", "edge-5-0.3", "grid-9x3-0.3", "grid-9x3-1",
    "short-5x3-0", "short-5x3-0.3", "short-5x3-1", "points-9-0.3",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A design and its noise in log loss."""

    name: str
    kind: str
    sizes: int
    seeds: int
    noise: float

    @classmethod
    def named(cls, name: str) -> "Cell":
        """The cell that a name like "grid-9x3-0.3" says."""
        kind, sizes, noise = name.split("-")
        count, _, seeds = sizes.partition("x")
        return cls(
            name=name, kind=kind, sizes=int(count), seeds=int(seeds or 1), noise=float(noise) / 100
        )

    def design(self) -> tuple[FloatArray, list[FloatArray]]:
        """N of each size, and the D of its checkpoints."""
        ends = {"edge": (2e8, 3e9), "short": (5e7, 1e9)}.get(self.kind, (5e7, 1e10))
        params = np.geomspace(*ends, self.sizes)
        if self.kind == "ratio":
            return params, [n * np.geomspace(1, 200, CHECKPOINTS) for n in params]
        if self.kind == "edge":
            return params, [np.geomspace(1e18, 1e22, CHECKPOINTS) / 6 / n for n in params]
        if self.kind == "short":
            return params, [np.geomspace(1e9, 1.6e10, 5)] * self.sizes
        return params, [np.geomspace(1e9, 4e11, CHECKPOINTS)] * self.sizes

    def table(self, number: int) -> Runs:
        """One table of the cell."""
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), number])
        parts = []
        for n, d in zip(*self.design(), strict=True):
            for seed in range(self.seeds):
                error = np.full(len(d), rng.standard_normal())
                if self.kind == "points":
                    error = error + rng.standard_normal(len(d))
                loss = LAW.loss(n, d) * np.exp(self.noise * error)
                columns = {"tokens": d, "flops": 6 * n * d, "loss": loss}
                parts.append(
                    pd.DataFrame(columns).assign(run_id=f"{n} {seed}", params=n, seed=seed)
                )
        frame = pd.concat(parts, ignore_index=True)
        return Runs(frame=frame, source=self.name, params_kind="total")


def fitted(runs: Runs, replicates: int, method: Mapping[str, object]) -> Fit | None:
    """The fit, None where there is none."""
    try:
        return envelope(runs, bootstrap=replicates, level=LEVEL, **method)  # type: ignore[arg-type]
    except FitError:
        return None


def measure(cell: Cell, sims: int, replicates: int, methods: Sequence[str]) -> Iterator[list[str]]:
    """The rows of the cell in the table, a method each."""
    sims = sims if cell.noise else 1
    tables = [cell.table(number) for number in range(sims)]
    far = FAR * max(float(runs.frame["flops"].max()) for runs in tables)
    truth = float(LAW.form.exponents(LAW.theta)[0]), float(np.log(LAW.optimum(far).params))
    for name in methods:
        method = METHODS[name]
        found = [fitted(runs, replicates if cell.noise else 0, method) for runs in tables]
        kept = [fit for fit in found if fit is not None]
        if not kept:
            yield [cell.name, name, *["—"] * 7]
            continue
        a = np.array([fit.intervals["a"].value for fit in kept]) - truth[0]
        yield [
            cell.name,
            name,
            f"{a.mean():+.4f}",
            *(covered(kept, a, far, truth) if cell.noise else ["—"] * 4),
            f"{1 - len(kept) / sims:.0%}",
            f"{np.mean([any('drawn toward 0' in n for n in fit.notes) for fit in kept]):.0%}",
        ]


def covered(
    kept: list[Fit], misses: FloatArray, far: float, truth: tuple[float, float]
) -> list[str]:
    """Standard deviation of a, share of a and of ln N* held, and the median width for a."""
    spans = np.array([limits(fit, far) for fit in kept])
    held = (spans[..., 0] <= truth) & (truth <= spans[..., 1])
    width = np.median(spans[:, 0, 1] - spans[:, 0, 0])
    return [f"{misses.std():.4f}", *(f"{x:.3f}" for x in held.mean(axis=0)), f"{width:.3f}"]


def limits(fit: Fit, far: float) -> list[tuple[float, float]]:
    """The interval of a and that of ln N* far out; a side without a limit is open."""
    a = fit.intervals["a"]
    open_ended = (-np.inf, np.inf)
    if a.low is None or a.high is None:
        return [open_ended, open_ended]
    with np.errstate(over="ignore"):
        drawn = np.log(fit.law.form.optimum(fit.draws, np.array(far)).params)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [(a.low, a.high), (float(low), float(high))]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sims", type=int, default=200, help="tables a cell")
    parser.add_argument("--replicates", type=int, default=200, help="of an interval")
    parser.add_argument("--cells", default=",".join(CELLS), help="which, by name")
    parser.add_argument("--variants", default="", help="which, by how their name begins")
    asked = parser.parse_args()
    methods = [name for name in METHODS if name.startswith(asked.variants)]
    error = np.sqrt(LEVEL * (1 - LEVEL) / asked.sims)
    print(
        f"{asked.sims} tables a cell, {asked.replicates} replicates each; the default is crossing,"
    )
    print("by bootstrap from eight sizes on and by noise below;")
    print(f"binomial standard error at {LEVEL}: {error:.3f}; no fit: share of tables without;")
    print("told: share of tables whose notes say that a is drawn toward 0\n")
    print("| cell | variant | bias of a | sd of a | holds a | holds N* | width | no fit | told |")
    print("|---|---|---|---|---|---|---|---|---|")
    begun = time.perf_counter()
    for name in asked.cells.split(","):
        for row in measure(Cell.named(name), asked.sims, asked.replicates, methods):
            print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
