"""What a source is, is told by what it holds; any bytes are imported or refused in words."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scalefit.errors import DataError
from scalefit.importers.convert import convert
from scalefit.importers.rows import Wanted
from scalefit.importers.sources import KINDS, Choice, kind_of, read_sources
from tests.importers.written import chart, mlruns, nanochat_log, nanogpt_log, trainer_state

CURVE = {100: 4.0, 200: 3.5}
TEXTS = {
    "nanogpt": nanogpt_log(CURVE),
    "nanochat": nanochat_log(CURVE),
    "trainer": trainer_state(CURVE),
    "wandb": chart({"a": CURVE}),
}
HISTORY = '{"_step": 0, "loss": 3.5, "_runtime": 1}\n{"_step": 1, "loss": 3.25}\n'
RESULTS = "depth,num_params,num_iterations,tokens_trained,val_bpb\n8,100,10,5242880,0.9\n"


def put(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


@pytest.mark.parametrize("kind", list(TEXTS))
def test_a_file_is_told_by_its_content(tmp_path: Path, kind: str) -> None:
    assert kind_of(put(tmp_path / "something.bin", TEXTS[kind])) == kind


def test_other_shapes_are_told_too(tmp_path: Path) -> None:
    assert kind_of(put(tmp_path / "h", HISTORY)) == "wandb"
    assert kind_of(put(tmp_path / "i", json.dumps([{"_step": 1, "loss": 2}]))) == "wandb"
    assert kind_of(put(tmp_path / "r", RESULTS)) == "nanochat"
    assert (
        kind_of(put(tmp_path / "e", b"\x18\0\0\0\0\0\0\0abcd\x09..brain.Event:2")) == "tensorboard"
    )
    assert kind_of(put(tmp_path / "d", b"SQLite format 3\0...")) == "mlflow"
    assert kind_of("wandb:me/scaling") == "wandb"
    assert kind_of("mlflow:http://localhost:5000#scaling") == "mlflow"


def test_a_folder_is_told_by_its_shape(tmp_path: Path) -> None:
    assert kind_of(str(mlruns(tmp_path / "mlruns", [("a", CURVE)]))) == "mlflow"
    put(tmp_path / "hf" / "gpt" / "trainer_state.json", TEXTS["trainer"])
    assert kind_of(str(tmp_path / "hf")) == "trainer"
    put(tmp_path / "logs" / "a" / "train.log", TEXTS["nanogpt"])
    assert kind_of(str(tmp_path / "logs")) == "nanogpt"
    put(tmp_path / "tb" / "x" / "events.out.tfevents.1.vm", b"")
    assert kind_of(str(tmp_path / "tb")) == "tensorboard"


def test_a_folder_of_two_kinds_is_a_choice(tmp_path: Path) -> None:
    put(tmp_path / "gpt" / "trainer_state.json", TEXTS["trainer"])
    put(tmp_path / "gpt" / "runs" / "events.out.tfevents.1.vm", b"")
    with pytest.raises(DataError, match=r"runs of trainer and tensorboard; choose with --from"):
        kind_of(str(tmp_path))
    assert read_sources([str(tmp_path)], Choice(kind="trainer"))[0].runs == ["gpt"]


def test_what_cannot_be_told_is_refused_with_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=", ".join(KINDS)):
        kind_of(put(tmp_path / "runs.csv", "params,tokens,loss\n1,2,3\n"))
    with pytest.raises(DataError, match="does not exist"):
        kind_of(str(tmp_path / "absent"))
    with pytest.raises(DataError, match="is by its content none of"):
        kind_of(str(tmp_path))


def test_forced_to_the_wrong_kind_a_source_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.log", TEXTS["nanogpt"])
    for kind in ("wandb", "mlflow", "nanochat-folder", "trainer"):
        place = str(tmp_path) if kind == "nanochat-folder" else path
        with pytest.raises(DataError):
            read_sources([place], Choice(kind=kind.partition("-")[0]))


def test_logs_are_read_together_and_named_apart(tmp_path: Path) -> None:
    sources = [put(tmp_path / name / "gpt.log", TEXTS["nanogpt"]) for name in ("a", "b")]
    found = read_sources([*sources, put(tmp_path / "w.csv", TEXTS["wandb"])], Choice())
    assert [one.runs for one in found] == [["a"], ["a/gpt", "b/gpt"]]


def test_two_sources_with_a_run_of_one_name_are_refused(tmp_path: Path) -> None:
    sources = [put(tmp_path / name, TEXTS["wandb"]) for name in ("x.csv", "y.csv")]
    with pytest.raises(DataError, match=r"two runs are called 'a', one of .*x\.csv and .*y\.csv"):
        read_sources(sources, Choice())


def test_a_filter_is_for_servers(tmp_path: Path) -> None:
    path = put(tmp_path / "a.log", TEXTS["nanogpt"])
    with pytest.raises(DataError, match="--filter is for wandb: and mlflow: sources"):
        read_sources([path], Choice(filter="x"))


MESSY = st.one_of(
    st.binary(max_size=300),
    st.sampled_from([*TEXTS.values(), HISTORY, RESULTS]).flatmap(
        lambda text: st.tuples(
            st.integers(0, len(text)), st.integers(0, len(text)), st.binary(max_size=8)
        ).map(lambda cut: text.encode()[: cut[0]] + cut[2] + text.encode()[cut[1] :])
    ),
)


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(MESSY, st.sampled_from([None, *KINDS]))
@example(b"[" * 100_000, None)
@example(b'{"log_history": [{"step": 1e400, "loss": {}}], "global_step": []}', "trainer")
@example(b"SQLite format 3\0 and no more", None)
@example(b"step 99999999999999999999: train loss 1, val loss 2", None)
@example(b"step 1: train loss 1.2.3, val loss ,", None)
def test_any_bytes_are_imported_or_refused_in_words(
    tmp_path: Path, content: bytes, kind: str | None
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(content)
    wanted = Wanted(params={None: 1e6}, tokens_per_step={None: 1e3}, all_steps=True)
    try:
        made = convert(read_sources([str(path)], Choice(kind=kind)), wanted)
    except DataError as error:
        said, counts = str(error), [1e6]
    else:
        said, counts = (
            "imported",
            [row["params_total"] for part in made.rows.values() for row in part],
        )
    assert len(said.splitlines()) == 1
    assert set(counts) == {1e6}
