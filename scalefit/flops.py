"""Parameters and training FLOPs of models, counted exactly: most of all transformers.

Three conventions are in use, and a law fitted under one does not hold under another:

* Kaplan et al. 2020 (arXiv:2001.08361, section 2.1) leave the embedding out of the parameters, and
  count 6 FLOPs for each remaining parameter and token (2 forward, 4 backward).
* Hoffmann et al. 2022 (arXiv:2203.15556, appendix F) count every layer, attention scores and the
  output matrix included, and let the backward pass cost twice the forward pass; their N is all
  parameters.
* Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B) give 6 N + 12 L H Q T a token: the same
  attention term (L layers, H heads of width Q, context T), over the full T x T square.

Here: every matrix product at 2 FLOPs for a multiply and an add, attention over the full square
(kernels differ in how much of the masked half they skip), training at three times the forward pass.
A layer that reads the data itself costs twice its forward pass in place of three times: nobody asks
for the gradient of the data. Table look-up, norms, activations, pooling, softmax and the optimiser
are not counted. "A token" is one prediction: of a sequence each of its tokens, else a whole image
or a whole sample.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

MLP_RATIO = 4
"""Hidden units of an MLP for each unit of width, where nothing else is said."""
BACKWARD_AND_FORWARD = 3
"""Forward passes that training costs: one, and as much for each of the two gradients."""
TAPS = 9
"""Weights of a 3x3 convolution for each pair of channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamCount:
    """Parameters of one model by group; the groups add up to `total`."""

    embedding: int
    attention: int
    mlp: int
    head: int
    convolution: int = 0

    @property
    def total(self) -> int:
        """All parameters: N of Hoffmann et al."""
        return self.embedding + self.non_embedding + self.head

    @property
    def non_embedding(self) -> int:
        """All but the embedding table and the output matrix: N of Kaplan et al."""
        return self.attention + self.mlp + self.convolution


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerShape:
    """The sizes that determine a decoder-only transformer without biases, gains or tied weights.

    `vocab` symbols, `context` tokens a sequence, `width` of the residual stream, `depth` blocks,
    `heads` attention heads that share the width, `hidden` units of each MLP.
    """

    vocab: int
    context: int
    width: int
    depth: int
    heads: int
    hidden: int

    FAMILY: ClassVar[str] = "transformer"

    def params(self) -> ParamCount:
        """Count the parameters by group."""
        return ParamCount(
            embedding=self.vocab * self.width,
            attention=self.depth * 4 * self.width**2,
            mlp=self.depth * 2 * self.width * self.hidden,
            head=self.width * self.vocab,
        )

    def forward_flops_per_token(self) -> dict[str, float]:
        """FLOPs of one token's forward pass, by layer in the order of the computation."""
        block = {
            "projections": 8.0 * self.width**2,
            "scores": 4.0 * self.context * self.width,
            "mlp": 4.0 * self.width * self.hidden,
        }
        layers = {
            f"block {index} {part}": flops
            for index in range(self.depth)
            for part, flops in block.items()
        }
        return layers | {"head": 2.0 * self.width * self.vocab}

    def training_flops_per_token(self) -> float:
        """FLOPs of one token's forward and backward pass."""
        return BACKWARD_AND_FORWARD * sum(self.forward_flops_per_token().values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CnnShape:
    """The sizes that determine a residual CNN without biases or gains; each image is a token.

    Square images of `side` pixels and `channels` colours, in one of `classes`. `depth` 3x3
    convolutions of `width` channels, the first from the pixels. Between them, at even distances,
    the side is halved (rounded up) log2(side / 4) times, or as often as there is room for; then
    follow an average over all places and a linear classifier.
    """

    side: int
    channels: int
    classes: int
    width: int
    depth: int

    FAMILY: ClassVar[str] = "cnn"

    @property
    def context(self) -> int:
        """One prediction an image."""
        return 1

    @property
    def sides(self) -> tuple[int, ...]:
        """The side at which each convolution works, (depth,)."""
        stages = 1 + min(self.depth - 1, max(0, self.side.bit_length() - 3))
        halvings = (layer * stages // self.depth for layer in range(self.depth))
        return tuple(-(-self.side // 2**count) for count in halvings)

    def params(self) -> ParamCount:
        """Count the parameters by group."""
        return ParamCount(
            embedding=0,
            attention=0,
            mlp=0,
            head=self.width * self.classes,
            convolution=TAPS * self.width * (self.channels + (self.depth - 1) * self.width),
        )

    def forward_flops_per_token(self) -> dict[str, float]:
        """FLOPs of one image's forward pass, by layer in the order of the computation.

        Taps that meet the zeros around an image are counted like the others: kernels do them.
        """
        read = (self.channels, *[self.width] * (self.depth - 1))
        layers = {
            f"convolution {index}": 2.0 * TAPS * channels * self.width * side**2
            for index, (channels, side) in enumerate(zip(read, self.sides, strict=True))
        }
        return layers | {"head": 2.0 * self.width * self.classes}

    def training_flops_per_token(self) -> float:
        """FLOPs of one image's forward and backward pass; pixels need no gradient."""
        layers = self.forward_flops_per_token()
        return BACKWARD_AND_FORWARD * sum(layers.values()) - layers["convolution 0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearShape:
    """Linear regression on the first `width` features of a sample; each sample is a token."""

    width: int

    FAMILY: ClassVar[str] = "linear"

    @property
    def depth(self) -> int:
        """One layer."""
        return 1

    @property
    def context(self) -> int:
        """One prediction a sample."""
        return 1

    def params(self) -> ParamCount:
        """A weight a feature, and no bias."""
        return ParamCount(embedding=0, attention=0, mlp=0, head=self.width)

    def forward_flops_per_token(self) -> dict[str, float]:
        """A multiply and an add a feature."""
        return {"head": 2.0 * self.width}

    def training_flops_per_token(self) -> float:
        """Forward and the gradient of the weights; features need no gradient."""
        return 2.0 * self.forward_flops_per_token()["head"]


def six_nd(params: Any, tokens: Any) -> Any:
    """Training FLOPs by C = 6 N D, of numbers or arrays (Kaplan et al. 2020, section 2.1)."""
    return 6.0 * params * tokens
