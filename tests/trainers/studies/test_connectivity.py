"""Mode connectivity of networks that know the digits."""

from dataclasses import replace

import matplotlib as mpl
import pandas as pd
import pytest

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import connectivity
from trainers.studies.tools import plain
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
        ends = table[table["place"] == place].pivot_table(index="seed", columns="way")
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
    high = connectivity.find(pd.concat([straight, straight.assign(way="bent")], ignore_index=True))
    assert not high.showed
    assert "in 0 of 3 seeds" in high.text[0]
    assert connectivity.find(table[table["seed"] == 0]).showed


def test_the_full_form_joins_the_papers_networks(tmp_path, monkeypatch):
    archive(tmp_path / "c.tar.gz", images_a_file=2)
    recipes = {"ends": replace(plain.GARIPOV, epochs=2), "bend": plain.GARIPOV_BEND}
    recipes["bend"] = replace(recipes["bend"], epochs=3)
    monkeypatch.setattr(connectivity, "PAPER", connectivity.Paper(width=2, places=5, **recipes))
    heard = []
    ask = Ask(seeds=range(2), full=True, data=tmp_path / "c.tar.gz", tell=heard.append)
    found = connectivity.run(ask)
    assert heard[:2] == ["seed 0, end 1 of 2, epoch 1 of 2", "seed 0, end 1 of 2, epoch 2 of 2"]
    assert heard[-3:] == [
        "seed 1, bend, epoch 3 of 3",
        "seed 1, along the straight way",
        "seed 1, along the bent way",
    ]
    found.to_parquet(tmp_path / "table.parquet")
    found = pd.read_parquet(tmp_path / "table.parquet")
    assert found.groupby(["seed", "way"]).size().to_list() == [5] * 4
    assert found[["train", "test"]].isin([share / 10 for share in range(11)]).all(axis=None)
    ends = found[found["place"].isin((0.0, 1.0))]
    ends = ends.pivot_table(index=["seed", "place"], columns="way", values="loss")
    assert (ends["straight"] == ends["bent"]).all()
    assert len(set(ends["bent"])) == 4
    assert "greatest of 5 places" in connectivity.find(found).text[0]
    connectivity.draw(found)


def test_networks_that_diverged_join_nothing(table):
    lost = connectivity.find(table.assign(loss=plain.OVERFLOW, test=0.9))
    assert not lost.showed
    assert "in 0 of 3 seeds" in lost.text[0]
    connectivity.draw(table.assign(loss=plain.OVERFLOW, test=0.9))


def test_the_full_form_asks_for_the_images():
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        connectivity.run(Ask(seeds=[0], full=True))
