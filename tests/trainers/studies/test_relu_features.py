"""Random ReLU features in one dimension."""

import numpy as np
import pytest

from trainers.studies import relu_features
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return relu_features.run(Ask(seeds=range(60)))


def test_bad_draws_of_30_features_are_far_worse_than_those_of_3000(table):
    by = relu_features.errors(table, relu_features.APART)
    assert by[30].quantile(0.9) >= 10 * by[3000].quantile(0.9)
    assert (by[30] > by[3000]).mean() >= 0.75
    assert (by[3] > by[3000]).all()


def test_the_threshold_is_soft(table):
    rows = table[table["inputs"] == relu_features.APART]
    train = rows.groupby(["features", "seed"])["train"].first()
    assert (train[30] < 1e-12).mean() < 0.75
    assert train[3000].max() < 1e-12


def test_uniform_examples_do_not_make_3000_features_calm(table):
    by = relu_features.errors(table, relu_features.UNIFORM)
    apart = relu_features.errors(table, relu_features.APART)
    assert by[3000].quantile(0.9) > 10 * apart[3000].quantile(0.9)


def test_well_apart_means_one_example_in_the_middle_half_of_each_cell():
    x, _ = relu_features.examples(7, relu_features.APART)
    within = (x + 1) / 2 * relu_features.SAMPLES - np.arange(relu_features.SAMPLES)
    assert within.min() >= 0.25
    assert within.max() <= 0.75


def test_the_features_are_relus_with_w_and_b_on_the_circle():
    angles = np.array([0.0, np.pi / 2, np.pi])
    found = relu_features.relus(np.array([-0.5, 0.5]), angles)
    assert found == pytest.approx(np.array([[0.0, 1.0, 0.5], [0.5, 1.0, 0.0]]))


def test_what_is_said_is_what_the_table_holds(table):
    finding = relu_features.find(table)
    assert finding.showed
    assert f"{finding.numbers['high_30']:.3f}" in finding.text[0]
    assert f"{finding.numbers['median_3000']:.4f}" in finding.text[1]
    assert f"{finding.numbers['high_uniform']:.2f}" in finding.text[2]
    assert len(relu_features.draw(table).axes) == 4


def test_fits_that_are_the_truth_show_nothing(table):
    right = table.assign(value=relu_features.truth(table["x"].to_numpy()) + 0.1)
    assert not relu_features.find(right).showed
