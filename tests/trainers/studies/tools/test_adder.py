"""Batched one-layer transformers that add."""

import math

import pytest
import torch
from torch.nn import functional

from trainers.studies.tools.adder import Shape, draw_adder, loss, one_hot, others, spectrum, walk
from trainers.studies.tools.modular import norm, split

SHAPE = Shape(prime=7, width=8, heads=2, hidden=12)


def test_it_is_a_causal_transformer_read_at_the_last_of_three_tokens():
    adder = draw_adder([0, 1], SHAPE)
    pairs = split(7, 1.0, [0, 1])[0]
    outputs = adder(one_hot(pairs, 7))
    assert outputs.shape == (2, 49, 7)
    for seed in range(2):
        dense = _dense({name: one[seed] for name, one in adder.weights.items()}, pairs[seed])
        torch.testing.assert_close(outputs[seed], dense, rtol=1e-4, atol=1e-5)


def _dense(weights, pairs):
    """All three positions, with PyTorch's own attention."""
    tokens = torch.cat([pairs, torch.full((len(pairs), 1), 7)], 1)
    state = weights["embed"][tokens] + weights["place"]

    def heads(name):
        return (state @ weights[name]).unflatten(-1, (2, 4)).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(
        heads("query"), heads("key"), heads("value"), is_causal=True
    )
    state = state + mixed.transpose(1, 2).flatten(2) @ weights["merge"]
    state = state + (state @ weights["into"]).relu() @ weights["back"]
    return (state @ weights["unembed"])[:, -1]


def test_the_step_is_that_of_adamw_on_the_dense_network():
    shown = split(7, 0.5, [3])[0]
    *_, last = walk(draw_adder([3], SHAPE), shown, steps=3, rate=1e-2, decay=0.5)
    start = {name: one[0].clone() for name, one in draw_adder([3], SHAPE).weights.items()}
    leaves = [one.requires_grad_() for one in start.values()]
    optimiser = torch.optim.AdamW(leaves, lr=1e-2, betas=(0.9, 0.98), weight_decay=0.5)
    for step in range(3):
        optimiser.param_groups[0]["lr"] = 1e-2 * (step + 1) / 10
        optimiser.zero_grad()
        functional.cross_entropy(_dense(start, shown[0]).double(), shown[0].sum(1) % 7).backward()
        optimiser.step()
    for name, weight in start.items():
        torch.testing.assert_close(last.adder.weights[name][0], weight, rtol=1e-3, atol=1e-4)


def test_seeds_walked_together_are_those_walked_alone():
    shown = split(7, 0.5, [0, 1])[0]
    *_, both = walk(draw_adder([0, 1], SHAPE), shown, steps=20, rate=1e-2)
    *_, alone = walk(draw_adder([1], SHAPE), shown[1:], steps=20, rate=1e-2)
    assert both.step == alone.step == 20
    torch.testing.assert_close(both.adder.embed[1:], alone.adder.embed, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(both.loss[1:], alone.loss, rtol=1e-3, atol=1e-4)


def test_a_held_norm_stays_what_it_is_and_the_start_is_left_alone():
    start = draw_adder([0, 1], SHAPE)
    kept = start.embed.clone()
    length = torch.tensor([3.0, 5.0])
    for now in walk(start, split(7, 0.5, [0, 1])[0], steps=5, rate=1e-2, hold=length):
        found = norm(list(now.adder.weights.values()))
        torch.testing.assert_close(found.detach(), length)
    assert torch.equal(start.embed, kept)


def test_the_exact_loss_is_not_rounded_to_nothing():
    outputs, sums = torch.tensor([[[20.0, 0.0, 0.0]]]), torch.tensor([[0]])
    assert loss(outputs, sums, exact=False).item() == 0.0
    assert loss(outputs, sums).item() == pytest.approx(math.log1p(2 * math.exp(-20)), rel=1e-6)


def test_new_pairs_are_those_whose_mirror_image_was_not_shown():
    hidden = torch.tensor([[[0, 1], [1, 0], [2, 3], [4, 4]]])
    rest = others(hidden, 7)
    assert rest.new.tolist() == [[1.0, 1.0, 0.0, 1.0]]
    known = rest.known(draw_adder([0], SHAPE))
    right = draw_adder([0], SHAPE)(one_hot(hidden, 7)).argmax(-1) == hidden.sum(-1) % 7
    assert known["test"].item() == right.double().mean().item()
    assert known["new"].item() == pytest.approx(right[0, [0, 1, 3]].double().mean().item())


def test_a_wave_has_one_frequency_and_noise_has_all():
    residues = torch.arange(31) * (2 * torch.pi / 31)
    wave = torch.stack([(4 * residues).cos(), (4 * residues).sin() + 3.0], 1)[None]
    found = spectrum(wave)
    assert found.shape == (1, 15)
    assert found[0, 3].item() == pytest.approx(1.0)
    noise = torch.randn(1, 31, 4000, generator=torch.Generator().manual_seed(0))
    assert spectrum(noise)[0].numpy() == pytest.approx([1 / 15] * 15, rel=0.1)
