"""Checkpoints: what is saved comes back, training goes on bit for bit, damage harms nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trainers import checkpoint
from trainers.run import Keeper, Stopped, train


def silent(_flops, _losses):
    pass


class After:
    """Says stop once it was asked so many times."""

    def __init__(self, count):
        self.count = count

    def __call__(self):
        self.count -= 1
        return self.count < 0


def without_time(rows):
    return [[{k: v for k, v in row.items() if k != "wall_seconds"} for row in run] for run in rows]


@pytest.fixture
def runs(tiny):
    rates = [replace(tiny, widths=(8,), seeds=(0, 1), learning_rate=rate) for rate in (0.01, 0.02)]
    return [run for grid in rates for run in grid.runs()]


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_training_goes_on_bit_for_bit_wherever_it_was_stopped(tiny, tmp_path, schedule):
    runs = replace(tiny, widths=(8,), seeds=(0, 1), schedule=schedule).runs()
    whole = train(runs, device="cpu", report=silent)
    stops = 0
    while True:
        keeper = Keeper(folder=tmp_path, told_to_stop=After(23))
        try:
            again = train(runs, device="cpu", report=silent, keeper=keeper)
        except Stopped:
            stops += 1
            continue
        break
    assert stops >= 3
    assert without_time(again) == without_time(whole)


def test_a_stop_loses_at_most_a_step(runs, tmp_path):
    told = []

    def report(flops, _losses):
        told.append(flops)

    for count in (10, 10**9):
        keeper = Keeper(folder=tmp_path, told_to_stop=After(count))
        try:
            train(runs, device="cpu", report=report, keeper=keeper)
        except Stopped:
            assert checkpoint.kept(tmp_path) == [tuple(run.id for run in runs)]
    assert sum(told) == pytest.approx(sum(run.flops for run in runs))


def test_a_checkpoint_is_written_when_it_is_time(runs, tmp_path):
    train(runs, device="cpu", report=silent, keeper=Keeper(folder=tmp_path, every=0.0))
    (path,) = tmp_path.iterdir()
    assert path == checkpoint.place(tmp_path, [run.id for run in runs])
    found = checkpoint.load(tmp_path, [run.id for run in runs])
    assert found.said["place"]["branch"]
    checkpoint.remove(tmp_path, [run.id for run in runs])
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_or_foreign_checkpoint_is_as_good_as_none(runs, tmp_path):
    ids = [run.id for run in runs]
    checkpoint.save(tmp_path, ids, [np.arange(3.0)], {"x": 1})
    assert checkpoint.load(tmp_path, [ids[0], "b", "c", "d"]) is None
    found = checkpoint.load(tmp_path, ids)
    assert found.said == {"x": 1}
    assert found.arrays[0].tolist() == [0, 1, 2]
    path = checkpoint.place(tmp_path, ids)
    whole = path.read_bytes()
    for damaged in (b"", whole[:100], b"PK" + whole[50:]):
        path.write_bytes(damaged)
        assert checkpoint.load(tmp_path, ids) is None
        assert checkpoint.kept(tmp_path) == []


def test_nothing_in_a_checkpoint_is_ever_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a checkpoint was unpickled",))

    path = checkpoint.place(tmp_path, ["a"])
    with path.open("wb") as file:
        np.savez(file, said=np.array([Evil()], dtype=object))
    assert checkpoint.load(tmp_path, ["a"]) is None
    assert checkpoint.kept(tmp_path) == []


def test_readers_of_the_table_do_not_see_it(runs, tmp_path):
    checkpoint.save(tmp_path, ["a"], [np.zeros(2)], {})
    pd.DataFrame({"loss": [1.0]}).to_parquet(tmp_path / "a.parquet")
    assert len(pd.read_parquet(tmp_path)) == 1
