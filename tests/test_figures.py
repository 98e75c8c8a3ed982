"""Figures: drawn, whole, and with words on their axes."""

from pathlib import Path

import pytest

from scalefit.errors import ScalefitError
from scalefit.figures import fit_figure, save_fit
from scalefit.fitting import fit
from tests.conftest import as_runs, known_law, simulate


def test_a_fit_is_drawn_with_named_axes(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    found = fit(runs, bootstrap=0)
    figure = fit_figure(found, runs)
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes[:3]]
    assert labels == [
        ("tokens D", "loss"),
        ("parameters N", "tokens D"),
        ("training compute, FLOP", "measured over law, %"),
    ]
    points = figure.axes[0].collections[0].get_offsets()
    assert len(points) == found.used
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        path = save_fit(found, runs, tmp_path / f"figure{suffix}")
        assert path.read_bytes().startswith(magic)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla")), tmp_path)
    with pytest.raises(ScalefitError, match="cannot be written"):
        save_fit(fit(runs, bootstrap=0), runs, tmp_path / "no" / "figure.png")
