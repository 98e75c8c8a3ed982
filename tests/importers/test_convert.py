"""Imported runs become rows; what was taken from where is said, what is missing is asked for."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalefit import runs
from scalefit.errors import DataError
from scalefit.importers.convert import Converted, convert
from scalefit.importers.imported import Fact, Imported
from scalefit.importers.output import write
from scalefit.importers.rows import Wanted

FACTS = {
    "params_total": Fact(value=1e6, origin="the log"),
    "tokens_per_step": Fact(value=1000.0, origin="the log"),
}


def imported(metrics: dict[str, Sequence[float]], run: str = "a", **changes: Any) -> Imported:
    """A run with these metrics at steps 0, 100, 200, ... ; NaN is not logged, inf not finite."""
    count = len(next(iter(metrics.values())))
    frame = pd.DataFrame({"run": [run] * count, "step": range(0, 100 * count, 100)} | metrics)
    plain = Imported(
        kind="wandb", source="export.csv", frame=frame, facts={run: FACTS}, step_origin="Step"
    )
    return replace(plain, **changes)


def rows(made: Converted) -> list[dict[str, Any]]:
    return [dict(row) for part in made.rows.values() for row in part]


def origins(made: Converted) -> dict[str, str]:
    return {one.column: one.origin for one in made.taken}


LOSSES = {"val/loss": (5.0, 4.0, 3.5)}
NAN = math.nan


def test_the_last_checkpoint_with_a_loss_is_the_row_of_a_run() -> None:
    made = convert([imported({"val/loss": (5.0, 4.0, 3.5, NAN)})], Wanted())
    (row,) = rows(made)
    assert (row["step"], row["loss"], row["tokens"], row["params_total"]) == (
        200,
        3.5,
        200_000,
        1e6,
    )
    assert row["flops"] == 6 * 1e6 * 200_000
    assert row["batch_tokens"] == 1000
    assert {one.reason: one.rows for one in made.dropped} == {
        "no val/loss at this step": 1,
        "no token seen yet (step 0)": 1,
        "earlier checkpoint of its run": 1,
    }
    assert origins(made)["loss"] == '"val/loss"'
    assert origins(made)["tokens"] == "step x 1,000 (the log)"


def test_all_checkpoints_are_rows_where_asked_for() -> None:
    made = convert([imported(LOSSES)], Wanted(all_steps=True))
    assert [(row["step"], row["loss"]) for row in rows(made)] == [(100, 4.0), (200, 3.5)]
    assert len(made.rows) == 1


def test_a_run_that_diverged_has_no_loss_and_says_so() -> None:
    made = convert([imported({"val/loss": (5.0, 4.0, math.inf)})], Wanted())
    assert [(row["loss"], row["status"]) for row in rows(made)] == [(None, "diverged")]
    made = convert([imported({"val/loss": (5.0, 4.0, math.inf)})], Wanted(all_steps=True))
    assert [row.get("status") for row in rows(made)] == [None, "diverged"]


@pytest.mark.parametrize(
    ("names", "metric"),
    [
        (["loss"], "loss"),
        (["loss", "eval_loss"], "eval_loss"),
        (["train/loss", "val/loss", "lr"], "val/loss"),
        (["train_loss", "val_bpb"], "val_bpb"),
        (["train/loss", "eval/c4/loss"], "eval/c4/loss"),
        (["Loss/validation_loss", "Loss/train"], "Loss/validation_loss"),
    ],
)
def test_the_only_held_out_loss_is_the_loss(names: list[str], metric: str) -> None:
    made = convert([imported(dict.fromkeys(names, (5.0, 4.0)))], Wanted())
    assert origins(made)["loss"] == f'"{metric}"'


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["eval_c4_loss", "eval_wiki_loss"], r"may be the loss \(eval_c4_loss, eval_wiki_loss\)"),
        (["train/loss", "aux/loss"], "several metrics may be the loss"),
        (["accuracy"], r"no metric is called a loss \(accuracy\); choose with --metric"),
        (["evaluated_loss", "closs"], "several metrics"),
    ],
)
def test_another_choice_is_the_users(names: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        convert([imported(dict.fromkeys(names, (5.0, 4.0)))], Wanted())


def test_a_metric_is_named_in_full_or_by_its_last_part() -> None:
    one = imported({"eval/c4/loss": (5.0, 4.0), "eval/wiki/loss_w": (5.0, 3.0)})
    for given in ("eval/c4/loss", "eval_c4_loss", "loss"):
        assert rows(convert([one], Wanted(metric=given)))[0]["loss"] == 4.0
    with pytest.raises(DataError, match="no metric 'lss' for --metric; it has eval/c4/loss"):
        convert([one], Wanted(metric="lss"))


def test_what_no_source_states_is_asked_for() -> None:
    one = imported(LOSSES, facts={})
    with pytest.raises(DataError, match=r"run 'a' of export.csv states no number of parameters; "
                       "give --params a=124M, or --params 124M"):  # fmt: skip
        convert([one], Wanted(tokens_per_step={None: 10.0}))
    with pytest.raises(DataError, match=r"run 'a' of export.csv states no tokens; give "
                       "--tokens-per-step a=491520"):  # fmt: skip
        convert([one], Wanted(params={None: 1e6}))


def test_what_is_given_comes_before_what_is_stated_and_for_one_run_before_all() -> None:
    two = [imported(LOSSES), imported(LOSSES, "b", facts={"b": FACTS})]
    wanted = Wanted(params={None: 2e6, "b": 3e6}, tokens_per_step={"b": 10.0})
    made = rows(convert(two, wanted))
    assert [(row["params_total"], row["tokens"]) for row in made] == [(2e6, 200_000), (3e6, 2000)]
    with pytest.raises(DataError, match=r"--params c=...: no run has this name"):
        convert(two, Wanted(params={"c": 1.0}))


def test_parts_of_stated_parameters_do_not_outlive_a_given_number() -> None:
    facts = {"a": FACTS | {"params_embedding": Fact(value=10.0, origin="the log")}}
    assert rows(convert([imported(LOSSES, facts=facts)], Wanted()))[0]["params_embedding"] == 10
    given = rows(convert([imported(LOSSES, facts=facts)], Wanted(params={None: 5.0})))
    assert "params_embedding" not in given[0]


def test_a_metric_that_counts_tokens_is_taken_if_it_grows() -> None:
    seen = LOSSES | {"train/tokens_seen": (0.0, NAN, 777.0), "tokens": (8.0, 8.0, 8.0)}
    made = convert([imported(seen)], Wanted(all_steps=True))
    assert [row["tokens"] for row in rows(made)] == [777]
    assert origins(made)["tokens"] == '"train/tokens_seen", its last value up to the step'
    twice = LOSSES | {"tokens": (1.0, 2.0, 3.0), "total_tokens": (1.0, 2.0, 4.0)}
    with pytest.raises(DataError, match="may both count tokens; choose with --tokens-metric"):
        convert([imported(twice)], Wanted())
    chosen = convert([imported(twice)], Wanted(tokens_metric="total_tokens"))
    assert rows(chosen)[0]["tokens"] == 4


def test_compute_is_the_sources_where_every_run_states_it() -> None:
    own = {"a": FACTS | {"flops_per_token": Fact(value=7e6, origin="FLOPs of the log")}}
    one, other = imported(LOSSES, facts=own), imported(LOSSES, "b", facts={"b": FACTS})
    assert rows(convert([one], Wanted()))[0]["flops"] == 7e6 * 200_000
    assert rows(convert([one], Wanted(six_nd=True)))[0]["flops"] == 6e6 * 200_000
    mixed = convert([one, other], Wanted())
    assert [row["flops"] for row in rows(mixed)] == [6e6 * 200_000] * 2
    assert any("1 of 2 runs state their own FLOP" in note for note in mixed.notes)
    step = {"a": FACTS | {"flops_per_step": Fact(value=5e9, origin="total_flos")}}
    assert rows(convert([imported(LOSSES, facts=step)], Wanted()))[0]["flops"] == 5e9 * 200


def test_units_come_from_the_option_the_name_or_the_source() -> None:
    facts = {"a": FACTS | {"loss_unit": Fact(value="nats/token", origin="train.py")}}
    for metric, given, unit in (
        ("val_loss", None, "nats/token"), ("val_bpb", None, "bits/byte"),
        ("val_loss", "bits/token", "bits/token"),
    ):  # fmt: skip
        one = imported({metric: (5.0, 4.0)}, facts=facts)
        assert rows(convert([one], Wanted(loss_unit=given)))[0]["loss_unit"] == unit
    assert rows(convert([imported(LOSSES)], Wanted()))[0]["loss_unit"] is None


def test_other_metrics_are_kept_as_columns() -> None:
    one = imported(LOSSES | {"train/loss": (5.0, 3.9, math.inf)})
    made = rows(convert([one], Wanted(all_steps=True, keep=("train/loss",))))
    assert [row["train_loss"] for row in made] == [3.9, None]
    with pytest.raises(DataError, match="would take the place of the table's own column lr"):
        convert([imported(LOSSES | {"lr": (1.0, 1.0, 1.0)})], Wanted(keep=("lr",)))


def test_runs_without_any_loss_are_counted_and_if_all_are_refused() -> None:
    none = imported({"val/loss": (NAN, NAN)}, "b", facts={"b": FACTS})
    made = convert([imported(LOSSES), none], Wanted())
    assert [row["run"] for row in rows(made)] == ["a"]
    with pytest.raises(DataError, match="no run has a row to import: 2 no val/loss at this step"):
        convert([none], Wanted())


def test_the_same_run_has_the_same_id_and_is_not_written_twice(tmp_path: Path) -> None:
    one, again = (convert([imported(LOSSES)], Wanted()).rows for _ in range(2))
    assert list(one) == list(again)
    write(one, tmp_path / "folder")
    with pytest.raises(DataError, match=r"run 'a' is in .*folder already .* 1 of 1 are"):
        write(again, tmp_path / "folder")
    write(convert([imported(LOSSES, "b", facts={"b": FACTS})], Wanted()).rows, tmp_path / "folder")
    assert sorted(runs.load(tmp_path / "folder")["run"]) == ["a", "b"]


def test_a_file_is_one_table_of_the_schema_and_never_overwritten(tmp_path: Path) -> None:
    facts = {"b": FACTS | {"device": Fact(value="H100", origin="the log")}}
    made = convert([imported(LOSSES), imported(LOSSES, "b", facts=facts)], Wanted())
    path = write(made.rows, tmp_path / "new" / "runs.parquet")
    assert [entry.name for entry in path.parent.iterdir()] == ["runs.parquet"]
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    assert schema.metadata == runs.SCHEMA.metadata
    assert schema.names[: len(runs.SCHEMA.names)] == runs.SCHEMA.names
    assert runs.load(path)["device"].isna().tolist() == [True, False]
    before = path.read_bytes()
    with pytest.raises(DataError, match="exists already and is not overwritten"):
        write(made.rows, path)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"no place for an import.*scalefit export"):
        write(made.rows, tmp_path / "runs.csv")


def test_a_table_that_was_imported_is_read_for_a_fit(tmp_path: Path) -> None:
    several = [imported({"val/loss": (5.0, 4.0 - i / 10)}, str(i), facts={str(i): FACTS})
               for i in range(3)]  # fmt: skip
    found = runs.read(write(convert(several, Wanted()).rows, tmp_path / "r.parquet"))
    assert len(found) == 3
    assert found.params_kind == "total"
