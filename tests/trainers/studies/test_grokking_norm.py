"""Grokking with all weights held at one norm."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trainers.studies import grokking_norm as study
from trainers.studies.tools.adder import Shape
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return study.run(Ask(seeds=range(2)))


def test_at_the_right_length_fitting_and_understanding_come_together(table):
    found = study.outcomes(table)
    right = study.best(found)
    assert (right["outcome"] == "together").all()
    free = found[found["alpha"].isna()]
    assert (free["outcome"] == "fits first").all()
    assert right["before"].min() > free["before"].max() + 0.3


def test_too_short_never_fits_and_too_long_only_fits(table):
    found = study.outcomes(table).groupby("arm")
    assert found["fitted"].count()["held at 0.6"] == 0
    assert found["fitted"].count()["held at 2"] == 2
    assert found["understood"].count()["held at 2"] == 0


def test_the_norm_is_held(table):
    held = table[table["alpha"].notna()]
    assert held["norm"].to_numpy() == pytest.approx(held["alpha"].to_numpy(), rel=1e-4)
    free = table[table["arm"] == "free, no decay"].groupby("seed")["norm"].last()
    assert (free > 1.5).all()


def test_an_outcome_is_read_off_the_steps():
    steps = np.array([0, 100, 200, 300])
    runs = {
        "held at 1": ([0.1, 1.0, 1.0, 1.0], [0.0, 0.5, 1.0, 1.0]),
        "held at 2": ([0.1, 1.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]),
        "held at 3": ([0.1, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]),
        "held at 0.5": ([0.1, 0.5, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]),
    }
    rows = [
        pd.DataFrame({"seed": 0, "arm": arm, "step": steps, "train": train, "new": new})
        for arm, (train, new) in runs.items()
    ]
    made = pd.concat(rows).assign(test=0.0, norm=1.0)
    made["alpha"] = made["arm"].str.removeprefix("held at ").astype(float)
    found = study.outcomes(made).set_index("arm")["outcome"].to_dict()
    assert found == {
        "held at 1": "together",
        "held at 2": "fits first",
        "held at 3": "fits first",
        "held at 0.5": "never fits",
    }


def test_what_is_said_is_what_the_table_holds(table):
    finding = study.find(table)
    assert finding.showed
    assert f"Held at {finding.numbers['length']:g} times" in finding.text[2]
    counted = sum(finding.numbers[name] for name in study.OUTCOMES)
    assert counted == pytest.approx(1.0)
    assert len(study.draw(table).axes) == 2


def test_where_no_length_helps_it_did_not_show(table):
    never = table.assign(new=0.0)
    finding = study.find(never)
    assert not finding.showed
    assert "does not understand in 2 of 2 seeds" in finding.text[2]
    study.draw(never)
    unfitted = study.find(table.assign(train=0.5, new=0.0))
    assert not unfitted.showed
    assert "never fits" in unfitted.text[0]
    assert "nan" not in " ".join(unfitted.text)


def test_seeds_trained_together_are_those_trained_alone(table):
    alone = study._trained(Ask(seeds=[1]), replace(study.SMALL, steps=60), [1.0])
    rows = table[(table["arm"] == "held at 1") & (table["seed"] == 1) & (table["step"] <= 60)]
    assert rows["train"].to_numpy() == pytest.approx(alone["train"].to_numpy(), abs=0.02)


def test_the_full_form_has_the_same_arms_at_its_own_decays(monkeypatch):
    tiny = Shape(prime=7, width=8, heads=2, hidden=16)
    monkeypatch.setattr(study, "PAPER", replace(study.PAPER, shape=tiny, share=0.5, steps=40))
    said = []
    rows = study.run(Ask(seeds=range(2), full=True, tell=said.append))
    assert said[-1] == "held: 40 of 40 steps"
    assert "free, decay 1: 40 of 40 steps" in said
    assert rows["step"].unique().tolist() == [0, 10, 20, 30, 40]
    held = [f"held at {alpha:g}" for alpha in study.LENGTHS]
    assert rows["arm"].unique().tolist() == [*held, "free, no decay", "free, decay 1"]
    kept = rows[rows["alpha"].notna()]
    assert kept["norm"].to_numpy() == pytest.approx(kept["alpha"].to_numpy(), rel=1e-4)
    finding = study.find(rows)
    assert "free, decay 1" in finding.text[1]
    assert "After 40 steps" in finding.text[1]
    assert len(study.draw(rows).axes) == 2


def test_the_papers_setting_is_that_of_liu_et_al():
    assert study.PAPER.shape == Shape(prime=113, width=128, heads=4, hidden=512)
    assert (study.PAPER.share, study.PAPER.rate, study.PAPER.steps) == (0.3, 1e-3, 15_000)
    assert 0.8 in study.LENGTHS
    assert 1.0 in study.PAPER.decays
