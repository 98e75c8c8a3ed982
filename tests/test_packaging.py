"""The built wheel, not the tree: what it holds, and that it works alone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, known_law, simulate


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_installs_two_names_only(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"scalefit", "trainers"}


def test_the_wheel_carries_what_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "scalefit/_cli.py",
        "scalefit/py.typed",
        "scalefit/laws/published.toml",
        "scalefit/planning/hardware.toml",
        "trainers/grids/text.toml",
        "trainers/grids/markov.toml",
    } <= names


def test_the_wheel_fits_and_plans_without_the_tree(wheel: Path, tmp_path: Path) -> None:
    # A target folder and not an environment: its dependencies are those of this one.
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(target), str(wheel)], check=True, capture_output=True)
    simulate(known_law("chinchilla"), noise=0.01).to_csv(tmp_path / "runs.csv", index=False)
    env = {**os.environ, "PYTHONPATH": str(target)}
    for arguments in (["fit", "runs.csv", "--bootstrap", "20"], ["plan", "--flops", "1e21"]):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "scalefit", *arguments],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import scalefit; print(scalefit.__file__)"],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(target) in where.stdout


def test_the_editable_install_sees_edits_of_the_tree() -> None:
    code = "import scalefit, sys; print(scalefit.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).parent == ROOT / "scalefit"


def test_the_version_is_said_once_and_the_same() -> None:
    import tomllib

    from scalefit import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__
