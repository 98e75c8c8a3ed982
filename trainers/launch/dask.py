"""A Dask cluster: tasks go to its workers, rows come back, and the driver writes the parts.

No folder need be shared. Where a worker sees the driver's folder of results, its checkpoints go
there. A worker that dies costs no run: the scheduler gives its tasks to another. Scheduler and
workers need the driver's versions of scalefit and Dask. Best are workers of one thread each
(``dask worker ADDRESS --nworkers 8 --nthreads 1``).
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any

from scalefit.errors import GridError
from trainers.launch.parts import at_end
from trainers.launch.tasks import (
    Claimed,
    Elsewhere,
    Failed,
    Finished,
    Message,
    Task,
    Trained,
    claimed,
)
from trainers.launch.work import perform

ANSWER, WORKERS = 10.0, 60.0
"""Seconds that the scheduler may take to answer, and the first worker to come."""
ALONE = 300.0
"""Seconds without any worker after which the driver gives up."""
PATIENCE = 60.0
"""Seconds that workers get to write their checkpoints."""
LOOK = 2.0
AHEAD = 2
"""Tasks of each thread that are with the scheduler: one that trains, one that waits."""

_busy: set[str] = set()
_one = threading.Lock()
"""Of a worker's process: what it trains now, and who may use its GPU."""

Told = tuple[str, str, float, Sequence[float | None]]
"""A task's key, the attempt (a task may be done twice), its new FLOPs, and losses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dask:
    """The scheduler's address (tcp://host:8786), and where torch computes on the workers."""

    address: str
    device: str = "cpu"

    @property
    def workers(self) -> int:
        """Threads of the cluster now; GridError if no scheduler answers, or it has no worker."""
        client = _connected(self.address)
        try:
            return _threads(client)
        finally:
            client.close()

    def __call__(
        self, todo: Sequence[Task], *, claims: Claimed, results: Path
    ) -> Generator[tuple[Task, Message]]:
        """Submit tasks as threads become free, and yield what is heard of them."""
        client = _connected(self.address)
        try:
            flight = _Flight(client, self.device, results)
            try:
                yield from flight.messages(deque(todo), claims)
            finally:
                flight.stop()
        finally:
            client.close()


class _Flight:
    """The tasks that are with the scheduler."""

    def __init__(self, client: Any, device: str, results: Path) -> None:
        self.client, self.device, self.results = client, device, results.resolve()
        self.token = secrets.token_hex(6)
        self.mark = self.results / f".dask-{self.token}"
        self.mark.touch()  # a worker that sees it sees this folder
        self.tasks: dict[str, tuple[Task, Any]] = {}
        self.told: dict[str, _Count] = {}
        self.heard: SimpleQueue[Told | str] = SimpleQueue()
        self.room = AHEAD * _threads(client)
        self.alive = monotonic()
        client.subscribe_topic(self.token, lambda event: self.heard.put(event[1]))

    def messages(self, todo: deque[Task], claims: Claimed) -> Iterator[tuple[Task, Message]]:
        """Until all is done."""
        while True:
            while todo and len(self.tasks) < self.room:
                mine, others = claimed(todo.popleft(), claims)
                if others:
                    yield others, Elsewhere()
                if mine:
                    self._submit(mine)
            if not self.tasks:
                return
            yield from self._next()

    def _submit(self, task: Task) -> None:
        key = f"scalefit-{self.token}-{task.runs[0].id}"
        future = self.client.submit(
            execute, task, key, self.token, self.device, str(self.results), key=key, pure=False
        )
        self.tasks[key] = task, future
        self.told[key] = _Count()
        future.add_done_callback(lambda _: self.heard.put(key))

    def _next(self) -> Iterator[tuple[Task, Message]]:
        """What is heard next: some progress, or a task that has ended; nothing after a while."""
        try:
            heard = self.heard.get(timeout=LOOK)
        except Empty:
            self._look()
            return
        if isinstance(heard, str):
            if heard in self.tasks:
                yield from self._ended(heard)
        elif heard[0] in self.tasks:
            key, attempt, flops, losses = heard
            new = self.told[key].more(attempt, flops)
            if new or losses:
                yield self.tasks[key][0], Trained(flops=new, losses=tuple(losses))

    def _ended(self, key: str) -> Iterator[tuple[Task, Message]]:
        task, future = self.tasks.pop(key)
        message = self._outcome(future)
        if isinstance(message, Finished):
            yield task, at_end(task, message.rows, self.told[key].told)
        yield task, message

    def _outcome(self, future: Any) -> Message:
        if future.status in {"cancelled", "lost"}:
            raise self._gone()
        if future.status == "finished":
            message: Message | None = future.result()
            return message or Failed(reason="its worker was told to stop from outside")
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            return Failed(
                reason="several workers died of it one after the other, most often for want of "
                "memory; give them more"
            )
        return Failed(reason=f"no Dask worker could execute it: {type(error).__name__}: {error}")

    def _look(self) -> None:
        """GridError if the scheduler is gone, or has had no worker for long."""
        if self.client.status not in {"running", "connecting"}:
            raise self._gone()
        now = monotonic()
        if self.client.scheduler_info(n_workers=-1)["workers"]:
            self.alive = now
        if now - self.alive > ALONE:
            raise GridError(
                f"the Dask scheduler has had no worker for {ALONE / 60:.0f} minutes; start some, "
                "and the same command goes on"
            )

    def _gone(self) -> GridError:
        return GridError(
            "the Dask scheduler is gone; what is finished is kept, and the same command goes on"
        )

    def stop(self) -> None:
        """Cancel what is left, and wait until the workers have saved it."""
        self.mark.unlink(missing_ok=True)
        if self.tasks and self.client.status == "running":
            with suppress(OSError, TimeoutError):
                self.client.cancel([future for _, future in self.tasks.values()])
                deadline = monotonic() + PATIENCE
                while monotonic() < deadline and any(self.client.run(_has, self.token).values()):
                    sleep(0.2)


@dataclass(slots=True)
class _Count:
    """FLOPs of a task: those told in all, and those of the attempt that was heard last."""

    told: float = 0.0
    attempt: str = ""
    so_far: float = 0.0

    def more(self, attempt: str, flops: float) -> float:
        """How many of these are new: a second attempt repeats what the first has told."""
        self.so_far = flops + (self.so_far if attempt == self.attempt else 0.0)
        self.attempt = attempt
        new = max(0.0, self.so_far - self.told)
        self.told += new
        return new


def execute(task: Task, key: str, token: str, device: str, results: str) -> Message | None:
    """Train a task on the worker where this is called; None if it was told to stop."""
    import torch
    from distributed import get_worker

    worker, attempt = get_worker(), secrets.token_hex(4)

    def say(message: Message) -> None:
        if isinstance(message, Trained):
            worker.log_event(token, [key, attempt, message.flops, list(message.losses)])

    _busy.add(key)
    try:
        torch.set_num_threads(1)  # of this thread
        # a GPU's graphs are recorded while nothing else runs on it
        with _one if device.startswith("cuda") else nullcontext():
            return perform(
                task,
                device=device,
                folder=Path(results) if Path(results, f".dask-{token}").exists() else None,
                told_to_stop=_unwanted(worker, key),
                say=say,
            )
    finally:
        _busy.discard(key)


def _unwanted(worker: Any, key: str) -> Callable[[], bool]:
    """Whether nobody waits for a task any more: its driver has cancelled it, or is gone."""

    def stop() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return stop


def _has(token: str) -> bool:
    """Whether the worker where this is called still trains something of a driver."""
    return any(token in key for key in tuple(_busy))


def _connected(address: str) -> Any:
    distributed: Any = import_module("distributed")  # its annotations are too few for mypy
    try:
        return distributed.Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise GridError(
            f"no Dask scheduler answers at {address}; start one with: dask scheduler, and give the "
            "address that it prints"
        ) from error


def _threads(client: Any) -> int:
    """The threads of all workers, once there is one."""
    try:
        client.wait_for_workers(1, timeout=WORKERS)
    except TimeoutError as error:
        raise GridError(
            "the Dask scheduler has no workers; start some with: dask worker ADDRESS --nthreads 1"
        ) from error
    return sum(client.nthreads().values())
