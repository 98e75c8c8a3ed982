"""One run: everything that determines its numbers, and what it will cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from scalefit.flops import TransformerShape
from scalefit.runs import canonical_json, run_id
from trainers import schedule
from trainers.schedule import Schedule

VERSION = 1
"""Goes up whenever a configuration comes to compute something else, and its run must be redone."""

Row = dict[str, object]
"""One checkpoint of a run, by the columns of the runs table."""

FAMILY = "transformer"
REFERENCE_WIDTH = 32
"""The width at which a grid states its learning rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trunk with a cooldown branch for each of `tokens`, for one shape and one seed.

    `source` is the source's own configuration, `batch` the sequences a step, `held_out` the tokens
    of each evaluation. `learning_rate` is that of the matrices at width 32, `embedding_rate` that
    of the embedding.
    """

    source: Mapping[str, object]
    shape: TransformerShape
    tokens: tuple[int, ...]
    batch: int
    learning_rate: float
    embedding_rate: float
    schedule: Schedule
    held_out: int
    seed: int

    def config(self) -> dict[str, object]:
        """The run as plain JSON-able data, from which its identity is made."""
        plan = asdict(self.schedule) | {"name": schedule.NAME}
        return asdict(self) | {
            "trainer": VERSION,
            "family": FAMILY,
            "source": dict(self.source),
            "tokens": list(self.tokens),
            "schedule": plan,
        }

    def columns(self) -> Row:
        """What the runs table says of the run itself, whatever comes of it."""
        params = self.shape.params()
        return {
            "family": FAMILY,
            "params_total": params.total,
            "params_embedding": params.embedding,
            "params_head": params.head,
            "params_non_embedding": params.non_embedding,
            "seed": self.seed,
            "lr": self.matrix_rate,
            "batch_tokens": self.batch_tokens,
            "width": self.shape.width,
            "depth": self.shape.depth,
            "schedule": schedule.NAME,
            "config": canonical_json(self.config()),
        }

    @property
    def id(self) -> str:
        """The name of this run's part in the runs table."""
        return run_id(self.config())

    @property
    def batch_tokens(self) -> int:
        """Tokens a step."""
        return self.batch * self.shape.context

    @property
    def matrix_rate(self) -> float:
        """Peak learning rate of the matrices, falling as 1/width (Yang et al. 2022, table 3)."""
        return self.learning_rate * REFERENCE_WIDTH / self.shape.width

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
