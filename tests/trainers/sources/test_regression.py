"""The linear teacher: variances, noise, and streams."""

import numpy as np
import pytest

from scalefit.errors import GridError
from trainers.sources import regression
from trainers.sources.base import source

COUNT = 40_000


@pytest.fixture(scope="module")
def teacher():
    return source("regression", 1)


@pytest.fixture(scope="module")
def rows(teacher):
    return teacher.rows(0, COUNT)


def close(found, expected, kurtosis=3.0):
    """Whether sample variances are the expected ones, by their own standard errors."""
    error = np.asarray(expected) * np.sqrt((kurtosis - 1) / COUNT)
    return np.all(np.abs(found - expected) < 4.5 * error)


def test_features_have_variances_that_fall_as_a_power(teacher, rows):
    assert rows.shape == (COUNT, 129)
    assert rows.dtype == np.float32
    assert teacher.variances()[[0, 1, 9]] == pytest.approx([1, 1 / 4, 1 / 100])
    assert close(rows[:, :-1].var(axis=0), teacher.variances())


def test_features_are_independent(rows):
    correlation = np.corrcoef(rows[:, :-1].T) - np.eye(128)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(COUNT)


def test_what_the_first_features_leave_untold_is_what_is_said_of_it(teacher, rows):
    for width in (1, 8, 128):
        rest = rows[:, -1].astype(float) - rows[:, :width].astype(float).sum(axis=1)
        assert close(rest.var(), teacher.beyond(width) + teacher.noise)


def test_the_untold_variance_is_the_sum_of_infinitely_many_features(teacher):
    assert teacher.beyond(0) == pytest.approx(np.pi**2 / 6)
    assert teacher.beyond(8) == pytest.approx(np.pi**2 / 6 - np.sum(np.arange(1, 9.0) ** -2))
    sizes = np.array([1e3, 1e4])
    slope = np.diff(np.log([teacher.beyond(int(size)) for size in sizes])) / np.diff(np.log(sizes))
    assert -slope == pytest.approx([teacher.alpha], rel=1e-3)
    assert (teacher.alpha, teacher.beta) == (1.0, 0.5)


def test_the_teachers_own_loss_on_held_out_samples_is_its_noise(teacher):
    held = teacher.held_out(COUNT)
    assert close(held.surprisal.mean(), teacher.entropy)
    # no loss can be lower in the mean, and that of all written features is higher by what is beyond
    rest = held.rows[:, -1].astype(float) - held.rows[:, :-1].astype(float).sum(axis=1)
    excess = np.mean(rest**2 - held.surprisal)
    assert excess == pytest.approx(teacher.beyond(128), abs=0.002)
    assert excess > 0.004


def test_seeds_are_streams_of_their_own_and_longer_draws_begin_with_shorter_ones(
    teacher, rows, monkeypatch
):
    sets = [teacher.rows(seed, 50) for seed in range(4)] + [teacher.held_out(50).rows]
    assert len(np.unique(np.concatenate(sets), axis=0)) == 5 * 50
    monkeypatch.setattr(regression, "CHUNK", 7)
    assert np.array_equal(teacher.rows(0, 50), rows[:50])


def test_a_context_is_refused():
    with pytest.raises(GridError, match=r"one value a sample, not 4; leave out context"):
        regression.load("regression", 4)
