"""Cross-entropy that rises while accuracy does not fall."""

import pytest

pytest.importorskip("sklearn")

from trainers.studies import confidence
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return confidence.run(Ask(seeds=range(8)))


@pytest.fixture(scope="module")
def means(table):
    return confidence.outcomes(table).groupby("labels").mean(numeric_only=True)


@pytest.mark.slow
def test_cross_entropy_rises_in_every_seed_and_errors_do_not_on_average(table, means):
    found = confidence.outcomes(table)
    clean = found[found["labels"] == confidence.CLEAN]
    assert (clean["end"] > 1.1 * clean["low"]).all()
    assert (
        means.loc[confidence.CLEAN, "end_error"] < means.loc[confidence.CLEAN, "low_error"] + 0.01
    )


@pytest.mark.slow
def test_one_temperature_takes_the_rise_back(means):
    clean = means.loc[confidence.CLEAN]
    assert clean["end_tempered"] - clean["low_tempered"] < 0.2 * (clean["end"] - clean["low"])
    assert clean["confidence"] > clean["accuracy"] + 0.02


@pytest.mark.slow
def test_with_wrong_labels_errors_rise_and_no_temperature_helps(means):
    noisy = means.loc[confidence.NOISY]
    assert noisy["end_error"] > noisy["low_error"] + 0.05
    assert noisy["end_tempered"] > 1.3 * noisy["low_tempered"]


@pytest.mark.slow
def test_a_temperature_never_makes_the_loss_higher_than_temperature_one_nearby(table):
    assert (table["tempered"] <= 1.01 * table["loss"]).all()


@pytest.mark.slow
def test_what_is_said_is_what_the_table_holds(table, means):
    finding = confidence.find(table)
    assert finding.showed
    assert f"to {means.loc[confidence.CLEAN, 'end']:.3f} on average" in finding.text[0]
    assert not confidence.find(table.assign(loss=table["tempered"])).showed
    assert len(confidence.draw(table).axes) == 4
