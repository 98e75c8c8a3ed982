"""The overfit ladder."""

import pytest
import torch

from trainers.studies import ladder
from trainers.studies.tools.mlp import draw_networks
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return ladder.run(Ask(seeds=range(2)))


@pytest.mark.slow
def test_capacity_grows_with_every_doubling_and_about_doubles_at_the_last(table):
    found = ladder.capacity(table)
    assert (found.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)
    assert ladder.doubled(table).between(1.5, 4.0).all()


@pytest.mark.slow
def test_below_ten_units_doubling_does_more(table):
    mean = ladder.capacity(table).mean()
    assert mean[8] / mean[4] > mean[32] / mean[16]


@pytest.mark.slow
def test_what_is_said_is_what_the_table_holds(table):
    finding = ladder.find(table)
    assert finding.showed
    assert f"{ladder.capacity(table).mean()[32]:.0f} at width 32" in finding.text[1]
    assert "100 by width 32 and more" in finding.text[0]
    assert not ladder.find(table.assign(right=0.5)).showed
    assert len(ladder.draw(table).axes) == 2


def test_a_rung_holds_the_examples_of_those_below():
    (few, names), (many, more) = (ladder._data([3], count)[0] for count in (8, 80))
    assert torch.equal(few, many[:8])
    assert torch.equal(names, more[:8])


def test_one_batch_is_learned_and_equal_inputs_of_two_labels_are_not():
    networks = draw_networks([0, 1], (ladder.INPUTS, 16, ladder.CLASSES))
    inputs, labels = (torch.stack(one) for one in zip(*ladder._data([0, 1], 8), strict=True))
    assert ladder.memorise(networks, inputs, labels).tolist() == [1.0, 1.0]
    same = inputs[:, :1].expand(-1, 8, -1)
    wanted = torch.arange(8).expand(2, 8)
    assert ladder.memorise(networks, same, wanted).tolist() == [1 / 8, 1 / 8]
