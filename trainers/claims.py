"""Who trains a run, where several processes share a folder of results: a lock a run.

The operating system drops the lock of a process that ends, however it ends. On a network file
system the locks hold between machines where it has them (NFS from version 4 on).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scalefit.runs import is_finished
from trainers.recipe import Run

if TYPE_CHECKING:
    from filelock import FileLock

ENDING = ".lock"


class Claims:
    """The runs that this process has taken."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.held: dict[str, FileLock] = {}

    def take(self, runs: Sequence[Run]) -> tuple[Run, ...]:
        """Those of the runs that are now this process's.

        The others are finished, or another process has them.
        """
        return tuple(run for run in runs if self._take(run.id))

    def release(self, runs: Iterable[Run]) -> None:
        """Give runs back; the file of a lock goes once nobody can need it, when its run is done."""
        for run in runs:
            lock = self.held.pop(run.id, None)
            if lock is not None:
                if is_finished(self.results, run.id):
                    self._file(run.id).unlink(missing_ok=True)
                lock.release()

    def release_all(self) -> None:
        """Give back whatever is held."""
        for lock in self.held.values():
            lock.release()
        self.held.clear()

    def _take(self, run: str) -> bool:
        if run in self.held:
            return True
        from filelock import FileLock, Timeout  # it comes with torch, and is not asked for before

        lock = FileLock(self._file(run))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        # its part may have been written between the look at the folder and the lock
        if is_finished(self.results, run):
            self._file(run).unlink(missing_ok=True)
            lock.release()
            return False
        self.held[run] = lock
        return True

    def _file(self, run: str) -> Path:
        return self.results / f".{run}{ENDING}"
