"""A saved fit set up on its runs again: the same limits, of the same runs, or a refusal."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.errors import FitError
from scalefit.fitting import Fit, fit, limits, load, save
from scalefit.fitting.bootstrap import by_size
from scalefit.fitting.objective import LEAST_SQUARES, huber
from scalefit.fitting.optimum import find
from scalefit.fitting.parameters import parameters
from scalefit.fitting.parametric import sampled
from scalefit.fitting.profile import profile
from scalefit.fitting.targets import PLANNED, Target, planned, target
from scalefit.frontiers.isoflop import isoflop
from scalefit.laws import FORMS, Constraints
from scalefit.laws.custom import law_of
from scalefit.runs import Runs, read
from tests.conftest import as_runs, known_law, simulate
from tests.frontiers.test_isoflop import table as profiles

FORM = FORMS["chinchilla"]
GOALS = {name: planned(FORM, name, 1e22) for name in PLANNED}


def saved(found: Fit, folder: Path) -> Fit:
    """The fit, from its file."""
    return load(save(found, folder / "x.fit.json"))


def noisy(seed: int = 0, **columns: object) -> pd.DataFrame:
    return simulate(known_law("chinchilla"), noise=0.005, seed=seed).assign(**columns)


def by_hand(
    runs: Runs,
    said: Constraints | None = None,
    *,
    weights: np.ndarray | None = None,
    cluster: np.ndarray | None = None,
    goals: dict[str, Target] = GOALS,
) -> dict[str, tuple[float | None, float | None]]:
    """Profile limits without a fit, of Huber's loss with its usual threshold."""
    columns = (runs.frame[name].to_numpy(dtype=float) for name in ("params", "tokens", "loss"))
    models, allowed = FORM.models(*columns, constraints=said), FORM.limits(said)
    base = np.ones(len(runs)) if weights is None else weights
    best = find(models, huber(), base, allowed)
    return {
        name: profile(
            models, huber(), best, FORM, goal, 0.95, cluster=cluster, base=base, limits=allowed
        )
        for name, goal in goals.items()
    }


def assert_same(
    found: dict[str, tuple[float | None, float | None]],
    expected: dict[str, tuple[float | None, float | None]],
) -> None:
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair, rel=1e-5)


def test_a_saved_fit_has_the_limits_of_its_objective(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = limits(saved(fit(runs, bootstrap=0), tmp_path), runs, GOALS, 0.95)
    assert_same(found, by_hand(runs))
    assert found["params"][0] * found["tokens"][1] == pytest.approx(1e22 / 6, rel=1e-5)


def test_of_a_parameter_they_are_what_the_fit_itself_says(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    options = {"objective": "mse-log", "interval": "profile", "bootstrap": 0, "level": 0.8}
    found = saved(fit(runs, **options), tmp_path)
    again = limits(found, runs, {name: target(FORM, name) for name in "abE"}, 0.8)
    for name, pair in again.items():
        entry = found.intervals[name]
        assert pair == pytest.approx((entry.low, entry.high), rel=1e-9)


def test_nineteen_in_twenty_intervals_hold_the_truth(tmp_path: Path) -> None:
    truth, held = known_law("chinchilla").optimum(1e22), dict.fromkeys(PLANNED, 0)
    for seed in range(20):
        runs = as_runs(noisy(seed), tmp_path)
        for name, (low, high) in limits(fit(runs, bootstrap=0), runs, GOALS, 0.95).items():
            held[name] += low <= getattr(truth, name) <= high
    # Fewer than 16 of 20 has probability 0.003 if each holds it 19 times in 20.
    assert min(held.values()) >= 16


def test_an_adapted_threshold_is_kept(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = saved(fit(runs, delta=None, bootstrap=0, interval="profile"), tmp_path)
    assert found.objective.delta != pytest.approx(1e-3)
    low, high = limits(found, runs, {"a": target(FORM, "a")}, 0.95)["a"]
    entry = found.intervals["a"]
    assert (low, high) == pytest.approx((entry.low, entry.high), rel=1e-6)


@pytest.mark.parametrize(
    ("wishes", "said", "binds"),
    [
        ({"fix": [("E", 1.8)]}, Constraints(fixed={"E": 1.8}), True),
        ({"tie": [("alpha", "beta")]}, Constraints(tied={"alpha": "beta"}), True),
        ({"bound": [("beta", 0.1, np.inf)]}, Constraints(bounds={"beta": (0.1, np.inf)}), False),
        ({"bound": [("A", 1.0, 300.0)]}, Constraints(bounds={"A": (1.0, 300.0)}), True),
    ],
    ids=["fixed", "tied", "open bound", "binding bound"],
)
def test_what_was_said_of_parameters_is_kept_and_used(
    wishes: dict[str, object], said: Constraints, binds: bool, tmp_path: Path
) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = fit(runs, parameters=parameters(FORM, **wishes), bootstrap=0)
    again = saved(found, tmp_path)
    assert again.constraints == found.constraints == said
    held = limits(again, runs, GOALS, 0.95)
    assert_same(held, by_hand(runs, said))
    free = limits(fit(runs, bootstrap=0), runs, GOALS, 0.95)
    assert (held["params"] == pytest.approx(free["params"], rel=1e-3)) is not binds


def test_an_end_that_is_open_is_null_in_the_file(tmp_path: Path) -> None:
    wishes = parameters(FORM, bound=[("beta", 0.3, np.inf)])
    found = fit(as_runs(noisy(), tmp_path), parameters=wishes, bootstrap=0)
    document = json.loads(found.to_json())
    assert document["constraints"] == {"fixed": {}, "bounds": {"beta": [0.3, None]}, "tied": {}}


def test_weights_are_kept_and_used(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).integers(0, 4, size=54)
    runs = as_runs(noisy(w=weights), tmp_path)
    found = saved(fit(runs, weights="w", bootstrap=0), tmp_path)
    assert found.weights == "w"
    kept = runs.only(weights > 0, "weight 0")
    expected = by_hand(kept, weights=weights[weights > 0].astype(float))
    assert_same(limits(found, runs, GOALS, 0.95), expected)
    assert found.used == (weights > 0).sum()


def test_runs_that_share_noise_are_still_told_apart(tmp_path: Path) -> None:
    frame = noisy(run_id=[f"r{i // 3}" for i in range(54)])
    runs = as_runs(frame, tmp_path)
    found = limits(saved(fit(runs, bootstrap=0), tmp_path), runs, GOALS, 0.95)
    assert_same(found, by_hand(runs, cluster=np.arange(54) // 3))


def test_a_fit_whose_sizes_are_resampled_is_profiled_by_sizes(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = limits(saved(fit(runs, interval="size", bootstrap=20), tmp_path), runs, GOALS, 0.95)
    assert_same(found, by_hand(runs, cluster=by_size(runs.frame["params"].to_numpy())))


def test_a_form_of_your_own_has_limits_too(tmp_path: Path) -> None:
    def additive(N, D, E=1.5, A=100, B=100, alpha=0.3, beta=0.3):  # noqa: N803 - as users write it
        return E + A / N**alpha + B / D**beta

    own, runs = law_of(additive), as_runs(noisy(), tmp_path)
    path = save(fit(runs, form=own, bootstrap=0), tmp_path / "x.fit.json")
    goals = {name: target(own, name) for name in ("E", "alpha")}
    found = limits(load(path, form=own), runs, goals, 0.95)
    ours = {name: target(FORM, name) for name in goals}
    assert_same(found, by_hand(runs, goals=ours))


def test_a_side_that_the_runs_leave_open_has_no_limit(tmp_path: Path) -> None:
    table = simulate(known_law("chinchilla"), noise=0.03, seed=5)
    runs = as_runs(table[table["params"] > 2e9], tmp_path)  # hardly a difference in size is left
    found = limits(fit(runs, bootstrap=0), runs, GOALS, 0.95)
    assert found["params"][0] is None
    assert found["tokens"][1] is None
    assert found["params"][1] * found["tokens"][0] == pytest.approx(1e22 / 6, rel=1e-4)


@settings(deadline=None, max_examples=10)
@given(order=st.permutations(range(18)))
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    frame = noisy(run_id=[f"r{i // 2}" for i in range(54)]).iloc[::3].reset_index(drop=True)
    moved = frame.iloc[order].reset_index(drop=True)
    one, two = (
        sampled(FORM, Runs(frame=x, source="x", params_kind="total"), None)[1].fingerprint()
        for x in (frame, moved)
    )
    assert one == two


OTHERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "fewer rows": lambda frame: frame.iloc[1:],
    "a loss": lambda frame: frame.assign(loss=[*frame["loss"][:-1], 3.0]),
    "tokens": lambda frame: frame.assign(tokens=frame["tokens"] * 2),
    "weights": lambda frame: frame.assign(w=[2.0, *frame["w"][1:]]),
    "runs": lambda frame: frame.assign(run_id=[f"r{i // 2}" for i in range(len(frame))]),
    "one run": lambda frame: frame.drop(columns="run_id"),
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_other_runs_are_refused_in_a_sentence(
    change: Callable[[pd.DataFrame], pd.DataFrame], tmp_path: Path
) -> None:
    frame = noisy(w=1.0, run_id=[f"r{i // 3}" for i in range(54)])
    found = saved(fit(as_runs(frame, tmp_path), weights="w", bootstrap=0), tmp_path)
    with pytest.raises(FitError, match=r"table\.parquet does not hold the 54 rows.*--drop-highest"):
        limits(found, as_runs(change(frame), tmp_path), GOALS, 0.95)


def test_too_few_of_the_runs_are_other_runs_too(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = fit(runs, bootstrap=0)
    with pytest.raises(FitError, match="does not hold the 54 rows"):
        limits(found, runs.without_highest(51), GOALS, 0.95)


def test_rows_left_out_must_be_left_out_again(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = saved(fit(runs.without_highest(5), bootstrap=0), tmp_path)
    with pytest.raises(FitError, match="does not hold the 49 rows"):
        limits(found, runs, GOALS, 0.95)
    assert limits(found, runs.without_highest(5), GOALS, 0.95)["params"][0] > 0


def test_the_compute_that_a_law_is_about_is_seen_beside_tokens(tmp_path: Path) -> None:
    form = FORMS["offset-c"]
    frame = noisy()
    frame["loss"] *= (1.7 + 30 * frame["flops"] ** -0.1) / known_law("chinchilla").loss(
        frame["params"], frame["tokens"]
    )
    frame.assign(other=frame["flops"] * 2).to_parquet(tmp_path / "x.parquet")
    goals = {"alpha": target(form, "alpha")}
    runs = read(tmp_path / "x.parquet", needed=form.quantities)
    found = fit(runs, form=form, objective="mse-log", bootstrap=0)
    low, high = limits(found, runs, goals, 0.95)["alpha"]
    assert low < found.law.params["alpha"] < high
    other = read(tmp_path / "x.parquet", needed=form.quantities, columns={"flops": "other"})
    with pytest.raises(FitError, match="does not hold"):
        limits(found, other, goals, 0.95)


def test_a_frontier_has_no_objective_to_profile() -> None:
    runs = Runs(frame=profiles(known_law("chinchilla")), source="x.parquet", params_kind="total")
    with pytest.raises(FitError, match=r"approach 2.*its draws"):
        limits(isoflop(runs, bootstrap=0), runs, GOALS, 0.95)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: replace(found, constraints=Constraints(fixed={"E": 1.5})),
        lambda found: replace(found, objective=replace(found.objective, delta=0.1)),
        lambda found: replace(found, objective=replace(found.objective, value=1.0)),
    ],
    ids=["constraints", "threshold", "value"],
)
def test_a_fit_that_is_not_met_again_is_refused(
    change: Callable[[Fit], Fit], tmp_path: Path
) -> None:
    runs = as_runs(noisy(), tmp_path)
    with pytest.raises(FitError, match="fitted again has an objective of"):
        limits(change(fit(runs, bootstrap=0)), runs, GOALS, 0.95)


def test_exact_runs_in_another_order_are_the_same_runs(tmp_path: Path) -> None:
    table = simulate(known_law("chinchilla"), noise=0.0)
    found = fit(as_runs(table, tmp_path), bootstrap=0)
    moved = as_runs(table.sample(frac=1, random_state=0), tmp_path)
    assert limits(found, moved, GOALS, 0.95).keys() == GOALS.keys()


def test_a_level_that_is_none_is_refused(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    with pytest.raises(FitError, match="between 0 and 1"):
        limits(fit(runs, bootstrap=0), runs, GOALS, 95)


def test_a_fit_of_an_earlier_schema_is_refused_with_the_way_out(tmp_path: Path) -> None:
    document = json.loads(fit(as_runs(noisy(), tmp_path), bootstrap=0).to_json())
    document["schema"], document["constraints"] = 2, []
    with pytest.raises(FitError, match=r"x\.json has schema 2, this version reads 3; refit"):
        Fit.from_json(json.dumps(document), name="x.json")


def test_least_squares_of_a_saved_fit_are_least_squares_again(tmp_path: Path) -> None:
    runs = as_runs(noisy(), tmp_path)
    found = saved(fit(runs, objective="mse-log", bootstrap=0), tmp_path)
    columns = (runs.frame[name].to_numpy() for name in ("params", "tokens", "loss"))
    models = FORM.models(*columns)
    best = find(models, LEAST_SQUARES, np.ones(54))
    expected = {
        name: profile(models, LEAST_SQUARES, best, FORM, goal, 0.95) for name, goal in GOALS.items()
    }
    assert_same(limits(found, runs, GOALS, 0.95), expected)
