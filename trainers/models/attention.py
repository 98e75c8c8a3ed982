"""Causal self-attention with rotary positions (Su et al. 2021, arXiv:2104.09864), in two ways.

PyTorch's fused attention is made for long contexts. At a few dozen tokens on a CPU, three batched
products and a softmax take less time, and less again if the turning by position, both ways through,
happens in the one copy of queries, keys and values that is made anyway.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor

ROTARY_BASE = 10_000.0
SHORT = 64
"""Tokens up to which the batched products are the faster way on a CPU."""


def attention(read: Tensor, rotation: Tensor, mask: Tensor) -> Tensor:
    """What every token gathers from those before it and itself, (sequences, context, width).

    `read` (sequences, context, 3, heads, head width) holds queries, keys and values, `rotation`
    is that of ``rotations``, `mask` that of ``causal``.
    """
    short = read.shape[1] <= SHORT and read.device.type == "cpu"
    if short and read.dtype == rotation.real.dtype:
        mixed: Tensor = _Products.apply(read, rotation, mask)  # type: ignore[no-untyped-call]
        return mixed
    pairs = torch.view_as_complex(
        read[:, :, :2].float().reshape(*read.shape[:2], 2, *read.shape[3:4], -1, 2)
    )
    turned = torch.view_as_real(pairs * rotation[:, None, None]).flatten(-2).to(read.dtype)
    query, key = turned.transpose(1, 3).unbind(2)
    value = read[:, :, 2].transpose(1, 2)
    fused = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return fused.transpose(1, 2).flatten(-2)


def rotations(context: int, head_width: int) -> Tensor:
    """Unit complex numbers (context, head_width / 2) of angle position * frequency."""
    frequency = ROTARY_BASE ** (-torch.arange(0, head_width, 2) / head_width)
    angle = torch.outer(torch.arange(context).float(), frequency)
    return torch.polar(torch.ones_like(angle), angle)


def causal(context: int) -> Tensor:
    """What is added to the scores (context, context): nothing, or -inf for a later token."""
    return torch.full((context, context), -torch.inf).triu(1)


class _Products(torch.autograd.Function):
    """The same by batched products; one copy on the way in and one on the way back."""

    @staticmethod
    def forward(ctx: Any, read: Tensor, rotation: Tensor, mask: Tensor) -> Tensor:
        count, context, _, heads, size = read.shape
        apart = torch.empty(3, count, heads, context, size, dtype=read.dtype)
        apart.copy_(read.permute(2, 0, 3, 1, 4))
        _turn(apart[:2], rotation)
        query, key, value = apart.view(3, -1, context, size).unbind(0)
        shares = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=size**-0.5).softmax(-1)
        ctx.save_for_backward(apart, shares, rotation)
        mixed = shares.bmm(value).view(count, heads, context, size)
        return mixed.transpose(1, 2).reshape(count, context, heads * size)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        apart, shares, rotation = ctx.saved_tensors
        _, count, heads, context, size = apart.shape
        query, key, value = apart.view(3, -1, context, size).unbind(0)
        above = gradients[0].view(count, context, heads, size).transpose(1, 2)
        above = above.reshape(-1, context, size)
        found = torch.empty_like(apart)
        by_query, by_key, by_value = found.view(3, -1, context, size).unbind(0)
        torch.bmm(shares.transpose(1, 2), above, out=by_value)
        of_shares = above.bmm(value.transpose(1, 2))
        scores = torch._softmax_backward_data(of_shares, shares, -1, shares.dtype)  # noqa: SLF001
        scores.mul_(size**-0.5)
        torch.bmm(scores, key, out=by_query)
        torch.bmm(scores.transpose(1, 2), query, out=by_key)
        _turn(found[:2], rotation.conj())
        together = torch.empty(count, context, 3, heads, size, dtype=apart.dtype)
        together.copy_(found.permute(1, 3, 0, 2, 4))
        return together, None, None


def _turn(pairs: Tensor, rotation: Tensor) -> None:
    """Turn queries and keys (2, sequences, heads, context, head width) in place."""
    torch.view_as_complex(pairs.view(*pairs.shape[:-1], -1, 2)).mul_(rotation)
