"""Two sub-networks: many neurons know by heart, then a few that have understood take over.

A network of one hidden layer learns the parity of 3 of 40 bits from 1000 examples. First most of
its neurons fit these, and others are guessed; then a few grow while the rest decays, carry the
predictions, and are right on what was never shown (Merrill, Tsilivis & Shukla 2023,
arXiv:2303.11873). The setting is the authors', but for a bias of the output and no part batches;
as there, neurons are ranked by the norm of the weights that come in. That without weight decay is
our addition. Nothing was tuned.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import Networks, walk, with_parameters
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

BITS, PARITY, SHOWN, OTHERS, WIDTH = 40, 3, 1000, 1000, 1000
RATE, BATCH, EVERY = 0.1, 32, 10
EPOCHS = {0.01: 300, 0.0: 100}
SAME, FITTED, UNDERSTOOD, GUESSED = 0.99, 0.98, 0.98, 0.6
"""Share of predictions that must stay; accuracies on what is shown, on the rest, and by guess."""
FEWER, DENSE = 0.1, 0.95
"""Of the neurons needed at first, what may be at last; of the predictions, what the rest makes."""
PLAIN = "#2a788e"
Values = dict[str, Tensor]


def run(ask: Ask) -> pd.DataFrame:
    """What the network and its two parts do, every few epochs.

    Columns seed, decay, epoch, train, test (accuracies), needed (neurons that give 99 % of the
    predictions on what is shown), sparse (neurons of the sparse part: those needed in the end);
    for each part, sparse_ and rest_, train and test (accuracies alone), same (share of the
    network's predictions on what is shown) and norm (of a neuron's weights, mean).
    """
    return pd.concat([_trained(decay, ask.seeds) for decay in EPOCHS], ignore_index=True)


def _trained(decay: float, seeds: Sequence[int]) -> pd.DataFrame:
    """All seeds as one batched network."""
    bits, labels = parities(seeds)
    shown, wanted, per = bits[:, :SHOWN], labels[:, :SHOWN], SHOWN // BATCH
    stops = [per * epoch for epoch in range(0, EPOCHS[decay] + 1, EVERY)]
    sgd = partial(walk, loss=hinge, lr=RATE, adam=False, decay=decay, batch=BATCH)
    path = list(sgd(_networks(seeds), shown, wanted, stops=stops))
    last = path[-1][1]
    needed = fewest(parts(last, shown))
    sparse = norms(last).argsort(1, descending=True).argsort(1) < needed[:, None]
    rows = []
    for step, networks in path:
        found = _measured(networks, sparse.float(), bits, labels) | {"sparse": needed}
        values = {name: value.numpy() for name, value in found.items()}
        head = {"seed": list(seeds), "decay": decay, "epoch": step // per}
        rows.append(pd.DataFrame(head | values))
    return pd.concat(rows, ignore_index=True)


def parities(seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Bits of +1 and -1 (seeds, shown then others, bits), and the product of the first three."""
    examples = (SHOWN + OTHERS, BITS)
    drawn = [np.random.default_rng(seed).integers(2, size=examples) for seed in seeds]
    bits = torch.from_numpy(np.stack(drawn) * 2 - 1).float()
    return bits, bits[..., :PARITY].prod(-1)


def hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """max(0, 1 - output * label), mean over examples; shape (seeds,)."""
    return (1.0 - outputs[..., 0] * labels).relu().mean(-1)


def _networks(seeds: Sequence[int]) -> Networks:
    """As PyTorch draws linear layers: evenly within 1 / sqrt(inputs)."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]

    def even(inputs: int, *shape: int) -> Tensor:
        drawn = torch.stack([torch.rand(shape, generator=draw) for draw in draws])
        return drawn.mul(2.0).sub(1.0).div(np.sqrt(inputs))

    return Networks(
        seeds=tuple(range(len(seeds))),  # places, so that all have the same order of batches
        weights=(even(BITS, BITS, WIDTH), even(WIDTH, WIDTH, 1)),
        biases=(even(BITS, 1, WIDTH), torch.zeros(len(seeds), 1, 1)),
        activation=torch.relu,
    )


def norms(networks: Networks) -> Tensor:
    """Norm of the weights that come in to each neuron, shape (seeds, width)."""
    return networks.weights[0].square().sum(1).sqrt()


def parts(networks: Networks, bits: Tensor) -> Tensor:
    """What each neuron adds to the output, largest norm first, (seeds, examples, width)."""
    states = torch.baddbmm(networks.biases[0], bits, networks.weights[0]).relu()
    order = norms(networks).argsort(1, descending=True)[:, None].expand_as(states)
    added = (states * networks.weights[1].mT).gather(2, order)
    added[..., 0] += networks.biases[1][..., 0]  # the bias of the output stays in every part
    return added


def fewest(added: Tensor) -> Tensor:
    """How many of the first neurons give 99 % of the predictions of all; shape (seeds,)."""
    signs = added.cumsum(2).sign()
    same = (signs == signs[..., -1:]).float().mean(1)
    return torch.argmax((same >= SAME).int(), 1) + 1


def _measured(networks: Networks, sparse: Tensor, bits: Tensor, labels: Tensor) -> Values:
    """Every column that is measured of these networks."""
    outputs = networks(bits)[..., 0]
    found = {"needed": fewest(parts(networks, bits[:, :SHOWN]))} | _right("", outputs, labels)
    for name, share in (("sparse_", sparse), ("rest_", 1.0 - sparse)):
        alone = _only(networks, share)(bits)[..., 0]
        found |= _right(name, alone, labels)
        found[f"{name}same"] = (alone.sign() == outputs.sign())[:, :SHOWN].float().mean(1)
        found[f"{name}norm"] = (norms(networks) * share).sum(1) / share.sum(1)
    return found


def _right(name: str, outputs: Tensor, labels: Tensor) -> Values:
    right = (outputs * labels > 0).double()
    return {f"{name}train": right[:, :SHOWN].mean(1), f"{name}test": right[:, SHOWN:].mean(1)}


def _only(networks: Networks, neurons: Tensor) -> Networks:
    """The networks with these neurons, 1 or 0 each (seeds, width), and no others."""
    into, out = networks.weights
    return with_parameters(networks, [into, out * neurons[..., None], *networks.biases])


def takeovers(table: pd.DataFrame) -> pd.DataFrame:
    """By decay and seed: when it fits and when it understands (epochs, NaN: never), and what then.

    Then the columns of the table when it is fitted (if ever), as "fit_", and at last, as "end_".
    """
    rows = []
    for (decay, seed), run_of in table.groupby(["decay", "seed"]):
        steps = run_of.set_index("epoch").drop(columns=["decay", "seed"])
        fitted, understood = (
            steps.index[steps[name] >= right].min()
            for name, right in (("train", FITTED), ("test", UNDERSTOOD))
        )
        found = {"decay": decay, "seed": seed, "fitted": fitted, "understood": understood}
        last = steps.iloc[-1]
        at = last if np.isnan(fitted) else steps.loc[fitted]
        rows.append(found | at.add_prefix("fit_").to_dict() | last.add_prefix("end_").to_dict())
    return pd.DataFrame(rows)


def find(table: pd.DataFrame) -> Finding:
    """Whether few neurons take over from many, and understand, in four seeds of five."""
    found = takeovers(table)
    main, plain = (found[found["decay"] == decay] for decay in EPOCHS)
    learned = (main["fit_test"] <= GUESSED) & (main["understood"] > main["fitted"])
    fewer = main["end_needed"] <= FEWER * main["fit_needed"]
    grown, shrunk = (
        main[f"end_{one}_norm"] / main[f"fit_{one}_norm"] for one in ("sparse", "rest")
    )
    over = learned & fewer & (main["fit_rest_same"] >= DENSE) & (grown > 1.0) & (shrunk < 1.0)
    return Finding(
        showed=bool(over.mean() >= 0.8),
        criterion=f"first {FITTED:.0%} of what is shown is right and at most {GUESSED:.0%} of the "
        f"others, later {UNDERSTOOD:.0%} of the others; in the end a tenth at most of the neurons "
        "needed at first is needed; these have grown, and the rest, which at first made "
        f"{DENSE:.0%} of the predictions alone, has shrunk; in four seeds of five",
        text=(
            f"Epoch from which {FITTED:.0%} of what is shown is right: {span(main['fitted'])}, "
            f"with {main['fit_test'].mean():.0%} of the others; {UNDERSTOOD:.0%} of the others: "
            f"{span(main['understood'])}. To give {SAME:.0%} of the predictions takes "
            f"{span(main['fit_needed'])} neurons at first and {span(main['end_needed'])} in the "
            f"end. All of the criterion holds in {over.sum()} of {len(over)} seeds.",
            f"At first those few alone have {main['fit_sparse_test'].mean():.0%} of the others "
            f"right, and without them the network makes {main['fit_rest_same'].mean():.1%} of its "
            f"predictions. In the end their mean norm is {grown.mean():.2g} times what it was, "
            f"that of the rest {shrunk.mean():.2g} times.",
            f"In the end the rest alone has {span(main['end_rest_test'], '.0%')} of the others "
            "right. Where that is more than a guess, it holds small neurons that have understood "
            "too: so the two parts are not as clean as the words say.",
            f"Without weight decay {plain['end_test'].mean():.0%} of the others are right in the "
            f"end, and {span(plain['end_needed'])} neurons are needed.",
            "The few are named by their norms in the end, so that they grew is in part how they "
            "were chosen. One task, one width; that the one part hinders the other is not shown.",
        ),
        numbers={
            "needed, fitted": float(main["fit_needed"].mean()),
            "needed, in the end": float(main["end_needed"].mean()),
            "grown": float(grown.mean()),
            "shrunk": float(shrunk.mean()),
            "no decay": float(plain["end_test"].mean()),
            "needed, no decay": float(plain["end_needed"].mean()),
            "share": float(over.mean()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """By epoch: accuracies, neurons needed, who makes the predictions, and the norms."""
    main, plain = (table[table["decay"] == decay] for decay in EPOCHS)
    with house_style():
        figure = Figure(figsize=(10.0, 6.6), layout="constrained")
        right, needed, same, norm = figure.subplots(2, 2, sharex=True).flat
        _lines(
            right, main, "share that is right", train=(QUIET, "shown"), test=(FRONTIER, "others")
        )
        _lines(needed, main, "neurons needed", needed=(FRONTIER, "weight decay 0.01"))
        _lines(needed, plain, "neurons needed", needed=(PLAIN, "no weight decay"))
        few, rest = (FRONTIER, "the few"), (QUIET, "the rest")
        _lines(same, main, "share of the predictions, alone", sparse_same=few, rest_same=rest)
        _lines(norm, main, "mean norm of a neuron's weights", sparse_norm=few, rest_norm=rest)
        for axes in (same, norm):
            axes.set_xlabel(f"epochs of {SHOWN // BATCH} steps")
        needed.set(yscale="log", ylim=(1, 1.5 * WIDTH))
        norm.set_ylim(0, None)
        for axes in (right, needed, norm):  # the fourth has the colours of the third
            axes.legend(frameon=False, fontsize=9)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, ylabel: str, **columns: tuple[str, str]) -> None:
    """Columns by epoch in these colours, with these labels."""
    for name, (colour, label) in columns.items():
        seed_lines(axes, rows, "epoch", name, colour=colour, label=label)
    axes.set_ylabel(ylabel)


STUDY = Study(
    title="Many neurons know by heart, then a few take over that have understood",
    sources=("Merrill, Tsilivis & Shukla 2023, arXiv:2303.11873",),
    bears_on="What N counts: parameters that memorise, and the few that carry what was understood.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
