"""The runs table: parts are whole or absent, and what is read is what may be fitted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import DataError
from scalefit.runs import SCHEMA, Runs, canonical_json, finished, read, run_id, write_part

ROW = {"params_total": 1000, "tokens": 20_000, "flops": 1.2e8, "loss": 3.5, "status": "ok"}
PUBLISHED = Path(
    os.environ.get("SCALEFIT_PUBLISHED", Path(__file__).parents[1] / "../shared/published")
)
UNREADABLE = {
    "bnsl_addition": 'no column with values for "params" .* and "tokens" .* and "flops"',
    "multipowerlaw_curves": 'no column with values for "tokens" .* and "flops"',
    "nanochat_optima": 'no column with values for "loss".* loss_bpb; map yours with --column loss=',
    "nmt_data_scaling": 'no column with values for "tokens" .* and "flops"',
    "porian_refinedweb_optima": 'no column with values for "params" .* and "tokens" .* and "loss"',
    "routing_curves": 'column "tokens": 223 of 5791 values are zero .*--where "tokens > 0"',
}


def table(tmp_path: Path, **columns: object) -> Path:
    path = tmp_path / "table.csv"
    frame = {"params": [1e6, 2e6], "tokens": [1e8, 2e8], "flops": [6e14, 2.4e15], "loss": [3, 2.5]}
    pd.DataFrame({**frame, **columns}).to_csv(path, index=False)
    return path


def reasons(runs: Runs) -> dict[str, int]:
    return {drop.reason: drop.rows for drop in runs.dropped}


# The name of a run


def test_run_id_is_the_hash_of_the_canonical_config() -> None:
    assert canonical_json({"b": 1, "a": [1, 2.5]}) == '{"a":[1,2.5],"b":1}'
    assert run_id({"b": 1, "a": [1, 2.5]}) == "12dd02522b415065"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_run_id_ignores_the_order_of_keys(config: dict[str, object]) -> None:
    backwards = dict(reversed(config.items()))
    assert run_id(config) == run_id(backwards)
    assert json.loads(canonical_json(config)) == config


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Path("x"), np.float32(1), {1, 2}])
def test_run_id_refuses_what_json_cannot_hold(value: object) -> None:
    with pytest.raises(DataError, match="no canonical JSON"):
        run_id({"value": value})


# Parts


def test_a_part_has_the_schema_and_its_version(tmp_path: Path) -> None:
    extra = {"corpus": "stdlib", "epochs": 1, "note": None}
    part = write_part(tmp_path / "new" / "results.parquet", "a1", [ROW, {"loss": np.nan} | extra])
    stored = pq.read_table(part)
    assert part.name == "a1.parquet"
    assert stored.schema.metadata == {b"scalefit.schema": b"1"}
    assert list(stored.schema)[: len(SCHEMA)] == list(SCHEMA)
    assert stored.column_names[len(SCHEMA) :] == ["corpus", "epochs"]
    assert stored["loss"].to_pylist() == [3.5, None]
    assert stored["run_id"].to_pylist() == ["a1", "a1"]
    assert stored["lr"].null_count == 2


def test_pandas_reads_the_folder_unaided(tmp_path: Path) -> None:
    write_part(tmp_path, "a", [ROW | {"extra": 1}])
    write_part(tmp_path, "b", [ROW | {"extra": 1.5}, ROW])
    (tmp_path / ".c@elsewhere@1.tmp").write_bytes(b"torn")
    frame = pd.read_parquet(tmp_path)
    assert frame["run_id"].tolist() == ["a", "b", "b"]
    assert frame["extra"].isna().tolist() == [False, False, True]
    assert finished(tmp_path) == {"a", "b"}
    assert finished(tmp_path / "absent") == set()


def test_nothing_measured_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = write_part(tmp_path, "a", [ROW])
    before = part.read_bytes()
    with pytest.raises(DataError, match="exists already"):
        write_part(tmp_path, "a", [ROW | {"loss": 1.0}])

    def no_hard_links(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", no_hard_links)
    with pytest.raises(DataError, match="exists already"):
        write_part(tmp_path, "a", [ROW | {"loss": 1.0}])
    write_part(tmp_path, "b", [ROW])
    assert part.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("a", [], "no rows"),
        ("../a", [ROW], "cannot name a file"),
        ("a", [{"tokens": 1.5}], 'column "tokens" cannot hold'),
        ("a", [{"tokens": "many"}], 'column "tokens" cannot hold'),
        ("a", [{"x": 1}, {"x": "one"}], 'column "x" cannot hold'),
    ],
)
def test_refuses_a_part_that_is_none(tmp_path: Path, name: str, rows: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_part(tmp_path, name, rows)
    assert list(tmp_path.iterdir()) == []


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(DataError, match="cannot write"):
        write_part(tmp_path / "results", "a", [ROW])


WRITER = """
import sys
from pathlib import Path
from scalefit.runs import write_part
directory, start = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for i in range(start, start + 1_000_000):
    write_part(directory, f"r{i}", [{"loss": 1.0, "tokens": i, "config": "x" * 20_000}])
"""


def test_kills_and_two_writers_leave_whole_parts_only(tmp_path: Path) -> None:
    for attempt in range(2):
        starts = (2 * attempt * 1_000_000, (2 * attempt + 1) * 1_000_000)
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(tmp_path), str(start)], stdout=subprocess.PIPE
            )
            for start in starts
        ]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        time.sleep(0.15)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
    orphan = tmp_path / f".r1@{os.uname().nodename}@{writers[0].pid}.tmp"
    orphan.write_bytes(b"PAR1")
    write_part(tmp_path, "last", [ROW])
    assert not list(tmp_path.glob(".*"))
    ids = finished(tmp_path)
    frame = pd.read_parquet(tmp_path)
    assert len(ids) > 4
    assert sorted(frame["run_id"]) == sorted(ids)


# Reading


def test_reads_its_own_table(tmp_path: Path) -> None:
    write_part(tmp_path, "a", [ROW, ROW | {"tokens": 40_000, "loss": 3.2, "flops": 2.4e8}])
    write_part(tmp_path, "b", [ROW | {"status": "diverged", "loss": None}])
    runs = read(tmp_path)
    assert len(runs) == 2
    assert runs.params_kind == "total"
    assert runs.notes == ('params is read from "params_total"',)
    assert reasons(runs) == {"status diverged": 1}
    assert runs.cluster is not None
    assert runs.cluster.tolist() == ["a", "a"]
    assert (runs.frame[["params", "tokens", "flops", "loss"]].dtypes == np.float64).all()


def test_non_embedding_parameters_on_demand(tmp_path: Path) -> None:
    write_part(tmp_path, "a", [ROW | {"params_non_embedding": 800}])
    runs = read(tmp_path, columns={"params": "params_non_embedding"})
    assert runs.frame["params"].tolist() == [800.0]
    assert runs.params_kind == "non_embedding"
    assert "differs from 6 * params * tokens by 25%" in runs.notes[-1]


def test_reads_the_table_of_besiroglu_et_al(tmp_path: Path) -> None:
    path = tmp_path / "svg_extracted_data.csv"
    path.write_text(
        "Model Size,Training Tokens,Training FLOP,loss\n"
        "6795600349.289497,245105957.9245427,9.993852799709755e+18,5.005581996196243\n"
    )
    runs = read(path)
    assert runs.frame["params"].tolist() == [6795600349.289497]
    assert runs.notes == (
        'params is read from "Model Size"',
        'tokens is read from "Training Tokens"',
        'flops is read from "Training FLOP"',
    )
    assert runs.params_kind == "unknown"
    assert runs.cluster is None


@pytest.mark.parametrize("missing", ["params", "tokens", "flops"])
def test_the_missing_quantity_follows_from_6nd(tmp_path: Path, missing: str) -> None:
    whole = pd.read_csv(table(tmp_path))
    path = tmp_path / "derived.csv"
    whole.drop(columns=missing).to_csv(path, index=False)
    runs = read(path)
    np.testing.assert_allclose(runs.frame[missing], whole[missing], rtol=1e-15)
    assert len(runs.notes) == 1
    assert runs.notes[0].startswith(f"{missing} = ")


def test_an_empty_column_is_a_missing_one(tmp_path: Path) -> None:
    assert read(table(tmp_path, flops=[None, None])).frame["flops"].tolist() == [6e14, 2.4e15]


def test_foreign_compute_is_kept_and_told(tmp_path: Path) -> None:
    runs = read(table(tmp_path, flops=[7.2e14, 2.88e15]))
    assert runs.frame["flops"].tolist() == [7.2e14, 2.88e15]
    assert "by 20% in the median (1.20 to 1.20 times it)" in runs.notes[0]


def test_where_sees_old_and_new_names_and_counts(tmp_path: Path) -> None:
    path = table(tmp_path, loss=None, val_loss=[3, 2.5], step=[10, 20])
    runs = read(path, columns={"loss": "val_loss"}, where="val_loss < 2.9 and loss < 2.9")
    assert runs.frame["step"].tolist() == [20]
    assert reasons(runs) == {"outside --where val_loss < 2.9 and loss < 2.9": 1}
    with pytest.raises(DataError, match="selects none of the 2 rows"):
        read(path, columns={"loss": "val_loss"}, where="step > 20")


def test_leaves_out_unmeasured_and_repeated_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "N": [1e6, 1e6, 1e6, 1e6],
            "D": [1e8, 1e8, 1e8, 1e8],
            "loss": [3.0, 3.0, 3.1, None],
            "seed": [0, 0, 1, 2],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    runs = read(tmp_path / "t.csv")
    assert runs.frame["loss"].tolist() == [3.0, 3.1]
    assert reasons(runs) == {"loss not measured": 1, "exact duplicate": 1}


def test_the_same_numbers_of_two_runs_are_not_duplicates(tmp_path: Path) -> None:
    both = {"params": [1e6] * 2, "tokens": [1e8] * 2, "flops": [6e14] * 2, "loss": [3, 3]}
    assert len(read(table(tmp_path, **both, run=["a", "b"]))) == 2
    assert len(read(table(tmp_path, **both, run=["a", "a"]))) == 1


def test_annealed_rows_stand_for_their_run(tmp_path: Path) -> None:
    def row(tokens: int, averaging: str) -> dict[str, object]:
        return ROW | {"tokens": tokens, "averaging": averaging}

    write_part(tmp_path, "a", [row(16_000, "raw"), row(20_000, "raw"), row(20_000, "cooldown")])
    write_part(tmp_path, "b", [row(20_000, "raw")])
    runs = read(tmp_path)
    assert list(zip(runs.frame["run_id"], runs.frame["averaging"], strict=True)) == [
        ("a", "cooldown"),
        ("b", "raw"),
    ]
    assert reasons(runs) == {"less annealed than other rows of their run": 2}
    assert len(read(tmp_path, where="averaging == 'raw'")) == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"loss": [3, "lots"]}, "column \"loss\", data row 2: 'lots' is not a number"),
        ({"tokens": [1e8, np.nan]}, 'column "tokens": 1 of 2 values are missing, .* data row 2'),
        ({"params": [0, 1e6]}, r'"params": 1 of 2 .* zero or negative, .* row 1;.*"params > 0"'),
        ({"flops": [6e14, np.inf]}, '"flops": 1 of 2 values are infinite'),
        ({"loss": [3, -1]}, r'"loss": 1 of 2 values are zero or negative.*--where "loss > 0"'),
        ({"loss": [np.nan, np.nan]}, "no row left to fit: 2 loss not measured"),
        ({"params": None, "tokens": None}, r'"params" \(tried .* and "tokens"'),
    ],
)
def test_bad_values_are_told_in_one_sentence(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(table(tmp_path, **columns))
    assert "\n" not in str(error.value)


def test_a_missing_loss_shows_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("params,tokens,perplexity\n1e6,1e8,20\n")
    with pytest.raises(DataError, match=r"it has params, tokens, perplexity; map .* loss=NAME"):
        read(path)


def test_the_fingerprint_knows_numbers_and_not_their_order(tmp_path: Path) -> None:
    first = read(table(tmp_path)).fingerprint()
    path = table(tmp_path)
    pd.read_csv(path)[::-1].to_csv(path, index=False)
    assert read(path).fingerprint() == first
    assert read(table(tmp_path, loss=[3, 2.6])).fingerprint() != first


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="SCALEFIT_PUBLISHED names no folder of tables")
def test_published_tables_read_or_say_why_not() -> None:
    paths = sorted(PUBLISHED.glob("*.parquet"))
    assert len(paths) == 17
    for path in paths:
        if message := UNREADABLE.get(path.stem):
            with pytest.raises(DataError, match=message):
                read(path)
        else:
            stored = pq.read_metadata(path).num_rows
            runs = read(path)
            assert len(runs) + sum(reasons(runs).values()) == stored
    curves = read(PUBLISHED / "routing_curves.parquet", where="tokens > 0")
    assert reasons(curves) == {"outside --where tokens > 0": 223, "loss not measured": 8}


def test_losses_in_different_units_are_not_one_table(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"N": [1e8, 2e8, 3e8], "D": [1e9] * 3, "loss": [3.0, 2.9, 1.1],
         "loss_unit": ["nats/token", "nats/token", "bits/byte"]}
    )  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    runs = read(tmp_path / "t.csv")
    assert len(runs) == 2
    assert runs.dropped[-1].reason == "loss in bits/byte, not nats/token"
    assert len(read(tmp_path / "t.csv", where="loss_unit == 'bits/byte'")) == 1


def test_a_missing_column_is_said_with_those_that_the_table_has(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    pd.DataFrame({"Model Size": [1e6], "Training Tokens": [1e8], "nll": [3.0]}).to_csv(
        path, index=False
    )
    with pytest.raises(DataError, match=r"it has Model Size, Training Tokens, nll;"):
        read(path)
