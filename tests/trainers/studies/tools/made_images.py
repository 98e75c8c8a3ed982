"""Files of images that look like those of a user: few images, made at random."""

import io
import tarfile

import numpy as np

from trainers.sources.images import CIFAR10


def arrays(train=7, test=3):
    """Arrays as Keras' mnist.npz holds them; np.savez(path, **arrays()) makes the file."""
    draw = np.random.default_rng(0)
    return {
        "x_train": draw.integers(256, size=(train, 28, 28), dtype=np.uint8),
        "y_train": draw.integers(10, size=train, dtype=np.uint8),
        "x_test": draw.integers(256, size=(test, 28, 28), dtype=np.uint8),
        "y_test": draw.integers(10, size=test, dtype=np.uint8),
    }


def archive(path, images_a_file=2, leave_out=""):
    """Write an archive of CIFAR-10's kind; its files' rows, class and then pixels, by name."""
    draw, rows = np.random.default_rng(1), {}
    with tarfile.open(path, "w:gz") as tar:
        for name in {*CIFAR10.train, CIFAR10.held} - {leave_out}:
            rows[name] = draw.integers(10, size=(images_a_file, 3073), dtype=np.uint8)
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = rows[name].size
            tar.addfile(entry, io.BytesIO(rows[name].tobytes()))
    return rows
