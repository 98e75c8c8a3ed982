"""Networks of the papers on CIFAR-10, and their training."""

from functools import partial

import pytest
import torch
from torch import nn

from trainers.studies.tools import cnn
from trainers.studies.tools.cnn import Recipe, drawn, five_layers, resnet18, share_wrong, walk


def size(network):
    return sum(one.numel() for one in network.parameters())


def test_the_usual_resnet_18_has_the_known_number_of_parameters():
    convolutions = 3 * 64 * 9 + 4 * 64 * 64 * 9
    for width in (128, 256, 512):
        convolutions += width * (width // 2) * 10 + 3 * width * width * 9
    norms = 2 * (4 * 64 + 64 + 3 * 128 + 128 + 3 * 256 + 256 + 3 * 512)
    assert size(resnet18(64)) == convolutions + norms + 512 * 10 + 10 == 11_171_146


@pytest.mark.parametrize("build", [five_layers, resnet18])
def test_images_of_cifar_get_one_number_a_class(build):
    assert build(2)(torch.rand(3, 3, 32, 32)).shape == (3, 10)


def test_five_layers_see_an_image_at_four_sides():
    sides = []
    network = five_layers(2)
    for layer in network:
        layer.register_forward_hook(lambda _, __, out: sides.append(tuple(out.shape[1:])))
    network(torch.rand(2, 3, 32, 32))
    kept = [one for layer, one in zip(network, sides, strict=True) if isinstance(layer, nn.Conv2d)]
    assert kept == [(2, 32, 32), (4, 32, 32), (8, 16, 16), (16, 8, 8)]
    assert sides[-1] == (10,)


def test_a_seed_draws_the_network_whatever_was_drawn_before():
    first = drawn(partial(five_layers, 2), 3)
    state = torch.get_rng_state()
    torch.rand(7)
    again, other = drawn(partial(five_layers, 2), 3), drawn(partial(five_layers, 2), 4)
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    torch.set_rng_state(state)


def test_a_block_without_change_of_size_adds_to_what_it_got():
    block = cnn.Block(4, 4, 1)
    nn.init.zeros_(block.second.weight)
    state = torch.rand(2, 4, 8, 8)
    assert torch.equal(block(state), state)


def test_augmented_images_are_moved_or_mirrored_ones():
    images = torch.rand(40, 3, 8, 8)
    seen = cnn.augmented(images, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images, (4,) * 4)
    mirrored = 0
    for image, wide in zip(seen, padded, strict=True):
        moves = [(a, b) for a in range(9) for b in range(9)]
        parts = {move: wide[:, move[0] : move[0] + 8, move[1] : move[1] + 8] for move in moves}
        straight = any(torch.equal(image, part) for part in parts.values())
        turned = any(torch.equal(image, part.flip(2)) for part in parts.values())
        assert straight or turned
        mirrored += turned and not straight
    assert 8 < mirrored < 32


def test_standardised_colours_have_mean_0_and_deviation_1():
    train = 3.0 + 2.0 * torch.randn(50, 3, 8, 8)
    images, tests = cnn.standardised(train, train + 2.0)
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert images.std((0, 2, 3)) == pytest.approx(torch.ones(3), abs=1e-4)
    assert tests.mean() == pytest.approx(1.0, abs=0.05)
    flat, _ = cnn.standardised(torch.ones(5, 1, 4, 4), torch.ones(1, 1, 4, 4))
    assert flat.isfinite().all()


def lit(count=60):
    """Images that are bright in one of two halves, and which it is."""
    labels = torch.arange(count) % 2
    images = 0.1 * torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images[labels == 1, :, :16] += 1.0
    images[labels == 0, :, 16:] += 1.0
    return images, labels


@pytest.mark.parametrize(
    ("build", "recipe"),
    [(five_layers, Recipe(rate=0.1, batch=20)), (resnet18, Recipe(rate=1e-3, adam=True, batch=20))],
)
def test_training_learns_what_can_be_seen(build, recipe):
    images, labels = lit()
    network = drawn(partial(build, 2), 0)
    before = share_wrong(network, images, labels)
    assert list(walk(network, images, labels, recipe=recipe, stops=(5, 40), seed=0)) == [5, 40]
    assert share_wrong(network, images, labels) < 0.1 < before


def test_sgd_does_what_its_schedule_says(monkeypatch):
    """Against the update written out, past a change of the rate."""
    monkeypatch.setattr(cnn, "EVERY", 2)
    images, labels = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)), torch.arange(4)
    network = nn.Linear(6, 10)
    weight = network.weight.detach().clone().requires_grad_()
    bias = network.bias.detach().clone().requires_grad_()
    recipe = Recipe(rate=0.5, batch=4)
    list(walk(network, images, labels, recipe=recipe, stops=(6,), seed=0))
    for step in range(6):
        loss = nn.functional.cross_entropy(images @ weight.T + bias, labels)
        slopes = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            for one, slope in zip((weight, bias), slopes, strict=True):
                one.sub_(0.5 / (1 + step // 2) ** 0.5 * slope)
    assert torch.allclose(network.weight, weight, atol=1e-6)


def test_an_epoch_shows_every_image_once():
    batches = cnn.rows(10, 4, torch.Generator().manual_seed(0), rest=True)
    sizes = [next(batches) for _ in range(3)]
    assert [len(one) for one in sizes] == [4, 4, 2]
    assert sorted(torch.cat(sizes).tolist()) == list(range(10))


def test_errors_are_counted_by_what_norms_saw_in_training(monkeypatch):
    monkeypatch.setattr(cnn, "AT_ONCE", 3)
    images, labels = torch.rand(7, 3, 32, 32), torch.arange(7)
    network = drawn(partial(five_layers, 2), 0)
    found = cnn.outputs(network, images)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(found, alone, atol=1e-5)
    wrong = (alone.argmax(1) != labels).double().mean()
    assert share_wrong(network, images, labels) == pytest.approx(float(wrong))
