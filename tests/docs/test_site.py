"""The documentation builds without a warning, and what is generated is up to date."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = ROOT / "docs"


def generator(name: str):
    spec = importlib.util.spec_from_file_location(name, PAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_commands_is_what_help_says() -> None:
    page = generator("reference").page()
    assert (PAGES / "reference" / "cli.md").read_text() == page, "run: python docs/reference.py"


def test_the_gallery_is_what_the_studies_said() -> None:
    page = generator("gallery").page()
    assert (PAGES / "gallery.md").read_text() == page, "run: python docs/gallery.py NAME"


def test_every_study_is_in_the_gallery() -> None:
    from trainers.study import studies

    page = (PAGES / "gallery.md").read_text()
    missing = [name for name in studies() if f"## {name}\n" not in page]
    assert not missing, f"run: python docs/gallery.py {' '.join(missing)}"
    for name in studies():
        assert (PAGES / "gallery" / f"{name}.png").exists()


def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "index.html").exists()
    assert "besiroglu2024" in (tmp_path / "reference" / "cli" / "index.html").read_text()
