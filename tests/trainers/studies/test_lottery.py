"""Lottery tickets on the digits; the authors' setting, made small, on made images."""

import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import torch

from scalefit.errors import StudyError
from trainers.studies import lottery
from trainers.study import Ask

SMALL = dataclasses.replace(lottery.DIGITS, rounds=2, steps=40, every=20)


@pytest.fixture(scope="module")
def table():
    return lottery.run(Ask(seeds=range(3)))


@pytest.fixture(scope="module")
def found(table):
    return lottery.outcomes(table)


@pytest.mark.slow
def test_with_few_weights_a_ticket_beats_both_others_in_every_seed(found):
    test, soon = lottery._cells(found)
    assert len(test) == 6
    assert (test[lottery.TICKET] > test[lottery.ANEW]).all()
    assert (test[lottery.ANEW] > test[lottery.RANDOM]).all()
    assert (soon[lottery.TICKET] <= soon[lottery.ANEW] / 2).all()


@pytest.mark.slow
def test_a_ticket_of_a_twelfth_is_as_good_as_all(found):
    tickets = found[found["arm"] == lottery.TICKET].pivot_table("test", "kept", "seed")
    assert (tickets.loc[tickets.index < 0.1].iloc[-1] >= tickets.iloc[-1] - 0.015).all()


@pytest.mark.slow
def test_before_training_a_ticket_is_better_than_chance(table):
    start = table[(table["step"] == 0) & (table["arm"] == lottery.TICKET)]
    assert (start[start["kept"].between(0.1, 0.5)]["test"] > 0.5).all()


@pytest.mark.slow
def test_what_is_said_is_what_the_table_holds(table, found):
    finding = lottery.find(table)
    assert finding.showed
    least = found[found["kept"] == found["kept"].min()].groupby("arm")["test"].mean()
    assert f"ticket has {least[lottery.TICKET]:.3f}" in finding.text[0]
    assert f"drawn anew {least[lottery.ANEW]:.3f}" in finding.text[0]
    assert len(lottery.draw(table).axes) == 2


@pytest.mark.slow
def test_where_a_ticket_is_no_better_it_does_not_show(table):
    swapped = {lottery.TICKET: lottery.RANDOM, lottery.RANDOM: lottery.TICKET}
    finding = lottery.find(table.assign(arm=table["arm"].replace(swapped)))
    assert not finding.showed
    assert "best of the three in 0 of 6" in finding.text[0]
    assert "never (ticket)" in finding.text[1]


def test_where_to_stop_and_how_soon_are_read_on_the_development_part():
    rows = [(0, 2.0, 0.5, 0.1), (1, 0.5, 0.91, 0.7), (2, 0.9, 0.95, 0.9)]
    table = pd.DataFrame(rows, columns=["step", "loss", "right", "test"])
    outcome = lottery.outcomes(table.assign(seed=0, arm=lottery.TICKET, kept=1.0)).iloc[0]
    assert (outcome["test"], outcome["stop"], outcome["soon"]) == (0.7, 1, 1)


def test_seeds_trained_together_are_those_trained_alone(monkeypatch):
    monkeypatch.setattr(lottery, "DIGITS", SMALL)
    keys = ["kept", "arm", "seed", "step"]
    both, alone = (lottery.run(Ask(seeds=seeds)).set_index(keys) for seeds in ([0, 2], [2]))
    same = both.loc[alone.index]
    assert same["loss"].to_numpy() == pytest.approx(alone["loss"].to_numpy(), rel=1e-3)
    assert same["test"].to_numpy() == pytest.approx(alone["test"].to_numpy(), abs=0.01)


def test_the_three_parts_hold_each_image_once():
    parts = lottery._digits([0, 1])
    assert [inputs.shape[:2] for inputs, _ in parts] == [(6, 600), (6, 400), (6, 797)]
    every = torch.cat([inputs for inputs, _ in parts], 1)
    assert torch.equal(every[0], every[2])  # seed 0 in two arms
    assert every.sum(1)[0].numpy() == pytest.approx(every.sum(1)[1].numpy(), rel=1e-5)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """A file as Keras stores it, of few images, each bright at the place of its class."""
    draw, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 300), ("test", 50)):
        labels = np.arange(count) % 10
        images = draw.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        images[np.arange(count), 2 * labels, 5:20] = 255
        arrays |= {f"x_{part}": images, f"y_{part}": labels.astype(np.uint8)}
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    (tmp_path / "mnist.npz").write_bytes(stored.getvalue())
    small = dataclasses.replace(lottery.MNIST, rounds=1, steps=60, every=20)
    monkeypatch.setattr(lottery, "MNIST", small)
    monkeypatch.setattr(lottery, "HELD", 50)
    return tmp_path / "mnist.npz"


def test_the_full_form_trains_on_mnist_and_says_how_far_it_has_come(mnist):
    told = []
    table = lottery.run(Ask(seeds=range(2), full=True, data=mnist, tell=told.append))
    assert [text[:12] for text in told] == ["round 0 of 1", "round 1 of 1"]
    assert table["kept"].unique() == pytest.approx([1.0, 213_300 / 266_200], abs=1e-3)
    assert (table[table["step"] == 60]["test"] > 0.5).all()
    assert lottery.find(table).numbers["ticket"] > 0.5
    assert len(lottery.draw(table).axes) == 2


def test_the_full_form_is_that_of_the_paper():
    setting = lottery.MNIST
    assert (setting.sizes, setting.cut, setting.steps) == ((784, 300, 100, 10), 0.2, 50_000)
    assert (setting.lr, setting.batch, setting.cuts) == (1.2e-3, 60, (0.2, 0.2, 0.1))


def test_the_full_form_without_a_file_says_what_to_bring():
    with pytest.raises(StudyError, match=r"mnist\.npz with --data"):
        lottery.run(Ask(seeds=range(1), full=True))
