"""The whole pipeline against truth: a source of known entropy is trained on, fitted and found."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

TOLERANCE = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("markov")
    scalefit("train-grid", "markov", cwd=folder)
    return folder


def scalefit(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scalefit", *arguments],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def fitted_floor(folder: Path, *options: str) -> float:
    out = scalefit(
        "fit", "results.parquet", "--json", "--no-figures", "--bootstrap", "0", *options, cwd=folder
    )
    document = json.loads(out)
    assert document["status"] == "converged"
    return float(document["law"]["params"]["E"])


def test_the_fitted_floor_is_the_entropy_of_the_source(folder: Path) -> None:
    entropies = set(pd.read_parquet(folder / "results.parquet")["source_entropy"])
    (truth,) = entropies
    floors = [fitted_floor(folder, "--where", f"seed == {seed}") for seed in range(3)]
    assert sum(floors) / 3 == pytest.approx(truth, rel=TOLERANCE)
    assert fitted_floor(folder) == pytest.approx(truth, rel=TOLERANCE)


def test_no_loss_lies_below_the_entropy(folder: Path) -> None:
    rows = pd.read_parquet(folder / "results.parquet")
    assert (rows["loss"] > rows["source_entropy"] - 3 * rows["loss_stderr"]).all()


def test_the_same_command_has_nothing_left_to_do(folder: Path) -> None:
    assert "nothing to train" in scalefit("train-grid", "markov", cwd=folder)
