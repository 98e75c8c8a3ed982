"""The handwritten digits that come with scikit-learn: 1797 real images of 8 x 8 pixels.

They are small enough that a study trains hundreds of networks on them in seconds, and they are
the one real data set that needs no download (Alpaydin & Kaynak 1998, UCI repository).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scalefit.errors import StudyError

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

CLASSES = 10
PIXELS = 64
BRIGHTEST = 16.0
"""A pixel counts the dots that fall in a square of 4 x 4."""


def digits() -> tuple[Floats, Labels]:
    """All images and their labels, in the order of the data set.

    Returns:
        Images, shape (1797, 64), from 0 to 1; labels, shape (1797,), from 0 to 9. They are the
        caller's own copies.

    Raises:
        StudyError: if scikit-learn is not installed.
    """
    bunch = _load()
    images = np.asarray(bunch.data, dtype=np.float64) / BRIGHTEST
    return images, np.asarray(bunch.target, dtype=np.int64)


def shuffled(seed: int) -> tuple[Floats, Labels]:
    """All images and labels in an order that the seed draws, for whoever cuts parts of them."""
    images, labels = digits()
    order = np.random.default_rng(seed).permutation(len(labels))
    return images[order], labels[order]


def stacked(seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`shuffled` by each seed: images (seeds, 1797, 64), float32, and labels (seeds, 1797)."""
    drawn = zip(*(shuffled(seed) for seed in seeds), strict=True)
    images, labels = (torch.from_numpy(np.stack(part)) for part in drawn)
    return images.float(), labels


def mislabel(labels: Labels, share: float, draw: np.random.Generator) -> Labels:
    """The labels with this share of them (rounded) replaced by another class, each as likely."""
    wrong = labels.copy()
    chosen = draw.choice(labels.size, round(share * labels.size), replace=False)
    shift = draw.integers(1, CLASSES, chosen.size)
    wrong.flat[chosen] = (labels.flat[chosen] + shift) % CLASSES
    return wrong


def one_hot(labels: Labels) -> Floats:
    """A one at the place of each label, shape (*labels.shape, 10)."""
    rows: Floats = np.eye(CLASSES)[labels]
    return rows


def _load() -> Any:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise StudyError(
            "the digits come with scikit-learn, which is not installed; "
            'pip install "scalefit[studies]" brings it'
        ) from error
    return load_digits()
