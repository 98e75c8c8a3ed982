"""A user's program, which type checkers must accept: nothing of it needs to run."""

import matplotlib.axes
import matplotlib.figure
import numpy as np

import scalefit as sf
from scalefit import figures


def main() -> None:
    """Runs to law to plan to page."""
    runs: sf.Runs = sf.read("results.parquet", where="step > 10")
    fit: sf.Fit = sf.fit(runs, form="chinchilla", level=0.9)
    alpha: float = fit.law.params["alpha"]
    low: float | None = fit.intervals["alpha"].low
    loss = fit.law.loss(np.array([1e9]), 2e10)
    print(alpha, low, loss.shape)
    done: sf.Plan = sf.plan(fit, flops=1e21, unique_tokens=1e11)
    size: float = done.params.value
    if done.params.low is not None:
        size -= done.params.low
    law: sf.Law = sf.published("besiroglu2024")
    several = sf.plan(law, flops=np.geomspace(1e20, 1e24, 5))
    frame = several.frame()
    print(frame["params"].max(), size)
    axes: matplotlib.axes.Axes = figures.contours(fit, runs)
    page: matplotlib.figure.Figure = figures.fit(fit, runs)
    figures.save(axes, "contours.svg")
    figures.save(page, "fit.png")
    compared = sf.compare(runs)
    print(compared.findings)
    by_budget: sf.Fit = sf.isoflop(runs)
    by_curves: sf.Fit = sf.envelope(runs)
    sf.write_report(by_budget, runs, "report.html")
    print(by_curves.status)
    try:
        sf.read("nothing.csv")
    except sf.ScalefitError as error:
        print(error)


if __name__ == "__main__":
    main()
