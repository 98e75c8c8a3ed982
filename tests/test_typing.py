"""A user's program under two type checkers: what is right passes, each mistake is found."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM, WRONG = (ROOT / "tests" / "typing" / name for name in ("program.py", "wrong.py"))
MISTAKES = {8, 9, 10, 11}
"""Lines of wrong.py."""


def mypy(path: Path) -> subprocess.CompletedProcess[str]:
    options = ("--strict", "--follow-imports=silent", "--no-error-summary")
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def pyright(path: Path) -> subprocess.CompletedProcess[str]:
    command = shutil.which("pyright", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("pyright is not installed")
    try:  # the first run fetches it from npm
        told = subprocess.run(
            [command, "--version"], capture_output=True, text=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        pytest.skip("pyright cannot be fetched")
    if told.returncode:
        pytest.skip(f"pyright cannot be run: {(told.stderr or told.stdout).splitlines()[-1:]}")
    command_line = [command, "--pythonpath", sys.executable, str(path)]
    return subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_program_of_the_public_names_is_typed(checker) -> None:
    done = checker(PROGRAM)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_mistakes_are_found(checker) -> None:
    done = checker(WRONG)
    assert done.returncode == 1
    assert {int(line) for line in re.findall(r"wrong\.py:(\d+)", done.stdout)} == MISTAKES
