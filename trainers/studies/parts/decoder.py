"""The transformer of the first study of grokking, on divisions modulo a prime; many at once.

    shown, hidden = divisions(97, 0.5, seeds)           # (seeds, divisions, 3) each
    decoder = draw_decoder(seeds, Layout(prime=97))
    for step, now in walk(decoder, shown, setting, seeds=seeds, every=10):
        right = measure(now, hidden)["right"]           # (seeds,)

It reads a, "/", b and "=", and the quotient stands at "=". Size, layer norm after each sum, waves
for positions, batches and Adam are those of Power et al. 2022 (arXiv:2201.02177) and their code,
and the start is PyTorch's own for such layers. Theirs reads a sign at either end too, has it as an
output, and as outputs the signs of other tasks. Seeds stand on a leading axis and never meet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.studies.tools.adder import BETAS, WARM, loss
from trainers.studies.tools.modular import norm

BATCH = 512
"""Divisions in a step, or half of those that are shown if these are fewer."""
SIGNS = 2
"""Tokens after the residues: "/" and "="."""
ATTENTION = ("query", "key", "value", "merge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The size of a decoder; its hidden layers are four times as wide as its states."""

    prime: int
    width: int = 128
    heads: int = 4
    layers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Divider:
    """What is trained, and how.

    Attributes:
        layout: the size.
        share: of all divisions, how many are shown.
        rate: learning rate of Adam, risen to in the first steps.
        steps: updates.
        epsilon: of Adam.
        exact: whether the loss is computed in float64.
    """

    layout: Layout
    share: float
    rate: float
    steps: int
    epsilon: float = 1e-8
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Decoders of one layout.

    Attributes:
        layout: their size.
        weights: by name, shape (seeds, ...): "embed" has a row a token and "unembed" a column a
            residue; a name of layer 0 ends in " 0". Weights of a linear layer are (inputs, outputs)
            and come without biases; "scale" and "shift" are of the layer norms.
    """

    layout: Layout
    weights: dict[str, Tensor]

    def __call__(self, divisions: Tensor) -> Tensor:
        """One output a residue, shape (seeds, divisions, prime), for `divisions` of that shape."""
        tokens = _tokens(divisions, self.layout.prime)
        seeds, count, length = tokens.shape
        rows = torch.arange(seeds, device=tokens.device)[:, None]
        state = self.weights["embed"][rows, tokens.flatten(1)].view(seeds, count, length, -1)
        state = state + waves(length, self.layout.width).to(state)
        for layer in range(self.layout.layers):
            state = self._normed(state + self._attend(state, layer), f"first {layer}")
            state = self._normed(state + self._think(state, layer), f"second {layer}")
        return state[:, :, -1].bmm(self.weights["unembed"])

    def _attend(self, state: Tensor, layer: int) -> Tensor:
        """What the heads read at or before each token."""
        query, key, value = (self._heads(state, f"{name} {layer}") for name in ATTENTION[:3])
        length = state.shape[2]
        later = torch.ones(length, length, dtype=torch.bool, device=state.device).triu(1)
        scores = query @ key.mT / query.shape[-1] ** 0.5
        mixed = scores.masked_fill(later, -torch.inf).softmax(-1) @ value
        flat: Tensor = mixed.transpose(2, 3).reshape(len(state), -1, state.shape[-1])
        return flat.bmm(self.weights[f"merge {layer}"]).view_as(state)

    def _heads(self, state: Tensor, name: str) -> Tensor:
        """Queries, keys or values, shape (seeds, divisions, heads, tokens, width of a head)."""
        seen = state.flatten(1, 2).bmm(self.weights[name])
        return seen.view(*state.shape[:3], self.layout.heads, -1).transpose(2, 3)

    def _think(self, state: Tensor, layer: int) -> Tensor:
        """The ReLU network at each token."""
        hidden = state.flatten(1, 2).bmm(self.weights[f"into {layer}"]).relu()
        return hidden.bmm(self.weights[f"back {layer}"]).view_as(state)

    def _normed(self, state: Tensor, name: str) -> Tensor:
        """Layer norm over the state of each token, scaled and shifted."""
        scale, shift = (self.weights[f"{part} {name}"][:, None] for part in ("scale", "shift"))
        return functional.layer_norm(state, state.shape[-1:]) * scale + shift


def _tokens(divisions: Tensor, prime: int) -> Tensor:
    """The signs in between, shape (seeds, divisions, 4)."""
    first, second = divisions[..., 0], divisions[..., 1]
    by, is_ = (torch.full_like(first, prime + sign) for sign in range(SIGNS))
    return torch.stack([first, by, second, is_], dim=-1)


def waves(length: int, width: int) -> Tensor:
    """Positions as sines and cosines, shape (length, width) (Vaswani et al., arXiv:1706.03762)."""
    even = torch.arange(width) // 2 * 2
    angle = torch.arange(length)[:, None] / 10000 ** (even / width)
    return torch.where(torch.arange(width) % 2 == 0, angle.sin(), angle.cos())


def draw_decoder(seeds: Sequence[int], layout: Layout, device: str = "cpu") -> Decoder:
    """Decoders at their start: embedding standard normal, others uniform up to 1 / sqrt(inputs)."""
    drawn = [_draw(seed, layout) for seed in seeds]
    weights = {name: torch.stack([one[name] for one in drawn]).to(device) for name in drawn[0]}
    return Decoder(layout=layout, weights=weights)


def _draw(seed: int, layout: Layout) -> dict[str, Tensor]:
    """The weights of one seed."""
    draw, width = torch.Generator().manual_seed(seed), layout.width
    found = {"embed": torch.randn(layout.prime + SIGNS, width, generator=draw)}
    for name, size in _linear(layout).items():
        found[name] = (2 * torch.rand(size, generator=draw) - 1) / size[0] ** 0.5
    for layer in range(layout.layers):
        for place in ("first", "second"):
            found[f"scale {place} {layer}"] = torch.ones(1, width)
            found[f"shift {place} {layer}"] = torch.zeros(1, width)
    return found


def _linear(layout: Layout) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the linear layers by name."""
    width, wide = layout.width, 4 * layout.width
    block = dict.fromkeys(ATTENTION, (width, width)) | {
        "into": (width, wide),
        "back": (wide, width),
    }
    layers = range(layout.layers)
    sizes = {f"{name} {layer}": size for layer in layers for name, size in block.items()}
    return sizes | {"unembed": (width, layout.prime)}


def divisions(prime: int, share: float, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Divisions that are shown and that are not: rows of a, b and a / b.

    Args:
        prime: the modulus.
        share: of all prime * (prime - 1) divisions, how many are shown (rounded down).
        seeds: each draws a split of its own.

    Returns:
        Shape (seeds, divisions, 3) each.
    """
    pairs = torch.cartesian_prod(torch.arange(prime), torch.arange(1, prime))
    quotient, by = pairs.unbind(-1)
    rows = torch.stack([quotient * by % prime, by, quotient], dim=-1)
    count = int(share * len(rows))
    orders = [np.random.default_rng(seed).permutation(len(rows)) for seed in seeds]
    both = torch.stack([rows[torch.from_numpy(order)] for order in orders])
    return both[:, :count], both[:, count:]


@torch.no_grad()
def measure(decoder: Decoder, rows: Tensor) -> dict[str, Tensor]:
    """Of `divisions`: "loss" (cross-entropy in nats, in float64) and "right" (share), (seeds,)."""
    outputs, wanted = decoder(rows), rows[..., 2]
    right = (outputs.argmax(-1) == wanted).double().mean(1)
    return {"loss": loss(outputs, wanted), "right": right}


def walk(
    decoder: Decoder, shown: Tensor, setting: Divider, *, seeds: Sequence[int], every: int
) -> Iterator[tuple[int, Decoder]]:
    """Train by Adam on batches of what is shown; the decoders after each multiple of `every`.

    Args:
        decoder: the start, which stays as it is.
        shown: as `divisions`.
        setting: rate, updates and what else is asked of a step.
        seeds: of the batches, one a decoder.
        every: how many steps lie between two looks, the first at 0. The weights that are given out
            change with the next step.
    """
    named = {name: nn.Parameter(one.clone()) for name, one in decoder.weights.items()}
    walker, leaves = Decoder(layout=decoder.layout, weights=dict(named)), list(named.values())
    optimiser = torch.optim.Adam(leaves, betas=BETAS, eps=setting.epsilon, foreach=True)
    batches = _batches(shown, seeds)
    for step in range(setting.steps + 1):
        if step % every == 0:
            yield step, walker
        if step == setting.steps:
            return
        batch = next(batches)
        lost = loss(walker(batch), batch[..., 2], exact=setting.exact).sum()
        for leaf, slope in zip(leaves, torch.autograd.grad(lost, leaves), strict=True):
            leaf.grad = slope
        optimiser.param_groups[0]["lr"] = setting.rate * min(1.0, (step + 1) / WARM)
        optimiser.step()


def batch_size(shown: Tensor) -> int:
    """Divisions in a step."""
    return min(BATCH, -(-shown.shape[1] // 2))


def _batches(shown: Tensor, seeds: Sequence[int]) -> Iterator[Tensor]:
    """Batch after batch, each epoch in a new order of every seed; the last may be smaller."""
    count, size = shown.shape[1], batch_size(shown)
    draws = [np.random.default_rng((seed, 3)) for seed in seeds]
    while True:
        orders = [torch.from_numpy(draw.permutation(count)) for draw in draws]
        places = torch.stack(orders).to(shown.device)[..., None].expand_as(shown)
        yield from torch.split(shown.gather(1, places), size, dim=1)


def train(
    setting: Divider,
    seeds: Sequence[int],
    *,
    every: int,
    device: str,
    tell: Callable[[str], None],
) -> pd.DataFrame:
    """How well a divider does on its way, all seeds as one batched network.

    Args:
        setting: what is trained.
        seeds: of split, start and batches.
        every: steps between two looks.
        device: where it is trained.
        tell: called twenty times with how far it has come.

    Returns:
        A row a seed and look: columns seed, task, batch (`batch_size`), step, loss (in float64, on
        all that is shown), train and test (accuracies), and last (norm of the last layer).
    """
    both = divisions(setting.layout.prime, setting.share, seeds)
    shown, hidden = (rows.to(device) for rows in both)
    start, steps = draw_decoder(seeds, setting.layout, device), setting.steps
    runs = pd.DataFrame({"seed": seeds, "task": f"division modulo {setting.layout.prime}"})
    runs, looks = runs.assign(batch=batch_size(shown)), list[pd.DataFrame]()
    for step, now in walk(start, shown, setting, seeds=seeds, every=every):
        known, rest = measure(now, shown), measure(now, hidden)
        last = norm([now.weights["unembed"]]).detach().double()
        seen = {"loss": known["loss"], "train": known["right"], "test": rest["right"], "last": last}
        columns = {name: value.cpu().numpy() for name, value in seen.items()}
        looks.append(runs.assign(step=step, **columns))
        if step and step % max(1, steps // 20) == 0:
            tell(f"{step} of {steps} steps")
    return pd.concat(looks, ignore_index=True)
