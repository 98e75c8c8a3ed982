"""Slingshots: a fitted network that trains on without decay is thrown off in cycles.

Thilak et al. 2022 (arXiv:2206.04817) train on by Adam, without weight decay, long after all is
fitted: the norm of the last layer grows faster and faster until the loss shoots up, and this comes
back; a larger epsilon of Adam ends it. They saw late generalisation at these moments. Others take
slingshots for rounding of the loss in float32, as Nanda et al. 2023 (arXiv:2301.05217) do, who
compute it in float64; both are tried here on a small transformer that adds modulo 23.

Tuned after results were seen: eight settings of size, rate, share and prime were looked at. All had
slingshots; this one is the cheapest. In none of them were 95 % of the other pairs right after 4000
steps or more. The rule for a sudden growth of the norm was set on this setting's runs.

The full form has the task that they take over from Power et al. 2022 (arXiv:2201.02177): division
modulo 97, half of the divisions shown, a decoder of two layers, width 128 and four heads, Adam at
1e-3 (betas .9 and .98, ten steps to rise) and 512 divisions a step. The loss in float64 is not
theirs, nor are 100 000 steps and a look each ten. The loss in its table is that in float64, in all
arms, on all that is shown.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, house_style
from trainers.studies.parts import decoder
from trainers.studies.parts.decoder import Divider, Layout
from trainers.studies.tools.adder import Shape, draw_adder, others, walk
from trainers.studies.tools.modular import FITTED, UNDERSTOOD, norm, split
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

SHAPE = Shape(prime=23, width=16, hidden=32)
SHARE, RATE, EVERY = 0.75, 1e-2, 10
STEPS = 4000
PAPER = Divider(layout=Layout(prime=97), share=0.5, rate=1e-3, steps=100_000)
JUMP, CALM, SUDDEN = 10.0, 300, 5.0
"""A slingshot: the loss is this many times its lowest so far, for the first time in this many
steps, and the last layer's norm moves this many times as fast as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Epsilon of Adam, whether the loss is computed in float64, and a colour."""

    name: str
    epsilon: float = 1e-8
    exact: bool = False
    colour: str


ARMS = (
    Arm(name="float32, epsilon 1e-8", colour=FRONTIER),
    Arm(name="float32, epsilon 1e-5", epsilon=1e-5, colour="#0072b2"),
    Arm(name="loss in float64, epsilon 1e-8", exact=True, colour="0.35"),
)


def run(ask: Ask) -> pd.DataFrame:
    """A row a seed, arm and ten steps, columns seed, arm, step, loss, lowest, train, test, last.

    ``loss`` is the highest of the ten steps up to ``step``, ``lowest`` the lowest of them; ``last``
    is the norm of the last layer. The full form measures the loss each ten steps alone, and has the
    columns task and batch (divisions in a step) too.
    """
    if ask.full:
        return pd.concat([_divided(arm, ask) for arm in ARMS], ignore_index=True)
    return pd.concat([_trained(arm, list(ask.seeds)) for arm in ARMS], ignore_index=True)


def _trained(arm: Arm, seeds: list[int]) -> pd.DataFrame:
    shown, hidden = split(SHAPE.prime, SHARE, seeds)
    rest, start = others(hidden, SHAPE.prime), draw_adder(seeds, SHAPE)
    looks, losses = list[pd.DataFrame](), list[np.ndarray]()
    for now in walk(start, shown, steps=STEPS, rate=RATE, epsilon=arm.epsilon, exact=arm.exact):
        losses.append(now.loss.double().numpy())
        if now.step % EVERY == 0:
            seen = {
                "loss": np.max(losses, axis=0),
                "lowest": np.min(losses, axis=0),
                "train": now.right.numpy(),
                "test": rest.known(now.adder)["test"].numpy(),
                "last": norm([now.adder.unembed]).detach().double().numpy(),
            }
            looks.append(pd.DataFrame({"seed": seeds, "arm": arm.name, "step": now.step, **seen}))
            losses.clear()
    return pd.concat(looks, ignore_index=True)


def _divided(arm: Arm, ask: Ask) -> pd.DataFrame:
    """The full form of an arm."""
    found = decoder.train(
        replace(PAPER, epsilon=arm.epsilon, exact=arm.exact),
        list(ask.seeds),
        every=EVERY,
        device=ask.device,
        tell=lambda said: ask.tell(f"{arm.name}: {said}"),
    )
    return found.assign(arm=arm.name, lowest=found["loss"])


def slingshots(table: pd.DataFrame) -> pd.DataFrame:
    """Every jump of the loss after fitting: columns arm, seed, step, loss, speed, sudden.

    ``speed`` is the fastest change of the last layer's norm from 100 steps before the jump to 50
    after it, over the median in the 500 steps before; ``sudden`` says whether it is `SUDDEN`.
    """
    found = [
        {"arm": arm, "seed": seed, **one}
        for (arm, seed), rows in table.groupby(["arm", "seed"], sort=False)
        for one in _jumps(rows)
    ]
    return pd.DataFrame(found, columns=["arm", "seed", "step", "loss", "speed", "sudden"])


def _jumps(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Those of one run, rows in the order of steps."""
    step, loss, last = (rows[name].to_numpy() for name in ("step", "loss", "last"))
    fitted = np.flatnonzero(rows["train"] >= FITTED)
    if not fitted.size:
        return []
    before = np.minimum.accumulate(rows["lowest"].to_numpy())[:-1]
    up = np.append(False, loss[1:] > JUMP * before) & (step > step[fitted[0]])
    pace, found, quiet = np.abs(np.diff(last, prepend=last[0])), [], -np.inf
    for at in np.flatnonzero(up):
        if step[at] - quiet > CALM:
            usual = np.median(pace[max(0, at - 60) : max(1, at - 10)])
            speed = pace[max(0, at - 10) : at + 6].max() / max(usual, 1e-12)
            highest = loss[at : at + 6].max()
            found.append(
                {"step": step[at], "loss": highest, "speed": speed, "sudden": speed >= SUDDEN}
            )
        quiet = step[at]
    return found


def counts(table: pd.DataFrame) -> pd.DataFrame:
    """Slingshots (jumps of the loss with a sudden growth) by arm, a column a seed."""
    found = slingshots(table)
    found = found[found["sudden"].astype(bool)]
    count = pd.crosstab(found["arm"], found["seed"])
    names = [arm.name for arm in ARMS]
    return count.reindex(index=names, columns=table["seed"].unique()).fillna(0).astype(int)


def find(table: pd.DataFrame) -> Finding:
    """Whether slingshots come again and again, and a larger epsilon ends them."""
    count, found, seeds = counts(table), slingshots(table), table["seed"].nunique()
    plain, large, exact = (count.loc[arm.name].to_numpy() for arm in ARMS)
    own = found[found["arm"] == ARMS[0].name]
    apart = float(np.median(gaps)) if len(gaps := _gaps(own)) else float("nan")
    best = table[table["arm"] == ARMS[0].name].groupby("seed")["test"].max()
    gain, other = _gain(table, ARMS[0].name), _gain(table, ARMS[2].name)
    few = "the network is small and the cycles are few"
    limit = "it is one network and one task" if "task" in table else few
    rounding = exact.sum() == 0 < plain.sum()
    return Finding(
        showed=float((plain >= 2).mean()) >= 0.8 and float((large == 0).mean()) >= 0.8,
        criterion=f"the loss of a fitted network jumps to {JUMP:.0f} times its lowest while the "
        f"norm of the last layer moves {SUDDEN:.0f} times as fast as before, twice or more in four "
        "seeds of five; and with an epsilon of 1e-5 never, in four of five",
        text=(
            f"In {ARMS[0].name}, a seed has {span(plain)} slingshots in {table['step'].max()} "
            f"steps{_task(table)}"
            + (f", {apart:.0f} steps apart (median)" if np.isfinite(apart) else "")
            + ". "
            "Jumps of the loss without a sudden growth of the norm, of all seeds together: "
            f"{int((~own['sudden'].astype(bool)).sum())}.",
            f"In {ARMS[1].name}, it has {span(large)}; with the {ARMS[2].name}, {span(exact)}, "
            "from the same start and on the same pairs. "
            + ("So here it takes a loss that is rounded." if rounding else "The cause is open."),
            f"Late generalisation: {UNDERSTOOD:.0%} of the pairs that were not shown are known to "
            f"{(best >= UNDERSTOOD).sum()} of {seeds} seeds at any time."
            + (
                f" From fitting to the end accuracy on them changes by {100 * gain:+.1f} points in "
                f"{ARMS[0].name}, and by {100 * other:+.1f} with the {ARMS[2].name} (means)."
                if np.isfinite(gain + other)
                else ""
            ),
            f"It may not be concluded that slingshots never bring understanding: {limit}; "
            "nor that every jump of a loss is one of them.",
        ),
        numbers={
            "slingshots a seed": float(plain.mean()),
            "with epsilon 1e-5": float(large.mean()),
            "with the loss in float64": float(exact.mean()),
            "steps apart": apart,
            "gain": gain,
            "gain in float64": other,
        },
    )


def _task(table: pd.DataFrame) -> str:
    """What was trained, if it is the full form."""
    if "task" not in table:
        return ""
    return f" of {table['task'].iloc[0]}, {table['batch'].iloc[0]} pairs each"


def _gain(table: pd.DataFrame, arm: str) -> float:
    """Change of test accuracy from fitting to the end, mean over seeds that fit."""
    changes = []
    for _, rows in table[table["arm"] == arm].groupby("seed"):
        later = rows["test"][(rows["train"] >= FITTED).cummax()]
        if len(later):
            changes.append(later.iloc[-1] - later.iloc[0])
    return float(np.mean(changes)) if changes else float("nan")


def _gaps(found: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Steps between one jump and the next of the same seed."""
    gaps: npt.NDArray[np.float64] = found.groupby("seed")["step"].diff().dropna().to_numpy()
    return gaps


def draw(table: pd.DataFrame) -> Figure:
    """Loss, norm of the last layer and test accuracy by step, a line a seed."""
    batch = f"{table['batch'].iloc[0]} pairs each" if "batch" in table else "full batch"
    with house_style():
        figure = Figure(figsize=(12.0, 3.9), layout="constrained")
        panels = figure.subplots(1, 3)
        for axes, name in zip(panels, ("loss", "last", "test"), strict=True):
            for arm in ARMS:
                _draw_arm(axes, table[table["arm"] == arm.name], name, arm)
            axes.set(xlabel=f"steps of Adam, {batch}")
        panels[0].set(yscale="log", ylabel="loss on the shown pairs, nats")
        panels[1].set(ylabel="norm of the last layer")
        panels[2].set(ylabel="share of other pairs that are right", ylim=(0, 1))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, ncols=3, loc="outside lower center")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_arm(axes: Axes, table: pd.DataFrame, name: str, arm: Arm) -> None:
    # the main arm on top
    order = 3 if arm is ARMS[0] else 2
    for place, (_, rows) in enumerate(table.groupby("seed")):
        # on a logarithmic axis a loss that was rounded to 0 has no place
        values = rows[name].where(rows[name] > 0) if name == "loss" else rows[name]
        label = "" if place else arm.name
        axes.plot(rows["step"], values, color=arm.colour, lw=1.0, label=label, zorder=order)


STUDY = Study(
    title="Slingshots: Adam throws a fitted network off, again and again",
    sources=(
        "Thilak et al. 2022, arXiv:2206.04817",
        "Nanda et al. 2023, arXiv:2301.05217",
        "Power et al. 2022, arXiv:2201.02177",
    ),
    bears_on="Spikes in a loss curve need not be bad data or a high rate: near a loss of 0 they "
    "can be arithmetic.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
    full="division modulo 97 by the transformer of Power et al., 100 000 steps an arm",
)
