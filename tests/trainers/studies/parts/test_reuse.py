"""Networks that inherit weights, and the training of the paper that had the idea."""

from dataclasses import replace

import pytest
import torch

from trainers.studies.parts.reuse import PAPER, Paper, descend, glorot, grown, trained
from trainers.studies.tools.mlp import draw_networks, squared, walk, wrong

TINY = Paper(examples=12, widths=(1, 2, 9), epochs=3, every=2, batch=4, rate=0.02)


def data(replicas=2, examples=12):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.rand(replicas, examples, 5, generator=draw)
    return inputs, torch.randint(10, (replicas, examples), generator=draw)


def test_the_papers_widths_have_from_4000_to_800_000_parameters():
    sizes = [draw_networks([0], (784, width, 10)).size for width in PAPER.widths]
    assert 3900 < sizes[0] < 4100
    assert 795_000 < sizes[-1] < 805_000
    assert sum(size < PAPER.examples * 10 for size in sizes) == 15


def test_first_weights_are_those_of_glorot_and_of_each_seed_alone():
    networks = glorot([0, 1], (300, 100, 10))
    first = networks.weights[0]
    assert first.abs().max() <= (6 / 400) ** 0.5
    assert first.var() == pytest.approx(2 / 400, rel=0.05)
    assert torch.equal(first[1:], glorot([1], (300, 100, 10)).weights[0])


def test_a_grown_network_keeps_its_first_units():
    last = draw_networks([0, 1], (5, 2, 10))
    last = replace(last, biases=tuple(bias + 0.5 for bias in last.biases))
    new = grown(last, draw_networks([0, 1], (5, 4, 10)), 0.1)
    assert torch.equal(new.weights[0][..., :2], last.weights[0])
    assert torch.equal(new.weights[1][:, :2], last.weights[1])
    assert torch.equal(new.biases[1], last.biases[1])
    silent = replace(new, weights=(new.weights[0], new.weights[1].clone()))
    silent.weights[1][:, 2:] = 0.0
    inputs = torch.rand(7, 5)
    assert torch.allclose(silent(inputs), last(inputs), atol=1e-6)


def test_new_units_have_small_weights():
    new = grown(draw_networks([0], (50, 1, 10)), draw_networks([0], (50, 90, 10)), 0.1)
    assert new.weights[0][..., 1:].std() == pytest.approx(0.1, rel=0.1)
    assert (new.biases[0][..., 1:] == 0).all()


def test_above_the_threshold_it_is_sgd_with_momentum():
    """Against PyTorch's."""
    inputs, labels = data()
    start = draw_networks([0, 1], (5, 9, 10))
    paper = replace(TINY, batch=12)
    found = descend(start, inputs, labels, paper, below=False)
    *_, (_, reached) = walk(
        start,
        inputs,
        torch.eye(10)[labels],
        loss=squared,
        lr=paper.rate,
        stops=[3],
        adam=False,
        momentum=paper.momentum,
    )
    for one, other in zip(found.parameters, reached.parameters, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_below_the_threshold_the_step_size_falls():
    inputs, labels = data()
    start = draw_networks([0, 1], (5, 1, 10))
    two = replace(TINY, epochs=2, decay=0.0, momentum=0.0)
    stood = descend(start, inputs, labels, replace(two, epochs=3), below=True)
    for one, other in zip(
        descend(start, inputs, labels, two, below=True).parameters, stood.parameters, strict=True
    ):
        assert torch.equal(one, other)


def test_a_replica_that_misses_no_label_stops_and_the_other_goes_on():
    inputs, labels = data(examples=6)
    start = draw_networks([0, 1], (5, 40, 10))
    fits = start(inputs).argmax(-1)
    labels = torch.stack([fits[0], labels[1]])
    one_epoch, more = (
        descend(start, inputs, labels, replace(TINY, epochs=epochs, rate=1e-4), below=True)
        for epochs in (1, 4)
    )
    assert wrong(one_epoch(inputs), labels).tolist()[0] == 0.0
    assert torch.equal(one_epoch.weights[0][0], more.weights[0][0])
    assert not torch.equal(one_epoch.weights[0][1], more.weights[0][1])


def test_widths_come_in_turn_and_start_anew_above_the_threshold():
    inputs, labels = data()
    still = replace(TINY, epochs=0)
    one, two, nine = trained([0, 1], inputs, labels, still)
    assert [networks.weights[0].shape[-1] for networks in (one, two, nine)] == [1, 2, 9]
    assert torch.equal(two.weights[0][..., :1], one.weights[0])
    assert nine.size >= 120 > two.size
    assert torch.equal(nine.weights[0], glorot([0, 1], (5, 9, 10)).weights[0])
