"""The runs that this project measured itself and keeps: what their fits must show."""

from pathlib import Path

import numpy as np
import pytest

import scalefit as sf
from tests.conftest import ROOT

KEPT = ROOT / "results"


def errors(runs, fit):
    """Log of predicted over measured loss, one a row."""
    frame = runs.frame
    return np.log(fit.law.loss(frame["params"].to_numpy(), frame["tokens"].to_numpy())) - np.log(
        frame["loss"].to_numpy()
    )


def largest(path: Path):
    """(the largest size's rows, a fit to all the others)."""
    size = sf.read(path).frame["params"].max()
    held, others = (sf.read(path, where=f"params_total {sign} {size:.0f}") for sign in ("==", "<"))
    return held, sf.fit(others, bootstrap=0)


def test_the_default_grid_is_described_and_extrapolated_by_its_law():
    path = KEPT / "text.parquet"
    runs = sf.read(path)
    fit = sf.fit(runs, bootstrap=0)
    assert fit.status == "converged"
    assert len(runs) == 75
    assert np.sqrt(np.mean(errors(runs, fit) ** 2)) <= 0.015
    held, others = largest(path)
    assert len(held) == 15
    assert np.abs(errors(held, others)).max() <= 0.03


def test_the_chains_floor_is_its_entropy():
    runs = sf.read(KEPT / "markov.parquet")
    fit = sf.fit(runs, bootstrap=200)
    truth = float(runs.frame["source_entropy"].iloc[0])
    assert fit.law.params["E"] == pytest.approx(truth, rel=0.005)
    assert np.sqrt(np.mean(errors(runs, fit) ** 2)) < 0.004


@pytest.mark.parametrize("averaging", ["ema", "raw"])
def test_an_average_stands_in_for_a_cooldown_and_the_trunk_does_not(averaging):
    runs = sf.read(KEPT / "markov.parquet", where=f"averaging == '{averaging}'")
    truth = float(runs.frame["source_entropy"].iloc[0])
    off = sf.fit(runs, bootstrap=0).law.params["E"] / truth - 1
    assert off < 0.005 if averaging == "ema" else off > 0.007


def test_images_follow_a_law_of_size_and_different_images():
    runs = sf.read(KEPT / "digits.parquet", columns={"tokens": "unique_tokens"})
    fit = sf.fit(runs, bootstrap=0)
    assert len(runs) == 90
    assert np.sqrt(np.mean(errors(runs, fit) ** 2)) < 0.12
    assert 0.5 < fit.law.params["beta"] < 1.1
