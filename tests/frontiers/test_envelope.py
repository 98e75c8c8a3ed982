"""Approach 1: known truths, the ends of the list of sizes, published curves, and every refusal."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import FitError
from scalefit.fitting.result import Fit
from scalefit.frontiers.curves import curves
from scalefit.frontiers.envelope import envelope
from scalefit.frontiers.noise import noise
from scalefit.frontiers.readings import crossings
from scalefit.laws import Law
from scalefit.runs import Runs, read
from tests.conftest import known_law

FAR = 1e23  # ten times the largest compute of the curves


def run(law: Law, params: float, flops: np.ndarray, **columns: object) -> pd.DataFrame:
    tokens = flops / 6 / params
    loss = law.loss(params, tokens)
    return pd.DataFrame(
        {"run_id": f"{params:.0f}", "params": params, "tokens": tokens, "flops": flops,
         "loss": loss, **columns}
    )  # fmt: skip


def table(*parts: pd.DataFrame) -> Runs:
    frame = pd.concat(parts, ignore_index=True)
    return Runs(frame=frame, source="curves", params_kind="total")


def sizes(law: Law, count: int, low: float = 1e18, high: float = 1e22) -> np.ndarray:
    """Sizes that are best from one compute to another."""
    return np.geomspace(*law.optimum(np.array([low, high])).params, count)


def around(law: Law, count: int = 9, points: int = 40, sd: float = 0.0, seed: int = 0) -> Runs:
    """Curves of sizes that are best from 1e18 to 1e22 FLOP, each 30 times to both sides of that."""
    rng = np.random.default_rng(seed)
    best = np.geomspace(1e18, 1e22, count)
    return table(
        *(
            run(law, n, np.geomspace(c / 30, c * 30, points)).assign(
                loss=lambda part: part["loss"] * np.exp(sd * rng.standard_normal())
            )
            for n, c in zip(sizes(law, count), best, strict=True)
        )
    )


def ended(law: Law, count: int = 9, sd: float = 0.0, seed: int = 0) -> Runs:
    """Curves over one range of compute, 100 times as wide as that in which the sizes are best."""
    rng = np.random.default_rng(seed)
    flops = np.geomspace(1e18, 1e22, 40)
    return table(
        *(
            run(law, n, flops).assign(
                loss=lambda part: part["loss"] * np.exp(sd * rng.standard_normal())
            )
            for n in sizes(law, count, 1e19, 1e21)
        )
    )


def exponent(found: Fit) -> float:
    return found.intervals["a"].value


def true_exponent(law: Law) -> float:
    return float(law.form.exponents(law.theta)[0])


@pytest.mark.parametrize("count", [5, 9, 15])
@pytest.mark.parametrize(
    ("variant", "within"), [("crossing", 2.5e-3), ("minimum", 1e-3), ("hull", 1e-3)]
)
def test_known_surfaces_are_recovered(
    surface: Law, variant: str, within: float, count: int
) -> None:
    # The crossings of an asymmetric surface are all off by one factor; the last pair is closer.
    found = envelope(around(surface, count), variant=variant, bootstrap=0)
    truth, planned = surface.optimum(FAR), found.law.optimum(FAR)
    assert exponent(found) == pytest.approx(true_exponent(surface), abs=within)
    assert found.intervals["b"].value == pytest.approx(1 - exponent(found), abs=1e-6)
    assert np.log(planned.params / truth.params) == pytest.approx(0, abs=0.01)
    assert np.log(planned.tokens / truth.tokens) == pytest.approx(0, abs=0.01)
    if "c" in found.intervals:
        assert planned.loss == pytest.approx(truth.loss, rel=3e-3)


def test_symmetric_profiles_cross_at_their_optimum_exactly() -> None:
    law = known_law("symmetric")
    found = envelope(around(law), bootstrap=0)
    for point in found.points:
        truth = law.optimum(point.flops)
        assert point.params == pytest.approx(float(truth.params), rel=1e-3)
        assert point.tokens == pytest.approx(float(truth.tokens), rel=1e-3)


def test_the_least_loss_is_that_of_the_optimum_between_the_sizes() -> None:
    # Five sizes three times apart: the best of them alone is up to a per cent above the optimum.
    law = known_law("chinchilla")
    runs = ended(law, 5)
    for point in envelope(runs, bootstrap=0).points:
        assert point.loss == pytest.approx(float(law.optimum(point.flops).loss), rel=3e-4)


def test_the_ends_of_the_list_of_sizes_bend_the_published_way_and_not_this_one(
    surface: Law,
) -> None:
    runs, truth = ended(surface), true_exponent(surface)
    published = exponent(envelope(runs, variant="minimum", edges=True, bootstrap=0))
    assert published < truth - 0.05
    for variant in ("crossing", "minimum"):
        assert exponent(envelope(runs, variant=variant, bootstrap=0)) == pytest.approx(
            truth, abs=3e-3
        )


def test_the_ends_are_told_with_figures_and_left_out() -> None:
    found = envelope(ended(known_law("chinchilla")), variant="minimum", bootstrap=0)
    left = [point for point in found.points if point.note]
    assert [found.points.index(point) for point in left] == [0, len(found.points) - 1]
    assert all("hands over" in point.note for point in left)
    (said,) = [note for note in found.notes if "the smallest or the largest" in note]
    assert "they are left out" in said
    assert f"a is {exponent(found):.3f} here" in said
    share = float(said.partition("at ")[2].partition("%")[0])
    assert share == pytest.approx(55, abs=5)  # half the range, and what the ends hold within it
    kept = envelope(ended(known_law("chinchilla")), variant="minimum", edges=True, bootstrap=0)
    assert not [point for point in kept.points if point.note]
    assert any("they are used, and bend a" in note for note in kept.notes)


def test_a_size_whose_rival_ends_is_not_a_step() -> None:
    # Every size has the same short range of tokens, so curves end before they are overtaken.
    law = known_law("chinchilla")
    tokens = np.geomspace(1e9, 1.6e10, 30)
    runs = table(*(run(law, n, 6 * n * tokens) for n in np.geomspace(5e7, 1e9, 9)))
    strict, loose = (
        envelope(runs, variant="minimum", edges=edges, bootstrap=0) for edges in (False, True)
    )
    assert exponent(strict) == pytest.approx(true_exponent(law), abs=0.01)
    assert abs(exponent(loose) - true_exponent(law)) > 0.02


@pytest.mark.parametrize(
    ("variant", "interval"),
    [("crossing", "bootstrap"), ("crossing", "noise"), ("minimum", "noise")],
)
def test_intervals_hold_the_truth(variant: str, interval: str) -> None:
    law = known_law("chinchilla")
    held = []
    for seed in range(15):
        runs = around(law, sd=0.003, seed=seed)
        found = envelope(runs, variant=variant, interval=interval, bootstrap=80)
        entry = found.intervals["a"]
        held.append(entry.low <= true_exponent(law) <= entry.high)
        assert 0.005 < entry.high - entry.low < 0.3
    assert np.mean(held) >= 0.8


def test_the_noise_of_runs_is_estimated() -> None:
    law, told = known_law("chinchilla"), []
    for seed in range(20):
        found = curves(around(law, 15, sd=0.004, seed=seed), budgets=400, warmup=None)
        known = noise(found, found.by_size())
        assert known.freedom >= 8
        assert not known.by_seeds
        told.append(known.variance)
    assert np.sqrt(np.mean(told)) == pytest.approx(0.004, rel=0.2)


def test_more_noise_makes_wider_intervals_and_is_told() -> None:
    law = known_law("chinchilla")
    quiet, loud = (envelope(ended(law, sd=sd), bootstrap=100) for sd in (0.0005, 0.02))
    width = [fit.intervals["a"].high - fit.intervals["a"].low for fit in (quiet, loud)]
    assert width[1] > 3 * width[0]
    assert any("drawn toward 0" in note for note in loud.notes)
    assert not any("drawn toward 0" in note for note in quiet.notes)


def seeded(sd: float, *, seeds: int = 3, lr: object = 0.001) -> Runs:
    law, rng = known_law("chinchilla"), np.random.default_rng(1)
    best = np.geomspace(1e18, 1e22, 9)
    return table(
        *(
            run(law, n, np.geomspace(c / 30, c * 30, 20), seed=seed, lr=lr).assign(
                run_id=f"{n} {seed}",
                loss=lambda part: part["loss"] * np.exp(sd * rng.standard_normal()),
            )
            for n, c in zip(sizes(law, 9), best, strict=True)
            for seed in range(seeds)
        )
    )


def test_runs_that_differ_in_seed_alone_are_averaged() -> None:
    runs = seeded(0.01)
    found = curves(runs, budgets=300, warmup=None)
    one = found.by_size()
    assert (one.seeds == 3).all()
    mine = np.isfinite(one.log_l[4])
    np.testing.assert_allclose(
        one.log_l[4, mine], found.log_l[found.size == 4][:, mine].mean(axis=0), rtol=1e-12
    )
    fit = envelope(runs, bootstrap=0)
    assert any("27 curves are averaged to 9" in note for note in fit.notes)
    assert any(note.startswith("crossings and seeds show a noise of") for note in fit.notes)
    squares, freedom = found.spread()
    assert freedom == 18
    assert np.sqrt(squares / freedom) == pytest.approx(0.01, rel=0.35)


def test_runs_of_other_settings_are_rivals_and_the_best_counts() -> None:
    runs = seeded(0.01)
    runs.frame["lr"] = np.where(runs.frame["seed"] == 0, 0.001, 0.002 + runs.frame["seed"])
    found = curves(runs, budgets=300, warmup=None)
    one = found.by_size()
    assert (one.seeds == 1).all()
    np.testing.assert_array_equal(one.log_l[4], found.log_l[found.size == 4].min(axis=0))


def test_sizes_that_scatter_more_than_seeds_do_are_told() -> None:
    runs = seeded(0.0005)
    bad = 1 + 0.02 * np.sin(37 * np.log(runs.frame["params"]))
    runs.frame["loss"] *= bad
    found = envelope(runs, bootstrap=50)
    assert any("more than seeds alone explain" in note for note in found.notes)


def test_both_intervals_come_from_whole_curves() -> None:
    runs = around(known_law("chinchilla"), sd=0.003)
    drawn, moved = (
        envelope(runs, interval=interval, bootstrap=100) for interval in ("bootstrap", "noise")
    )
    assert (drawn.resampled, moved.resampled) == ("runs", "sizes")
    for found in (drawn, moved):
        entry = found.intervals["a"]
        assert entry.low < exponent(found) < entry.high
    again = envelope(runs, interval="noise", bootstrap=100)
    np.testing.assert_array_equal(moved.draws, again.draws)
    dense = envelope(runs, budgets=6000, interval="noise", bootstrap=100).intervals["a"]
    assert dense.high - dense.low == pytest.approx(
        moved.intervals["a"].high - moved.intervals["a"].low, rel=0.05
    )


def test_few_sizes_are_not_drawn_again() -> None:
    law = known_law("chinchilla")
    found = {count: envelope(around(law, count, sd=0.003), bootstrap=20) for count in (5, 9)}
    assert {count: fit.interval for count, fit in found.items()} == {5: "noise", 9: "bootstrap"}
    steps = envelope(around(law, sd=0.003), variant="minimum", bootstrap=20)
    assert steps.interval == "noise"


def test_a_fit_survives_json() -> None:
    found = envelope(around(known_law("chinchilla"), sd=0.003), bootstrap=20)
    assert Fit.from_json(found.to_json(), name="it").to_dict() == found.to_dict()


def test_an_accounting_of_compute_of_its_own_is_kept() -> None:
    # C = 6 N^1.1 D: then D* is not C/6N*, and a + b is not 1.
    law = known_law("symmetric")
    frame = ended(law).frame
    frame["flops"] = 6 * frame["params"] ** 1.1 * frame["tokens"]
    runs = Runs(frame=frame, source="curves", params_kind="total")
    found = envelope(runs, bootstrap=0)
    a, b = (found.intervals[name].value for name in "ab")
    assert 1.1 * a + b == pytest.approx(1, abs=1e-3)


def test_gaps_are_not_bridged() -> None:
    law = known_law("chinchilla")
    frame = around(law).frame
    middle = frame.groupby("run_id")["flops"].transform("median")
    holes = (frame["flops"] / middle).between(1 / 4, 4) & (frame["params"] < 3e8)
    runs = Runs(frame=frame[~holes].reset_index(drop=True), source="curves", params_kind="total")
    found = curves(runs, budgets=400, warmup=None)
    told = [note for note in found.notes if "gaps" in note]
    assert len(told) == 1
    assert told[0].endswith(f"(gaps: {frame.loc[holes, 'run_id'].nunique()})")
    for params in frame.loc[holes, "params"].unique():
        place = np.interp(np.log(middle[frame["params"] == params].iloc[0]), found.grid,
                          np.arange(400))  # fmt: skip
        size = int(np.abs(found.log_n - np.log(params)).argmin())
        assert np.isinf(found.log_l[size, int(place)])


@pytest.mark.parametrize("with_rate", [False, True])
def test_a_warm_up_is_told_and_left_out(with_rate: bool) -> None:
    law = known_law("chinchilla")
    runs = around(law)
    frame = runs.frame
    start = frame["flops"] / frame.groupby("run_id")["flops"].transform("min")
    cold = start < 6
    frame["loss"] += 5 * np.exp(-((start / 3) ** 2))  # untrained at first, then falling fast
    if with_rate:
        frame["lr"] = np.minimum(start / 6, 1.0)
    found = envelope(runs, bootstrap=0)
    (told,) = [note for note in found.notes if "warm-up" in note]
    rows = int(told.partition(": ")[2].partition(",")[0])
    assert rows == pytest.approx(int(cold.sum()), rel=0.4)
    assert exponent(found) == pytest.approx(true_exponent(law), abs=2e-3)


def test_curves_without_a_warm_up_lose_nothing_though_they_end_in_a_cooldown() -> None:
    runs = around(known_law("chinchilla"))
    late = runs.frame["flops"] / runs.frame.groupby("run_id")["flops"].transform("max")
    runs.frame["loss"] *= np.where(late > 0.7, 0.9, 1.0)
    assert "no curve shows a warm-up, so none is left out" in envelope(runs, bootstrap=0).notes


def test_a_share_of_each_run_is_left_out_on_demand() -> None:
    runs = around(known_law("chinchilla"))
    found = curves(runs, budgets=300, warmup=0.01)
    share = runs.frame["flops"] / runs.frame.groupby("run_id")["flops"].transform("max")
    assert len(found.rows.log_c) == (share >= 0.01).sum()
    said = f"in the first 0.01 of their run's compute: {(share < 0.01).sum()}"
    assert found.notes[0].endswith(said)


def test_a_falling_learning_rate_is_told() -> None:
    runs = around(known_law("chinchilla"))
    runs.frame["lr"] = 1 / runs.frame["flops"] ** 0.1
    assert any("(curves: 9)" in note for note in envelope(runs, bootstrap=0).notes)


def test_noisy_curves_cross_once() -> None:
    # Where the difference of two noisy curves changes sign many times, the middle of it counts.
    law, rng = known_law("chinchilla"), np.random.default_rng(3)
    runs = around(law, points=200)
    runs.frame["loss"] *= np.exp(0.01 * rng.standard_normal(len(runs.frame)))
    found = curves(runs, budgets=1500, warmup=None).by_size()
    where = crossings(found)
    signs = np.nansum(np.diff(np.sign(where.gap), axis=1) != 0, axis=1)
    assert signs.max() > 5
    truth = np.interp(found.log_n[where.pair].mean(axis=0),
                      np.log(sizes(law, 9)), np.log(np.geomspace(1e18, 1e22, 9)))  # fmt: skip
    assert np.abs(where.log_c - truth).max() < 0.5
    assert exponent(envelope(runs, bootstrap=0)) == pytest.approx(true_exponent(law), abs=0.03)


@pytest.mark.parametrize("growth", [0.0, 0.3])
def test_a_size_that_never_overtakes_has_no_crossing(growth: float) -> None:
    # It is worse all along, or better at first and worse later on.
    law = known_law("chinchilla")
    runs = around(law)
    last = runs.frame["params"] == runs.frame["params"].max()
    flops = runs.frame.loc[last, "flops"]
    runs.frame.loc[last, "loss"] *= 3 if growth == 0 else 0.7 * (flops / flops.min()) ** growth
    found = envelope(runs, bootstrap=0)
    faults = [point for point in found.points if point.note]
    assert faults
    assert all(point.params is None and "overtakes" in point.note for point in faults)
    assert exponent(found) == pytest.approx(true_exponent(law), abs=5e-3)


# Published curves.


def test_the_envelope_of_the_misfitting_curves(published_path: Callable[[str], Path]) -> None:
    # Li et al. 2025 (arXiv:2502.18969), 240 runs over learning rates: a = .436 by 30 logarithmic
    # bins of all their checkpoints. Nothing more is on record of that recipe: by the middle of the
    # bins, or without the bins of less than 20 rows, it is .431 or .435 for us, and .427 here.
    runs = read(published_path("misfitting_curves.parquet"))
    found = envelope(runs, variant="binned", edges=True, warmup=0.0, bootstrap=0)
    assert len(found.points) == 30
    assert exponent(found) == pytest.approx(0.436, abs=0.01)


@pytest.mark.parametrize(
    ("config", "a", "within"),
    [
        # Porian et al. 2024 (arXiv:2406.19146), figure 1: by isoFLOP profiles of the same curves,
        # read off at 12 budgets only.
        ("base_long_kaplan_standard_val", 0.7065, 0.02),
        ("base_short_kaplan_standard_val", 0.6020, 0.01),
        ("base_short_chinchilla_standard_val", 0.5715, 0.02),
        ("tuned_short_const_standard_val", 0.4969, 0.015),
        ("tuned_short_const_attention_train", 0.5053, 0.005),
    ],
)
def test_the_curves_of_porian_agree_with_their_profiles(
    published_path: Callable[[str], Path], config: str, a: float, within: float
) -> None:
    path = published_path("porian_refinedweb.parquet")
    found = envelope(read(path, where=f"config == 'rw_{config}'"), bootstrap=0)
    assert exponent(found) == pytest.approx(a, abs=within)


def test_dense_models_of_clark_have_too_few_crossings(
    published_path: Callable[[str], Path],
) -> None:
    # Clark et al. 2022 (arXiv:2202.01169): five dense sizes 2 to 4 times apart.
    path = published_path("routing_curves.parquet")
    runs = read(path, where="router_type == 'Dense' and tokens > 0")
    with pytest.raises(FitError, match="neither size overtakes the other"):
        envelope(runs)


# Refusals, each in one sentence.


def refusal(runs: Runs, **options: object) -> str:
    with pytest.raises(FitError) as caught:
        envelope(runs, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_table_without_curves() -> None:
    runs = around(known_law("chinchilla"))
    finals = runs.frame.groupby("run_id").tail(1).reset_index(drop=True)
    said = refusal(Runs(frame=finals, source="curves", params_kind="total"))
    assert "no training curves" in said
    assert "isoflop or parametric" in said
    unnamed = runs.frame.drop(columns="run_id")
    assert "--column run_id" in refusal(Runs(frame=unnamed, source="curves", params_kind="total"))


def test_a_run_of_several_sizes() -> None:
    runs = around(known_law("chinchilla"))
    runs.frame["run_id"] = "all"
    assert "run all has rows of several sizes" in refusal(runs)


def test_too_few_sizes() -> None:
    runs = around(known_law("chinchilla"))
    kept = runs.frame["params"].isin(sorted(runs.frame["params"].unique())[:2])
    assert "3 sizes or more" in refusal(runs.only(kept.to_numpy(), "others"))


@pytest.mark.parametrize("variant", ["minimum", "hull", "binned"])
def test_an_envelope_of_two_sizes(variant: str) -> None:
    runs = ended(known_law("chinchilla"))
    middle = runs.frame["params"].rank(method="dense").between(2, 8)
    runs.frame.loc[middle, "loss"] *= 2
    said = refusal(runs, variant=variant)
    assert "of 9 sizes only" in said
    assert "takes 3" in said


def test_curves_that_do_not_overlap_in_compute() -> None:
    law = known_law("chinchilla")
    runs = table(*(run(law, n, np.geomspace(c, 2 * c, 5))
                   for n, c in zip((1e8, 4e8, 2e9), (1e18, 1e19, 1e20), strict=True)))  # fmt: skip
    assert "no two sizes have a curve at the same compute" in refusal(runs)


def test_losses_in_different_units() -> None:
    runs = around(known_law("chinchilla"))
    runs.frame["loss_unit"] = np.where(runs.frame["params"] > 1e9, "bits/byte", "nats/token")
    assert "bits/byte and in nats/token" in refusal(runs)


def test_a_table_without_tokens() -> None:
    runs = around(known_law("chinchilla"))
    frame = runs.frame.drop(columns="tokens")
    said = refusal(Runs(frame=frame, source="curves", params_kind="total", quantities=("loss",)))
    assert "without tokens" in said


def test_neighbours_that_never_meet() -> None:
    law = known_law("chinchilla")
    spans = [(1e8, 1e18, 3e18), (8e8, 1e19, 3e19), (6.4e9, 1e18, 3e18)]
    runs = table(*(run(law, n, np.geomspace(low, high, 5)) for n, low, high in spans))
    assert "no two neighbouring sizes" in refusal(runs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variant": "best"}, "crossing, minimum, hull, binned"),
        ({"interval": "wild"}, "noise, bootstrap"),
        ({"budgets": 1}, "1 budgets"),
        ({"warmup": 1.5}, "share"),
        ({"bootstrap": 1}, "no spread"),
        ({"level": 1.0}, "between 0 and 1"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, object], said: str) -> None:
    assert said in refusal(around(known_law("chinchilla")), **options)


def test_too_little_to_tell_the_noise_by_leaves_intervals_open() -> None:
    found = envelope(around(known_law("chinchilla"), 3), bootstrap=50)
    assert found.intervals["a"].low is None
    assert any("there are no intervals" in note for note in found.notes)
