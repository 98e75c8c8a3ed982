"""A task where it executes: whatever goes wrong is a reason, and the next task goes on."""

import pytest
import torch

from trainers import run as run_module
from trainers.launch.tasks import Failed, Finished, Task, Trained
from trainers.launch.work import Flag, perform
from trainers.run import Stopped


def performed(tiny, **options):
    told = []
    task = Task(runs=tuple(tiny.runs()[:2]))
    asked = {"device": "cpu", "folder": None, "told_to_stop": Flag(), "say": told.append}
    return perform(task, **asked | options), told


def test_a_task_ends_in_the_rows_of_its_runs(tiny):
    message, told = performed(tiny)
    assert isinstance(message, Finished)
    assert [len(rows) for rows in message.rows] == [6, 6]
    assert all(isinstance(one, Trained) for one in told)
    assert sum(one.flops for one in told) == pytest.approx(2 * tiny.runs()[0].flops)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "cpu ran out of memory; it needs a smaller"),
        (OSError(28, "No space left on device"), "its checkpoint cannot be written: No space left"),
        (ValueError("what else"), "ValueError: what else"),
    ],
)
def test_what_goes_wrong_is_a_reason(tiny, monkeypatch, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(run_module, "train", fail)
    message, _ = performed(tiny)
    assert isinstance(message, Failed)
    assert message.reason.startswith(reason)


def test_a_stop_is_no_failure(tiny, monkeypatch):
    def stop(*_, **__):
        raise Stopped

    monkeypatch.setattr(run_module, "train", stop)
    assert performed(tiny) == (None, [])


def test_a_flag_that_is_set_stops_at_the_next_step(tiny, tmp_path):
    flag = Flag()
    flag.set()
    message, told = performed(tiny, told_to_stop=flag, folder=tmp_path)
    assert message is None
    per_step = tiny.runs()[0].flops / tiny.runs()[0].steps
    assert sum(one.flops for one in told) == pytest.approx(2 * per_step)
    assert len(list(tmp_path.iterdir())) == 1
