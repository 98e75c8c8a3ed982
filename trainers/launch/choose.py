"""Which launcher is meant, and whether what it needs is there."""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from scalefit.errors import GridError
from trainers.launch.dask import Dask
from trainers.launch.local import Local, worker_count
from trainers.launch.slurm import Slurm
from trainers.launch.tasks import Launcher
from trainers.launch.torchrun import Torchrun

LAUNCHERS = ("local", "slurm", "dask")
NEEDS = {"slurm": "submitit", "dask": "distributed"}
SLURM = ("partition", "minutes", "cpus", "gpus", "memory")
"""Fields of Slurm that have an option of their own, --slurm-NAME."""


def processes() -> int:
    """How many processes torchrun started, 1 where it did not."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def leads() -> bool:
    """Whether this process speaks and writes: under torchrun, only that of rank 0 does."""
    return processes() == 1 or os.environ["RANK"] == "0"


def chosen(
    launcher: str = "local",
    *,
    device: str = "cpu",
    workers: int | None = None,
    scheduler: str | None = None,
    slurm_option: Sequence[str] = (),
    **slurm: str | int | None,
) -> Launcher:
    """The launcher by its name and the options of the command line; what was not given is None.

    `slurm` are slurm_partition, slurm_minutes, slurm_cpus, slurm_gpus and slurm_memory. `workers`
    are local processes, or jobs of SLURM at once. Raises GridError for an option that means nothing
    to the launcher, and for a package that is missing.
    """
    given = {name: value for name, value in slurm.items() if value is not None}
    refused = {
        "scheduler": scheduler is not None and launcher != "dask",
        "slurm_option": bool(slurm_option) and launcher != "slurm",
        "workers": workers is not None and (launcher == "dask" or processes() > 1),
        **dict.fromkeys(given, launcher != "slurm"),
    }
    _refuse([name for name, wrong in refused.items() if wrong], launcher)
    if processes() > 1:
        return _together(launcher, device)
    _check(launcher)
    if launcher == "slurm":
        return _slurm(device, workers, given, _pairs(slurm_option))
    if launcher == "dask":
        if scheduler is None:
            raise GridError(
                "--launcher dask needs --scheduler ADDRESS, which dask scheduler prints"
            )
        return Dask(address=scheduler, device=device)
    return Local(workers=worker_count(workers, device), device=device)


def _refuse(names: Sequence[str], launcher: str) -> None:
    if names:
        where = "under torchrun" if processes() > 1 else f"with --launcher {launcher}"
        option = "--" + names[0].replace("_", "-")
        raise GridError(f"{option} means nothing {where}; leave one of them out")


def _together(launcher: str, device: str) -> Torchrun:
    if launcher != "local":
        raise GridError(f"torchrun has started this, so leave out --launcher {launcher}")
    if device not in {"cpu", "cuda"}:
        raise GridError(f"under torchrun --device is cpu or cuda, not {device}: each has its own")
    return Torchrun(device=device)


def _check(launcher: str) -> None:
    """GridError if the launcher is unknown, or its package is not installed."""
    if launcher not in LAUNCHERS:
        raise GridError(f"there is no launcher {launcher}; there are {', '.join(LAUNCHERS)}")
    package = NEEDS.get(launcher)
    if package and find_spec(package) is None:
        raise GridError(
            f"--launcher {launcher} needs {package}; "
            f'install it with: pip install "scalefit[{launcher}]"'
        )


def _slurm(
    device: str, workers: int | None, given: Mapping[str, str | int], extra: Mapping[str, str]
) -> Slurm:
    fields: dict[str, Any] = {name.removeprefix("slurm_"): value for name, value in given.items()}
    if device.startswith("cuda"):
        fields = {"gpus": 1} | fields
    if workers is not None:
        fields["workers"] = workers
    return Slurm(device=device, extra=extra, **fields)


def _pairs(options: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, as sbatch knows them, by their names."""
    pairs = [option.removeprefix("--").partition("=") for option in options]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise GridError(f'--slurm-option "{name}" must be NAME=VALUE, such as account=physics')
    return {name: value for name, _, value in pairs}
