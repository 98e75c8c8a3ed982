"""A network on digits with wrong labels: two stages of three."""

import pytest

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import epochs_digits
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return epochs_digits.run(Ask(seeds=range(3)))


@pytest.fixture(scope="module")
def plain(table):
    found = epochs_digits.stages(table)
    return found[found["decay"] == 0]


def test_the_test_error_falls_and_then_rises_as_wrong_labels_are_memorised(table, plain):
    assert plain["rises"].all()
    assert plain["memorised"].all()
    assert (plain["peak"] > 1.5 * plain["first"]).all()
    assert (table[table["step"] == 1]["test"] > 0.6).all()


def test_it_does_not_fall_again_and_the_study_says_so(table, plain):
    finding = epochs_digits.find(table)
    assert not plain["twice"].any()
    assert not finding.showed
    assert finding.text[0].startswith("Two stages of three")
    assert "is not reproduced" in finding.text[1]
    assert f"{plain['first'].mean():.3f}" in finding.text[0]
    assert len(epochs_digits.draw(table).axes) == 2


def test_true_labels_are_fitted_before_wrong_ones(table):
    rows = table[(table["decay"] == 0) & table["step"].between(60, 150)]
    assert (rows["right"] + 0.4 < rows["mislabelled"]).all()


def test_a_second_descent_would_be_seen(table):
    late = table["step"] > 1500
    falls = table.assign(test=table["test"].where(~late, 0.5 * table["test"]))
    assert epochs_digits.find(falls).showed


def test_a_third_stage_would_be_told_of(table):
    late = table["step"] > 1500
    finding = epochs_digits.find(table.assign(test=table["test"].where(~late, 0.5 * table["test"])))
    assert finding.text[0].startswith("Three stages")
    assert not any("not reproduced" in sentence for sentence in finding.text)


def test_the_full_form_trains_the_papers_network_on_the_users_images(tmp_path, monkeypatch):
    archive(tmp_path / "c.tar.gz", images_a_file=6)
    monkeypatch.setattr(epochs_digits, "PAPER", epochs_digits.Paper(width=1, epochs=3))
    heard = []
    ask = Ask(seeds=range(2), full=True, data=tmp_path / "c.tar.gz", tell=heard.append)
    table = epochs_digits.run(ask)
    assert heard == [f"seed {seed}, step {step} of 3" for seed in (0, 1) for step in (1, 2, 3)]
    assert set(table["decay"]) == {0.0}
    assert table[["test", "right", "mislabelled"]].max(axis=None) <= 1.0
    finding = epochs_digits.find(table)
    assert len(finding.text) == 3
    assert not any("eight decay" in sentence for sentence in finding.text)
    figure = epochs_digits.draw(table)
    assert "CIFAR-10" in figure.get_suptitle()
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        epochs_digits.run(Ask(seeds=[0], full=True))
