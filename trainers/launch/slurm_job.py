"""One task as a SLURM job: it claims its runs, writes their parts itself, and comes back.

Nothing here needs whoever submitted it. What the job returns tells a driver that still waits; what
it writes is there for all.
"""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalefit.errors import DataError
from trainers import checkpoint
from trainers.claims import Claims
from trainers.launch.parts import write_reason, write_rows
from trainers.launch.tasks import Elsewhere, Failed, Finished, Message, Task, Trained, claimed
from trainers.launch.work import Flag, perform

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

ENDED = 128 + signal.SIGTERM
"""Exit code of a job that was told to end, and saved what it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a job is to do; submitit carries it there and calls it.

    Attributes:
        task: runs that train as one model.
        results: folder that all machines see.
        device: where torch computes.
        code: the runs table's column of that name.
    """

    task: Task
    results: Path
    device: str
    code: str

    def __call__(self) -> list[tuple[Task, Message]]:
        """Do it, and say what became of the runs; leaves the process if it was told to end."""
        orders, claims = _Orders(), Claims(self.results)
        try:
            mine, others = claimed(self.task, claims)
            found: list[tuple[Task, Message]] = [(others, Elsewhere())] if others else []
            if mine:
                found.append((mine, self._written(mine, self._trained(mine, orders))))
                claims.release(mine.runs)
            return found
        finally:
            claims.release_all()

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit runs when the job starts again: the same, which goes on where it stood."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _trained(self, task: Task, orders: "_Orders") -> Message:
        message = perform(
            task, device=self.device, folder=self.results, told_to_stop=orders.stop, say=_log
        )
        return orders.obey() if message is None else message

    def _written(self, task: Task, message: Message) -> Message:
        """Write what is to be kept of a task; the message, or why it could not be written."""
        try:
            match message:
                case Finished(rows=all_rows):
                    for run, rows in zip(task.runs, all_rows, strict=True):
                        write_rows(self.results, run, rows, self.code)
                    checkpoint.remove(self.results, [run.id for run in task.runs])
                case Failed(reason=reason):
                    for run in task.runs:
                        write_reason(self.results, run, reason, self.code)
        except (DataError, OSError) as error:
            return Failed(reason=str(error))
        return message


class _Orders:
    """What SLURM tells the job from its first moment on: its time is nearly up, or it shall end.

    submitit's own handlers would leave in the middle of a step, or pass over the signal.
    """

    def __init__(self) -> None:
        from submitit.core.job_environment import JobEnvironment

        self.late, self.ended = Flag(), Flag()
        self.number = signal.Signals["SIG" + JobEnvironment.USR_SIG]
        self.requeue = signal.signal(self.number, self.late.set)
        self.ended.listen()

    def stop(self) -> bool:
        return self.late() or self.ended()

    def obey(self) -> Message:
        """Leave the process, now that the checkpoint is written; or say why that is the end."""
        if self.ended() or not callable(self.requeue):
            # without a result: where SLURM itself starts a preempted job again, the driver waits
            sys.exit(ENDED)
        why = "submitit came back"
        try:
            self.requeue(self.number, None)  # writes the job down anew, requeues it, and exits
        except Exception as error:  # noqa: BLE001 - what submitit and SLURM may say is theirs
            why = str(error).strip().splitlines()[-1]
        return Failed(
            reason=f"its time was up and it could not be requeued ({why}); "
            "the same command goes on from its checkpoint"
        )


def _log(message: Message) -> None:
    """Losses as they are measured, for who reads the job's log."""
    if isinstance(message, Trained) and message.losses:
        losses = ("diverged" if loss is None else f"{loss:.4f}" for loss in message.losses)
        print("loss", *losses, flush=True)  # noqa: T201 - stdout is the log here
