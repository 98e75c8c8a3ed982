"""Samples that sizes need, and the best size for a compute."""

import numpy as np
import pandas as pd
import pytest
import torch

from trainers.sources.markov import load
from trainers.studies import samples
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return samples.run(Ask(seeds=range(3)))


@pytest.fixture(scope="module")
def best(table):
    return samples.tuned(table)


def test_larger_models_need_fewer_samples(best):
    found = samples.reached(best)
    assert set(found) == set(samples.TARGETS)
    for each in found.values():
        means = each.mean()
        assert means.corr(means.index.to_series(), "spearman") <= -0.95
        assert means.iloc[0] > 3.0 * means.iloc[-1]


def test_every_single_rate_says_the_same(table):
    for rate in samples.RATES[:2]:
        means = samples.needed(table[table["rate"] == rate], 0.5).dropna(axis=1).mean()
        assert means.corr(means.index.to_series(), "spearman") <= -0.9


def test_the_best_size_grows_with_compute_and_with_the_loss_asked_for(best):
    fit = samples.frontier(best)
    assert 0.3 <= fit.law.params["a"] <= 0.65
    assert fit.intervals["a"].low > 0.0
    params = best.groupby("width")["params"].first()
    cheapest = [
        (each.mean() * params[each.columns]).idxmin() for each in samples.reached(best).values()
    ]
    assert cheapest == sorted(cheapest)
    assert cheapest[-1] > cheapest[0]


def test_the_rate_is_the_best_one_and_one_for_all_seeds(table, best):
    assert best.groupby(["width", "samples"])["rate"].nunique().max() == 1
    mean = table.groupby(["width", "samples", "rate"])["loss"].mean().groupby(level=[0, 1]).min()
    assert best.groupby(["width", "samples"])["loss"].mean().to_numpy() == pytest.approx(
        mean.to_numpy()
    )
    assert len(best) == len(table) / len(samples.RATES)


def test_the_excess_is_above_the_entropy_of_the_source(table):
    truth = (table["loss"] - table["excess"]).to_numpy()
    assert truth == pytest.approx(load("markov", 1).entropy)
    assert (table["excess"] > 0).all()


def law():
    """Curves E + A/N^0.6 + B/D^0.6, of which N* goes as C^0.5."""
    rows = []
    for width in samples.WIDTHS:
        params = 257 * width + 128
        seen = np.geomspace(1e3, 2e5, 40)
        excess = 40.0 / params**0.6 + 200.0 / seen**0.6
        rows.append(
            pd.DataFrame(
                {"seed": 0, "width": width, "rate": samples.RATES[1], "params": params,
                 "samples": seen, "loss": 3.4 + excess, "excess": excess}
            )
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_samples_and_exponent_of_a_known_law_are_found():
    table = law()
    found = samples.needed(table, 0.5)
    params = 257 * found.columns.to_numpy() + 128
    left = 0.5 - 40.0 / params**0.6
    exact = np.where(left > 200.0 / 2e5**0.6, (200.0 / left.clip(1e-9)) ** (1 / 0.6), np.nan)
    assert found.loc[0].to_numpy() == pytest.approx(exact, rel=0.01, nan_ok=True)
    assert samples.frontier(table).law.params["a"] == pytest.approx(0.5, abs=0.03)


def test_seeds_and_rates_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(samples, "STEPS", 20)
    rows = torch.from_numpy(load("markov", 1).rows(2, 128 * 20).astype(np.int64))[None]
    alone = samples._trained(16, [2], rows.repeat(3, 1, 1), samples.pairs())
    keys = ["rate", "samples"]
    part = table.query("seed == 2 and width == 16").merge(alone[keys], on=keys)
    assert len(part) == len(alone)
    both = (each.sort_values(keys)["loss"].to_numpy() for each in (part, alone))
    assert next(both) == pytest.approx(next(both), rel=1e-4)


def test_what_is_said_is_what_the_table_holds(table):
    finding = samples.find(table)
    assert finding.showed
    assert f"({finding.numbers['fewer at 0.8']:.1f} times fewer)" in finding.text[0]
    assert f"power {finding.numbers['exponent']:.2f} (" in finding.text[3]
    figure = samples.draw(table)
    assert len(figure.axes) == 4  # three panels and the colours of the first


def test_width_that_does_not_help_would_be_seen(table):
    widths = dict(zip(samples.WIDTHS, samples.WIDTHS[::-1], strict=True))
    turned = table.assign(width=table["width"].map(widths))
    assert not samples.find(turned).showed


def test_one_seed_and_losses_that_nothing_reaches_are_told(table):
    one = table[table["seed"] == 0]
    assert samples.find(one).text
    samples.draw(one)
    poor = table[table["samples"] < 2000]
    finding = samples.find(poor)
    assert not finding.showed
    assert "no loss asked for is reached by 4 widths" in finding.text[0]
    samples.draw(poor)
