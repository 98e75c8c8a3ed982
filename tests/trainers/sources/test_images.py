"""Sets of images: the digits' split, and archives of CIFAR, sound or not."""

import io
import sys
import tarfile

import numpy as np
import pytest

from scalefit.errors import GridError
from trainers.models.base import FAMILIES, Layout
from trainers.sources import images
from trainers.sources.base import kind, source


def records(count, classes, labels, seed=0):
    """The bytes of a file of CIFAR, and the rows that it stands for."""
    draw = np.random.default_rng(seed)
    names = draw.integers(classes, size=(count, labels), dtype=np.uint8)
    pixels = draw.integers(256, size=(count, 3072), dtype=np.uint8)
    rows = np.column_stack([pixels, names[:, -1]])
    return np.column_stack([names, pixels]).tobytes(), rows


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def tiny(labels=1, classes=10):
    """The members of a sound archive, two images a file, and their rows in order."""
    cifar = images.CIFAR10 if labels == 1 else images.CIFAR100
    made = {
        name: records(2, classes, labels, seed) for seed, name in enumerate((*cifar.train, "h"))
    }
    held = made.pop("h")
    members = {f"folder/{name}": content for name, (content, _) in made.items()}
    members[f"folder/{cifar.held}"] = held[0]
    members["folder/readme.html"] = b"<html>"
    return members, np.concatenate([rows for _, rows in made.values()]), held[1]


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return source("digits", 1)


def test_every_digit_is_either_trained_on_or_held_out(digits):
    from sklearn.datasets import load_digits

    held = digits.held_out(10_000).rows
    assert (digits.available, len(held)) == (1347, 450)
    both = np.concatenate([digits.rows(3, 1347), held])
    whole = load_digits()
    there = np.column_stack([np.rint(whole.data / 16 * 255), whole.target])
    assert sorted(map(bytes, both)) == sorted(map(bytes, there.astype(np.uint8)))
    assert both.dtype == np.uint8
    # every class is among the held-out ones, in about its share
    assert np.bincount(held[:, -1]).min() > 30


def test_no_digit_that_any_seed_trains_on_is_held_out(digits):
    held = {bytes(row) for row in digits.held_out(450).rows}
    for seed in range(3):
        assert held.isdisjoint(map(bytes, digits.rows(seed, 3 * 1347)))
    assert np.array_equal(digits.held_out(10).rows, digits.held_out(450).rows[:10])


def test_seeds_shuffle_and_a_longer_run_begins_with_the_shorter_one(digits):
    assert np.array_equal(digits.rows(0, 10), digits.rows(0, 5000)[:10])
    assert not np.array_equal(digits.rows(0, 10), digits.rows(1, 10))
    assert len(digits.config()["images_sha256"]) == 64


def test_digits_without_scikit_learn_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(GridError, match=r'pip install "scalefit\[images\]"'):
        images.digits()


@pytest.mark.parametrize(("labels", "classes", "name"), [(1, 10, "10"), (2, 100, "100")])
def test_an_archive_of_cifar_is_read_as_it_is(tmp_path, labels, classes, name):
    members, train, held = tiny(labels, classes)
    path = archive(tmp_path / f"cifar-{name}-binary.tar.gz", members)
    assert kind(str(path)).family == "cnn"
    found = source(str(path), 1)
    assert np.array_equal(found.train, train)
    assert np.array_equal(found.held_out(9).rows, held)
    assert found.config()["name"] == f"cifar{name}"
    shape = FAMILIES["cnn"].shape(Layout(name="x", depth=2, context=1, head_width=1), 4, found)
    assert (shape.side, shape.channels, shape.classes) == (32, 3, classes)
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_archive_elsewhere_is_the_same_source(tmp_path):
    members, _, _ = tiny()
    (tmp_path / "there").mkdir()
    here = images.cifar(archive(tmp_path / "cifar-10-binary.tar.gz", members))
    there = images.cifar(archive(tmp_path / "there" / "my-cifar-10-binary.tar.gz", members))
    other = dict(members, **{"folder/test_batch.bin": records(2, 10, 1, 99)[0]})
    changed = images.cifar(archive(tmp_path / "x-cifar-10-binary.tar.gz", other))
    assert here.config() == there.config() != changed.config()


def test_the_python_version_is_refused_by_name(tmp_path):
    members = {"cifar-10-batches-py/data_batch_1": b"\x80\x02}q", "batches.meta": b"\x80\x02}"}
    path = archive(tmp_path / "cifar-10-binary.tar.gz", members)
    with pytest.raises(GridError, match=r"holds no data_batch_1\.bin.*Python.*not read"):
        images.cifar(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2.bin", b"7" * 3072, "has 3072 bytes, and cifar10 has"),
        ("data_batch_2.bin", b"", "has 0 bytes"),
        ("test_batch.bin", b"\x0b" * 3073, "an image of class 11, and cifar10 has classes 0 to 9"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, name, content, message):
    members = tiny()[0] | {f"folder/{name}": content}
    path = archive(tmp_path / "cifar-10-binary.tar.gz", members)
    with pytest.raises(GridError, match=message):
        images.cifar(path)


def test_more_than_cifar_can_be_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CIFAR_LARGEST", 1)
    path = archive(tmp_path / "cifar-10-binary.tar.gz", tiny()[0])
    with pytest.raises(GridError, match="has 1 to 1 images"):
        images.cifar(path)


def test_a_member_that_is_a_link_is_no_file(tmp_path):
    path = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("data_batch_1.bin")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
        tar.addfile(entry)
    with pytest.raises(GridError, match=r"holds no data_batch_1\.bin"):
        images.cifar(path)


def test_an_archive_that_is_none_or_cut_short_or_absent_is_refused(tmp_path):
    path = archive(tmp_path / "cifar-10-binary.tar.gz", tiny()[0])
    whole = path.read_bytes()
    for content in (b"no archive", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(GridError, match=r"cannot be read as a \.tar\.gz archive"):
            images.cifar(path)
    path.unlink()
    with pytest.raises(GridError, match="there is no file"):
        images.cifar(path)
