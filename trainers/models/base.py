"""What a trainer asks of a model and of its shape, whatever the family, and the families by name.

Nothing here loads torch: a grid is planned without it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from scalefit.errors import GridError
from scalefit.flops import MLP_RATIO, CnnShape, LinearShape, ParamCount, TransformerShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainers.sources.base import Source
    from trainers.sources.images import Images


class Shape(Protocol):
    """The sizes that determine a model; a frozen dataclass of plain numbers."""

    FAMILY: ClassVar[str]

    @property
    def width(self) -> int:
        """What a grid varies to vary the parameters."""

    @property
    def depth(self) -> int:
        """Layers, or blocks of them."""

    @property
    def context(self) -> int:
        """Predictions that one example makes: tokens of a sequence, 1 for an image or a sample."""

    def params(self) -> ParamCount:
        """Parameters by group."""

    def training_flops_per_token(self) -> float:
        """FLOPs of one prediction's forward and backward pass."""


class Model(Protocol):
    """`len(seeds)` replicas of one shape as an ``nn.Module``; none reads what another holds."""

    OPTIMISER: ClassVar[str]
    """ "adamw" or "sgd"."""

    def __init__(self, shape: Shape, seeds: Sequence[int]) -> None:
        """Replica g is initialised from `seeds[g]` alone."""

    def losses(self, batch: "Tensor") -> "Tensor":
        """Loss of every prediction, (replicas, examples, predictions).

        `batch` (replicas, examples, row) holds what the source's rows hold.
        """

    def groups(self) -> "Mapping[str, list[nn.Parameter]]":
        """Every parameter, each with replicas as its leading axis, by the rate it is trained at.

        "matrices" are trained at a rate that falls as 1/width, "embedding" at one that does not.
        """

    def params(self) -> ParamCount:
        """The parameters that one replica really holds, by group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a grid file says of its models besides their width, and the file's name for errors."""

    name: str
    depth: int
    context: int
    head_width: int


@dataclass(frozen=True, slots=True)
class Family:
    """How a kind of model is planned and built.

    Attributes:
        keys: those of a grid file that this family needs beyond what every grid has.
        shape: from the layout, a width and the source.
        model: module and class.
    """

    keys: tuple[str, ...]
    shape: "Callable[[Layout, int, Source], Shape]"
    model: tuple[str, str]


def transformer_shape(layout: Layout, width: int, source: "Source") -> TransformerShape:
    """As many heads as fit; GridError if the width does not divide into them."""
    heads = max(1, width // layout.head_width)
    if width % (2 * heads):
        raise GridError(
            f"{layout.name}: width {width} does not divide into {heads} heads of an even width; "
            f"choose a multiple of {2 * heads}, or another head_width than {layout.head_width}"
        )
    return TransformerShape(
        vocab=source.classes,
        context=layout.context,
        width=width,
        depth=layout.depth,
        heads=heads,
        hidden=MLP_RATIO * width,
    )


def cnn_shape(layout: Layout, width: int, source: "Source") -> CnnShape:
    """Of the side and the colours that the source's images have."""
    images = cast("Images", source)  # only such sources name this family
    return CnnShape(
        side=images.side,
        channels=images.channels,
        classes=images.classes,
        width=width,
        depth=layout.depth,
    )


def linear_shape(layout: Layout, width: int, source: "Source") -> LinearShape:
    """The first `width` features; GridError if a sample has fewer."""
    features = source.rows(0, 1).shape[1] - 1
    if width > features:
        raise GridError(
            f"{layout.name}: width {width} is more than the {features} features of a sample; "
            "choose a smaller width"
        )
    return LinearShape(width=width)


FAMILIES: dict[str, Family] = {
    "transformer": Family(
        ("context", "depth", "head_width", "learning_rate", "embedding_rate"),
        transformer_shape,
        ("trainers.models.transformer", "Transformer"),
    ),
    "linear": Family(
        ("embedding_rate",),
        linear_shape,
        ("trainers.models.linear", "Linear"),
    ),
    "cnn": Family(
        ("depth", "learning_rate", "embedding_rate"),
        cnn_shape,
        ("trainers.models.cnn", "Cnn"),
    ),
}


def build(shape: Shape, seeds: Sequence[int]) -> Model:
    """The replicas of this shape, one a seed; this loads torch."""
    module, name = FAMILIES[shape.FAMILY].model
    model: Model = getattr(import_module(module), name)(shape, seeds)
    return model
