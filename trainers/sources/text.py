"""Real text that every machine with Python has: the sources of its own standard library.

Characters are mapped to 96 symbols, files are split into training and held-out by a hash of their
path, and nothing of a held-out file is ever trained on. The text differs between Python versions,
so its digest belongs to the configuration of every run.
"""

import hashlib
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalefit.errors import GridError
from trainers.sources.base import HeldOut, Rows, passes

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
"""The newline and the printable ASCII characters; any other character becomes a question mark."""

HELD_OUT_IN = 20
"""One file in this many is held out."""

SKIPPED = frozenset(
    {
        "dist-packages",
        "encodings",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
        "turtledemo",
    }
)
"""Folders of tables, tests and other people's packages, which are not the library's own prose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Both token streams, cut into windows of `context` inputs and one further target."""

    context: int
    train: Rows
    held: Rows

    @property
    def classes(self) -> int:
        """Number of symbols."""
        return len(ALPHABET)

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
        digest = hashlib.sha256(self.train.tobytes() + b"|" + self.held.tobytes()).hexdigest()
        return {"name": "text", "corpus_sha256": digest}

    def rows(self, seed: int, count: int) -> Rows:
        """The first `count` windows (count, context + 1) of the passes that `seed` shuffles."""
        windows = _windows(self.train, self.context)
        return windows[passes(len(windows), seed, count)]

    def held_out(self, count: int) -> HeldOut:
        """`count` windows spread evenly over the held-out files, all if there are fewer."""
        windows = _windows(self.held, self.context)
        count = min(count, len(windows))
        spread = np.linspace(0, len(windows) - 1, count).astype(np.int64)
        return HeldOut(rows=windows[spread], surprisal=None)


def load(_name: str, context: int) -> Text:
    """Read the standard library's sources; GridError where Python was installed without them."""
    root = Path(sysconfig.get_path("stdlib"))
    streams: dict[bool, list[Rows]] = {True: [], False: []}
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        name = path.relative_to(root)
        # _sysconfigdata holds the paths of one machine
        if SKIPPED.isdisjoint(name.parts) and not name.name.startswith("_sysconfigdata"):
            streams[is_held_out(name.as_posix())].append(encode(path.read_bytes()))
    if not streams[True] or not streams[False]:
        raise GridError(
            f"the source text needs Python's standard library as .py files, and {root} holds too "
            "few; train the grid markov, or use a Python that brings its sources"
        )
    return Text(
        context=context, train=np.concatenate(streams[False]), held=np.concatenate(streams[True])
    )


def is_held_out(name: str) -> bool:
    """Whether the file of this relative path is held out: by its hash, whatever else is there."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % HELD_OUT_IN == 0


def encode(source: bytes) -> Rows:
    """Symbols 0..95 of a UTF-8 file: tabs become four spaces, carriage returns go."""
    ascii_only = source.decode("utf-8", "replace").encode("ascii", "replace")
    plain = ascii_only.replace(b"\r", b"").replace(b"\t", b"    ")
    return np.frombuffer(plain.translate(_SYMBOLS), np.uint8)


def _symbols() -> bytes:
    unknown = ALPHABET.index("?")
    return bytes(
        ALPHABET.index(chr(code)) if chr(code) in ALPHABET else unknown for code in range(256)
    )


_SYMBOLS = _symbols()


def _windows(stream: Rows, context: int) -> Rows:
    """Views (windows, context + 1) whose inputs do not overlap.

    The last target of one is the first input of the next.
    """
    return np.lib.stride_tricks.sliding_window_view(stream, context + 1)[::context]
