"""The diagnosis against planted faults, and against what is known of the published runs."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalefit.diagnosis import influence as influences
from scalefit.diagnosis.diagnose import Diagnosis, diagnose
from scalefit.diagnosis.influence import Refits, influence, without
from scalefit.diagnosis.residuals import clustering, groups, residuals, spread, unit_labels
from scalefit.diagnosis.sensitivity import THRESHOLDS
from scalefit.errors import FitError
from scalefit.fitting import fit
from scalefit.fitting.objective import OBJECTIVES
from scalefit.runs import Runs, read
from scalefit.simulate import Noise, simulate, write
from tests.conftest import known_law


def table(folder: Path, noise: Noise, *, seed: int = 0, sizes: int = 12, counts: int = 10) -> Runs:
    law = known_law("chinchilla")
    n, d = np.meshgrid(np.geomspace(5e7, 1e10, sizes), np.geomspace(1e9, 3e11, counts))
    frame = simulate(law, params=n, tokens=d, noise=noise, seed=seed)
    return read(write(frame, folder / f"{len(list(folder.iterdir()))}.parquet"))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return table(tmp_path_factory.mktemp("clean"), Noise(sd=0.005))


@pytest.fixture(scope="module")
def epoch_diagnosis(epoch: Runs) -> Diagnosis:
    return diagnose(epoch)


def test_the_five_published_outliers_are_found_and_named(
    epoch: Runs, epoch_diagnosis: Diagnosis
) -> None:
    found = epoch_diagnosis.influence
    assert set(found.removed) == set(np.flatnonzero(epoch.frame["published_outlier"]))
    assert found.estimates["beta"] == pytest.approx(0.45305, abs=1e-5)
    assert found.path[-1].estimates["beta"] == pytest.approx(0.3671724, abs=1e-6)
    assert found.shift < -4
    (sentence,) = [text for text in epoch_diagnosis.findings if text.startswith("Without 5")]
    assert "from 0.453 to 0.367" in sentence
    for row in found.removed:
        assert str(epoch.frame["run_id"][row]) in sentence


def test_the_runs_with_less_than_a_token_per_parameter_are_off_the_law(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    left = residuals(fit(runs, bootstrap=0).law, runs)
    (edge,) = [g for g in groups(runs, left) if (g.axis, g.part) == ("D/N", "lowest")]
    assert edge.rows == 6
    assert edge.high < 1
    assert edge.mean == pytest.approx(0.028, abs=0.001)
    assert edge.z > 3


def test_the_noise_of_the_published_runs_is_neither_normal_nor_independent(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    left = residuals(fit(runs, bootstrap=0).law, runs)
    shape, shared = spread(left), clustering(runs, left)
    assert (shape.sd, shape.robust_sd) == pytest.approx((0.0075, 0.0049), abs=5e-5)
    assert shape.df == pytest.approx(2.67, abs=0.05)
    assert shape.kurtosis > 10
    assert shared is not None
    assert (shared.unit, shared.units) == ("size", 41)
    assert shared.icc == pytest.approx(0.15, abs=0.02)
    assert 0.001 < shared.p < 0.05  # 9e-4 by the F test, which these tails mislead


def test_the_choices_stand_side_by_side(epoch_diagnosis: Diagnosis) -> None:
    rows = epoch_diagnosis.sensitivity
    assert {row.objective for row in rows} == set(OBJECTIVES)
    # The influential rows are those of the highest losses, so there are two sets of rows, not 3.
    assert len(rows) == 2 * (len(OBJECTIVES) - 1 + len(THRESHOLDS))
    by = {(r.objective, r.delta, r.used): r for r in rows}
    assert by["huber-log", 1e-3, 240].value == pytest.approx(0.0010182740178, rel=1e-9)
    assert by["huber-log", 1e-3, 245].value == pytest.approx(0.00182601052, rel=1e-8)
    assert by["huber-log", 1e-3, 245].estimates["beta"] == pytest.approx(0.45305, abs=1e-5)
    assert by["mse-log", None, 240].estimates["beta"] == pytest.approx(0.406, abs=1e-3)
    assert by["huber-log", 1e-3, 240].optimum == pytest.approx(3.4e10, rel=0.01)


def test_dropping_one_row_is_exact(clean: Runs) -> None:
    fitted = fit(clean, bootstrap=50)
    found = influence(clean, fitted, parameter="a", drop=1)
    assert found.exact.all()
    for row in (0, 57, int(np.abs(found.alone - found.estimates["a"]).argmax())):
        rest = fit(without(clean, (row,), "test"), bootstrap=0)
        assert found.alone[row] == pytest.approx(rest.intervals["a"].value, abs=1e-6)


def test_one_step_picks_those_that_refits_would(
    clean: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = fit(clean, bootstrap=50)
    full = influence(clean, fitted, drop=3)
    monkeypatch.setattr(influences, "WORK", 0)
    screened = influence(clean, fitted, drop=3)
    assert 0 < screened.exact.sum() < len(clean)
    assert screened.removed == full.removed
    step = Refits(clean, fitted)
    optimum = step.find(np.ones(len(clean)))
    guess = step.step(optimum, np.ones(len(clean)), unit_labels(clean, "row"))[:, 4]
    assert np.corrcoef(guess, full.alone)[0, 1] > 0.5


def test_a_path_never_moves_back_and_is_refitted_from_scratch(clean: Runs) -> None:
    found = influence(clean, fit(clean, bootstrap=50), parameter="alpha", drop=4)
    values = [found.estimates["alpha"], *(step.estimates["alpha"] for step in found.path)]
    moves = np.diff(values)
    assert (moves > 0).all() or (moves < 0).all()
    rest = fit(without(clean, found.removed, "test"), bootstrap=0)
    assert values[-1] == pytest.approx(rest.law.params["alpha"], rel=1e-7)


def test_whole_sizes_are_removed_at_once(clean: Runs) -> None:
    found = influence(clean, fit(clean, bootstrap=50), drop=2, unit="size")
    assert [len(step.rows) for step in found.path] == [10, 10]
    for step in found.path:
        assert len(set(clean.frame["params"].iloc[list(step.rows)])) == 1


def test_no_more_is_removed_than_a_fit_can_lose(tmp_path: Path) -> None:
    small = table(tmp_path, Noise(sd=0.01), sizes=4, counts=3)
    fitted = fit(small, bootstrap=20)
    found = influence(small, fitted, drop=12)
    assert 0 < len(found.path) <= 6
    assert fit(without(small, found.removed, "test"), bootstrap=0).used >= 6
    by_size = influence(small, fitted, drop=4, unit="size")
    assert len(by_size.path) == 1  # three sizes must stay


def test_clean_noise_raises_no_alarm(clean: Runs) -> None:
    found = diagnose(clean, drop=0, bootstrap=50)
    assert found.spread.robust_sd == pytest.approx(0.005, rel=0.2)
    assert found.spread.df > 5
    assert found.clustering.p > 0.05
    assert max(abs(group.z) for group in found.groups) < 3
    assert found.influence.path == ()
    assert not any(text.startswith(("Off the law", "Without")) for text in found.findings)


def test_planted_faults_are_named(tmp_path: Path) -> None:
    heavy = spread(np.random.default_rng(0).standard_t(3, 2000))
    assert heavy.df == pytest.approx(3, abs=0.5)
    shared = table(tmp_path, Noise(sd=0.01, shared=0.5), sizes=20)
    found = clustering(shared, residuals(known_law("chinchilla"), shared))
    assert (found.unit, found.units) == ("run", 20)
    assert found.icc == pytest.approx(0.5, abs=0.2)
    assert found.p < 0.001
    bent = table(tmp_path, Noise(sd=0.005))
    starved = bent.frame["tokens"] / bent.frame["params"] < 0.31
    bent.frame.loc[starved, "loss"] *= 1.05
    texts = diagnose(bent, drop=0, bootstrap=50).findings
    assert any(f"Off the law: the {starved.sum()} rows of lowest D/N" in text for text in texts)


def test_losses_that_were_computed_are_recognised(tmp_path: Path) -> None:
    found = diagnose(table(tmp_path, Noise(sd=0.0)), drop=1, bootstrap=20)
    assert "computed, not measured" in found.findings[0]
    assert found.clustering is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_digitised_sizes_are_one_size(epoch: Runs) -> None:
    labels = unit_labels(epoch, "size")
    frame = pd.DataFrame({"label": labels, "params": epoch.frame["params"]})
    assert frame.groupby("label")["params"].agg(lambda x: x.max() / x.min()).max() < 1.02
    assert unit_labels(epoch, "run").tolist() == list(range(245))


def test_the_json_is_whole(epoch_diagnosis: Diagnosis) -> None:
    document = json.loads(json.dumps(epoch_diagnosis.to_dict(), allow_nan=False))
    assert document["schema"] == 1
    assert set(document) == {
        "schema", "findings", "law", "objective", "rows", "residuals", "influence", "sensitivity",
    }  # fmt: skip
    assert [step["rows"] for step in document["influence"]["path"]] == [[1], [2], [3], [4], [5]]
    assert document["influence"]["alone"][0]["rows"] == [1]


def test_unknown_parameters_and_units_are_refused(clean: Runs) -> None:
    with pytest.raises(FitError, match="no parameter 'gamma'; choose one of E, A"):
        diagnose(clean, parameter="gamma", bootstrap=20)
    with pytest.raises(FitError, match="row, run, size"):
        diagnose(clean, unit="batch", bootstrap=20)
