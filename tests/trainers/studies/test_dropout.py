"""Training loss with dropout on and off."""

from dataclasses import replace
from itertools import product

import pytest
import torch

pytest.importorskip("sklearn")

from trainers.studies import dropout
from trainers.studies.tools.mlp import cross_entropy, draw_networks
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return dropout.run(Ask(seeds=range(5)))


def test_training_mode_has_the_higher_loss_in_every_run(table):
    last = dropout.ends(table)
    dropped = last[last["dropout"] > 0.0]
    assert len(dropped) == 10
    assert (dropped["train_mode"] > 1.5 * dropped["eval_mode"]).all()


def test_without_dropout_the_modes_are_one(table):
    plain = table[table["dropout"] == 0.0]
    assert plain["train_mode"].to_numpy() == pytest.approx(plain["eval_mode"].to_numpy(), abs=1e-6)


def test_the_logged_loss_hides_the_gap_to_the_development_loss(table):
    last = dropout.ends(table).query("dropout == 0.5")
    assert (last["eval_mode"] < last["development"] / 2.0).all()
    assert (last["train_mode"] > last["development"] / 2.0).all()


def test_over_all_masks_of_a_hidden_layer_the_mean_loss_is_above_the_loss_of_the_mean():
    network = draw_networks([5], (3, 6, 4))
    inputs, labels = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), torch.arange(7)
    outputs, losses = [], []
    for mask in product((0.0, 2.0), repeat=6):  # each unit kept (and doubled) by half
        weight = torch.tensor(mask)[None, :, None] * network.weights[1]
        masked = replace(network, weights=(network.weights[0], weight))
        outputs.append(masked(inputs))
        losses.append(cross_entropy(outputs[-1], labels[None] % 4))
    mean = torch.stack(outputs).mean(0)
    assert torch.allclose(mean, network(inputs), atol=1e-6)
    assert torch.stack(losses).mean() > cross_entropy(mean, labels[None] % 4)


def test_what_is_said_is_what_the_table_holds(table):
    finding = dropout.find(table)
    assert finding.showed
    last = dropout.ends(table).query("dropout == 0.5")
    assert f"{last['train_mode'].mean():.3f} with dropout" in finding.text[0]
    assert not dropout.find(table.assign(train_mode=table["eval_mode"])).showed
    assert len(dropout.draw(table).axes) == 3
