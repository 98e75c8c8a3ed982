"""Scalars of TensorBoard event files: a folder is a run, folders below it are more.

The records are read by tensorboard's own loader, which checks their checksums. What stands behind
the first torn record of a file cannot be read, and is said in bytes: the end of a file is torn
where a run was killed.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scalefit.errors import DataError
from scalefit.importers.imported import Imported, Points

MISSING = 'reading TensorBoard event files needs tensorboard: pip install "scalefit[tensorboard]"'
FRAME = 16  # bytes of length and checksums around a record
# Every event file begins with an event that says its version, behind length and checksum.
_FIRST, _WITHIN = b"brain.Event:", 64


def is_events(start: bytes) -> bool:
    """Whether a file that begins so is an event file."""
    return _FIRST in start[:_WITHIN]


def event_files(folder: Path) -> list[Path]:
    """The event files in a folder and below it."""
    return sorted(path for path in folder.rglob("*") if "tfevents" in path.name and path.is_file())


def read_events(files: Sequence[Path], source: str) -> Imported:
    """The scalars of event files; those in one folder are one run.

    Raises:
        DataError: if tensorboard is not installed, or no scalar was logged.
    """
    points, notes = Points(), []
    names = _names(sorted({path.absolute().parent for path in files}), source)
    for path in files:
        size = path.stat().st_size
        read = 0
        for event, length in _events(path):
            read += length
            for tag, value in _scalars(event):
                points.add(names[path.absolute().parent], event.step, tag, value)
        if read < size:
            notes.append(f"{path}: the last {size - read} of {size} bytes are torn and left out")
    return Imported(
        kind="tensorboard", source=source, frame=points.frame(source),
        step_origin="the step of TensorBoard", notes=(*notes, *points.notes()),
    )  # fmt: skip


def _names(folders: Sequence[Path], source: str) -> dict[Path, str]:
    """What each folder's run is called: its path below the source, or its own name."""
    root = Path(source).absolute()
    return {
        folder: str(folder.relative_to(root)) if root in folder.parents else folder.name
        for folder in folders
    }


def _events(path: Path) -> Iterator[tuple[Any, int]]:
    """The whole records of a file, and the bytes each takes."""
    try:
        from google.protobuf.message import DecodeError
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event
    except ModuleNotFoundError as error:
        raise DataError(MISSING) from error
    try:
        for raw in RawEventFileLoader(str(path)).Load():
            yield Event.FromString(raw), len(raw) + FRAME
    except DecodeError as error:
        raise DataError(f"{path} is no event file of TensorBoard: {error}") from error


def _scalars(event: Any) -> Iterator[tuple[str, float]]:
    """The scalars of one event: as a plain float (old writers, torch's) or a tensor (TF2's)."""
    from tensorboard.util.tensor_util import make_ndarray

    for value in event.summary.value:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            yield value.tag, float(value.simple_value)
        elif kind == "tensor" and value.metadata.plugin_data.plugin_name == "scalars":
            try:
                array = make_ndarray(value.tensor)
            except (TypeError, ValueError) as error:
                raise DataError(f"the tensor of {value.tag!r} cannot be read: {error}") from error
            if array.size == 1 and array.dtype.kind in "fiu":
                yield value.tag, float(array.reshape(-1)[0])
