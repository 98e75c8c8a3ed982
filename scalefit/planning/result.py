"""A plan as data, its JSON and its rows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scalefit.fitting import Fit
from scalefit.laws import FloatArray, Law
from scalefit.markup import paragraph, table
from scalefit.planning.problem import Terms
from scalefit.quantities import format_count, format_flops, format_number

if TYPE_CHECKING:
    from scalefit.planning.hardware import Bill
    from scalefit.planning.shape import Model

SCHEMA = 1
Number = Any
"""A float, or of a plan for several budgets at once an array of their shape. Any, since a union
would make an error of every sum in a typed program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A planned number with its interval.

    A limit is None where it is unknown or unbounded; of several budgets, NaN or infinite.
    """

    value: Number
    low: Number | None
    high: Number | None
    level: float | None

    def times(self, factor: float) -> "Quantity":
        """In another unit."""
        low, high = (None if x is None else x * factor for x in (self.low, self.high))
        return Quantity(value=self.value * factor, low=low, high=high, level=self.level)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "value": listed(self.value),
            "low": listed(self.low),
            "high": listed(self.high),
            "level": self.level,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The sizes whose loss for the same cost is at most the optimum of one smaller by ``overhead``.

    Attributes:
        overhead: the part of the compute that is wasted at the edges of the band; nearer where a
            limit ends it.
        loss: at the edges.
        params, tokens: (low, high); the largest N goes with the smallest D.
    """

    overhead: float
    loss: Number
    params: tuple[Number, Number]
    tokens: tuple[Number, Number]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        ends = {name: [listed(x) for x in getattr(self, name)] for name in ("params", "tokens")}
        return {"overhead": self.overhead, "loss": listed(self.loss), **ends}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model on its data: N, D, the loss, and all that it costs, in FLOP."""

    params: float
    tokens: float
    loss: float
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Regret:
    """What a plan gives away if the law is right, and if any of its draws is.

    Attributes:
        overhead: C over the least cost of the same loss, less 1; 0 at an optimum, whose interval
            says what it may waste because the law is not known exactly.
        cheapest: the least cost of the plan's loss.
        best: the least loss of the plan's cost.
    """

    overhead: Quantity
    cheapest: Choice
    best: Choice

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        found = {"cheapest": asdict(self.cheapest), "best": asdict(self.best)}
        return {"overhead": self.overhead.to_dict(), **found}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train.

    Numbers are floats; where several budgets were asked for at once, arrays of their shape.

    Attributes:
        law: the law that answers, in whose convention N, D and C are.
        fit: where the law came from; None for a law of the literature.
        asked: what was given: "flops", "loss", "params" or "tokens".
        terms: what is paid for and what is allowed.
        unique_tokens: all the data there are; None for enough.
        params, tokens, tokens_per_param: N, D and D/N.
        loss: in ``loss_unit``; None where the law does not say it.
        training_flops: 6ND.
        serving_flops: 2NT; None where nothing is served.
        loss_unit: of every loss here.
        interval: where the intervals come from: "draws", "profile", or "" for nowhere.
        band: near-optimal sizes, narrowest first; empty where the law says nothing beside N*, D*,
            and where N or D was given.
        regret: of a single plan; None where the law says nothing beside N*, D*.
        same_loss: other models of the same loss, smallest first; of a single plan.
        bound: which limits hold the plan: "max_params", "max_tokens".
        extrapolation: training compute over the largest run behind the law; None where unknown.
        notes: what to know before believing it.
        model: one that can be built near N, of a single plan; None where none was asked for.
        bill: of the training; None where nothing was said of machines.
    """

    law: Law
    fit: Fit | None
    asked: Mapping[str, Number]
    terms: Terms
    unique_tokens: float | None
    params: Quantity
    tokens: Quantity
    tokens_per_param: Quantity
    loss: Quantity | None
    training_flops: Quantity
    serving_flops: Quantity | None
    loss_unit: str
    interval: str
    band: tuple[Band, ...]
    regret: Regret | None
    same_loss: tuple[Choice, ...]
    bound: tuple[str, ...]
    extrapolation: Number | None
    notes: tuple[str, ...]
    model: "Model | None" = None
    bill: "Bill | None" = None

    @property
    def flops(self) -> Number:
        """All that is spent, in FLOP."""
        serving = self.serving_flops.value if self.serving_flops else 0.0
        return self.training_flops.value + serving

    @property
    def epochs(self) -> Number | None:
        """How often the unique tokens are seen; None where there are enough."""
        return None if self.unique_tokens is None else self.tokens.value / self.unique_tokens

    def quantities(self) -> dict[str, Quantity]:
        """The planned numbers by name, of those that the law knows."""
        named = {
            "params": self.params,
            "tokens": self.tokens,
            "tokens_per_param": self.tokens_per_param,
            "loss": self.loss,
            "training_flops": self.training_flops,
            "serving_flops": self.serving_flops,
        }
        return {name: quantity for name, quantity in named.items() if quantity is not None}

    def _repr_html_(self) -> str:
        """As a notebook shows it: each number with its interval; of many budgets, the frame."""
        if np.ndim(self.params.value):
            return str(self.frame().to_html(index=False))
        rows = [
            (
                name.replace("_", " "),
                SHOWN.get(name, format_number)(one.value),
                "" if one.level is None else " … ".join(_end(name, x) for x in (one.low, one.high)),
            )
            for name, one in self.quantities().items()
        ]
        level = f"{self.params.level:.0%} interval" if self.params.level else ""
        unit = "" if self.loss_unit == "unknown" else f"; loss in {self.loss_unit}"
        told = table(f"by {self.law.name}{unit}", ("", "plan", level), rows)
        return told + "".join(map(paragraph, self.notes))

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit plan --json``."""
        numbers = {name: quantity.to_dict() for name, quantity in self.quantities().items()}
        return {
            "schema": SCHEMA,
            "law": self.law.name,
            "convention": asdict(self.law.convention),
            "asked": {name: listed(value) for name, value in self.asked.items()},
            "terms": {name: listed(value) for name, value in asdict(self.terms).items()},
            "unique_tokens": self.unique_tokens,
            "epochs": listed(self.epochs),
            "flops": listed(self.asked.get("flops", self.flops)),
            "loss": None,
            "serving_flops": None,
            **numbers,
            "loss_unit": self.loss_unit,
            "interval": self.interval,
            "band": [band.to_dict() for band in self.band],
            "regret": self.regret and self.regret.to_dict(),
            "same_loss": [asdict(choice) for choice in self.same_loss],
            "bound": list(self.bound),
            "extrapolation": listed(self.extrapolation),
            "notes": list(self.notes),
            "model": self.model and self.model.to_dict(),
            "bill": self.bill and self.bill.to_dict(),
        }

    def frame(self) -> pd.DataFrame:
        """A row for every budget: each number with its limits."""
        columns: dict[str, Any] = {
            "law": self.law.name,
            "flops": self.asked.get("flops", self.flops),
        }
        for name, quantity in self.quantities().items():
            columns[name] = quantity.value
            if quantity.level is not None:
                columns[f"{name}_low"], columns[f"{name}_high"] = quantity.low, quantity.high
        columns |= {"loss_unit": self.loss_unit, "extrapolation": self.extrapolation}
        rows = np.size(self.params.value)
        return pd.DataFrame(
            {name: np.broadcast_to(np.ravel(x), rows) for name, x in columns.items()}
        )


SHOWN = {
    "params": format_count, "tokens": format_count, "training_flops": format_flops,
    "serving_flops": format_flops,
}  # fmt: skip


def _end(name: str, limit: float | None) -> str:
    return "unbounded" if limit is None else SHOWN.get(name, format_number)(limit)


def listed(value: Any) -> Any:
    """As JSON has it: lists for arrays, None for what is not finite."""
    if isinstance(value, np.ndarray):
        return [listed(x) for x in value.tolist()]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def number(value: FloatArray) -> Number:
    """A float where there is but one."""
    return float(value) if np.ndim(value) == 0 else value


def quantiles(drawn: FloatArray, level: float, axis: int = 0) -> FloatArray:
    """The limits (2, ...) that hold so much of the draws along an axis, each a draw itself.

    Draws in which a term is absent have an infinite optimum; observed quantiles carry that.
    """
    tail = (1 - level) / 2
    found: FloatArray = np.quantile(
        drawn, [tail, 1 - tail], axis=axis, method="closest_observation"
    )
    return found


def quantity(value: FloatArray, limits: FloatArray | None, level: float) -> Quantity:
    """A number with its limits (2, ...), or with None where there are none."""
    if limits is None:
        return Quantity(value=number(value), low=None, high=None, level=None)
    low, high = (number(limit) for limit in limits)
    if np.ndim(value) == 0:
        low, high = (x if np.isfinite(x) else None for x in (low, high))
    return Quantity(value=number(value), low=low, high=high, level=level)
