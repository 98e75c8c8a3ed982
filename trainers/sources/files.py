"""Files of tokens: plain text byte by byte, nanoGPT's ``.bin``, numpy's ``.npy``.

Held out is the file that has "val" where this one's name has "train" (the habit of nanoGPT:
train.bin, val.bin) if it lies beside it, else the last twentieth of the file, which is then not
trained on. A text beside which lies NAME.tokenizer.json is read through that tokenizer. Where
meta.json beside the file says {"vocab_size": n}, there are n symbols, else one more than the
largest that occurs. Nothing is unpickled: nanoGPT's meta.pkl could run any code.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from scalefit.errors import GridError
from trainers.sources.base import HeldOut, Rows, passes

BYTES = 256
HELD_OUT_SHARE = 20
"""One token in this many is held out, at the end, where no second file is."""
CHUNK = 2**20
"""Bytes of a file, or symbols of a stream, that are looked at together."""
MOST = 2**24
"""Symbols; a larger one is a number of something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Streams of symbols, cut into windows of `context` inputs and one further target.

    `train` and `held` (tokens,) may stay in their files until rows are asked for; `identity` says
    what they hold, wherever they lie.
    """

    context: int
    classes: int
    train: Rows
    held: Rows
    identity: Mapping[str, object]

    @property
    def loss_unit(self) -> str:
        """Every symbol is a token."""
        return "nats/token"

    @property
    def entropy(self) -> None:
        """Nobody knows it."""
        return None

    @property
    def available(self) -> int:
        """Training tokens of one epoch."""
        return len(_windows(self.train, self.context)) * self.context

    def config(self) -> Mapping[str, object]:
        """What determines the tokens."""
        return {"name": "tokens", **self.identity}

    def rows(self, seed: int, count: int) -> Rows:
        """The first `count` windows (count, context + 1) of the passes that `seed` shuffles."""
        windows = _windows(self.train, self.context)
        return self._plain(windows[passes(len(windows), seed, count)])

    def held_out(self, count: int) -> HeldOut:
        """`count` windows spread evenly over the held-out part, all if there are fewer."""
        windows = _windows(self.held, self.context)
        count = min(count, len(windows))
        spread = np.linspace(0, len(windows) - 1, count).astype(np.int64)
        return HeldOut(rows=self._plain(windows[spread]), surprisal=None)

    def _plain(self, rows: Rows) -> Rows:
        """In the smallest type that torch can index with or widen everywhere, in native order."""
        largest = self.classes - 1
        types = (np.uint8, np.int16, np.int32)
        return rows.astype(next(kind for kind in types if largest <= np.iinfo(kind).max))


def load(name: str, context: int) -> Tokens:
    """The tokens of the file at the path `name`.

    Raises GridError if there is no such file, if it or the file held out cannot be read, is too
    short for one window, or holds anything but symbols.
    """
    path = Path(name)
    beside = _held_out_path(path)
    stream = _stream(path, path)
    parts = _split(stream) if beside is None else (stream, _stream(beside, path))
    for part, place in zip(parts, (path, beside or path), strict=True):
        _long_enough(part, place, context)
    return Tokens(
        context=context,
        classes=_classes(path, parts),
        train=parts[0],
        held=parts[1],
        identity=_identity(path, beside),
    )


def _windows(stream: Rows, context: int) -> Rows:
    """Views (windows, context + 1) whose inputs do not overlap."""
    return np.lib.stride_tricks.sliding_window_view(stream, context + 1)[::context]


def _held_out_path(path: Path) -> Path | None:
    """The file beside this one that is for evaluation, None if there is none."""
    other = path.with_name(path.name.replace("train", "val"))
    return other if other != path and other.is_file() else None


def _split(stream: Rows) -> tuple[Rows, Rows]:
    """What is trained on, and the end that is held out."""
    cut = len(stream) - len(stream) // HELD_OUT_SHARE
    return stream[:cut], stream[cut:]


def _long_enough(stream: Rows, place: Path, context: int) -> None:
    if len(stream) <= context:
        raise GridError(
            f"{place} is too short: of its tokens {len(stream)} are to train on or to hold out, "
            f"and one window takes {context + 1}; use a longer file or a smaller context"
        )


# --- reading ---------------------------------------------------------------------------------


def _stream(path: Path, owner: Path) -> Rows:
    """The symbols (tokens,) of a file, mapped; a tokenizer is looked for beside `owner`."""
    if not path.is_file():
        raise GridError(f"there is no file {path}; give the path of a .txt, .bin or .npy file")
    if path.stat().st_size == 0:
        raise GridError(f"{path} is empty; give a file that holds tokens")
    if path.suffix == ".npy":
        return _numpy(path)
    if path.suffix == ".bin":
        return _nanogpt(path)
    tokenizer = _tokenizer_path(owner)
    return np.memmap(path, np.uint8, "r") if tokenizer is None else _encoded(path, tokenizer)


def _nanogpt(path: Path) -> Rows:
    """Little-endian unsigned integers of 16 bits, nothing else."""
    if path.stat().st_size % 2:
        raise GridError(
            f"{path} has an odd number of bytes, so it does not hold numbers of 16 bits; "
            "write it as nanoGPT does, from a numpy array of type uint16"
        )
    return np.memmap(path, "<u2", "r")


def _numpy(path: Path) -> Rows:
    try:
        stream: Rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise GridError(
            f"{path} is not an array that numpy.save wrote; save one of whole numbers"
        ) from error
    if stream.ndim != 1 or stream.dtype.kind not in "iu":
        raise GridError(
            f"{path} holds {stream.dtype} numbers of shape {stream.shape}; save one axis of "
            "whole numbers, a token each"
        )
    return stream


def _tokenizer_path(owner: Path) -> Path | None:
    path = owner.with_name(f"{owner.stem}.tokenizer.json")
    return path if owner.suffix not in {".bin", ".npy"} and path.is_file() else None


def _encoded(path: Path, tokenizer: Path) -> Rows:
    """Tokens of a whole text, which is read into memory for that."""
    try:
        package = import_module("tokenizers")
    except ImportError as error:
        raise GridError(
            f"{tokenizer} needs the package tokenizers; pip install tokenizers, or rename that "
            "file to train on bytes"
        ) from error
    try:
        reader = package.Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the package raises Exception itself
        raise GridError(f"{tokenizer} is no tokenizer of Hugging Face: {error}") from error
    text = path.read_text(encoding="utf-8", errors="replace")
    return np.array(reader.encode(text, add_special_tokens=False).ids, np.int64)


# --- what the file is ------------------------------------------------------------------------


def _classes(path: Path, parts: tuple[Rows, Rows]) -> int:
    """Number of symbols: as meta.json says, or as the parts show."""
    plain = path.suffix not in {".bin", ".npy"} and _tokenizer_path(path) is None
    if plain:
        return BYTES
    limits = [_limits(part) for part in parts]
    if min(low for low, _ in limits) < 0:
        raise GridError(f"{path} or the file held out holds negative numbers; tokens count from 0")
    found = max(high for _, high in limits) + 1
    if found > MOST:
        raise GridError(
            f"{path} or the file held out holds the number {found - 1}, too large for a token; "
            f"number the tokens from 0 to at most {MOST - 1}"
        )
    return _stated(path.with_name("meta.json"), found)


def _limits(stream: Rows) -> tuple[int, int]:
    """The smallest and the largest symbol, without the stream in memory."""
    chunks = [stream[first : first + CHUNK] for first in range(0, len(stream), CHUNK)]
    return min(int(chunk.min()) for chunk in chunks), max(int(chunk.max()) for chunk in chunks)


def _stated(meta: Path, found: int) -> int:
    """vocab_size of meta.json if it says one, else `found`."""
    try:
        stated = json.loads(meta.read_text(encoding="utf-8"))["vocab_size"]
    except (FileNotFoundError, KeyError):
        return found
    except (ValueError, TypeError, OSError) as error:
        raise GridError(f'{meta} must be JSON such as {{"vocab_size": {found}}}') from error
    if type(stated) is not int or not found <= stated <= MOST:
        raise GridError(
            f"{meta} says vocab_size {stated}, but the tokens need a whole number from {found} "
            f"to {MOST}; correct it or remove it"
        )
    return stated


def _identity(path: Path, beside: Path | None) -> Mapping[str, object]:
    """Format and digests; the same for the same files elsewhere."""
    tokenizer = _tokenizer_path(path)
    held_out = f"last 1/{HELD_OUT_SHARE}" if beside is None else _digest(beside)
    found: dict[str, object] = {
        "format": path.suffix[1:],
        "sha256": _digest(path),
        "held_out": held_out,
    }
    return found if tokenizer is None else found | {"tokenizer_sha256": _digest(tokenizer)}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
