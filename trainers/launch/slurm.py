"""SLURM: one array of jobs over all tasks, submitted with submitit.

A job claims its runs, goes on from its checkpoint and writes its parts itself
(``trainers.launch.slurm_job``), in the folder of results that all machines must see. The driver
only waits. If it dies, the jobs go on; the next driver leaves to them what they have. If it is
stopped (Ctrl-C, SIGTERM), it cancels its jobs, which save their checkpoints.

submitit hands over pickles. They are read only from the folder that this driver has just made,
and which is its user's alone.
"""

import hashlib
import io
import json
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scalefit.errors import GridError
from scalefit.runs import is_finished
from trainers.claims import Claims
from trainers.launch.parts import at_end, rows_of
from trainers.launch.slurm_job import Job
from trainers.launch.squeue import ENDED, NoAnswerError, State, cancel, jobs_of, living
from trainers.launch.tasks import Claimed, Elsewhere, Failed, Finished, Message, Task
from trainers.launch.work import THREADS, code

if TYPE_CHECKING:
    from submitit.core.core import Job as Submitted

FOLDER, RUNS = ".slurm", "runs.json"
"""Within the results: a folder for each driver with its jobs' logs, and in it their runs' ids."""
ARRAY = 1000
"""Jobs in one array at most: SLURM's own limit (MaxArraySize) is 1001 unless a site changes it."""
LOOK, ASK = 1.0, (2.0, 30.0)
"""Seconds between looks into the folder, and (least, most) between questions to SLURM."""
GRACE = 10.0
"""Seconds that a file of a job that has ended may take to be seen here."""
SILENCE = 1800.0
"""Seconds without an answer of SLURM after which the driver gives up."""
PATIENCE = 90.0
"""Seconds that cancelled jobs get to write their checkpoints."""
WARNING = 120
"""Seconds before the end of a job's time at which it saves its checkpoint and is requeued."""
ROUNDS = 1000
"""Times that a job may be requeued. Each round adds to its checkpoint."""

Heard = list[tuple[Task, Message]]
"""What a job returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slurm:
    """What is asked of SLURM for every job, and where torch computes.

    Attributes:
        partition: the site's default if None.
        minutes: of one job; what needs more is requeued and goes on.
        cpus: of one job, and its threads.
        gpus: of one job.
        memory: of one job, as SLURM writes it: 8G; the site's default if None.
        device: "cpu" or "cuda".
        extra: further options of sbatch: {"account": "physics"}.
        workers: jobs that run at once, at most.
    """

    partition: str | None = None
    minutes: int = 60
    cpus: int = 1
    gpus: int = 0
    memory: str | None = None
    device: str = "cpu"
    extra: Mapping[str, str] = field(default_factory=dict)
    workers: int = 64

    def __call__(
        self,
        todo: Sequence[Task],
        *,
        claims: Claimed,  # noqa: ARG002 - a lock of the driver would keep out its own jobs
        results: Path,
    ) -> Generator[tuple[Task, Message]]:
        """Submit the tasks, and yield what becomes of them."""
        if shutil.which("sbatch") is None:
            raise GridError(
                "there is no sbatch on this machine; start the command on a login node of SLURM"
            )
        results = results.resolve()
        mine, others = _free(todo, results)
        for task in others:
            yield task, Elsewhere()
        for first in range(0, len(mine), ARRAY):
            array = _Array(self, results)
            try:
                array.submit(mine[first : first + ARRAY])
                yield from array.messages()
            finally:
                array.stop()

    def parameters(self, name: str) -> dict[str, object]:
        """As submitit's SlurmExecutor takes them."""
        asked = {
            "job_name": name,
            "partition": self.partition,
            "time": self.minutes,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem": self.memory,
            "array_parallelism": self.workers,
            # NumPy and PyTorch read it when they are loaded
            "setup": [f"export {THREADS}={self.cpus}"],
            "signal_delay_s": min(WARNING, self.minutes * 15),
            # SLURM from 22.05 on does not hand the number of sbatch to srun
            "srun_args": [f"--cpus-per-task={self.cpus}"],
            "additional_parameters": dict(self.extra),
        }
        return {key: value for key, value in asked.items() if value is not None}


def _beginning(results: Path) -> str:
    """How the names of all jobs of a folder of results begin."""
    return f"scalefit-{hashlib.sha256(str(results).encode()).hexdigest()[:10]}-"


def _free(todo: Sequence[Task], results: Path) -> tuple[list[Task], list[Task]]:
    """The tasks that may be submitted, and those that others have: their jobs, or a process."""
    taken = _in_queue(results)
    probe = Claims(results)
    mine, others = [], []
    for task in todo:
        free = probe.take([run for run in task.runs if run.id not in taken])
        probe.release(free)
        rest = tuple(run for run in task.runs if run not in free)
        mine += [Task(runs=free)] if free else []
        others += [Task(runs=rest)] if rest else []
    return mine, others


def _in_queue(results: Path) -> set[str]:
    """The ids of the runs of jobs that other drivers have submitted, and which live."""
    beginning, found = _beginning(results), set[str]()
    try:
        jobs = living(beginning)
    except NoAnswerError as error:
        raise GridError(f"SLURM does not answer ({error}); try again when it does") from error
    for job in jobs:
        said = results / FOLDER / job.name.removeprefix(beginning) / RUNS
        with suppress(OSError, ValueError, IndexError):
            found.update(json.loads(said.read_text("utf-8"))[job.index])
    return found


class _Array:
    """The jobs of one array: submitted, watched, and cancelled if they are not waited for."""

    def __init__(self, how: Slurm, results: Path) -> None:
        self.how, self.results = how, results
        parent = results / FOLDER
        try:
            parent.mkdir(exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="", dir=parent))
        except OSError as error:
            raise GridError(
                f"{parent} cannot be written ({error.strerror}); name another folder of results"
            ) from error
        self.name = _beginning(results) + self.folder.name
        self.waiting: dict[str, tuple[Task, Submitted[Heard]]] = {}
        self.gone: dict[str, tuple[float, str]] = {}
        self.submitting = self.failed = False
        self.asked = self.answered = time.monotonic()
        self.pause = ASK[0]

    def submit(self, todo: Sequence[Task]) -> None:
        """One array over all; GridError with what SLURM says if it refuses."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        ids = [[run.id for run in task.runs] for task in todo]
        (self.folder / RUNS).write_text(json.dumps(ids), "utf-8")
        self.submitting = True  # from here on a stop may find jobs, whose ids are not known yet
        try:
            submitted = self._submitted(todo)
        except (FailedJobError, FailedSubmissionError) as error:
            self.submitting = False
            said = str(error).strip().splitlines() or ["without a reason"]
            raise GridError(
                f"SLURM refuses the jobs ({said[-1]}); mend the --slurm options"
            ) from error
        self.waiting = {job.job_id: (task, job) for task, job in zip(todo, submitted, strict=True)}
        self.submitting = False

    def _submitted(self, todo: Sequence[Task]) -> "list[Submitted[Heard]]":
        from submitit import SlurmExecutor

        how, here = self.how, code()
        jobs = [Job(task=task, results=self.results, device=how.device, code=here) for task in todo]
        executor = SlurmExecutor(self.folder, max_num_timeout=ROUNDS)
        executor.update_parameters(**how.parameters(self.name))
        with redirect_stderr(io.StringIO()):  # submitit prints what it also raises
            return executor.submit_array(jobs)

    def messages(self) -> Iterator[tuple[Task, Message]]:
        """Wait for all, and yield what they say, or why they say nothing."""
        while self.waiting:
            there = {path.name for path in self.folder.iterdir()}
            for key, (_, job) in list(self.waiting.items()):
                if job.paths.result_pickle.name in there:
                    yield from self._heard(key)
            for key in self._dead():
                yield from self._ended(key)
            if self.waiting:
                time.sleep(LOOK)

    def _heard(self, key: str) -> Iterator[tuple[Task, Message]]:
        """What a job has returned, or the exception that ended it."""
        task, job = self.waiting.pop(key)
        error = job.exception()
        if error is None:
            for part, message in job.result():
                yield from self._passed(part, message)
        else:
            yield from self._passed(task, Failed(reason=_raised(str(error))))

    def _ended(self, key: str) -> Iterator[tuple[Task, Message]]:
        """What a job that has ended without a word has left behind, and why it ended."""
        task, job = self.waiting.pop(key)
        done = tuple(run for run in task.runs if is_finished(self.results, run.id))
        if done:
            rows = [rows_of(self.results, run) for run in done]
            yield from self._passed(Task(runs=done), Finished(rows=rows))
        rest = tuple(run for run in task.runs if run not in done)
        if rest:
            log = f"; see {job.paths.stderr}" if job.paths.stderr.exists() else ""
            reason = f"its SLURM job {key} is gone: {self.gone[key][1]}{log}"
            yield from self._passed(Task(runs=rest), Failed(reason=reason))

    def _passed(self, task: Task, message: Message) -> Iterator[tuple[Task, Message]]:
        self.failed |= isinstance(message, Failed)
        if isinstance(message, Finished):
            yield task, at_end(task, message.rows)
        yield task, message

    def _dead(self) -> list[str]:
        """The jobs that are gone by two answers of SLURM, GRACE apart, and have said nothing.

        One answer is too little: a job that is being requeued may be missing in it.
        """
        now = time.monotonic()
        if now - self.asked < self.pause or not self.waiting:
            return []
        self.asked = now
        try:
            states = jobs_of(next(iter(self.waiting)).partition("_")[0])
        except NoAnswerError as error:
            self._bear(error, now - self.answered)
            return []
        self.answered = now
        for key in self.waiting:
            self._note(key, states.get(key), now)
        suspects = [key for key in self.waiting if key in self.gone]
        self.pause = ASK[0] if suspects else min(ASK[1], 1.3 * self.pause)
        return [key for key in suspects if now - self.gone[key][0] > GRACE]

    def _bear(self, error: NoAnswerError, seconds: float) -> None:
        if seconds > SILENCE:
            raise GridError(
                f"SLURM has not answered for {seconds / 60:.0f} minutes ({error}); jobs that run "
                "go on, and the same command finds what they write"
            ) from error

    def _note(self, key: str, state: State | None, now: float) -> None:
        if state is None:
            self.gone.setdefault(key, (now, "SLURM does not know it any more"))
        elif not state.lives:
            self.gone.setdefault(key, (now, ENDED[state.state]))
        elif not state.hopeless:
            self.gone.pop(key, None)
        elif key not in self.gone:
            self.gone[key] = now, f"SLURM would never start it ({state.reason})"
            with suppress(NoAnswerError):
                cancel(key)

    def stop(self) -> None:
        """Cancel what is still waited for, and wait until it has ended; logs of failures stay."""
        if self.waiting or self.submitting:
            with suppress(NoAnswerError):
                cancel(f"--name={self.name}")
                deadline = time.monotonic() + PATIENCE
                while living(self.name) and time.monotonic() < deadline:
                    time.sleep(LOOK)
        elif not self.failed:
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # other drivers' folders are in it
                self.folder.parent.rmdir()


def _raised(told: str) -> str:
    """The last line of the trace in what submitit tells of an exception."""
    lines = [line.strip() for line in told.splitlines()]
    end = max(lines.index(line) for line in lines if set(line) == {"-"}) if "-" * 22 in lines else 0
    return next((line for line in reversed(lines[:end]) if line), told)
