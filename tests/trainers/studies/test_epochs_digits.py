"""A network on digits with wrong labels: two stages of three."""

import pytest

from trainers.studies import epochs_digits
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return epochs_digits.run(Ask(seeds=range(3)))


@pytest.fixture(scope="module")
def plain(table):
    found = epochs_digits.stages(table)
    return found[found["decay"] == 0]


def test_the_test_error_falls_and_then_rises_as_wrong_labels_are_memorised(table, plain):
    assert plain["rises"].all()
    assert plain["memorised"].all()
    assert (plain["peak"] > 1.5 * plain["first"]).all()
    assert (table[table["step"] == 1]["test"] > 0.6).all()


def test_it_does_not_fall_again_and_the_study_says_so(table, plain):
    finding = epochs_digits.find(table)
    assert not plain["twice"].any()
    assert not finding.showed
    assert finding.text[0].startswith("Two stages of three")
    assert "is not reproduced" in finding.text[1]
    assert f"{plain['first'].mean():.3f}" in finding.text[0]
    assert len(epochs_digits.draw(table).axes) == 2


def test_true_labels_are_fitted_before_wrong_ones(table):
    rows = table[(table["decay"] == 0) & table["step"].between(60, 150)]
    assert (rows["right"] + 0.4 < rows["mislabelled"]).all()


def test_a_second_descent_would_be_seen(table):
    late = table["step"] > 1500
    falls = table.assign(test=table["test"].where(~late, 0.5 * table["test"]))
    assert epochs_digits.find(falls).showed
