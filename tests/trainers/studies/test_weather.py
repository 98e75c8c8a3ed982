"""The weather lab."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from trainers.studies import weather
from trainers.study import Ask

pytest.importorskip("vega_datasets")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return weather.run(Ask(seeds=range(6)))


@pytest.fixture(scope="module")
def early(table):
    return weather.errors(table, weather.SCALED, weather.EARLY)


@pytest.fixture(scope="module")
def late(table):
    return weather.errors(table, weather.SCALED, weather.LATE)


def test_baselines_are_those_of_the_two_years(table):
    found = table[["persistence", "autoregression", "mean"]].iloc[0]
    assert found.to_numpy() == pytest.approx([8.460, 8.126, 53.43], abs=0.005)


def test_many_units_beat_persistence_and_one_unit_early(table, early):
    better = (early[100] < table["persistence"].iloc[0]) & (early[100] < early[1])
    assert better.sum() >= 5
    assert early[100].mean() < early[1].mean() - 1.0


def test_many_units_overfit_late_and_one_unit_does_not(table, early, late):
    assert (late[100] > early[100]).sum() >= 5
    assert (late[1] < early[1]).all()
    learned = weather.errors(table, weather.SCALED, weather.LATE, "train")
    assert learned[100].mean() < learned[1].mean() - 1.0


def test_seeds_of_one_unit_arrive_at_the_same_error_and_of_many_units_do_not(early, late):
    assert late[1].std() < 0.25 * early[1].std()
    assert late[100].std() > 2.0 * early[100].std()


def test_the_lectures_settings_do_not_train_one_unit(table):
    literal = weather.errors(table, weather.LITERAL, weather.LATE)
    assert (literal[1] > 3.0 * table["mean"].iloc[0]).all()
    assert (weather.errors(table, weather.LITERAL, weather.EARLY)[100] > 15.0).all()


def turned(slope):
    return slope.T.contiguous() if slope.ndim == 2 else slope


@pytest.mark.parametrize("units", [1, 7])
def test_the_network_and_its_slopes_are_those_of_torch(units):
    inputs = torch.randn(20, 2, generator=torch.Generator().manual_seed(1))
    weights = [one.requires_grad_() for one in weather.starts(units, [3, 4])]
    found = weather.predict(weights, inputs)
    slopes = torch.autograd.grad(found.square().sum(), weights)
    for replica, seed in enumerate((3, 4)):
        torch.manual_seed(seed)
        rnn, head = nn.RNN(1, units), nn.Linear(units, 1)
        said = head(rnn(inputs[:, replica, None])[0])[:, 0]
        assert torch.allclose(said, found[:, replica], atol=1e-5)
        said.square().sum().backward()
        theirs = (rnn.weight_ih_l0, rnn.bias_ih_l0, rnn.bias_hh_l0, rnn.weight_hh_l0, head.weight)
        for one, other in zip((*theirs, head.bias), slopes, strict=True):
            assert torch.allclose(
                turned(one.grad).view_as(other[replica]), other[replica], atol=1e-4
            )


def test_the_start_is_all_that_seeds_differ_in(table, monkeypatch):
    monkeypatch.setattr(weather, "EPOCHS", 20)
    series = weather.temperatures(weather.bundled()).to_numpy()
    twice = weather._trained(1, [2, 2], series[:365], series[365:])
    assert twice["test"].nunique() == twice["epoch"].nunique() * 2  # one a setting
    part = table.query("seed == 2 and units == 1 and epoch <= 20")
    alone = weather._trained(1, [2], series[:365], series[365:])
    assert alone["test"].to_numpy() == pytest.approx(part["test"].to_numpy(), rel=1e-3)


def test_what_is_said_is_what_the_table_holds(table, early, late):
    finding = weather.find(table)
    assert finding.showed
    assert f"100 units {early[100].mean():.2f} ±" in finding.text[0]
    assert f"100 units {late[100].mean():.2f} ±" in finding.text[1]
    assert len(weather.draw(table).axes) == 3


def test_many_units_no_better_or_not_overfitting_would_be_seen(table):
    many = table["units"] == 100
    worse = table.assign(test=table["test"].where(~many, table["test"] + 5.0))
    assert not weather.find(worse).showed
    stopped = table.assign(test=table["test"].where(~(many & (table["epoch"] > 300)), 7.0))
    assert not weather.find(stopped).showed
    assert "in 0 of 6 seeds" in weather.find(stopped).text[1]


def test_one_seed_has_no_deviation(table):
    finding = weather.find(table[table["seed"] == 0])
    assert "One seed shows no deviation" in finding.text[2]
    assert "nan" not in " ".join(finding.text)


def test_the_users_years_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(weather, "EPOCHS", 10)
    dates = pd.date_range("2019-01-01", "2020-12-31")
    values = 10.0 - 8.0 * np.cos(np.arange(len(dates)) / 58.1)
    path = tmp_path / "mine.csv"
    pd.DataFrame({"date": dates, "temp": values}).to_csv(path, index=False)
    found = weather.run(Ask(seeds=range(1), data=path))
    assert (found["train_year"].iloc[0], found["test_year"].iloc[0]) == (2019, 2020)
    assert found["persistence"].iloc[0] < 0.05
