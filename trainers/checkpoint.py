"""Where unfinished training stands, on disk: arrays and JSON, nothing that could be executed.

A checkpoint belongs to the runs that train together, and goes when they are done. It is written
beside the name it gets, synced and renamed, so that whatever is there is whole.
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENDING = ".checkpoint"
FORMAT = 1

DAMAGED = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile)
"""What reading a file raises that is no checkpoint, or no whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a checkpoint holds: the arrays of the state, and whatever else is plain data."""

    arrays: list[NDArray[Any]]
    said: Mapping[str, Any]


def place(folder: Path, runs: Sequence[str]) -> Path:
    """The file of the runs that train together; a dot hides it from readers of the table."""
    return folder / f".{runs[0]}+{len(runs) - 1}{ENDING}"


def save(
    folder: Path, runs: Sequence[str], arrays: Sequence[NDArray[Any]], said: Mapping[str, Any]
) -> None:
    """Write a checkpoint over an older one of the same runs; OSError if the disk refuses."""
    path = place(folder, runs)
    temporary = path.with_suffix(".tmp")
    told = json.dumps({"format": FORMAT, "runs": list(runs), "said": said})
    named = {f"a{index}": array for index, array in enumerate(arrays)}
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, said=np.array(told), **named)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(folder: Path, runs: Sequence[str]) -> Saved | None:
    """The checkpoint of exactly these runs, None if there is none that can be read."""
    path = place(folder, runs)
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            told = json.loads(str(file["said"]))
            if told["format"] != FORMAT or told["runs"] != list(runs):
                return None
            arrays = [file[f"a{index}"] for index in range(len(file.files) - 1)]
    except DAMAGED:
        return None  # the runs begin anew
    return Saved(arrays=arrays, said=told["said"])


def kept(folder: Path) -> list[tuple[str, ...]]:
    """The ids of the runs of every checkpoint that is there."""
    found = []
    for path in folder.glob(f".*{ENDING}"):
        unreadable = suppress(*DAMAGED)
        with unreadable, path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found.append(tuple(json.loads(str(file["said"]))["runs"]))
    return sorted(found)


def remove(folder: Path, runs: Sequence[str]) -> None:
    """Remove the checkpoint of these runs, if there is one."""
    place(folder, runs).unlink(missing_ok=True)
