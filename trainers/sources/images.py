"""Sets of images with a class each: handwritten digits, and the archives of CIFAR.

A row is an image's pixels as bytes, one colour after the other, line by line, and last its class.
The held-out images are the same for every seed, and none of them is ever trained on.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from scalefit.errors import GridError
from trainers.sources.base import HeldOut, Rows, passes

DIGITS_HELD_OUT = 450
"""Of the 1797 digits, chosen once for all."""
DIGITS_BRIGHTEST = 16
CIFAR_SIDE = 32
CIFAR_LARGEST = 50_000
"""Images in a member of an archive at most: what is larger is not CIFAR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Training and held-out rows (images, channels * side * side + 1), bytes."""

    name: str
    side: int
    channels: int
    classes: int
    train: Rows
    held: Rows

    @property
    def context(self) -> int:
        """One prediction an image."""
        return 1

    @property
    def loss_unit(self) -> str:
        """A class is asked of every image."""
        return "nats/image"

    @property
    def entropy(self) -> None:
        """Nobody knows it."""
        return None

    @property
    def available(self) -> int:
        """Training images."""
        return len(self.train)

    def config(self) -> Mapping[str, object]:
        """What determines the images: their digest, wherever they were read."""
        digest = hashlib.sha256(self.train.tobytes() + b"|" + self.held.tobytes()).hexdigest()
        return {"name": self.name, "images_sha256": digest}

    def rows(self, seed: int, count: int) -> Rows:
        """The first `count` rows of the passes that `seed` shuffles."""
        return self.train[passes(len(self.train), seed, count)]

    def held_out(self, count: int) -> HeldOut:
        """The first `count` held-out images, all if there are fewer."""
        return HeldOut(rows=self.held[:count], surprisal=None)


def load(name: str, _context: int = 1) -> Images:
    """The digits, or the archive at this path; GridError where they cannot be had."""
    return digits() if name == "digits" else cifar(Path(name))


def digits() -> Images:
    """1797 handwritten digits of 8x8 pixels (Alpaydin & Kaynak 1998), as scikit-learn brings them.

    Raises GridError if it is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise GridError(
            "the source digits needs scikit-learn, which is not installed; "
            'pip install "scalefit[images]"'
        ) from error
    found = load_digits()
    pixels = np.rint(found.data * (255 / DIGITS_BRIGHTEST))
    rows = np.column_stack([pixels, found.target]).astype(np.uint8)
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    held, train = rows[:DIGITS_HELD_OUT], rows[DIGITS_HELD_OUT:]
    return Images(name="digits", side=8, channels=1, classes=10, train=train, held=held)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cifar:
    """What an archive of CIFAR holds: files of records, `labels` bytes and the pixels each."""

    name: str
    classes: int
    labels: int
    train: tuple[str, ...]
    held: str


CIFAR10 = _Cifar(
    name="cifar10",
    classes=10,
    labels=1,
    train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    held="test_batch.bin",
)
CIFAR100 = _Cifar(name="cifar100", classes=100, labels=2, train=("train.bin",), held="test.bin")


def cifar(path: Path) -> Images:
    """CIFAR-10 or CIFAR-100 (Krizhevsky 2009) from its archive "binary version".

    The fine classes of CIFAR-100. The archive's test images are held out. Members are read as they
    stream by; nothing is written, and nothing in them is executed. Raises GridError for anything
    else than such an archive.
    """
    kind = CIFAR100 if "cifar-100-" in path.name else CIFAR10
    found = _members(path, kind)
    missing = [name for name in (*kind.train, kind.held) if name not in found]
    if missing:
        raise GridError(
            f"{path} holds no {missing[0]}, so it is not the binary version of {kind.name}; "
            "the Python and Matlab versions are not read: name the archive "
            f"{'cifar-100' if kind is CIFAR100 else 'cifar-10'}-binary.tar.gz"
        )
    train = np.concatenate([found[name] for name in kind.train])
    return Images(
        name=kind.name,
        side=CIFAR_SIDE,
        channels=3,
        classes=kind.classes,
        train=train,
        held=found[kind.held],
    )


def _members(path: Path, kind: _Cifar) -> dict[str, Rows]:
    """The rows of every file of the archive that is asked for, by its name."""
    wanted, found = {*kind.train, kind.held}, dict[str, Rows]()
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                asked = name in wanted and member.isfile()  # a link could lead anywhere
                content = archive.extractfile(member) if asked else None
                if content is not None:
                    _check_size(member.size, f"{path}, {member.name}", kind)
                    found[name] = _rows(content.read(), f"{path}, {member.name}", kind)
    except FileNotFoundError as error:
        raise GridError(f"there is no file {path}; name the archive's own path") from error
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise GridError(
            f"{path} cannot be read as a .tar.gz archive ({error}); fetch it again"
        ) from error
    return found


def _record(kind: _Cifar) -> int:
    return kind.labels + 3 * CIFAR_SIDE**2


def _check_size(size: int, place: str, kind: _Cifar) -> None:
    """Before anything is read: a small archive can claim to hold any amount."""
    record = _record(kind)
    if size % record or not 0 < size <= CIFAR_LARGEST * record:
        raise GridError(
            f"{place} has {size} bytes, and {kind.name} has 1 to {CIFAR_LARGEST} images of "
            f"{record} bytes in a file; fetch the archive again"
        )


def _rows(content: bytes, place: str, kind: _Cifar) -> Rows:
    """Pixels and class of every record; the last of its labels is the fine one."""
    records = np.frombuffer(content, np.uint8).reshape(-1, _record(kind))
    labels, pixels = records[:, kind.labels - 1], records[:, kind.labels :]
    if labels.max() >= kind.classes:
        raise GridError(
            f"{place} has an image of class {labels.max()}, and {kind.name} has classes 0 to "
            f"{kind.classes - 1}; fetch the archive again"
        )
    return np.column_stack([pixels, labels])
