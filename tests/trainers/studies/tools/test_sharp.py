"""Curvature, noise and training of convolutional networks."""

from functools import partial
from itertools import islice

import pytest
import torch
from torch import nn

from trainers.studies.tools import sharp
from trainers.studies.tools.cnn import drawn


def small():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip


def pictures(count=12):
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 6, 6, generator=draw)
    return images, torch.arange(count) % 3


def test_trace_and_top_eigenvalue_are_those_of_the_dense_hessian():
    network, (images, labels) = drawn(small, 0).double(), pictures()
    images = images.double()
    network(images)  # norms are to read something else than 0 and 1
    network.eval()
    names, shapes = zip(
        *((name, one.shape) for name, one in network.named_parameters()), strict=True
    )
    flat = torch.cat([one.detach().flatten() for one in network.parameters()])

    def loss(row):
        parts = torch.split(row, [shape.numel() for shape in shapes])
        there = {n: part.view(s) for n, part, s in zip(names, parts, shapes, strict=True)}
        outputs = torch.func.functional_call(network, there, (images,))
        return nn.functional.cross_entropy(outputs, labels)

    dense = torch.autograd.functional.hessian(loss, flat)
    found = sharp.sharpness(network.train(), images, labels, probes=400, steps=len(flat))
    assert found["top"] == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)
    assert abs(found["trace"] - float(dense.trace())) < 4 * found["trace_error"]
    assert found["trace_error"] < 0.1 * found["trace"]


def test_losses_and_shares_are_told_of_the_network_as_it_is_used():
    network, (images, labels) = drawn(small, 0), pictures()
    loss, wrong = sharp.known(network.train(), images, labels)
    network.eval()
    outputs = network(images).detach()
    assert loss == pytest.approx(float(nn.functional.cross_entropy(outputs, labels)), rel=1e-5)
    assert wrong == pytest.approx(float((outputs.argmax(1) != labels).double().mean()))
    weights = torch.cat([network[0].weight.flatten(), network[5].weight.flatten()])
    assert sharp.length(network) == pytest.approx(float(weights.detach().norm()), rel=1e-6)


def test_noise_leaves_the_network_as_it_is_and_takes_answers_away_as_it_grows():
    network, (images, _) = drawn(small, 0).eval(), pictures(60)
    labels, before = network(images).argmax(1), network[0].weight.clone()
    options = {"draws": 5, "seed": 0}
    assert sharp.noisy(network, images, labels, share=0.0, **options) == 1.0
    less, more = (sharp.noisy(network, images, labels, share=n, **options) for n in (0.1, 2.0))
    assert 1.0 > less > more
    assert torch.equal(network[0].weight, before)


def test_batches_are_of_one_size_and_show_no_image_twice_in_an_epoch():
    found = list(islice(sharp.rows(10, 4, torch.Generator().manual_seed(0)), 5))
    assert [len(one) for one in found] == [4] * 5
    for epoch in (found[:2], found[2:4]):
        assert len(torch.cat(epoch).unique()) == 8
    assert not torch.equal(found[0], found[2])
    whole = next(sharp.rows(3, 4, torch.Generator().manual_seed(0)))
    assert sorted(whole.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_walk_is_sgd_at_the_rate_of_each_step_in_training_mode(momentum):
    images, labels = pictures()
    walked, stepped = drawn(small, 0), drawn(small, 0)
    losses = sharp.shown(walked, images, labels, batch=4, seed=3)
    stops = sharp.walk(
        walked, losses, rate=lambda step: 0.1 / (step + 1), stops=(2, 5), momentum=momentum
    )
    for _ in stops:
        sharp.known(walked, images, labels)  # it leaves the network in eval mode
    order = sharp.rows(12, 4, torch.Generator().manual_seed(3))
    optimiser = torch.optim.SGD(stepped.parameters(), lr=0.1, momentum=momentum)
    for step, chosen in enumerate(islice(order, 5)):
        optimiser.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimiser.zero_grad()
        nn.functional.cross_entropy(stepped(images[chosen]), labels[chosen]).backward()
        optimiser.step()
    for one, other in zip(walked.state_dict().values(), stepped.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_walk_at_one_rate_learns():
    network, (images, labels) = drawn(small, 0), pictures()
    losses = partial(sharp.shown, batch=12, seed=0)(network, images, labels)
    told = [
        sharp.known(network, images, labels)[0]
        for _ in sharp.walk(network, losses, rate=0.1, stops=(20, 200))
    ]
    assert told[1] < told[0]
