"""Choosing capacity: with few examples AIC fails, with many a development set is worse.

The degree of a polynomial, chosen by Akaike's criterion (Akaike 1974), by its correction for small
samples (AICc: Sugiura 1978; Hurvich & Tsai 1989) or by a development set, a third of the examples,
after which the chosen degree is fitted to all. A lecture names AIC and calls a development set much
better. Data are those of the study polynomials.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.polynomial import legendre

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.studies.polynomials import NODES, SHARES, examples, fit, truth
from trainers.study import Ask, Finding, Study

COUNTS = (30, 60, 120, 240, 480)
DEGREES = np.arange(19)
HELD = 3
"""One example in so many is held out for development."""
AIC, AICC, DEVELOPMENT, BEST = "AIC", "AICc", "development set", "best degree"
LOOKS = {AIC: FRONTIER, AICC: "C1", DEVELOPMENT: "C0", BEST: QUIET}
WILD = 10
"""A degree that is twice the best one or more."""


def criteria(misses: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """AIC and AICc of least squares with noise of unknown variance.

    AIC = n log(RSS / n) + 2 k, AICc = AIC + 2 k (k + 1) / (n - k - 1), where k counts the
    coefficients and the variance of the noise.

    Args:
        misses: mean squared residuals (seeds, degrees).
        count: n, more than the highest degree by four.
    """
    k = DEGREES + 2.0
    plain = count * np.log(misses) + 2.0 * k
    return plain, plain + 2.0 * k * (k + 1.0) / (count - k - 1.0)


def missed(x: FloatArray, y: FloatArray, fits: Sequence[FloatArray]) -> FloatArray:
    """Mean squares of the residuals of fits of all degrees on examples: (seeds, degrees)."""
    basis = legendre.legvander(x, int(DEGREES[-1]))
    values = [np.einsum("snk,sk->sn", basis[..., : one.shape[1]], one) for one in fits]
    return np.stack([((value - y) ** 2).mean(axis=1) for value in values], axis=1)


def run(ask: Ask) -> pd.DataFrame:
    """Columns seed, samples, rule, degree (chosen), error (mean square against the truth)."""
    return pd.concat([_chosen(ask.seeds, count) for count in COUNTS], ignore_index=True)


def _chosen(seeds: Sequence[int], count: int) -> pd.DataFrame:
    x, y = examples(seeds, count)
    fits = [fit(x, y, int(degree)) for degree in DEGREES]
    values = np.stack([one @ legendre.legvander(NODES, one.shape[1] - 1).T for one in fits], axis=1)
    errors = ((values - truth(NODES)) ** 2 * SHARES / 2.0).sum(axis=2)
    plain, corrected = criteria(missed(x, y, fits), count)
    held = count // HELD
    trained = [fit(x[:, held:], y[:, held:], int(degree)) for degree in DEGREES]
    scores = {
        AIC: plain,
        AICC: corrected,
        DEVELOPMENT: missed(x[:, :held], y[:, :held], trained),
        BEST: errors,
    }
    parts = []
    for rule, score in scores.items():
        degree = score.argmin(axis=1)
        error = np.take_along_axis(errors, degree[:, None], axis=1)[:, 0]
        columns = {"rule": rule, "degree": degree, "error": error}
        parts.append(pd.DataFrame({"seed": list(seeds), "samples": count, **columns}))
    return pd.concat(parts, ignore_index=True)


def find(table: pd.DataFrame) -> Finding:
    """Whether the development set is the safer one with few examples; and what many do to it."""
    few, many = COUNTS[0], COUNTS[-1]
    by = table.groupby(["rule", "samples"])
    middle, high = by["error"].median(), by["error"].quantile(0.9)
    degree = by["degree"].median()
    first = table[(table["rule"] == AIC) & (table["samples"] == few)]
    wild = float((first["degree"] >= WILD).mean())
    aic, aicc = (
        sum(bool(middle[rule, n] < middle[DEVELOPMENT, n]) for n in COUNTS) for rule in (AIC, AICC)
    )
    return Finding(
        showed=bool(high[DEVELOPMENT, few] < 0.1 * high[AIC, few]),
        criterion=f"with {few} examples the error that one draw in ten exceeds is a tenth or less "
        "with the development set's choice of what it is with AIC's",
        text=(
            f"With {few} examples AIC chooses a degree of {WILD} or more in {wild:.0%} of the "
            f"draws: one in ten exceeds an error of {high[AIC, few]:.2g}, with the development set "
            f"{high[DEVELOPMENT, few]:.2g}. Medians are {middle[AIC, few]:.4f} and "
            f"{middle[DEVELOPMENT, few]:.4f}; of the best degree ({degree[BEST, few]:.0f} as a "
            f"rule) {middle[BEST, few]:.4f}.",
            f"With {many} medians are {middle[AIC, many]:.5f} for AIC, "
            f"{middle[DEVELOPMENT, many]:.5f} for the development set, {middle[BEST, many]:.5f} "
            f"for the best degree. AIC has the lower median of the two at {aic} of {len(COUNTS)} "
            'sizes: the lecture\'s "much better" holds where examples are few for the weights.',
            f"AICc, which corrects AIC for that, has a lower median than the development set at "
            f"{aicc} of {len(COUNTS)} sizes ({middle[AICC, few]:.4f} with {few}). But it takes a "
            "likelihood, and a number of weights that means capacity: a deep network has none.",
        ),
        numbers={
            **{f"{rule}_{n}": float(middle[rule, n]) for rule in LOOKS for n in (few, many)},
            **{f"high_{rule}_{few}": float(high[rule, few]) for rule in LOOKS},
            "wild": wild,
            "aic_better": float(aic),
            "aicc_better": float(aicc),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: degrees chosen with few examples; right: error of the choice over the best one's."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        few = table[table["samples"] == COUNTS[0]]
        for place, (rule, colour) in enumerate(LOOKS.items()):
            chosen = few.loc[few["rule"] == rule, "degree"]
            share = [float((chosen == degree).mean()) for degree in DEGREES]
            left.bar(DEGREES + 0.2 * (place - 1.5), share, 0.2, color=colour, label=rule)
        left.set(xlabel="degree chosen", ylabel="share of draws", xticks=DEGREES[::3])
        left.set_title(f"{COUNTS[0]} examples", fontsize=10)
        left.legend(frameon=False, fontsize=9)
        _over_best(right, table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _over_best(axes: Axes, table: pd.DataFrame) -> None:
    by = table.pivot_table(index=["samples", "seed"], columns="rule", values="error")
    for rule in (AIC, AICC, DEVELOPMENT):
        ratio = (by[rule] / by[BEST]).groupby("samples")
        axes.plot(COUNTS, ratio.median(), "o-", ms=4, color=LOOKS[rule])
        axes.plot(COUNTS, ratio.quantile(0.9), "o:", ms=3, lw=1.2, color=LOOKS[rule])
    axes.plot([], [], "o-", ms=4, color=QUIET, label="median draw")
    axes.plot([], [], "o:", ms=3, lw=1.2, color=QUIET, label="one draw in ten is worse")
    axes.set(xscale="log", yscale="log", xlabel="examples", ylabel="error / error of best degree")
    axes.set_ylim(1.0, 100.0)
    axes.xaxis.set_major_locator(FixedLocator(COUNTS))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.legend(frameon=False, fontsize=9)


STUDY = Study(
    title="Choosing the degree: AIC, AICc, or a development set",
    sources=(
        "Akaike 1974, IEEE Transactions on Automatic Control 19, 716-723",
        "Hurvich & Tsai 1989, Biometrika 76, 297-307",
    ),
    bears_on="Which form of a law a table supports: with few runs AIC takes the form with most "
    "coefficients, and AICc or held-out runs must decide.",
    seeds=200,
    run=run,
    find=find,
    draw=draw,
)
