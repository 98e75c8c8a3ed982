"""The model: what it holds, what it costs, and that nothing leaks between replicas or places."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scalefit.flops import TransformerShape
from trainers.models.transformer import Transformer

SHAPES = [
    TransformerShape(vocab=11, context=6, width=4, depth=1, heads=1, hidden=16),
    TransformerShape(vocab=96, context=16, width=12, depth=3, heads=3, hidden=48),
    TransformerShape(vocab=128, context=8, width=16, depth=2, heads=2, hidden=40),
]


def filled(shape, seeds):
    """A model none of whose weights is zero."""
    model = Transformer(shape, seeds)
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape[1:], generator=draw))
    return model


def tokens(shape, replicas, sequences=2):
    draw = torch.Generator().manual_seed(1)
    size = (replicas, sequences, shape.context)
    return torch.randint(shape.vocab, size, generator=draw)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_model_holds_what_is_counted_by_group(shape):
    model = Transformer(shape, [0, 1])
    assert model.params() == shape.params()
    assert sum(weight.numel() for weight in model.parameters()) == 2 * shape.params().total


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_agree_with_torchs_own_counter(shape):
    model, batch = filled(shape, [0]), tokens(shape, 1)
    with FlopCounterMode(display=False) as counter:
        model(batch).sum().backward()
    assert counter.get_total_flops() == shape.training_flops_per_token() * batch.numel()


def test_a_replica_starts_from_its_own_seed_alone():
    together, alone = Transformer(SHAPES[1], [5, 7]), Transformer(SHAPES[1], [7])
    for both, one in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.equal(both[1], one[0])
    assert not torch.equal(together.embedding[0], together.embedding[1])


def test_an_untrained_model_knows_nothing():
    logits = Transformer(SHAPES[1], [0])(tokens(SHAPES[1], 1))
    assert torch.all(logits == 0)


def test_no_position_sees_a_later_one():
    shape = SHAPES[1]
    model, batch = filled(shape, [0]), tokens(shape, 1)
    changed = batch.clone()
    changed[..., 9] = (changed[..., 9] + 1) % shape.vocab
    logits = model(batch).view(2, shape.context, -1)
    others = model(changed).view(2, shape.context, -1)
    assert torch.allclose(logits[:, :9], others[:, :9], atol=1e-6)
    assert not torch.allclose(logits[:, 9:], others[:, 9:], atol=1e-3)


def test_positions_enter_by_their_distance():
    turn = Transformer(SHAPES[1], [0]).rotation
    relative = turn[:, None] * turn.conj()
    assert torch.allclose(relative.abs(), torch.ones(1))
    assert torch.allclose(relative[1:, 1:], relative[:-1, :-1], atol=1e-5)
    assert not torch.allclose(relative[0, 1:], relative[0, :-1], atol=0.1)


def test_a_poisoned_replica_leaves_the_others_alone():
    shape = SHAPES[2]
    model, batch = filled(shape, [0, 1, 2]), tokens(shape, 3)
    clean = model(batch)
    with torch.no_grad():
        model.up[0][1].fill_(torch.nan)
    logits = model(batch)
    assert logits[1].isnan().all()
    assert torch.equal(logits[[0, 2]], clean[[0, 2]])
