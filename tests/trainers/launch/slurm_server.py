"""A real SLURM of one node, from the script that unpacks and starts one without installing it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.conftest import ROOT

DAEMONS = ("ctld.mypid", "slurmd.mypid")


class NotStartedError(Exception):
    """Why there is no SLURM here."""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which sbatch, squeue and scancel speak to a SLURM in this folder."""
    script = Path(os.environ.get("SCALEFIT_SLURM", ROOT.parent / "shared" / "slurm_one_node.sh"))
    if not script.exists():
        raise NotStartedError(f"the script that starts SLURM is not at hand ({script} is missing)")
    if shutil.which("apt-get") is None:
        raise NotStartedError("the script that starts SLURM needs apt-get")
    try:
        yield _started(script, folder)
    finally:
        _stop(folder)


def _started(script: Path, folder: Path) -> dict[str, str]:
    with (folder / "started.txt").open("w") as told:
        try:
            # not a pipe: the daemons would hold it open
            done = subprocess.run(
                ["bash", script, folder], stdout=told, stderr=told, check=False, timeout=120
            )
        except subprocess.TimeoutExpired as error:
            raise NotStartedError("SLURM did not start within two minutes") from error
    if done.returncode:
        last = (folder / "started.txt").read_text().strip().splitlines()[-1:]
        raise NotStartedError(f"SLURM did not start: {''.join(last)}")
    root = folder / "root" / "usr"
    libraries = root / "lib" / "x86_64-linux-gnu"
    return {
        "SLURM_CONF": str(folder / "etc" / "slurm.conf"),
        "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'slurm-wlm'}",
        "PATH": f"{root / 'bin'}:{root / 'sbin'}:{os.environ['PATH']}",
    }


def _stop(folder: Path) -> None:
    """End the daemons of this folder and the jobs they have, and no other process."""
    numbers = [int((folder / name).read_text()) for name in DAEMONS if (folder / name).exists()]
    _end([*numbers, *_keepers(folder)])
    _end(_keepers(folder))


def _keepers(folder: Path) -> list[int]:
    """The processes that this SLURM has started to keep its jobs, and the jobs below them."""
    parents: dict[int, int] = {}
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            number = int(entry.name)
            parents[number] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if str((entry / "exe").readlink()).startswith(str(folder)):
                found.append(number)
    below = [number for number, parent in parents.items() if parent in found]
    below += [number for number, parent in parents.items() if parent in below]
    return [*found, *below]


def _end(numbers: list[int]) -> None:
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + 5
    while any(map(_alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for number in filter(_alive, numbers):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _alive(number: int) -> bool:
    stat = Path(f"/proc/{number}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
