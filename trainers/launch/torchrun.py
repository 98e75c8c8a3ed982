"""Under torchrun: all its processes train one task together, each a share of every batch.

For models that need more than one device. ``torchrun --nproc-per-node 4 -m scalefit train-grid
GRID`` starts the same command four times. The process of rank 0 claims the runs and tells the
others which they are; it alone yields messages, writes and prints. All must see the same folder of
results, where the checkpoints are.

A task trains in a thread, so that signals and the fate of the other processes are heard while it
waits for them.
"""

import gc
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from trainers import checkpoint
from trainers.launch.tasks import Claimed, Elsewhere, Failed, Message, Task, Trained, claimed
from trainers.launch.work import Flag, perform

if TYPE_CHECKING:
    from trainers.crowd import Crowd

AGREE = 20.0
"""Seconds within which all processes fail, if they fail of the same."""
PATIENCE = 60.0
"""Seconds that training gets to write its checkpoint when it is told to stop."""
LOOK = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Torchrun:
    """Where torch computes: "cpu" (gloo), or "cuda" (NCCL), a device for each process."""

    device: str = "cpu"

    @property
    def workers(self) -> int:
        """One task at once: all processes train the same."""
        return 1

    def __call__(
        self, todo: Sequence[Task], *, claims: Claimed, results: Path
    ) -> Generator[tuple[Task, Message]]:
        """Train the tasks one after the other; yields something in the process of rank 0 alone."""
        from trainers.crowd import joined

        _take_device(self.device)
        with _listening() as told, joined(self.device) as crowd:
            team = _Team(crowd, self.device, results, told)
            try:
                if crowd.rank:
                    team.follow()
                else:
                    yield from team.lead(todo, claims)
            finally:
                # a model that is freed later than the group of gloo aborts one process in four
                gc.collect()
        if team.stopped:
            raise KeyboardInterrupt  # all were told to, though the signal may have reached one


class _Team:
    """This process among the others."""

    def __init__(self, crowd: "Crowd", device: str, results: Path, told: Flag) -> None:
        self.crowd, self.device, self.results = crowd, device, results
        self.told, self.stopped, self.torn = told, False, False
        self.news = _News(crowd)

    def lead(self, todo: Sequence[Task], claims: Claimed) -> Iterator[tuple[Task, Message]]:
        """What the process of rank 0 does: it says what is trained next, and in the end, None."""
        try:
            for task in todo:
                self.stopped |= self.told()
                if self.stopped or self.torn:
                    return
                mine, others = claimed(task, claims)
                if others:
                    yield others, Elsewhere()
                if mine:
                    self._hand(mine)
                    for message in self._trained(mine):
                        yield mine, message
        finally:
            if not self.torn:
                self._hand(None)

    def follow(self) -> None:
        """What the others do."""
        while (task := self._hand(None)) is not None:
            for message in self._trained(task):
                if isinstance(message, Failed) and self.torn:
                    # torchrun shows it, and ends the processes that still wait for this one
                    raise RuntimeError(message.reason)

    def _hand(self, task: Task | None) -> Task | None:
        """The task of rank 0, in every process."""
        import torch.distributed as dist

        handed = [task]
        dist.broadcast_object_list(handed)
        return handed[0]

    def _trained(self, task: Task) -> Iterator[Message]:
        """Train a task with the others; yield what is measured and what became of it."""
        wrong = self._unfit(task)
        if wrong:
            yield Failed(reason=wrong)
            return
        stop, heard = Flag(), SimpleQueue[Message | None]()
        thread = threading.Thread(target=self._work, args=(task, stop, heard), daemon=True)
        self.news.begin()
        thread.start()
        try:
            yield from self._heard(heard)
        finally:
            if not self.torn:
                stop.set()
                thread.join(PATIENCE)

    def _work(self, task: Task, stop: Flag, heard: "SimpleQueue[Message | None]") -> None:
        _take_device(self.device)  # it is a thread's own
        heard.put(
            perform(
                task,
                device=self.device,
                folder=self.results,
                told_to_stop=lambda: stop() or self.told(),
                say=heard.put,
                crowd=self.crowd,
            )
        )

    def _heard(self, heard: "SimpleQueue[Message | None]") -> Iterator[Message]:
        while True:
            try:
                message = heard.get(timeout=LOOK)
            except Empty:
                reason = self.news.bad()
                if reason is None:
                    continue
                message, self.torn = Failed(reason=reason), True
            if isinstance(message, Failed) and not self.torn:
                message, self.torn = self.news.compare(message)
            if message is None:
                self.stopped = True
                return
            yield message
            if not isinstance(message, Trained):
                return

    def _unfit(self, task: Task) -> str | None:
        """Why these processes cannot train this task, in the same words in each of them."""
        import torch.distributed as dist

        size, batch = self.crowd.size, task.runs[0].batch
        if batch % size:
            return f"a batch of {batch} cannot be shared evenly by {size} processes"
        seen: list[bool | None] = [None] * size
        there = checkpoint.place(self.results, [run.id for run in task.runs]).exists()
        dist.all_gather_object(seen, there)
        if len(set(seen)) > 1:
            return f"not all processes see its checkpoint; put {self.results} where all do"
        return None


class _News:
    """What fails in some process, told to all by the store through which torchrun joins them."""

    def __init__(self, crowd: "Crowd") -> None:
        dist: Any = import_module("torch.distributed")  # mypy: its stores are not exported
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False
        )
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.store = dist.PrefixStore(f"scalefit/{attempt}", store)
        self.crowd, self.turn, self.since = crowd, 0, 0.0

    def begin(self) -> None:
        """A new task."""
        self.turn, self.since = self.turn + 1, 0.0

    def compare(self, failed: Failed) -> tuple[Failed, bool]:
        """The first failure of this task anywhere, and whether others do not share it.

        If all fail of the same, a batch too large for their memory, they can go on together.
        """
        self.store.compare_set(self._key("first"), "", failed.reason)
        self.store.set(self._key(self.crowd.rank), failed.reason)
        everyone = [self._key(rank) for rank in range(self.crowd.size)]
        try:
            self.store.wait(everyone, timedelta(seconds=AGREE))
        except RuntimeError:
            torn = True
        else:
            torn = False
        return Failed(reason=self._first()), torn

    def bad(self) -> str | None:
        """Why another process has failed, once it is clear that this one will not."""
        if not self.store.check([self._key("first")]):
            return None
        self.since = self.since or time.monotonic()
        if time.monotonic() - self.since < AGREE:
            return None
        return self._first()

    def _first(self) -> str:
        reason: bytes = self.store.get(self._key("first"))
        return reason.decode()

    def _key(self, name: object) -> str:
        return f"{self.turn}/{name}"


def _take_device(device: str) -> None:
    """The GPU of this process's number on its machine becomes the one that "cuda" means."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def _listening() -> Iterator[Flag]:
    """Within, SIGTERM and Ctrl-C set a flag: the processes stop together, after a step."""
    told = Flag()
    if threading.current_thread() is not threading.main_thread():
        yield told  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, told.set) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
