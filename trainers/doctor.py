"""What this machine has: versions, devices, threads, and where results lie."""

import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import scalefit

SCHEMA = 1
NEEDED = (
    "click",
    "jinja2",
    "lmfit",
    "matplotlib",
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "seaborn",
)
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "filelock", "threadpoolctl"),
    "slurm": ("submitit",),
    "dask": ("distributed",),
    "studies, images": ("scikit-learn",),
    "tokenizers": ("tokenizers",),
    "weather": ("vega_datasets",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow-skinny",),
    "wandb": ("wandb",),
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def examine(folder: Path) -> dict[str, Any]:
    """All of it, as ``scalefit doctor --json`` prints it; `folder` is where results are looked for.

    A package that is missing is None. PyTorch is loaded to ask it for devices, if it is there.
    """
    return {
        "schema": SCHEMA,
        "scalefit": scalefit.__version__,
        "place": str(Path(scalefit.__file__).parent),
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "system": platform.platform(),
        "packages": {name: _version(name) for name in NEEDED},
        "extras": {
            extra: {name: _version(name) for name in names} for extra, names in EXTRAS.items()
        },
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "environment": {name: os.environ[name] for name in THREADS if name in os.environ},
        "devices": _devices(),
        "slurm": find_slurm(),
        "folder": str(folder.resolve()),
        "config": str(folder / "scalefit.toml") if (folder / "scalefit.toml").is_file() else None,
        "results": sorted(str(path) for path in folder.glob("*.parquet")),
        "fits": sorted(str(path) for path in folder.glob("*.fit.json")),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[str]:
    """Where PyTorch can train, in words; empty without it."""
    if find_spec("torch") is None:
        return []
    import torch

    found = [f"cpu, {torch.get_num_threads()} threads"]
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index}, {about.name}, {about.total_memory / 1e9:.0f} GB")
    return found


def find_slurm() -> str | None:
    """Where sbatch is; None where this machine submits no jobs."""
    from shutil import which

    return which("sbatch")


def doctor_text(found: Mapping[str, Any]) -> str:
    """For people: what is there, and the command that brings what is not."""
    missing = [
        f'{extra:<16} not installed: pip install "scalefit[{extra.partition(",")[0]}]"'
        for extra, names in found["extras"].items()
        if None in names.values()
    ]
    there = [
        f"{extra:<16} " + ", ".join(f"{name} {value}" for name, value in names.items())
        for extra, names in found["extras"].items()
        if None not in names.values()
    ]
    lines = [
        f"scalefit         {found['scalefit']} in {found['place']}",
        f"python           {found['python']}, {found['interpreter']}",
        f"system           {found['system']}, {found['cores']} cores",
        "packages         "
        + ", ".join(f"{k} {v or 'MISSING'}" for k, v in found["packages"].items()),
        *there,
        *missing,
        *(f"device           {one}" for one in found["devices"]),
        f"sbatch           {found['slurm'] or 'not found: no SLURM here'}",
        *(f"{name:<16} {value}" for name, value in found["environment"].items()),
        f"folder           {found['folder']}",
        f"scalefit.toml    {found['config'] or 'none here'}",
        f"results          {', '.join(found['results']) or 'none here'}",
        f"fits             {', '.join(found['fits']) or 'none here'}",
    ]
    return "\n".join(lines)
