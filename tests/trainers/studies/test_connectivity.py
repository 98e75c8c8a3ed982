"""Mode connectivity of networks that know the digits."""

import matplotlib as mpl
import pytest

from trainers.studies import connectivity
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return connectivity.run(Ask(seeds=range(3)))


def test_the_straight_way_is_high_and_the_trained_bend_is_flat(table):
    found = connectivity.barriers(table)
    assert (found["straight loss"] > 0.3).all()
    assert (found["bent loss"] < 0.02).all()
    assert (found["straight test"] > 0.15).all()
    assert (found["bent test"] < found["ends test"] + 0.03).all()


def test_both_ways_have_the_same_ends_which_fit_and_differ(table):
    for place in (0.0, 1.0):
        ends = table[table["place"] == place].set_index(["seed", "way"]).unstack("way")
        assert ends["loss"]["straight"].to_numpy() == pytest.approx(ends["loss"]["bent"], rel=1e-4)
        assert (ends["train"] == 0).all(axis=None)


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(connectivity, "BEND_STEPS", 10)
    both, alone = (connectivity.run(Ask(seeds=seeds)) for seeds in ((0, 1), (1,)))
    both = both[both["seed"] == 1].reset_index(drop=True)
    assert both["loss"].to_numpy() == pytest.approx(alone["loss"], rel=1e-2)


def test_what_is_said_is_what_the_table_holds(table):
    finding = connectivity.find(table)
    assert finding.showed
    assert "in 3 of 3 seeds" in finding.text[0]
    bent = table[table["way"] == "bent"].groupby("seed")["loss"].max()
    assert finding.numbers["bent"] == pytest.approx(bent.mean())
    figure = connectivity.draw(table)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert isinstance(figure, mpl.figure.Figure)


def test_without_a_barrier_or_without_a_flat_bend_it_is_not_shown(table):
    low = table.assign(loss=table["loss"].where(table["way"] == "bent", 0.001))
    assert not connectivity.find(low).showed
    straight = table[table["way"] == "straight"]
    high = connectivity.find(
        connectivity.pd.concat([straight, straight.assign(way="bent")], ignore_index=True)
    )
    assert not high.showed
    assert "in 0 of 3 seeds" in high.text[0]
    assert connectivity.find(table[table["seed"] == 0]).showed
