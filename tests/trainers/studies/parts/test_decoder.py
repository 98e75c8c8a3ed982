"""Batched transformers that divide modulo a prime."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from trainers.studies.parts import decoder as tool
from trainers.studies.parts.decoder import (
    Divider,
    Layout,
    divisions,
    draw_decoder,
    measure,
    walk,
    waves,
)

LAYOUT = Layout(prime=7, width=8, heads=2, layers=2)


def _setting(steps, rate):
    return Divider(layout=LAYOUT, share=0.5, rate=rate, steps=steps)


def test_it_is_pytorchs_causal_transformer_with_layer_norm_after_each_sum():
    shown, _ = divisions(7, 1.0, [0, 1])
    decoder = draw_decoder([0, 1], LAYOUT)
    assert decoder(shown).shape == (2, 42, 7)
    for seed in range(2):
        own = {name: one[seed] for name, one in decoder.weights.items()}
        torch.testing.assert_close(
            decoder(shown)[seed], _dense(own, shown[seed]), rtol=1e-4, atol=1e-5
        )


def _dense(weights, rows):
    """The same of PyTorch's own layers, whose biases are set to 0."""
    signs = [torch.full((len(rows),), token) for token in (7, 8)]
    tokens = torch.stack([rows[:, 0], signs[0], rows[:, 1], signs[1]], 1)
    state = weights["embed"][tokens] + waves(4, 8)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    for number in range(2):
        layer = nn.TransformerEncoderLayer(8, 2, 32, dropout=0.0, batch_first=True)
        of = [weights[f"{name} {number}"].T for name in ("query", "key", "value")]
        state_dict = {
            "self_attn.in_proj_weight": torch.cat(of),
            "self_attn.out_proj.weight": weights[f"merge {number}"].T,
            "linear1.weight": weights[f"into {number}"].T,
            "linear2.weight": weights[f"back {number}"].T,
        }
        for name, one in layer.named_parameters():
            one.data.copy_(state_dict.get(name, torch.zeros_like(one)))
        layer.norm1.weight.data.fill_(1.0)
        layer.norm2.weight.data.fill_(1.0)
        state = layer(state, src_mask=mask)
    return state[:, -1].detach() @ weights["unembed"]


def test_scale_and_shift_of_the_layer_norms_are_each_seeds_own():
    state = torch.randn(2, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    decoder = draw_decoder([0, 1], LAYOUT)
    scale, shift = torch.rand(2, 1, 8), torch.rand(2, 1, 8)
    decoder.weights.update({"scale first 0": scale, "shift first 0": shift})
    for seed in range(2):
        wanted = functional.layer_norm(state[seed], (8,), scale[seed, 0], shift[seed, 0])
        torch.testing.assert_close(decoder._normed(state, "first 0")[seed], wanted)


def test_the_papers_network_has_four_hundred_thousand_weights_besides_embeddings():
    weights = draw_decoder([0], Layout(prime=97)).weights
    inner = sum(one.numel() for name, one in weights.items() if "embed" not in name)
    assert inner == 2 * (12 * 128**2 + 4 * 128)


def test_positions_are_sines_and_cosines_of_falling_frequency():
    table = waves(4, 8)
    assert table[0].tolist() == [0.0, 1.0] * 4
    assert table[3, 2].item() == pytest.approx(torch.tensor(3 / 10000**0.25).sin().item())
    assert table[3, 3].item() == pytest.approx(torch.tensor(3 / 10000**0.25).cos().item())


def test_every_division_is_shown_or_hidden_once_and_is_right():
    shown, hidden = divisions(7, 0.5, [0, 1])
    assert shown.shape == (2, 21, 3)
    for both in torch.cat([shown, hidden], dim=1):
        first, second, quotient = both.unbind(-1)
        assert torch.equal(second * quotient % 7, first)
        assert len({(int(a), int(b)) for a, b in both[:, :2]}) == 42
        assert 0 not in second
    assert not torch.equal(shown[0], shown[1])


def test_batches_show_all_once_an_epoch_and_are_at_most_half(monkeypatch):
    shown, _ = divisions(7, 0.5, [0, 1])
    batches = tool._batches(shown, [0, 1])
    epoch = [next(batches) for _ in range(2)]
    assert [one.shape[1] for one in epoch] == [11, 10]
    for seed in range(2):
        seen = torch.cat(epoch, 1)[seed].tolist()
        assert sorted(seen) == sorted(shown[seed].tolist())
    assert not torch.equal(epoch[0], next(batches))
    monkeypatch.setattr(tool, "BATCH", 8)
    batches = tool._batches(shown, [0, 1])
    assert [next(batches).shape[1] for _ in range(4)] == [8, 8, 5, 8]


def test_the_step_is_that_of_adam_at_a_rising_rate(monkeypatch):
    shown, _ = divisions(7, 0.5, [4])
    start = draw_decoder([4], LAYOUT)
    kept = start.weights["unembed"].clone()
    walked = [
        {name: one.detach().clone() for name, one in now.weights.items()}
        for _, now in walk(start, shown, _setting(2, 1e-2), seeds=[4], every=1)
    ]
    assert torch.equal(start.weights["unembed"], kept)
    # Adam's first step is the rate, a tenth of 1e-2, along the sign of the gradient
    moved = (walked[1]["unembed"] - walked[0]["unembed"]).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=0.01, atol=1e-5)
    assert (walked[2]["unembed"] - walked[1]["unembed"]).abs().max() <= 2.1e-3


def test_it_learns_what_it_is_shown_and_seeds_do_not_meet():
    shown, _ = divisions(7, 0.5, [0, 1])
    *_, (step, both) = walk(
        draw_decoder([0, 1], LAYOUT), shown, _setting(400, 3e-3), seeds=[0, 1], every=50
    )
    found = measure(both, shown)
    assert step == 400
    assert (found["right"] == 1.0).all()
    assert found["loss"].dtype == torch.float64
    *_, (_, alone) = walk(
        draw_decoder([1], LAYOUT), shown[1:], _setting(20, 1e-2), seeds=[1], every=20
    )
    *_, (_, pair) = walk(
        draw_decoder([0, 1], LAYOUT), shown, _setting(20, 1e-2), seeds=[0, 1], every=20
    )
    torch.testing.assert_close(
        pair.weights["embed"][1:], alone.weights["embed"], rtol=1e-3, atol=1e-4
    )
