"""Numbers of other people's papers, as regressions: objective values first, parameters second."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scalefit.errors import ScalefitError
from scalefit.fitting import Fit, fit
from scalefit.fitting.objective import huber
from scalefit.laws import FORMS, published
from scalefit.runs import Runs, read
from tests.conftest import published_folder
from tests.laws.expected import assert_near, every_row

FORM = FORMS["chinchilla"]
FIT_FROM = {
    # rows of expected_answers.csv: table, then what is dropped and minimised
    "H(1e-3), rows published_outlier=False (240)": ("huber-log", 5),
    "bootstrap over rows, H(1e-3), rows published_outlier=False (240)": ("huber-log", 5),
    "H(1e-3), all 245 rows": ("huber-log", 0),
    "mean asymmetric MAE (x10 on negative y-yhat), raw loss": ("asymmetric-mae", 0),
    "H(1e-3)": ("huber-log", 0),
    "A=482.00572 etc. from exp(6.17795598),exp(7.64273236),exp(.59711196),.34781303,.36585412": (
        "huber-log", 5,
    ),
}  # fmt: skip
MEAN = {"asymmetric-mae"}  # their objective is a mean, ours the sum


def expected_rows() -> list[dict[str, str]]:
    path = published_folder() / "expected_answers.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [
            row
            for row in csv.DictReader(file)
            if row["recipe"] in FIT_FROM and row["source"].startswith("chinchilla")
        ]


ROWS = expected_rows()


@pytest.fixture(scope="module")
def fits(published_path: Callable[[str], Path]) -> Callable[[str, str], object]:
    cache: dict[tuple[str, str, int], object] = {}

    def get(source: str, recipe: str) -> object:
        objective, drop = FIT_FROM[recipe]
        key = source, objective, drop
        if key not in cache:
            runs = read(published_path(f"{source}.parquet")).without_highest(drop)
            cache[key] = fit(runs, objective=objective, bootstrap=1000)
        return cache[key]

    return get


@pytest.mark.skipif(not ROWS, reason="the published tables are not at hand")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}-{row['quantity']}")
def test_every_parametric_row_of_the_expected_answers(row: dict[str, str], fits) -> None:
    found = fits(row["source"], row["recipe"])
    value = ours(found, row["quantity"])
    expected, tolerance = float(row["value"]), float(row["tolerance"])
    if row["tol_kind"] == "rel_upper":
        assert value <= expected * (1 + tolerance)
    elif row["tol_kind"] == "rel":
        assert value == pytest.approx(expected, rel=tolerance)
    else:
        assert value == pytest.approx(expected, abs=tolerance)


def ours(found, quantity: str) -> float:
    if quantity.startswith("objective_min"):
        scale = found.used if found.objective.name in MEAN else 1
        return found.objective.value / scale
    if quantity == "objective_at_published":
        theta = np.array(
            [np.exp(0.59711196), np.exp(6.17795598), np.exp(7.64273236), 0.34781303, 0.36585412]
        )
        return summed(theta)
    if quantity.startswith("N_opt@"):
        return float(found.law.optimum(float(quantity.removeprefix("N_opt@"))).params)
    if quantity == "a_exponent":
        return found.intervals["a"].value
    name = quantity.partition("_")[0]
    if quantity.endswith("_se"):
        return float(found.draws[:, FORM.parameters.index(name)].std(ddof=1))
    return found.law.params[name]


THEIRS = {  # logarithms of A, B and E as printed (arXiv:2502.18969), and what is tied
    "": (3.9388019787438124, 13.055763753008362, 0.592076393221421, 0.20019580085843525,
         0.6356967859533506),
    "_tied": (10.420172618, 12.435421818, 0.934137676, 0.603379622, 0.603379622),
}  # fmt: skip


@every_row("misfitting_final", 6)
def test_every_row_of_the_misfitting_table(row: dict[str, str], published_path) -> None:
    runs = read(published_path("misfitting_final.parquet"))
    n, d, loss = (runs.frame[c].to_numpy(float) for c in ("params", "tokens", "loss"))
    if "_at_published" in row["quantity"]:
        tied = "_tied" if "tied" in row["quantity"] else ""
        size, data, floor, alpha, beta = THEIRS[tied]
        theta = np.array([np.exp(floor), np.exp(size), np.exp(data), alpha, beta])
        residual = np.log(FORM.predict(theta, n, d)) - np.log(loss)
        assert_near(float(huber(1e-3).value(residual).sum()), row)
        return
    found = fit(runs, bootstrap=0)
    assert_near(ours(found, row["quantity"]), row)


def test_every_row_of_the_expected_answers_is_a_test() -> None:
    # By table: those here, and those beside the laws and the approaches they are about.
    elsewhere = {
        "porian_refinedweb": 10, "datablations": 8, "gadre_overtraining": 16,
        "multipowerlaw_curves": 9, "steplaw_dense": 3, "routing_curves": 4, "misfitting_final": 6,
    }  # fmt: skip
    path = published_folder() / "expected_answers.csv"
    if not path.exists():
        pytest.skip("the published tables are not at hand")
    with path.open() as file:
        sources = Counter(row["source"] for row in csv.DictReader(file))
    assert sources == elsewhere | Counter(row["source"] for row in ROWS)


def fitted_or_refused(path: Path) -> Fit | None:
    refusal = ""
    try:
        return fit(read(path), bootstrap=0)
    except ScalefitError as error:
        refusal = str(error)
    assert str(path) in refusal
    return None


def epoch_columns() -> tuple[np.ndarray, ...]:
    runs = read(published_folder() / "chinchilla_epoch.parquet").without_highest(5)
    return tuple(runs.frame[c].to_numpy(float) for c in ("params", "tokens", "loss"))


def summed(theta: np.ndarray) -> float:
    n, d, loss = epoch_columns()
    return float(huber(1e-3).value(np.log(FORM.predict(theta, n, d)) - np.log(loss)).sum())


@pytest.mark.parametrize(
    ("name", "value"), [("hoffmann2022", 0.001231162603), ("hoffmann2022/rounded", 0.004121009136)]
)
def test_hoffmanns_own_constants_on_the_240_points(epoch: Runs, name: str, value: float) -> None:
    # Pure evaluation: their fit is 21 % above the minimum, and rounding costs four times it.
    assert summed(published(name).theta) == pytest.approx(value, abs=1e-9)


def test_every_published_table_is_fitted_or_refused_in_a_sentence(
    published_path: Callable[[str], Path],
) -> None:
    folder = published_path("MANIFEST.md").parent
    tables = sorted(folder.glob("*.parquet"))
    assert len(tables) == 17
    fitted = {}
    for path in tables:
        found = fitted_or_refused(path)
        if found is None:
            continue
        fitted[path.stem] = found
        if found.status == "converged":
            assert found.certificate.gradient < 1e-4
            assert found.certificate.curvature > 0
    # Mixtures of experts of 2.15 to 2.16 billion parameters say nothing of the effect of size.
    assert fitted.pop("steplaw_moe").status == "not_identified"
    assert {name for name, found in fitted.items() if found.status == "converged"} >= {
        "chinchilla_epoch", "chinchilla_kyo_takano", "chinchilla_scalefit_isoflop", "datablations",
        "gadre_overtraining", "marin_isoflop", "misfitting_final", "misfitting_curves",
        "porian_refinedweb", "steplaw_dense",
    }  # fmt: skip
