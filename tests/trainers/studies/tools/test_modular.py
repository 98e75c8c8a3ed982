"""What studies of grokking share."""

import numpy as np
import pandas as pd
import pytest
import torch

from trainers.studies.tools import modular
from trainers.studies.tools.modular import Replica


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_shown_and_other_pairs_are_all_pairs_once(share):
    shown, hidden = modular.split(31, share, [0, 1])
    assert shown.shape == (2, int(share * 31**2), 2)
    for one, other in zip(shown, hidden, strict=True):
        pairs = torch.cat([one, other])
        assert len({tuple(pair) for pair in pairs.tolist()}) == 31**2
    assert not torch.equal(shown[0], shown[1])


def test_an_output_is_the_square_of_the_summed_rows():
    networks = modular.draw_quadratic(5, 7, [0, 3])
    pairs = torch.tensor([[[1, 4], [2, 2], [0, 3]], [[4, 1], [3, 0], [2, 4]]])
    found = networks(pairs)
    for replica in range(2):
        for place, (a, b) in enumerate(pairs[replica].tolist()):
            into = networks.into[replica]
            wanted = (into[a] + into[5 + b]).square() @ networks.out[replica]
            torch.testing.assert_close(found[replica, place], wanted)


def test_a_solution_made_by_hand_is_right_everywhere():
    # random waves and phases: what is left of the mean over units is cos(k (a + b - c))
    prime, draw = 7, torch.Generator().manual_seed(0)
    hidden = 4000
    turns = 2 * np.pi / prime * torch.arange(prime)
    waves = torch.randint(1, prime, (hidden,), generator=draw)
    first, second = 2 * np.pi * torch.rand(2, hidden, generator=draw)
    into = torch.cat([(turns[:, None] * waves + phase).cos() for phase in (first, second)])
    out = (turns[:, None] * waves + first + second).cos().T
    networks = modular.Quadratic(prime=prime, into=into[None], out=out[None])
    pairs = torch.cartesian_prod(torch.arange(prime), torch.arange(prime))[None]
    assert modular.accuracy(networks, pairs).item() == 1.0


def test_cross_entropy_is_that_of_pytorch():
    networks = modular.draw_quadratic(5, 7, [0, 1], scale=1.0)
    pairs, _ = modular.split(5, 0.6, [0, 1])
    found = modular.cross_entropy(networks, pairs)
    for replica in range(2):
        outputs, sums = networks(pairs)[replica], pairs[replica].sum(-1) % 5
        torch.testing.assert_close(found[replica], torch.nn.functional.cross_entropy(outputs, sums))


def test_the_squared_loss_is_a_mean_over_pairs_and_residues():
    networks = modular.draw_quadratic(5, 7, [0, 1])
    pairs, _ = modular.split(5, 0.6, [0, 1])
    wanted = torch.zeros(2, 15, 5)
    for replica in range(2):
        for place, (a, b) in enumerate(pairs[replica].tolist()):
            wanted[replica, place, (a + b) % 5] = 1.0
    expected = ((networks(pairs) - wanted) ** 2).flatten(1).mean(1)
    torch.testing.assert_close(modular.squared(networks, pairs), expected)


def test_training_is_that_of_pytorchs_adamw():
    start, (shown, _) = modular.draw_quadratic(5, 8, [2]), modular.split(5, 0.6, [2])
    *_, (_, reached) = modular.walk(
        start, [Replica(seed=2, decay=0.5, rate=1e-2)], shown, steps=30, every=30
    )
    leaves = [one.clone().requires_grad_() for one in start.parameters]
    optimiser = torch.optim.AdamW(leaves, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.5)
    for _ in range(30):
        optimiser.zero_grad()
        walker = modular.Quadratic(prime=5, into=leaves[0], out=leaves[1])
        modular.squared(walker, shown).sum().backward()
        optimiser.step()
    for one, other in zip(reached.parameters, leaves, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-4)


def test_replicas_of_many_settings_are_those_trained_alone():
    settings = {"prime": 11, "share": 0.5, "hidden": 32, "steps": 60, "every": 20}
    replicas = [
        Replica(seed=0, decay=0.5),
        Replica(seed=1, decay=0.0),
        Replica(seed=0, decay=2.0, rate=1e-2),
    ]
    together = modular.train(replicas, **settings)
    for place, one in enumerate(replicas):
        alone = modular.train([one], **settings)
        mine = together.iloc[place :: len(replicas)].reset_index(drop=True)
        assert list(mine["seed"]) == [one.seed] * 4
        assert mine["train"].to_numpy() == pytest.approx(alone["train"].to_numpy(), abs=0.02)
        assert mine["norm"].to_numpy() == pytest.approx(alone["norm"].to_numpy(), rel=1e-3)


def test_training_ends_when_all_have_come_so_far():
    replicas = [Replica(seed=0, decay=0.0), Replica(seed=1, decay=0.0)]
    settings = {"prime": 11, "share": 0.5, "hidden": 32, "steps": 400, "every": 20}
    found = modular.train(replicas, **settings, stop=0.05)
    both = found[["train", "test"]].min(axis=1).groupby(found["step"]).min()
    assert (both.iloc[:-1] < 0.05).all()
    assert found.groupby("seed")[["train", "test"]].max().min(axis=None) >= 0.05
    assert found["step"].max() < 400
    assert len(modular.train(replicas, **settings, stop=0.0)) == 2


def test_delays_are_first_crossings_and_nan_where_there_are_none():
    table = pd.DataFrame(
        {
            "arm": ["a"] * 4 + ["b"] * 4,
            "seed": 0,
            "step": [0, 20, 40, 60] * 2,
            "train": [0.1, 0.99, 1.0, 1.0] * 2,
            "test": [0.0, 0.05, 0.95, 0.90, 0.0, 0.1, 0.2, 0.3],
        }
    )
    found = modular.delays(table, ["arm", "seed"])
    assert list(found["fitted"]) == [20, 20]
    assert found["understood"].iloc[0] == 40
    assert np.isnan(found["understood"].iloc[1])
    assert list(found["before"]) == [0.05, 0.1]
    assert list(found["last"]) == [0.90, 0.3]
    never = modular.delays(table, ["arm", "seed"], fitted=1.1)
    assert never["fitted"].isna().all()
    assert never["before"].isna().all()
