"""Local processes, one thread each, that take the longest task first.

A worker is a process and a pipe of its own. What it measures comes back over the pipe, and its
death closes it: that fails the task it had, no other, and a fresh worker goes on. torch is loaded
in the workers alone.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

from trainers.launch.tasks import Claimed, Elsewhere, Failed, Message, Task, Trained, claimed
from trainers.launch.work import Flag, perform, single_threaded

PATIENCE = 60.0
"""Seconds that a worker gets to write its checkpoint when it is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """So many processes on this machine, and where torch computes."""

    workers: int
    device: str = "cpu"

    def __call__(
        self, todo: Sequence[Task], *, claims: Claimed, results: Path
    ) -> Generator[tuple[Task, Message]]:
        """Execute the tasks, and yield what workers tell."""
        queue, pool = deque(todo), _Pool(self, results)
        try:
            while True:
                while queue and len(pool.busy()) < self.workers:
                    mine, others = claimed(queue.popleft(), claims)
                    if others:
                        yield others, Elsewhere()
                    if mine:
                        pool.idle().give(mine)
                if not queue:
                    pool.retire_idle()
                busy = {worker.channel: worker for worker in pool.busy()}
                if not busy:
                    return
                for channel in connection.wait(list(busy)):
                    yield busy[channel].receive()  # type: ignore[index]
        finally:
            pool.stop()


def available_workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count(workers: int | None, device: str) -> int:
    """As asked for; else one a core, or one where the device is not the CPU."""
    return workers or (available_workers() if device == "cpu" else 1)


class _Pool:
    """The workers that live."""

    def __init__(self, how: Local, results: Path) -> None:
        self.how, self.results = how, results
        self.workers: list[_Worker] = []

    def busy(self) -> list["_Worker"]:
        return [worker for worker in self.workers if worker.task]

    def idle(self) -> "_Worker":
        """A worker without a task: one that is there and alive, or a new one."""
        self.retire_idle(dead=True)
        free = [worker for worker in self.workers if not worker.task]
        if not free:
            free = [_Worker(self.how.device, self.results)]
            self.workers += free
        return free[0]

    def retire_idle(self, *, dead: bool = False) -> None:
        """Stop the workers that have no task: all of them, or those that are dead."""
        for worker in [worker for worker in self.workers if not worker.task]:
            if not (dead and worker.process.is_alive()):
                worker.stop()
                self.workers.remove(worker)

    def stop(self) -> None:
        """Tell all to save what they have, wait until they did, and end those that do not."""
        for worker in self.workers:
            worker.tell()
        for worker in self.workers:
            worker.stop()


class _Worker:
    """One process, its pipe, and the task it has."""

    def __init__(self, device: str, results: Path) -> None:
        context = get_context("spawn")
        self.channel, theirs = context.Pipe()
        # a daemon ends with its parent even where nobody waits for it
        self.process = context.Process(target=_work, args=(theirs, device, results), daemon=True)
        with single_threaded():
            self.process.start()
        theirs.close()  # else the end of the process would not close the pipe
        self.task: Task | None = None
        self.began = False  # whether anything was heard of its task

    def give(self, task: Task) -> None:
        self.task, self.began = task, False
        with suppress(OSError):  # it may be dead: receive() says so
            self.channel.send(task)

    def receive(self) -> tuple[Task, Message]:
        task = self.task
        assert task is not None
        try:
            message: Message = self.channel.recv()
        except (EOFError, OSError):
            self.process.join()
            message = Failed(reason=_cause(self.process.exitcode))
        self.began = True
        if not isinstance(message, Trained):
            self.task = None
        return task, message

    def tell(self) -> None:
        """To save its checkpoint and leave; one that has not begun has nothing to save."""
        if self.task and self.began:
            self.process.terminate()
        else:
            self.process.kill()

    def stop(self) -> None:
        """Wait for a worker that was told to, and end one that was not or does not."""
        if self.task and self.began:
            self._drain()
            self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.channel.close()

    def _drain(self) -> None:
        """Read what it still says: it could not leave while its pipe is full."""
        with suppress(EOFError, OSError):
            while self.channel.poll(PATIENCE):
                self.channel.recv()


def _cause(exit_code: int | None) -> str:
    if exit_code == -signal.SIGKILL:
        return "its process was killed, most often for want of memory; try fewer --workers"
    if exit_code is not None and exit_code < 0:
        return f"its process was ended by {signal.Signals(-exit_code).name}"
    if not exit_code:
        return "its process was told to stop from outside"
    return f"its process ended with exit code {exit_code}"


def _work(channel: connection.Connection, device: str, results: Path) -> None:
    """A worker's life: take tasks from the pipe until it is told to stop or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    stop = Flag()
    stop.listen()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while not stop():
        message = perform(
            channel.recv(), device=device, folder=results, told_to_stop=stop, say=channel.send
        )
        if message is None:
            return
        channel.send(message)


def _end_with_parent() -> None:
    """Leave when the parent is gone: nobody would write down what is measured."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
