"""Slingshots of Adam after fitting."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trainers.studies import slingshots as study
from trainers.studies.parts.decoder import Layout
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return study.run(Ask(seeds=range(2)))


def test_slingshots_come_again_and_again(table):
    assert (study.counts(table).loc[study.ARMS[0].name] >= 2).all()


def test_a_larger_epsilon_or_an_exact_loss_ends_them(table):
    found = study.slingshots(table)
    assert set(found["arm"]) == {study.ARMS[0].name}


def _made(loss, last):
    steps = np.arange(len(loss)) * study.EVERY
    return pd.DataFrame(
        {
            "seed": 0,
            "arm": study.ARMS[0].name,
            "step": steps,
            "loss": loss,
            "lowest": loss,
            "train": 1.0,
            "test": 0.5,
            "last": last,
        }
    )


def test_a_jump_of_the_loss_with_a_step_of_the_norm_is_one_slingshot():
    loss = np.full(200, 1e-6)
    loss[100:110] = [1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-4, 1e-4, 5e-5, 5e-5, 2e-5]
    slow = np.linspace(10.0, 10.2, 200)
    sudden = slow + np.where(np.arange(200) >= 98, 0.5, 0.0)
    found = study.slingshots(_made(loss, sudden))
    assert found["step"].tolist() == [1000]
    assert found["loss"].tolist() == [1.0]
    assert found["sudden"].tolist() == [True]
    assert study.slingshots(_made(loss, slow))["sudden"].tolist() == [False]
    assert study.slingshots(_made(np.full(200, 1e-6), sudden)).empty


def test_a_network_that_never_fits_has_none():
    loss = np.full(200, 1e-6)
    loss[100] = 1.0
    assert study.slingshots(_made(loss, loss).assign(train=0.5)).empty


def test_what_is_said_is_what_the_table_holds(table):
    finding = study.find(table)
    assert finding.showed
    assert f"{finding.numbers['steps apart']:.0f} steps apart" in finding.text[0]
    assert f"{100 * finding.numbers['gain']:+.1f} points" in finding.text[2]
    assert len(study.draw(table).axes) == 3


def test_where_the_loss_stays_low_there_are_none(table):
    calm = table.assign(loss=table["lowest"].min(), lowest=table["lowest"].min())
    finding = study.find(calm)
    assert not finding.showed
    assert "a seed has 0 slingshots" in finding.text[0]
    unfitted = study.find(table.assign(train=0.0))
    assert not unfitted.showed
    assert "nan" not in " ".join(unfitted.text)


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(study, "STEPS", 100)
    alone = study._trained(study.ARMS[0], [1])
    rows = table[(table["arm"] == study.ARMS[0].name) & (table["seed"] == 1)]
    rows = rows[rows["step"] <= 100]
    assert rows["loss"].to_numpy() == pytest.approx(alone["loss"].to_numpy(), rel=0.02)


@pytest.fixture(scope="module")
def divided():
    tiny = Layout(prime=7, width=8, heads=2, layers=2)
    said, paper = [], study.PAPER
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "PAPER", replace(paper, layout=tiny, rate=5e-3, steps=600))
        rows = study.run(Ask(seeds=range(2), full=True, tell=said.append))
    return rows, said


def test_the_full_form_divides_in_batches(divided, table):
    rows, said = divided
    assert said[-1] == f"{study.ARMS[2].name}: 600 of 600 steps"
    assert set(rows) - set(table) == {"task", "batch"}
    assert (rows["task"].unique(), rows["batch"].unique()) == ("division modulo 7", 11)
    assert rows.groupby(["arm", "seed"]).size().tolist() == [61] * 6
    last = rows[rows["step"] == 600]
    assert (last["train"] == 1.0).all()
    assert last["loss"].max() < 0.1


def test_what_is_said_and_drawn_of_the_full_form_is_of_its_task(divided):
    rows, _ = divided
    finding = study.find(rows)
    assert "in 600 steps of division modulo 7, 11 pairs each" in finding.text[0]
    assert "one network and one task" in finding.text[3]
    assert study.draw(rows).axes[0].get_xlabel() == "steps of Adam, 11 pairs each"


def test_the_arms_of_the_full_form_differ_in_what_they_are_named_for(divided):
    rows, _ = divided
    first, later = (rows[rows["step"] == step].groupby("seed")["last"] for step in (0, 600))
    assert (first.max() == first.min()).all()
    assert (later.nunique() == 3).all()


def test_the_papers_setting_is_that_of_thilak_et_al():
    assert study.PAPER.layout == Layout(prime=97, width=128, heads=4, layers=2)
    assert (study.PAPER.share, study.PAPER.rate) == (0.5, 1e-3)
