"""The whole pipeline against sources whose truth is known: train, fit, compare.

    python benchmarks/truth.py [NAME ...] [--results FOLDER]

Every grid that ships and whose source has a known loss is trained by ``scalefit train-grid`` into
FOLDER (what is there is not trained again) and fitted by the additive law and by the generalised
one. The table says how far the floor E of each fit is from the truth, how well each form describes
the runs, and how far it is off for the largest models when it is fitted to all the others.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import scalefit as sf
from trainers.grid import load, shipped

FORMS = {"chinchilla": "additive", "generalised": "k-form"}
HEAD = ("source", "truth", "form", "E, 95 % interval", "off by", "alpha", "beta", "rms", "largest")


def main() -> None:
    """Measure and print the table."""
    options = arguments()
    row(HEAD)
    row(["---"] * len(HEAD))
    for name in options.names or [name for name in shipped() if known(name)]:
        folder = options.results / f"{name}.parquet"
        command = [sys.executable, "-m", "scalefit", "train-grid", name, "--results", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
        runs = sf.read(folder)
        for form, title in FORMS.items():
            truth = float(runs.frame["source_entropy"].iloc[0])
            row([name, f"{truth:.4f}", title, *described(runs, form, truth)])


def arguments() -> argparse.Namespace:
    """What was asked."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("names", nargs="*", help="grids [default: all of known truth]")
    parser.add_argument("--results", type=Path, default=Path("results/truth"))
    return parser.parse_args()


def row(cells: Sequence[str]) -> None:
    """Print a line of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def known(name: str) -> bool:
    """Whether a shipped grid's source has a known loss."""
    return load(name).runs()[0].open().entropy is not None


def described(runs: sf.Runs, form: str, truth: float) -> list[str]:
    """Floor, exponents and errors of a form."""
    fit = sf.fit(runs, form=form)
    floor, interval = fit.law.params["E"], fit.intervals["E"]
    rms = float(np.sqrt(np.mean(errors(runs, fit) ** 2)))
    return [
        f"{floor:.4f} [{interval.low:.4f}, {interval.high:.4f}]",
        f"{floor / truth - 1:+.1%}",
        f"{fit.law.params['alpha']:.3f}",
        f"{fit.law.params['beta']:.3f}",
        f"{rms:.2%}",
        f"{beyond(runs, form):.2%}",
    ]


def errors(runs: sf.Runs, fit: sf.Fit) -> np.ndarray:
    """Log of predicted over measured loss, one a row."""
    frame = runs.frame
    return np.log(
        fit.law.loss(*(frame[name].to_numpy() for name in ("params", "tokens")))
    ) - np.log(frame["loss"].to_numpy())


def beyond(runs: sf.Runs, form: str) -> float:
    """Root mean square error for the largest size, by a fit to all the others."""
    largest = runs.frame["params"].max()
    others, held = (
        sf.read(runs.source, where=f"params_total {sign} {largest:.0f}") for sign in ("<", "==")
    )
    fit = sf.fit(others, form=form, bootstrap=0)
    return float(np.sqrt(np.mean(errors(held, fit) ** 2)))


if __name__ == "__main__":
    main()
