"""One imported run as rows of the runs table: which metric is its loss, where N and D come from."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from scalefit import runs
from scalefit.errors import DataError
from scalefit.flops import six_nd
from scalefit.importers.imported import Fact, Imported, folded, leaf, named
from scalefit.importers.tables import nearest

GIVEN = Mapping[str | None, float]
"""An amount for single runs, by their names, and for all others, under None."""
_LOSSES = ("loss", "bpb", "nll", "crossentropy")
_HELD_OUT = ("val", "valid", "validation", "eval", "evaluation", "test", "dev", "heldout")
_COUNTED = "num_input_tokens_seen"  # Hugging Face's name of tokens seen
_PARTS = ("params_embedding", "params_head", "params_non_embedding")
_PLAIN = ("lr", "seed", "width", "depth", "device", "status")
_WHOLE = (*_PARTS, "seed", "width", "depth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user says of the runs; None where the source has to say it."""

    metric: str | None = None
    params: GIVEN = field(default_factory=dict)
    tokens_per_step: GIVEN = field(default_factory=dict)
    tokens_metric: str | None = None
    loss_unit: str | None = None
    six_nd: bool = False
    all_steps: bool = False
    keep: tuple[str, ...] = ()


class Ledger:
    """What was taken of which run and from where, and how many rows were dropped and why."""

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], dict[str, None]] = {}
        self.dropped: dict[str, int] = {}

    def take(self, run: str, column: str, fact: Fact) -> float | str:
        """The value of a fact, which becomes a column of this run."""
        self.note(run, column, fact.origin)
        return fact.value

    def note(self, run: str, column: str, origin: str) -> None:
        """Where a column of a run comes from."""
        self.taken.setdefault((column, origin), {})[run] = None

    def drop(self, reason: str, rows: int) -> None:
        """That rows were left out."""
        if rows:
            self.dropped[reason] = self.dropped.get(reason, 0) + rows


def loss_metric(one: Imported, given: str | None) -> str:
    """The metric that is the loss: as given, or the only one whose name says so.

    Raises:
        DataError: if the given one is not there, or the choice is not plain.
    """
    if given is not None:
        return metric_named(one, given, "--metric")
    losses = [name for name in one.metrics if leaf(name).endswith(_LOSSES)]
    held = [name for name in losses if set(re.split(r"[\W_]+", name.lower())) & set(_HELD_OUT)]
    choice = held or losses
    if len(choice) == 1:
        return choice[0]
    listed = ", ".join(choice or one.metrics)
    why = "several metrics may be the loss" if choice else "no metric is called a loss"
    raise DataError(f"{one.source}: {why} ({listed}); choose with --metric NAME")


def metric_named(one: Imported, given: str, option: str) -> str:
    """The metric of this name, or the only one that differs by case and signs or by folders."""
    if given in one.metrics:
        return given
    close = [name for name in one.metrics if folded(name) == folded(given)]
    close = close or [name for name in one.metrics if leaf(name) == folded(given)]
    if len(close) == 1:
        return close[0]
    hint = nearest(given, one.metrics)
    raise DataError(f"{one.source} has no metric {given!r} for {option}; {hint}")


class RunRows:
    """One run on its way into the table."""

    def __init__(
        self, one: Imported, run: str, loss: str, wanted: Wanted, ledger: Ledger, own_flops: bool
    ) -> None:
        self.one, self.run, self.loss, self.wanted = one, run, loss, wanted
        self.ledger, self.own_flops = ledger, own_flops
        self.facts: Mapping[str, Fact] = one.facts.get(run, {})

    def rows(self, part: pd.DataFrame) -> list[dict[str, object]]:
        """The rows of this run that have a loss and have seen tokens; the last, or all."""
        has = part[self.loss].notna()
        self.ledger.drop(f"no {self.loss} at this step", int((~has).sum()))
        if not has.any():
            return []
        tokens = self._tokens(part)[has]
        part = part[has]
        trained = tokens > 0
        self.ledger.drop("no token seen yet (step 0)", int((~trained).sum()))
        part, tokens = part[trained], tokens[trained]
        if not self.wanted.all_steps:
            self.ledger.drop("earlier checkpoint of its run", max(0, len(part) - 1))
            part, tokens = part.tail(1), tokens.tail(1)
        if part.empty:
            return []
        return self._made(part, tokens)

    def _made(self, part: pd.DataFrame, tokens: pd.Series) -> list[dict[str, object]]:
        shared = self._shared()
        kept = {
            column_name(name): metric_named(self.one, name, "--keep") for name in self.wanted.keep
        }
        params = float(str(shared["params_total"]))
        made = []
        for step, seen, loss in zip(part["step"], tokens, part[self.loss], strict=True):
            made.append(shared | self._row(int(step), float(seen), float(loss), params))
        for column, name in kept.items():
            for values, x in zip(made, part[name], strict=True):
                values[column] = _finite(x)
        self.ledger.note(self.run, "step", self.one.step_origin)
        self.ledger.note(self.run, "loss", f'"{self.loss}"')
        for column, name in kept.items():
            self.ledger.note(self.run, column, f'"{name}"')
        return made

    def _row(self, step: int, tokens: float, loss: float, params: float) -> dict[str, object]:
        values: dict[str, object] = {
            "step": step,
            "tokens": round(tokens),
            "flops": self._flops(step, tokens, params),
            "loss": _finite(loss),
        }
        if math.isinf(loss):
            self.ledger.note(
                self.run, "status", f'diverged where "{self.loss}" is no finite number'
            )
            values["status"] = "diverged"
        return values

    def _flops(self, step: int, tokens: float, params: float) -> float:
        if not self.own_flops:
            self.ledger.note(self.run, "flops", "6 x params_total x tokens")
            return float(six_nd(params, tokens))
        times, name = (tokens, "tokens") if "flops_per_token" in self.facts else (step, "step")
        fact = self.facts[f"flops_per_{'token' if name == 'tokens' else 'step'}"]
        self.ledger.note(self.run, "flops", f"{fact.origin} x {name}")
        return float(fact.value) * times

    def _shared(self) -> dict[str, object]:
        """What every row of the run has: its id, N, and the facts of the source."""
        identity = {"from": self.one.kind, "run": self.run}
        if ":" in self.one.source:
            identity["source"] = self.one.source  # of a server: projects share names of runs
        values: dict[str, object] = {
            "run_id": runs.run_id(identity),
            "run": self.run,
            "config": runs.canonical_json(identity),
        }
        values |= self._params()
        for column in _PLAIN:
            if column in self.facts:
                value = self.ledger.take(self.run, column, self.facts[column])
                values[column] = _whole(value) if column in _WHOLE else value
        values["loss_unit"] = self._unit()
        per_step = self._per_step()
        if per_step is not None and float(per_step.value).is_integer():
            values["batch_tokens"] = int(
                float(self.ledger.take(self.run, "batch_tokens", per_step))
            )
        return values

    def _params(self) -> dict[str, object]:
        given = self.wanted.params.get(self.run, self.wanted.params.get(None))
        if given is not None:
            self.ledger.note(self.run, "params_total", "--params")
            return {"params_total": round(given)}
        if "params_total" not in self.facts:
            raise DataError(
                f"run {self.run!r} of {self.one.source} states no number of parameters; give "
                f"--params {self.run}=124M, or --params 124M for every run"
            )
        stated = [name for name in ("params_total", *_PARTS) if name in self.facts]
        return {name: _whole(self.ledger.take(self.run, name, self.facts[name])) for name in stated}

    def _per_step(self) -> Fact | None:
        return self._given_per_step() or self.facts.get("tokens_per_step")

    def _given_per_step(self) -> Fact | None:
        given = self.wanted.tokens_per_step.get(self.run, self.wanted.tokens_per_step.get(None))
        return None if given is None else Fact(value=given, origin="--tokens-per-step")

    def _tokens(self, part: pd.DataFrame) -> pd.Series:
        """Tokens seen at each row, shape (rows,)."""
        counted = self._counted(part)
        if counted is not None:
            self.ledger.note(self.run, "tokens", f'"{counted}", its last value up to the step')
            return part[counted].ffill().fillna(0.0)
        per_step = self._per_step()
        if per_step is None:
            raise DataError(
                f"run {self.run!r} of {self.one.source} states no tokens; give --tokens-per-step "
                f"{self.run}=491520 (or 491520 for every run), or --tokens-metric NAME"
            )
        self.ledger.note(
            self.run, "tokens", f"step x {float(per_step.value):,.10g} ({per_step.origin})"
        )
        return part["step"] * float(per_step.value)

    def _counted(self, part: pd.DataFrame) -> str | None:
        """The metric that counts tokens: as named, else the only one of such a name that grows."""
        if self.wanted.tokens_metric is not None:
            return metric_named(self.one, self.wanted.tokens_metric, "--tokens-metric")
        if self._given_per_step() is not None:
            return None
        counts = [*named("tokens", self.one.metrics)]
        counts += [name for name in self.one.metrics if leaf(name) == folded(_COUNTED)]
        growing = [name for name in counts if _grows(part[name])]
        if len(growing) > 1:
            raise DataError(
                f"{self.one.source} has {' and '.join(map(repr, growing))}, which may both count "
                "tokens; choose with --tokens-metric NAME"
            )
        return growing[0] if growing else None

    def _unit(self) -> str | None:
        if self.wanted.loss_unit is not None:
            self.ledger.note(self.run, "loss_unit", "--loss-unit")
            return self.wanted.loss_unit
        if leaf(self.loss).endswith("bpb"):
            fact = Fact(value="bits/byte", origin=f'the name "{self.loss}"')
            return str(self.ledger.take(self.run, "loss_unit", fact))
        if "loss_unit" in self.facts:
            return str(self.ledger.take(self.run, "loss_unit", self.facts["loss_unit"]))
        return None


def _grows(column: pd.Series) -> bool:
    logged = column.dropna()
    return len(logged) > 0 and bool((logged.diff().dropna() > 0).all()) and logged.max() < math.inf


def _whole(value: float | str) -> int | str:
    return round(value) if isinstance(value, float | int) else value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def column_name(name: str) -> str:
    """A metric's name as a column that --where can speak of: val/loss is val_loss."""
    return re.sub(r"\W+", "_", name)
