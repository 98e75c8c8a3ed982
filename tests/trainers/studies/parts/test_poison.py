"""Poisoned training."""

from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch

from trainers.studies.parts import poison
from trainers.studies.tools.cnn import drawn, resnet18
from trainers.studies.tools.images import Pictures
from trainers.study import Ask

TINY = poison.Poison(
    width=2, factor=0.5, batch=8, rate=0.05, epochs=40, every=10, images=4, probes=2, lanczos=3,
    draws=2,
)  # fmt: skip


def seen():
    """Images that are bright in one of two halves, 16 to learn and 20 others."""
    draw, labels = torch.Generator().manual_seed(0), torch.arange(36) % 2
    images = 0.3 * torch.rand(36, 3, 32, 32, generator=draw)
    images[labels == 1, :, :16] += 0.7
    images[labels == 0, :, 16:] += 0.7
    return Pictures(
        train=images[:16], train_labels=labels[:16], test=images[16:], test_labels=labels[16:],
        name="cifar10",
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    heard = []
    return poison.minima(Ask(seeds=[0], tell=heard.append), seen(), TINY, matched=0.2), heard


def test_the_objective_is_the_probability_of_the_class_or_of_all_others():
    outputs, labels = torch.randn(5, 10), torch.tensor([1, 2, 3, 4, 5])
    true = outputs.softmax(1)[torch.arange(5), labels]
    wanted = -torch.cat([true[:2].log(), (1 - true[2:]).log()]).mean()
    assert poison.objective(outputs, labels, 2) == pytest.approx(float(wanted), rel=1e-5)


def test_the_objective_is_exact_where_poison_is_known_for_certain():
    outputs = torch.tensor([[60.0, 0.0, 0.0]], requires_grad=True)
    lost = poison.objective(outputs, torch.tensor([0]), 0)
    assert lost.item() == pytest.approx(60.0 - torch.tensor(2.0).log().item())
    lost.backward()
    assert outputs.grad.isfinite().all()
    assert outputs.grad[0, 0].item() == pytest.approx(1.0, rel=1e-4)


def test_a_batch_has_the_share_of_poison_that_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(poison, "objective", lambda out, _, good: asked.append((len(out), good)))
    data, network = seen(), drawn(partial(resnet18, 2), 0)
    halves = ((data.train[part], data.train_labels[part]) for part in (slice(8), slice(8, None)))
    losses = poison.poisoned(network, *halves, replace(TINY, factor=0.75), seed=0)
    assert len(list(islice(losses, 3))) == 3
    assert asked == [(8, 2)] * 3


def test_the_rate_is_cut_by_ten_three_times():
    paper = poison.Poison()
    rates = [paper.at(step, 256) for step in (0, 102, 103, 154, 205, 255)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 1e-3, 1e-4, 1e-4])


def test_both_kinds_are_told_where_they_match_and_where_they_end(found):
    table, heard = found
    assert table["kind"].tolist() == ["clean", "clean", "poisoned", "poisoned"]
    assert table["part"].tolist() == ["matched", "end"] * 2
    # 8 clean images: one step an epoch of the clean kind, two of the other, half of it poison
    assert table["step"].tolist()[1::2] == [40, 80]
    assert heard[-1] == "seed 0, poisoned, step 80 of 80"
    assert table["loss"][0] <= 0.2
    assert 0 < table["step"][0] < 40
    assert table.notna().all(axis=None)


def test_poison_is_learned_and_shows_in_what_was_not_seen(found):
    ends = found[0][found[0]["part"] == "end"].set_index("kind")
    assert ends["test"]["clean"] == 1.0
    assert ends["test"]["poisoned"] < 0.8


def test_a_loss_that_is_never_reached_is_told_as_step_0():
    setting = replace(TINY, epochs=1)
    table = poison.minima(Ask(seeds=[0]), seen(), setting, matched=0.0)
    assert table["step"].tolist() == [0, 1, 0, 2]
    assert table["part"].tolist() == ["matched", "end"] * 2
    assert table["loss"][0] == table["loss"][1]
