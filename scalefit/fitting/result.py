"""A fit as data: the law, how it was found, how sure it is; and its JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from scalefit.cleaning import Dropped
from scalefit.errors import FitError
from scalefit.laws import Constraints, Convention, FloatArray, Form, Law, form_named
from scalefit.laws.frontier import KNOWN
from scalefit.markup import paragraph, table
from scalefit.quantities import format_number

SCHEMA = 3


class Status(StrEnum):
    """How a fit ended."""

    CONVERGED = "converged"
    BOUND_HIT = "bound_hit"
    """The optimum lies on the edge of what a parameter may be; see ``Certificate.bounds``."""
    NOT_IDENTIFIED = "not_identified"
    """These runs leave an exponent open; see ``Interval.identified``."""
    NOT_CONVERGED = "not_converged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value with the limits that hold it at a level of confidence; None where unknown."""

    value: float
    low: float | None
    high: float | None
    level: float
    identified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What was minimised and its value at the optimum, summed over runs."""

    name: str
    delta: float | None
    value: float


Domain = Mapping[str, tuple[float, float]]
"""The ranges (low, high) of each quantity among the runs fitted: "params", "tokens", ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One optimum that a frontier is drawn through, at one compute.

    Attributes:
        flops: the compute C.
        params, tokens, loss: N*, D* and L* there; None where it was not found.
        error: standard error of log N*; None if unknown.
        rows: how many runs it comes from.
        note: why it is not used, in words; empty if it is.
    """

    flops: float
    params: float | None
    tokens: float | None
    loss: float | None
    error: float | None
    rows: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a scan of the exponents for a better optimum saw; see ``scalefit.fitting.scan``.

    Attributes:
        axes: which exponents.
        cells: how many were evaluated.
        low, high: the box scanned, of each exponent.
        radius: the farthest that an unexcluded cell lies from the optimum, in log exponent.
        lowest: the least value seen, over the optimum's.
        excluded: whether all but the neighbourhood of the optimum was excluded.
    """

    axes: tuple[str, ...]
    cells: int
    low: float
    high: float
    radius: float
    lowest: float
    excluded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Why to believe that the optimum is the global one; numerical evidence, not a proof.

    Attributes:
        starts: how many starts were polished.
        agreeing: how many of them ended within 1e-9 of the best objective.
        gradient: largest slope in units of the objective per standardised parameter.
        curvature: smallest eigenvalue of the Hessian, scaled to unit diagonal; positive at a
            minimum.
        condition: condition number of that scaled Hessian.
        second_basin: objective of the next best minimum, relative to the best; None if all agree.
        bounds: parameters that ended on an edge of their range.
        scan: of --certify, else None; see ``scalefit.fitting.scan``.
        replicates: bootstrap replicates that converged, of those drawn.
    """

    starts: int
    agreeing: int
    gradient: float
    curvature: float
    condition: float
    second_basin: float | None
    bounds: tuple[str, ...]
    scan: Scan | None
    replicates: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fitted law.

    Attributes:
        law: the law at the optimum; of the form "frontier" by approaches 1 and 2.
        method: how: "envelope", "isoflop" or "parametric", approaches 1 to 3 of Hoffmann et al.
            2022.
        variant: of the envelope or of the profiles; empty for a law.
        status: whether to trust it.
        objective: what was minimised.
        intervals: by parameter, and for the exponents a and b of N* and D*.
        interval: by which method; see ``scalefit.fitting.uncertainty``.
        constraints: what was said about parameters before the fit.
        weights: the column that weighed each row's loss; None for none.
        fingerprint: of the numbers fitted, their weights and which rows share a run, by which the
            runs are known again (``scalefit.fitting.again``); empty for a frontier.
        resampled: the unit that the bootstrap drew: "runs" or "rows".
        used: rows fitted.
        dropped: rows left out, by reason.
        draws: bootstrap replicates of the parameters, shape (replicates, parameters); the
            intervals of a plan come from these, so that correlations are kept.
        certificate: see there; None for a frontier, whose lines have one optimum only.
        domain: see there.
        points: the optima that a frontier is drawn through, in order of compute.
        notes: what to know of the fit, in words.
    """

    law: Law
    method: str
    status: Status
    objective: Score
    intervals: Mapping[str, Interval]
    interval: str
    constraints: Constraints
    resampled: str
    used: int
    dropped: tuple[Dropped, ...]
    draws: FloatArray
    certificate: Certificate | None
    domain: Domain
    points: tuple[Point, ...] = ()
    notes: tuple[str, ...] = ()
    variant: str = ""
    weights: str | None = None
    fingerprint: str = ""

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit fit --json``; unknown numbers are None, never NaN."""
        return {
            "schema": SCHEMA,
            "form": self.law.form.name,
            "method": self.method,
            "variant": self.variant,
            "status": str(self.status),
            "objective": asdict(self.objective),
            "constraints": _said(self.constraints),
            "weights": self.weights,
            "law": {
                "params": {name: _known(value) for name, value in self.law.params.items()},
                "convention": asdict(self.law.convention),
                "source": self.law.source,
            },
            "interval": self.interval,
            "intervals": {name: asdict(interval) for name, interval in self.intervals.items()},
            "runs": {
                "used": self.used,
                "dropped": [asdict(entry) for entry in self.dropped],
                "domain": {name: list(span) for name, span in self.domain.items()},
                "resampled": self.resampled,
                "fingerprint": self.fingerprint,
            },
            "certificate": self.certificate and asdict(self.certificate),
            "points": [asdict(point) for point in self.points],
            "notes": list(self.notes),
            "draws": [[_known(value) for value in draw] for draw in self.draws.tolist()],
        }

    def _repr_html_(self) -> str:
        """As a notebook shows it: the equation, the constants with intervals, the evidence."""
        rows = [
            (
                name,
                format_number(one.value),
                f"{format_number(one.low)} … {format_number(one.high)}",
                "" if one.identified else "not identified",
            )
            for name, one in self.intervals.items()
        ]
        level = f"{next(iter(self.intervals.values())).level:.0%} interval"
        proof = self.certificate
        agree = f"; {proof.agreeing} of {proof.starts} starts agree" if proof else ""
        status = str(self.status).replace("_", " ")
        caption = f"{self.law.name}: {self.used} rows; {status}{agree}"
        told = table(caption, ("", "value", level, ""), rows)
        return paragraph(self.law.form.equation) + told + "".join(map(paragraph, self.notes))

    def to_json(self) -> str:
        """One line of JSON at full precision."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, name: str, form: Form | None = None) -> "Fit":
        """Read what ``to_json`` wrote; ``name`` is where it came from.

        A fit of your own form needs that ``form``, since no file may say what is executed.

        Raises:
            FitError: if the text is not a fit of a schema this version reads.
        """
        try:
            document = json.loads(text)
            schema = document["schema"]
        except (ValueError, KeyError, TypeError):
            raise FitError(f"{name} is not a fit; write one with: scalefit fit PATH") from None
        if schema != SCHEMA:
            raise FitError(
                f"{name} has schema {schema!r}, this version reads {SCHEMA}; refit the runs with it"
            )
        try:
            return _from_document(document, name, form)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FitError(
                f"{name} is a fit with a missing or wrong entry ({error}); refit the runs"
            ) from None


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _said(constraints: Constraints) -> dict[str, object]:
    """As JSON has it, where an open end is None."""
    bounds = {name: [_known(x) for x in pair] for name, pair in constraints.bounds.items()}
    return {"fixed": dict(constraints.fixed), "bounds": bounds, "tied": dict(constraints.tied)}


def _read_constraints(entry: Mapping[str, Mapping[str, Any]]) -> Constraints:
    bounds = {
        name: (-np.inf if low is None else float(low), np.inf if high is None else float(high))
        for name, (low, high) in entry["bounds"].items()
    }
    fixed = {name: float(value) for name, value in entry["fixed"].items()}
    return Constraints(fixed=fixed, bounds=bounds, tied=dict(entry["tied"]))


def _from_document(document: dict, name: str, form: Form | None) -> Fit:  # type: ignore[type-arg] # parsed JSON
    runs, domain = document["runs"], document["runs"]["domain"]
    form = form or form_named(document["form"])
    constants = {key: _read_constant(form, key, document) for key in form.parameters}
    law = Law(
        name=name,
        form=form,
        params=constants,
        convention=Convention(**document["law"]["convention"]),
        source=document["law"]["source"],
        flops_seen=float(domain["flops"][1]) if "flops" in domain else None,
    )
    draws = np.array(document["draws"], dtype=np.float64).reshape(-1, len(form.parameters))
    return Fit(
        law=law,
        method=document["method"],
        variant=document["variant"],
        status=Status(document["status"]),
        objective=Score(**document["objective"]),
        interval=document["interval"],
        constraints=_read_constraints(document["constraints"]),
        weights=document["weights"],
        fingerprint=str(runs["fingerprint"]),
        intervals={key: Interval(**entry) for key, entry in document["intervals"].items()},
        resampled=runs["resampled"],
        used=int(runs["used"]),
        dropped=tuple(Dropped(**entry) for entry in runs["dropped"]),
        draws=draws,
        certificate=_read_certificate(document["certificate"]),
        domain={key: (float(low), float(high)) for key, (low, high) in domain.items()},
        points=tuple(Point(**point) for point in document["points"]),
        notes=tuple(document["notes"]),
    )


def _read_constant(form: Form, name: str, document: dict) -> float:  # type: ignore[type-arg] # parsed JSON
    value = document["law"]["params"][name]
    if value is None and form.name == "frontier" and name not in KNOWN:
        return float("nan")
    if not np.isfinite(value) or value < min(form.constant(name).low, 0.0):
        raise ValueError("a constant of the law is out of its range or not a number")
    return float(value)


def _read_certificate(entry: dict | None) -> Certificate | None:  # type: ignore[type-arg] # parsed JSON
    if entry is None:
        return None
    scan = entry["scan"] and Scan(**{**entry["scan"], "axes": tuple(entry["scan"]["axes"])})
    bounds, replicates = tuple(entry["bounds"]), tuple(entry["replicates"])
    return Certificate(**{**entry, "scan": scan, "bounds": bounds, "replicates": replicates})
