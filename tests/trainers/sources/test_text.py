"""The corpus: symbols, the split by file, and windows that never repeat."""

from dataclasses import replace

import numpy as np
import pytest

from scalefit.errors import GridError
from trainers.sources import text
from trainers.sources.base import source

CONTEXT = 64


@pytest.fixture(scope="module")
def corpus():
    return source("text", CONTEXT)


def decode(tokens):
    return "".join(text.ALPHABET[token] for token in tokens)


def test_symbols_read_back_as_the_text():
    assert decode(text.encode(b"if x:\r\n\treturn 1\n")) == "if x:\n    return 1\n"
    assert decode(text.encode("naïve \x07\n".encode())) == "na?ve ?\n"
    assert len(text.ALPHABET) == 96


def test_corpus_is_the_librarys_own_prose(corpus):
    assert "def " in decode(corpus.train[:20_000])
    assert len(corpus.train) > 2**21
    assert len(corpus.held) > 2**16
    assert corpus.train.max() < corpus.classes
    assert len(corpus.config()["corpus_sha256"]) == 64


def test_windows_of_one_pass_are_disjoint_and_each_target_is_the_next_symbol(corpus):
    count = corpus.available // CONTEXT
    stream = np.arange(count * CONTEXT + 1)
    numbered = replace(corpus, train=stream, classes=len(stream))
    windows = numbered.rows(seed=3, count=count)
    assert np.array_equal(np.sort(windows[:, :-1].ravel()), np.arange(count * CONTEXT))
    assert np.array_equal(windows[:, :-1] + 1, windows[:, 1:])
    assert not np.array_equal(windows[0], numbered.rows(seed=4, count=1)[0])


def test_a_longer_run_begins_with_the_shorter_one(corpus):
    assert np.array_equal(corpus.rows(0, 10), corpus.rows(0, 1000)[:10])


def test_files_are_split_whole_and_by_their_path_alone(tmp_path, monkeypatch):
    names = [f"module{index}.py" for index in range(60)]
    for name in names:
        (tmp_path / name).write_text(name + "\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_module.py").write_text("assert skipped")
    monkeypatch.setattr(text.sysconfig, "get_path", lambda _: str(tmp_path))
    corpus = text.load("text", CONTEXT)
    train, held = decode(corpus.train).split(), decode(corpus.held).split()
    assert sorted(train + held) == sorted(names)
    assert set(held) == {name for name in names if text.is_held_out(name)} != set()


def test_held_out_windows_are_spread_and_no_more_than_there_are(corpus):
    held = corpus.held_out(100)
    assert held.rows.shape == (100, CONTEXT + 1)
    assert held.surprisal is None
    assert np.array_equal(held.rows[0], corpus.held[: CONTEXT + 1])
    most = len(corpus.held_out(10**9).rows)
    assert most == (len(corpus.held) - 1) // CONTEXT


def test_a_python_without_its_sources_is_told_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(text.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(GridError, match=r"\.py files.*train the grid markov"):
        text.load("text", CONTEXT)
