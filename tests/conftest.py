"""Known laws, small tables made from them, and the published tables where they are at hand."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalefit.laws import FORMS, Law
from scalefit.runs import Runs, read

ROOT = Path(__file__).parents[1]

SURFACES = {
    "chinchilla": {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37},
    "symmetric": {"E": 1.69, "A": 400.0, "B": 400.0, "alpha": 0.31, "beta": 0.31},
    "asymmetric": {"E": 2.1, "A": 4000.0, "B": 60.0, "alpha": 0.5, "beta": 0.18},
}


def published_folder() -> Path:
    """SCALEFIT_PUBLISHED, or shared/published beside the project."""
    return Path(os.environ.get("SCALEFIT_PUBLISHED", ROOT.parent / "shared" / "published"))


@pytest.fixture(scope="session")
def published_path() -> Callable[[str], Path]:
    def path(name: str) -> Path:
        found = published_folder() / name
        if not found.exists():
            pytest.skip(f"the published tables are not at hand ({found} is missing)")
        return found

    return path


@pytest.fixture(scope="session")
def epoch(published_path: Callable[[str], Path]) -> Runs:
    """The 245 digitised runs of Hoffmann et al. 2022 (Besiroglu et al. 2024)."""
    return read(published_path("chinchilla_epoch.parquet"))


@pytest.fixture(params=sorted(SURFACES))
def surface(request: pytest.FixtureRequest) -> Law:
    return known_law(request.param)


def known_law(name: str) -> Law:
    return Law(name=name, form=FORMS["chinchilla"], params=SURFACES[name])


def simulate(
    law: Law, *, noise: float = 0.0, seed: int = 0, sizes: int = 9, per_size: int = 6
) -> pd.DataFrame:
    """Runs of a known law over a grid of N and D, with Gaussian noise in log loss."""
    rng = np.random.default_rng(seed)
    n, d = np.meshgrid(np.geomspace(5e7, 1e10, sizes), np.geomspace(1e9, 3e11, per_size))
    n, d = n.ravel(), d.ravel()
    loss = law.loss(n, d) * np.exp(noise * rng.standard_normal(n.size))
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss})


def as_runs(frame: pd.DataFrame, tmp_path: Path) -> Runs:
    path = tmp_path / "table.parquet"
    frame.to_parquet(path)
    return read(path)
