"""The CNN: what it holds, what it costs, and that nothing leaks between replicas or images."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scalefit.flops import CnnShape
from trainers.models.base import build
from trainers.models.cnn import Cnn
from trainers.optim import AdamW

SHAPES = [
    CnnShape(side=8, channels=1, classes=10, width=2, depth=1),
    CnnShape(side=9, channels=1, classes=4, width=5, depth=4),
    CnnShape(side=32, channels=3, classes=100, width=8, depth=6),
]


def filled(shape, seeds):
    """A model none of whose weights is zero."""
    model = Cnn(shape, seeds)
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        model.head.copy_(torch.randn(model.head.shape, generator=draw))
    return model


def images(shape, replicas, count=3):
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (replicas, count, shape.channels * shape.side**2), generator=draw)
    classes = torch.randint(shape.classes, (replicas, count, 1), generator=draw)
    return torch.cat([pixels, classes], dim=-1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_model_holds_what_is_counted_by_group(shape):
    model = build(shape, [0, 1])
    assert model.params() == shape.params()
    assert sum(weight.numel() for weight in model.parameters()) == 2 * shape.params().total
    grouped = [weight for group in model.groups().values() for weight in group]
    assert {id(weight) for weight in grouped} == {id(weight) for weight in model.parameters()}


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_agree_with_torchs_own_counter(shape):
    model, batch = filled(shape, [0]), images(shape, 1)
    with FlopCounterMode(display=False) as counter:
        model.losses(batch)
    assert counter.get_total_flops() == 3 * sum(shape.forward_flops_per_token().values())
    with FlopCounterMode(display=False) as counter:
        model.losses(batch).sum().backward()
    assert counter.get_total_flops() == 3 * shape.training_flops_per_token()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_replica_computes_what_it_computes_alone(shape):
    together, alone, batch = Cnn(shape, [5, 7, 8]), Cnn(shape, [7]), images(shape, 3)
    for both, one in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(both[1], one[0])
    optimisers = [
        AdamW(model.groups(), {"matrices": [0.01] * count, "embedding": [0.02] * count})
        for model, count in ((together, 3), (alone, 1))
    ]
    for _ in range(3):
        for optimiser, model, part in zip(
            optimisers, (together, alone), (batch, batch[1:2]), strict=True
        ):
            optimiser.aim(1.0)
            model.losses(part).sum().backward()
            optimiser.step()
    assert torch.allclose(together.losses(batch)[1], alone.losses(batch[1:2])[0], atol=1e-4)
    assert (together.losses(batch) - together.losses(batch)[1]).abs().max() > 1e-3


def test_an_untrained_model_knows_nothing():
    losses = Cnn(SHAPES[0], [0]).losses(images(SHAPES[0], 1))
    assert losses.shape == (1, 3, 1)
    assert torch.allclose(losses, torch.tensor(10.0).log())


def test_losses_are_those_of_the_class_in_the_last_column():
    shape = SHAPES[1]
    model, batch = filled(shape, [0, 1]), images(shape, 2)
    chances = model(batch[..., :-1]).softmax(-1)
    expected = -chances.gather(-1, batch[..., -1:]).log()
    assert torch.allclose(model.losses(batch), expected, atol=1e-5)


def test_an_image_is_judged_alone():
    shape = SHAPES[1]
    model, batch = filled(shape, [0]), images(shape, 1, count=4)
    whole = model(batch[..., :-1])
    assert torch.allclose(whole[:, 2:3], model(batch[:, 2:3, :-1]), atol=1e-5)


def test_a_poisoned_replica_leaves_the_others_alone():
    shape = SHAPES[1]
    model, batch = filled(shape, [0, 1, 2]), images(shape, 3)
    clean = model.losses(batch)
    with torch.no_grad():
        model.first[1].fill_(torch.nan)
    losses = model.losses(batch)
    assert losses[1].isnan().all()
    assert torch.equal(losses[[0, 2]], clean[[0, 2]])


def test_widths_start_alike():
    shapes = [CnnShape(side=8, channels=1, classes=10, width=width, depth=3) for width in (4, 64)]
    spreads = [
        [weight.detach().std() for weight in Cnn(shape, range(20)).blocks] for shape in shapes
    ]
    for narrow, wide in zip(*spreads, strict=True):
        assert float(narrow / wide) == pytest.approx(4, rel=0.1)
