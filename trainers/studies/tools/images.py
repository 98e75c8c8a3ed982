"""Images that a user brings with --data: MNIST as Keras stores it, and CIFAR-10.

    seen = pictures(ask.data, "mnist")          # or "cifar10", or any of the two
    seen.train                                  # (60000, 1, 28, 28), from 0 to 1

Nothing is downloaded, and nothing in a file is executed: arrays are read, never unpickled.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scalefit.errors import ScalefitError, StudyError
from trainers.sources.images import CIFAR10, Images, cifar

FILES = {"mnist": "mnist.npz", "cifar10": "cifar-10-binary.tar.gz"}
"""What is read, and the names under which it is known."""
KEYS = ("x_train", "y_train", "x_test", "y_test")
CLASSES, SIDE, BRIGHTEST = 10, 28, 255
LARGEST = 1 << 28
"""Bytes in an array at most; the largest of MNIST is a fifth of it."""
ZIP, GZIP = b"PK", b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Images and their classes.

    Attributes:
        train: shape (images, channels, height, width), float32 from 0 to 1.
        train_labels: shape (images,), int64 from 0 to 9.
        test: as `train`.
        test_labels: as `train_labels`.
        name: "mnist" or "cifar10".
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    name: str


def pictures(path: Path | None, wanted: str = "") -> Pictures:
    """What this file holds, recognised by its content.

    Args:
        path: mnist.npz or cifar-10-binary.tar.gz under any name; None where the user gave none.
        wanted: "mnist" or "cifar10", where only one will do.

    Raises:
        StudyError: if there is no such file, or it is none of the two, or not the one wanted.
    """
    asked = FILES[wanted] if wanted else " or ".join(FILES.values())
    if path is None:
        raise StudyError(f"the full form trains on images that you bring; give {asked} with --data")
    start = _start(path)
    if start.startswith(ZIP):
        found = _mnist(path)
    elif start.startswith(GZIP):
        found = _cifar(path)
    else:
        raise StudyError(f"{path} is neither of {' and '.join(FILES.values())}; give {asked}")
    if wanted and found.name != wanted:
        raise StudyError(f"{path} holds {found.name}, and {wanted} is needed; give {asked}")
    return found


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read ({error.strerror}); name the file of images with --data"
        ) from error


def _cifar(path: Path) -> Pictures:
    """The archive, as the source of grids reads it."""
    try:
        read = cifar(path)
    except ScalefitError as error:
        raise StudyError(str(error)) from error
    if read.name != CIFAR10.name:
        raise StudyError(f"{path} holds {read.name}; give {FILES['cifar10']}")
    train, test = _pixels(read, read.train), _pixels(read, read.held)
    return _pictures(train, read.train[:, -1], test, read.held[:, -1], read.name)


def _pixels(read: Images, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return rows[:, :-1].reshape(-1, read.channels, read.side, read.side)


def _mnist(path: Path) -> Pictures:
    """The arrays of Keras' file, each checked before it is used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            largest = max((entry.file_size for entry in stored.zip.infolist()), default=0)
            arrays = {} if largest > LARGEST else {key: stored[key] for key in KEYS}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _unfit(path, f"it cannot be read: {error}") from error
    wrong = f"an array has more than {LARGEST} bytes" if not arrays else _wrong(arrays)
    if wrong:
        raise _unfit(path, wrong)
    train, train_labels, test, test_labels = (arrays[key] for key in KEYS)
    return _pictures(train[:, None], train_labels, test[:, None], test_labels, "mnist")


def _wrong(arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """What is not as in MNIST; "" if all is."""
    for part in ("train", "test"):
        images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE) or not len(images):
            return f"x_{part} holds no bytes of shape (images, {SIDE}, {SIDE})"
        if not np.issubdtype(labels.dtype, np.integer) or labels.shape != images.shape[:1]:
            return f"y_{part} holds no whole number for each image"
        if labels.min() < 0 or labels.max() >= CLASSES:
            return f"y_{part} holds other classes than 0 to {CLASSES - 1}"
    return ""


def _unfit(path: Path, why: str) -> StudyError:
    return StudyError(
        f"{path} is not {FILES['mnist']} as Keras stores it ({why}); fetch that file again"
    )


def _pictures(
    train: npt.NDArray[np.uint8],
    train_labels: npt.NDArray[np.generic],
    test: npt.NDArray[np.uint8],
    test_labels: npt.NDArray[np.generic],
    name: str,
) -> Pictures:
    return Pictures(
        train=_scaled(train),
        train_labels=torch.from_numpy(train_labels.astype(np.int64)),
        test=_scaled(test),
        test_labels=torch.from_numpy(test_labels.astype(np.int64)),
        name=name,
    )


def _scaled(bytes_: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(bytes_.astype(np.float32)).div_(BRIGHTEST)
