"""Figures: drawn, whole, and with words on their axes."""

from pathlib import Path

import numpy as np
import pytest

from scalefit import figures
from scalefit.errors import ScalefitError
from scalefit.figures.planned import plan_figure
from scalefit.fitting import fit
from scalefit.frontiers.envelope import envelope
from scalefit.frontiers.isoflop import isoflop
from scalefit.laws import published
from scalefit.planning import plan
from scalefit.planning.rivals import rivals
from tests.conftest import as_runs, known_law, simulate
from tests.diagnosis.test_compare import crossed
from tests.laws.cases import CASES


def test_a_fit_is_drawn_with_named_axes(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    found = fit(runs, bootstrap=0)
    figure = figures.fit(found, runs)
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:3]]
    assert labels == [
        ("tokens D", "loss"),
        ("parameters N", "tokens D"),
        ("training compute, FLOP", "measured over law, %"),
    ]
    points = figure.axes[0].collections[0].get_offsets()
    assert len(points) == found.used
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = figures.save(figures.fit(found, runs), tmp_path / f"figure{suffix}")
        assert path.read_bytes().startswith(magic)


def test_a_plan_is_drawn_among_n_and_d_with_its_limits() -> None:
    law = published("muennighoff2023/data-constrained")
    found = plan(law, flops=1e22, unique_tokens=25e9, max_params=5e9)
    plane, cost, growth = plan_figure(found).axes
    assert (plane.get_xlabel(), plane.get_ylabel()) == ("parameters N", "tokens D")
    (star,) = (line for line in plane.lines if line.get_label() == "plan")
    assert star.get_xydata().tolist() == [[5e9, found.tokens.value]]
    (unique,) = (line for line in plane.lines if line.get_label() == "all unique tokens")
    assert set(unique.get_ydata()) == {25e9}
    assert cost.get_ylabel() == "loss, nats/token"
    assert max(max(line.get_xdata()) for line in cost.lines) <= 5e9 * (1 + 1e-9)
    assert [text.get_text() for text in growth.get_legend().get_texts()] == ["N*", "D*"]


def test_plans_without_a_surface_and_of_several_budgets_and_laws_are_drawn(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    fitted = fit(runs, bootstrap=40)
    several = plan_figure(plan(fitted, flops=np.geomspace(1e19, 1e23, 4)))
    assert [axes.get_ylabel() for axes in several.axes] == [
        "parameters N*, tokens D*", "tokens per parameter",
    ]  # fmt: skip
    labels = [text.get_text() for text in several.axes[0].get_legend().get_texts()]
    assert labels.count("95% interval") == 2
    assert "largest run behind it" in labels
    assert len(plan_figure(plan(published("kaplan2020"), flops=1e22)).axes) == 2
    names = ("besiroglu2024", "hoffmann2022", "kaplan2020")
    both = plan_figure(rivals([plan(published(name), flops=1e23) for name in names]))
    legend = [text.get_text() for text in both.axes[0].get_legend().get_texts()]
    assert legend == list(names)
    assert len(both.axes[1].lines) == 4  # a curve and a mark for each law that says the loss


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla")), tmp_path)
    with pytest.raises(ScalefitError, match="cannot be written"):
        figures.save(figures.fit(fit(runs, bootstrap=0), runs), tmp_path / "no" / "figure.png")


@pytest.mark.parametrize(
    ("form", "labels"),
    [
        ("offset-d", ["tokens D", "fitted loss"]),
        ("data-constrained", ["parameters N", "tokens D", "unique tokens", "fitted loss"]),
        ("downstream", ["loss", "fitted error"]),
        ("optimal-batch", ["tokens D", "fitted batch, tokens"]),
    ],
)
def test_any_other_law_is_drawn_by_its_variables(form: str, labels: list[str]) -> None:
    case = next(case for case in CASES if case.form == form)
    runs = case.runs(noise=0.01)
    figure = figures.fit(fit(runs, form=form, bootstrap=0), runs)
    assert [axes.get_xlabel() for axes in figure.axes] == labels


@pytest.mark.parametrize("approach", [envelope, isoflop])
def test_a_frontier_is_drawn_with_its_optima(approach) -> None:
    runs = crossed(known_law("chinchilla"))
    found = approach(runs, bootstrap=30)
    figure = figures.fit(found, runs)
    source, sizes, data, *_ = figure.axes
    assert (sizes.get_ylabel(), data.get_ylabel()) == ("parameters N*", "tokens D*")
    used = [point for point in found.points if not point.note]
    marked = [line for line in sizes.lines if line.get_label() == "optima"]
    assert len(marked[0].get_xdata()) == len(used)
    assert source.get_ylabel() == "loss"


def test_no_figure_shares_its_name_with_a_module() -> None:
    modules = {path.stem for path in Path(str(figures.__file__)).parent.glob("*.py")}
    assert not modules & set(figures.__all__)
