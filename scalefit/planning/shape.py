"""From a planned N and D to a transformer that can be built, and how to train it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import ceil, log, log2, sqrt
from typing import Any

from scalefit.errors import PlanError
from scalefit.flops import MLP_RATIO, TransformerShape, six_nd
from scalefit.laws import Law, published
from scalefit.quantities import format_count

WIDTH_PER_DEPTH, FULL_SIZE, GROWTH = 128.0, 7e9, 1 / 6
"""Width over depth in Brown et al. 2020 (arXiv:2005.14165, table 2.1): 128 from 7 billion
parameters on, 64 at 125 million; so it falls with the sixth root of N. The loss hardly depends on
it (Kaplan et al. 2020, arXiv:2001.08361, figure 5)."""
PULL = 0.1  # how much of log N it is worth to have e times the wrong width over depth
HEADS = 12  # at least, by which the width of one is chosen
HEAD_WIDTHS = (4, 128)
TOO_FAR = 0.25  # from N: the embeddings leave nothing to choose
DEEPEST = 512
FEWEST_STEPS = 100  # of a run, however large the best batch, if its sequences are that many
NARROW, RATE_TIMES_WIDTH = 256, 0.6
"""Sweeps of small transformers found the best peak rates at .036 to .072 for width 16 and at .006
to .012 for width 64: about .6 over the width, which laws of large models overshoot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What kind of model is wanted, and by which laws it is trained.

    Attributes:
        vocab: symbols.
        context: tokens a sequence.
        head_width: of every attention head; None to choose it by size.
        rates: of the form "optimal-lr".
        batches: of the form "optimal-batch".

    Raises:
        PlanError: if a law is of another form, a head's width is odd, or a size is none.
    """

    vocab: int = 32_768
    context: int = 2048
    head_width: int | None = None
    rates: Law = field(default_factory=lambda: published("li2025/learning-rate"))
    batches: Law = field(default_factory=lambda: published("li2025/batch"))

    def __post_init__(self) -> None:
        for what, size in (("vocabulary", self.vocab), ("context", self.context)):
            if size < 2:
                raise PlanError(f"a {what} of {size} leaves nothing to predict; give 2 or more")
        for law, form in ((self.rates, "optimal-lr"), (self.batches, "optimal-batch")):
            if law.form.name != form:
                raise PlanError(
                    f"{law.name} is of the form {law.form.name}; one of the form {form} is needed, "
                    f"such as {'li2025/batch' if 'batch' in form else 'li2025/learning-rate'}"
                )
        if self.head_width is not None and (self.head_width < 2 or self.head_width % 2):
            raise PlanError(f"heads are of an even width, and {self.head_width} is not; give one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A decoder-only transformer near a planned N, counted exactly (``scalefit.flops``).

    Attributes:
        shape: its sizes.
        counted: its N as the law counts it.
        off: that over the planned N, less 1.
        total, non_embedding: parameters in all, and without embedding and output matrix.
        batch: sequences a step, a power of two.
        steps: of training.
        learning_rate: the peak.
        six_nd: training FLOPs by 6 N D, with N as the law counts it.
        exact_flops: by layer, attention and output matrix included.
    """

    shape: TransformerShape
    counted: float
    off: float
    total: int
    non_embedding: int
    batch: int
    steps: int
    learning_rate: float
    six_nd: float
    exact_flops: float

    @property
    def batch_tokens(self) -> int:
        """Tokens a step."""
        return self.batch * self.shape.context

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "batch_tokens": self.batch_tokens}


COUNTS: Mapping[str, Callable[[TransformerShape], float]] = {
    "total": lambda shape: shape.params().total,
    "non_embedding": lambda shape: shape.params().non_embedding,
    # Bi et al. 2024, arXiv:2401.02954, eq. 2: the FLOPs of all layers, attention scores among them.
    "flops_per_token": lambda shape: (
        shape.params().non_embedding + 2.0 * shape.depth * shape.context * shape.width
    ),
}
"""N of a shape by what a law's convention counts."""


def realise(params: float, tokens: float, counted: str, build: Build) -> Model:
    """A model near N, and its training on D tokens.

    Args:
        params: N, as the law counts it.
        tokens: D.
        counted: what that is, as in ``Convention.params``; "unknown" is taken for all parameters.
        build: what kind of model.

    Raises:
        PlanError: if no well-proportioned model is so small.
    """
    count = COUNTS.get(counted, COUNTS["total"])
    shape = min(_candidates(params, counted, build), key=lambda one: _distance(one, count, params))
    found = count(shape)
    if abs(found / params - 1) > TOO_FAR:
        what, options = _cause(counted, build)
        raise PlanError(
            f"no well-proportioned transformer with {what} has {format_count(params)} parameters, "
            f"the nearest has {format_count(found)}; take a smaller {options}"
        )
    sizes = shape.params()
    batch = _batch(float(build.batches.predict(tokens)), tokens, build.context)
    steps = max(1, round(tokens / (batch * build.context)))
    return Model(
        shape=shape,
        counted=float(found),
        off=found / params - 1,
        total=sizes.total,
        non_embedding=sizes.non_embedding,
        batch=batch,
        steps=steps,
        learning_rate=_rate(shape, tokens, build.rates),
        six_nd=six_nd(found, tokens),
        exact_flops=tokens * shape.training_flops_per_token(),
    )


def _cause(counted: str, build: Build) -> tuple[str, str]:
    """What makes the smallest models too large, in words, and the options that make it smaller."""
    head = f"heads of width {build.head_width or HEAD_WIDTHS[0]}", "--head-width"
    if counted == "non_embedding":
        return head
    if counted == "flops_per_token":
        what, option = f"a context of {build.context:,}", "--context"
    else:
        what, option = f"a vocabulary of {build.vocab:,}", "--vocab"
    return what, f"{option} or {head[1]}" if build.head_width else option


def _candidates(params: float, counted: str, build: Build) -> Iterator[TransformerShape]:
    """For every depth the two widths about the one that has N, in whole heads."""
    for depth in range(1, DEEPEST + 1):
        ideal = _width(params, depth, counted, build)
        head = build.head_width or _head_width(ideal)
        for heads in {max(1, int(ideal // head)), max(1, ceil(ideal / head))}:
            width = heads * head
            yield TransformerShape(
                vocab=build.vocab,
                context=build.context,
                width=width,
                depth=depth,
                heads=heads,
                hidden=MLP_RATIO * width,
            )


def _width(params: float, depth: int, counted: str, build: Build) -> float:
    """That solves N = (4 + 2 MLP_RATIO) depth width^2 + linear width."""
    square = (4 + 2 * MLP_RATIO) * depth
    linear = {"non_embedding": 0.0, "flops_per_token": 2.0 * depth * build.context}.get(
        counted, 2.0 * build.vocab
    )
    return (sqrt(linear**2 + 4 * square * params) - linear) / (2 * square)


def _head_width(width: float) -> int:
    """A power of two, such that a model of this width has some heads."""
    least, most = HEAD_WIDTHS
    power = int(log2(max(width / HEADS, 1.0)))
    return min(max(1 << power, least), most)


def _ratio(params: float) -> float:
    ratio: float = WIDTH_PER_DEPTH * min(1.0, params / FULL_SIZE) ** GROWTH
    return ratio


def _distance(
    shape: TransformerShape, count: Callable[[TransformerShape], float], params: float
) -> float:
    ratio = shape.width / shape.depth
    return abs(log(count(shape) / params)) + PULL * abs(log(ratio / _ratio(params)))


def _batch(best: float, tokens: float, context: int) -> int:
    """Sequences a step: the power of two nearest to the best that leaves enough steps."""
    most = max(1.0, tokens / context / FEWEST_STEPS)
    wanted = round(log2(max(1.0, best / context)))
    return 1 << min(wanted, int(log2(most)))


def _rate(shape: TransformerShape, tokens: float, rates: Law) -> float:
    """By the law, in its own count of N; of narrow models no more than small grids bear."""
    size = COUNTS.get(rates.convention.params, COUNTS["total"])(shape)
    most = RATE_TIMES_WIDTH / min(shape.width, NARROW)
    return min(float(rates.predict(size, tokens)), most)
