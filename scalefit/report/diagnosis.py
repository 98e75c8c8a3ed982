"""Diagnoses and back-tests as text: what was found in plain words, then the tables behind it."""

from collections import Counter
from collections.abc import Sequence

from scalefit.diagnosis.backtest import Backtest, Cut, Forecast
from scalefit.diagnosis.curves import LABELS, CurveDiagnosis
from scalefit.diagnosis.diagnose import Diagnosis
from scalefit.diagnosis.influence import Influence
from scalefit.diagnosis.residuals import Group
from scalefit.diagnosis.sensitivity import REACH, Variant
from scalefit.quantities import UNKNOWN, format_count, format_flops

SHOW = {"C": format_flops, "N": format_count, "D/N": "{:.3g}".format}
CONSTANTS = ("E", "A", "B", "alpha", "beta", "k", "eta", "N_c", "D_c", "alpha_N", "alpha_D", "a")


def diagnosis_text(found: Diagnosis) -> str:
    """Findings, residuals by range, what few rows move, and the table of other choices."""
    aim = found.fit.objective
    delta = "" if aim.delta is None else f", delta {aim.delta:.2g}"
    law = ", ".join(f"{name} {value:.4g}" for name, value in found.fit.law.params.items())
    return "\n".join(
        [
            f"{found.fit.law.name}: {found.fit.used} rows, {aim.name}{delta}; {law}",
            "",
            *(f"- {finding}" for finding in found.findings),
            "",
            f"{'residuals':<22}{'from':>9}{'to':>9}{'rows':>6}{'mean':>9}{'median':>9}{'sd':>8}{'robust':>8}{'z':>7}",
            *(_group_row(group) for group in found.groups),
            "",
            *_path_rows(found.influence, found.rows),
            *_sensitivity_rows(found.sensitivity),
        ]
    )


def curves_text(found: Sequence[CurveDiagnosis]) -> str:
    """How many runs carry each label, then each run with its labels and their reasons."""
    counts = Counter(label for one in found for label in one.labels)
    lines = [f"curves of {len(found)} run{'' if len(found) == 1 else 's'}"]
    lines += [f"{label}  {counts[label]:>4}  {LABELS[label]}" for label in sorted(counts)]
    for one in found:
        lines += ["", *([one.run] if one.run else [])]
        lines += [f"  {label}  {why}" for label, why in zip(one.labels, one.reasons, strict=True)]
    return "\n".join(lines)


def _group_row(group: Group) -> str:
    show = SHOW[group.axis]
    span = f"{show(group.low):>9}{show(group.high):>9}"
    centre = f"{group.mean:>+9.2%}{group.median:>+9.2%}"
    scatter = f"{group.sd:>8.2%}{group.robust_sd:>8.2%}"
    name = f"{group.axis}, {group.part}"
    return f"{name:<22}{span}{group.rows:>6}{centre}{scatter}{group.z:>+7.1f}"


def _path_rows(moved: Influence, names: tuple[str, ...]) -> list[str]:
    if not moved.path:
        return []
    shown = [n for n in dict.fromkeys((moved.parameter, "a")) if n in moved.estimates]
    heading = "".join(f"{name:>10}" for name in shown)
    start = "".join(f"{moved.estimates[name]:>10.4g}" for name in shown)
    rows = [
        "".join(f"{step.estimates[name]:>10.4g}" for name in shown)
        + f"    without {', '.join(names[row] for row in step.rows[:3])}"
        + (f" and {len(step.rows) - 3} more" if len(step.rows) > 3 else "")
        for step in moved.path
    ]
    return [f"{heading}    removed one after another", f"{start}    all rows", *rows, ""]


def _sensitivity_rows(variants: tuple[Variant, ...]) -> list[str]:
    constants = [name for name in CONSTANTS if all(name in v.estimates for v in variants)]
    heading = "".join(f"{name:>10}" for name in constants)
    lines = [f"{'objective':<15}{'delta':>8}{'value':>11}{heading}{f'N* {REACH:g}x':>9}"]
    rows = ""
    for variant in variants:
        if variant.rows != rows:
            rows = variant.rows
            lines.append(f"{rows} ({variant.used} rows)")
        lines.append(_variant_row(variant, constants))
    return lines


def _variant_row(variant: Variant, constants: list[str]) -> str:
    delta = UNKNOWN if variant.delta is None else f"{variant.delta:.2g}"
    values = "".join(f"{variant.estimates[name]:>10.4g}" for name in constants)
    status = "" if variant.status == "converged" else f"  {variant.status.replace('_', ' ')}"
    optimum = format_count(variant.optimum)
    return f"{variant.objective:<15}{delta:>8}{variant.value:>11.4g}{values}{optimum:>9}{status}"


def backtest_text(done: Backtest) -> str:
    """For each cut who predicted what lies above it, and how well."""
    lines = [
        f"{done.source}: runs below a compute fitted, runs above it predicted; error is measured",
        f"over predicted, held the share of rows inside the {done.level:.0%} prediction interval",
    ]
    for cut in done.cuts:
        lines += ["", *_cut_rows(cut)]
    lines += [f"left out: {reason}" for reason in done.skipped]
    return "\n".join(lines)


def _cut_rows(cut: Cut) -> list[str]:
    reach = f"up to {cut.reach:.3g} times as much"
    heading = f"C up to {format_flops(cut.flops)}: {cut.fitted} rows fitted, {cut.predicted} above"
    return [
        f"{heading}, {reach}, {cut.best} of them the best yet",
        f"{'':<26}{'all rows':>9}{'':>9}{'best yet':>10}",
        f"{'':<26}{'bias':>9}{'rms':>9}{'bias':>10}{'rms':>9}{'held':>8}",
        *(_forecast_row(forecast) for forecast in cut.forecasts),
    ]


def _forecast_row(forecast: Forecast) -> str:
    held = UNKNOWN if forecast.coverage is None else f"{forecast.coverage:.0%}"
    every = f"{forecast.bias:>+9.2%}{forecast.rms:>9.2%}"
    best = (
        f"{UNKNOWN:>10}{UNKNOWN:>9}"
        if forecast.best_bias is None or forecast.best_rms is None
        else f"{forecast.best_bias:>+10.2%}{forecast.best_rms:>9.2%}"
    )
    return f"{forecast.predictor:<26}{every}{best}{held:>8}"
