"""One task where it executes: torch is loaded here, and nowhere before."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import scalefit
from trainers.launch.tasks import Failed, Finished, Message, Task, Trained

if TYPE_CHECKING:
    from trainers.crowd import Crowd


class Flag:
    """Whether this process was told to stop, by SIGTERM or by ``set``."""

    def __init__(self) -> None:
        self.told = False

    def __call__(self) -> bool:
        return self.told

    def set(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Stop at the next step."""
        self.told = True

    def listen(self) -> None:
        """From now on SIGTERM means this; only in a process's main thread."""
        signal.signal(signal.SIGTERM, self.set)


THREADS = "OMP_NUM_THREADS"


@contextmanager
def single_threaded() -> Iterator[None]:
    """A process that is started within has one thread: small models gain nothing from more.

    NumPy and PyTorch read the environment when they are loaded, before any code of ours runs.
    """
    before = os.environ.get(THREADS)
    os.environ[THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = before


def perform(
    task: Task,
    *,
    device: str,
    folder: Path | None,
    told_to_stop: Callable[[], bool],
    say: Callable[[Message], None],
    crowd: "Crowd | None" = None,
) -> Message | None:
    """Train a task, go on where its checkpoint in `folder` stands, and return what became of it.

    None if it was told to stop: its checkpoint holds what was done.
    """
    import torch

    from trainers.run import Keeper, Stopped, train

    try:
        rows = train(
            task.runs,
            device=device,
            report=lambda flops, losses: say(Trained(flops=flops, losses=tuple(losses))),
            keeper=Keeper(folder=folder, told_to_stop=told_to_stop),
            crowd=crowd,
        )
    except Stopped:
        return None
    except torch.OutOfMemoryError:
        needs = "a smaller batch, fewer seeds at once or a larger device"
        return Failed(reason=f"{device} ran out of memory; it needs {needs}")
    except OSError as error:
        return Failed(reason=f"its checkpoint cannot be written: {error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other tasks go on
        return Failed(reason=f"{type(error).__name__}: {error}")
    finally:
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return Finished(rows=rows)


def code() -> str:
    """The version, and the commit where the code is a git checkout."""
    root = Path(scalefit.__file__).parents[1]
    version = f"scalefit {scalefit.__version__}"
    if not (root / ".git").exists():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            command, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return version  # no git here, or no commit yet
    return f"{version} ({answer.stdout.strip()})"
