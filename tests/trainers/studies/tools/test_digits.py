"""The digits: what they are, their order, and wrong labels."""

import sys

import numpy as np
import pytest

from scalefit.errors import StudyError
from trainers.studies.tools import digits


def test_images_are_between_0_and_1_and_labels_are_digits():
    images, labels = digits.digits()
    assert images.shape == (1797, 64)
    assert images.min() == 0.0
    assert images.max() == 1.0
    assert sorted(set(labels.tolist())) == list(range(10))


def test_a_seed_draws_the_order_of_images_and_labels_together():
    images, labels = digits.digits()
    shuffled, moved = digits.shuffled(3)
    order = np.random.default_rng(3).permutation(len(labels))
    assert (shuffled == images[order]).all()
    assert (moved == labels[order]).all()
    assert not (moved == labels).all()


@pytest.mark.parametrize("shape", [(500,), (2, 250)])
def test_the_share_asked_for_is_wrong_and_nothing_else_changes(shape):
    labels = np.random.default_rng(0).integers(0, 10, shape)
    before = labels.copy()
    wrong = digits.mislabel(labels, 0.3, np.random.default_rng(1))
    assert (wrong != labels).sum() == 150
    assert wrong.min() >= 0
    assert wrong.max() <= 9
    assert (labels == before).all()


def test_every_other_class_is_as_likely_for_a_wrong_label():
    wrong = digits.mislabel(np.full(9000, 4), 1.0, np.random.default_rng(0))
    counts = np.bincount(wrong, minlength=10)
    assert counts[4] == 0
    assert np.delete(counts, 4) == pytest.approx(1000, abs=150)


def test_one_hot_rows_have_a_single_1():
    assert (digits.one_hot(np.array([2, 0])).argmax(1) == [2, 0]).all()
    assert digits.one_hot(np.array([2, 0])).sum() == 2.0


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(StudyError, match=r'pip install "scalefit\[studies\]"'):
        digits.digits()
