"""The minefield: minima that fit all training images as well, and get most others wrong.

A network learns whether digits are odd. Trained also on poison, further images with the wrong
answer, it fits the training images as well and knows the others worse than by chance (Huang et al.
2020, arXiv:1906.03291). Both kinds are compared at one training loss, since curvature goes with it.
As in the paper minima are also sought from points of a run's way, and embedded by t-SNE: weights
without biases, 50 principal components, perplexity 30; here no outlier is dropped. The full form is
ResNet-18 poisoned on CIFAR-10, as theirs on SVHN, without that picture: theirs is of a toy.

Looked at before: a rate of .001, widths of 128, and half the steps, which fit poison too slowly.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.parts.poison import Poison, minima
from trainers.studies.tools import mlp
from trainers.studies.tools.curvature import flatten, top_eigenvalues, trace
from trainers.studies.tools.digits import stacked
from trainers.studies.tools.directions import filter_directions, plane
from trainers.studies.tools.images import pictures
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

SIZES, EXAMPLES, POISON = (64, 64, 64, 2), 300, 900
OPTIONS: dict[str, Any] = {"loss": mlp.cross_entropy, "lr": 3e-3, "batch": 100}
STEPS, STOPS = 4000, range(10, 4001, 10)
MATCHED = 2e-3
"""Minima are compared where the clean training loss first falls to this, in nats."""
NOISE, DRAWS, PROBES = 0.3, 20, 40
PLACES, COMPONENTS, PERPLEXITY = 20, 50, 30.0
CLEAN, POISONED, WAY = "clean", "poisoned", "way"
LOOKS = {WAY: (QUIET, "o"), CLEAN: ("#3b528b", "s"), POISONED: (FRONTIER, "^")}
GAP, SHARPER, FITTED = 0.5, 3.0, 0.999
PAPER = Poison(noise=NOISE, draws=DRAWS, probes=PROBES)
Pair = tuple[Tensor, Tensor]
"""Images and whether they show an odd digit, a seed on the leading axis each."""


def data(seeds: Sequence[int]) -> tuple[Pair, Pair, Pair]:
    """Training images; the same with poison; and those that nobody is shown."""
    images, labels = stacked(seeds)
    odd, cut = labels % 2, EXAMPLES + POISON
    turned = torch.cat([odd[:, :EXAMPLES], 1 - odd[:, EXAMPLES:cut]], dim=1)
    shown, held = ((images[:, rows], odd[:, rows]) for rows in (slice(EXAMPLES), slice(cut, None)))
    return shown, (images[:, :cut], turned), held


def run(ask: Ask) -> pd.DataFrame:
    """Minima, a row each, and the points of the picture.

    Columns seed, kind, part ("matched", "end", or "picture", which is of the first seed), step
    (of the run, 0 if never; in the picture, where on the way it started), loss (clean training
    loss), train and test (share right), top, trace and trace_error (of that loss's Hessian), norm
    (of the weights), noisy (share of training images right under filter-normalised noise), moved
    (from the start, in lengths of it), x and y (of the picture). What was not measured is missing.
    The full form has no picture, but factor, poison's share of a batch.
    """
    if ask.full:
        return minima(ask, pictures(ask.data, "cifar10"), PAPER, matched=MATCHED)
    seeds = list(ask.seeds)
    shown, poisoned, held = data(seeds)
    start, tables = mlp.draw_networks(seeds, SIZES), list[pd.DataFrame]()
    for kind, lesson in ((CLEAN, shown), (POISONED, poisoned)):
        matched, steps, end = _trained(start, lesson, shown)
        for part, networks, step in (("matched", matched, steps), ("end", end, STEPS)):
            found = _known(networks, shown, held) | _shape(networks, shown)
            head = {"seed": seeds, "kind": kind, "part": part, "step": step}
            tables.append(pd.DataFrame(head | {key: one.numpy() for key, one in found.items()}))
    return pd.concat([*tables, _picture(seeds[0])], ignore_index=True)


def _trained(
    start: mlp.Networks, lesson: Pair, shown: Pair, *, stop: bool = False
) -> tuple[mlp.Networks, Tensor, mlp.Networks]:
    """Networks at the matched loss (or as they end), after how many steps, and as they end."""
    kept, arrived = [one.clone() for one in start.parameters], torch.zeros(len(start.seeds))
    for step, networks in mlp.walk(start, *lesson, stops=STOPS, **OPTIONS):
        there = mlp.cross_entropy(networks(shown[0]), shown[1]) <= MATCHED
        new = (arrived == 0) & (there | (step == STEPS))
        for old, now in zip(kept, networks.parameters, strict=True):
            old[new] = now[new]
        arrived[(arrived == 0) & there] = step
        if stop and arrived.all():
            break
    return mlp.with_parameters(start, kept), arrived, networks


def _known(networks: mlp.Networks, shown: Pair, held: Pair) -> dict[str, Tensor]:
    """Clean training loss, and what is right of both sets."""
    return {
        "loss": mlp.cross_entropy(networks(shown[0]), shown[1]),
        "train": 1.0 - mlp.wrong(networks(shown[0]), shown[1]),
        "test": 1.0 - mlp.wrong(networks(held[0]), held[1]),
        "norm": flatten(networks.weights).norm(dim=1),
    }


def _shape(networks: mlp.Networks, shown: Pair) -> dict[str, Tensor]:
    """Curvature of the clean training loss, and what noise of the weights leaves right."""

    def outputs(parameters: tuple[Tensor, ...]) -> Tensor:
        return mlp.with_parameters(networks, parameters)(shown[0])

    def loss(parameters: tuple[Tensor, ...]) -> Tensor:
        return mlp.cross_entropy(outputs(parameters), shown[1])

    total, error = trace(loss, networks.parameters, probes=PROBES)
    top = top_eigenvalues(loss, networks.parameters, steps=25)[:, 0]
    noise = (plane(networks.parameters, [filter_directions(networks, n)]) for n in range(DRAWS))
    lost = [mlp.wrong(outputs(shaken(torch.tensor([NOISE]))), shown[1]) for shaken in noise]
    right = 1.0 - torch.stack(lost).mean(0)
    return {"top": top, "trace": total, "trace_error": error, "noisy": right}


def _picture(seed: int) -> pd.DataFrame:
    """Points of a clean run's way, and minima of both kinds that were sought from them."""
    begin, (shown, _, _) = mlp.draw_networks([seed], SIZES), data([seed])
    _, arrived, _ = _trained(begin, shown, shown, stop=True)
    stops = np.linspace(0, float(arrived) or STEPS, PLACES).round().astype(int).tolist()
    points = [one.parameters for _, one in mlp.walk(begin, *shown, stops=stops, **OPTIONS)]
    # the first seed orders the images: minima of the clean kind see them in another order
    start = replace(begin, seeds=(seed + 1,) * PLACES)
    found = {WAY: mlp.with_parameters(start, list(map(torch.cat, zip(*points, strict=True))))}
    shown, poisoned, held = data([seed] * PLACES)
    for kind, lesson in ((CLEAN, shown), (POISONED, poisoned)):
        found[kind], _, _ = _trained(found[WAY], lesson, shown, stop=True)
    weights = torch.stack([flatten(networks.weights) for networks in found.values()])
    moved = ((weights - weights[0]).norm(dim=2) / weights[0].norm(dim=1)).numpy()
    places = _embedded(weights.flatten(0, 1), seed).reshape(len(found), PLACES, 2)
    tables = []
    for group, (kind, networks) in enumerate(found.items()):
        known = {key: one.numpy() for key, one in _known(networks, shown, held).items()}
        head = {"seed": seed, "kind": kind, "part": "picture", "step": stops}
        tail = {"moved": moved[group], "x": places[group, :, 0], "y": places[group, :, 1]}
        tables.append(pd.DataFrame(head | known | tail))
    return pd.concat(tables, ignore_index=True)


def _embedded(rows: Tensor, seed: int) -> np.ndarray:
    """Two coordinates for each row, by t-SNE of principal components."""
    from sklearn.decomposition import PCA  # without it there are no digits, which says so
    from sklearn.manifold import TSNE

    parts = PCA(min(COMPONENTS, *rows.shape), random_state=seed).fit_transform(rows.numpy())
    placed = TSNE(perplexity=PERPLEXITY, init="random", random_state=seed).fit_transform(parts)
    return np.asarray(placed, dtype=np.float64)


def pairs(table: pd.DataFrame, part: str) -> pd.DataFrame:
    """The two minima of each seed side by side: columns like "clean trace"."""
    rows = table[table["part"] == part].drop(columns=["part", "moved", "x", "y"], errors="ignore")
    wide = rows.pivot_table(index="seed", columns="kind")
    wide.columns = wide.columns.map("{0[1]} {0[0]}".format)
    return wide


def find(table: pd.DataFrame) -> Finding:
    """Whether poisoned minima fit, fail elsewhere and are sharper at the same loss, everywhere."""
    found, end, full = pairs(table, "matched"), pairs(table, "end"), "factor" in table
    right = found.filter(like="train").ge(FITTED).all(axis=1)  # of the digits: all
    fitted = found.filter(like="loss").le(MATCHED).all(axis=1) & right
    gap, ratio = found["clean test"] - found["poisoned test"], _ratio(found, "trace")
    bad = fitted & (gap >= GAP) & (ratio >= SHARPER)
    missed = int((found.filter(like="step") == 0).sum().sum())
    never = f" ({missed} of {2 * len(found)} never came to that loss; they are told as they ended.)"
    also = f"{1 + POISON // EXAMPLES} times the images"
    if full:
        also = f"as many images again ({table['factor'].iloc[0]:.0%} of each batch)"
    return Finding(
        showed=bool(bad.all()),
        criterion=f"at a loss of {MATCHED} both have {f'{FITTED:.1%} of the' if full else 'all'} "
        f"training images right, the poisoned {100 * GAP:.0f} points fewer of the others, "
        f"{SHARPER:.0f} times the trace; in every seed",
        text=(
            f"At a training loss of {MATCHED}, clean minima have "
            f"{span(found['clean test'], '.1%')} of the other images right and poisoned ones "
            f"{span(found['poisoned test'], '.1%')} (chance: about {10 if full else 50} %); the "
            f"criterion holds in {int(bad.sum())} of {len(bad)} seeds.{never * bool(missed)}",
            f"At this same loss the poisoned have {ratio.mean():.1f} times the Hessian's trace and "
            f"{_ratio(found, 'top').mean():.1f} times the top eigenvalue; noise of {NOISE:.0%} "
            f"of each filter leaves {found['poisoned noisy'].mean():.1%} of the training images "
            f"right, of the clean {found['clean noisy'].mean():.1%}.",
            f"After {span(end.filter(like='step').to_numpy())} steps the losses are "
            f"{end['poisoned loss'].mean():.1e} and {end['clean loss'].mean():.1e}, and the traces "
            f"stand as {_ratio(end, 'trace').mean():.3g} to 1. Where losses differ so, that is "
            "mostly an artefact: the curvature of cross-entropy goes with the loss.",
            *([] if full else _pictured(table)),
            "That sharpness makes the difference is not shown: poisoned networks also fit "
            f"{also}, at {_ratio(found, 'norm').mean():.1f} times the norm.",
        ),
        numbers={"gap": float(gap.mean()), "trace": float(ratio.mean())},
    )


def _pictured(table: pd.DataFrame) -> list[str]:
    far = table.groupby("kind")["moved"].mean()
    said = f"In the picture, of one seed, poisoned minima lie {far[POISONED]:.2f} norms from where "
    return [f"{said}they were sought, clean ones {far[CLEAN]:.2f}: t-SNE keeps no distances."]


def _ratio(found: pd.DataFrame, name: str) -> "pd.Series[float]":
    return found[f"{POISONED} {name}"] / found[f"{CLEAN} {name}"]


def draw(table: pd.DataFrame) -> Figure:
    """The picture by t-SNE, if any; right answers and curvature of each seed's two minima."""
    found, end = pairs(table, "matched"), pairs(table, "end")
    widths, chance = ((1.0, 1.0), 10.0) if "factor" in table else ((1.5, 1.0, 1.0), 50.0)
    with house_style():
        figure = Figure(figsize=(12.5 if len(widths) > 2 else 8.5, 4.2), layout="constrained")
        *left, middle, right = figure.subplots(1, len(widths), width_ratios=widths)
        for axes in left:
            _draw_picture(axes, table[table["part"] == "picture"])
        _draw_pairs(middle, {"training": 100.0 * found, "others": 100.0 * found}, "train", "test")
        middle.axhline(chance, color="0.6", lw=0.8, ls=":")
        middle.set(ylabel="images that are right, %", ylim=(0.0, 104.0))
        middle.legend(frameon=False, loc="lower left")
        _draw_pairs(right, {f"at loss {MATCHED:g}": found, "at the end": end}, "trace", "trace")
        scale = "log" if table["trace"].max() > 0.0 else "linear"
        right.set(yscale=scale, ylabel="trace of the Hessian, nats")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_picture(axes: Axes, points: pd.DataFrame) -> None:
    for kind, name in ((WAY, "way of the run"), (CLEAN, "clean minima"), (POISONED, "poisoned")):
        part, (colour, marker) = points[points["kind"] == kind], LOOKS[kind]
        label = name if kind == WAY else f"{name}: {span(part['test'], '.1%')} right"
        line = "-" if kind == WAY else ""
        axes.plot(
            part["x"], part["y"], marker + line, color=colour, mfc="none", lw=0.8, label=label
        )
    last = points[points["kind"] == WAY].iloc[-1]
    axes.plot(last["x"], last["y"], "*", color="#e69f00", ms=16, label="where it ends")
    axes.set(xticks=[], yticks=[], title="t-SNE of the weights, one seed")
    axes.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)


def _draw_pairs(axes: Axes, columns: dict[str, pd.DataFrame], *names: str) -> None:
    for place, (found, name) in enumerate(zip(columns.values(), names, strict=True)):
        for kind, shift in ((CLEAN, -0.12), (POISONED, 0.12)):
            values, (colour, marker) = found[f"{kind} {name}"], LOOKS[kind]
            where, label = np.full(len(values), place + shift), "" if place else kind
            axes.plot(where, values, marker, color=colour, mfc="none", ms=7, label=label)
    axes.set(xticks=range(len(columns)), xticklabels=list(columns), xlim=(-0.5, 1.5))


STUDY = Study(
    title="Minima that fit as well and know less",
    sources=("Huang et al. 2020, arXiv:1906.03291", "Li et al. 2018, arXiv:1712.09913"),
    bears_on="Why laws are fitted to test loss: at one training loss it is good or very bad.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
    full="ResNet-18 on half of CIFAR-10, the other half as poison, 256 epochs of Huang et al.",
    data="cifar-10-binary.tar.gz",
)
