"""Every command that README, docs and --help show runs, and prints what the README says."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from tests.conftest import ROOT
from tests.docs.examples import blocks, perform, prepare, shown

ELSEWHERE = {
    "scalefit import wandb:": "asks the network; its reader is tested with a stand-in",
    "scalefit train-grid --launcher dask": "asks a cluster; tests/trainers/launch has a real one",
}
"""Examples that are not run here, by how they begin, and why."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder)
    return folder


@pytest.fixture(autouse=True)
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own: no example leaves anything to another."""
    copy = tmp_path / "here"
    shutil.copytree(prepared, copy)
    monkeypatch.chdir(copy)
    return copy


EXAMPLES = shown()


@pytest.mark.parametrize("line", EXAMPLES, ids=list(EXAMPLES))
def test_every_example_runs(line: str, folder: Path) -> None:
    for start, reason in ELSEWHERE.items():
        if line.startswith(start):
            pytest.skip(reason)
    for name in re.findall(r"(?:-o|--output)[ =](\S+\.\w+)", line):
        (folder / name).unlink(missing_ok=True)  # nothing is written over what is there
    done = perform(line, folder)
    assert done.exit_code == 0, f"{EXAMPLES[line]}: {line}\n{done.output}"


def test_examples_were_found_everywhere() -> None:
    places = set(EXAMPLES.values())
    assert {"README.md", "docs/training.md", "scalefit fit --help"} <= places
    assert len(EXAMPLES) > 60


@pytest.mark.parametrize("number", range(2))
def test_the_readme_prints_what_is_printed(number: int) -> None:
    block = [one for one in blocks(ROOT / "README.md", "") if one.startswith("$ ")][number]
    command, _, wanted = block.partition("\n")
    assert CliRunner().invoke(cli, ["fit", "results.parquet"]).exit_code == 0
    done = CliRunner().invoke(cli, command.removeprefix("$ scalefit ").split())
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    said = "\n".join([done.stdout.rstrip(), *notes])
    assert said.strip() == wanted.strip()


def test_the_pythons_of_the_pages_run() -> None:
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in blocks(path, "python"):
            # read by people as they would type it; what it needs lies in this folder
            exec(compile(block, f"{path.name}", "exec"), {})
