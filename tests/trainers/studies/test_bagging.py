"""The mean of models of one training set."""

import numpy as np
import pytest

from trainers.studies import bagging
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return bagging.run(Ask(seeds=range(3)))


@pytest.mark.slow
def test_bagging_lowers_the_variance_where_no_bootstrap_sample_is_just_interpolated(table):
    share = bagging.ratios(table, bagging.BAGGED)
    assert (share.drop(columns=bagging.DISTINCT) < 0.6).all(axis=None)
    assert (share[bagging.EXAMPLES] < 0.01).all()


@pytest.mark.slow
def test_it_raises_the_variance_where_a_bootstrap_sample_is_just_interpolated(table):
    assert (bagging.ratios(table, bagging.BAGGED)[bagging.DISTINCT] > 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 600])
def test_models_of_one_set_fall_to_a_floor_as_correlated_ones_do(table, width):
    """rho s^2 + (1 - rho) s^2 / R is a line in 1 / R: two points of it give the others."""
    rows = table[(table["way"] == bagging.ANEW) & (table["width"] == width)]
    mean = rows.groupby("models")["variance"].mean()
    slope = (mean[1] - mean[16]) / (1 - 1 / 16)
    floor = mean[1] - slope
    assert floor > 0.1 * mean[1]
    for models in (2, 4, 8):
        assert mean[models] == pytest.approx(floor + slope / models, rel=0.1)


@pytest.mark.slow
def test_what_is_said_is_what_the_table_holds(table):
    finding = bagging.find(table)
    assert finding.showed
    assert f"{bagging.ratios(table, bagging.BAGGED)[60].mean():.2f} of one" in finding.text[0]
    assert len(bagging.draw(table).axes) == 2


def test_a_row_that_counts_twice_is_a_row_that_comes_twice():
    draw = np.random.default_rng(0)
    targets, counts = draw.standard_normal((8, 2)), np.array([2, 1, 0, 3, 1, 1, 0, 2.0])
    for features in (3, 20):
        design = draw.standard_normal((8, features))
        often = np.repeat(np.arange(8), counts.astype(int))
        by_hand = np.linalg.pinv(design[often]) @ targets[often]
        assert bagging.fit_counted(design, targets, counts) == pytest.approx(by_hand)


def test_a_bootstrap_sample_is_as_large_as_the_set_with_that_many_distinct_examples():
    draw = np.random.default_rng(0)
    counts = np.array([bagging.resample(200, draw) for _ in range(200)])
    assert (counts.sum(axis=1) == 200).all()
    assert (counts > 0).sum(axis=1).mean() == pytest.approx(bagging.DISTINCT, abs=2)
