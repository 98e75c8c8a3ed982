"""Fits as text: units in the heading, every value beside its interval."""

from collections.abc import Callable, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from scalefit.fitting import Certificate, Fit, Interval, Point, Scan
from scalefit.laws import Convention
from scalefit.quantities import UNKNOWN, format_count, format_flops, format_number

if TYPE_CHECKING:
    from scalefit.planning import Quantity

GAP = "not identified"
WIDTH, WIDEST = 98, 120  # of wrapped text, and of a line that need not be wrapped
HANGING: Mapping[str, Any] = {"subsequent_indent": " " * 7}
MOST_POINTS = 24
EXPONENT = {
    "a": "a, N* ~ C^a", "b": "b, D* ~ C^b",
    "N_1": "N* at C_1", "D_1": "D* at C_1", "L_1": "L* - E at C_1",
}  # fmt: skip
SYMBOL = {"params": "N", "tokens": "D", "flops": "C", "unique_tokens": "unique D"}
COUNTED = {
    "total": "N counts all parameters",
    "non_embedding": "N counts non-embedding parameters",
    "unknown": "N as its source counts it",
    "flops_per_token": "N is a sixth of the FLOP a token",
}


def fit_text(fit: Fit) -> str:
    """The fitted law, its intervals, how it was found and what it has seen."""
    level = next(iter(fit.intervals.values())).level
    return "\n".join(
        [
            *_heading(fit),
            _runs_used(fit),
            "",
            f"{'':<14}{'value':>10}    {100 * level:g}% interval",
            *(_interval_row(name, entry, fit) for name, entry in fit.intervals.items()),
            "",
            *_point_rows(fit),
            *_evidence(fit),
            *(line for note in fit.notes for line in wrap(f"Note   {note}", WIDTH, **HANGING)),
        ]
    )


def _heading(fit: Fit) -> list[str]:
    """The equation and the conventions, on one line where they fit."""
    form, convention = fit.law.form, fit.law.convention
    said = [
        *([loss_unit(convention.loss)] if "loss" in (form.response, *form.variables) else []),
        *([COUNTED[convention.params]] if "params" in form.variables else []),
        *([f"C_1 = {format_flops(fit.law.params['C_1'])} FLOP"] if fit.points else []),
    ]
    parts = [f"{form.name.capitalize()} law", form.equation, "; ".join(said)]
    whole = "   ".join(part for part in parts if part)
    if len(whole) <= WIDEST:
        return [whole]
    lines = [wrap(part, WIDTH, subsequent_indent="  ") for part in parts if part]
    return [line for part in lines for line in part]


def loss_unit(loss: str) -> str:
    """In words."""
    return "loss as in the table" if loss == "unknown" else f"loss in {loss}"


def flops_rule(convention: Convention) -> str:
    """How C is counted, to stand after it."""
    own = convention.flops == "own"
    return "as its authors count it" if own else f"= {convention.flops}"


def _runs_used(fit: Fit) -> str:
    total = fit.used + sum(entry.rows for entry in fit.dropped)
    left_out = "; ".join(f"{entry.rows} left out ({entry.reason})" for entry in fit.dropped)
    return f"{fit.used} rows used of {total}" + (f"; {left_out}" if left_out else "")


def _interval_row(name: str, entry: Interval, fit: Fit) -> str:
    # Of a law of another kind a and b are constants like any others.
    meant = fit.law.form.plans or name not in fit.law.form.parameters
    label = EXPONENT.get(name, name) if meant else name
    start = f"{label:<14}{format_number(entry.value):>10}"
    said = next((wish for wish in fit.constraints.sentences() if name in wish.split()), None)
    if said and entry.low == entry.high:
        return f"{start}    as given: {said}"
    limits = f"{format_number(entry.low):>10} … {format_number(entry.high)}"
    return f"{start}{limits}" if entry.identified else f"{start}{limits:<26}{GAP}"


def _point_rows(fit: Fit) -> list[str]:
    """The optima that a frontier is drawn through."""
    if not fit.points:
        return []
    shown = fit.points[:: max(1, -(-len(fit.points) // MOST_POINTS))]
    gap = f"; {len(shown)} of {len(fit.points)} shown" if len(shown) < len(fit.points) else ""
    return [
        f"{'C':>10}{'N*':>10}{'D*':>10}{'L*':>9}{'runs':>6}{gap}",
        *(_point_row(point) for point in shown),
        "",
    ]


def _point_row(point: Point) -> str:
    size, data = (UNKNOWN if x is None else format_count(x) for x in (point.params, point.tokens))
    loss = UNKNOWN if point.loss is None else f"{point.loss:.4f}"
    note = f"    not used: {point.note}" if point.note else ""
    return f"{format_flops(point.flops):>10}{size:>10}{data:>10}{loss:>9}{point.rows:>6}{note}"


def _evidence(fit: Fit) -> list[str]:
    seen = ", ".join(
        f"{SYMBOL.get(name, name)} {_range(name, span)}" for name, span in fit.domain.items()
    )
    proof = _proof(fit, fit.certificate) if fit.certificate else [_lines_line(fit)]
    return [*proof, f"Seen   {seen}"]


def _lines_line(fit: Fit) -> str:
    used = sum(not point.note for point in fit.points)
    how = f"{fit.status.replace('_', ' ')}; {fit.method} ({fit.variant})"
    return (
        f"Fit    {how}; lines in log N* and log D* through {used} of {len(fit.points)} optima; "
        f"{fit.interval} intervals, {len(fit.draws)} draws of {fit.resampled}"
    )


def _proof(fit: Fit, proof: Certificate) -> list[str]:
    second = f"; next best {proof.second_basin:.5g} times it" if proof.second_basin else ""
    reached = f" at the bound of {', '.join(proof.bounds)}" if proof.bounds else ""
    delta = f", delta {fit.objective.delta:g}" if fit.objective.delta else ""
    agree = f"{proof.agreeing} of {proof.starts} starts agree{second}"
    value = f"{fit.objective.name}{delta}, objective {fit.objective.value:.10g}"
    done, drawn = proof.replicates
    return [
        f"Fit    {fit.status.replace('_', ' ')}{reached}; {value}; {agree}",
        *_scan_line(proof.scan),
        f"Sure   {fit.interval} intervals; {done} of {drawn} draws of {fit.resampled} converged",
    ]


def estimate(entry: "Quantity | None", show: Callable[[float], str]) -> str:
    """A value with its interval in brackets, if it has one."""
    if entry is None:
        return UNKNOWN
    if entry.level is None:
        return show(entry.value)
    low, high = (UNKNOWN if x is None else show(x) for x in (entry.low, entry.high))
    return f"{show(entry.value)} [{low}, {high}]"


def _range(name: str, limits: tuple[float, float]) -> str:
    low, high = limits
    if name in ("params", "tokens", "unique_tokens", "batch_tokens"):
        return span(limits)
    if name == "flops":
        return f"{format_flops(low)} to {format_flops(high)} FLOP"
    return (
        f"{low:.3f} to {high:.3f}"
        if name == "loss"
        else f"{format_number(low)} to {format_number(high)}"
    )


def _scan_line(scan: Scan | None) -> list[str]:
    if scan is None:
        return []
    axes = ", ".join(scan.axes)
    box = f"{scan.cells} cells of ({axes}) in [{scan.low:g}, {scan.high:g}]"
    if scan.excluded:
        near = f"none better, but for {scan.radius:.2g} (log) about the optimum; no proof"
        return [f"Scan   {box}: {near}"]
    if scan.lowest < 1:
        return [f"Scan   {box}: one lies at {scan.lowest:.6g} times this optimum: do not trust it"]
    return [f"Scan   {box}: too flat to exclude all but the optimum"]


def span(limits: tuple[float, float]) -> str:
    """From one count to another."""
    return f"{format_count(limits[0])} to {format_count(limits[1])}"
