"""Files of tokens: what is trained on, what is held out, and what is refused."""

import hashlib
import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scalefit.errors import GridError
from trainers.sources import files
from trainers.sources.base import kind

CONTEXT = 4


def load(path, context=CONTEXT):
    return files.load(str(path), context)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_bytes(bytes(range(200)))
    return path


@pytest.fixture
def nanogpt(tmp_path):
    """What nanoGPT's prepare.py writes: two .bin files and a pickle beside them."""
    np.arange(1000, 1100, dtype=np.uint16).tofile(tmp_path / "train.bin")
    np.arange(2000, 2010, dtype=np.uint16).tofile(tmp_path / "val.bin")
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 5}))
    return tmp_path / "train.bin"


def saved(path, values, dtype):
    np.save(path, np.array(values, dtype))
    return path


def test_every_ending_leads_here():
    for name in ("a.txt", "folder/train.bin", "b.npy"):
        assert kind(name).module == "trainers.sources.files"
        assert kind(name).family == "transformer"


def test_a_text_is_read_a_byte_a_symbol(text):
    tokens = load(text)
    assert tokens.classes == 256
    assert tokens.loss_unit == "nats/token"
    assert tokens.entropy is None
    rows = tokens.rows(seed=0, count=3)
    assert rows.shape == (3, CONTEXT + 1)
    assert rows.dtype == np.uint8


def test_the_last_twentieth_is_held_out_and_never_trained_on(text):
    tokens = load(text)
    trained = tokens.rows(seed=0, count=10_000)
    held = tokens.held_out(1000)
    assert np.array_equal(np.unique(trained), np.arange(189))
    assert np.array_equal(np.unique(held.rows), np.arange(190, 199))
    assert held.surprisal is None


def test_inputs_of_one_pass_are_disjoint_and_a_second_pass_is_shuffled_anew(text):
    tokens = load(text)
    count = tokens.available // CONTEXT
    assert count == 47
    rows = tokens.rows(seed=3, count=2 * count)
    for one in (rows[:count], rows[count:]):
        assert np.array_equal(np.sort(one[:, :-1].ravel()), np.arange(count * CONTEXT))
        assert np.array_equal(one[:, :-1] + 1, one[:, 1:])
    assert not np.array_equal(rows[:count], rows[count:])
    assert not np.array_equal(rows[:count], tokens.rows(seed=4, count=count))
    assert np.array_equal(tokens.rows(seed=3, count=5), rows[:5])


def test_held_out_windows_are_spread_evenly(tmp_path):
    path = saved(tmp_path / "train.npy", range(50), np.int64)
    saved(tmp_path / "val.npy", range(81), np.int64)
    held = load(path).held_out(3).rows
    assert np.array_equal(held[:, 0], [0, 36, 76])


def test_nanogpts_pair_of_files_is_one_source(nanogpt):
    tokens = load(nanogpt)
    assert tokens.available == 96
    assert tokens.rows(0, 100).max() <= 1099
    assert tokens.held_out(10).rows.min() == 2000
    assert tokens.classes == 2010


def test_a_pickle_is_never_opened(nanogpt, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    (nanogpt.with_name("meta.pkl")).write_bytes(pickle.dumps(Bomb()))
    np.save(nanogpt.with_name("data.npy"), np.array([Bomb()], object), allow_pickle=True)
    assert load(nanogpt).classes == 2010
    with pytest.raises(GridError, match=r"data\.npy is not an array .* whole numbers"):
        load(nanogpt.with_name("data.npy"))


def test_meta_json_states_the_number_of_symbols(nanogpt):
    meta = nanogpt.with_name("meta.json")
    meta.write_text(json.dumps({"vocab_size": 50_257}))
    assert load(nanogpt).classes == 50_257
    meta.write_text(json.dumps({"other": 1}))
    assert load(nanogpt).classes == 2010


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"vocab_size": 2009}', r"says vocab_size 2009, but the tokens need .* from 2010"),
        ('{"vocab_size": "many"}', r"says vocab_size many, but"),
        ('{"vocab_size": true}', r"says vocab_size True, but"),
        ("[1]", r"meta\.json must be JSON such as"),
        ("{", r"meta\.json must be JSON such as"),
    ],
)
def test_a_wrong_meta_json_is_refused(nanogpt, content, message):
    nanogpt.with_name("meta.json").write_text(content)
    with pytest.raises(GridError, match=message):
        load(nanogpt)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">i4", np.uint64])
def test_whole_numbers_of_any_type_reach_torch_as_they_are(tmp_path, dtype):
    path = saved(tmp_path / "a.npy", np.arange(240), dtype)
    rows = load(path).rows(0, 5)
    assert np.array_equal(torch.from_numpy(rows).long().numpy(), rows)
    assert np.array_equal(rows[:, :-1] + 1, rows[:, 1:])


@pytest.mark.parametrize(("largest", "expected"), [(255, "u1"), (256, "i2"), (40_000, "i4")])
def test_rows_take_the_memory_that_their_symbols_need(tmp_path, largest, expected):
    path = saved(tmp_path / "a.npy", [largest] * 300, np.int64)
    rows = load(path).rows(0, 5)
    assert rows.dtype == np.dtype(expected)
    assert np.all(rows == largest)


def test_a_file_stays_on_disk_until_rows_are_asked_for(nanogpt):
    assert isinstance(load(nanogpt).train, np.memmap)
    assert isinstance(load(saved(nanogpt.with_name("a.npy"), range(200), "u2")).train, np.memmap)


def test_the_same_file_elsewhere_is_the_same_source(text, tmp_path):
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / "renamed.txt"
    copy.write_bytes(text.read_bytes())
    config = load(text).config()
    assert config == load(copy).config()
    assert config == {
        "name": "tokens",
        "format": "txt",
        "sha256": hashlib.sha256(text.read_bytes()).hexdigest(),
        "held_out": "last 1/20",
    }


def test_another_content_or_another_held_out_file_is_another_source(nanogpt):
    before = load(nanogpt).config()
    held = nanogpt.with_name("val.bin")
    held.write_bytes(held.read_bytes()[::-1])
    other = load(nanogpt).config()
    assert other["sha256"] == before["sha256"]
    assert other["held_out"] != before["held_out"]
    held.unlink()
    assert load(nanogpt).config()["held_out"] == "last 1/20"
    nanogpt.write_bytes(nanogpt.read_bytes()[::-1])
    assert load(nanogpt).config()["sha256"] != before["sha256"]


def test_limits_and_digest_of_a_long_file_are_those_of_the_whole(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(5, 60_000, 5000)
    path = saved(tmp_path / "a.npy", values, np.int32)
    whole = load(path)
    monkeypatch.setattr(files, "CHUNK", 64)
    assert load(path).config() == whole.config()
    assert load(path).classes == whole.classes == values.max() + 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"a\.txt is empty; give a file"),
        ("a.bin", b"", r"a\.bin is empty; give a file"),
        ("a.npy", b"", r"a\.npy is empty; give a file"),
        ("a.bin", b"abc", r"a\.bin has an odd number of bytes"),
        ("a.npy", b"no array", r"a\.npy is not an array that numpy\.save wrote"),
        ("a.txt", b"x" * 70, r"a\.txt is too short: .* 3 are .* one window takes 5"),
        ("a.txt", b"xyz", r"a\.txt is too short: .* 3 are .* one window takes 5"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GridError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([0.5] * 200, float, r"holds float64 numbers of shape \(200,\)"),
        (np.zeros((20, 10)), int, r"of shape \(20, 10\); save one axis"),
        ([True] * 200, bool, r"holds bool numbers"),
        ([3] * 199 + [-1], np.int16, r"holds negative numbers"),
        ([10**9] * 200, np.int64, r"holds the number 1000000000, too large"),
    ],
)
def test_an_array_that_holds_no_tokens_is_refused(tmp_path, values, dtype, message):
    with pytest.raises(GridError, match=message):
        load(saved(tmp_path / "a.npy", values, dtype))


def test_a_file_that_is_not_there_or_a_short_one_held_out_is_refused(tmp_path):
    with pytest.raises(GridError, match=r"there is no file .*train\.txt; give the path"):
        load(tmp_path / "train.txt")
    (tmp_path / "train.txt").write_bytes(b"x" * 500)
    (tmp_path / "val.txt").write_bytes(b"xyz")
    with pytest.raises(GridError, match=r"val\.txt is too short"):
        load(tmp_path / "train.txt")


# --- tokenizers ------------------------------------------------------------------------------


def word_numbers(text, *, add_special_tokens):
    assert not add_special_tokens
    return SimpleNamespace(ids=[len(word) for word in text.split()])


def test_a_text_is_read_through_the_tokenizer_that_lies_beside_it(tmp_path, monkeypatch):
    """The package itself is not needed for this: one that counts letters stands for it."""
    opened = []
    reader = SimpleNamespace(encode=word_numbers)
    package = SimpleNamespace(
        Tokenizer=SimpleNamespace(from_file=lambda path: opened.append(path) or reader)
    )
    monkeypatch.setitem(sys.modules, "tokenizers", package)
    path = tmp_path / "train.txt"
    path.write_text("a bc def ghij " * 50)
    (tmp_path / "val.txt").write_text("klmno " * 20)
    plain = load(path)
    (tmp_path / "train.tokenizer.json").write_text("{}")
    tokens = load(path)
    assert set(opened) == {str(tmp_path / "train.tokenizer.json")}
    assert tokens.classes == 6
    assert tokens.rows(0, 1).tolist() == [[1, 2, 3, 4, 1]]
    assert np.all(tokens.held_out(2).rows == 5)
    assert tokens.config().keys() - plain.config().keys() == {"tokenizer_sha256"}


def test_without_the_package_a_tokenizer_says_what_to_install(text, monkeypatch):
    text.with_name("story.tokenizer.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(GridError, match=r"needs the package tokenizers; pip install tokenizers"):
        load(text)


def test_the_real_package_reads_a_real_tokenizer_and_refuses_another_file(text):
    pytest.importorskip("tokenizers")
    beside = text.with_name("story.tokenizer.json")
    beside.write_text("{}")
    with pytest.raises(GridError, match=r"story\.tokenizer\.json is no tokenizer"):
        load(text)
    words = {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "?": 2}, "unk_token": "?"}
    beside.write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": None,
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": words,
            }
        )
    )
    text.write_text("a b ü " * 100)
    tokens = load(text)
    assert tokens.classes == 3
    assert sorted(set(tokens.rows(0, 20).ravel().tolist())) == [0, 1, 2]
