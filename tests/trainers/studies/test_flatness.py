"""Flatness against the ratio of learning rate to batch size."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import flatness
from trainers.studies.parts.vgg import VGG
from trainers.studies.tools.mlp import draw_networks, squared
from trainers.study import Ask

pytestmark = pytest.mark.slow
GD, SGD, ADAM = flatness.GD, flatness.SGD, flatness.ADAM


@pytest.fixture(scope="module")
def table():
    return flatness.run(Ask(seeds=range(4)))


@pytest.fixture(scope="module")
def wide(table):
    return table.pivot_table(index="seed", columns="arm", values="trace")


def test_every_network_is_measured_at_the_same_training_loss(table):
    assert table["matched"].all()
    assert table["loss"].between(0.9 * flatness.TARGET, flatness.TARGET).all()
    assert len(table) == 4 * len((GD, *SGD, *ADAM))
    assert (table["trace_error"] < 0.1 * table["trace"]).all()


def test_sgd_is_flatter_than_gradient_descent_and_the_more_so_the_noisier(table, wide):
    assert (wide[SGD[3].name] <= 0.6 * wide[GD.name]).all()
    same_rate = wide[[GD.name, SGD[0].name, SGD[1].name, SGD[3].name]]
    assert (same_rate.diff(axis=1).iloc[:, 1:] < 0).all(axis=None)
    tops = table.groupby("arm")["top"].mean()
    assert tops[SGD[3].name] < 0.6 * tops[GD.name]


def test_equal_ratios_come_nearer_than_twice_the_ratio(wide):
    for one, other in ((SGD[1], SGD[2]), (SGD[3], SGD[4])):
        assert one.lr / one.batch == pytest.approx(other.lr / other.batch)
        assert abs(np.log(wide[one.name] / wide[other.name]).mean()) < 0.2
    assert np.log(wide[SGD[1].name] / wide[SGD[3].name]).mean() > 0.2


def test_gradient_descent_stays_where_its_steps_are_stable(table):
    assert (table.loc[table["optimiser"] == "GD", "top"] < 1.05 * 2 / GD.lr).all()


def test_a_seed_trained_among_others_is_the_seed_alone(monkeypatch):
    monkeypatch.setattr(flatness, "MOST", 60)
    ends = []
    for seeds in ([0, 2], [2]):
        inputs, labels, _, _ = flatness._data(Ask(seeds=seeds))
        start = draw_networks(seeds, flatness.SIZES)
        ends.append(flatness._arrive(GD, start, inputs, torch.eye(10)[labels])[1])
    together, alone = (networks.weights[0][-1] for networks in ends)
    torch.testing.assert_close(together, alone)


def test_a_network_is_kept_where_it_first_came_under_the_target(monkeypatch):
    inputs, labels, _, _ = flatness._data(Ask(seeds=[0, 1]))
    targets, start = torch.eye(10)[labels], draw_networks([0, 1], flatness.SIZES)
    monkeypatch.setattr(flatness, "TARGET", 0.6)
    steps, kept = flatness._arrive(GD, start, inputs, targets)
    assert steps[0] != steps[1]
    losses = squared(kept(inputs), targets)
    assert (losses < 0.6).all()
    assert (losses > 0.5).all()
    monkeypatch.setattr(flatness, "MOST", 20)
    monkeypatch.setattr(flatness, "TARGET", 0.0)
    assert flatness._arrive(GD, start, inputs, targets)[0].tolist() == [20, 20]


def test_what_is_said_is_what_the_table_holds(table, wide):
    finding = flatness.find(table)
    assert finding.showed
    assert f"{wide[GD.name].mean():.0f} for gradient descent" in finding.text[1]
    assert finding.numbers["ratio"] == pytest.approx((wide[SGD[3].name] / wide[GD.name]).mean())
    assert len(flatness.draw(table).axes) == 3


def test_without_the_phenomenon_none_is_found(table):
    flat = table.assign(trace=300.0 + table["seed"])
    assert not flatness.find(flat).showed
    unequal = table.copy()
    unequal.loc[unequal["arm"] == SGD[4].name, "trace"] *= 2
    finding = flatness.find(unequal)
    assert not finding.showed
    assert "less than is told" in finding.text[2]


@pytest.mark.parametrize("seeds", [[0], [2, 3]])
def test_what_did_not_arrive_is_not_compared(table, seeds):
    part = table[table["seed"].isin(seeds)].reset_index(drop=True)
    lost = (part["seed"] == seeds[0]) & (part["optimiser"] == "GD")
    part.loc[lost, ["loss", "trace", "top"]] = np.nan
    part.loc[lost, "matched"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        finding = flatness.find(part)
        flatness.draw(part)
    assert not finding.showed
    assert finding.text[0].startswith(f"{len(seeds) - 1} of {len(seeds)} seeds")


def test_one_seed_is_enough_to_run(table):
    assert flatness.find(table[table["seed"] == 1]).numbers["falls"] == 1.0


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The full form with four arms of a tiny network, on images without meaning."""
    path, heard = tmp_path_factory.mktemp("images") / "c.tar.gz", []
    archive(path, images_a_file=4)
    arms = ((0.1, 8), (0.1, 4), (0.1, 2), (0.05, 2), (0.05, 1))
    tiny = VGG(width=1, arms=arms, epochs=2, target=9.0, images=8, probes=2, lanczos=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flatness, "PAPER", tiny)
        table = flatness.run(Ask(seeds=range(2), full=True, data=path, tell=heard.append))
    assert heard[-1].startswith("seed 1, SGD, rate 0.05, batch 1: epoch 1 of at most 2, loss ")
    return table


def test_the_full_form_is_told_in_words_of_its_own_table(full):
    finding = flatness.find(full)
    means = full.groupby("arm")[["trace", "test"]].mean()
    first, last = "SGD, rate 0.1, batch 8", "SGD, rate 0.1, batch 2"
    assert finding.text[0].startswith("2 of 2 seeds came under a training loss of 9 in every")
    assert f"{means['trace'][first]:.3g} for SGD in batches of 8, " in finding.text[1]
    assert "for SGD at rate 0.1 in batches of 4 and 2 (means)" in finding.text[1]
    assert "the loss of 8 training images" in finding.text[3]
    assert f"{means['test'][first]:.1%} of test images with SGD in batches of 8" in finding.text[4]
    assert finding.numbers["trace_sgd"] == pytest.approx(means["trace"][last])
    said = " ".join((finding.criterion, *finding.text))
    assert "gradient descent" not in said
    assert "Adam" not in said


def test_the_full_form_finds_the_phenomenon_where_it_is(full, tmp_path):
    made = full.assign(trace=(full["ratio"] ** -0.5) * (1 + full["seed"]))
    made.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    finding = flatness.find(again)
    assert finding.showed
    assert finding.numbers["ratio"] == pytest.approx(0.5)
    assert finding.numbers["equal_high"] == pytest.approx(1.0)
    assert not flatness.find(again.assign(trace=again["seed"] + 1.0)).showed


def test_the_full_form_is_drawn_also_where_nothing_arrived(full):
    assert len(flatness.draw(full).axes) == 3
    assert not flatness.find(never := full.assign(matched=False)).showed
    assert len(flatness.draw(never).axes) == 3


def test_the_full_form_without_images_says_which_to_bring():
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        flatness.run(Ask(seeds=[0], full=True))
