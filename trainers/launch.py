"""Where runs execute: local processes, one thread each, that take the longest task first.

A worker is a process and a pipe of its own. What it measures comes back over the pipe, and its
death closes it: that fails the task it had, no other, and a fresh worker goes on. torch is loaded
in the workers alone.
"""

import os
import signal
import threading
from collections import defaultdict, deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process

from scalefit.runs import canonical_json
from trainers.recipe import Row, Run

STEP_SECONDS = 1.5e-3
FLOPS_PER_SECOND = 5e10
"""A step on one Zen 4 core: its fixed cost, and the rate of its arithmetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Runs that differ only in their seed and train as one batched model."""

    runs: tuple[Run, ...]

    @property
    def flops(self) -> float:
        """Training FLOPs of all its runs."""
        return sum(run.flops for run in self.runs)

    @property
    def seconds(self) -> float:
        """Expected time on one core: good for order and shares, not as a promise."""
        return self.runs[0].steps * STEP_SECONDS + self.flops / FLOPS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A worker went on by `flops`, and measured `losses` (None where a replica diverged)."""

    flops: float
    losses: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task is done: the rows of each of its runs."""

    rows: list[list[Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A task could not be done, and why."""

    reason: str


Message = Trained | Finished | Failed


def tasks(runs: Sequence[Run], workers: int) -> list[Task]:
    """Group runs that differ only in their seed, longest first.

    A group that would outlast all the others is split.
    """
    alike = defaultdict[str, list[Run]](list)
    for run in runs:
        alike[canonical_json(replace(run, seed=0).config())].append(run)
    todo = deque(Task(runs=tuple(group)) for group in alike.values())
    fair = sum(task.seconds for task in todo) / workers
    groups: list[Task] = []
    while todo:
        task = todo.popleft()
        half = len(task.runs) // 2
        if half and task.seconds > fair:
            todo += (Task(runs=task.runs[:half]), Task(runs=task.runs[half:]))
        else:
            groups.append(task)
    return sorted(groups, key=lambda task: -task.seconds)


def launch(todo: Sequence[Task], *, workers: int, device: str) -> Generator[tuple[Task, Message]]:
    """Execute the tasks in order, and yield what workers tell; closing stops them at once."""
    queue = deque(todo)
    pool: list[_Worker] = []
    try:
        for _ in range(min(workers, len(queue))):
            pool.append(_Worker(device, queue.popleft()))  # noqa: PERF401 - `finally` needs each
        while pool:
            for channel in connection.wait([worker.channel for worker in pool]):
                worker = next(worker for worker in pool if worker.channel is channel)
                task, message = worker.task, worker.receive()
                yield task, message
                if not isinstance(message, Trained):
                    _next_task(pool, worker, queue, device)
    finally:
        for worker in pool:
            worker.stop()


def available_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """One process, its pipe, and the task it has."""

    def __init__(self, device: str, task: Task) -> None:
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        # a daemon ends with its parent even where nobody waits for it
        self.process = context.Process(target=_work, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()  # else the end of the process would not close the pipe
        self.give(task)

    def give(self, task: Task) -> None:
        self.task = task
        with suppress(OSError):  # it may be dead: receive() says so
            self.channel.send(task)

    def receive(self) -> Message:
        try:
            message: Message = self.channel.recv()
        except (EOFError, OSError):
            self.process.join()
            return Failed(reason=_cause(self.process.exitcode))
        return message

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.channel.close()


def _next_task(pool: list[_Worker], worker: _Worker, queue: deque[Task], device: str) -> None:
    """Hand the worker its next task; retire it when there is none, replace it when it is dead."""
    if queue and worker.process.is_alive():
        worker.give(queue.popleft())
        return
    worker.stop()
    pool.remove(worker)
    if queue:
        pool.append(_Worker(device, queue.popleft()))


def _cause(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, most often for want of memory; try fewer --workers"
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code}"


def _work(channel: connection.Connection, device: str) -> None:
    """A worker's life: take tasks from the pipe until it is stopped or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from trainers.run import train

    torch.set_num_threads(1)

    def report(flops: float, losses: Sequence[float | None]) -> None:
        channel.send(Trained(flops=flops, losses=tuple(losses)))

    while True:
        task: Task = channel.recv()
        try:
            channel.send(Finished(rows=train(task.runs, device=device, report=report)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other tasks go on
            channel.send(Failed(reason=f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """Leave when the parent is gone: nobody would write down what is measured."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
