"""Tables of runs and imports as text for the terminal."""

from collections.abc import Iterator, Mapping

from scalefit.importers.convert import Converted, Taken
from scalefit.quantities import UNKNOWN, format_count, format_flops, format_number
from scalefit.report.text import SYMBOL
from scalefit.summary import Group, Span, Summary

NAMED = 3  # runs that are named one by one


def runs_text(found: Summary) -> str:
    """The table at a glance: counts, spans, and what a fit would leave out."""
    return "\n".join([*_counts(found), "", *_spans(found), "", *_fitting(found), *_groups(found)])


def mapping_lines(found: Converted) -> Iterator[str]:
    """What was taken from where, and what was left out, one line each."""
    yield from (f"{one.column} <- {one.origin}{_of(one, len(found.rows))}" for one in found.taken)
    yield from (f"left out: {_rows(one.rows)}, {one.reason}" for one in found.dropped)
    yield from (f"note: {note}" for note in found.notes)


def _of(one: Taken, runs: int) -> str:
    """Of which runs, where it is not all."""
    if len(one.runs) >= runs:
        return ""
    few = len(one.runs) <= NAMED
    return f" ({', '.join(one.runs)})" if few else f" ({len(one.runs)} of {runs} runs)"


def _counts(found: Summary) -> Iterator[str]:
    yield f"{found.source}: {_rows(found.rows)} of {found.runs} run{'' if found.runs == 1 else 's'}"
    parts = [("families", found.families), ("status", found.statuses)]
    yield from (f"{name:<10}{_tally(counts)}" for name, counts in parts if counts)
    if found.seeds:
        yield f"{'seeds':<10}{found.seeds}"
    if found.units:
        yield f"{'loss in':<10}{', '.join(found.units)}"


def _tally(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _spans(found: Summary) -> Iterator[str]:
    for name, span in found.spans.items():
        low, high = (_amount(name, x) for x in (span.low, span.high))
        yield f"{SYMBOL.get(name, name):<10}{low:>10} … {high:<10}{_lacking(span)}".rstrip()


def _amount(name: str, x: float) -> str:
    if name == "flops":
        return format_flops(x)
    return format_number(x) if name == "loss" else format_count(x)


def _lacking(span: Span) -> str:
    return f"missing in {_rows(span.missing)}" if span.missing else ""


def _fitting(found: Summary) -> Iterator[str]:
    if found.obstacle is not None:
        yield f"No fit: {found.obstacle}"
        return
    yield f"A fit would use {found.fitted} of {_rows(found.rows)}"
    yield from (f"  left out: {_rows(one.rows)}, {one.reason}" for one in found.dropped)
    yield from (f"  note: {note}" for note in found.notes)


def _groups(found: Summary) -> Iterator[str]:
    if found.by is None:
        return
    width = max(len(found.by), *(len(_value(one)) for one in found.groups)) + 2
    yield from ("", f"{found.by:<{width}}{'rows':>7}{'runs':>7}{'least loss':>12}")
    for one in found.groups:
        best = UNKNOWN if one.best is None else format_number(one.best)
        yield f"{_value(one):<{width}}{one.rows:>7}{one.runs:>7}{best:>12}"


def _value(one: Group) -> str:
    if one.value is None:
        return UNKNOWN
    return f"{one.value:.10g}" if isinstance(one.value, float) else str(one.value)


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"
