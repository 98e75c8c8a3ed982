"""Curvature along a run that groks and along others."""

import numpy as np
import pytest
import torch

from trainers.studies import grokking_flatness as study
from trainers.studies.tools import modular
from trainers.studies.tools.curvature import trace
from trainers.study import Ask

pytestmark = pytest.mark.slow

SEEDS = range(4)


@pytest.fixture(scope="module")
def table():
    return study.run(Ask(seeds=SEEDS))


def test_what_has_understood_is_flatter_than_shuffled_sums_and_than_without_decay(table):
    found = study.compare(table)
    for against in ("shuffled", "plain"):
        assert (found[[f"{name}_{against}" for name in study.FLATTER]] <= 0.8).all(axis=None)
    assert (found["trace_matched"] <= 0.8).all()


def test_within_a_run_it_is_sharper_at_the_end_than_when_it_had_just_fitted(table):
    found = study.compare(table)
    assert (found[[f"{name}_fit" for name in study.FLATTER]] >= 1.5).all(axis=None)
    assert (found["rise_peak"] <= 0.7).all()


def test_only_sums_with_decay_are_understood_and_all_are_fitted(table):
    last = table[table["step"] == study.LOOKS[-1]].groupby("arm")
    assert (last["train"].min() == 1.0).all()
    test = last["test"].agg(["min", "max"])
    assert test.loc[study.SUMS.name, "min"] >= modular.UNDERSTOOD
    assert test.loc[[study.SHUFFLED.name, study.PLAIN.name], "max"].max() < 0.2


def test_the_trace_is_that_of_the_closed_form(table):
    networks = modular.draw_quadratic(study.SMALL.prime, 16, [0, 1])
    shown, _ = modular.split(study.SMALL.prime, 0.5, [0, 1])
    labelled = torch.cat([shown, modular.answers(shown, study.SMALL.prime)[..., None]], dim=-1)

    def of(parameters):
        into, out = parameters
        return study.loss(modular.Quadratic(prime=study.SMALL.prime, into=into, out=out), labelled)

    torch.testing.assert_close(of(networks.parameters), modular.squared(networks, shown))
    mean, error = trace(of, networks.parameters, probes=200)
    assert ((mean - _closed(networks, shown)).abs() <= 4 * error).all()
    assert (error <= 0.1 * mean).all()


def _closed(networks, shown):
    """2 / (pairs * prime) * (sum of |gradient of an output|^2 + residual * its Laplacian)."""
    found = []
    for into, out, pairs in zip(networks.into, networks.out, shown, strict=True):
        hidden = into[pairs[:, 0]] + into[networks.prime + pairs[:, 1]]
        wanted = torch.eye(networks.prime)[pairs.sum(1) % networks.prime]
        off = hidden.square() @ out - wanted
        slopes = networks.prime * hidden.pow(4).sum() + 8 * (hidden.square() @ out.square()).sum()
        bends = 4 * (off * out.sum(0)).sum()
        found.append(2 / off.numel() * (slopes + bends))
    return torch.stack(found)


def test_shuffled_sums_are_the_same_sums_elsewhere_and_each_seeds_own():
    shown, _ = modular.split(study.SMALL.prime, 0.5, [0, 1])
    for seed, pairs in enumerate(shown):
        plain = study._sums(pairs, study.SUMS, 31, seed)
        mixed = study._sums(pairs, study.SHUFFLED, 31, seed)
        assert torch.equal(plain, pairs.sum(1) % study.SMALL.prime)
        assert torch.equal(plain.sort().values, mixed.sort().values)
        assert (plain == mixed).double().mean() < 0.1


def test_noise_is_a_tenth_of_each_filter():
    networks = modular.draw_quadratic(5, 7, [0, 1])
    for noisy in study._noisy(networks, [0, 1]):
        for one, other in zip(networks.parameters, noisy, strict=True):
            share = (other - one).norm(dim=1) / one.norm(dim=1)
            torch.testing.assert_close(share, torch.full_like(share, study.NOISE))


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(study, "LOOKS", (0, 60))
    alone = study.run(Ask(seeds=[3])).set_index(["arm", "step"])
    together = table[table["seed"] == 3].set_index(["arm", "step"]).loc[alone.index]
    for name in ("loss", "norm", "trace", "top", "rise"):
        assert together[name].to_numpy() == pytest.approx(alone[name].to_numpy(), rel=0.02)


def test_what_is_said_is_what_the_table_holds(table):
    finding, middle = study.find(table), study.compare(table).median()
    assert finding.showed
    assert f"{middle['trace_shuffled']:.2f} (trace)" in finding.text[0]
    assert f"{middle['rise_fit']:.2f} times (rise under noise)" in finding.text[2]
    assert len(study.draw(table).axes) == 4


def test_what_is_not_flatter_or_never_fitted_is_said_so(table):
    sharp = table.assign(rise=table["rise"].where(table["arm"] != study.SUMS.name, 1.0))
    assert not study.find(sharp).showed
    assert "lower in 0 of 4 seeds" in study.find(sharp).text[0]
    never = study.find(table.assign(train=0.0, test=0.0))
    assert not never.showed
    assert "not known (nothing was fitted)" in never.text[2]
    assert np.isnan(never.numbers["trace_fit"])


def test_the_full_form_measures_the_same_at_its_own_size(table, monkeypatch):
    monkeypatch.setattr(study, "LARGE", study.Setting(prime=7, hidden=16, share=0.4))
    monkeypatch.setattr(study, "LOOKS", (0, 20, 40))
    said = []
    rows = study.run(Ask(seeds=range(2), full=True, tell=said.append))
    assert said == ["0 of 40 steps", "20 of 40 steps", "40 of 40 steps"]
    assert list(rows) == list(table)
    assert rows.groupby(["arm", "seed"]).size().tolist() == [3] * 6
    # 19 pairs of 49 are shown, and 30 are not
    shares = rows[["train", "test"]].to_numpy() * [19, 30]
    assert shares == pytest.approx(shares.round(), abs=1e-9)
    study.find(rows)
    assert len(study.draw(rows).axes) == 4


def test_shuffled_sums_that_are_not_known_by_heart_are_said_so(table):
    assert "known" not in study.find(table).text[0]
    some = table.assign(train=table["train"].where(table["arm"] != study.SHUFFLED.name, 0.5))
    assert "shuffled sums, of which 50% are known (medians" in study.find(some).text[0]
