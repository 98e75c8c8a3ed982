"""The steps that commands are made of: read a table, fit it as asked, keep it, find a law.

Everything heavy is imported where it is used, so that the command line starts at once.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalefit.terminal import say

if TYPE_CHECKING:
    from scalefit.diagnosis.audit import Audit
    from scalefit.diagnosis.choose import Choice
    from scalefit.diagnosis.compare import Comparison
    from scalefit.fitting import Fit
    from scalefit.laws import Law
    from scalefit.runs import Runs

DEFAULT_LAW = "besiroglu2024"
SHARED = ("bootstrap", "seed", "level")  # options that every approach knows
OF_LAWS = ("objective", "delta", *SHARED)


def read_runs(
    path: str,
    *,
    drop_highest: int,
    where: str | None,
    columns: tuple[tuple[str, str], ...],
    **wanted: Any,
) -> "Runs":
    """The table as the reading options ask for it; what was done to it is said."""
    from scalefit.runs import read

    runs = read(path, columns=dict(columns), where=where, **wanted).without_highest(drop_highest)
    say(runs.notes)
    return runs


def needed(task: str, form: str) -> dict[str, Any]:
    """What the table must hold: what the form is about, or N, D, C and L."""
    from scalefit.laws import form_named

    if task != "parametric":
        return {}
    return {"needed": None if form == "auto" else form_named(form).quantities}


def fitted_by(
    runs: "Runs", method: str, form: str, variant: str | None, options: dict[str, Any]
) -> "Fit":
    """The fit by one approach."""
    common = {name: options[name] for name in SHARED} | ({"variant": variant} if variant else {})
    if method == "isoflop":
        from scalefit.frontiers.isoflop import isoflop

        return isoflop(runs, **common)
    if method == "envelope":
        from scalefit.frontiers.envelope import envelope

        return envelope(runs, **common)
    from scalefit.fitting import fit
    from scalefit.fitting.parameters import parameters
    from scalefit.laws import form_named

    wishes = {kind: options.pop(kind) for kind in ("fix", "bound", "tie")}
    if any(wishes.values()):
        options["parameters"] = parameters(form_named(form), **wishes)
    return fit(runs, form=form, **options)


def choice(runs: "Runs", options: dict[str, Any]) -> "Choice":
    """The form that predicts best beyond the runs it was fitted to."""
    from scalefit.diagnosis.choose import choose

    return choose(runs, objective=options["objective"], delta=options["delta"])


def side_by_side(
    runs: "Runs", task: str, form: str, budgets: Any, options: dict[str, Any]
) -> "tuple[Comparison | Audit, str]":
    """All approaches, or all conventions, and their text."""
    from scalefit.diagnosis.audit import audit
    from scalefit.diagnosis.compare import compare
    from scalefit.report.comparison import audit_text, comparison_text

    common = {name: options[name] for name in OF_LAWS}
    if task == "audit":
        audited = audit(runs, flops=None if budgets is None else float(budgets[0]), **common)
        return audited, audit_text(audited)
    compared = compare(runs, flops=budgets, form=form, **common)
    return compared, comparison_text(compared)


def kept(found: "Comparison | Audit", runs: "Runs", path: str, *, figures: bool) -> Iterator[str]:
    """Write the fits of a comparison, approach 3 last, since plan takes the newest; say where."""
    from scalefit.diagnosis.compare import Comparison
    from scalefit.fitting import beside, save

    if not isinstance(found, Comparison):
        return
    for entry in found.approaches:
        if entry.fit is None:
            continue
        target = save(entry.fit, beside(path, entry.name))
        yield f"law     {target}"
        if figures:
            from scalefit.figures import save_fit

            yield f"figure  {save_fit(entry.fit, runs, target.with_suffix('.png'))}"
    if figures:
        from scalefit.figures import save_comparison

        target = beside(path, "approaches")
        target = target.with_name(target.name.replace(".fit.json", ".png"))
        yield f"figure  {save_comparison(found, target)}"


def find_law(asked: str | None) -> "tuple[Law | Fit, str]":
    """The law to plan by, and in words where it came from."""
    from scalefit.fitting import load, newest
    from scalefit.laws import published

    if asked is None:
        path = newest(Path())
        if path is None:
            return published(DEFAULT_LAW), f"{DEFAULT_LAW}, as there is no fit in this folder"
        return load(path), f"{path}, the newest fit in this folder"
    if asked.endswith(".json") or Path(asked).is_file():
        return load(Path(asked)), asked
    law = published(asked)
    return law, f"{asked} ({law.source})"
