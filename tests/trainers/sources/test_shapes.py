"""The shapes: their entropy against what they emit, and that an image tells its shape."""

import numpy as np
import pytest

from trainers.sources import shapes
from trainers.sources.base import source


@pytest.fixture(scope="module")
def endless():
    return source("shapes", 1)


def test_every_image_tells_its_shape(endless):
    patterns = shapes._patterns(endless.forms)
    assert patterns.shape == (shapes.SHAPES, shapes.PLACES)
    # no two shapes look alike at any two places
    assert len(np.unique(patterns)) == patterns.size


def test_black_never_looks_like_white(endless):
    pixels = endless.rows(0, 2000)[:, :-1]
    black = (pixels >= 32) & (pixels < 96)
    white = (pixels >= 160) & (pixels < 224)
    assert np.all(black ^ white)
    assert 0.1 < white.mean() < 0.3


def test_entropy_known_by_hand(endless):
    right = 0.9 * np.log(0.9)
    wrong = 9 * (0.1 / 9) * np.log(0.1 / 9)
    assert endless.entropy == pytest.approx(-right - wrong)


def test_labels_have_exactly_that_entropy(endless):
    held = endless.held_out(40_000)
    error = held.surprisal.std() / np.sqrt(len(held.rows))
    assert error < 0.01
    assert held.surprisal.mean() == pytest.approx(endless.entropy, abs=4 * error)
    # wrong labels are all wrong classes alike
    assert len(np.unique(held.surprisal)) == 2


def test_wrong_labels_are_as_likely_each():
    one = shapes.Shapes(
        forms=np.ones((1, 5, 5), np.uint8), chances=np.ones(1), truth=np.array([3]), errors=0.5
    )
    counts = np.bincount(one.rows(0, 18_000)[:, -1], minlength=10)
    expected = np.full(10, 1000.0)
    expected[3] = 9000
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected.max())
    assert np.delete(np.abs(counts - expected), 3).max() < 5 * np.sqrt(1000)


def test_shapes_come_as_often_as_their_chance_and_everywhere():
    chances, count = np.array([4.0, 2.0, 1.0, 1.0]), 16_000
    few = shapes.Shapes(
        forms=shapes.load("shapes").forms[:4], chances=chances, truth=np.arange(4), errors=1e-9
    )
    rows = few.rows(1, count)
    seen = np.bincount(rows[:, -1], minlength=4)
    expected = count * chances / chances.sum()
    assert np.abs(seen - expected).max() < 5 * np.sqrt(expected.max())
    bits = np.packbits(rows[:, :-1] >= 160, axis=1).view(np.uint64)[:, 0]
    shown, times = np.unique(bits, return_counts=True)
    assert len(shown) == 4 * shapes.PLACES
    rarest = count / 8 / shapes.PLACES
    assert times.min() > rarest - 5 * np.sqrt(rarest)


def test_seeds_share_no_image_with_each_other_or_with_the_held_out(endless):
    held = endless.held_out(500).rows
    sets = [endless.rows(seed, 500) for seed in range(4)] + [held]
    assert len(np.unique(np.concatenate(sets)[:, :-1], axis=0)) == 5 * 500
    assert np.array_equal(sets[0], endless.rows(0, 901)[:500])
    assert np.array_equal(held[:7], endless.held_out(7).rows)
