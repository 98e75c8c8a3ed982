"""Depth of small networks: a claim that does not come out here."""

import numpy as np
import pytest

from trainers.studies import depth
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return depth.run(Ask(seeds=range(3)))


@pytest.mark.slow
def test_the_variance_falls_with_depth_and_the_study_says_that_the_claim_failed(table):
    finding = depth.find(table)
    assert not finding.showed
    assert "is not reproduced" in finding.text[0]
    assert (depth.change(depth.last(table), "variance") < 0).all()
    assert (depth.change(depth.last(table), "moved_variance") < 0).all()
    mean = depth.last(table).groupby("depth")["variance"].mean()
    assert f"{mean[1]:.3f} to {mean[6]:.3f}" in finding.text[0]
    assert len(depth.draw(table).axes) == 2


@pytest.mark.slow
def test_it_falls_at_equal_training_error_too(table):
    equal = depth.matched(table)
    assert len(equal) == 3 * len(depth.DEPTHS)
    assert (equal["train"] <= depth.MATCHED).all()
    assert (depth.change(equal, "variance") < 0).all()


def test_a_table_that_agrees_with_the_claim_is_said_to(monkeypatch):
    monkeypatch.setattr(depth, "STOPS", (1, 2))
    monkeypatch.setattr(depth, "MATCHED", 1e9)
    table = depth.run(Ask(seeds=[0]))
    shown = table.assign(variance=table["depth"], bias2=-table["depth"])
    assert depth.find(shown).showed
    assert "is seen" in depth.find(shown).text[0]


def test_moved_images_lie_one_pixel_to_the_right():
    image = np.arange(1.0, 65.0)
    square = depth.moved(image[None]).reshape(8, 8)
    assert (square[:, 0] == 0).all()
    assert (square[:, 1:] == image.reshape(8, 8)[:, :-1]).all()


def test_depths_are_compared_at_the_first_stop_that_is_good_enough(monkeypatch):
    monkeypatch.setattr(depth, "MATCHED", 0.5)
    table = depth.pd.DataFrame(
        {"seed": 0, "depth": [1, 1, 1], "step": [10, 20, 30], "train": [0.9, 0.4, 0.1]}
    )
    assert depth.matched(table)["step"].tolist() == [20]
