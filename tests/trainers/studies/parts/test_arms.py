"""Which arms are compared with which."""

import numpy as np
import pandas as pd
import pytest

from trainers.studies.parts.arms import compared, listed

ARMS = (("GD", 0.1, 100), ("SGD", 0.1, 20), ("SGD", 0.05, 5), ("SGD", 0.1, 10), ("Adam", 1e-3, 9))
TRACES = (8.0, 6.0, 5.0, 4.0, 7.0)


def table(first="GD"):
    rows = [
        {"seed": seed, "arm": f"{lr} {batch}", "optimiser": kind, "lr": lr, "batch": batch,
         "ratio": lr / batch, "matched": True, "trace": (1 + seed) * trace, "test": -trace}
        for seed in (0, 1, 2)
        for (kind, lr, batch), trace in zip(ARMS, TRACES, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows).replace({"optimiser": {"GD": first}})


def test_the_ladder_has_the_rate_of_least_noise_and_others_stand_by_their_ratio():
    found = compared(table())
    assert found.ladder == ["0.1 100", "0.1 20", "0.1 10"]
    assert found.equal == [("0.05 5", "0.1 10")]
    assert found.noisiest == ["0.1 10", "0.05 5"]
    assert found.pairs[0].tolist() == [5 / 4] * 3
    assert found.twice == 6 / 4
    assert found.falls.all()
    assert found.follows == pytest.approx(-1.0)
    assert found.means["trace"]["0.001 9"] == 14.0


def test_a_trace_that_rises_once_does_not_fall():
    made = table()
    made.loc[made["seed"].eq(1) & made["arm"].eq("0.1 20"), "trace"] = 99.0
    assert compared(made).falls.tolist() == [True, False, True]


def test_seeds_that_are_not_matched_everywhere_are_left_out():
    made = table()
    made.loc[4, ["matched", "trace"]] = False, np.nan
    assert compared(made).traces.index.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("first", "least", "owned"),
    [("GD", "gradient descent", "gradient descent's"),
     ("SGD", "SGD in batches of 100", "that of SGD in batches of 100")],
)  # fmt: skip
def test_the_one_of_least_noise_is_called_what_it_is(first, least, owned):
    found = compared(table(first))
    assert (found.least, found.owned) == (least, owned)


def test_words_are_listed():
    assert [listed(one) for one in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "", "a", "a and b", "a, b and c",
    ]  # fmt: skip
