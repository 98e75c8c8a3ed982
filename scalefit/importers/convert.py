"""From imported runs to rows of the runs table, with what was taken from where.

Nothing is guessed: what a source does not state has to be given, and what it states is named in
the mapping. The loss is the one metric that a name such as val_loss or eval/loss marks as held out;
of several, one must be chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scalefit import runs
from scalefit.cleaning import Dropped
from scalefit.errors import DataError
from scalefit.importers.imported import Imported
from scalefit.importers.rows import Ledger, RunRows, Wanted, column_name, loss_metric
from scalefit.importers.tables import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A column of the table, where its values come from, and in which runs."""

    column: str
    origin: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """Rows by run id, and how they came about."""

    rows: Mapping[str, Sequence[Mapping[str, object]]]
    taken: tuple[Taken, ...]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The mapping as JSON."""
        return {
            "schema": 1,
            "runs": len(self.rows),
            "rows": sum(map(len, self.rows.values())),
            "mapping": [
                {"column": one.column, "from": one.origin, "runs": list(one.runs)}
                for one in self.taken
            ],
            "dropped": [{"reason": one.reason, "rows": one.rows} for one in self.dropped],
            "notes": list(self.notes),
        }


def convert(found: Sequence[Imported], wanted: Wanted) -> Converted:
    """Rows of the runs table out of imported runs, the last of each run or all.

    Raises:
        DataError: if the loss, N or the tokens of a run are neither stated nor given, if an option
            names a run or metric that is not there, or if no row is left.
    """
    _check_names(found, wanted)
    ledger = Ledger()
    counted = [set(one.facts.get(run, {})) for one in found for run in one.runs]
    stating = [facts for facts in counted if facts & {"flops_per_token", "flops_per_step"}]
    own_flops = not wanted.six_nd and len(stating) == len(counted)
    notes = [f"{one.source}: {note}" for one in found for note in one.notes]
    if stating and not own_flops and not wanted.six_nd:
        notes.append(
            f"{len(stating)} of {len(counted)} runs state their own FLOP, which is not taken: C is "
            "counted alike in all"
        )
    rows: dict[str, list[dict[str, object]]] = {}
    for one in found:
        loss = loss_metric(one, wanted.metric)
        for run, part in one.frame.groupby("run", sort=False):
            made = RunRows(one, str(run), loss, wanted, ledger, own_flops).rows(part)
            if made:
                rows[str(made[0]["run_id"])] = made
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in ledger.dropped.items())
        raise DataError(f"no run has a row to import: {reasons}")
    return Converted(
        rows=rows,
        taken=tuple(
            Taken(column=column, origin=origin, runs=tuple(names))
            for (column, origin), names in ledger.taken.items()
        ),
        dropped=tuple(Dropped(reason=why, rows=count) for why, count in ledger.dropped.items()),
        notes=tuple(notes),
    )


def _check_names(found: Sequence[Imported], wanted: Wanted) -> None:
    names = [run for one in found for run in one.runs]
    for option, given in (
        ("--params", wanted.params), ("--tokens-per-step", wanted.tokens_per_step)
    ):  # fmt: skip
        for name in given:
            if name is not None and name not in names:
                raise DataError(
                    f"{option} {name}=...: no run has this name; {nearest(name, names)}"
                )
    for name in wanted.keep:
        if column_name(name) in runs.SCHEMA.names:
            raise DataError(
                f"--keep {name} would take the place of the table's own column {column_name(name)}"
            )
