"""Images whose classes have an entropy that is known exactly, in endless number.

A shape of 5x5 black or white pixels stands somewhere on a black square of 8x8. There are many
shapes, and the one of rank r appears with a chance that falls as a power of r. Each has a class of
its own, which a label tells only most of the time. So there is always a rarer shape to learn, as in
the model of quanta (Michaud et al. 2023, arXiv:2303.13506), and what is left to learn falls as a
power of what was seen and of what a model can hold.

Brightness is random, but what is black never looks like white: the shape can be told from the image
without error, and the loss of the truth is the entropy of the labels' errors alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.sources.base import HeldOut, Rows

SIDE, SIZE = 8, 5
PLACES = (SIDE - SIZE + 1) ** 2
CLASSES = 10
SHAPES = 4096
DECAY = 2.0
ERRORS = 0.1
FORMS, HELD_OUT, TRAINING = 0, 1, 2
"""Streams of random numbers that must not meet; seed s trains on stream TRAINING + s."""
SHADES = 64
"""Shades of black from 32 on, and as many of white from 160 on."""
BLACK, WHITE = 32, 160

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shapes:
    """Shapes (shapes, 5, 5) of zeros and ones, the chance and the true class of each (shapes,).

    `errors` is the share of labels that are wrong, each of the other classes being as likely.
    """

    forms: NDArray[np.uint8]
    chances: Array
    truth: NDArray[np.int64]
    errors: float

    @property
    def context(self) -> int:
        """One prediction an image."""
        return 1

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return SIDE

    @property
    def channels(self) -> int:
        """Black and white."""
        return 1

    @property
    def classes(self) -> int:
        """Of an image."""
        return CLASSES

    @property
    def loss_unit(self) -> str:
        """A class is asked of every image."""
        return "nats/image"

    @property
    def entropy(self) -> float:
        """Of the label given the image, in nats: the same for every image."""
        right, wrong = 1 - self.errors, self.errors / (CLASSES - 1)
        return float(-right * np.log(right) - self.errors * np.log(wrong))

    @property
    def available(self) -> None:
        """Images do not run out."""
        return None

    def config(self) -> Mapping[str, object]:
        """What determines the images."""
        return {"name": "shapes", "shapes": len(self.forms), "decay": DECAY, "errors": self.errors}

    def rows(self, seed: int, count: int) -> Rows:
        """`count` fresh images (count, 65); a longer draw begins with a shorter one."""
        return self._sample(TRAINING + seed, count)

    def held_out(self, count: int) -> HeldOut:
        """`count` images, the same for every run."""
        rows = self._sample(HELD_OUT, count)
        return HeldOut(rows=rows, surprisal=self.surprisal(rows))

    def surprisal(self, rows: Rows) -> Array:
        """-log p(label | image) (count,) in nats.

        It is read off the rows as anybody could who knows the shapes.
        """
        table = _patterns(self.forms).ravel()
        order = np.argsort(table)
        seen = np.packbits(rows[:, :-1] >= WHITE, axis=1).view(np.uint64)[:, 0]
        shape = order[np.searchsorted(table, seen, sorter=order)] // PLACES
        right = rows[:, -1] == self.truth[shape]
        return -np.log(np.where(right, 1 - self.errors, self.errors / (CLASSES - 1)))

    def _sample(self, stream: int, count: int) -> Rows:
        draw, shades = (np.random.default_rng([stream, part]) for part in range(2))
        uniform = draw.random((count, 4))
        steps = np.cumsum(self.chances)
        shape = np.searchsorted(steps / steps[-1], uniform[:, 0], "right")
        place = (uniform[:, 1] * PLACES).astype(np.int64)
        other = 1 + (uniform[:, 3] * (CLASSES - 1)).astype(np.int64)
        wrong = uniform[:, 2] < self.errors
        label = (self.truth[shape] + np.where(wrong, other, 0)) % CLASSES
        white = np.unpackbits(_patterns(self.forms)[shape, place, None].view(np.uint8), axis=1)
        rows = np.empty((count, SIDE**2 + 1), np.uint8)
        rows[:, :-1] = shades.integers(SHADES, size=white.shape, dtype=np.uint8)
        rows[:, :-1] += BLACK + (WHITE - BLACK) * white
        rows[:, -1] = label
        return rows


def load(_name: str, _context: int = 1) -> Shapes:
    """The project's shapes."""
    draw = np.random.default_rng([FORMS])
    return Shapes(
        forms=draw.integers(2, size=(SHAPES, SIZE, SIZE), dtype=np.uint8),
        chances=np.arange(1.0, SHAPES + 1) ** -DECAY,
        truth=draw.integers(CLASSES, size=SHAPES),
        errors=ERRORS,
    )


def _patterns(forms: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Every image without its shades, one bit a pixel, (shapes, places)."""
    offsets = range(SIDE - SIZE + 1)
    canvas = np.zeros((len(forms), PLACES, SIDE, SIDE), np.uint8)
    for place, (down, right) in enumerate((down, right) for down in offsets for right in offsets):
        canvas[:, place, down : down + SIZE, right : right + SIZE] = forms
    return np.packbits(canvas.reshape(len(forms), PLACES, -1), axis=2).view(np.uint64)[..., 0]
