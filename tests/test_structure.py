"""What keeps the house in shape: import directions, file sizes, no machine's paths."""

import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BLOCKED = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "trainers"}:
            raise AssertionError(f"scalefit imports {name}")

sys.meta_path.insert(0, Blocker())
import scalefit
names = [m.name for m in pkgutil.walk_packages(scalefit.__path__, "scalefit.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""


def test_scalefit_works_without_torch_and_without_trainers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15


@pytest.mark.parametrize("command", [["train-grid", "markov"], ["study", "epochs"]])
def test_training_without_torch_says_what_to_install(tmp_path, command) -> None:
    code = (
        "import sys, importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'torch' else real(name, *a)\n"
        f"sys.argv = ['scalefit', *{command!r}]\n"
        "from scalefit.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 1
    assert re.search(r'pip install "scalefit\[(train|studies)\]"', done.stderr)
    assert "Traceback" not in done.stderr


WITHOUT_EXTRAS = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "filelock", "submitit", "distributed", "sklearn",
                                      "threadpoolctl", "tokenizers", "vega_datasets"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
sys.argv = ["scalefit", *sys.argv[1:]]
from scalefit.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["grids"], 'digits: the source digits needs scikit-learn.*"scalefit\\[images\\]"'),
        (["grids", "text"], 'source = "text"'),
        (["studies"], "knots  "),
        (["status", "."], "0 done"),
        (["tune", "--help"], "learning rate"),
    ],
)
def test_what_needs_no_extra_works_without(tmp_path, command, said) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *command], cwd=tmp_path, capture_output=True,
        text=True, check=False, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(said, done.stdout, re.DOTALL)


def test_rooms_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("scalefit", "trainers", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_rooms_do_not_know_the_commands() -> None:
    """A command parses, calls and prints; nothing that it calls may call it."""
    named = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "scalefit").rglob("*.py")
        if "scalefit.commands" in path.read_text() and path.parent.name != "commands"
    }
    assert not named
    trainers = {
        path.name
        for path in (ROOT / "trainers").rglob("*.py")
        if "scalefit.commands" in path.read_text()
    }
    assert trainers == {"commands.py", "options.py", "terminal.py"}
