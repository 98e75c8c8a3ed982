"""The page of a report: whole, self-contained, escaped, reproducible."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from cli import cli
from scalefit.errors import ScalefitError
from scalefit.fitting import fit
from scalefit.fitting.parameters import parameters
from scalefit.laws import form_named
from scalefit.quantities import format_number
from scalefit.report import html
from scalefit.report.drawings import HEAVIEST
from scalefit.report.gather import Found, gather
from tests.conftest import as_runs, known_law, simulate

LARGEST = 2_000_000
VOID = {"meta", "input", "br", "img", "link", "hr"}


class Reader(HTMLParser):
    """Collects what a page consists of, and refuses elements that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("runs")
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), folder)
    return gather(fit(runs, bootstrap=100), runs)


@pytest.fixture(scope="module")
def page(found: Found) -> str:
    return html.page(found)


def test_a_page_is_one_file_that_asks_for_nothing(page: str) -> None:
    assert len(page.encode()) < LARGEST
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert "src" not in attributes or str(attributes["src"]).startswith("data:"), tag
        if tag == "a":
            assert str(attributes["href"]).startswith("#")
    styles = " ".join(re.findall(r"<style.*?</style>", page, re.DOTALL))
    assert "@import" not in styles
    assert "url(http" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert len(reader.ids) == len(set(reader.ids))
    links = {str(a["href"])[1:] for tag, a in reader.tags if tag == "a"}
    assert links <= set(reader.ids)
    used = set(re.findall(r'xlink:href="#([^"]+)"', page))
    assert used <= set(reader.ids)


def test_every_field_has_a_label_and_every_figure_words(page: str, found: Found) -> None:
    form = page[page.index("<form") : page.index("</form>")]
    assert form.count("<label>") == len(re.findall(r"<(?:input|select)\b", form)) == 7
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        assert re.search(r'(aria-label|alt)="[^"]{10,}"', figure)
        assert "<figcaption>" in figure
    assert found.comparison is not None
    assert page.count('<th scope="row">') > 10


def test_the_page_says_what_the_fit_says(page: str, found: Found) -> None:
    for name, entry in found.fit.intervals.items():
        assert format_number(entry.value) in page, name
    proof = found.fit.certificate
    assert proof is not None
    assert f"{proof.agreeing} of {proof.starts} starts" in page
    data = re.search(r'id="planner-data">(.*?)</script>', page)
    assert data is not None
    said = json.loads(data[1])
    assert said["theta"] == found.fit.law.theta.tolist()
    assert said["draws"] == found.fit.draws.tolist()


def test_the_same_runs_give_the_same_page(page: str, found: Found) -> None:
    assert html.page(found) == page


def test_text_of_a_table_is_escaped(tmp_path: Path) -> None:
    frame = simulate(known_law("chinchilla"), noise=0.01, sizes=5, per_size=5)
    frame["run_id"] = [f'<script>alert("{i}")</script>&' for i in range(len(frame))]
    path = tmp_path / "<b>bold&.parquet"
    frame.to_parquet(path)
    done = CliRunner().invoke(
        cli, ["report", str(path), "-o", str(tmp_path / "r.html"), "--bootstrap", "40"]
    )
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&amp;" in page


def test_what_cannot_be_had_is_a_sentence(tmp_path: Path) -> None:
    frame = simulate(known_law("chinchilla"), noise=0.01, sizes=4, per_size=3)
    runs = as_runs(frame, tmp_path)
    found = gather(fit(runs, bootstrap=40), runs)
    page = html.page(found)
    assert found.missing.keys() <= {"comparison", "diagnosis", "backtest"}
    for reason in found.missing.values():
        assert reason.split("'")[0] in page


def test_what_was_given_is_said_and_where_it_does_not_hold(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    wishes = parameters(form_named("chinchilla"), fix=[("E", 1.8)], bound=[], tie=[])
    fitted = fit(runs, bootstrap=20, parameters=wishes)
    found = Found(
        fit=fitted, runs=runs, comparison=None, diagnosis=None, backtest=None,
        missing=dict.fromkeys(("comparison", "diagnosis", "backtest"), "left out"),
    )  # fmt: skip
    page = html.page(found)
    assert "As given: E" in page
    assert "fitted without that" in page
    assert "fitted without that" not in html.page(replace(found, fit=fit(runs, bootstrap=20)))


def test_a_heavy_figure_is_a_picture(tmp_path: Path) -> None:
    frame = simulate(known_law("chinchilla"), noise=0.01, sizes=60, per_size=60)
    runs = as_runs(frame, tmp_path)
    found = Found(
        fit=fit(runs, bootstrap=20), runs=runs, comparison=None, diagnosis=None, backtest=None,
        missing=dict.fromkeys(("comparison", "diagnosis", "backtest"), "left out"),
    )  # fmt: skip
    page = html.page(found)
    assert "data:image/png;base64," in page
    assert len(page) < LARGEST
    assert HEAVIEST * 9 < LARGEST


def test_a_form_that_the_page_cannot_plan_says_how_to(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    page = html.page(gather(fit(runs, form="kaplan", bootstrap=40), runs))
    assert "scalefit plan --law FIT.json" in page
    assert "planner-data" not in page.split("<script>")[0]


@pytest.mark.parametrize(
    ("rows", "said"), [(1, "1 usable row"), (0, "has no rows")], ids=["one run", "no run"]
)
def test_too_few_runs_are_refused_in_words(tmp_path: Path, rows: int, said: str) -> None:
    path = tmp_path / "few.csv"
    simulate(known_law("chinchilla")).head(rows).to_csv(path, index=False)
    done = CliRunner().invoke(cli, ["report", str(path), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 1
    assert said in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_only_an_older_report_is_written_over(tmp_path: Path, found: Found) -> None:
    place = tmp_path / "r.html"
    assert html.write(found, place) == place
    assert html.write(found, place) == place
    other = tmp_path / "mine.html"
    other.write_text("<html>mine</html>")
    with pytest.raises(ScalefitError, match="is no report, so it is kept"):
        html.write(found, other)
    assert other.read_text() == "<html>mine</html>"
    with pytest.raises(ScalefitError, match="cannot be written"):
        html.write(found, tmp_path / "no" / "r.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.html", "r.html"]


def test_export_without_losses_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    pd.DataFrame({"params": [1e6, 2e6], "tokens": [1e8, 2e8]}).to_csv(path, index=False)
    done = CliRunner().invoke(cli, ["report", str(path), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 1
    assert "loss" in done.stderr
    assert not (tmp_path / "r.html").exists()
