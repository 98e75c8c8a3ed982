"""Phases of learning, on a part of the grid."""

import pandas as pd
import pytest

from trainers.studies import grokking_phases
from trainers.study import Ask

pytestmark = pytest.mark.slow

SHARES, DECAYS = (0.3, 0.5, 0.7), (0.0, 3.0, 30.0)


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grokking_phases, "SHARES", SHARES)
        patch.setattr(grokking_phases, "DECAYS", DECAYS)
        return grokking_phases.run(Ask(seeds=range(2)))


def test_every_phase_is_where_it_is_expected(table):
    found = grokking_phases.phases(table).groupby(["share", "decay"])["phase"].agg(set)
    assert found[0.3, 0.0] == {"memorisation"}
    assert found[0.5, 0.0] == {"memorisation"}
    assert found[0.3, 3.0] == {"memorisation"}
    assert found[0.5, 3.0] == {"grokking"}
    assert found[0.7, 3.0] == {"comprehension"}
    assert all(found[share, 30.0] == {"confusion"} for share in SHARES)


def test_a_run_ends_when_all_seeds_have_understood(table):
    steps = table.groupby(["share", "decay"])["step"].max()
    assert steps[0.7, 3.0] < 400
    assert steps[0.3, 0.0] == grokking_phases.STEPS


@pytest.mark.parametrize(
    ("fitted", "delay", "phase"),
    [
        (40, 80, "comprehension"),
        (40, 100, "grokking"),
        (40, float("nan"), "memorisation"),
        (float("nan"), float("nan"), "confusion"),
    ],
)
def test_a_phase_is_read_off_both_times(fitted, delay, phase):
    assert grokking_phases._phase(fitted, delay) == phase


def test_a_tie_of_seeds_is_no_majority():
    found = pd.DataFrame(
        {"share": 0.5, "decay": [0, 0, 1, 1, 1], "phase": ["a", "b", "a", "b", "b"]}
    )
    assert list(grokking_phases.majorities(found)) == ["", "b"]


def test_what_is_said_is_what_the_table_holds(table):
    finding = grokking_phases.find(table)
    cells = grokking_phases.majorities(grokking_phases.phases(table))
    assert finding.showed
    assert finding.numbers["settings of confusion"] == 3.0
    assert finding.numbers["settings"] == len(cells) == 9
    assert "confusion in 3 (30% to 70% of the pairs shown, decay 30)" in finding.text[0]
    assert len(grokking_phases.draw(table).axes) == 1


def test_phases_that_do_not_occur_are_named(table):
    finding = grokking_phases.find(table[table["decay"] == 0.0])
    assert not finding.showed
    assert "There is no confusion" in finding.text[0] or "and no confusion" in finding.text[0]
    nothing = grokking_phases.find(table[table["decay"] == 30.0])
    assert not nothing.showed
    assert nothing.text[1] == "In 3 settings all seeds agree. "
    assert "nan" not in " ".join(nothing.text)
