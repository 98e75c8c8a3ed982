"""Approaches, forms and conventions as a user types them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalefit.simulate import Noise, simulate
from tests.conftest import known_law
from tests.diagnosis.test_compare import crossed
from tests.test_cli import run

CHEAP = ("--bootstrap", "60", "--no-figures")


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.parquet"
    crossed(known_law("chinchilla"), budgets=9).frame.to_parquet(path)
    return path


def test_profiles_are_fitted_and_planned_by(profiles: Path, tmp_path: Path) -> None:
    done = run("fit", "sweep.parquet", "--method", "isoflop", "--bootstrap", "60", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a, N* ~ C^a" in done.stdout
    assert "9 of 9 optima" in done.stdout
    assert (tmp_path / "sweep.isoflop.fit.png").exists()
    planned = run("plan", "--flops", "1e22", "--law", "sweep.isoflop.fit.json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert "tokens D" in planned.stdout
    written = (tmp_path / "sweep.isoflop.fit.json").read_text()
    document = json.loads(written, parse_constant=pytest.fail)
    assert document["method"] == "isoflop"
    assert len(document["points"]) == 9


def test_curves_have_an_envelope(profiles: Path, tmp_path: Path) -> None:
    done = run("fit", "sweep.parquet", "--method", "envelope", *CHEAP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sweep.envelope.fit.json").exists()


def test_all_approaches_side_by_side(profiles: Path, tmp_path: Path) -> None:
    done = run("fit", "sweep.parquet", "--method", "all", "--bootstrap", "60", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("1 envelope", "2 isoflop", "3 parametric"):
        assert name in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {
        "sweep.fit.json", "sweep.isoflop.fit.json", "sweep.envelope.fit.json",
        "sweep.fit.png", "sweep.isoflop.fit.png", "sweep.envelope.fit.png", "sweep.approaches.png",
    }  # fmt: skip
    # The newest is what plan takes, and that is approach 3.
    planned = run("plan", "--flops", "1e22", cwd=tmp_path)
    assert "by sweep.fit.json, the newest fit in this folder" in planned.stdout


def test_the_form_that_predicts_best_is_taken(profiles: Path, tmp_path: Path) -> None:
    found = run("fit", "sweep.parquet", "--form", "auto", *CHEAP, "--json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout, parse_constant=pytest.fail)
    assert document["form"] == document["choice"]["form"]
    tried = {entry["form"] for entry in document["choice"]["candidates"]}
    assert tried >= {"chinchilla", "generalised", "kaplan", "overtraining"}


def test_conventions_are_audited(tmp_path: Path) -> None:
    from tests.diagnosis.test_audit import sweep

    sweep().frame.to_parquet(tmp_path / "sweep.parquet")
    arguments = ("fit", "sweep.parquet", "--audit", "--bootstrap", "20", "--flops", "1e20")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "neither embedding nor output" in done.stdout
    assert "at 1e20 FLOP" in done.stdout
    assert not list(tmp_path.glob("*.json"))
    document = json.loads(run(*arguments, "--json", cwd=tmp_path).stdout)
    assert len(document["conventions"]) == 6


def test_another_form_reads_what_it_is_about(tmp_path: Path) -> None:
    law = known_law("chinchilla")
    frame = simulate(
        law, params=[1e9] * 12, tokens=[2.0**k * 1e9 for k in range(12)], noise=Noise(sd=0.002)
    )
    frame[["tokens", "loss"]].rename(columns={"tokens": "examples"}).to_csv(
        tmp_path / "data.csv", index=False
    )
    done = run(
        "fit", "data.csv", "--form", "offset-d", "--column", "tokens=examples", "--bootstrap", "60",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "L(D) = E + (D_c/D)^alpha" in done.stdout
    assert "next" not in done.stderr  # a law of D alone plans nothing
    assert (tmp_path / "data.fit.png").exists()
    refused = run("plan", "--flops", "1e21", "--law", "data.fit.json", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "isoflop", "--fix", "E=1.7"), "--fix means nothing with --method isoflop"),
        (("--method", "all", "--certify"), "--certify means nothing with --method all"),
        (("--audit", "--form", "kaplan"), "--form means nothing with --audit"),
        (("--variant", "cubic"), "--variant means nothing with --method parametric"),
        (("--form", "cubic"), "no form is called 'cubic'"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    arguments: tuple[str, ...], message: str, profiles: Path, tmp_path: Path
) -> None:
    done = run("fit", "sweep.parquet", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_variant_names_the_known(profiles: Path, tmp_path: Path) -> None:
    done = run("fit", "sweep.parquet", "--method", "isoflop", "--variant", "quintic", cwd=tmp_path)
    assert done.returncode == 1
    assert "parabola" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_gives_optima_to_fit(tmp_path: Path) -> None:
    # lr* = 1.8 N^-.7 D^.3 and B* = .6 D^.57 of a paraboloid about each pair's optimum.
    axes = np.meshgrid([1e8, 4e8, 1e9], [2e9, 1e10, 4e10], np.geomspace(0.25, 4, 5),
                       np.geomspace(0.25, 4, 5), indexing="ij")  # fmt: skip
    n, d, rate, batch = (axis.ravel() for axis in axes)
    loss = 2.5 + 0.02 * np.log(rate) ** 2 + 0.01 * np.log(batch) ** 2
    frame = pd.DataFrame(
        {
            "N": n, "D": d, "lr": 1.8 * n**-0.7 * d**0.3 * rate,
            "sequences": 0.6 * d**0.57 * batch / 2048, "loss": loss,
        }
    )  # fmt: skip
    frame.loc[3, "loss"] = 9.0  # diverged
    frame.to_csv(tmp_path / "sweep.csv", index=False)
    done = run(
        "sweep", "sweep.csv", "--column", "batch_tokens=sequences", "--sequence", "2048",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 of 225 runs left out (diverged" in done.stderr
    for form, truth in (
        ("optimal-lr", {"c": 1.8, "p": -0.7, "q": 0.3}),
        ("optimal-batch", {"c": 0.6, "q": 0.57}),
    ):
        fitted = run(
            "fit", "-", "--form", form, "--objective", "mse-log", "--json", *CHEAP,
            cwd=tmp_path, stdin=done.stdout.encode(),
        )  # fmt: skip
        assert fitted.returncode == 0, fitted.stderr
        assert json.loads(fitted.stdout)["law"]["params"] == pytest.approx(truth, rel=1e-3)
