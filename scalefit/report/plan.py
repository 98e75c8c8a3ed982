"""Plans as text: every number beside its interval, what it costs, and what else would do."""

from collections.abc import Callable, Iterator
from textwrap import wrap

import numpy as np

from scalefit.planning import Band, Plan, Quantity
from scalefit.planning.hardware import Bill
from scalefit.planning.result import Choice, Regret
from scalefit.planning.rivals import Judgement, Rivals
from scalefit.planning.shape import Model
from scalefit.quantities import UNKNOWN, format_count, format_flops, format_number
from scalefit.report.text import COUNTED, WIDTH, flops_rule, loss_unit, span

NAME, VALUE = 18, 10  # widths of the columns
LIMITS = {"max_params": "parameters", "max_tokens": "tokens"}
ASKED = {
    "flops": ("{} FLOP", format_flops), "loss": ("a loss of {}", "{:.4g}".format),
    "params": ("{} parameters", format_count), "tokens": ("{} tokens", format_count),
}  # fmt: skip


def planned_text(found: Plan | Rivals, origins: list[str]) -> str:
    """A plan, or those of several laws; ``origins`` say where the laws came from."""
    if isinstance(found, Rivals):
        return rivals_text(found, origins)
    return plan_text(found, origin=origins[0])


def plan_text(plan: Plan, *, origin: str) -> str:
    """The plan; ``origin`` says where the law came from and stands on the first line."""
    if np.ndim(plan.params.value):
        return "\n".join([*_heading(plan, origin), "", *_rows(plan)])
    return "\n".join(
        [
            *_heading(plan, origin),
            "",
            *_numbers(plan),
            *_band_rows(plan.band),
            *_regret_lines(plan),
            *_same_loss_rows(plan),
            *_model_lines(plan.model),
            *_bill_lines(plan.bill),
        ]
    )


def rivals_text(rivals: Rivals, origins: list[str]) -> str:
    """The plans of several laws, a row each, and what it costs to follow the wrong one."""
    plans = rivals.plans
    width = max(len(plan.law.name) for plan in plans)
    priced = plans[0].bill is not None
    return "\n".join(
        [
            f"{_question(plans[0])} by {len(plans)} laws{_limits(plans[0])}",
            "",
            f"{'':<{width}}{'parameters N':>14}{'tokens D':>12}{'D/N':>8}{'loss':>9}"
            + (f"{'days':>9}{'cost':>10}" if priced else "")
            + "   counting",
            *(_rival_row(plan, width) for plan in plans),
            *_judgement_lines(rivals.judgements),
            "",
            *(line for origin in origins for line in _wrapped(origin)),
        ]
    )


def _heading(plan: Plan, origin: str) -> list[str]:
    convention = plan.law.convention
    unit = f"; {loss_unit(plan.loss_unit)}" if plan.loss else ""
    served = plan.terms.inference_tokens
    rule = f"{flops_rule(convention)}" + (
        f" + 2NT for T = {format_count(served)} tokens served" if served else ""
    )
    return [
        *_wrapped(f"{_question(plan)} by {origin}{_limits(plan)}"),
        f"C {rule}; {COUNTED[convention.params]}{unit}",
    ]


def _question(plan: Plan) -> str:
    parts = []
    for name, value in plan.asked.items():
        words, show = ASKED[name]
        few = np.ravel(value)
        shown = show(few[0]) if few.size == 1 else f"{show(few.min())} to {show(few.max())}"
        parts.append(words.format(shown))
    return " and ".join(parts)


def _limits(plan: Plan) -> str:
    said = [
        f"at most {format_count(getattr(plan.terms, name))} {what}"
        for name, what in LIMITS.items()
        if np.isfinite(getattr(plan.terms, name))
    ]
    if plan.unique_tokens is not None:
        said.append(f"{format_count(plan.unique_tokens)} unique tokens")
    return f", with {' and '.join(said)}" if said else ""


def _numbers(plan: Plan) -> list[str]:
    level = plan.params.level
    kind = "profile interval" if plan.interval == "profile" else "interval"
    heading = f"{100 * level:g}% {kind}" if level else "no interval"
    chosen = "optimum" if plan.band else "plan"
    epochs = Quantity(value=plan.epochs, low=None, high=None, level=None) if plan.epochs else None
    shown: list[tuple[str, Quantity | None, Callable[[float], str]]] = [
        ("parameters N", plan.params, format_count),
        ("tokens D", plan.tokens, format_count),
        ("tokens/parameter", plan.tokens_per_param, format_number),
        ("epochs", epochs, format_number),
        ("loss", plan.loss, format_number),
        ("training FLOP", plan.training_flops if "flops" not in plan.asked or plan.bound or
         plan.serving_flops else None, format_flops),
        ("serving FLOP", plan.serving_flops, format_flops),
    ]  # fmt: skip
    return [
        f"{'':<{NAME}}{chosen:>{VALUE}}    {heading}",
        *(
            _planned(name, one, show, held=plan.bound)
            for name, one, show in shown
            if one is not None
        ),
        *([] if plan.loss else ["The law does not say the loss."]),
        *(_waste(plan.regret) if plan.regret else []),
    ]


def _planned(
    name: str, quantity: Quantity, show: Callable[[float], str], held: tuple[str, ...] = ()
) -> str:
    value = show(quantity.value)
    limit = {"parameters N": "max_params", "tokens D": "max_tokens"}.get(name)
    if limit in held:
        return f"{name:<{NAME}}{value:>{VALUE}}    the limit"
    if quantity.level is None:
        return f"{name:<{NAME}}{value:>{VALUE}}"
    low, high = (UNKNOWN if x is None else show(x) for x in (quantity.low, quantity.high))
    if low == high == value:
        return f"{name:<{NAME}}{value:>{VALUE}}    as asked"
    return f"{name:<{NAME}}{value:>{VALUE}}{low:>{VALUE}} … {high}"


def _waste(regret: Regret) -> list[str]:
    """What the plan wastes by the law, and by its draws."""
    over = regret.overhead
    limits = ""
    if over.level is not None:
        low, high = (UNKNOWN if x is None else _percent(x) for x in (over.low, over.high))
        limits = f"{low:>{VALUE}} … {high} %"
    return [f"{'wasted compute':<{NAME}}{_percent(over.value) + ' %':>{VALUE}}{limits}"]


def _percent(share: float) -> str:
    """Three digits, but no exponent."""
    return "0" if share < 1e-4 else f"{float(f'{100 * share:.3g}'):,g}"


def _band_rows(bands: tuple[Band, ...]) -> list[str]:
    if not bands:
        return []
    return [
        "",
        "Nearly as good at the same cost; the optimum is flat:",
        f"{'':<{NAME}}{'parameters':>22}{'tokens':>22}{'loss':>10}",
        *(_band_row(band) for band in bands),
    ]


def _band_row(band: Band) -> str:
    name = f"wastes at most {band.overhead:>3.0%}"
    return f"{name}{span(band.params):>22}{span(band.tokens):>22}{band.loss:>10.4f}"


def _regret_lines(plan: Plan) -> Iterator[str]:
    """Where the same loss is had for less."""
    found = plan.regret
    if found is None or found.overhead.value < 1e-3:
        return
    saved = 1 - found.cheapest.flops / plan.flops
    life = " over its life" if plan.serving_flops else ""
    yield ""
    yield (
        f"The same loss costs {saved:.1%} less{life} with {format_count(found.cheapest.params)} "
        f"parameters on {format_count(found.cheapest.tokens)} tokens "
        f"({format_flops(found.cheapest.flops)} FLOP)."
    )
    yield (
        f"The same cost reaches {found.best.loss:.4f} with {format_count(found.best.params)} "
        f"parameters on {format_count(found.best.tokens)} tokens."
    )


def _same_loss_rows(plan: Plan) -> list[str]:
    if "loss" not in plan.asked or len(plan.same_loss) < 2:
        return []
    return [
        "",
        "The same loss with other models; larger ones need fewer tokens:",
        f"{'parameters':>28}{'tokens':>12}{'FLOP':>12}{'± tokens':>10}{'± FLOP':>8}",
        *(_same_loss_row(choice, plan) for choice in plan.same_loss),
    ]


def _same_loss_row(choice: Choice, plan: Plan) -> str:
    more = choice.tokens / plan.tokens.value - 1
    dearer = choice.flops / plan.flops - 1
    return (
        f"{choice.params / plan.params.value:>12.3g} N*  {format_count(choice.params):>12}"
        f"{format_count(choice.tokens):>12}{format_flops(choice.flops):>12}"
        f"{more:>+10.0%}{dearer:>+8.0%}"
    )


def _model_lines(model: Model | None) -> Iterator[str]:
    if model is None:
        return
    shape = model.shape
    yield ""
    yield from _hung(
        f"Model    {shape.depth} layers of width {shape.width}, {shape.heads} heads; vocabulary "
        f"{shape.vocab:,}, context {shape.context:,}: {format_count(model.total)} parameters, "
        f"{format_count(model.non_embedding)} without embeddings ({model.off:+.1%} of N)"
    )
    yield from _hung(
        f"Training {model.steps:,} steps of {format_count(model.batch_tokens)} tokens, peak "
        f"learning rate {model.learning_rate:.2g}; {format_flops(model.exact_flops)} FLOP by "
        f"layer, attention and output included, {model.exact_flops / model.six_nd:.3g} times 6ND"
    )


def _bill_lines(bill: Bill | None) -> Iterator[str]:
    if bill is None:
        return
    cluster = bill.cluster
    many = f"{cluster.count:,} x " if cluster.count else ""
    days = f"{_around(bill.days, format_number)} days, " if bill.days else ""
    cost = f", {_around(bill.cost, format_count)} in money" if bill.cost else ""
    yield from _hung(
        f"Hardware {many}{cluster.device.name} at {cluster.mfu:.0%} of its peak: {days}"
        f"{_around(bill.device_hours, format_count)} device hours{cost}"
    )


def _hung(text: str) -> list[str]:
    return _wrapped(text, 9)


def _wrapped(text: str, indent: int = 2) -> list[str]:
    return wrap(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)


def _around(quantity: Quantity, show: Callable[[float], str]) -> str:
    value = show(quantity.value)
    if quantity.low is None or quantity.high is None:
        return value
    low, high = show(quantity.low), show(quantity.high)
    return value if low == high else f"{value} ({low} … {high})"


def _rows(plan: Plan) -> list[str]:
    """A row for every budget, of several."""
    frame = plan.frame()
    shows: dict[str, Callable[[float], str]] = {
        "params": format_count, "tokens": format_count, "loss": format_number,
    }  # fmt: skip
    names = [name for name in shows if name in frame]
    asked = next(iter(plan.asked))
    lines = [f"{ASKED[asked][0].replace('{}', '').strip():>12}" + "".join(
        f"{name:>12}{'interval' if plan.interval else '':>22}" for name in names
    )]  # fmt: skip
    given = np.ravel(plan.asked[asked])
    for i, row in enumerate(frame.to_dict("records")):
        cells = [f"{ASKED[asked][1](given[i]):>12}"]
        for name in names:
            show = shows[name]
            limits = (
                f"{show(row[f'{name}_low'])} … {show(row[f'{name}_high'])}" if plan.interval else ""
            )
            cells.append(f"{show(row[name]):>12}{limits:>22}")
        lines.append("".join(cells))
    return lines


def _rival_row(plan: Plan, width: int) -> str:
    loss = f"{plan.loss.value:.4f}" if plan.loss else UNKNOWN
    bill = plan.bill
    money = ""
    if bill is not None:
        days = format_number(bill.days.value) if bill.days else UNKNOWN
        cost = format_count(bill.cost.value) if bill.cost else UNKNOWN
        money = f"{days:>9}{cost:>10}"
    return (
        f"{plan.law.name:<{width}}{format_count(plan.params.value):>14}"
        f"{format_count(plan.tokens.value):>12}"
        f"{format_number(plan.tokens_per_param.value):>8}{loss:>9}{money}"
        f"   {COUNTED[plan.law.convention.params]}"
    )


def _judgement_lines(judgements: tuple[Judgement, ...]) -> Iterator[str]:
    if judgements:
        yield ""
    for found in judgements:
        money = "" if found.cost is None else f", {format_count(found.cost)} in money"
        yield (
            f"If {found.judge} is right, the plan of {found.plan} wastes {found.overhead:.1%}: "
            f"{format_flops(found.wasted)} FLOP{money}."
        )
