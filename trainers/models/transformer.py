"""A decoder-only transformer whose weights carry a leading axis of replicas.

At a few hundred tokens a step the time goes into starting kernels, not into arithmetic. Replicas,
models of one shape that differ in their seed, therefore train as one batched model. No operation
mixes them: replica g computes what it would compute alone.

Pre-norm, rotary positions, causal attention, squared-ReLU MLPs (So et al. 2021, arXiv:2109.08668),
untied embedding and head, no biases and no gains.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from scalefit.flops import ParamCount, TransformerShape
from trainers.models.attention import attention, causal, rotations


class Transformer(nn.Module):
    """`len(seeds)` replicas of one shape; replica g is initialised from `seeds[g]` alone.

    Matrices start at standard deviation 1/sqrt(fan-in), those that write into the residual stream
    or into the logits at zero, the embedding at 1: the widths of one grid then start alike (Yang et
    al. 2022, arXiv:2203.03466, table 3).
    """

    OPTIMISER: ClassVar[str] = "adamw"

    offsets: Tensor
    rotation: Tensor
    mask: Tensor

    def __init__(self, shape: TransformerShape, seeds: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]

        def normal(rows: int, columns: int, std: float) -> nn.Parameter:
            replicas = [torch.randn(rows, columns, generator=draw) for draw in draws]
            return nn.Parameter(std * torch.stack(replicas))

        def zero(rows: int, columns: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(len(draws), rows, columns))

        width, hidden, std = shape.width, shape.hidden, shape.width**-0.5
        self.embedding = normal(shape.vocab, width, 1.0)
        depth = range(shape.depth)
        self.read = nn.ParameterList([normal(width, 3 * width, std) for _ in depth])
        self.write = nn.ParameterList([zero(width, width) for _ in depth])
        self.up = nn.ParameterList([normal(width, hidden, std) for _ in depth])
        self.down = nn.ParameterList([zero(hidden, width) for _ in depth])
        self.head = zero(width, shape.vocab)
        offsets = shape.vocab * torch.arange(len(draws))
        self.register_buffer("offsets", offsets[:, None, None], persistent=False)
        rotation = rotations(shape.context, width // shape.heads)
        self.register_buffer("rotation", rotation, persistent=False)
        self.register_buffer("mask", causal(shape.context), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Next-token logits (replicas, sequences * context, vocab).

        `tokens` are (replicas, sequences, context).
        """
        replicas = tokens.shape[0]
        x = F.embedding(tokens + self.offsets, self.embedding.flatten(0, 1))
        x = x.view(replicas, -1, self.shape.width)
        for read, write, up, down in zip(self.read, self.write, self.up, self.down, strict=True):
            x = torch.baddbmm(x, self._attention(_norm(x).bmm(read)), write)
            x = torch.baddbmm(x, F.relu(_norm(x).bmm(up)).square(), down)
        return _norm(x).bmm(self.head)

    def _attention(self, read: Tensor) -> Tensor:
        """Causal attention (replicas, tokens, width).

        `read` holds queries, keys and values (replicas, tokens, 3 * width).
        """
        shape = self.shape
        parts = read.view(-1, shape.context, 3, shape.heads, shape.width // shape.heads)
        mixed = attention(parts, self.rotation, self.mask)
        return mixed.view(read.shape[0], -1, shape.width)

    def losses(self, batch: Tensor) -> Tensor:
        """Cross-entropy of every next token (replicas, sequences, context), in nats.

        `batch` (replicas, sequences, context + 1) holds the inputs and one further target.
        """
        targets = batch[..., 1:]
        logits = self(batch[..., :-1]).flatten(0, 1)
        return F.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """The embedding apart from the matrices, whose learning rate falls with width."""
        matrices = [weight for name, weight in self.named_parameters() if name != "embedding"]
        return {"embedding": [self.embedding], "matrices": matrices}

    def params(self) -> ParamCount:
        """The parameters that one replica really holds, by group."""

        def held(*tensors: Tensor) -> int:
            return sum(tensor[0].numel() for tensor in tensors)

        return ParamCount(
            embedding=held(self.embedding),
            attention=held(*self.read, *self.write),
            mlp=held(*self.up, *self.down),
            head=held(self.head),
        )


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])
