"""Plans: optimal, with intervals, honest about what they do not know."""

import csv
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import PlanError
from scalefit.fitting import Fit, Status, fit
from scalefit.laws import FORMS, Law, published
from scalefit.planning import plan
from tests.conftest import as_runs, known_law, simulate
from tests.laws.test_chinchilla import constants


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    table = simulate(known_law("chinchilla"), noise=0.005)
    return fit(as_runs(table, tmp_path_factory.mktemp("runs")), bootstrap=400)


def test_the_huber_optimum_plans_as_recomputed_elsewhere() -> None:
    # peers' acceptance value 8, closed form.
    law = Law(
        name="epoch",
        form=published("besiroglu2024").form,
        params={
            "E": 1.8172180990,
            "A": 477.8258682,
            "B": 2143.4173634,
            "alpha": 0.3473104989,
            "beta": 0.3671724326,
        },
    )
    small, gopher, large = (plan(law, flops=c) for c in (1e21, 5.88e23, 1e24))
    assert small.params.value == pytest.approx(2.79174e9, rel=1e-4)
    assert small.tokens_per_param.value == pytest.approx(21.385, rel=1e-4)
    assert gopher.tokens.value == pytest.approx(1.32486e12, rel=1e-4)
    assert large.loss.value == pytest.approx(1.959219, abs=1e-6)


# planner_reference.csv names its laws in its own way.
REFERENCE = {
    "hoffmann2022_rounded": "hoffmann2022/rounded",
    "hoffmann2022_tex_precision": "hoffmann2022",
    "besiroglu2024": "besiroglu2024",
    "datablations_C4": "muennighoff2023",
}
OTHERS = {
    "epoch 240-pt global minimum": (1.8172181, 477.825868, 2143.41736, 0.347310499, 0.367172433),
    "kyo_takano": (1.70024083255, 184.691517382, 1633.47866408, 0.289007648443, 0.355794066005),
}  # fmt: skip


def test_the_published_planner_reference_holds_to_its_digits(
    published_path: Callable[[str], Path],
) -> None:
    with published_path("planner_reference.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for row in rows:
        found = plan(_reference_law(row["law"]), flops=float(row["C"]))
        assert found.params.value == pytest.approx(float(row["N"]), rel=1e-5)
        assert found.tokens.value == pytest.approx(float(row["D"]), rel=1e-5)
        assert found.tokens_per_param.value == pytest.approx(float(row["D_over_N"]), rel=1e-3)
        assert found.loss.value == pytest.approx(float(row["L"]), abs=1e-6)


def _reference_law(name: str) -> Law:
    if name in OTHERS:
        form = FORMS["chinchilla"]
        return Law(
            name=name, form=form, params=dict(zip(form.parameters, OTHERS[name], strict=True))
        )
    return published(REFERENCE[name.split(" ", maxsplit=1)[0]])


def test_hoffmanns_printed_plan_for_gopher_compute() -> None:
    # peers' acceptance value 7: closed form with the TeX coefficients.
    best = plan(published("hoffmann2022"), flops=5.76e23)
    assert best.params.value == pytest.approx(4.03609e10, rel=1e-5)
    assert best.tokens.value == pytest.approx(2.37854e12, rel=1e-5)
    assert best.loss.value == pytest.approx(1.918412, abs=1e-6)


def test_the_best_use_of_little_data_beats_the_published_grid() -> None:
    # peers' acceptance value 10: their grid of 500 steps ends at 2.2221292833.
    found = plan(published("muennighoff2023/data-constrained"), flops=1e22, unique_tokens=25e9)
    assert found.loss.value <= 2.2221292833
    assert found.loss.value == pytest.approx(2.22212927487, abs=1e-10)
    assert found.params.value == pytest.approx(7.02616e9, rel=1e-5)
    assert found.tokens.value == pytest.approx(2.372088e11, rel=1e-5)


def test_ten_thousand_budgets_are_one_call(fitted: Fit) -> None:
    budgets = np.geomspace(1e18, 1e25, 10_000)
    began = time.perf_counter()
    several = plan(fitted, flops=budgets)
    at_once = time.perf_counter() - began
    for i in range(0, 10_000, 200):
        plan(fitted, flops=budgets[i])
    one_by_one = (time.perf_counter() - began - at_once) * 200
    assert at_once < one_by_one / 30
    for i in (0, 4_567, 9_999):
        alone = plan(fitted, flops=budgets[i])
        assert several.params.value[i] == alone.params.value
        assert (several.loss.low[i], several.loss.high[i]) == (alone.loss.low, alone.loss.high)
    frame = several.frame()
    assert len(frame) == 10_000
    assert frame["flops"].tolist() == budgets.tolist()
    assert frame["params_high"].is_monotonic_increasing


def test_nineteen_in_twenty_intervals_hold_the_truth(tmp_path: Path) -> None:
    law = known_law("chinchilla")
    truth = law.optimum(1e22)
    held = np.zeros(3)
    for seed in range(20):
        runs = as_runs(simulate(law, noise=0.005, seed=seed), tmp_path)
        planned = plan(fit(runs, bootstrap=200), flops=1e22)
        for i, (entry, value) in enumerate(
            (
                (planned.params, truth.params),
                (planned.tokens, truth.tokens),
                (planned.loss, truth.loss),
            )
        ):
            held[i] += entry.low <= value <= entry.high
    # Fewer than 16 of 20 has probability 0.003 if each holds it 19 times in 20.
    assert (held >= 16).all()


def test_n_and_d_share_the_budget_in_every_draw(fitted: Fit) -> None:
    planned = plan(fitted, flops=1e22)
    assert planned.params.low * planned.tokens.high == pytest.approx(1e22 / 6, rel=0.01)


def test_intervals_widen_with_the_level_and_with_extrapolation(fitted: Fit) -> None:
    narrow, wide = (plan(fitted, flops=1e21, level=level).params for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    near, far = (plan(fitted, flops=c).params for c in (1e20, 1e26))
    assert far.high / far.low > 1.3 * near.high / near.low


@given(params=constants, flops=st.floats(1e16, 1e26))
def test_the_band_wastes_what_it_says(params: dict[str, float], flops: float) -> None:
    law = Law(name="any", form=published("besiroglu2024").form, params=params)
    planned = plan(law, flops=flops)
    for band in planned.band:
        cheaper = law.optimum(flops / (1 + band.overhead))
        for n, d in zip(band.params, reversed(band.tokens), strict=True):
            assert 6 * n * d == pytest.approx(flops, rel=1e-9)
            assert float(law.loss(n, d)) <= float(cheaper.loss) * (1 + 1e-9)
        assert band.params[0] <= planned.params.value <= band.params[1]


def test_a_published_law_has_no_interval_and_says_so() -> None:
    planned = plan(published("besiroglu2024"), flops=1e21)
    assert planned.params.low is None
    assert any("without its draws" in note for note in planned.notes)
    json.dumps(planned.to_dict(), allow_nan=False)


def test_how_far_it_extrapolates_is_said(fitted: Fit) -> None:
    inside, outside = (plan(fitted, flops=c) for c in (1e21, 1e25))
    assert inside.extrapolation == pytest.approx(1e21 / (6 * 1e10 * 3e11))
    assert not inside.notes
    assert any("sampling error only" in note for note in outside.notes)


def test_a_fit_that_failed_is_planned_only_when_forced(fitted: Fit) -> None:
    for status in set(Status) - {Status.CONVERGED}:
        failed = dataclasses.replace(fitted, status=status)
        with pytest.raises(PlanError, match=f"is {status.replace('_', ' ')}, .* with --force"):
            plan(failed, flops=1e21)
        forced = plan(failed, flops=1e21, force=True)
        assert forced.params == plan(fitted, flops=1e21).params
        assert any("not to be trusted" in note for note in forced.notes)


def test_draws_without_a_term_leave_the_limit_open(fitted: Fit) -> None:
    draws = fitted.draws.copy()
    draws[:40, 1] = 0.0  # a tenth of the draws have no size term: their optimum is no model at all
    planned = plan(dataclasses.replace(fitted, draws=draws), flops=1e21)
    assert planned.tokens.high is None
    assert planned.params.low == 0.0
    assert planned.params.high is not None
    json.dumps(planned.to_dict(), allow_nan=False)


@pytest.mark.parametrize("flops", [0.0, -1.0, np.nan, np.inf])
def test_a_budget_must_be_one(flops: float) -> None:
    with pytest.raises(PlanError, match="cannot be planned"):
        plan(published("besiroglu2024"), flops=flops)


def test_a_law_without_an_optimum_is_refused() -> None:
    law = published("besiroglu2024")
    flat = dataclasses.replace(law, params={**law.params, "A": 0.0})
    with pytest.raises(PlanError, match="no compute-optimal size"):
        plan(flat, flops=1e21)


def test_the_python_interface_is_three_lines(tmp_path: Path) -> None:
    import scalefit as sf

    simulate(known_law("chinchilla"), noise=0.01).to_parquet(tmp_path / "r.parquet")
    found = sf.fit(sf.read(tmp_path / "r.parquet"), bootstrap=50)
    assert sf.plan(found, flops=1e21).params.low > 0
    assert {"fit", "plan", "read"} <= set(dir(sf))
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = sf.fitt
