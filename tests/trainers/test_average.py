"""The power average against its definition."""

import numpy as np
import pytest
import torch

from trainers.average import EVERY, GAMMA, PowerAverage


def walked(steps):
    """The average of a weight that is at f(t) after t steps."""
    weight = torch.zeros(1)
    average = PowerAverage([weight])
    for step in range(1, steps + 1):
        weight.fill_(np.sin(step / 40))
        average.look(step)
    return average


def test_it_weighs_each_step_by_a_power_of_its_number():
    steps = 800
    seen = np.arange(EVERY, steps + 1, EVERY)
    looked = 1 - (1 - EVERY / seen) ** (GAMMA + 1)
    # of what a look has added, each later one keeps its part
    kept = [np.prod((1 - EVERY / seen[i + 1 :]) ** (GAMMA + 1)) for i in range(len(seen))]
    shares = looked * np.array(kept)
    assert shares.sum() == pytest.approx(1)
    assert walked(steps).mean[0].item() == pytest.approx(shares @ np.sin(seen / 40), abs=1e-5)
    # and that is t^GAMMA in the limit of many steps
    late = seen > steps / 2
    limit = seen**GAMMA / (seen**GAMMA).sum()
    assert np.abs(shares[late] / limit[late] - 1).max() < 0.1


def test_swapping_twice_changes_nothing():
    average = walked(100)
    weight, mean = average.weights[0].clone(), average.mean[0].clone()
    assert not torch.equal(weight, mean)
    average.swap()
    assert torch.equal(average.weights[0], mean)
    average.swap()
    assert torch.equal(average.weights[0], weight)
    assert torch.equal(average.mean[0], mean)


def test_one_replica_that_diverged_leaves_the_others_alone():
    weight = torch.tensor([1.0, 2.0])
    average = PowerAverage([weight])
    weight[0] = torch.nan
    average.look(EVERY)
    average.look(2 * EVERY)
    assert average.mean[0].isnan().tolist() == [True, False]
    assert average.mean[0][1] == 2.0
