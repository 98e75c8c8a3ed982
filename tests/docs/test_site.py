"""The documentation builds without a warning, and what is generated is up to date."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import scalefit
from scalefit import figures
from tests.conftest import ROOT

PAGES, CONFIG = ROOT / "docs", ROOT / "mkdocs.yml"
MACHINE = re.compile(r"/(?:work|home|root|tmp|Users|var|opt)/\S*|\bC:\\\S+")
"""Paths of one machine; what stands in pages is relative, or begins with ~."""


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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; what would be a warning fails here."""
    if any(importlib.util.find_spec(name) is None for name in ("mkdocs", "material")):
        pytest.skip("mkdocs-material is not installed")
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return place


def test_the_site_builds_without_warnings(site: Path) -> None:
    assert (site / "index.html").exists()
    assert "besiroglu2024" in (site / "reference" / "cli" / "index.html").read_text()
    python = (site / "reference" / "python" / "index.html").read_text()
    for name in scalefit.__all__:
        if name != "__version__":
            assert f'id="scalefit.{name}"' in python, f"reference/python.md lacks {name}"
    for name in figures.__all__:
        assert f'id="scalefit.figures.{name}"' in python


def test_every_page_is_in_the_navigation() -> None:
    pages = {str(path.relative_to(PAGES)) for path in PAGES.rglob("*.md")}
    named = set(re.findall(r"^ +- .+: (\S+\.md)$", CONFIG.read_text(), re.MULTILINE))
    assert named == pages


def test_links_lead_to_what_is_there(site: Path) -> None:
    pages = {path.resolve(): Links.of(path) for path in site.rglob("*.html")}
    assert sum(len(page.links) for page in pages.values()) > 1000
    broken = [
        f"{place.relative_to(site)}: {link}"
        for place, page in pages.items()
        if place.name != "404.html"  # its links are those of a server's root
        for link in page.links
        if not _leads(link, place, pages)
    ]
    assert not broken, broken


def test_nothing_is_fetched_from_the_network(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = Links.of(path).loaded
        assert not [address for address in loaded if "//" in address], path


def test_no_page_speaks_of_the_machine_it_was_written_on(site: Path) -> None:
    for path in [*PAGES.rglob("*.md"), *site.rglob("*.html"), CONFIG]:
        found = MACHINE.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"


class Links(HTMLParser):
    """The links of a page, what it loads, and the places in it that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()

    @classmethod
    def of(cls, path: Path) -> "Links":
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in ("script", "img", "iframe") and "src" in found:
            self.loaded.append(found["src"])
        elif tag == "link" and found.get("rel") != "canonical" and "href" in found:
            self.loaded.append(found["href"])


def _leads(link: str, page: Path, pages: dict[Path, Links]) -> bool:
    """Whether a link within the site has a page, or file, and a place in it."""
    address, _, anchor = unquote(link).partition("#")
    if "://" in address or address.startswith("mailto:"):
        return True
    target = (page.parent / address).resolve() if address else page
    if target.is_dir():
        target /= "index.html"
    if target not in pages:
        return target.exists()
    return not anchor or anchor in pages[target].places or anchor == "__skip"
