"""Tomorrow's temperature by a recurrent network: 1 unit underfits slowly, 100 units overfit.

The weather lab of the lecture: a network reads a year of daily temperatures, each day predicts the
next, and the year after tests it, against the temperature of today, a linear autoregression and the
mean. A year is one batch, so nothing is shuffled: seeds differ in the starting weights alone.

Unit variance and the rate 1e-2 were chosen before looking. After it, 1000 epochs instead of 250,
since 1 unit had not arrived by then, and medians over 100 epochs instead of last values, since 100
units are unsteady: at epoch 250 itself 7 of 10 seeds were better than persistence. The lecture's
own settings (degrees as they are, rate 1e-3) are an arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor, nn

from scalefit.figures.style import FRONTIER, QUIET, house_style, plain_numbers
from scalefit.laws import FloatArray
from trainers.studies.parts.temperatures import baselines, bundled, temperatures
from trainers.studies.tools.lines import seed_lines
from trainers.study import Ask, Finding, Study

UNITS = {1: "#2c7fb8", 100: FRONTIER}
EPOCHS, EVERY = 1000, 10
EARLY, LATE = (150, 250), (900, 1000)
"""A run's error early and late is its median over these epochs: single values jump."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Whether temperatures are brought to mean 0 and variance 1, and Adam's rate."""

    name: str
    scaled: bool
    rate: float


SCALED = Setting(name="scaled, rate 1e-2", scaled=True, rate=1e-2)
LITERAL = Setting(name="as in the lecture", scaled=False, rate=1e-3)


def run(ask: Ask) -> pd.DataFrame:
    """Mean square errors in square degrees, a row for each seed, setting, units and epoch.

    Columns seed, setting, units, epoch, train, test; and the same on all rows: the errors on the
    test year of persistence, autoregression and mean, and train_year and test_year.
    """
    series = temperatures(bundled() if ask.data is None else ask.data)
    of = np.array([day.year for day in series.index])
    before, after = (series.to_numpy(np.float64)[of == year] for year in (of[0], of[-1]))
    parts = [_trained(units, list(ask.seeds), before, after) for units in UNITS]
    constants = baselines(before, after) | {"train_year": of[0], "test_year": of[-1]}
    return pd.concat(parts, ignore_index=True).assign(**constants)


class Recurrence(torch.autograd.Function):
    """States h_t = tanh(push_t + h_(t-1) W) of a year, from h_0 = 0, and their slopes.

    Written out, since autograd's graph of every day takes several times as long.
    """

    @staticmethod
    def forward(ctx: Any, pushes: Tensor, weight: Tensor) -> Tensor:
        """From (days, replicas, 1, units) and (replicas, units, units) to (days, ...)."""
        states = torch.empty_like(pushes)
        torch.tanh(pushes[0], out=states[0])
        for day in range(1, len(pushes)):
            torch.baddbmm(pushes[day], states[day - 1], weight, out=states[day]).tanh_()
        ctx.save_for_backward(states, weight)
        return states

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Backwards through the days."""
        states, weight = ctx.saved_tensors
        steep, back = 1.0 - states.square(), weight.mT.contiguous()
        found = slopes[0] * steep  # all days, as if none had a next one
        for day in range(len(found) - 2, -1, -1):
            found[day].addcmul_(found[day + 1] @ back, steep[day])
        return found, torch.einsum("tria,trib->rab", states[:-1], found[1:])


def starts(units: int, seeds: Sequence[int]) -> list[Tensor]:
    """Weights of torch's own nn.RNN and nn.Linear at their start, replicas on a leading axis."""
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)
            rnn: Any = nn.RNN(1, units)
            head: Any = nn.Linear(units, 1)
            into = (rnn.weight_ih_l0.T, rnn.bias_ih_l0[None], rnn.bias_hh_l0[None])
            drawn.append((*into, rnn.weight_hh_l0.T, head.weight.T, head.bias[None]))
    return [torch.stack(one).detach() for one in zip(*drawn, strict=True)]


def predict(weights: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """The next day's value from those up to each day; inputs and result (days, replicas)."""
    into, bias, more, weight, out, level = weights
    pushes = inputs[..., None, None] * into + (bias + more)
    states: Tensor = Recurrence.apply(pushes, weight)  # type: ignore[no-untyped-call]
    return (states @ out + level)[..., 0, 0]


def _trained(units: int, seeds: list[int], *years: FloatArray) -> pd.DataFrame:
    """Both settings of all seeds side by side, for the years of training and of testing."""
    settings, count = (SCALED, LITERAL), len(seeds)
    middle = torch.tensor([s.scaled * years[0].mean() for s in settings]).repeat_interleave(count)
    width = torch.tensor([years[0].std() if s.scaled else 1.0 for s in settings])
    width = width.repeat_interleave(count)
    shown, other = (((torch.tensor(y)[:, None] - middle) / width).float() for y in years)
    leaves = [[one.requires_grad_() for one in starts(units, seeds)] for _ in settings]
    groups = [{"params": p, "lr": s.rate} for p, s in zip(leaves, settings, strict=True)]
    optimiser, rows = torch.optim.Adam(groups, foreach=True), list[pd.DataFrame]()
    flat = [one for group in leaves for one in group]
    for epoch in range(EPOCHS + 1):
        weights = [torch.cat(pair) for pair in zip(*leaves, strict=True)]
        error = (predict(weights, shown[:-1]) - shown[1:]).square().mean(0)
        if epoch % EVERY == 0:
            with torch.no_grad():
                test = (predict(weights, other[:-1]) - other[1:]).square().mean(0)
            names = np.repeat([s.name for s in settings], count)
            found = {"seed": seeds * 2, "setting": names, "units": units, "epoch": epoch}
            both = {"train": error.detach() * width**2, "test": test * width**2}
            rows.append(pd.DataFrame(found | {key: both[key].numpy() for key in both}))
        for leaf, slope in zip(flat, torch.autograd.grad(error.sum(), flat), strict=True):
            leaf.grad = slope
        optimiser.step()
    return pd.concat(rows, ignore_index=True)


def errors(
    table: pd.DataFrame, setting: Setting, epochs: tuple[int, int], kind: str = "test"
) -> pd.DataFrame:
    """Median error of every run over these epochs: seeds in rows, units in columns."""
    rows = table[(table["setting"] == setting.name) & table["epoch"].between(*epochs)]
    return rows.pivot_table(index="seed", columns="units", values=kind, aggfunc="median")


def find(table: pd.DataFrame) -> Finding:
    """Whether 100 units are better early, and overfit late, in four seeds of five."""
    first, (few, many) = table.iloc[0], UNITS
    early, late = errors(table, SCALED, EARLY), errors(table, SCALED, LATE)
    lecture, learned = errors(table, LITERAL, LATE), errors(table, SCALED, LATE, "train")
    better = (early[many] < first["persistence"]) & (early[many] < early[few])
    overfits = late[many] > early[many]
    return Finding(
        showed=bool(better.mean() >= 0.8 and overfits.mean() >= 0.8),
        criterion=f"in epochs {_span(EARLY)} {many} units err less than persistence and than 1 "
        f"unit of the same seed, and in epochs {_span(LATE)} more than before; each in four seeds "
        "of five",
        text=(
            f"Trained on {first['train_year']:.0f}, tested on {first['test_year']:.0f}, square "
            f"degrees: early 1 unit {_spread(early[few])}, {many} units {_spread(early[many])} "
            f"(± deviation of seeds); persistence {first['persistence']:.2f}, an autoregression "
            f"{first['autoregression']:.2f}, the mean {first['mean']:.1f}. {many} units are better "
            f"than persistence and 1 unit in {better.sum()} of {len(early)} seeds.",
            f"Late 1 unit {_spread(late[few])}, {many} units {_spread(late[many])}, more than "
            f"early in {overfits.sum()} of {len(early)} seeds; on the year they learned "
            f"{learned[many].min():.2f} to {learned[many].max():.2f}.",
            "Why seeds differ: only their starts do, data and order are the same. "
            + (_deviations(early, late) if len(early) > 1 else "One seed shows no deviation."),
            f"With the lecture's settings late 1 unit has {_spread(lecture[few])}, {many} units "
            f"{_spread(lecture[many])}: above the error of the mean it is want of training, "
            "which says nothing about capacity.",
            "One place and one pair of years: no size is recommended by it, and the epoch to stop "
            "at would have to be chosen on a third year.",
        ),
        numbers={
            "better": float(better.mean()),
            "overfits": float(overfits.mean()),
            "1 unit": float(early[few].mean()),
            f"{many} units": float(early[many].mean()),
            "1 unit late": float(late[few].mean()),
            f"{many} units late": float(late[many].mean()),
        },
    )


def _deviations(early: pd.DataFrame, late: pd.DataFrame) -> str:
    few, many = (f"{early[n].std():.2f} early and {late[n].std():.2f} late" for n in UNITS)
    return (
        f"Their deviation is {few} with 1 unit, {many} with {max(UNITS)}: where it falls, they "
        "differ in how fast they arrive at one place; where it grows, in what they learn by heart."
    )


def _span(epochs: tuple[int, int]) -> str:
    return f"{epochs[0]} to {epochs[1]}"


def _spread(errors: "pd.Series[float]") -> str:
    more = f" ± {errors.std():.2f}" if len(errors) > 1 else ""
    return f"{errors.mean():.2f}{more}"


def draw(table: pd.DataFrame) -> Figure:
    """Test and training error by epoch, and the test error with the lecture's settings."""
    with house_style():
        figure = Figure(figsize=(12.0, 4.2), layout="constrained")
        panels = figure.subplots(1, 3)
        years = {"train": table["train_year"].iloc[0], "test": table["test_year"].iloc[0]}
        shown = ((SCALED, "test"), (SCALED, "train"), (LITERAL, "test"))
        for axes, (setting, kind) in zip(panels, shown, strict=True):
            rows = table[table["setting"] == setting.name]
            _draw_panel(axes, rows, kind)
            said = f"{'trained' if kind == 'train' else 'tested'} on {years[kind]:.0f}"
            axes.set_title(f"{setting.name}: {said}", fontsize=10)
        panels[0].set_ylabel("mean square error, square degrees")
        panels[0].legend(frameon=False, fontsize=9, loc="upper right")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, kind: str) -> None:
    for units, colour in UNITS.items():
        label = f"{units} unit{'s' * (units > 1)}"
        part = rows[rows["units"] == units]
        seed_lines(axes, part, "epoch", kind, colour=colour, label=label, lw=1.8)
    axes.set(yscale="log", xlabel="epochs (a step of Adam each)")
    if kind == "train":
        return
    plain_numbers(axes)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for name in ("persistence", "mean"):
        level = rows[name].iloc[0]
        axes.axhline(level, color=QUIET, lw=0.9, ls=":")
        place = axes.get_yaxis_transform()
        axes.text(1.0, level, f" {name}", transform=place, va="center", fontsize=8, color=QUIET)


STUDY = Study(
    title="The weather lab: temperatures of tomorrow, by 1 recurrent unit and by 100",
    sources=("the lecture's lab", "Seattle's daily temperatures, NOAA, by vega_datasets"),
    bears_on="How much of a difference between two runs is the seed: what must be known before "
    "losses of sizes are compared.",
    seeds=6,
    run=run,
    find=find,
    draw=draw,
    data='a CSV file with columns "date" and "temp_max" or "temperature", two whole years or more',
)
