"""Loss curves of mis-set runs on the digits, and what is said of them."""

import pytest

pytest.importorskip("sklearn")

from trainers.studies import curves
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return curves.run(Ask(seeds=range(5)))


def test_all_but_the_weak_label_are_found_in_four_runs_of_five(table):
    counts = curves.hits(curves.diagnosed(table))
    assert list(counts.index) == [f"C{number}" for number in range(1, 9)]
    assert (counts["hit"] >= 0.8 * counts["runs"]).drop("C2").all()


def test_what_is_set_well_is_not_blamed(table):
    counts = curves.hits(curves.diagnosed(table))
    assert counts.loc["C1", "alone"] >= 4


def test_wrong_labels_show_as_overfitting_in_four_runs_of_five(table):
    settings = curves.hits(curves.diagnosed(table), "setting")
    assert settings.loc[curves.LONG_NOISY, "hit"] >= 4


def test_a_label_for_everything_would_not_pass(table):
    found = curves.diagnosed(table)
    assert found["said"].map(len).mean() < 1.6


def test_what_is_said_is_what_the_table_holds(table):
    finding = curves.find(table)
    assert finding.showed
    counts = curves.hits(curves.diagnosed(table))
    assert f"C2 {counts.loc['C2', 'hit']} of 10" in finding.text[0]
    # a development loss of all images is no sign of too few of them
    other = table.assign(loss=table["loss"].where(table["label"] != "C8", table["train_loss"]))
    assert not curves.find(other).showed
    assert len(curves.draw(table).axes) == len(curves.SETTINGS)
