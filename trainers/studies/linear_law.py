"""Why the additive law is wrong for linear regression: two shortages do not add up.

A student that reads the first N of infinitely many features, of variances i^-2, learns by one pass
of SGD over D samples. Theory knows its exponents, 1 in N and 1/2 in D (Lin et al. 2024,
arXiv:2406.08466), and its expected loss has an exact recursion: there is no noise and no seed here,
only the question which form describes the numbers. A student that lacks features cannot use the
data that would teach them, and one that lacks data cannot use the features: the larger shortage
hides the smaller, which is what k > 1 says in E + [(A/N^alpha)^k + (B/D^beta)^k]^(1/k).
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import scalefit as sf
from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.models.linear import expected_losses
from trainers.schedule import Schedule
from trainers.sources.regression import Regression
from trainers.study import Ask, Finding, Study

WIDTHS = (8, 16, 32, 64, 128)
SAMPLES = tuple(2**power for power in range(10, 17))
BATCH, RATE = 16, 0.1
PLAN = Schedule(warmup=0, cooldown=0.2)
APART = 1.1
"""Factor between two labels at least."""
FORMS = {"additive": "chinchilla", "k-form": "generalised"}


def run(_ask: Ask) -> pd.DataFrame:
    """Expected losses, columns seed (0: nothing is drawn), params, tokens, flops, loss, entropy."""
    source = Regression()
    rows = [_row(source, width, samples) for width in WIDTHS for samples in SAMPLES]
    return pd.DataFrame(rows).assign(seed=0, entropy=source.entropy)


def _row(source: Regression, width: int, samples: int) -> dict[str, float]:
    steps = samples // BATCH
    trunk = PLAN.trunk_factors(0, PLAN.branch_point(steps))
    rates = RATE * np.concatenate([trunk, PLAN.branch_factors(steps)])
    loss = expected_losses(source, width=width, batch=BATCH, rates=rates)[-1]
    flops = 6.0 * width * samples
    return {"params": width, "tokens": samples, "flops": flops, "loss": loss}


def fits(table: pd.DataFrame) -> dict[str, sf.Fit]:
    """Both forms, fitted to the losses as to any table of runs."""
    runs = sf.Runs(frame=table.astype(float), source="linear-law", params_kind="total")
    return {title: sf.fit(runs, form=form, bootstrap=0) for title, form in FORMS.items()}


def residuals(table: pd.DataFrame, fit: sf.Fit) -> np.ndarray:
    """Log of the loss over the fitted law's, one a row."""
    predicted = fit.law.loss(table["params"].to_numpy(float), table["tokens"].to_numpy(float))
    return np.asarray(np.log(table["loss"].to_numpy() / predicted))


def find(table: pd.DataFrame) -> Finding:
    """Whether the k-form describes exact losses ten times as well as the additive law."""
    found, numbers = fits(table), dict[str, float]()
    for title, fit in found.items():
        rms = float(np.sqrt(np.mean(residuals(table, fit) ** 2)))
        values = {name: fit.law.params[name] for name in ("E", "alpha", "beta")}
        numbers |= {f"{title} {name}": value for name, value in {"rms": rms, **values}.items()}
    bend, truth = found["k-form"].law.params["k"], float(table["entropy"].iloc[0])
    return Finding(
        showed=numbers["k-form rms"] < numbers["additive rms"] / 10,
        criterion="exact expected losses leave residuals ten times as large under the additive law "
        "as under the k-form",
        text=(
            f"Residuals of log loss have an rms of {numbers['additive rms']:.1%} under the additive"
            f" law and {numbers['k-form rms']:.2%} under the k-form, with k = {bend:.2f}. There is "
            "no noise in the losses: all of it is the form.",
            f"Theory has alpha = 1 and beta = 1/2. The k-form finds {numbers['k-form alpha']:.3f} "
            f"and {numbers['k-form beta']:.3f}, the additive law {numbers['additive alpha']:.3f} "
            f"and {numbers['additive beta']:.3f}.",
            f"The floor is {truth:.4f}: k-form {numbers['k-form E']:.4f}, additive "
            f"{numbers['additive E']:.4f}.",
            "k is a number for this grid, not a constant of nature: what theory gives are the "
            "exponents.",
        ),
        numbers=numbers | {"k": bend},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Excess loss by samples, and the residuals of both forms."""
    found = fits(table)
    with house_style():
        figure = Figure(figsize=(11.0, 4.2), layout="constrained")
        left, *panels = figure.subplots(1, 3)
        _draw_losses(left, table, found["k-form"])
        for axes, (title, fit) in zip(panels, found.items(), strict=True):
            _draw_residuals(axes, table, fit, title)
        panels[1].sharey(panels[0])
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_losses(axes: Axes, table: pd.DataFrame, fit: sf.Fit) -> None:
    floor = float(table["entropy"].iloc[0])
    grid = np.geomspace(min(SAMPLES), max(SAMPLES), 100)
    place = 0.0
    for width, rows in sorted(table.groupby("params"), key=lambda one: -one[1]["params"].iloc[0]):
        axes.loglog(rows["tokens"], rows["loss"] - floor, "o", color=QUIET, ms=4)
        law = fit.law.loss(np.full(grid.size, float(str(width))), grid)
        axes.loglog(grid, law - floor, color=FRONTIER, lw=1.2)
        place = max(float(rows["loss"].iloc[-1]) - floor, APART * place)
        end = (float(rows["tokens"].iloc[-1]) * 1.15, place)
        axes.annotate(f"N = {width}", end, fontsize=8, va="center")
    axes.set_xlim(None, 4 * max(SAMPLES))
    axes.set(xlabel="samples D", ylabel="expected loss above the floor")
    axes.set_title("exact losses (dots) and the k-form", fontsize=10)


def _draw_residuals(axes: Axes, table: pd.DataFrame, fit: sf.Fit, title: str) -> None:
    off = 100 * residuals(table, fit)
    axes.axhline(0, color="0.6", lw=1)
    for place, width in enumerate(WIDTHS):
        rows = (table["params"] == width).to_numpy()
        shade = 0.75 - 0.75 * place / (len(WIDTHS) - 1)
        axes.semilogx(
            table["tokens"][rows], off[rows], "o-", color=str(shade), ms=4, label=f"N = {width}"
        )
    axes.set(xlabel="samples D", ylabel="loss over law, %")
    axes.set_title(f"{title}: rms {np.sqrt(np.mean(off**2)):.2f} %", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


STUDY = Study(
    title="Linear regression by SGD: the larger shortage hides the smaller",
    sources=("Lin et al. 2024, arXiv:2406.08466",),
    bears_on="Why L(N, D) = E + A/N^alpha + B/D^beta can be the wrong form, and what it then does "
    "to E and to the exponents.",
    seeds=1,
    run=run,
    find=find,
    draw=draw,
)
