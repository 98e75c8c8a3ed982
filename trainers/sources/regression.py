"""A linear teacher with known exponents, to see what a law says where theory says more.

Features x_i are independent Gaussians of variance i^-a, and the value is their sum plus noise. A
student that reads the first N features misses the variance of the others, which falls as N^(1-a);
one pass of SGD over D samples has learned the features down to a variance of the order of 1/D, and
misses D^(1/a-1) (Lin et al. 2024, arXiv:2406.08466).

The teacher has infinitely many features. No student reads beyond the last that is written out, so
the sum of all that follow is one Gaussian more, of the variance that they have together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import zeta

from scalefit.errors import GridError
from trainers.sources.base import HeldOut, Rows

FEATURES = 128
DECAY = 2.0
"""a = 2: exponents 1 in N and 1/2 in D, and small tables already come near them."""
NOISE = 0.25
"""Variance of what no feature tells: the loss of the teacher itself."""
STREAM = 3
HELD_OUT, TRAINING = 1, 2
"""Streams of random numbers that must not meet; seed s trains on stream TRAINING + s."""
CHUNK = 4096
"""Samples drawn at once: besides the rows themselves, a draw takes no memory that grows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """`features` features of variance i^-`decay`, each of weight 1, and noise of variance `noise`.

    Where the weights have either sign, all is the same: the features are symmetric.
    """

    features: int = FEATURES
    decay: float = DECAY
    noise: float = NOISE

    @property
    def context(self) -> int:
        """A sample asks for one value."""
        return 1

    @property
    def classes(self) -> int:
        """The target is a number."""
        return 1

    @property
    def loss_unit(self) -> str:
        """The square of the error, not half of it."""
        return "squared error"

    @property
    def entropy(self) -> float:
        """The loss of the teacher, which knows all of its features."""
        return self.noise

    @property
    def available(self) -> None:
        """Samples do not run out."""
        return None

    @property
    def alpha(self) -> float:
        """The exponent of the loss in N, as D goes to infinity."""
        return self.decay - 1.0

    @property
    def beta(self) -> float:
        """The exponent of the loss in D of one pass of SGD, as N goes to infinity."""
        return 1.0 - 1.0 / self.decay

    def config(self) -> Mapping[str, object]:
        """What determines the samples."""
        return {
            "name": "regression",
            "features": self.features,
            "decay": self.decay,
            "noise": self.noise,
        }

    def variances(self) -> NDArray[np.float64]:
        """Of the features (features,)."""
        numbers = np.arange(1.0, self.features + 1.0)
        found: NDArray[np.float64] = numbers**-self.decay
        return found

    def beyond(self, width: int) -> float:
        """Variance of the value that comes from all features after the first `width`."""
        return float(zeta(self.decay, width + 1.0))

    def rows(self, seed: int, count: int) -> Rows:
        """Fresh samples (count, features + 1) in float32: the features, then the value."""
        return self._sample([STREAM, TRAINING + seed], count)[0]

    def held_out(self, count: int) -> HeldOut:
        """`count` samples; the teacher's loss on each is the square of its noise."""
        rows, noise = self._sample([STREAM, HELD_OUT], count)
        return HeldOut(rows=rows, surprisal=noise.astype(np.float64) ** 2)

    def _sample(self, stream: list[int], count: int) -> tuple[Rows, NDArray[np.float32]]:
        """Rows, and the noise in the value of each (count,)."""
        draw, size = np.random.default_rng(stream), self.features
        scales = np.sqrt(np.append(self.variances(), [self.beyond(size), self.noise]))
        rows = np.empty((count, size + 1), np.float32)
        noise = np.empty(count, np.float32)
        for first in range(0, count, CHUNK):
            part = slice(first, min(first + CHUNK, count))
            normal = draw.standard_normal((part.stop - first, size + 2), np.float32)
            normal *= scales.astype(np.float32)
            rows[part, :size] = normal[:, :size]
            rows[part, size] = normal.sum(axis=1)
            noise[part] = normal[:, -1]
        return rows, noise


def load(_name: str, context: int) -> Regression:
    """The project's teacher; GridError unless a sample is one prediction."""
    if context != 1:
        raise GridError(
            f"the source regression asks for one value a sample, not {context}; leave out context"
        )
    return Regression()
