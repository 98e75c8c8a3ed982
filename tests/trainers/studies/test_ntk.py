"""How the tangent kernel changes with the width."""

import numpy as np
import pytest

from trainers.studies import ntk
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return ntk.run(Ask(seeds=range(4)))


def test_the_kernel_drifts_as_one_over_the_width_and_not_its_root(table):
    rows = ntk.arms(table)
    for activation in ("tanh", "ReLU"):
        slope, error = ntk.power(rows[activation, 1], "drift")
        assert -1.15 <= slope <= -0.8
        assert error < 0.08


@pytest.mark.parametrize(
    ("quantity", "low", "high"),
    [("way", -0.6, -0.4), ("hessian", -0.6, -0.35), ("spread", -0.65, -0.35), ("off", -1.1, -0.6)],
)
def test_the_rest_goes_as_the_root_but_for_the_distance_from_linear(table, quantity, low, high):
    slope, _ = ntk.power(ntk.arms(table)["tanh", 1], quantity)
    assert low <= slope <= high


def test_the_hessian_of_relu_networks_is_one_over_the_root_exactly(table):
    # phi'' is 0 and x has length sqrt(d): every active unit has the eigenvalues +-1/sqrt(width)
    rows = ntk.arms(table)["ReLU", 1]
    assert rows["hessian"].to_numpy() == pytest.approx(rows["width"].to_numpy() ** -0.5, rel=1e-3)


def test_seeds_trained_together_are_those_trained_alone(table):
    alone = ntk._measured(Ask(seeds=[2]), "tanh", 1, 256)
    together = table.query("seed == 2 and activation == 'tanh' and width == 256")
    for name in ("drift", "way", "hessian", "off", "left"):
        assert alone[name].iloc[0] == pytest.approx(together[name].iloc[0], rel=1e-3)
    assert np.isnan(alone["spread"].iloc[0])


def test_what_is_said_is_what_the_table_holds(table):
    finding = ntk.find(table)
    assert finding.showed
    assert f"{finding.numbers['drift, tanh, 1']:.2f} ±" in finding.text[0]
    assert f"{finding.numbers['off, ReLU, 1']:.2f} ±" in finding.text[2]
    assert len(ntk.draw(table).axes) == 2


def test_a_drift_as_the_root_of_the_width_would_be_seen(table):
    slower = table.assign(drift=table["drift"] * (table["width"] / 64) ** 0.5)
    finding = ntk.find(slower)
    assert not finding.showed
    assert finding.numbers["drift, tanh, 1"] > -0.6


def test_one_seed_is_enough_to_look(table):
    one = table[table["seed"] == 0].assign(spread=np.nan)
    finding = ntk.find(one)
    assert finding.showed
    assert "unknown for one seed" in finding.text[1]
    ntk.draw(one)


def test_the_full_form_has_two_hidden_layers_and_splits_what_is_too_large(monkeypatch):
    monkeypatch.setattr(ntk, "FULL", ntk.Scale(widths=(8, 16, 32), layers=(1, 2)))
    monkeypatch.setattr(ntk, "STEPS", 5)
    whole = ntk.run(Ask(seeds=range(3), full=True))
    assert set(whole["layers"]) == {1, 2}
    monkeypatch.setattr(ntk, "AT_ONCE", 1)
    told = []
    split = ntk.run(Ask(seeds=range(3), full=True, tell=told.append))
    columns = ["drift", "way", "hessian", "off", "spread"]
    assert split[columns].to_numpy() == pytest.approx(whole[columns].to_numpy(), rel=1e-3)
    assert "tanh, 2 hidden, width 32" in told
    assert "2 hidden layers" in ntk.find(whole).text[2]
    assert len(ntk.draw(whole).axes) == 4
