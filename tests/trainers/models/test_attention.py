"""Attention by batched products against PyTorch's fused one, forward and backward."""

import pytest
import torch

from trainers.models import attention as module
from trainers.models.attention import attention, causal, rotations


def gathered(context, heads, size, monkeypatch, short):
    """What is gathered, and the gradient of its weighted sum by what was read."""
    monkeypatch.setattr(module, "SHORT", short)
    draw = torch.Generator().manual_seed(4)
    read = torch.randn(5, context, 3, heads, size, generator=draw, requires_grad=True)
    mixed = attention(read, rotations(context, size), causal(context))
    weight = torch.randn(mixed.shape, generator=draw)
    (gradient,) = torch.autograd.grad((mixed * weight).sum(), read)
    return mixed, gradient


@pytest.mark.parametrize(("context", "heads", "size"), [(2, 1, 2), (7, 3, 8), (16, 2, 4)])
def test_both_ways_give_the_same(context, heads, size, monkeypatch):
    products = gathered(context, heads, size, monkeypatch, short=64)
    fused = gathered(context, heads, size, monkeypatch, short=0)
    for one, other in zip(products, fused, strict=True):
        assert torch.allclose(one, other, atol=2e-6)


def test_a_token_alone_gathers_its_own_value():
    read = torch.randn(3, 1, 3, 2, 4)
    mixed = attention(read, rotations(1, 4), causal(1))
    assert torch.allclose(mixed.view(3, 2, 4), read[:, 0, 2])


def test_only_distances_count():
    """Shift every token by a place: the scores of the shifted ones stay."""
    read = torch.randn(1, 6, 3, 1, 8)
    read[:, 1:] = read[:, :1]
    turned = rotations(6, 8)
    mixed = attention(read, turned, causal(6))
    assert torch.allclose(mixed[0, 3], mixed[0, 5], atol=1e-6)
