"""A CNN's errors against width, at the end of training and stopped early."""

import pandas as pd
import pytest
import torch
from torch.nn import functional

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive
from trainers.studies import double_descent_cnn as study
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return study.run(Ask(seeds=range(4)))


@pytest.fixture(scope="module")
def means(table):
    return study.outcomes(table).groupby("width").mean(numeric_only=True)


def test_wrong_labels_are_fitted_from_some_width_on(means):
    assert means["train"][2] > 0.15
    assert means["train"][4] > 0.05
    assert 0.0 < means["train"][6] < 0.1
    assert (means["train"][12:] < 0.01).all()


def test_at_the_end_errors_rise_where_labels_begin_to_be_fitted_and_fall_after(means):
    top = means["end"][[6, 8]].max()
    assert top > means["end"][[3, 4]].min()
    assert top > means["end"][24] + 0.02


def test_stopped_early_wider_is_better_across_the_peak(means):
    stopped = means["stopped"]
    assert stopped[1] > stopped[3] > stopped[6] > stopped[24]
    assert (stopped[3:] < means["end"][3:] - 0.01).all()


def test_what_is_said_is_what_the_table_holds(table, means, tmp_path):
    table.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    finding = study.find(again)
    assert finding == study.find(table)
    top = int(finding.numbers["peak width"])
    assert finding.showed == (finding.numbers["height"] >= 0.01)
    assert f"{means['end'][top]:.3f} at {top} and" in finding.text[0]
    assert f"{means['train'][top]:.3f} at {top} and" in finding.text[1]
    assert len(study.draw(again).axes) == 2


def falling(table):
    error = 0.5 / table["width"]
    return table.assign(test=error, choice=error)


def test_errors_that_only_fall_show_nothing(table):
    finding = study.find(falling(table))
    assert not finding.showed
    assert finding.numbers["height"] == 0.0
    study.draw(falling(table))


@pytest.mark.parametrize(("early", "showed"), [(0.0, True), (0.2, False)])
def test_a_peak_counts_where_stopping_early_removes_it(table, early, showed):
    made = falling(table)
    peak, last = made["width"] == 6, made["step"] == study.STEPS
    made["test"] += 0.2 * (peak & last) + early * (peak & ~last)
    made["choice"] += 0.1 * last
    finding = study.find(made)
    assert finding.showed == showed
    assert finding.numbers["peak width"] == 6


def test_where_to_stop_is_not_said_by_the_test_images():
    steps = {"seed": 0, "width": 1, "params": 9, "step": [1, 2, 3], "train": 0.5}
    made = pd.DataFrame(steps | {"choice": [0.4, 0.2, 0.3], "test": [0.1, 0.35, 0.5]})
    found = study.outcomes(made).iloc[0]
    assert (found["stopped"], found["end"], found["step"]) == (0.35, 0.5, 2)


def test_one_seed_is_enough_for_a_finding_and_a_figure(table):
    one = table[table["seed"] == 0]
    assert "1 seeds" in study.find(one).text[0]
    study.draw(one)


def test_networks_side_by_side_are_pytorchs_one_by_one():
    networks, images = study.Small(3, [0, 1]), torch.rand(2, 5, 64)
    found = networks(images)
    for replica in range(2):
        state = images[replica].view(-1, 1, 8, 8)
        for weight, bias in ((networks.first, 0), (networks.second, 1)):
            bias = networks.biases[bias][replica]  # noqa: PLW2901
            written = functional.conv2d(state, weight[replica], bias, padding=1)
            state = functional.max_pool2d(written.relu(), 2)
        alone = state.flatten(1) @ networks.head[replica] + networks.biases[2][replica]
        assert torch.allclose(found[replica], alone, atol=1e-5)


def test_seeds_trained_together_are_those_trained_alone(monkeypatch):
    for name, value in {"STEPS": 30, "STOPS": (30,), "WIDTHS": (2,)}.items():
        monkeypatch.setattr(study, name, value)
    together = study.run(Ask(seeds=range(3)))
    alone = study.run(Ask(seeds=[2]))
    names = ["params", "train", "choice", "test"]
    both = together.loc[together["seed"] == 2, names].to_numpy(), alone[names].to_numpy()
    assert both[0] == pytest.approx(both[1], abs=0.005)


def test_the_full_form_trains_the_papers_networks_on_the_users_images(tmp_path, monkeypatch):
    archive(tmp_path / "c.tar.gz", images_a_file=6)
    monkeypatch.setattr(study, "PAPER", study.Paper(widths=(1, 2), steps=4, stops=3))
    heard = []
    ask = Ask(seeds=range(2), full=True, data=tmp_path / "c.tar.gz", tell=heard.append)
    table = study.run(ask)
    assert heard[-1] == "seed 1, width 2 of 2, step 4"
    assert table.groupby(["seed", "width"])["step"].apply(list).tolist() == [[1, 2, 4]] * 4
    assert table[["train", "choice", "test"]].max(axis=None) <= 1.0
    study.find(table)
    study.draw(table)
    with pytest.raises(StudyError, match=r"give cifar-10-binary\.tar\.gz with --data"):
        study.run(Ask(seeds=[0], full=True))
