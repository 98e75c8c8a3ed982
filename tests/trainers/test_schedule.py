"""Factors of the learning rate, and what branches cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.schedule import Cosine, Schedule

PLAN = Schedule(warmup=4, cooldown=0.2)


def test_warm_up_rises_to_a_constant_trunk():
    assert PLAN.trunk_factors(0, 6).tolist() == [0.25, 0.5, 0.75, 1, 1, 1]
    assert PLAN.trunk_factors(4, 6).tolist() == [1, 1]


def test_a_trunk_without_warm_up_starts_at_the_peak():
    assert Schedule(warmup=0, cooldown=0.2).trunk_factors(0, 2).tolist() == [1, 1]


def test_cooldown_is_one_minus_root():
    assert PLAN.branch_point(20) == 16
    assert PLAN.branch_factors(20) == pytest.approx([1, 0.5, 1 - 0.5**0.5, 1 - 0.75**0.5])


def test_five_counts_at_ratio_two_cost_1_1875_of_the_largest():
    ends = tuple(5 * 2**k for k in range(8, 13))
    assert PLAN.trained_steps(ends) == 1.1875 * max(ends)


@given(end=st.integers(2, 10**6), cooldown=st.floats(0.01, 0.99))
def test_every_branch_cools_down_over_its_last_share(end, cooldown):
    plan = Schedule(warmup=0, cooldown=cooldown)
    factors = plan.branch_factors(min(end, 5000))
    assert len(factors) == max(1, round(cooldown * min(end, 5000)))
    assert factors[0] == 1
    assert np.all(np.diff(factors) < 0)
    assert factors[-1] > 0
    assert 0 <= plan.branch_point(end) < end


def test_a_cosine_falls_to_a_tenth_and_shares_nothing():
    plan = Cosine(warmup=10)
    factors = plan.branch_factors(110)
    assert plan.branch_point(110) == 0
    assert factors[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert factors[10] == factors.max() == 1.0
    assert factors[60] == pytest.approx(0.55)
    assert factors[-1] == pytest.approx(0.1, abs=1e-3)
    assert (np.diff(factors[10:]) < 0).all()
    assert plan.trained_steps((20, 110)) == 130
