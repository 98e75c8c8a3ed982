"""Diagonal networks: what start, SGD and label noise make of them."""

import numpy as np
import pytest
import torch

from trainers.studies import diagonal
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return diagonal.run(Ask(seeds=range(5)))


@pytest.mark.slow
def test_start_and_label_noise_decide_which_norm_is_least(table):
    error = diagonal.ends(table).set_index("arm")["error"]
    assert error["full 0.01"].max() <= 0.05
    assert error["strong"].max() <= 0.05
    assert error["full 1"].min() >= 0.3
    assert error["sgd"].min() >= 0.3
    assert error["L1"].max() < 1e-20
    assert error["full 1"].to_numpy() == pytest.approx(error["L2"].to_numpy(), rel=0.05)
    assert diagonal.find(table).showed


@pytest.mark.slow
def test_settings_without_gain_stay_near_the_least_l2_norm(table):
    error = diagonal.ends(table).set_index("arm")["error"]
    for arm in diagonal.NO_GAIN:
        assert error[arm].min() >= 0.3


@pytest.mark.slow
def test_label_noise_leaves_of_the_start_what_the_squared_moves_say(table):
    start = diagonal.ends(table).groupby("arm")["start"].mean()
    same, wide = diagonal.ARMS["full same"].left, diagonal.ARMS["full wide"].left
    assert start["full same"] == pytest.approx(same, rel=0.02)
    assert start["full wide"] == pytest.approx(wide, rel=0.25)
    assert start["strong"] < 0.02 < start["weak"]


@pytest.mark.slow
def test_what_is_said_is_what_the_table_holds(table):
    finding = diagonal.find(table)
    error = diagonal.ends(table).set_index("arm")["error"]["strong"]
    assert f"{error.min():.2g} to {error.max():.2g}" in finding.text[2]
    assert all(diagonal.ARMS[arm].label in finding.text[3] for arm in diagonal.NO_GAIN)
    assert len(diagonal.draw(table).axes) == 2
    assert "in 5 of 5 seeds" in finding.text[0]
    large = table["arm"].eq("full 1")
    assert not diagonal.find(table.assign(error=table["error"].mask(large, 0.01))).showed


@pytest.mark.parametrize("single", [False, True])
def test_a_step_is_one_of_gradient_descent(single):
    arm = diagonal.Arm(label="", alpha=0.7, rate=0.01, single=single)
    inputs, truth = (part[None] for part in diagonal.problem(3))
    walk = diagonal.train(arm, inputs, truth, [3])
    u, v = (torch.from_numpy(part).requires_grad_() for part in next(walk))
    taken = slice(None)
    if single:
        taken = np.random.default_rng((3, 1)).integers(diagonal.SAMPLES, size=(1000, 1))[0]
    x = torch.from_numpy(inputs[0][taken])
    loss = 0.5 * ((x @ (u**2 - v**2 - torch.from_numpy(truth))[0]) ** 2).mean()
    loss.backward()
    after = next(walk)
    assert after[0] == pytest.approx((u - 0.01 * u.grad).detach().numpy(), abs=1e-13)
    assert after[1] == pytest.approx((v - 0.01 * v.grad).detach().numpy(), abs=1e-13)


def test_the_product_of_the_factors_only_shrinks():
    arm = diagonal.ARMS["weak"]
    inputs, truth = (part[None] for part in diagonal.problem(0))
    walk = diagonal.train(arm, inputs, truth, [0])
    products = np.stack([u * v for (u, v), _ in zip(walk, range(500), strict=False)])
    assert (np.diff(products, axis=0) <= 0).all()
    assert products.min() > 0
    assert products[-1].max() < 1


def test_label_noise_has_the_size_asked_and_ends():
    arm = diagonal.ARMS["full wide"]
    noise = np.stack([one for _, one in diagonal._draws(arm, [0])])
    during, after = noise[: diagonal.NOISY], noise[diagonal.NOISY :]
    assert during.std() == pytest.approx(arm.noise, rel=0.01)
    assert during.shape[2] == diagonal.SAMPLES
    assert len(after) == diagonal.CLEAN
    assert not after.any()
