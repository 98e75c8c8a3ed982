"""Data pruning in a teacher-student perceptron."""

import numpy as np
import pytest

from trainers.studies import pruning
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return pruning.run(Ask(seeds=range(4)))


def test_the_hardest_tenth_halves_the_error_in_every_seed(table):
    assert pruning.halved(table).all()


def test_hard_examples_beat_the_power_law_at_first_and_then_follow_one(table):
    mean = pruning.errors(table)
    random, hard = (pruning.slopes(mean.loc[share].to_numpy()) for share in (1.0, 0.1))
    assert hard[0] < -1.5
    assert random.mean() == pytest.approx(-1.0, abs=0.2)
    assert hard[1:].mean() == pytest.approx(-1.0, abs=0.25)


def test_of_one_pool_half_or_three_quarters_can_go_at_no_loss_at_all(table):
    pool = table[table["arm"] == pruning.POOLED]
    errors = pool.pivot_table("error", index="seed", columns="fraction")
    for share in (0.5, 0.25):
        assert errors[share].to_numpy() == pytest.approx(errors[1.0].to_numpy(), abs=1e-7)


def test_with_little_data_a_judge_that_errs_does_harm_and_with_much_he_helps(table):
    random = pruning.errors(table).loc[1.0]
    probe = pruning.errors(table, pruning.JUDGED).loc[pruning.QUARTER]
    assert probe[2] > random[2]
    assert probe[8] < random[8]
    assert probe[32] < random[32]


def test_easy_examples_are_the_worse_ones_once_there_are_enough(table):
    easy = pruning.errors(table, pruning.EASY).loc[pruning.QUARTER]
    hard = pruning.errors(table).loc[pruning.QUARTER]
    assert (easy[[4, 8, 16, 32]] > hard[[4, 8, 16, 32]]).all()


def test_the_separator_has_the_largest_margin():
    draw = np.random.default_rng(0)
    inputs = draw.standard_normal((400, 20))
    labels = np.sign(inputs @ draw.standard_normal(20))
    found = pruning.separator(inputs, labels)
    margins = labels * (inputs @ found)
    least = margins.min()
    support = margins < least * (1.0 + 1e-6)
    assert np.linalg.norm(found) == pytest.approx(1.0)
    assert least > 0.0
    # Karush-Kuhn-Tucker: it is a non-negative sum of the examples on the margin
    weights, *_ = np.linalg.lstsq((labels[:, None] * inputs)[support].T, found, rcond=None)
    assert (weights > 0.0).all()
    assert (labels[:, None] * inputs)[support].T @ weights == pytest.approx(found, abs=1e-8)


def test_the_separator_agrees_with_a_support_vector_machine():
    svm = pytest.importorskip("sklearn.svm")
    draw = np.random.default_rng(1)
    inputs = draw.standard_normal((120, 10))
    labels = np.sign(inputs @ draw.standard_normal(10))
    machine = svm.SVC(kernel="linear", C=1e8, tol=1e-8).fit(
        np.vstack([inputs, -inputs]), np.append(labels, -labels)
    )
    normal = machine.coef_[0] / np.linalg.norm(machine.coef_)
    assert pruning.angle(pruning.separator(inputs, labels), normal) < 1e-4


def test_small_angles_are_exact():
    one, other = np.array([1.0, 0.0]), np.array([np.cos(1e-9), np.sin(1e-9)])
    assert pruning.angle(one, other) == pytest.approx(1e-9 / np.pi)
    assert pruning.angle(one, -one) == pytest.approx(1.0)


def test_what_is_said_is_what_the_table_holds(table):
    finding = pruning.find(table)
    assert finding.showed
    assert f"{pruning.errors(table).loc[0.1, 8]:.4f}" in finding.text[0]
    equal = table.assign(error=table["error"].where(table["fraction"] != 0.1, 0.5))
    assert not pruning.find(equal).showed
    assert len(pruning.draw(table).axes) == 2
