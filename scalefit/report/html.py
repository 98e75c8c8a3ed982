"""The page of a report: one file, no network, text of tables escaped, a planner inside."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from scalefit import __version__, figures
from scalefit.diagnosis.backtest import Backtest, Cut
from scalefit.diagnosis.compare import Comparison
from scalefit.fitting import Fit
from scalefit.fitting.files import replace_own
from scalefit.laws import published
from scalefit.markup import table
from scalefit.planning.hardware import devices
from scalefit.planning.subject import DECAYS, LENDER
from scalefit.quantities import UNKNOWN, format_count, format_flops, format_number
from scalefit.report.drawings import drawings
from scalefit.report.gather import Found, gather
from scalefit.report.text import (
    COUNTED,
    EXPONENT,
    GAP,
    SYMBOL,
    estimate,
    flops_rule,
    loss_unit,
)
from scalefit.runs import Runs

PAGE = files("scalefit.report").joinpath("page")
GENERATOR = 'name="generator" content="scalefit'
LIVE = ("chinchilla", "generalised", "data-constrained")
"""Forms whose planner runs in the page; each has its loss in planner.js."""
AHEAD = 10.0
"""The budget that stands in the planner at first, over the largest run."""
HEAD = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; the first of each row names it."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_report(fit: Fit, runs: Runs, path: str | Path = "report.html") -> Path:
    """Hold a fit against its runs from every side, and write a page to share.

    Raises:
        ScalefitError: if it cannot be written, or something else stands there.
    """
    return write(gather(fit, runs), Path(path))


def write(found: Found, path: Path) -> Path:
    """Write the page, whole or not at all, over an older report only.

    Raises:
        ScalefitError: if it cannot be written, or something else stands there.
    """
    return replace_own(path, page(found), what="report", own=_is_report)


def _is_report(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return GENERATOR in file.read(HEAD)
    except (OSError, UnicodeDecodeError):
        return False


def page(found: Found) -> str:
    """The page as text."""
    fit = found.fit
    room = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    live, known = fit.law.form.name in LIVE, _devices()
    return room.from_string(PAGE.joinpath("page.html").read_text("utf-8")).render(
        version=__version__,
        title=f"Scaling law of {Path(found.runs.source).name}",
        subtitle=_subtitle(found),
        parts=[{"id": name, "name": words} for name, words in PARTS.items()],
        css=Markup(PAGE.joinpath("page.css").read_text("utf-8")),  # noqa: S704 - our own file
        script=Markup(PAGE.joinpath("planner.js").read_text("utf-8")),  # noqa: S704 - our own file
        equation=fit.law.form.equation,
        constants=[f"{name} = {format_number(value)}" for name, value in fit.law.params.items()],
        summary=list(_summary(found)),
        planner=_planner(fit, known) if live else None,
        no_planner=_no_planner(fit),
        budget=format_flops(_budget(fit), 1),
        draws=len(fit.draws),
        devices=known,
        level=f"{figures.style.level(fit):.0%}",
        law=_law(fit),
        convention=_convention(fit),
        evidence=list(_evidence(fit)),
        approaches=list(_approaches(found.comparison)) if found.comparison else None,
        findings=found.comparison.findings if found.comparison else (),
        diagnosis=found.diagnosis.findings if found.diagnosis else None,
        backtest=list(_backtest(found.backtest)) if found.backtest else None,
        figures=list(drawings(found)),
        data=_data(found),
        notes=found.runs.notes,
        missing={"comparison": "", "diagnosis": "", "backtest": "", **found.missing},
        table=_table,
    )


PARTS = {
    "summary": "In short",
    "plan": "Plan",
    "law": "The law",
    "approaches": "Three approaches",
    "figures": "Figures",
    "doubts": "What speaks against it",
    "data": "The runs",
}


def _table(found: Table) -> Markup:
    return Markup(table(found.caption, found.head, found.rows))  # noqa: S704 - it escapes


def _subtitle(found: Found) -> str:
    total = found.fit.used + sum(entry.rows for entry in found.fit.dropped)
    return f"{found.fit.used} of {total} rows fitted; scalefit {__version__}"


def _summary(found: Found) -> Iterator[str]:
    fit = found.fit
    yield f"The fit {_status(fit)}."
    open_ended = [name for name, entry in fit.intervals.items() if not entry.identified]
    if open_ended:
        yield f"These runs leave open: {', '.join(open_ended)}."
    if fit.law.form.plans and "a" in fit.intervals and "b" in fit.intervals:
        a, b = (_interval(fit.intervals[name]) for name in "ab")
        yield f"The best size grows as C^{a}, the best amount of data as C^{b}."
    if found.comparison:
        refused = sum(bool(entry.refusal) for entry in found.comparison.approaches)
        yield from found.comparison.findings[refused : refused + 1]
    if found.diagnosis:
        yield found.diagnosis.findings[0]
    yield from fit.notes


def _status(fit: Fit) -> str:
    proof = fit.certificate
    said = fit.status.replace("_", " ")
    if proof is None:
        return said
    return f"{said}; {proof.agreeing} of {proof.starts} starts agree on the optimum"


def _interval(entry: Any) -> str:
    return f"{format_number(entry.value)} [{format_number(entry.low)}, {format_number(entry.high)}]"


def _law(fit: Fit) -> Table:
    rows = tuple(
        (
            EXPONENT.get(name, name) if fit.law.form.plans else name,
            format_number(entry.value),
            f"{format_number(entry.low)} … {format_number(entry.high)}",
            "" if entry.identified else GAP,
        )
        for name, entry in fit.intervals.items()
    )
    level = f"{figures.style.level(fit):.0%} interval"
    how = f"{fit.interval} intervals"
    return Table(caption=f"Constants; {how}", head=("", "value", level, ""), rows=rows)


def _convention(fit: Fit) -> str:
    convention = fit.law.convention
    words = (
        COUNTED[convention.params],
        f"C {flops_rule(convention)}",
        loss_unit(convention.loss),
    )
    return "; ".join(words) + "."


def _evidence(fit: Fit) -> Iterator[str]:
    aim, proof = fit.objective, fit.certificate
    delta = f", delta {aim.delta:g}" if aim.delta else ""
    yield f"Minimised: {aim.name}{delta}; its value is {aim.value:.10g}."
    if proof is not None:
        second = proof.second_basin
        basin = f"the next best basin lies at {second:.5g} times it" if second else "no other basin"
        yield f"{proof.agreeing} of {proof.starts} starts end at this optimum; {basin}."
        yield (
            f"Largest slope left {proof.gradient:.2g} of the objective, smallest curvature "
            f"{proof.curvature:.2g}, condition number {proof.condition:.3g} (scaled)."
        )
        if proof.bounds:
            yield f"At the bound of what it may be: {', '.join(proof.bounds)}."
        if proof.scan is not None:
            found = "none better was found" if proof.scan.lowest >= 1 else "a better one was found"
            yield (
                f"A scan of {proof.scan.cells} cells of ({', '.join(proof.scan.axes)}): {found}; "
                "numerical evidence, not a proof."
            )
        done, drawn = proof.replicates
        yield f"{done} of {drawn} draws of {fit.resampled} converged."
    for sentence in fit.constraints.sentences():
        yield f"As given: {sentence}."
    if fit.constraints.sentences():
        yield "The approaches, the doubts and the back-test of this page are fitted without that."


def _approaches(found: Comparison) -> Iterator[Table]:
    fitted = [entry for entry in found.approaches if entry.fit is not None]
    level = f"{found.level:.0%} intervals"
    yield Table(
        caption=f"Exponents by approach; {level}",
        head=("", EXPONENT["a"], EXPONENT["b"]),
        rows=tuple(
            (
                f"{entry.number} {entry.name}",
                estimate(entry.a, format_number),
                estimate(entry.b, format_number),
            )
            for entry in fitted
        ),
    )
    for at, optimum in enumerate(fitted[0].optima):
        rows = tuple(
            (
                f"{entry.number} {entry.name}",
                estimate(entry.optima[at].params, format_count),
                estimate(entry.optima[at].tokens, format_count),
                estimate(entry.optima[at].loss, format_number),
            )
            for entry in fitted
        )
        caption = f"Optima at {format_flops(optimum.flops)} FLOP"
        yield Table(caption=caption, head=("", "N*", "D*", "L*"), rows=rows)


def _backtest(found: Backtest) -> Iterator[Table]:
    for cut in found.cuts:
        yield _cut(cut, found.level)


def _cut(cut: Cut, level: float) -> Table:
    rows = tuple(
        (
            forecast.predictor,
            f"{forecast.bias:+.2%}",
            f"{forecast.rms:.2%}",
            UNKNOWN if forecast.coverage is None else f"{forecast.coverage:.0%}",
        )
        for forecast in cut.forecasts
    )
    caption = (
        f"Fitted up to {format_flops(cut.flops)} FLOP ({cut.fitted} rows), predicted above it "
        f"({cut.predicted} rows, up to {cut.reach:.3g} times as far)"
    )
    head = ("", "bias", "rms error", f"inside the {level:.0%} interval")
    return Table(caption=caption, head=head, rows=rows)


def _data(found: Found) -> Table:
    fit = found.fit
    spans = tuple(
        (SYMBOL.get(name, name), *(_amount(name, end) for end in ends))
        for name, ends in fit.domain.items()
    )
    dropped = tuple((f"left out: {one.reason}", str(one.rows), "") for one in fit.dropped)
    rows = (*spans, ("rows fitted", str(fit.used), ""), *dropped)
    return Table(
        caption=f"What was seen in {found.runs.source}", head=("", "from", "to"), rows=rows
    )


def _amount(name: str, value: float) -> str:
    if name == "flops":
        return format_flops(value)
    return f"{value:.4g}" if name == "loss" else format_count(value)


def _budget(fit: Fit) -> float:
    return AHEAD * fit.domain.get("flops", (1e20, 1e20))[1]


def _no_planner(fit: Fit) -> str:
    return (
        f"The planner of this page knows the forms {', '.join(LIVE)}; this law is planned on the "
        f"command line: scalefit plan --law FIT.json --flops {format_flops(_budget(fit), 1)}"
    )


def _devices() -> list[dict[str, Any]]:
    known = {one.key: one for one in devices().values()}
    return [
        {"key": one.key, "name": one.name, "peak": one.peak, "memory": one.memory}
        for one in known.values()
    ]


def _planner(fit: Fit, known: Sequence[Mapping[str, Any]]) -> Markup:
    """What the planner reads: constants, joint draws, machines; safe inside a script element."""
    lender = published(LENDER)
    borrowed = [lender.params[name] for name in DECAYS] if fit.law.form.name == "chinchilla" else []
    said = {
        "form": fit.law.form.name,
        "theta": fit.law.theta.tolist(),
        "draws": fit.draws.tolist(),
        "level": figures.style.level(fit),
        "unit": fit.law.convention.loss,
        "flops_seen": fit.law.flops_seen,
        "borrowed": borrowed,
        "lender": f"What repeated data are worth is borrowed from {LENDER}." if borrowed else "",
        "devices": known,
    }
    text = json.dumps(said, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - "<" and "&" are escaped as JSON has them
