"""Images of the user's: what is read as it is, and what is refused."""

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import archive, arrays
from trainers.sources.images import CIFAR10
from trainers.studies.tools import images
from trainers.studies.tools.images import pictures


def test_mnist_is_read_as_it_is(tmp_path):
    made = arrays()
    np.savez(tmp_path / "mnist.npz", **made)
    found = pictures(tmp_path / "mnist.npz", "mnist")
    assert found.name == "mnist"
    assert found.train.shape == (7, 1, 28, 28)
    assert found.train.dtype == torch.float32
    assert np.array_equal((found.train[:, 0] * 255).round().numpy(), made["x_train"])
    assert np.array_equal((found.test[:, 0] * 255).round().numpy(), made["x_test"])
    assert found.train_labels.dtype == torch.int64
    assert found.train_labels.tolist() == made["y_train"].tolist()
    assert found.test_labels.tolist() == made["y_test"].tolist()


def test_cifar_10_is_read_as_it_is_whatever_its_name(tmp_path):
    rows = archive(tmp_path / "pictures")
    found = pictures(tmp_path / "pictures")
    assert found.name == "cifar10"
    assert found.train.shape == (10, 3, 32, 32)
    assert found.test.shape == (2, 3, 32, 32)
    train = np.concatenate([rows[name] for name in CIFAR10.train])
    assert found.train_labels.tolist() == train[:, 0].tolist()
    assert np.array_equal((found.train.flatten(1) * 255).round().numpy(), train[:, 1:])
    assert found.test_labels.tolist() == rows[CIFAR10.held][:, 0].tolist()


def test_no_file_says_which_to_give():
    with pytest.raises(StudyError, match=r"give mnist\.npz with --data"):
        pictures(None, "mnist")
    with pytest.raises(StudyError, match=r"mnist\.npz or cifar-10-binary\.tar\.gz"):
        pictures(None)


def test_a_file_that_is_not_there_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(StudyError, match=r"cannot be read .*--data"):
            pictures(path)


def test_the_other_of_the_two_is_refused(tmp_path):
    np.savez(tmp_path / "mnist.npz", **arrays())
    with pytest.raises(StudyError, match="holds mnist, and cifar10 is needed"):
        pictures(tmp_path / "mnist.npz", "cifar10")


def test_anything_else_is_refused_unopened(tmp_path):
    path = tmp_path / "mnist.pkl"
    path.write_bytes(pickle.dumps(arrays()))
    with pytest.raises(StudyError, match="is neither of"):
        pictures(path)


def test_a_stored_object_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    made = arrays() | {"y_test": np.array([Trap()], dtype=object)}
    np.savez(tmp_path / "mnist.npz", **made)
    with pytest.raises(StudyError, match=r"is not mnist\.npz"):
        pictures(tmp_path / "mnist.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x_train": np.zeros((7, 32, 32), np.uint8)}, "x_train holds no bytes of shape"),
        ({"x_test": np.zeros((3, 28, 28))}, "x_test holds no bytes of shape"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, "x_test holds no bytes of shape"),
        ({"y_train": np.zeros(6, np.uint8)}, "y_train holds no whole number for each"),
        ({"y_train": np.zeros(7)}, "y_train holds no whole number for each"),
        ({"y_test": np.full(3, 10)}, "y_test holds other classes"),
    ],
)
def test_arrays_that_are_not_those_of_mnist_are_named(tmp_path, changed, said):
    np.savez(tmp_path / "mnist.npz", **(arrays() | changed))
    with pytest.raises(StudyError, match=said):
        pictures(tmp_path / "mnist.npz")


def test_a_missing_array_is_named(tmp_path):
    made = arrays()
    del made["y_test"]
    np.savez(tmp_path / "mnist.npz", **made)
    with pytest.raises(StudyError, match="y_test"):
        pictures(tmp_path / "mnist.npz")


def test_arrays_that_claim_too_much_are_not_read(tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", **arrays())
    monkeypatch.setattr(images, "LARGEST", 1000)
    with pytest.raises(StudyError, match="more than 1000 bytes"):
        pictures(tmp_path / "mnist.npz")


def test_broken_archives_are_refused_in_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "no array")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8bcut")
    for name in ("other.zip", "cut.npz", "cut.tar.gz"):
        with pytest.raises(StudyError, match=name):
            pictures(tmp_path / name)
    archive(tmp_path / "less.tar.gz", leave_out="test_batch.bin")
    with pytest.raises(StudyError, match=r"holds no test_batch\.bin"):
        pictures(tmp_path / "less.tar.gz")


def test_cifar_100_is_refused(tmp_path):
    path = tmp_path / "cifar-100-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("train.bin", "test.bin"):
            entry = tarfile.TarInfo(name)
            entry.size = 3074
            tar.addfile(entry, io.BytesIO(bytes(3074)))
    with pytest.raises(StudyError, match="holds cifar100"):
        pictures(path)
