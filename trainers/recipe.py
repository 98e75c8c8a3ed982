"""One run: everything that determines its numbers, and what it will cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from scalefit.runs import canonical_json, run_id
from trainers.models.base import Shape
from trainers.schedule import Cosine, Schedule
from trainers.sources.base import Source, source
from trainers.sources.limited import Limited

VERSION = 2
"""Goes up whenever a configuration comes to compute something else, and its run must be redone."""

Row = dict[str, object]
"""One checkpoint of a run, by the columns of the runs table."""

REFERENCE_WIDTH = 32
"""The width at which a grid states its learning rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trunk with a cooldown branch for each of `tokens`, for one shape and one seed.

    Attributes:
        source: the source's own configuration.
        origin: the name or path where the source is found; no part of what the run is.
        shape: of the model.
        tokens: predictions trained on, at each end.
        unique_tokens: how many of the source's are used at all, None for all.
        batch: examples a step.
        learning_rate: of the matrices at width 32.
        embedding_rate: of the embedding, the same at every width.
        schedule: of both rates.
        precision: "float32" or "bf16".
        held_out: predictions of each evaluation.
        seed: of the weights and of the order of the examples.
    """

    source: Mapping[str, object]
    origin: str
    shape: Shape
    tokens: tuple[int, ...]
    unique_tokens: int | None
    batch: int
    learning_rate: float
    embedding_rate: float
    schedule: Schedule | Cosine
    precision: str
    held_out: int
    seed: int

    def config(self) -> dict[str, object]:
        """The run as plain JSON-able data, from which its identity is made."""
        found = asdict(self) | {
            "trainer": VERSION,
            "family": self.shape.FAMILY,
            "source": dict(self.source),
            "tokens": list(self.tokens),
            "schedule": asdict(self.schedule) | {"name": self.schedule.NAME},
        }
        del found["origin"]
        return found

    def columns(self) -> Row:
        """What the runs table says of the run itself, whatever comes of it."""
        params = self.shape.params()
        return {
            "family": self.shape.FAMILY,
            "params_total": params.total,
            "params_embedding": params.embedding,
            "params_head": params.head,
            "params_non_embedding": params.non_embedding,
            "seed": self.seed,
            "lr": self.rates["matrices"] or self.rates["embedding"],
            "batch_tokens": self.batch_tokens,
            "width": self.shape.width,
            "depth": self.shape.depth,
            "schedule": self.schedule.NAME,
            "config": canonical_json(self.config()),
        }

    def open(self) -> Source:
        """The source as this run sees it."""
        whole = source(self.origin, self.shape.context)
        if self.unique_tokens is None:
            return whole
        return Limited(source=whole, unique=self.unique_tokens)

    @property
    def id(self) -> str:
        """The name of this run's part in the runs table."""
        return run_id(self.config())

    @property
    def group(self) -> str:
        """The same for runs that can train as one model: they differ in seed and rates alone."""
        alike = replace(self, seed=0, learning_rate=0.0, embedding_rate=0.0)
        return canonical_json(alike.config())

    @property
    def batch_tokens(self) -> int:
        """Predictions a step."""
        return self.batch * self.shape.context

    @property
    def rates(self) -> dict[str, float]:
        """Peak learning rates by the kinds of ``Model.groups``.

        That of the matrices falls as 1/width (Yang et al. 2022, arXiv:2203.03466, table 3).
        """
        matrices = self.learning_rate * REFERENCE_WIDTH / self.shape.width
        return {"matrices": matrices, "embedding": self.embedding_rate}

    @property
    def ends(self) -> tuple[int, ...]:
        """Steps at which the branches end, in rising order."""
        return tuple(sorted({count // self.batch_tokens for count in self.tokens}))

    @property
    def steps(self) -> int:
        """Steps of the trunk and of every branch together."""
        return self.schedule.trained_steps(self.ends)

    @property
    def flops(self) -> float:
        """Training FLOPs of all those steps, evaluation left out."""
        return self.steps * self.batch_tokens * self.shape.training_flops_per_token()
