"""Any common table is read by content, and its columns by the names that people give them."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scalefit.errors import DataError
from scalefit.importers import load, parse, recognise

ROWS = [{"n": 1.5e9, "name": "a", "ok": True}, {"n": 0.1, "name": "b,c", "ok": False}]


def encoded(rows: list[dict[str, object]]) -> dict[str, bytes]:
    frame = pd.DataFrame(rows)
    return {
        "parquet": frame.to_parquet(),
        "comma": frame.to_csv(index=False).encode(),
        "semicolon": frame.to_csv(index=False, sep=";").encode(),
        "tab": frame.to_csv(index=False, sep="\t").encode(),
        "bom": frame.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig"),
        "lines": "\n".join(map(json.dumps, rows)).encode(),
        "array": json.dumps(rows, indent=1).encode(),
    }


@pytest.mark.parametrize("kind", list(encoded(ROWS)))
def test_format_is_told_by_content(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"  # whatever its suffix says
    path.write_bytes(encoded(ROWS)[kind])
    pd.testing.assert_frame_equal(load(path), pd.DataFrame(ROWS), check_dtype=False)


def test_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(encoded(ROWS)["parquet"]))
    monkeypatch.setattr("sys.stdin", stdin)
    assert load("-")["n"].tolist() == [1.5e9, 0.1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_of_a_text_table_are_exact(values: list[float]) -> None:
    text = "x\n" + "\n".join(map(repr, values))
    assert parse(text.encode(), "t")["x"].tolist() == values


def test_run_labels_of_a_text_table_stay_text() -> None:
    frame = parse(b"run_id,loss\n1234567890123e45,\n12e9,1\n", "t")
    assert frame["run_id"].tolist() == ["1234567890123e45", "12e9"]
    assert frame["loss"].isna().tolist() == [True, False]


@given(st.binary(max_size=200))
@example(b",")
@example(b"\t\n;;")
def test_any_bytes_are_a_table_or_refused_in_words(content: bytes) -> None:
    try:
        assert isinstance(parse(content, "blob"), pd.DataFrame)
    except DataError as error:
        refusal = str(error)
    else:
        refusal = "blob"
    assert refusal.startswith("blob")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\x80\x04pickle", "byte 0 is not UTF-8"),
        (b"a\0b", "null byte"),
        (b"a,b\n1,2\n1,2,3\n", "data row 2 has 3 fields where the header has 2"),
        (b'a,b\n"1,2\n', "line 2: unexpected end of data"),
        (b'{"a": 1}\n{"a":\n', "line 2 is not JSON"),
        (b"[1, 2]", "record 1 is not an object"),
        (b"[" * 100_000, "nested too deeply"),
        (b"PAR1 and then nothing", "torn or damaged Parquet"),
        (encoded(ROWS)["parquet"][:-20], "torn or damaged Parquet"),
    ],
)
def test_says_why_it_is_no_table(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"blob.*{message}"):
        parse(content, "blob")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a,b\n", "has no rows"), (b"a,a\n1,2\n", 'two columns "a"'), (b"[]", "has no rows")],
)
def test_says_what_a_table_lacks(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(path)


def test_parts_with_different_columns_are_united(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1], "b": ["x"]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": [2], "c": [0.5]}).to_parquet(tmp_path / "2.parquet")
    (tmp_path / ".3.parquet").write_bytes(b"torn")
    (tmp_path / "README.md").write_text("notes")
    frame = load(tmp_path)
    assert frame["a"].tolist() == [1, 2]
    assert set(frame.columns) == {"a", "b", "c"}
    pd.testing.assert_frame_equal(load(f"{tmp_path}/*.parquet"), frame)


def test_a_torn_part_is_named(tmp_path: Path) -> None:
    for i in range(3):
        pd.DataFrame(ROWS).to_parquet(tmp_path / f"{i}.parquet")
    whole = (tmp_path / "1.parquet").read_bytes()
    (tmp_path / "1.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"1\.parquet is a torn.*2 of 3 files.*move 1\.parquet away"
    ):
        load(tmp_path)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"holds no \.parquet parts"):
        load(tmp_path)
    with pytest.raises(DataError, match="no file matches"):
        load(f"{tmp_path}/*.csv")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["Model Size", "Training Tokens", "Training FLOP", "loss"],
            ["Model Size", "Training Tokens", "Training FLOP", "loss"],
        ),
        (["N", "D", "C", "val_loss"], ["N", "D", "C", "val_loss"]),
        (["num-params", "TOKENS.SEEN", "train_flops", "Final Loss"],) * 2,
        (
            ["params", "params_total", "n", "tokens", "flops", "loss"],
            ["params", "tokens", "flops", "loss"],
        ),
        (
            ["params_total", "params_non_embedding", "tokens", "flops", "loss", "val_loss"],
            ["params_total", "tokens", "flops", "loss"],
        ),
        (
            ["params_non_embedding", "tokens", "flops", "loss"],
            ["params_non_embedding", "tokens", "flops", "loss"],
        ),
    ],
)
def test_names_of_other_people(names: list[str], found: list[str]) -> None:
    assert list(recognise(names, {}, "t").values()) == found


def test_two_names_for_one_quantity_are_settled_by_the_caller() -> None:
    names = ["N", "model_size", "loss"]
    with pytest.raises(DataError, match=r"'N' and 'model_size'.*--column params=NAME"):
        recognise(names, {}, "t")
    assert recognise(names, {"params": "model_size"}, "t")["params"] == "model_size"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"loss": "val_los"}, 'no column "val_los"; did you mean val_loss'),
        ({"los": "val_loss"}, 'no quantity is called "los"; did you mean loss'),
    ],
)
def test_says_which_name_is_wrong(columns: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        recognise(["N", "val_loss"], columns, "t")
