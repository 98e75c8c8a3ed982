"""The frame of studies: what is listed, what is written, what is refused."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from cli import cli
from scalefit.errors import StudyError
from tests.conftest import ROOT
from trainers.study import perform, studies, study


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
