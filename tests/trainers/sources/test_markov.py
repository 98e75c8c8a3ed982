"""The Markov source: its entropy against what it emits."""

import numpy as np
import pytest

from trainers import synthetic


@pytest.fixture(scope="module")
def chain():
    return synthetic.load(32)


def test_transitions_are_distributions_with_a_stationary_one(chain):
    assert chain.transition.sum(axis=1) == pytest.approx(np.ones(chain.vocab))
    stationary = chain.stationary()
    assert stationary @ chain.transition == pytest.approx(stationary)
    assert stationary.sum() == pytest.approx(1)
    assert stationary.min() > 0


def test_entropy_of_chains_known_by_hand():
    fair = synthetic.Markov(context=2, transition=np.full((4, 4), 0.25))
    assert fair.entropy == pytest.approx(np.log(4))
    p, q = 0.1, 0.4
    flip = synthetic.Markov(context=2, transition=np.array([[1 - p, p], [q, 1 - q]]))
    binary = [-x * np.log(x) - (1 - x) * np.log(1 - x) for x in (p, q)]
    assert flip.entropy == pytest.approx((q * binary[0] + p * binary[1]) / (p + q))


def test_samples_have_exactly_that_entropy(chain):
    surprisal = chain.surprisal(chain.sequences(seed=0, count=20_000))
    error = surprisal.std() / np.sqrt(len(surprisal))
    assert error < 0.003
    assert surprisal.mean() == pytest.approx(chain.entropy, abs=4 * error)


def test_samples_follow_the_transitions_from_stationary_starts(chain):
    sequences = chain.sequences(seed=1, count=40_000).astype(np.int64)
    pairs = np.zeros((chain.vocab, chain.vocab))
    np.add.at(pairs, (sequences[:, :-1].ravel(), sequences[:, 1:].ravel()), 1)
    expected = pairs.sum(axis=1, keepdims=True) * chain.transition
    likely = expected > 20
    z = (pairs - expected)[likely] / np.sqrt(expected[likely])
    assert 0.9 < z.std() < 1.1
    starts = np.bincount(sequences[:, 0], minlength=chain.vocab) / len(sequences)
    assert np.abs(starts - chain.stationary()).max() < 0.005


def test_seeds_share_no_sequence_with_each_other_or_with_the_held_out(chain):
    held = chain.held_out(50)
    sets = [chain.sequences(seed, 50) for seed in range(4)] + [held.sequences]
    assert len(np.unique(np.concatenate(sets), axis=0)) == 5 * 50
    first = sets[0]
    assert held.surprisal == pytest.approx(chain.surprisal(held.sequences))
    assert np.array_equal(first, chain.sequences(0, 90)[:50])


def test_entropy_lies_where_a_small_model_can_reach_it(chain):
    assert 3 < chain.entropy < 3.6 < np.log(chain.vocab)
