"""Whether to believe a fit: its residuals, the rows it hangs on, the choices it hangs on."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from scalefit.diagnosis.corner import corner, on_corner
from scalefit.diagnosis.influence import Influence, influence
from scalefit.diagnosis.residuals import (
    MOST_DF,
    Clustering,
    Group,
    Spread,
    clustering,
    groups,
    residuals,
    spread,
)
from scalefit.diagnosis.sensitivity import REACH, Variant, sensitivity
from scalefit.errors import FitError
from scalefit.fitting.parametric import HOFFMANNS, fit
from scalefit.fitting.result import Fit
from scalefit.laws import form_named
from scalefit.quantities import format_count, format_flops
from scalefit.runs import Runs

SCHEMA = 1
OFF = 3.0  # a group this many standard errors from the others is off the law
HEAVY = 10.0  # degrees of freedom below which least squares loses to a robust loss
CHANCE = 0.05
NAMED = 10  # rows in a sentence, and in the JSON for what each alone moves
WORST = 3  # groups named in sentences; all are in the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything ``scalefit diagnose`` found.

    Attributes:
        fit: the fit that is diagnosed.
        spread, groups, clustering: of its residuals.
        influence: how far a parameter hangs on few rows.
        rows: a name for every row, shape (rows,).
        sensitivity: what other objectives and other rows would have said.
        findings: all of it in plain words, one sentence each.
    """

    fit: Fit
    spread: Spread
    groups: tuple[Group, ...]
    clustering: Clustering | None
    influence: Influence
    rows: tuple[str, ...]
    sensitivity: tuple[Variant, ...]
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit diagnose --json``; unknown numbers are None."""
        return {
            "schema": SCHEMA,
            "findings": list(self.findings),
            "law": dict(self.fit.law.params),
            "objective": asdict(self.fit.objective),
            "rows": self.fit.used,
            "residuals": {
                **asdict(self.spread),
                "groups": [asdict(group) for group in self.groups],
                "clustering": asdict(self.clustering) if self.clustering else None,
            },
            "influence": _influence_dict(self.influence, self.rows),
            "sensitivity": [
                {**asdict(variant), "optimum": _known(variant.optimum)}
                for variant in self.sensitivity
            ],
        }


def diagnose(
    runs: Runs,
    *,
    form: str = "chinchilla",
    objective: str = "huber-log",
    delta: float | None = 1e-3,
    parameter: str = "beta",
    drop: int = 5,
    unit: str = "row",
    bootstrap: int = 1000,
    seed: int = 0,
) -> Diagnosis:
    """Fit a law and look for reasons not to believe it.

    Args:
        runs: the table, from ``scalefit.read``.
        form: name of the functional form.
        objective: what the fit minimises, as in ``fit``.
        delta: Huber's threshold; None adapts it to the noise.
        parameter: whose dependence on few rows is searched for; "a" and "b" are the exponents of
            N* and D*.
        drop: how many units to remove at most, 0 for none.
        unit: what is removed at once: "row", "run" or "size".
        bootstrap: replicates behind the standard errors, two or more.
        seed: of everything random.

    Raises:
        FitError: if these runs cannot determine the law, or there is no such parameter or unit.
    """
    if not form_named(form).surface:
        raise FitError(f"a diagnosis is of a law of N and D, and {form} is none")
    fitted = fit(
        runs, form=form, objective=objective, delta=delta, bootstrap=max(bootstrap, 2), seed=seed
    )
    left = residuals(fitted.law, runs)
    moved = influence(runs, fitted, parameter=parameter, drop=drop, unit=unit, seed=seed)
    variants = sensitivity(runs, form=form, drop=drop, influential=moved.removed)
    shape, parts, shared = spread(left), groups(runs, left), clustering(runs, left, seed=seed)
    names = tuple(_row_names(runs))
    findings = (
        *_on_residuals(shape, parts, shared),
        *_on_form(runs, fitted),
        *_on_identification(fitted),
        *_on_influence(moved, names),
        *_on_sensitivity(fitted, variants),
    )
    return Diagnosis(
        fit=fitted,
        spread=shape,
        groups=parts,
        clustering=shared,
        influence=moved,
        rows=names,
        sensitivity=variants,
        findings=findings,
    )


def _row_names(runs: Runs) -> Iterator[str]:
    frame = runs.frame
    runs_of = frame["run_id"] if "run_id" in frame else [None] * len(frame)
    columns = zip(runs_of, frame["params"], frame["tokens"], frame["loss"], strict=True)
    for row, (run, params, tokens, loss) in enumerate(columns, start=1):
        name = f"row {row}" if run is None else f"run {run}"
        yield f"{name} (N {format_count(params)}, D {format_count(tokens)}, loss {loss:.4g})"


def _on_residuals(
    shape: Spread, parts: tuple[Group, ...], shared: Clustering | None
) -> Iterator[str]:
    if shape.kurtosis is None or shape.df is None:
        yield "The law passes through every row: these losses were computed, not measured."
        return
    yield (
        f"Noise: losses scatter by {shape.robust_sd:.2%} about the law in the bulk, "
        f"by {shape.sd:.2%} with the wild rows (standard deviations)."
    )
    tail = f"kurtosis {shape.kurtosis:.1f}, Student t of {_freedom(shape.df)} degrees of freedom"
    if shape.df < HEAVY:
        yield f"Tails are heavy ({tail}): least squares would follow a few rows."
    else:
        yield f"Tails are those of normal noise ({tail})."
    if shared is not None:
        yield _on_clustering(shared)
    yield from _on_fit(parts)


def _on_clustering(shared: Clustering) -> str:
    figures = f"{shared.units} {shared.unit}s, intraclass correlation {shared.icc:.2f}"
    tested = f"{figures}, p {shared.p:.2g} by permutation"
    if shared.p >= CHANCE:
        return f"Rows of one {shared.unit} are no more alike than others ({tested})."
    effect = "they are not independent measurements, and intervals must resample whole"
    return f"Rows of one {shared.unit} share their residual ({tested}): {effect} {shared.unit}s."


def _on_fit(parts: tuple[Group, ...]) -> Iterator[str]:
    ranked = sorted(parts, key=lambda part: -abs(part.z))
    for part in [part for part in ranked if abs(part.z) >= OFF][:WORST]:
        edge = part.part in {"lowest", "highest"}
        where = f"of {part.part} {part.axis}" if edge else f"in the {part.part} of {part.axis}"
        span = f"{_axis_value(part, part.low)} to {_axis_value(part, part.high)}"
        yield (
            f"Off the law: the {part.rows} rows {where} ({span}) lie {part.mean:+.1%} from it in "
            f"the mean and {part.median:+.1%} in the median (z {part.z:+.1f} against the others)."
        )
    if ranked and abs(ranked[0].z) < OFF:
        worst = f"largest |z| {abs(ranked[0].z):.1f}"
        yield f"No third and no edge of C, N or D/N is off the law ({worst})."


def _on_identification(fitted: Fit) -> Iterator[str]:
    gone = [name for name, entry in fitted.intervals.items() if not entry.identified]
    if gone:
        yield (
            f"Not identified: {', '.join(gone)}; other values fit these runs as well, "
            "so runs over a wider range of N and D are needed."
        )


def _on_influence(moved: Influence, names: tuple[str, ...]) -> Iterator[str]:
    if not moved.path:
        return
    name, count = moved.parameter, len(moved.path)
    before, after = moved.estimates[name], moved.path[-1].estimates[name]
    rows = [names[row] for row in moved.removed]
    listed = ", ".join(rows[:NAMED]) + (", ..." if len(rows) > NAMED else "")
    yield (
        f"Without {count} {moved.unit}{'s' * (count > 1)} {name} goes from {before:.3f} to "
        f"{after:.3f}, by {abs(moved.shift):.1f} standard errors of the fit without them: {listed}."
    )


def _on_sensitivity(fitted: Fit, variants: tuple[Variant, ...]) -> Iterator[str]:
    if not variants:
        return
    spans = [
        f"{name} from {min(found):.3f} to {max(found):.3f}"
        for name in ("E", "alpha", "beta", "a")
        if (found := [v.estimates[name] for v in variants if name in v.estimates])
    ]
    optima = [variant.optimum for variant in variants if 0 < variant.optimum < np.inf]
    flops = format_flops(REACH * fitted.domain["flops"][1])
    at = f", N* at {flops} FLOP from {format_count(min(optima))} to {format_count(max(optima))}"
    yield (
        f"Over {len(variants)} choices of objective and of rows left out, "
        f"{', '.join(spans)}{at if optima else ''}."
    )


def _on_form(runs: Runs, fitted: Fit) -> Iterator[str]:
    if fitted.law.form.name != "chinchilla":
        return
    aim = fitted.objective
    said = on_corner(corner(runs, objective=aim.name, delta=aim.delta or HOFFMANNS))
    if said:
        yield said


def _axis_value(part: Group, value: float) -> str:
    return f"{value:.3g}" if part.axis != "N" else format_count(value)


def _freedom(df: float) -> str:
    return f"{df:.1f}" if df < 100 else f"{'over' if df > 0.99 * MOST_DF else 'about'} {df:.0f}"


def _influence_dict(moved: Influence, names: tuple[str, ...]) -> dict[str, object]:
    """The search, with the units that move the parameter most when removed alone."""
    start = moved.estimates[moved.parameter]
    order = np.argsort(-np.abs(moved.alone - start))
    alone = [unit for unit in order.tolist() if moved.exact[unit]][:NAMED]
    return {
        "parameter": moved.parameter,
        "unit": moved.unit,
        "value": start,
        "stderr": moved.stderr,
        "shift": moved.shift,
        "path": [
            {
                "rows": [row + 1 for row in step.rows],
                "names": [names[row] for row in step.rows],
                "estimates": {name: _known(value) for name, value in step.estimates.items()},
            }
            for step in moved.path
        ],
        "alone": [
            {
                "rows": (np.flatnonzero(moved.labels == unit) + 1).tolist(),
                "value": _known(float(moved.alone[unit])),
            }
            for unit in alone
        ],
    }


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
