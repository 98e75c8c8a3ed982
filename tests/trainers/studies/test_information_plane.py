"""The information plane, with tanh and with ReLU, by kind of bins."""

import numpy as np
import pytest
import torch

from trainers.studies import information_plane as plane
from trainers.studies.tools.mlp import draw_networks
from trainers.study import Ask

pytestmark = pytest.mark.slow
LAST = len(plane.HIDDEN)


@pytest.fixture(scope="module")
def table():
    return plane.run(Ask(seeds=range(5)))


@pytest.fixture(scope="module")
def last(table):
    found = plane.falls(table)
    found = found[found["layer"] == LAST]
    return found.pivot_table("fall", ["activation", "bins"], "seed")


def test_the_last_layer_compresses_with_tanh_and_not_with_relu(last):
    assert (last.loc[plane.TANH, plane.MAIN] > 2.0).all()
    assert ((last.loc[plane.RELU, plane.MAIN] < 1.0).sum()) >= 4


def test_how_far_it_falls_is_a_matter_of_bins(last):
    tanh = last.loc[plane.TANH]
    assert (tanh.max() > 2.0 * tanh.min()).sum() >= 4
    assert last.loc[plane.RELU, plane.PRESENT].mean() > 0.5


def test_both_learn_the_rule(table):
    end = table[table["step"] == plane.STEPS].groupby("activation")["test"].mean()
    assert end[plane.TANH] > 0.95
    assert end[plane.RELU] > 0.85


def test_no_layer_tells_more_than_there_is(table):
    assert table["input"].between(-1e-9, 12.0 + 1e-9).all()
    assert table["output"].between(-1e-9, 1.0 + 1e-9).all()
    assert (table["output"] <= table["input"] + 1e-9).all()


def test_what_is_said_is_what_the_table_holds(table, last):
    finding = plane.find(table)
    assert finding.showed
    assert f"{last.loc[plane.TANH, plane.MAIN].mean():.2f} bits" in finding.text[0]
    assert "does not follow" in finding.text[3]
    assert len(plane.draw(table).axes) == 3


def test_where_nothing_falls_it_does_not_show(table):
    finding = plane.find(table.assign(input=5.0))
    assert not finding.showed
    assert "0.00 bits" in finding.text[0]


def test_where_both_fall_it_does_not_show(table):
    tanh = table[table["activation"] == plane.TANH]
    relu = tanh.assign(activation=plane.RELU)
    assert not plane.find(plane.pd.concat([tanh, relu])).showed


def test_what_is_never_learned_is_not_said_to_be(table):
    finding = plane.find(table.assign(train=0.5))
    assert "at no step" in finding.text[1]
    assert "nan" not in " ".join(finding.text)


def test_one_seed_is_enough_to_be_said_and_drawn(table):
    one = table[table["seed"] == 0]
    assert plane.find(one).showed
    assert plane.draw(one).axes


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(plane, "POINTS", 1)
    monkeypatch.setattr(plane, "STEPS", 20)
    keys = ["seed", "activation", "layer", "step"]
    alone = plane.run(Ask(seeds=[3])).query("bins == 0").set_index(keys)
    together = table.query("bins == 0").set_index(keys).loc[alone.index]
    for name in ("train", "test", "input", "output"):
        assert together[name].to_numpy() == pytest.approx(alone[name].to_numpy(), abs=0.02)


def test_half_of_the_inputs_are_meant_and_turning_changes_nothing():
    inputs, labels = plane.task()
    assert inputs.shape == (4096, 12)
    assert labels.double().mean().item() == pytest.approx(0.5, abs=0.02)
    # cyclic turns of the axes take corner 3 g + t to 3 g + t + 1
    turned = inputs.view(-1, 4, 3).roll(1, 2).flatten(1)
    places = ((turned > 0).long() * 2 ** torch.arange(11, -1, -1)).sum(1)
    assert torch.equal(labels[places], labels)


def test_entropy_is_that_of_counts():
    codes = torch.tensor([[3, 3, 3, 3], [1, 2, 1, 2], [7, 8, 9, 7], [5, 6, 7, 8]])
    assert plane.entropy(codes).tolist() == pytest.approx([0.0, 1.0, 1.5, 2.0])


def test_what_a_layer_tells_is_what_a_table_of_counts_tells():
    draw = torch.Generator().manual_seed(0)
    states = torch.rand(2, 3, 50, 2, generator=draw)
    labels = torch.randint(2, (50,), generator=draw)
    found = plane.told(states, labels, 5)
    for place, (step, seed) in enumerate(np.ndindex(2, 3)):
        low, high = states[:, seed].min(), states[:, seed].max()
        bins = ((states[step, seed] - low) / (high - low) * 5).long().clamp(max=4)
        rows = [tuple(row) for row in bins.tolist()]
        pairs = list(zip(rows, labels.tolist(), strict=True))
        known = _entropy(rows)
        assert found["input"][place] == pytest.approx(known)
        told = known + _entropy(labels.tolist()) - _entropy(pairs)
        assert found["output"][place] == pytest.approx(told)


def _entropy(values):
    shares = np.array([values.count(one) for one in set(values)]) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def test_a_layer_that_says_nothing_tells_nothing():
    found = plane.told(torch.zeros(1, 2, 8, 3), torch.arange(8) % 2, plane.PRESENT)
    assert found["input"].tolist() == found["output"].tolist() == [0.0, 0.0]


def test_states_are_those_the_network_goes_through():
    networks = draw_networks((0, 1), (4, 3, 2, 2), activation=torch.tanh)
    inputs = torch.randn(6, 4)
    first, second = plane.layers(networks, inputs)
    assert torch.allclose(first, torch.tanh(inputs @ networks.weights[0]))
    outputs = second @ networks.weights[2] + networks.biases[2]
    assert torch.allclose(outputs, networks(inputs), atol=1e-6)
