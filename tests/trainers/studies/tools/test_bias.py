"""The lemma and the three terms of a squared error, on populations that can be counted out."""

import numpy as np
import pytest

from trainers.studies.tools.bias import expected_error, label_noise, split_error


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_the_variance_is_that_of_the_lemma(draw):
    """E[(Z - EZ)^2] = E[Z^2] - (EZ)^2, over models, times R / (R - 1) to be unbiased."""
    outputs = draw.standard_normal((7, 1, 1)) * 3 + 7
    lemma = (outputs**2).mean() - outputs.mean() ** 2
    assert split_error(outputs, np.zeros((1, 1)))[0] == pytest.approx(lemma * 7 / 6, rel=1e-12)


def test_variance_and_bias_add_up_to_the_error(draw):
    outputs, truth = draw.standard_normal((5, 40, 3)) + 1.0, draw.standard_normal((40, 3))
    variance, bias2 = split_error(outputs, truth)
    assert variance + bias2 == pytest.approx(((outputs - truth) ** 2).sum(-1).mean(), rel=1e-12)


def test_with_noisy_labels_there_is_a_third_term(draw):
    outputs, labels = draw.standard_normal((6, 30, 4)), draw.dirichlet(np.ones(4), 30)
    terms = sum(split_error(outputs, labels))
    assert terms + label_noise(labels) == pytest.approx(expected_error(outputs, labels), rel=1e-12)
    assert terms < 0.95 * expected_error(outputs, labels)


def test_without_noise_the_third_term_is_0(draw):
    outputs, labels = draw.standard_normal((6, 30, 4)), np.eye(4)[draw.integers(0, 4, 30)]
    assert label_noise(labels) == 0.0
    assert sum(split_error(outputs, labels)) == pytest.approx(expected_error(outputs, labels))


def test_the_expected_error_is_the_mean_over_labels_that_are_drawn(draw):
    outputs, labels = draw.standard_normal((3, 2, 3)), draw.dirichlet(np.ones(3), 2)
    drawn = [[draw.choice(3, p=one) for one in labels] for _ in range(20_000)]
    errors = [((outputs - np.eye(3)[one]) ** 2).sum(-1).mean() for one in drawn]
    assert expected_error(outputs, labels) == pytest.approx(np.mean(errors), rel=0.02)


def test_the_estimates_are_unbiased_over_many_groups_of_models(draw):
    truth = np.array([[0.0, 0.0]])
    groups = 2.0 + 3.0 * draw.standard_normal((4000, 5, 1, 2))
    terms = np.array([split_error(group, truth) for group in groups]).mean(axis=0)
    # two outputs: variance 2 * 9, squared bias 2 * 4; the mean of 5 alone would have 8 + 18 / 5
    assert terms == pytest.approx([18.0, 8.0], rel=0.03)


def test_the_mean_of_independent_models_has_their_variance_by_how_many_they_are(draw):
    outputs = draw.standard_normal((2000, 8, 1, 3))
    one, truth = split_error(outputs[:, 0], np.zeros((1, 3)))[0], np.zeros((1, 3))
    assert split_error(outputs.mean(axis=1), truth)[0] == pytest.approx(one / 8, rel=0.1)
