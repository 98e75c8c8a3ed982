"""The scan of the exponents: it excludes what is worse, and sees what is better."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from scalefit.fitting import fit, load, save
from scalefit.fitting.objective import OBJECTIVES, huber, objective_named
from scalefit.fitting.optimum import find
from scalefit.fitting.scan import scan
from scalefit.runs import Runs
from tests.conftest import as_runs, known_law, simulate


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_all_but_the_optimum_is_excluded(epoch: Runs, name: str) -> None:
    found = fit(epoch.without_highest(5), objective=name, bootstrap=0, certify=True)
    seen = found.certificate.scan
    assert seen.excluded
    assert seen.radius < 0.05
    assert seen.lowest >= 1 - 1e-8
    assert seen.cells < 5000


def test_a_point_that_is_not_the_optimum_is_found_out() -> None:
    table = simulate(known_law("chinchilla"), noise=0.01)
    models = known_law("chinchilla").form.models(
        *(table[c].to_numpy() for c in ("params", "tokens", "loss"))
    )
    ones = np.ones(len(table))
    best = find(models, huber(), ones)
    # The optimum with alpha held too high: "success" for many an optimiser.
    theta = best.theta.copy()
    theta[3] += 0.2
    claimed = dataclasses.replace(best, theta=theta, value=best.value * 1.05)
    seen = scan(huber(), claimed, ones, ("alpha", "beta"))
    assert not seen.excluded
    assert seen.lowest < 0.96


def test_a_scan_needs_two_free_exponents(tmp_path: Path) -> None:
    from scalefit.fitting.parameters import parameters

    law = known_law("chinchilla")
    tied = parameters(law.form, tie=[("alpha", "beta")])
    found = fit(
        as_runs(simulate(law, noise=0.01), tmp_path), parameters=tied, bootstrap=0, certify=True
    )
    assert found.certificate.scan is None


def test_a_scan_survives_json(tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.01), tmp_path)
    found = fit(runs, bootstrap=0, certify=True)
    again = load(save(found, tmp_path / "x.fit.json"))
    assert again.certificate == found.certificate


def test_the_scan_rounds_a_kink_without_losing_the_optimum() -> None:
    table = simulate(known_law("asymmetric"), noise=0.02)
    models = known_law("asymmetric").form.models(
        *(table[c].to_numpy() for c in ("params", "tokens", "loss"))
    )
    ones, objective = np.ones(len(table)), objective_named("lad-log", 1e-3)
    best = find(models, objective, ones)
    assert scan(objective, best, ones, ("alpha", "beta")).excluded
