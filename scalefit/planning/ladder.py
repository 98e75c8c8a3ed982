"""A ladder of plans as a grid file that ``scalefit train-grid`` takes: one run for every budget."""

from collections.abc import Sequence

from scalefit.errors import PlanError
from scalefit.planning.result import Plan
from scalefit.planning.shape import Model
from scalefit.quantities import format_count, format_flops

REFERENCE_WIDTH = 32  # at which a grid states its learning rate; the trainer's falls as 1/width
WARMUP, LONGEST_WARMUP = 4, 25  # at most a quarter of the steps, and so many
LEAST_STEPS = 10
HELD_OUT = 65_536
TOP = """source = "{source}"
context = {context}
seeds = [0]
embedding_rate = 0.1
cooldown = 0.2
held_out = {held_out}
"""
RUN = """
[[runs]]
widths = [{width}]
depth = {depth}
head_width = {head_width}
tokens = [{tokens}]
batch = {batch}
learning_rate = {rate:.4g}  # at width 32; at this width {peak:.3g}
warmup = {warmup}
"""


def ladder_toml(plans: Sequence[Plan], *, source: str, origin: str) -> str:
    """The grid file of the models of these plans, whose head says what was planned.

    Args:
        plans: one for every rung, each with its model.
        source: where the tokens come from, as ``train-grid`` names it.
        origin: which law planned, in words.

    Raises:
        PlanError: if a rung has no model, or hardly a step.
    """
    models = [_model(plan) for plan in plans]
    context = models[0].shape.context
    head = [
        f"# {len(plans)} rungs by {origin}: N and D of least loss for each budget.",
        f"# N is counted as {plans[0].law.convention.params} (see docs/planning.md).",
        f"# For a vocabulary of {models[0].shape.vocab:,} and a context of {context:,} tokens;",
        "# if those of the source are others, plan again with --vocab and --context.",
        f"# {'C':>9}{'N':>9}{'D':>9}{'loss':>9}{'N built':>9}{'6ND':>10}{'by layer':>10}",
        *map(_row, plans, models),
    ]
    top = TOP.format(source=source, context=context, held_out=max(HELD_OUT, 2 * context))
    return "\n".join(head) + "\n" + top + "".join(map(_run, models))


def _model(plan: Plan) -> Model:
    if plan.model is None:
        raise PlanError(f"the rung of {format_flops(plan.flops)} FLOP: {plan.notes[-1]}")
    if plan.model.steps < LEAST_STEPS:
        raise PlanError(
            f"the rung of {format_flops(plan.flops)} FLOP is {plan.model.steps} steps of "
            f"{plan.model.batch_tokens:,} tokens, which is no training; take a smaller --context"
        )
    return plan.model


def _row(plan: Plan, model: Model) -> str:
    loss = f"{plan.loss.value:.4f}" if plan.loss else "-"
    return (
        f"# {format_flops(plan.flops):>9}{format_count(plan.params.value):>9}"
        f"{format_count(plan.tokens.value):>9}{loss:>9}{format_count(model.counted):>9}"
        f"{format_flops(model.six_nd):>10}{format_flops(model.exact_flops):>10}"
    )


def _run(model: Model) -> str:
    shape = model.shape
    return RUN.format(
        width=shape.width,
        depth=shape.depth,
        head_width=shape.width // shape.heads,
        tokens=model.steps * model.batch_tokens,
        batch=model.batch,
        rate=model.learning_rate * shape.width / REFERENCE_WIDTH,
        peak=model.learning_rate,
        warmup=min(LONGEST_WARMUP, model.steps // WARMUP),
    )
