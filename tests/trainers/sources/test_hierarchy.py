"""The random hierarchy: its entropy and its likelihoods against all strings of a small grammar."""

import itertools

import numpy as np
import pytest

from scalefit.errors import GridError
from trainers.sources import hierarchy
from trainers.sources.base import source


@pytest.fixture(scope="module")
def project():
    return source("hierarchy", 16)


@pytest.fixture(scope="module")
def small():
    """Three symbols, two rules, two levels: 81 strings of four leaves, 24 of them sentences."""
    return hierarchy.grammar(4, vocab=3, rules=2, levels=2)


@pytest.fixture(scope="module")
def strings():
    return np.array(list(itertools.product(range(3), repeat=4)))


def test_likelihoods_of_all_strings_sum_to_one_and_their_entropy_is_the_stated_one(small, strings):
    chances = small.likelihood(strings)
    assert chances.sum() == pytest.approx(1)
    possible = chances[chances > 0]
    assert len(possible) == 3 * 2**3
    assert -np.sum(possible * np.log(possible)) / 4 == pytest.approx(small.entropy)


def test_likelihood_of_a_sentence_is_that_of_its_derivation(small):
    top, bottom = small.pairs
    left, right = top[2, 1]
    sentence = np.concatenate([bottom[left, 0], bottom[right, 1]])
    expected = (1 / 3) * (1 / 3) * (2 / 3) * (1 / 3)
    assert small.likelihood(sentence) == pytest.approx(expected)


def test_likelihood_sums_over_derivations_where_there_are_several():
    """Both symbols become the pair (0, 0) always: the root is unknown, the leaves are not."""
    blind = hierarchy.Hierarchy(
        context=2, pairs=np.zeros((1, 2, 1, 2), np.int64), chances=np.array([1.0])
    )
    assert blind.likelihood(np.array([[0, 0], [0, 1]])) == pytest.approx([1, 0])


def test_samples_come_as_often_as_they_are_likely(small, strings):
    rows = small.rows(seed=0, count=50_000)[:, 1:].astype(np.int64)
    counts = np.bincount(rows @ 3 ** np.arange(3, -1, -1), minlength=81)
    expected = len(rows) * small.likelihood(strings)
    assert counts[expected == 0].sum() == 0
    seen = expected > 0
    z = (counts - expected)[seen] / np.sqrt(expected[seen])
    assert np.abs(z).max() < 4
    assert z.std() > 0.5


def test_no_pair_of_a_level_stands_for_two_symbols(project):
    assert project.pairs.shape == (3, 16, 4, 2)
    for level in project.pairs:
        assert len(np.unique(level.reshape(-1, 2), axis=0)) == 16 * 4


def test_entropy_a_token_is_the_one_known_from_before(project):
    assert project.entropy == pytest.approx(1.4337, abs=5e-5)


def test_held_out_rows_have_exactly_that_entropy(project):
    held = project.held_out(5000)
    error = held.surprisal.std() / np.sqrt(5000)
    assert held.surprisal.mean() == pytest.approx(project.entropy, abs=4 * error)
    assert 0 < error < 0.003


def test_surprisal_of_a_row_is_the_mean_over_its_sentences(project):
    row = project.rows(0, 1)
    alone = [-np.log(project.likelihood(row[0, first : first + 8])) for first in (1, 9)]
    assert project.surprisal(row) == pytest.approx([sum(alone) / 16])


def test_a_row_is_a_start_mark_and_whole_sentences(project):
    rows = project.rows(3, 200)
    assert rows.shape == (200, 17)
    assert np.all(rows[:, 0] == 16)
    assert rows[:, 1:].max() == 15 < project.classes - 1 == 16
    assert np.all(project.likelihood(rows[:, 1:].reshape(-1, 8)) > 0)


def test_seeds_share_no_stream_and_longer_draws_begin_with_shorter_ones(project, monkeypatch):
    sets = [project.rows(seed, 50) for seed in range(4)] + [project.held_out(50).rows]
    assert len(np.unique(np.concatenate(sets), axis=0)) == 5 * 50
    assert np.array_equal(project.rows(0, 90)[:50], sets[0])
    whole, judged = project.rows(0, 90), project.surprisal(sets[0])
    monkeypatch.setattr(hierarchy, "CHUNK", 7)
    assert np.array_equal(project.rows(0, 90), whole)
    assert project.surprisal(sets[0]) == pytest.approx(judged)


def test_a_context_that_cuts_sentences_is_refused():
    with pytest.raises(GridError, match=r"context 12 .* multiple of 8"):
        hierarchy.load("hierarchy", 12)
