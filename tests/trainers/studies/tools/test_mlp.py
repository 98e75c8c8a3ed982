"""Batched networks are what as many single ones would be."""

from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from trainers.studies.tools.mlp import (
    cross_entropy,
    draw_networks,
    squared,
    train,
    walk,
    wrong,
)

INPUTS = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
TARGETS = torch.eye(3)[LABELS][None]


def single(networks, replica):
    """The same network as a module of PyTorch."""
    layers = []
    for weight, bias in zip(networks.weights, networks.biases, strict=True):
        layer = nn.Linear(weight.shape[1], weight.shape[2])
        layer.weight.data = weight[replica].T.clone()
        layer.bias.data = bias[replica, 0].clone()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_outputs_are_those_of_a_module_of_pytorch():
    networks = draw_networks((4, 9), (5, 7, 6, 3))
    for replica in range(2):
        assert torch.allclose(networks(INPUTS)[replica], single(networks, replica)(INPUTS))


def test_each_replica_may_have_inputs_of_its_own():
    networks = draw_networks((4, 9), (5, 7, 3))
    both = networks(torch.stack([INPUTS, INPUTS.flip(0)]))
    assert torch.allclose(both[1], networks(INPUTS)[1].flip(0), atol=1e-6)


def test_parameters_are_counted_for_one_replica():
    assert draw_networks(range(3), (5, 7, 3)).size == 5 * 7 + 7 + 7 * 3 + 3


def test_a_seed_gives_the_same_network_beside_any_others():
    alone, among = draw_networks([5], (5, 7, 3)), draw_networks([1, 5, 2], (5, 7, 3))
    assert all(torch.equal(a[0], b[1]) for a, b in zip(alone.weights, among.weights, strict=True))
    assert not torch.equal(among.weights[0][0], among.weights[0][1])


def test_weights_have_the_deviation_asked_for():
    layer = draw_networks([0], (400, 300, 1), gain=1.5).weights[0]
    assert layer.std().item() == pytest.approx(1.5 / 20, rel=0.02)


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, lambda leaves: torch.optim.AdamW(leaves, lr=0.01, weight_decay=0.0)),
        ({"decay": 0.3}, lambda leaves: torch.optim.AdamW(leaves, lr=0.01, weight_decay=0.3)),
        (
            {"adam": False, "momentum": 0.9},
            lambda leaves: torch.optim.SGD(leaves, lr=0.01, momentum=0.9),
        ),
    ],
)
def test_training_is_that_of_each_network_alone(options, made):
    start = draw_networks((4, 9), (5, 7, 3))
    trained, _ = train(start, INPUTS, TARGETS, loss=squared, steps=12, lr=0.01, **options)
    for replica in range(2):
        module = single(start, replica)
        optimiser = made(module.parameters())
        for _ in range(12):
            optimiser.zero_grad()
            squared(module(INPUTS)[None], TARGETS).sum().backward()
            optimiser.step()
        assert torch.allclose(trained(INPUTS)[replica], module(INPUTS), atol=1e-5)


def test_the_start_is_left_as_it_was():
    start = draw_networks([0], (5, 7, 3))
    before = start.weights[0].clone()
    trained, _ = train(start, INPUTS, TARGETS, loss=squared, steps=3, lr=0.1)
    assert torch.equal(start.weights[0], before)
    assert not torch.equal(trained.weights[0], before)
    assert not any(one.requires_grad for one in trained.parameters)


def test_what_is_measured_stands_in_a_row_a_seed_and_step():
    start = draw_networks((4, 9), (5, 7, 3))
    trained, history = train(
        start,
        INPUTS,
        TARGETS,
        loss=squared,
        steps=6,
        lr=0.01,
        measure=lambda networks: {"loss": squared(networks(INPUTS), TARGETS)},
        at=(0, 2, 6),
    )
    assert history["step"].tolist() == [0, 0, 2, 2, 6, 6]
    assert history["seed"].tolist() == [4, 9] * 3
    loss = history["loss"].to_numpy()
    assert loss[:2] == pytest.approx(squared(start(INPUTS), TARGETS).numpy())
    assert loss[4:] == pytest.approx(squared(trained(INPUTS), TARGETS).numpy())


def test_a_walk_passes_through_what_shorter_training_reaches():
    start = draw_networks([3], (5, 7, 3))
    seen = dict(walk(start, INPUTS, TARGETS, loss=squared, lr=0.01, stops=(2, 5), batch=8))
    short, _ = train(start, INPUTS, TARGETS, loss=squared, steps=2, lr=0.01, batch=8)
    assert torch.equal(seen[2].weights[0], short.weights[0])
    assert not torch.equal(seen[5].weights[0], short.weights[0])


def test_a_batch_holds_every_example_once_an_epoch():
    sizes, targets = [], torch.arange(20.0)[None, :, None]

    def loss(outputs, wanted):
        sizes.append(wanted[0, :, 0].tolist())
        return squared(outputs, wanted)

    train(draw_networks([0], (5, 2, 1)), INPUTS, targets, loss=loss, steps=8, lr=1e-3, batch=5)
    assert {len(one) for one in sizes} == {5}
    epochs = [sorted(chain.from_iterable(part)) for part in (sizes[:4], sizes[4:])]
    assert epochs == [list(range(20))] * 2
    assert sizes[:4] != sizes[4:]


def test_losses_are_those_of_pytorch():
    outputs = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(1))
    for replica in range(2):
        assert cross_entropy(outputs, LABELS[None])[replica].item() == pytest.approx(
            nn.functional.cross_entropy(outputs[replica], LABELS).item(), rel=1e-6
        )
        assert squared(outputs, TARGETS)[replica].item() == pytest.approx(
            3 * nn.functional.mse_loss(outputs[replica], TARGETS[0]).item(), rel=1e-6
        )
        missed = (outputs[replica].argmax(-1) != LABELS).double().mean()
        assert wrong(outputs, LABELS)[replica] == missed


def test_dropout_changes_outputs_in_training_only_and_keeps_their_mean():
    torch.manual_seed(0)
    networks = draw_networks([0], (5, 64, 3))
    draws = np.mean([networks(INPUTS, dropout=0.3).numpy() for _ in range(2000)], axis=0)
    assert torch.equal(networks(INPUTS), networks(INPUTS))
    assert not torch.equal(networks(INPUTS, dropout=0.3), networks(INPUTS))
    assert draws == pytest.approx(networks(INPUTS).numpy(), abs=0.15)
