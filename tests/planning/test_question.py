"""What cannot be planned is refused in one sentence that says what could be."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalefit.errors import FitError, PlanError, QuantityError
from scalefit.fitting import Fit, fit
from scalefit.laws import FORMS, Law, published
from scalefit.planning import plan
from scalefit.planning.hardware import Cluster, device
from scalefit.planning.shape import Build
from scalefit.runs import Runs
from tests.conftest import as_runs, known_law, simulate

LAW = published("besiroglu2024")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return as_runs(simulate(known_law("chinchilla"), noise=0.005), tmp_path_factory.mktemp("asked"))


@pytest.fixture(scope="module")
def fitted(runs: Runs) -> Fit:
    return fit(runs, bootstrap=200)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, r"nothing to plan for; give a budget \(--flops\)"),
        ({"flops": 1e21, "loss": 2.0}, r"1e21 FLOP and a loss of 2 contradict each other"),
        ({"flops": 1e21, "params": 1e9, "tokens": 1e9}, "1B parameters and 1B tokens contradict"),
        ({"flops": np.array([1e21, -1.0])}, "cannot be planned; give a positive number"),
        ({"params": np.nan}, "nan parameters cannot be planned"),
        ({"loss": 1.8172}, "never reaches a loss of 1.817: its least is 1.817"),
        ({"loss": 1.5}, "besiroglu2024 never reaches a loss of 1.5: its least is 1.817"),
        ({"loss": 2.0, "max_params": 1e9}, "a loss of 2 within these limits: its least is 2.174"),
        ({"loss": 2.0, "params": 1e9}, "a loss of 2 and 1B parameters: its least is 2.174"),
        ({"loss": 2.0, "tokens": 1e9}, "a loss of 2 and 1B tokens: its least is 2.881"),
        ({"loss": 1e4}, "1e\\+04 would take no training at all; give a lower loss"),
        ({"flops": 1e20, "params": 1e10, "inference_tokens": 1e12},
         "leave nothing for training, since serving 1T tokens costs more"),
        ({"params": 7e9, "max_params": 1e9}, "7B parameters mean 7B parameters, and at most 1B"),
        ({"flops": 1e22, "params": 1e8, "max_tokens": 1e12}, "raise --max-tokens or change"),
        ({"flops": 1e21, "inference_tokens": -1.0}, "-1.0 tokens cannot be served"),
        ({"flops": 1e21, "max_params": 0.0}, "at most 0.0 parameters leave nothing to train"),
        ({"flops": 1e21, "unique_tokens": 0.0}, "0.0 unique tokens are nothing to train on"),
        ({"flops": 1e21, "level": 1.0}, "the level is 1.0"),
    ],
)  # fmt: skip
def test_impossible_questions_are_told_why(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message) as refused:
        plan(LAW, **asked)
    assert "\n" not in str(refused.value)


def test_a_law_that_says_no_loss_reaches_none() -> None:
    with pytest.raises(PlanError, match="does not say the loss"):
        plan(published("porian2024"), loss=2.0)


def test_fewer_unique_tokens_than_a_batch_are_refused() -> None:
    law = published("muennighoff2023/data-constrained")
    with pytest.raises(PlanError, match=r"1K unique tokens are fewer than the .* of one batch"):
        plan(law, flops=1e18, unique_tokens=1e3, build=Build(vocab=64))
    assert plan(law, flops=1e18, unique_tokens=1e3).epochs > 1e4


def test_a_law_without_repeats_borrows_what_they_are_worth_and_says_so() -> None:
    found = plan(published("muennighoff2023"), flops=1e22, unique_tokens=25e9)
    own = plan(published("muennighoff2023/data-constrained"), flops=1e22, unique_tokens=25e9)
    assert found.params.value == pytest.approx(own.params.value, rel=1e-6)
    assert any("R_D = 15.39, R_N = 5.31" in note for note in found.notes)
    assert not any("borrowed" in note for note in own.notes)
    with pytest.raises(PlanError, match="says nothing of repeated data; plan with muennighoff2023"):
        plan(published("gadre2024"), flops=1e22, unique_tokens=25e9)


def test_the_draws_of_a_fit_keep_their_intervals_when_data_run_out(fitted: Fit) -> None:
    short = plan(fitted, flops=1e22, unique_tokens=1e10)
    plenty = plan(fitted, flops=1e22, unique_tokens=1e15)
    free = plan(fitted, flops=1e22)
    assert short.loss.low > free.loss.high
    assert plenty.params.low == pytest.approx(free.params.low, rel=1e-5)
    assert plenty.params.high == pytest.approx(free.params.high, rel=1e-5)


def test_memory_is_a_limit_and_is_named() -> None:
    small = Cluster(device=device("rtx-4090"), count=1, price=0.5)
    found = plan(LAW, flops=1e22, cluster=small)
    assert found.params.value == pytest.approx(24e9 / 16)
    assert found.bound == ("max_params",)
    assert any("memory of the machines, at 16 bytes" in note for note in found.notes)
    assert found.bill.cost.value == pytest.approx(1e22 / (165.2e12 * 0.4) / 3600 * 0.5)
    lean = plan(LAW, flops=1e22, cluster=small, bytes_per_param=2.0)
    assert lean.bound == ()
    assert plan(LAW, flops=1e22, cluster=Cluster(device=device("t4"))).bound == ()


def test_limits_that_leave_a_budget_unspent_say_how_much() -> None:
    found = plan(LAW, flops=1e22, max_params=1e9, max_tokens=1e11)
    assert (found.params.value, found.tokens.value) == (1e9, pytest.approx(1e11))
    assert found.bound == ("max_params", "max_tokens")
    assert found.flops == pytest.approx(6e20)
    assert found.to_dict()["flops"] == 1e22
    assert any("leave 94% of the budget unspent" in note for note in found.notes)


def test_losses_are_had_in_the_unit_asked_for() -> None:
    nats = plan(LAW, flops=1e22)
    bits = plan(LAW, flops=1e22, loss_unit="bits/byte", bytes_per_token=4.3)
    factor = 1 / np.log(2) / 4.3
    assert bits.loss.value == pytest.approx(nats.loss.value * factor)
    assert bits.band[0].loss == pytest.approx(nats.band[0].loss * factor)
    assert bits.same_loss[0].loss == pytest.approx(nats.loss.value * factor)
    back = plan(LAW, loss=bits.loss.value, loss_unit="bits/byte", bytes_per_token=4.3)
    assert back.flops == pytest.approx(1e22, rel=1e-6)
    with pytest.raises(QuantityError, match="by the tokenizer only: give its --bytes-per-token"):
        plan(LAW, flops=1e22, loss_unit="bits/byte")
    unknown = dataclasses.replace(
        LAW, convention=dataclasses.replace(LAW.convention, loss="unknown")
    )
    with pytest.raises(QuantityError, match="the unit is not known"):
        plan(unknown, flops=1e22, loss_unit="bits/byte", bytes_per_token=4.3)


def test_profiles_need_the_runs_of_the_fit(fitted: Fit, runs: Runs, tmp_path: Path) -> None:
    sampled, profiled = plan(fitted, flops=1e22), plan(fitted, flops=1e22, runs=runs)
    assert profiled.interval == "profile"
    for name in ("params", "tokens", "loss", "tokens_per_param"):
        one, other = getattr(sampled, name), getattr(profiled, name)
        assert one.value == other.value
        # Two ways to the same interval, which agree to a third of its width.
        for end in ("low", "high"):
            assert abs(getattr(one, end) - getattr(other, end)) < (one.high - one.low) / 3
    with pytest.raises(PlanError, match="was not fitted here, so it has no profiles"):
        plan(LAW, flops=1e22, runs=runs)
    others = as_runs(simulate(known_law("chinchilla"), noise=0.005, seed=9), tmp_path)
    with pytest.raises(FitError, match="give --where, --drop-highest and --column"):
        plan(fitted, flops=1e22, runs=others)


def test_what_a_fit_asked_for_a_loss_is_sure_of(fitted: Fit) -> None:
    found = plan(fitted, loss=2.2)
    assert (found.loss.low, found.loss.high) == (2.2, 2.2)
    assert found.training_flops.low < found.training_flops.value < found.training_flops.high
    truth, wide = plan(known_law("chinchilla"), loss=2.2), plan(fitted, loss=2.2, level=0.99)
    assert wide.training_flops.low < truth.flops < wide.training_flops.high


def test_a_plan_by_a_law_that_may_be_wrong_may_waste_compute(fitted: Fit) -> None:
    at_best, off = plan(fitted, flops=1e22).regret, plan(fitted, flops=1e22, params=1e9).regret
    assert at_best.overhead.value == 0
    assert 0 <= at_best.overhead.low < at_best.overhead.high < 0.2
    assert off.overhead.low < off.overhead.value < off.overhead.high
    assert off.overhead.value > 0.5
    assert off.best.loss < plan(fitted, flops=1e22, params=1e9).loss.value
    assert off.cheapest.flops * (1 + off.overhead.value) == pytest.approx(1e22)


def test_larger_models_need_fewer_tokens_for_the_same_loss() -> None:
    found = plan(LAW, loss=2.1)
    tokens = [choice.tokens for choice in found.same_loss]
    sizes = [choice.params for choice in found.same_loss]
    assert sizes == pytest.approx([found.params.value * x for x in (0.25, 0.5, 1, 2, 4)])
    assert tokens == sorted(tokens, reverse=True)
    for choice in found.same_loss:
        assert float(LAW.loss(choice.params, choice.tokens)) == pytest.approx(2.1, rel=1e-9)
        assert choice.flops >= found.flops * (1 - 1e-12)


def test_far_below_the_runs_is_said_too(fitted: Fit) -> None:
    assert any("times below the smallest run" in note for note in plan(fitted, flops=1e12).notes)
    assert not plan(fitted, flops=1e20).notes


# Sardana et al. 2024, arXiv:2401.00448v1: peers' acceptance value 23.
def test_a_model_that_serves_two_trillion_tokens_is_smaller_and_trained_longer() -> None:
    form = FORMS["chinchilla"]
    constants = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
    law = Law(name="sardana", form=form, params=constants)
    found = plan(law, params=13e9, inference_tokens=2e12)
    cheapest = found.regret.cheapest
    saved = 1 - cheapest.flops / found.flops
    assert saved == pytest.approx(0.174, abs=0.0005)
    assert found.flops - cheapest.flops == pytest.approx(1.69e22, rel=0.005)
    assert cheapest.params == pytest.approx(6.97e9, rel=1e-3)
    assert cheapest.tokens == pytest.approx(1.248e12, rel=1e-3)
    precise = plan(published("hoffmann2022"), params=13e9, inference_tokens=2e12)
    assert 1 - precise.regret.cheapest.flops / precise.flops == pytest.approx(0.163, abs=0.0005)
    again = plan(law, loss=found.loss.value, inference_tokens=2e12)
    assert again.params.value == pytest.approx(cheapest.params, rel=1e-4)
