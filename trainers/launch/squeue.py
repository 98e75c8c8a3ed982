"""What SLURM says of jobs, and why one that is gone has ended.

Only ``squeue`` and ``scancel`` are asked: they work where SLURM keeps no accounts, and ``sacct``
does not. SLURM forgets a job some minutes after its end (MinJobAge).
"""

import getpass
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

SECONDS = 60
"""That a command of SLURM may take."""
FORMAT = "%i|%K|%T|%r|%j"

ENDED: Mapping[str, str] = {
    "BOOT_FAIL": "its node did not start",
    "CANCELLED": "it was cancelled",
    "COMPLETED": "it ended without a result",
    "DEADLINE": "its deadline passed",
    "FAILED": "its process died, perhaps for want of memory (--slurm-memory asks for more)",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it was killed for want of memory; ask for more with --slurm-memory",
    "PREEMPTED": "another job took its place",
    "REVOKED": "another cluster took it",
    "TIMEOUT": "its time was up before its checkpoint was written; ask for more --slurm-minutes",
}
"""States that no job leaves again, in words."""
NEVER = {
    "AccountNotAllowed",
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "JobHeldAdmin",
    "JobHoldMaxRequeue",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
    "QOSNotAllowed",
    "launch_failed_requeued_held",
}
"""Reasons for which a waiting job would wait for ever."""


class NoAnswerError(Exception):
    """SLURM did not answer, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A job: its id, 123 or 123_4; its place in its array; what it does, why, and its name."""

    job: str
    index: int
    state: str
    reason: str
    name: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line of squeue in our FORMAT."""
        job, index, state, reason, name = line.strip().split("|", 4)
        place = int(index) if index.isdecimal() else 0
        return cls(job=job, index=place, state=state, reason=reason, name=name)

    @property
    def lives(self) -> bool:
        """Whether it may still do something."""
        return self.state not in ENDED

    @property
    def hopeless(self) -> bool:
        """Whether it waits for what will not come."""
        return self.state == "PENDING" and self.reason.replace(" ", "_") in NEVER


def jobs_of(number: str) -> dict[str, State]:
    """The elements of an array (or the one job) by id, those that have ended lately among them."""
    return {state.job: state for state in _squeue(f"--jobs={number}", "--states=all")}


def living(beginning: str) -> list[State]:
    """This user's jobs whose names begin so, and which may still do something."""
    mine = _squeue(f"--user={getpass.getuser()}")
    return [state for state in mine if state.lives and state.name.startswith(beginning)]


def cancel(*jobs: str) -> None:
    """Cancel jobs: ids, or --name=NAME. They get SIGTERM, and time to write a checkpoint."""
    _told(["scancel", f"--user={getpass.getuser()}", *jobs])


def _squeue(*which: str) -> list[State]:
    told = _told(["squeue", "--noheader", "--array", f"--format={FORMAT}", *which])
    return [State.parse(line) for line in told.splitlines() if line.strip()]


def _told(command: Sequence[str]) -> str:
    """What a command says; nothing if it knows no such job."""
    try:
        done = subprocess.run(  # noqa: S603 - built here, no shell
            command, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoAnswerError(str(error)) from error
    if done.returncode and "Invalid job id" not in done.stderr:
        raise NoAnswerError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout
