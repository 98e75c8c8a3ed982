"""The frame of studies: what is listed, what is written, what is refused."""

import ast
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure

from cli import cli
from scalefit.errors import StudyError
from tests.conftest import ROOT
from trainers.study import Ask, Finding, Study, perform, studies, study


def ask(*arguments, code=0):
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done


def test_every_study_says_in_a_line_what_it_is():
    known = studies()
    assert "epochs" in known
    for name, about in known.items():
        assert 20 < len(about) <= 100, name
        assert about.endswith("."), name
        assert f"{name}  " in ask("studies").stdout
    assert json.loads(ask("studies", "--json").stdout) == known


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_names_its_sources_and_what_it_bears_on(name):
    found = study(name)
    assert found.seeds >= 1
    assert found.sources
    assert found.bears_on.endswith(".")
    assert found.title
    tree = ast.parse((ROOT / "trainers/studies" / f"{name.replace('-', '_')}.py").read_text())
    assert len(ast.get_docstring(tree).splitlines()) > 2


def test_a_study_leaves_a_table_and_a_figure_and_says_what_it_found(tmp_path: Path):
    said = ask("study", "epochs", "--seeds", "3", "--output", str(tmp_path))
    assert "showed: " in said.stdout
    assert "(3 seeds" in said.stdout
    table = pd.read_parquet(tmp_path / "epochs.parquet")
    assert set(table["seed"]) == {0, 1, 2}
    assert (tmp_path / "epochs.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epochs.parquet", "epochs.png"]
    found = json.loads(
        ask("study", "epochs", "--seeds", "3", "--output", str(tmp_path), "--json").stdout
    )
    assert found["finding"]["showed"] is True
    assert found["table"] == str(tmp_path / "epochs.parquet")


def test_what_cannot_be_run_is_one_sentence(tmp_path: Path):
    assert 'did you mean "epochs"?' in ask("study", "epoch", code=1).stderr
    assert "scalefit studies lists them" in ask("study", "zzz", code=1).stderr
    assert "--seeds" in ask("study", "epochs", "--seeds", "0", code=2).stderr
    (tmp_path / "file").write_text("")
    said = ask("study", "epochs", "--output", str(tmp_path / "file"), code=2).stderr
    assert "is a file" in said
    with pytest.raises(StudyError, match="cannot be written to"):
        perform("epochs", tmp_path / "file" / "below")
    with pytest.raises(StudyError, match="has no fuller form"):
        perform("epochs", tmp_path, full=True)
    with pytest.raises(StudyError, match="reads no data"):
        perform("epochs", tmp_path, data=tmp_path / "file")


def made(asked: list[Ask]) -> Study:
    """A study that only notes what it is asked."""

    def run(ask: Ask) -> pd.DataFrame:
        asked.append(ask)
        ask.tell("half way")
        return pd.DataFrame({"seed": list(ask.seeds), "x": 1.0})

    def find(_table: pd.DataFrame) -> Finding:
        return Finding(showed=True, criterion="none", text=(), numbers={})

    return Study(
        title="made", sources=("none",), bears_on="nothing.", seeds=2, run=run, find=find,
        draw=lambda _table: Figure(), full="more of it", data="a file",
    )  # fmt: skip


def test_the_full_form_has_files_of_its_own_and_is_told_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Ask] = []
    monkeypatch.setattr("trainers.study.study", lambda _name: made(asked))
    perform("made", tmp_path)
    kept = (tmp_path / "made.parquet").read_bytes()
    said: list[str] = []
    done = perform(
        "made", tmp_path, seeds=3, full=True, data=tmp_path / "mine.npz", tell=said.append
    )
    assert done.table == tmp_path / "made-full.parquet"
    assert (tmp_path / "made.parquet").read_bytes() == kept
    plain, full = asked
    assert (list(plain.seeds), plain.full, plain.data, plain.device) == ([0, 1], False, None, "cpu")
    assert (list(full.seeds), full.full, full.data) == ([0, 1, 2], True, tmp_path / "mine.npz")
    assert full.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert said == ["half way"]


@pytest.mark.parametrize(
    "name", [name for name in sorted(studies()) if study(name).full and study(name).data]
)
def test_a_full_form_that_wants_images_says_which_file_to_bring(tmp_path: Path, name: str):
    said = ask("study", name, "--full", "--output", str(tmp_path), code=1).stderr
    assert re.search(r"give (mnist\.npz|cifar-10-binary\.tar\.gz) with --data", said)
    missing = ("--data", str(tmp_path / "no.npz"))
    said = ask("study", name, "--full", *missing, "--output", str(tmp_path), code=1).stderr
    assert "cannot be read" in said
    assert list(tmp_path.iterdir()) == []
