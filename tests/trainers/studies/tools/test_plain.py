"""Deep networks of the papers on CIFAR-10, and how they are trained."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainers.studies.tools import plain
from trainers.studies.tools.cnn import drawn
from trainers.studies.tools.directions import bend

RECIPE = plain.Recipe(rate=0.1, epochs=3, factor=lambda begun: begun, decay=0.2, batch=6)


def size(network):
    return sum(one.numel() for one in network.parameters())


def data(count=6):
    draw = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 2, 2, generator=draw), torch.arange(count)


def linear(seed=0):
    return drawn(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), seed)


def test_networks_have_the_known_numbers_of_parameters():
    assert size(plain.no_shortcuts(56)) == 853_018  # ResNet-56's: its shortcuts have none
    convolutions = 14_714_688  # VGG-16's, without its classifier
    assert size(plain.vgg16()) == convolutions + 2 * (512 * 512 + 512) + 512 * 10 + 10


def test_a_network_without_shortcuts_halves_its_image_twice():
    sides, images = [], torch.rand(2, 3, 32, 32)
    network = plain.no_shortcuts(14, factor=2)
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    assert network(images).shape == (2, 10)
    stages = [(32, 32, 32)] * 5 + [(64, 16, 16)] * 4 + [(128, 8, 8)] * 4
    assert sides == stages


def test_vgg_sees_an_image_to_its_last_pixel_and_drops_only_in_training():
    network, images = drawn(partial(plain.vgg16, 8), 0), torch.rand(2, 3, 32, 32)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert network(images).shape == (2, 10)
    assert torch.equal(network(images), network(images))
    kinds = [type(layer) for layer in network]
    assert (kinds.count(nn.Conv2d), kinds.count(nn.Linear), kinds.count(nn.Dropout)) == (13, 3, 2)


def test_colours_are_standardised_by_what_the_layer_was_given():
    images = torch.rand(2, 3, 4, 4)
    found = plain.Colours((0.1, 0.2, 0.3), (1.0, 2.0, 4.0))(images)
    assert torch.allclose(found[:, 2], (images[:, 2] - 0.3) / 4)
    assert torch.allclose(found[:, 0], images[:, 0] - 0.1)


def test_rates_fall_as_in_the_papers():
    epochs = [plain.tenths(epoch / 300) for epoch in (1, 150, 151, 225, 226, 275, 276, 300)]
    assert epochs == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    found = [plain.falling(begun) for begun in (0.005, 0.5, 0.7, 0.9, 1.0)]
    assert found == pytest.approx([1.0, 1.0, 0.505, 0.01, 0.01])


@pytest.mark.parametrize("nesterov", [False, True])
def test_training_does_what_the_recipe_says(monkeypatch, nesterov):
    """Against the update written out, all images in one batch and none of them moved."""
    monkeypatch.setattr(plain, "augmented", lambda images, _: images)
    images, labels = data()
    network, heard = linear(), []
    weight, bias = (one.detach().clone().requires_grad_() for one in network.parameters())
    speeds = [torch.zeros_like(one) for one in (weight, bias)]
    recipe = replace(RECIPE, nesterov=nesterov)
    plain.trained(network, (images, labels), recipe=recipe, seed=0, tell=heard.append)
    for epoch in (1, 2, 3):
        loss = functional.cross_entropy(images.flatten(1) @ weight.T + bias, labels)
        slopes = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            for one, slope, speed in zip((weight, bias), slopes, speeds, strict=True):
                pull = slope + 0.2 * one
                speed.mul_(0.9).add_(pull)
                one.sub_(0.1 * epoch / 3 * (pull + 0.9 * speed if nesterov else speed))
    assert torch.allclose(network[1].weight, weight, atol=1e-6)
    assert torch.allclose(network[1].bias, bias, atol=1e-6)
    assert heard == ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"]
    assert not network.training


def test_training_learns_what_can_be_seen_and_a_seed_gives_it_again():
    images, labels = torch.rand(40, 3, 32, 32), torch.arange(40) % 2
    images[labels == 1] *= 0.2
    recipe = plain.Recipe(rate=0.02, epochs=6, factor=plain.tenths, nesterov=True, batch=20)
    found = []
    for _ in range(2):
        network = drawn(partial(plain.no_shortcuts, 8), 0)
        plain.trained(network, (images, labels), recipe=recipe, seed=0, tell=lambda _: None)
        found.append(plain.measured(network, plain.parameters(network), images, labels))
    assert found[0][1] < 0.1
    assert torch.equal(*found)


def test_dropout_is_drawn_from_the_seed_and_leaves_the_common_stream_alone():
    images, labels = torch.rand(6, 3, 32, 32), torch.arange(6)
    recipe = plain.Recipe(rate=0.01, epochs=1, factor=plain.falling)
    state, found = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        network = drawn(partial(plain.vgg16, 2), 0)
        plain.trained(network, (images, labels), recipe=recipe, seed=seed, tell=lambda _: None)
        found.append(network[-1].weight.detach())
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_network_is_measured_at_any_place_some_images_at_a_time(monkeypatch):
    monkeypatch.setattr(plain, "AT_ONCE", 4)
    images, labels = data(10)
    network, other = linear(0), linear(1)
    found = plain.measured(network, plain.parameters(other), images, labels)
    outputs = other(images)
    assert found[0].item() == pytest.approx(functional.cross_entropy(outputs, labels).item())
    assert found[1].item() == pytest.approx((outputs.argmax(1) != labels).double().mean().item())
    own = plain.outputs_at(network, plain.parameters(network), images)
    assert torch.equal(own, network(images))


def test_norms_use_what_they_saw_in_training_away_from_it_too():
    images, labels = torch.rand(5, 3, 32, 32), torch.arange(5)
    network = drawn(partial(plain.no_shortcuts, 8), 0)
    network(images)  # in training: statistics move
    network.eval()
    before = [one.clone() for one in network.buffers()]
    place = tuple(1.1 * one for one in plain.parameters(network))
    together = plain.measured(network, place, images, labels)[0]
    alone = [plain.measured(network, place, images[[i]], labels[[i]])[0] for i in range(5)]
    assert together.item() == pytest.approx(torch.stack(alone).mean().item(), rel=1e-5)
    assert all(map(torch.equal, before, network.buffers()))


def test_a_step_of_a_bend_is_the_gradient_at_the_place_that_was_drawn(monkeypatch):
    monkeypatch.setattr(plain, "augmented", lambda images, _: images)
    images, labels = data()
    network = linear()
    ends = plain.parameters(network), plain.parameters(linear(1))
    recipe = replace(RECIPE, epochs=1, decay=0.0)
    control = plain.bent(
        network, ends, (images, labels), recipe=recipe, weight=0.3, seed=4, tell=lambda _: None
    )
    with torch.random.fork_rng():
        torch.manual_seed(4)
        place = torch.rand(())
    middle = [(a + b) / 2 for a, b in zip(*ends, strict=True)]
    at = [one.clone().requires_grad_() for one in bend(ends[0], middle, ends[1])(place)]
    loss = functional.cross_entropy(images.flatten(1) @ at[0][0].T + at[1][0], labels)
    slopes = torch.autograd.grad(loss + 0.15 * sum(one.square().sum() for one in at), at)
    for found, start, slope in zip(control, middle, slopes, strict=True):
        assert torch.allclose(found, start - 0.1 * 2 * place * (1 - place) * slope, atol=1e-6)
