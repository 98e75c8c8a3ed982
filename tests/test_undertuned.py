"""What never stands in for a good loss: a badly tuned run, or the trunk of one that failed."""

import json

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import DataError
from scalefit.runs import read, write_part
from scalefit.undertuned import undertuned

ROW = {"params_total": 1000, "flops": 1.2e8, "status": "ok", "loss_unit": "nats/token"}


def config(rate, seed, **others):
    told = {"trainer": 2, "learning_rate": rate, "embedding_rate": 0.1, "seed": seed, "width": 8}
    return json.dumps(told | others)


def sweep(losses):
    """Rows of (rate, seed, tokens, loss)."""
    return pd.DataFrame(
        [
            {"config": config(rate, seed), "tokens": tokens, "averaging": "cooldown", "loss": loss}
            for rate, seed, tokens, loss in losses
        ]
    )


def test_the_rate_with_the_best_mean_over_seeds_stands_for_its_size_and_data():
    frame = sweep(
        [(0.1, 0, 10, 3.0), (0.1, 1, 10, 3.2), (0.2, 0, 10, 2.9), (0.2, 1, 10, 3.5),
         (0.1, 0, 20, 2.8), (0.2, 0, 20, 2.7)]
    )  # fmt: skip
    assert undertuned(frame).tolist() == [False, False, True, True, True, False]


def test_what_differs_in_more_than_its_rates_is_not_compared():
    frame = sweep([(0.1, 0, 10, 3.0), (0.2, 0, 10, 2.0)])
    assert undertuned(frame).any()
    frame.loc[1, "config"] = config(0.2, 0, width=16)
    assert not undertuned(frame).any()


@pytest.mark.parametrize("text", [None, "", "[1]", "{}", '{"trainer": 1, "learning_rate": 0.1}'])
def test_other_peoples_configurations_are_left_alone(text):
    frame = sweep([(0.1, 0, 10, 3.0), (0.2, 0, 10, 2.0), (0.3, 0, 10, 1.0)])
    frame.loc[0, "config"] = text
    assert undertuned(frame).tolist() == [False, True, False]
    assert not undertuned(frame.drop(columns="config")).any()


def test_a_fit_leaves_them_out_and_a_sweep_does_not(tmp_path):
    for rate, loss in ((0.1, 3.0), (0.2, 2.9)):
        row = ROW | {"tokens": 20_000, "averaging": "cooldown", "loss": loss, "lr": rate,
                     "batch_tokens": 32, "config": config(rate, 0)}  # fmt: skip
        write_part(tmp_path, f"run{round(10 * rate)}", [row])
    runs = read(tmp_path)
    assert runs.frame["loss"].tolist() == [2.9]
    assert [drop.reason for drop in runs.dropped] == [
        "under-tuned: another learning rate did better"
    ]
    needed = ("params", "tokens", "lr", "batch_tokens", "loss")
    assert len(read(tmp_path, needed=needed)) == 2


def test_the_trunk_of_a_run_that_failed_to_cool_down_does_not_stand_in_for_it(tmp_path):
    row = ROW | {"tokens": 20_000}
    good = [row | {"averaging": "raw", "loss": 3.2}, row | {"averaging": "cooldown", "loss": 3.0}]
    bad = [
        row | {"averaging": "raw", "loss": 3.1},
        row | {"averaging": "ema", "loss": 3.05},
        row | {"averaging": "cooldown", "loss": None, "status": "diverged"},
    ]
    write_part(tmp_path, "bad", bad)
    with pytest.raises(DataError, match="no row left to fit"):
        read(tmp_path)
    write_part(tmp_path, "good", good)
    runs = read(tmp_path)
    assert runs.frame["loss"].tolist() == [3.0]
    assert {drop.reason: drop.rows for drop in runs.dropped} == {
        "their run failed where it was annealed": 2,
        "status diverged": 1,
        "less annealed than other rows of their run": 1,
    }
    raw = read(tmp_path, where="averaging == 'raw'")
    assert np.sort(raw.frame["loss"]).tolist() == [3.1, 3.2]


def test_one_branch_that_failed_leaves_the_others(tmp_path):
    row = ROW | {"averaging": "cooldown"}
    write_part(
        tmp_path, "run",
        [row | {"tokens": 10_000, "loss": 3.0},
         row | {"tokens": 20_000, "loss": None, "status": "diverged"}],
    )  # fmt: skip
    assert read(tmp_path).frame["tokens"].tolist() == [10_000]
