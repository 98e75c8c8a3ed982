"""The Markov sources: their entropy against what they emit."""

import hashlib

import numpy as np
import pytest

from trainers.sources import markov
from trainers.sources.base import source


@pytest.fixture(scope="module")
def chain():
    return markov.load("markov", 32)


@pytest.fixture(scope="module")
def second():
    return markov.load("markov2", 32)


@pytest.fixture(params=["markov", "markov2"])
def either(request):
    return source(request.param, 32)


def test_rows_are_those_of_every_earlier_version(chain):
    """Runs of other days must stay comparable; change this digest only with the chain's number."""
    digests = [
        hashlib.sha256(rows.tobytes()).hexdigest()
        for rows in (chain.rows(0, 1000), chain.held_out(1000).rows)
    ]
    assert digests == [
        "b9b6cbebf4c87d03939a124bb7a2cb1aeed4e2a2ca64232ef8b4c427730848d5",
        "5ec7f96d716e757438542851ee5d71964b57cd815e32a6ae8c52cc8373578f9d",
    ]


def test_transitions_are_distributions_with_a_stationary_one(chain):
    assert chain.transition.sum(axis=1) == pytest.approx(np.ones(chain.classes))
    stationary = chain.stationary()
    assert stationary @ chain.transition == pytest.approx(stationary)
    assert stationary.sum() == pytest.approx(1)
    assert stationary.min() > 0


def test_a_step_of_second_order_leaves_the_stationary_pairs_as_they_are(second):
    assert second.transition.sum(axis=2) == pytest.approx(np.ones((32, 32)))
    pairs = second.stationary()
    moved = np.einsum("ab,abc->bc", pairs, second.transition)
    assert moved == pytest.approx(pairs, abs=1e-14)
    assert pairs.sum() == pytest.approx(1)
    assert pairs.min() > 0


def test_entropy_of_chains_known_by_hand():
    fair = markov.Markov(context=2, transition=np.full((4, 4), 0.25))
    assert fair.entropy == pytest.approx(np.log(4))
    p, q = 0.1, 0.4
    flip = markov.Markov(context=2, transition=np.array([[1 - p, p], [q, 1 - q]]))
    binary = [-x * np.log(x) - (1 - x) * np.log(1 - x) for x in (p, q)]
    assert flip.entropy == pytest.approx((q * binary[0] + p * binary[1]) / (p + q))


def test_a_chain_of_second_order_that_forgets_one_symbol_is_one_of_first_order():
    first = np.array([[0.9, 0.1], [0.4, 0.6]])
    short = markov.SecondOrder(context=5, transition=np.stack([first, first]))
    known = markov.Markov(context=5, transition=first).entropy
    assert short.rate == pytest.approx(known)
    assert short.entropy == pytest.approx(known)


def test_the_first_target_of_second_order_is_judged_by_one_symbol():
    """The next symbol is the one before the last with chance 0.8: one symbol alone tells nothing.

    Symbols two apart form a fair two-state chain of their own.
    """
    keep = np.array([[0.8, 0.2], [0.2, 0.8]])
    every_other = markov.SecondOrder(context=4, transition=np.repeat(keep[:, None], 2, axis=1))
    rate = -0.8 * np.log(0.8) - 0.2 * np.log(0.2)
    assert every_other.rate == pytest.approx(rate)
    assert every_other.entropy == pytest.approx((np.log(2) + 3 * rate) / 4)
    rows = np.array([[0, 1, 0, 1, 1]])
    expected = -(np.log(0.5) + np.log(0.8) + np.log(0.8) + np.log(0.2)) / 4
    assert every_other.surprisal(rows) == pytest.approx([expected])


def test_samples_have_exactly_that_entropy(either):
    surprisal = either.surprisal(either.rows(seed=0, count=20_000))
    error = surprisal.std() / np.sqrt(len(surprisal))
    assert error < 0.003
    assert surprisal.mean() == pytest.approx(either.entropy, abs=4 * error)


def test_samples_follow_the_transitions_from_stationary_starts(chain):
    rows = chain.rows(seed=1, count=40_000).astype(np.int64)
    pairs = np.zeros((chain.classes, chain.classes))
    np.add.at(pairs, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
    expected = pairs.sum(axis=1, keepdims=True) * chain.transition
    likely = expected > 20
    z = (pairs - expected)[likely] / np.sqrt(expected[likely])
    assert 0.9 < z.std() < 1.1
    starts = np.bincount(rows[:, 0], minlength=chain.classes) / len(rows)
    assert np.abs(starts - chain.stationary()).max() < 0.005


def test_samples_of_second_order_follow_their_transitions_at_every_place(second):
    rows = second.rows(seed=1, count=40_000).astype(np.int64)
    for place in (0, 31):
        pairs = np.zeros((32, 32))
        np.add.at(pairs, (rows[:, place], rows[:, place + 1]), 1)
        assert _spread(pairs, second.stationary() * len(rows)) == pytest.approx(1, abs=0.15)
    triples = np.zeros((32, 32, 32))
    np.add.at(triples, (rows[:, :-2].ravel(), rows[:, 1:-1].ravel(), rows[:, 2:].ravel()), 1)
    expected = triples.sum(axis=2, keepdims=True) * second.transition
    assert _spread(triples, expected) == pytest.approx(1, abs=0.1)


def _spread(counts, expected):
    """Standard deviation of the counts in units of their own chance error."""
    likely = expected > 20
    return ((counts - expected)[likely] / np.sqrt(expected[likely])).std()


def test_seeds_share_no_row_with_each_other_or_with_the_held_out(either):
    held = either.held_out(50)
    sets = [either.rows(seed, 50) for seed in range(4)] + [held.rows]
    assert len(np.unique(np.concatenate(sets), axis=0)) == 5 * 50
    assert held.surprisal == pytest.approx(either.surprisal(held.rows))
    assert np.array_equal(sets[0], either.rows(0, 90)[:50])


def test_a_number_that_rounds_up_to_one_still_draws_a_symbol():
    chances = np.full((1024, 2), 0.5)
    highest = np.array([np.nextafter(1.0, 0.0)])
    assert markov._drawn(chances, np.array([1023]), highest) == [1]


def test_entropy_lies_where_a_small_model_can_reach_it(chain, second):
    assert 3 < chain.entropy < 3.6 < np.log(chain.classes)
    assert 2 < second.rate < second.entropy < 2.5


def test_the_symbol_before_the_last_tells_much_in_second_order(second):
    pairs = second.stationary()
    last_alone = markov._entropy(pairs.sum(axis=1), markov._conditional(pairs))
    assert last_alone - second.rate > 0.3


def test_the_two_chains_have_configurations_of_their_own(chain, second):
    assert chain.config()["name"] == "markov"
    assert second.config()["name"] == "markov2"
