"""Real text that every machine with Python has: the sources of its own standard library.

Characters are mapped to 96 symbols, files are split into training and held-out by a hash of their
path, and nothing of a held-out file is ever trained on. The text differs between Python versions,
so its digest belongs to the configuration of every run.
"""

import hashlib
import sysconfig
from pathlib import Path

import numpy as np

from scalefit.errors import GridError
from trainers.sources.base import Rows
from trainers.sources.files import Tokens

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


def load(_name: str, context: int) -> Tokens:
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
    train, held = np.concatenate(streams[False]), np.concatenate(streams[True])
    digest = hashlib.sha256(train.tobytes() + b"|" + held.tobytes()).hexdigest()
    return Tokens(
        context=context,
        classes=len(ALPHABET),
        train=train,
        held=held,
        identity={"name": "text", "corpus_sha256": digest},
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
