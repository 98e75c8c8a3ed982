"""What is held side by side, as text: approaches, forms and conventions."""

from textwrap import wrap
from typing import TYPE_CHECKING

from scalefit.quantities import format_count, format_flops, format_number
from scalefit.report.text import SYMBOL, estimate

if TYPE_CHECKING:
    from scalefit.diagnosis.audit import Audit, Convention
    from scalefit.diagnosis.choose import Candidate, Choice
    from scalefit.diagnosis.compare import Approach, Comparison

WIDTH = 98
COUNTED = {
    "total": "all parameters",
    "matrix": "all matrices but the embedding",
    "non_embedding": "neither embedding nor output",
    "as given": "the table's N",
}


def comparison_text(found: "Comparison") -> str:
    """Exponents and optima by approach with intervals, and what their agreement means."""
    fitted = [entry for entry in found.approaches if entry.fit is not None]
    lines = [
        f"{found.source}: the approaches of Hoffmann et al. 2022; {found.level:.0%} intervals",
        "",
        f"{'':<15}{'a, N* ~ C^a':>27}{'b, D* ~ C^b':>27}",
        *(
            _name(entry) + "".join(f"{estimate(x, format_number):>27}" for x in (entry.a, entry.b))
            for entry in fitted
        ),
    ]
    for at, optimum in enumerate(fitted[0].optima):
        heading = f"C {format_flops(optimum.flops)}"
        lines += [
            "",
            f"{heading:<15}{'N*':>29}{'D*':>29}{'L*':>24}",
            *(_optimum_row(entry, at) for entry in fitted),
        ]
    return "\n".join([*lines, "", *_paragraphs(found.findings)])


def choice_text(found: "Choice") -> str:
    """Every form on trial, best first, and which is taken."""
    axis = SYMBOL.get(found.axis, found.axis)
    cuts = ", ".join(format_flops(cut) for cut in found.cuts)
    heading = f"Forms by what they predict beyond cuts of {axis} ({cuts})"
    return "\n".join(
        [
            f"{heading}: {found.predicted} rows predicted",
            f"{'':<18}{'constants':>10}{'fit, sd':>10}{'beyond':>10}{'bias':>10}{'of best':>10}",
            *(_candidate_row(entry) for entry in found.candidates),
            f"taken: {found.form}, {_why(found)}",
        ]
    )


def _why(found: "Choice") -> str:
    best = found.candidates[0].form
    if found.form == best:
        return "which predicts best"
    return f"a special case of {best} that predicts nearly as well"


def audit_text(found: "Audit") -> str:
    """What every convention says of the best size at one budget."""
    heading = f"{'N counts':<32}{'C':>7}{f'a, {found.level:.0%} interval':>27}"
    return "\n".join(
        [
            f"{found.source}: the same runs under every convention the table allows",
            "",
            f"{heading}{'N*':>9}{'in all':>9}{'D*':>9}   at {format_flops(found.flops)} FLOP",
            *(_convention_row(entry) for entry in found.conventions),
            "",
            *(f"not told: {reason}" for reason in found.left_out),
        ]
    )


def _name(entry: "Approach") -> str:
    return f"{entry.number} {entry.name:<13}"


def _optimum_row(entry: "Approach", at: int) -> str:
    best = entry.optima[at]
    size, data = (estimate(x, format_count) for x in (best.params, best.tokens))
    return f"{_name(entry)}{size:>29}{data:>29}{estimate(best.loss, format_number):>24}"


def _candidate_row(entry: "Candidate") -> str:
    start = f"{entry.form:<18}{entry.constants:>10}"
    if entry.inside is None or entry.outside is None or entry.bias is None:
        return f"{start}    {entry.note}"
    behind = f"{entry.behind:.2f}x"
    return f"{start}{entry.inside:>10.2%}{entry.outside:>10.2%}{entry.bias:>+10.2%}{behind:>10}"


def _convention_row(entry: "Convention") -> str:
    a = f"{format_number(entry.a)} [{format_number(entry.low)}, {format_number(entry.high)}]"
    sizes = "".join(f"{format_count(x):>9}" for x in (entry.size, entry.total, entry.tokens))
    return f"{COUNTED[entry.params]:<32}{entry.flops:>7}{a:>27}{sizes}"


def _paragraphs(findings: tuple[str, ...]) -> list[str]:
    return [
        line
        for finding in findings
        for line in wrap(finding, WIDTH, initial_indent="- ", subsequent_indent="  ")
    ]
