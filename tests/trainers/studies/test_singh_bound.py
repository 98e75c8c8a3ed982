"""The lower bound of Singh et al. in least squares on normal features."""

import numpy as np
import pytest

from trainers.studies import singh_bound
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return singh_bound.run(Ask(seeds=range(10)))


@pytest.mark.parametrize("name", ["loss", "bound", "inverse"])
@pytest.mark.parametrize("copies", singh_bound.COPIES)
def test_the_peak_stands_at_n_by_c_squared_for_every_number_of_copies(table, name, copies):
    found = singh_bound.peaks(table)
    at = found.loc[found["copies"] == copies, name]
    assert at.median() == 100 / copies
    assert at.between(100 / copies - singh_bound.STEP, 100 / copies + singh_bound.STEP).all()


def test_the_printed_formula_misses_the_peak_where_c_is_not_1(table):
    found = singh_bound.peaks(table)
    several = found[found["copies"] > 1]
    assert ((several["printed"] - several["loss"]).abs() > 20).all()


def test_the_smallest_eigenvalue_is_near_to_its_random_matrix_form(table):
    rows = table[(table["params"] * table["copies"]).between(25, 75)]
    theory = (1 - np.sqrt(rows["params"] * rows["copies"] / 100)) ** -2
    assert (rows["inverse"] / theory).median() == pytest.approx(1, abs=0.2)


def test_the_bound_holds_away_from_the_threshold_and_fails_at_it(table):
    ratio = table["params"] * table["copies"] / 100
    holds = table["bound"] <= table["loss"]
    assert holds[(ratio < 0.6) | (ratio > 2)].all()
    assert not holds[ratio == 1].any()
    assert singh_bound.exceeded(table)["ratio"].between(0.7, 1.4).all()


@pytest.mark.parametrize(("params", "copies"), [(6, 1), (30, 1), (6, 2), (15, 2)])
def test_the_gap_is_what_training_on_the_tested_example_as_well_gains(params, copies):
    """The rank-one formula against as many fits."""
    draw = np.random.default_rng(0)
    truth = draw.standard_normal(40) / 6
    inputs = np.repeat(draw.standard_normal((20 // copies, params)), copies, axis=0)
    values = draw.standard_normal(20)
    tests, answers = draw.standard_normal((50, params)), draw.standard_normal(50)
    found = singh_bound.terms(inputs, values, tests, answers, truth)
    before = answers - tests @ (np.linalg.pinv(inputs) @ values)
    after = [
        answer - test @ (np.linalg.pinv(np.vstack([inputs, test])) @ np.append(values, answer))
        for test, answer in zip(tests, answers, strict=True)
    ]
    gained = 0.5 * (before**2 - np.square(after)).mean()
    assert found["gap"] == pytest.approx(gained, rel=1e-8)


def test_few_parameters_make_the_first_order_the_whole_gap():
    draw = np.random.default_rng(0)
    truth = np.zeros(5)
    inputs, tests = draw.standard_normal((5000, 5)), draw.standard_normal((2000, 5))
    values, answers = draw.standard_normal(5000), draw.standard_normal(2000)
    found = singh_bound.terms(inputs, values, tests, answers, truth)
    assert found["first_order"] == pytest.approx(found["gap"], rel=0.01)


def test_the_loss_is_that_of_fresh_examples(table):
    draw = np.random.default_rng(1)
    truth = draw.standard_normal(30)
    inputs, tests = draw.standard_normal((50, 20)), draw.standard_normal((100_000, 30))
    values = draw.standard_normal(50)
    answers = tests @ truth + singh_bound.NOISE * draw.standard_normal(100_000)
    found = singh_bound.terms(inputs, values, tests[:, :20], answers, truth)
    residuals = answers - tests[:, :20] @ (np.linalg.pinv(inputs) @ values)
    assert found["loss"] == pytest.approx(0.5 * (residuals**2).mean(), rel=0.02)


def test_what_is_said_is_what_the_table_holds(table):
    finding = singh_bound.find(table)
    assert finding.showed
    assert "in 30 of 30 runs" in finding.text[0]
    assert f"{finding.numbers['inverse_at_half']:.1f}" in finding.text[2]
    assert len(singh_bound.draw(table).axes) == 3
    moved = table.assign(loss=table["loss"].where(table["params"] != 200, 1e9))
    assert not singh_bound.find(moved).showed
