"""trainer_state.json: measurements at their steps, totals, checkpoints of one run."""

import json
from pathlib import Path

import pytest

from scalefit.errors import DataError
from scalefit.importers.trainer import read_states, state_files
from tests.importers.written import trainer_state

LOSSES = {100: 4.0, 200: 3.5}


def place(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_state_gives_its_losses_and_totals(tmp_path: Path) -> None:
    path = place(tmp_path / "gpt" / "trainer_state.json",
                 trainer_state(LOSSES, num_input_tokens_seen=1_000_000))  # fmt: skip
    found = read_states([path], str(path))
    assert found.runs == ["gpt"]
    assert found.frame["step"].tolist() == [100, 200]
    assert found.frame["eval_loss"].tolist() == [4.0, 3.5]
    assert found.frame["loss"].tolist() == [3.9, 3.4]
    assert "train_loss" not in found.metrics  # the mean of the whole run is no step's
    facts = {name: fact.value for name, fact in found.facts["gpt"].items()}
    assert facts == {"tokens_per_step": 5000, "flops_per_step": 3e10, "lr": 1e-5}


def test_totals_of_zero_state_nothing(tmp_path: Path) -> None:
    path = place(tmp_path / "a" / "trainer_state.json", trainer_state(LOSSES, total_flos=0))
    assert set(read_states([path], str(path)).facts["a"]) == {"lr"}


def test_the_last_checkpoint_of_a_run_speaks_for_it(tmp_path: Path) -> None:
    for step in (100, 1000, 200):
        text = trainer_state({s: 5 - s / 1000 for s in range(100, step + 1, 100)})
        place(tmp_path / "gpt" / f"checkpoint-{step}" / "trainer_state.json", text)
    place(tmp_path / "opt" / "checkpoint-100" / "trainer_state.json", trainer_state({100: 3.0}))
    place(tmp_path / "opt" / "trainer_state.json", trainer_state(LOSSES))
    files = state_files(tmp_path)
    assert [str(path.parent.relative_to(tmp_path)) for path in files] == [
        "gpt/checkpoint-1000", "opt",
    ]  # fmt: skip
    found = read_states(files, str(tmp_path))
    assert found.runs == ["gpt", "opt"]
    assert any("checkpoint-1000" in note for note in found.notes)


def test_a_pickle_beside_it_is_not_read(tmp_path: Path) -> None:
    place(tmp_path / "gpt" / "trainer_state.json", trainer_state(LOSSES))
    (tmp_path / "gpt" / "training_args.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    assert read_states(state_files(tmp_path), str(tmp_path)).runs == ["gpt"]


def test_nan_is_a_loss_that_diverged(tmp_path: Path) -> None:
    text = trainer_state(LOSSES).replace('"eval_loss": 3.5', '"eval_loss": NaN')
    path = place(tmp_path / "trainer_state.json", text)
    assert read_states([path], "x").frame["eval_loss"].tolist() == [4.0, float("inf")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "no log_history and global_step"),
        (json.dumps({"log_history": [3], "global_step": 1}), "an entry of log_history has no step"),
        (json.dumps({"log_history": [], "global_step": 1}), "no measurement of any run"),
        (json.dumps({"log_history": [{"step": 1.5, "loss": 2}], "global_step": 1}), "step 1.5"),
    ],
)
def test_a_torn_state_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = place(tmp_path / "trainer_state.json", text)
    with pytest.raises(DataError, match=said):
        read_states([path], str(path))
