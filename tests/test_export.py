"""What is exported comes back equal, number for number."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.errors import DataError
from scalefit.export import as_csv, as_json_lines, encoded, write_new
from scalefit.importers import parse

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.tuples(st.integers(0, 2**53 - 1), st.none() | FLOATS, FLOATS), min_size=1)


@settings(max_examples=50)
@given(ROWS)
def test_every_digit_comes_back(rows: list[tuple[int, float | None, float]]) -> None:
    frame = pd.DataFrame(rows, columns=["tokens", "x", "loss"]).astype({"x": float})
    for text in (as_csv(frame), as_json_lines(frame)):
        back = parse(text.encode(), "t").astype(float)
        np.testing.assert_array_equal(back.to_numpy(), frame.to_numpy(float))


@settings(max_examples=30)
@given(st.lists(st.text("abZ09é漢,;'\"=%/#", min_size=1).map("r".__add__), min_size=1))
def test_text_comes_back(names: list[str]) -> None:
    frame = pd.DataFrame({"run_id": names, "loss": 3.5})
    for text in (as_csv(frame), as_json_lines(frame)):
        assert parse(text.encode(), "t")["run_id"].tolist() == names


def test_whole_numbers_with_gaps_stay_whole_and_losses_stay_real() -> None:
    frame = pd.DataFrame({"seed": [1.0, np.nan], "loss": [3.0, np.nan]})
    assert as_csv(frame) == "seed,loss\n1,3.0\n,\n"
    assert as_json_lines(frame) == '{"seed": 1, "loss": 3.0}\n{"seed": null, "loss": null}\n'


def test_a_suffix_says_the_format_and_a_file_is_kept(tmp_path: Path) -> None:
    frame = pd.DataFrame({"loss": [3.0]})
    assert encoded(frame, Path("a.csv")) == as_csv(frame)
    assert encoded(frame, Path("a.ndjson")) == as_json_lines(frame)
    with pytest.raises(DataError, match=r"ends in \.csv, \.jsonl or \.ndjson"):
        encoded(frame, Path("a.xlsx"))
    path = write_new("x", tmp_path / "a.csv")
    with pytest.raises(DataError, match="not overwritten"):
        write_new("y", path)
    assert path.read_text() == "x"
    with pytest.raises(DataError, match="cannot write"):
        write_new("y", path / "b.csv")
