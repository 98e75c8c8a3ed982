"""SGD's modified loss against every order of an epoch."""

from itertools import combinations

import pytest
import torch

from trainers.studies import sgd_loss
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return sgd_loss.run(Ask(seeds=range(3)))


def test_the_whole_loss_is_right_to_one_order_more(table):
    found = sgd_loss.slopes(table).set_index(["batch", "loss"])["order"]
    for batch in sgd_loss.BATCHES:
        assert found[batch, "whole"].to_numpy() == pytest.approx([3, 3, 3], abs=0.15)
        assert found[batch, "plain"].to_numpy() == pytest.approx([2, 2, 2], abs=0.1)
        assert found[batch, "descent"].to_numpy() == pytest.approx([2, 2, 2], abs=0.1)
    assert found[2, "printed"].to_numpy() == pytest.approx([2, 2, 2], abs=0.1)
    assert found[3, "printed"].to_numpy() == pytest.approx([2, 2, 2], abs=0.1)
    assert sgd_loss.find(table).showed


def test_what_is_printed_is_right_for_batches_of_one_only(table):
    rows = table.set_index(["batch", "loss"])
    ratio = rows["square"] / rows["true_square"]
    assert ratio[1, "printed"].to_numpy() == pytest.approx(1, rel=1e-12)
    assert ratio[2, "printed"].max() < 0.9
    assert ratio[3, "printed"].max() < 0.9


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_the_mean_square_of_a_batchs_gradient_is_an_identity(batch):
    weights, inputs, values = sgd_loss.problem(11)
    each = sgd_loss.gradients(weights, inputs, values)
    taken = [each[list(chosen)].mean(dim=0) for chosen in combinations(range(6), batch)]
    mean_square = (torch.stack(taken) ** 2).sum(dim=1).mean()
    assert sgd_loss.held_square(11, batch, "whole") == pytest.approx(mean_square.item(), rel=1e-13)


@pytest.mark.parametrize(("batch", "count"), [(1, 720), (2, 90), (3, 20), (6, 1)])
def test_every_order_is_there_once(batch, count):
    every = sgd_loss.orders(batch)
    assert every.shape == (count, 6 // batch, batch)
    assert len({tuple(order) for order in every.flatten(1).tolist()}) == count
    assert torch.equal(every.flatten(1).sort(dim=1).values, torch.arange(6).expand(count, 6))


def test_an_epoch_of_one_order_is_the_walk_of_sgd():
    weights, inputs, values = sgd_loss.problem(4)
    ends = []
    for order in sgd_loss.orders(2):
        walked = weights.clone()
        for taken in order:
            one = walked.detach().requires_grad_()
            predicted = torch.tanh(inputs[taken] @ one[:6].view(3, 2).T) @ one[6:]
            loss = 0.5 * ((predicted - values[taken]) ** 2).mean()
            walked = walked - 0.02 * torch.autograd.grad(loss, one)[0]
        ends.append(walked)
    assert torch.allclose(sgd_loss.mean_end(4, 2, 0.02), torch.stack(ends).mean(dim=0), atol=1e-14)


def test_the_flow_is_solved_better_than_it_is_compared(monkeypatch):
    cells = [(0, 1, rate, loss) for rate in sgd_loss.RATES for loss in ("plain", "whole")]
    ends = sgd_loss.flow_ends(cells)
    monkeypatch.setattr(sgd_loss, "PARTS", 2 * sgd_loss.PARTS)
    assert (sgd_loss.flow_ends(cells) - ends).abs().max() < 1e-11


def test_what_is_said_is_what_the_table_holds(table):
    finding = sgd_loss.find(table)
    order = sgd_loss.slopes(table)
    most = order.loc[order["loss"].eq("whole"), "order"].max()
    assert f"to {most:.2f} for the whole one (9 pairs" in finding.text[0]
    assert f"{finding.numbers['gain_high']:.0f} times" in finding.text[1]
    assert len(sgd_loss.draw(table).axes) == 3


def test_a_wrong_spread_is_not_said_to_show(table):
    wrong = table.assign(distance=table["distance"].where(table["loss"].ne("whole"), table["rate"]))
    assert not sgd_loss.find(wrong).showed
