"""Completion in a shell, and what doctor says of this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cli import cli
from tests.conftest import ROOT

COMPLETED = [
    ("study gro", {"grokking"}),
    ("plan --law besi", {"besiroglu2024"}),
    ("plan --gpu h100", {"h100", "h100-nvl", "h100-pcie"}),
    ("train-grid mar", {"markov", "markov2"}),
    ("fit --obj", {"--objective"}),
    ("laws hoff", {"hoffmann2022"}),
    ("ba", {"backtest"}),
]


def scalefit(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scalefit", *arguments], cwd=ROOT, env={**os.environ, **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("typed", "wanted"), COMPLETED, ids=[typed for typed, _ in COMPLETED])
def test_commands_options_and_names_are_completed(typed: str, wanted: set[str]) -> None:
    done = scalefit(
        COMP_WORDS=f"scalefit {typed}",
        COMP_CWORD=str(len(typed.split())),
        _SCALEFIT_COMPLETE="bash_complete",
    )
    found = {line.removeprefix("plain,") for line in done.stdout.splitlines()}
    assert wanted <= found
    assert all(name.startswith(typed.rsplit(maxsplit=1)[-1]) for name in found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_a_shell_are_printed(shell: str) -> None:
    done = scalefit("completion", shell)
    assert done.returncode == 0, done.stderr
    assert f"_SCALEFIT_COMPLETE={shell}_complete" in done.stdout
    assert "to have it in every shell" in done.stderr


def test_the_lines_for_bash_are_valid() -> None:
    lines = scalefit("completion", "bash").stdout
    done = subprocess.run(
        ["bash", "-c", 'eval "$1" && complete -p scalefit', "-", lines],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "-F _scalefit_completion" in done.stdout, done.stderr


def test_doctor_says_versions_devices_and_where_results_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results.parquet").mkdir()
    (tmp_path / "scalefit.toml").write_text("[fit]\nlevel = 0.9\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = json.loads(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)
    assert found["packages"]["numpy"] == np.__version__
    assert found["extras"]["train"]["torch"]
    assert found["devices"][0].startswith("cpu, ")
    assert found["results"] == ["results.parquet"]
    assert found["fits"] == []
    assert found["config"] == "scalefit.toml"
    assert found["environment"]["OMP_NUM_THREADS"] == "1"
    text = CliRunner().invoke(cli, ["doctor"]).stdout
    assert f"numpy {np.__version__}" in text
    assert "results          results.parquet" in text


def test_doctor_says_how_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from trainers import doctor

    monkeypatch.setattr(doctor, "find_spec", lambda _name: None)
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else "1.0")
    found = doctor.examine(Path())
    assert found["devices"] == []
    assert 'pip install "scalefit[train]"' in doctor.doctor_text(found)
