"""Weights & Biases: exports of charts and tables, histories, and the API by a stand-in."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scalefit.errors import DataError
from scalefit.importers.imported import Imported
from scalefit.importers.wandb import read_api, read_file
from tests.importers.written import chart

CURVES = {"brisk-pond-1": {10: 4.0, 20: 3.5}, "a - b": {10: 4.2, 30: 3.2}}


def read(tmp_path: Path, text: str, step: str | None = None) -> Imported:
    path = tmp_path / "export.csv"
    path.write_text(text)
    return read_file(path, step)


def values(found: Imported, run: str, metric: str) -> dict[int, float]:
    part = found.frame[(found.frame["run"] == run) & found.frame[metric].notna()]
    return dict(zip(part["step"].tolist(), part[metric].tolist(), strict=True))


def test_a_chart_has_a_column_a_run(tmp_path: Path) -> None:
    found = read(tmp_path, chart(CURVES))
    assert {run: values(found, run, "val/loss") for run in found.runs} == CURVES
    assert "__MIN and __MAX columns are left out" in found.notes
    assert "counts calls of wandb.log" in found.step_origin


def test_an_axis_of_optimiser_steps_is_the_step(tmp_path: Path) -> None:
    found = read(tmp_path, chart(CURVES, axis="train/global_step"))
    assert "train/global_step" in found.step_origin
    assert values(found, "brisk-pond-1", "val/loss") == CURVES["brisk-pond-1"]


def test_over_another_axis_each_run_has_steps_of_its_own(tmp_path: Path) -> None:
    text = 'epoch,"a - _step","a - _step__MIN","a - loss"\n1,10,10,4.0\n2,20,20,3.5\n'
    assert values(read(tmp_path, text), "a", "loss") == {10: 4.0, 20: 3.5}


def test_an_axis_that_counts_no_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'x axis is "Relative Time .* with Step on its x axis'):
        read(tmp_path, chart(CURVES, axis="Relative Time (Process)"))


def test_a_nan_of_a_chart_is_not_an_empty_cell(tmp_path: Path) -> None:
    found = read(tmp_path, 'Step,"a - loss","b - loss"\n1,3.0,2.0\n2,NaN,\n')
    assert values(found, "a", "loss") == {1: 3.0, 2: float("inf")}
    assert values(found, "b", "loss") == {1: 2.0}


TABLE = (
    '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","n_params","learning_rate",'
    '"val/loss","train/global_step"\n'
    '"d8","finished","","me","","2026-01-01T00:00:00.000Z","100","","25000000","0.001","3.5","840"\n'
    '"d12","crashed","","me","","2026-01-01T00:00:00.000Z","100","","85000000","0.001","3.1","500"\n'
)


def test_the_table_of_runs_has_a_row_a_run(tmp_path: Path) -> None:
    found = read(tmp_path, TABLE)
    assert found.frame["step"].tolist() == [840, 500]
    assert found.frame["val/loss"].tolist() == [3.5, 3.1]
    facts = {name: fact.value for name, fact in found.facts["d12"].items()}
    assert facts == {"params_total": 85_000_000, "lr": 0.001, "status": "failed"}


def test_runs_of_one_name_need_their_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 runs called 'd8'; export it with the column ID"):
        read(tmp_path, TABLE.replace("d12", "d8"))
    lines = TABLE.replace("d12", "d8").splitlines()
    marked = [f"{line},{end}" for line, end in zip(lines, ("ID", "x1", "x2"), strict=True)]
    assert read(tmp_path, "\n".join(marked)).runs == ["d8 (x1)", "d8 (x2)"]


def history(step: str) -> str:
    rows = [
        {"_step": 0, "_runtime": 1, step: 10, "loss": 4.0},
        {"_step": 1, "_runtime": 2, "eval/loss": 3.9},  # logged by another call
        {"_step": 2, "_runtime": 3, step: 20, "loss": float("nan"), "gradients": {"bins": [1]}},
    ]
    return "\n".join(map(json.dumps, rows))


def test_a_history_takes_the_runs_own_step_where_it_has_one(tmp_path: Path) -> None:
    found = read(tmp_path, history("train/global_step"))
    assert values(found, "export", "loss") == {10: 4.0, 20: float("inf")}
    assert values(found, "export", "eval/loss") == {10: 3.9}
    assert found.step_origin == '"train/global_step"'
    other = read(tmp_path, history("epoch"))
    assert values(other, "export", "eval/loss") == {1: 3.9}
    assert "counts calls of wandb.log" in other.step_origin
    assert values(read(tmp_path, history("seen"), "seen"), "export", "eval/loss") == {10: 3.9}


def test_two_steps_are_a_choice(tmp_path: Path) -> None:
    text = '{"_step": 0, "iter": 1, "train/global_step": 2, "loss": 3}'
    with pytest.raises(DataError, match=r"'iter' and 'train/global_step'.*--step-metric"):
        read(tmp_path, text)
    with pytest.raises(DataError, match="no column 'itr' for --step-metric"):
        read(tmp_path, text, "itr")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('Step,"a - loss"\n1\n', "data row 1 has 1 fields where the header has 2"),
        ('Step,"a - loss","a - loss"\n1,2,3\n', "two columns"),
        ('"Step\n', "unexpected end of data"),
        ("x,y\n1,2\n", "no export of W&B"),
        ('{"_step": 0}\n[1]\n', "record 2 is not an object"),
        ('{"_step": \n', "is not JSON lines"),
        ('Step,"a - loss"\n', "no measurement"),
    ],
)
def test_a_torn_export_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(tmp_path, text)


@dataclass
class Run:
    """What of wandb's Run is used, by the signatures of wandb 0.31.0."""

    name: str
    id: str
    state: str = "finished"
    config: Mapping[str, Any] = field(default_factory=dict)

    def scan_history(self) -> Iterator[dict[str, Any]]:
        yield {"_step": 0, "train/global_step": 100, "eval/loss": 3.5}
        yield {"_step": 1, "train/global_step": 200, "eval/loss": 3.25}


def stand_in(monkeypatch: pytest.MonkeyPatch, runs: list[Run] | Exception) -> list[Any]:
    asked: list[Any] = []

    class Error(Exception):
        pass

    def listed(path: str, filters: dict[str, Any] | None = None) -> list[Run]:
        asked.append((path, filters))
        if isinstance(runs, Exception):
            raise Error(str(runs))
        return runs

    module = SimpleNamespace(
        Api=lambda: SimpleNamespace(runs=listed), errors=SimpleNamespace(Error=Error)
    )
    monkeypatch.setitem(sys.modules, "wandb", module)  # type: ignore[arg-type]
    return asked


def test_the_api_gives_histories_and_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    unclear = {"lr": "0.01", "n_params": 3, "old": {"n_params": 4}}
    runs = [
        Run("d8", "x1", config={"model": {"size": {"n_params": 25e6}}}),
        Run("d8", "x2", "crashed"),
        Run("d12", "x3", "running", unclear),
    ]
    asked = stand_in(monkeypatch, runs)
    found = read_api("wandb:me/scaling", '{"state": "finished"}', None)
    assert asked == [("me/scaling", {"state": "finished"})]
    assert found.runs == ["d8 (x1)", "d8 (x2)", "d12"]
    assert values(found, "d12", "eval/loss") == {100: 3.5, 200: 3.25}
    stated = {run: {n: f.value for n, f in facts.items()} for run, facts in found.facts.items()}
    assert stated == {
        "d8 (x1)": {"params_total": 25e6, "status": "ok"},
        "d8 (x2)": {"status": "failed"},
        "d12": {"lr": 0.01},
    }


def test_what_the_api_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, ValueError("no project\nmore lines"))
    with pytest.raises(DataError, match=r"^wandb:me/none cannot be read: no project$"):
        read_api("wandb:me/none", None, None)
    for wrong in ("state=finished", "[1]"):
        with pytest.raises(DataError, match="--filter"):
            read_api("wandb:me/scaling", wrong, None)


def test_without_wandb_the_command_that_installs_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DataError, match=r'pip install "scalefit\[wandb\]"'):
        read_api("wandb:me/scaling", None, None)
