"""scalefit plot and report, as a user drives them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import cli
from scalefit import figures
from scalefit.commands.look import KINDS
from scalefit.fitting import fit
from tests.conftest import as_runs, known_law, simulate


def ask(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.stderr


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """isoFLOP runs of a known law, each with three checkpoints, so that all approaches work."""
    place = tmp_path_factory.mktemp("table") / "runs.csv"
    frame = simulate(known_law("chinchilla"), noise=0.003, sizes=9, per_size=12)
    frame["run_id"] = [f"size {n:.4g}" for n in frame["params"]]
    frame.to_csv(place, index=False)
    return place


@pytest.fixture(scope="module")
def budgets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("table") / "budgets.csv"
    said = ("simulate", "--law", "besiroglu2024", "--flops", "1e19:1e21:5", "-o", str(place))
    ask(*said)
    return place


@pytest.mark.parametrize("kind", [*KINDS, "plan"])
def test_every_kind_is_drawn(kind: str, curves: Path, budgets: Path, tmp_path: Path) -> None:
    table = curves if kind == "envelope" else budgets
    place = tmp_path / f"{kind}.svg"
    said = ask("plot", kind, str(table), "-o", str(place), "--bootstrap", "60")
    assert f"figure  {place}" in said
    text = place.read_text()
    assert text.startswith("<?xml")
    assert len(text) > 5000


def test_a_plan_is_drawn_of_a_law_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ask("plot", "plan", "besiroglu2024", "--flops", "1e23")
    assert (tmp_path / "plan.svg").exists()
    done = CliRunner().invoke(cli, ["plot", "plan", "besiroglu2024", "-o", "plan.pdf", "--json"])
    assert json.loads(done.stdout) == {"schema": 1, "kind": "plan", "figure": "plan.pdf"}
    assert (tmp_path / "plan.pdf").read_bytes().startswith(b"%PDF")


def test_what_cannot_be_drawn_is_one_sentence(budgets: Path, tmp_path: Path) -> None:
    table = str(budgets)
    assert ".svg, .png, .pdf" in ask("plot", "fit", table, "-o", str(tmp_path / "a.gif"), code=1)
    nowhere = str(tmp_path / "no" / "a.svg")
    assert "cannot be written" in ask("plot", "residuals", table, "-o", nowhere, code=1)
    assert "no two rows share a run" in ask("plot", "envelope", table, code=1)
    assert "a law of N and D" in ask("plot", "contours", table, "--form", "power-c", code=1)
    assert "data-constrained" in ask("plot", "fit", table, "--form", "chinchila", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_figures_are_drawn_into_axes_of_ones_own(tmp_path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    found = fit(runs, bootstrap=40)
    own = Figure().subplots(1, 3)
    for axes, draw in zip(own, (figures.curves, figures.contours, figures.residuals), strict=True):
        assert draw(found, runs, ax=axes) is axes
        assert axes.get_xlabel()
    alone = figures.contours(found, runs)
    assert alone is not own[1]
    labels = [text.get_text() for text in alone.get_legend().get_texts()]
    assert labels == ["runs", "compute-optimal", "its 95% interval"]


def test_a_report_is_written_and_said(budgets: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    done = CliRunner().invoke(
        cli, ["report", str(budgets), "-o", str(place), "--bootstrap", "60", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert f"report  {place}" in done.stderr
    found = json.loads(done.stdout)
    assert found["fit"]["status"] == "converged"
    assert found["comparison"] is not None
    page = place.read_text()
    assert f"Scaling law of {budgets.name}" in page
    assert "Approach 2: the best size at each budget." in page
