"""Grokking in a quadratic network."""

import pytest
import torch

from trainers.studies import grokking
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return grokking.run(Ask(seeds=range(5)))


def test_the_rest_is_understood_long_after_the_shown_is_fitted(table):
    found = grokking.delays(table)
    main = found[found["arm"] == grokking.ARMS[0].name]
    late = main["understood"] >= 5 * main["fitted"]
    assert (late & (main["before"] <= 0.1)).sum() >= 4
    assert (main["last"] > 0.95).sum() >= 4


def test_more_decay_is_sooner_and_none_is_never(table):
    found = grokking.delays(table).set_index(["arm", "seed"])["understood"].unstack("arm")
    half, whole, none, few = (found[arm.name] for arm in grokking.ARMS)
    assert (whole < half).sum() >= 4
    assert none.isna().all()
    assert few.isna().all()
    last = grokking.delays(table).groupby("arm")["last"].max()
    assert last[grokking.ARMS[2].name] < 0.3
    assert last[grokking.ARMS[3].name] < 0.1


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(grokking, "STEPS", 200)
    alone = grokking._trained(grokking.ARMS[0], [3])
    together = table[(table["arm"] == grokking.ARMS[0].name) & (table["seed"] == 3)]
    both = together["train"].to_numpy()[: len(alone)], alone["train"].to_numpy()
    assert both[0] == pytest.approx(both[1], abs=0.02)


def test_shown_and_other_pairs_are_all_pairs_once():
    shown, hidden = grokking._split(0.5, [0, 1])
    for one, other in zip(shown, hidden, strict=True):
        pairs = torch.cat([one, other])
        assert len({tuple(pair) for pair in pairs.tolist()}) == grokking.PRIME**2
    assert not torch.equal(shown[0], shown[1])


def test_what_is_said_is_what_the_table_holds(table):
    finding = grokking.find(table)
    assert finding.showed
    assert f"{finding.numbers['ratio']:.1f} times" in finding.text[0]
    assert len(grokking.draw(table).axes) == len(grokking.ARMS)
