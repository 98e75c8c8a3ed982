"""Grokking in a one-layer transformer."""

import pandas as pd
import pytest

from trainers.studies import grokking_transformer as study
from trainers.studies.tools.adder import Shape
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return study.run(Ask(seeds=range(5)))


@pytest.fixture
def tiny():
    return study.Setting(
        shape=Shape(prime=7, width=8, heads=2, hidden=8),
        share=0.5,
        rate=5e-3,
        steps=20,
        every=10,
    )


def test_new_pairs_are_understood_long_after_the_shown_are_fitted(table):
    found = study.moments(table)
    late = found["understood"] >= 5 * found["fitted"]
    assert (late & (found["before"] <= 0.1)).sum() >= 4


def test_the_norm_is_highest_when_the_shown_are_fitted(table):
    found = study.moments(table)
    assert (found["peak"] / found["fitted"]).between(0.5, 2.0).sum() >= 4
    assert (found["end"] < 0.9 * found["highest"]).all()


def test_the_embedding_turns_into_few_waves(table):
    found = study.moments(table)
    assert (found["start"] < 0.3).all()
    assert (found["after"] > found["memorised"] + 0.2).sum() >= 4


def test_what_is_said_is_what_the_table_holds(table):
    finding = study.find(table)
    assert finding.showed
    assert f"{finding.numbers['ratio']:.1f} times as late" in finding.text[0]
    assert f"{finding.numbers['end']:.2f}" in finding.text[2]
    assert len(study.draw(table).axes) == 3


def test_a_network_that_only_memorises_did_not_show_it(table):
    never = table.assign(new=0.0)
    finding = study.find(never)
    assert not finding.showed
    assert "never understood" in finding.text[0]
    study.draw(never)


def test_a_network_that_never_fits_is_told_of(table):
    finding = study.find(table.assign(train=0.5, new=0.0))
    assert not finding.showed
    assert finding.text[0] == "The shown pairs are never fitted."
    assert "nan" not in " ".join(finding.text)
    study.draw(table.assign(train=0.5))


def test_the_papers_form_runs_through_its_own_setting(monkeypatch, tiny):
    monkeypatch.setattr(study, "PAPER", tiny)
    said = []
    rows = study.run(Ask(seeds=range(1), full=True, tell=said.append))
    assert said[-1] == "20 of 20 steps"
    assert rows["step"].tolist() == [0, 10, 20]
    assert [name for name in rows if name.startswith("frequency")] == [
        "frequency 1",
        "frequency 2",
        "frequency 3",
    ]
    study.find(rows)
    study.draw(rows)


def test_the_papers_setting_is_that_of_nanda_et_al():
    assert study.PAPER.shape == Shape(prime=113, width=128, heads=4, hidden=512)
    assert study.PAPER.steps == 40_000
    assert study._few(56) == 5


def test_seeds_trained_together_are_those_trained_alone(monkeypatch, tiny):
    monkeypatch.setattr(study, "SMALL", tiny)
    both, alone = study.run(Ask(seeds=range(2))), study.run(Ask(seeds=[1]))
    rows = both[both["seed"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, alone, rtol=1e-3)
