"""The steps that commands are made of: read a table, fit it as asked, keep it, find a law.

Everything heavy is imported where it is used, so that the command line starts at once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalefit.commands.terminal import say

if TYPE_CHECKING:
    from scalefit.diagnosis.audit import Audit
    from scalefit.diagnosis.choose import Choice
    from scalefit.diagnosis.compare import Comparison
    from scalefit.diagnosis.curves import CurveDiagnosis
    from scalefit.fitting import Fit
    from scalefit.laws import Law
    from scalefit.planning import Plan
    from scalefit.planning.hardware import Cluster
    from scalefit.planning.rivals import Rivals
    from scalefit.planning.shape import Build
    from scalefit.runs import Runs

DEFAULT_LAW = "besiroglu2024"
SHARED = ("bootstrap", "seed", "level")  # options that every approach knows
OF_LAWS = ("objective", "delta", *SHARED)
MACHINES = ("gpu", "count", "mfu", "price", "hardware", "days", "spend")
BUILDING = ("vocab", "context", "head_width", "rate_law", "batch_law")
LIMITS = ("max_params", "max_tokens")
HEAD = 200  # characters by which a plan in a file is known
PASSED = (
    "params", "tokens", "unique_tokens", "bytes_per_token", "bytes_per_param", "level", "force",
)  # fmt: skip


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


def curves_of(
    path: str, *, drop_highest: int, where: str | None, columns: tuple[tuple[str, str], ...]
) -> "list[CurveDiagnosis] | None":
    """What a table of curves says; None for a table of runs, or standard input.

    Raises:
        DataError: if rows of highest loss are to be left out, which only a fit has.
    """
    from scalefit.diagnosis.curves import diagnose_curves, read_curves
    from scalefit.errors import DataError

    found = None if path == "-" else read_curves(path, where=where, columns=dict(columns))
    if found is not None and drop_highest:
        raise DataError(
            f"{path} holds curves, of which no rows can be spared; leave out --drop-highest"
        )
    return None if found is None else diagnose_curves(found, path)


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
    from scalefit import figures as drawn
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
            page = drawn.save(drawn.fit(entry.fit, runs), target.with_suffix(".png"))
            yield f"figure  {page}"
    if figures:
        target = beside(path, "approaches")
        target = target.with_name(target.name.replace(".fit.json", ".png"))
        yield f"figure  {drawn.save(drawn.approaches(found), target)}"


def find_laws(asked: Sequence[str], *, approaches: bool) -> "list[tuple[Law | Fit, str]]":
    """The laws to plan by, each with where it came from; with ``approaches``, all three of each."""
    named: list[str | None] = list(dict.fromkeys(asked)) or [None]
    if not approaches:
        return [find_law(name) for name in named]
    return [find_law(one) for name in named for one in _approaches(name)]


def _approaches(asked: str | None) -> list[str]:
    """The fits beside this one by the other approaches, or a paper's laws by approach.

    Raises:
        PlanError: if there is but one.
    """
    from scalefit.errors import PlanError
    from scalefit.fitting import newest
    from scalefit.fitting.files import siblings
    from scalefit.laws.literature import entries

    name = asked or str(newest(Path()) or DEFAULT_LAW)
    if name.endswith(".json"):
        found = [str(path) for path in siblings(Path(name))]
    else:
        found = [entry.name for entry in entries(name) if "approach" in entry.name]
    if len(found) < 2:
        raise PlanError(
            f"{name} has no other approaches beside it; write them with: scalefit fit RUNS "
            "--method all"
        )
    return found


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


def bare(found: "Law | Fit") -> "Law":
    """The law, without how it was fitted."""
    from scalefit.laws import Law

    return found if isinstance(found, Law) else found.law


def machines(
    gpu: str | None,
    *,
    count: int | None,
    mfu: float,
    price: float | None,
    hardware: Path | None,
    days: float | None,
    spend: float | None,
) -> "Cluster | None":
    """What is trained on; None where nothing was said.

    Raises:
        PlanError: if something was said of machines that are not named.
    """
    from scalefit.errors import PlanError
    from scalefit.planning.hardware import Cluster, device

    if gpu is not None:
        return Cluster(device=device(gpu, hardware), count=count, mfu=mfu, price=price)
    said = {"count": count, "price": price, "days": days, "spend": spend, "hardware": hardware}
    for name, value in said.items():
        if value is not None:
            raise PlanError(f"--{name} says nothing without a --gpu; name one, such as --gpu h100")
    return None


def budget(
    cluster: "Cluster | None", flops: Any, *, days: float | None, spend: float | None
) -> Any:
    """The compute asked for: as said, or what days or money buy.

    Raises:
        PlanError: if more than one of them is said.
    """
    from scalefit.errors import PlanError

    said = {"flops": flops, "days": days, "spend": spend}
    given = [name for name, value in said.items() if value is not None]
    if len(given) > 1:
        options = " and ".join(f"--{name}" for name in given)
        raise PlanError(f"{options} are both budgets; give one of them")
    if cluster is not None and days is not None:
        return cluster.flops_in(days)
    if cluster is not None and spend is not None:
        return cluster.flops_for(spend)
    return flops[0] if flops is not None and len(flops) == 1 else flops


def build(
    *, vocab: int, context: int, head_width: int | None, rate_law: str, batch_law: str
) -> "Build":
    """The model wanted, with the laws of its learning rate and batch."""
    from scalefit.planning.shape import Build

    rates, batches = (bare(found) for found, _ in map(find_law, (rate_law, batch_law)))
    return Build(vocab=vocab, context=context, head_width=head_width, rates=rates, batches=batches)


def planned(law: "Law | Fit", options: Mapping[str, Any]) -> "Plan":
    """The plan by one law, of the options of ``scalefit plan``."""
    from scalefit.planning import plan

    return plan(law, **_asked(law, options))


def _asked(law: "Law | Fit", options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options ask of ``scalefit.plan``."""
    cluster = machines(**{name: options[name] for name in MACHINES})
    loss = options["loss"]
    return dict(
        flops=budget(cluster, options["flops"], days=options["days"], spend=options["spend"]),
        loss=loss[0] if loss else None,
        inference_tokens=options["inference_tokens"] or 0.0,
        **{name: options[name] for name in PASSED},
        **{name: options[name] for name in LIMITS if options[name] is not None},
        loss_unit=unit_of(loss, options["loss_unit"]),
        overheads=[percent / 100 for percent in options["within"]],
        runs=_profiled(law, options),
        cluster=cluster,
        build=build(**{name: options[name] for name in BUILDING}),
    )


def _profiled(law: "Law | Fit", options: Mapping[str, Any]) -> "Runs | None":
    """The runs of the fit, for profiles."""
    if options["profile"] is None:
        return None
    reading = {name: options[name] for name in ("drop_highest", "where", "columns")}
    return read_runs(options["profile"], **reading, needed=bare(law).form.quantities)


def unit_of(loss: tuple[float, str | None] | None, asked: str | None) -> str | None:
    """The unit of all losses: as said with the loss, or by itself.

    Raises:
        PlanError: if both were said and differ.
    """
    from scalefit.errors import PlanError
    from scalefit.quantities import loss_unit

    own, other = loss[1] if loss else None, loss_unit(asked) if asked else None
    if own and other and own != other:
        raise PlanError(f"the loss is in {own} and --loss-unit is {other}; give one of them")
    return own or other


def rungs(
    laws: "Sequence[tuple[Law | Fit, str]]", budgets: Any, source: str, options: Mapping[str, Any]
) -> tuple[str, tuple[str, ...]]:
    """A ladder as a grid file for ``scalefit train-grid``, and what to know of it.

    Raises:
        PlanError: if there are several laws.
    """
    from scalefit.errors import PlanError
    from scalefit.planning import plan
    from scalefit.planning.ladder import ladder_toml

    if len(laws) > 1:
        raise PlanError("a ladder is planned by one law; give one --law")
    law, origin = laws[0]
    wanted = _asked(law, {**options, "flops": budgets})
    plans = [plan(law, **{**wanted, "flops": flops}) for flops in budgets]
    return ladder_toml(plans, source=source, origin=origin), tuple(
        dict.fromkeys(note for plan in plans for note in plan.notes)
    )


def written(found: "Plan | Rivals", path: Path) -> Path:
    """Write a plan, or several, as the suffix says: JSON, CSV, or a figure.

    Raises:
        PlanError: for another suffix, a file that is no plan, or one that cannot be written.
    """
    from scalefit.errors import PlanError
    from scalefit.fitting.files import replace_own

    suffix = path.suffix.lower()
    if suffix in (".svg", ".png", ".pdf"):
        from scalefit import figures

        return figures.save(figures.plan(found), path)
    if suffix not in (".json", ".csv"):
        raise PlanError(f"{path} has no suffix that says what to write: .json, .csv, .svg or .png")
    csv = suffix == ".csv"
    text = found.frame().to_csv(index=False) if csv else json.dumps(found.to_dict()) + "\n"
    return replace_own(path, text, what="plan", own=_is_plan, error=PlanError)


def _is_plan(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(HEAD)
    except (OSError, UnicodeDecodeError):
        return False
    return head.startswith(("law,flops,", '{"schema": 1, "law"', '{"schema": 1, "plans"'))
