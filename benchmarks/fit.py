"""How fast is a fit? Ratios against what the field uses, alternated in one run, one thread.

    OMP_NUM_THREADS=1 python benchmarks/fit.py [TABLE]

TABLE holds the 245 runs of Besiroglu et al. 2024 (its five highest losses are dropped); without it
240 runs are simulated from their law. Only ratios mean something: absolute times are the machine's.
The `chinchilla` package is measured when it is installed.
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares, minimize

from scalefit.fitting.bootstrap import replicate
from scalefit.fitting.objective import huber
from scalefit.fitting.optimum import find
from scalefit.laws import FORMS, published
from scalefit.runs import read
from scalefit.simulate import Noise, simulate

DELTA = 1e-3
FORM = FORMS["chinchilla"]
EXPONENT, FLOOR, AMPLITUDE = np.linspace(0, 2, 5), np.linspace(-1, 1, 5), np.linspace(0, 25, 6)
STARTS = list(itertools.product(EXPONENT, EXPONENT, FLOOR, AMPLITUDE, AMPLITUDE))
"""Hoffmann et al.'s 4500 starts: alpha, beta, e, a, b (section D.3)."""

Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    columns = from_table(asked.table) if asked.table else simulated(240)
    print(f"{len(columns[0])} runs, {asked.rounds} alternated rounds, medians of CPU time\n")
    print("| task | the other way | ratio | asked |\n|---|---|---|---|")
    for row in rows(columns, asked.rounds):
        print(row)


def rows(columns: Columns, rounds: int) -> Iterator[str]:
    """One line a comparison."""
    models, objective = FORM.models(*columns), huber(DELTA)
    ones = np.ones(models[0].rows)
    best = find(models, objective, ones)
    rng = np.random.default_rng(0)

    def search() -> None:
        find(FORM.models(*columns), objective, ones)

    def numeric() -> float:
        chosen = rng.choice(len(STARTS), 8, replace=False)
        for k in chosen:
            minimize(summed, STARTS[k], args=(columns,), method="L-BFGS-B")
        return len(STARTS) / len(chosen)

    ours, theirs = alternated(search, numeric, rounds)
    yield line("full search", "4500 starts of L-BFGS-B, numeric gradient", theirs / ours, "10000")

    def replicates() -> float:
        count = 1024
        replicate(models, objective, best, None, count=count, seed=1)
        return 1 / count

    start = coordinates(best.natural)

    def trf() -> float:
        count = 16
        for _ in range(count):
            weigh = rng.multinomial(len(ones), ones / len(ones))
            kept = weigh > 0
            data, root = [c[kept] for c in columns], np.sqrt(weigh[kept])
            least_squares(
                residual, start, jac, args=(data, root), method="trf", loss=robust(root),
                x_scale="jac", xtol=1e-10, ftol=1e-12, gtol=1e-12,
            )  # fmt: skip
        return 1 / count

    ours, theirs = alternated(replicates, trf, rounds)
    yield line("bootstrap replicate", "scipy trf, Huber, analytic Jacobian", theirs / ours, "20")

    many = simulated(1_000_000)
    large = FORM.models(*many)
    weights = np.ones((1, large[0].rows))

    def million() -> None:
        find(large, objective, weights[0])

    def one_pass() -> None:
        objective_and_gradient(coordinates(best.natural), many)

    ours, theirs = alternated(million, one_pass, 1)
    yield line("1e6 rows fitted", "one NumPy pass of objective and gradient", theirs / ours, "1/20")
    yield from process(columns)
    yield from chinchilla_package(columns, search)


def process(columns: Columns) -> Iterator[str]:
    """The whole command with 4000 replicates against importing what it needs."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.csv"
        lines = [",".join(map(repr, map(float, row))) for row in zip(*columns, strict=True)]
        table.write_text("params,tokens,loss\n" + "\n".join(lines))
        command = [sys.executable, "-m", "scalefit", "fit", str(table), "--no-figures"]
        whole = [*command, "--bootstrap", "4000"]
        imports = [sys.executable, "-c", "import pandas, scipy.optimize"]
        ours, theirs = (run_time(command) for command in (whole, imports))
    other = "importing pandas and scipy.optimize"
    yield line("`scalefit fit`, 4000 replicates", other, theirs / ours, "1/3")


def run_time(command: list[str]) -> float:
    """Median wall seconds of a process of our own."""

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - made here

    return statistics.median(timed(run, wall=True) for _ in range(3))


def chinchilla_package(columns: Columns, search: Callable[[], None]) -> Iterator[str]:
    """The package `chinchilla`, on a grid of 3^5 starts: one of its own examples."""
    try:
        from chinchilla import Chinchilla  # type: ignore[import-not-found] # an optional guest
    except ImportError:
        yield line("full search", "chinchilla, 3^5 starts (not installed)", float("nan"), "-")
        return
    with tempfile.TemporaryDirectory() as folder:
        grid = {
            "E": np.linspace(1, 2, 3), "A": np.geomspace(1, 1e3, 3), "B": np.geomspace(1, 1e3, 3),
            "alpha": np.linspace(0.1, 0.7, 3), "beta": np.linspace(0.1, 0.7, 3),
        }  # fmt: skip
        model = Chinchilla(folder, grid, log_level=40)
        n, d, loss = columns
        for row in zip(6 * n * d, n, d, loss, strict=True):
            model.database.append(C=row[0], N=row[1], D=row[2], loss=row[3])
        theirs = timed(lambda: model.fit(parallel=False), wall=True)
    ours = statistics.median(timed(search, wall=True) for _ in range(3))
    yield line("full search", "chinchilla, 3^5 starts", theirs / ours, "-")


def line(task: str, other: str, ratio: float, asked: str) -> str:
    """A row of the table; a ratio below 1 is a fraction."""
    shown = f"{ratio:,.0f} times faster" if ratio >= 10 else f"{ratio:.2f} times as fast"
    shown = f"takes {1 / ratio:.1f} times as long" if ratio < 1 else shown
    return f"| {task} | {other} | {shown if np.isfinite(ratio) else '-'} | {asked} |"


def alternated(
    ours: Callable[[], float | None], theirs: Callable[[], float | None], rounds: int
) -> tuple[float, float]:
    """Median CPU seconds of each; a task may return what its time is to be multiplied by."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        seconds[0].append(timed(ours))
        seconds[1].append(timed(theirs))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def timed(task: Callable[[], object], *, wall: bool = False) -> float:
    """CPU or wall seconds of one call."""
    clock = time.perf_counter if wall else time.process_time
    began = clock()
    scale = task()
    return (clock() - began) * (scale if isinstance(scale, float) else 1.0)


def from_table(path: Path) -> Columns:
    """The rows below the five highest losses."""
    frame = read(path).without_highest(5).frame
    n, d, loss = (frame[name].to_numpy(np.float64) for name in ("params", "tokens", "loss"))
    return n, d, loss


def simulated(count: int) -> Columns:
    """Runs of the law of Besiroglu et al. 2024 at random sizes, with half a percent of noise."""
    rng = np.random.default_rng(0)
    n, d = (
        np.exp(rng.uniform(np.log(5e7), np.log(1e10), count)),
        np.exp(rng.uniform(np.log(1e9), np.log(3e11), count)),
    )
    frame = simulate(published("besiroglu2024"), params=n, tokens=d, noise=Noise(sd=0.005), seed=0)
    return n, d, np.asarray(frame["loss"], dtype=np.float64)


def coordinates(natural: np.ndarray) -> np.ndarray:
    """(alpha, beta, e, a, b) of (E, A, B, alpha, beta), as the field fits them."""
    floor, size, data, alpha, beta = natural
    return np.array([alpha, beta, np.log(floor), np.log(size), np.log(data)])


def predicted(theta: np.ndarray, n: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log loss and the shares of the terms, shape (3, runs)."""
    alpha, beta, e, a, b = theta
    terms = np.stack([a - alpha * np.log(n), b - beta * np.log(d), np.full(len(n), e)])
    top = terms.max(axis=0)
    shares = np.exp(terms - top)
    total = shares.sum(axis=0)
    return np.log(total) + top, shares / total


def summed(theta: np.ndarray, columns: Columns) -> float:
    """The objective of Hoffmann et al., summed."""
    r = predicted(theta, columns[0], columns[1])[0] - np.log(columns[2])
    small = np.minimum(np.abs(r), DELTA)
    return float((small * (np.abs(r) - small / 2)).sum())


def objective_and_gradient(theta: np.ndarray, columns: Columns) -> tuple[float, np.ndarray]:
    """One pass over the runs."""
    n, d, loss = columns
    value, (p, q, s) = predicted(theta, n, d)
    r = value - np.log(loss)
    pull = np.clip(r, -DELTA, DELTA)
    gradient = [
        -(pull * p * np.log(n)).sum(), -(pull * q * np.log(d)).sum(), (pull * s).sum(),
        (pull * p).sum(), (pull * q).sum(),
    ]  # fmt: skip
    return float((pull * (r - pull / 2)).sum()), np.array(gradient)


def residual(theta: np.ndarray, columns: list[np.ndarray], root: np.ndarray) -> np.ndarray:
    """Residuals weighed by the square root of how often a run was drawn."""
    return root * (predicted(theta, columns[0], columns[1])[0] - np.log(columns[2]))


def jac(theta: np.ndarray, columns: list[np.ndarray], root: np.ndarray) -> np.ndarray:
    """Its Jacobian, shape (runs, 5)."""
    p, q, s = predicted(theta, columns[0], columns[1])[1]
    parts = [-p * np.log(columns[0]), -q * np.log(columns[1]), s, p, q]
    return np.stack(parts, axis=1) * root[:, None]


def robust(root: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Huber's loss of a squared residual with its derivatives, its threshold weighed alike."""
    edge = (DELTA * root) ** 2

    def rho(z: np.ndarray) -> np.ndarray:
        inside = z <= edge
        safe = np.maximum(z, 1e-300)
        value = np.where(inside, z, 2 * np.sqrt(edge * safe) - edge)
        first = np.where(inside, 1.0, np.sqrt(edge / safe))
        second = np.where(inside, 0.0, -0.5 * np.sqrt(edge) * safe**-1.5)
        return np.stack([value, first, second])

    return rho


if __name__ == "__main__":
    main()
