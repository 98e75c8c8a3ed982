"""Approach 2: published exponents, known laws, what is refused, and how often it is right."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import FitError
from scalefit.fitting.result import Fit, Point, Status
from scalefit.frontiers.bias import VARIANTS
from scalefit.frontiers.budgets import profiles
from scalefit.frontiers.frontier import frontier, line
from scalefit.frontiers.isoflop import isoflop, sampled
from scalefit.frontiers.replicates import deciding, scattered
from scalefit.laws import Law
from scalefit.planning import plan
from scalefit.runs import Runs, read
from tests.conftest import known_law

BUDGETS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])


def table(
    law: Law,
    *,
    flops: np.ndarray = BUDGETS,
    around: float = 4.0,
    sizes: int = 7,
    noise: float = 0.0,
    seed: int = 0,
    overhead: float = 0.0,
) -> pd.DataFrame:
    """Profiles about the optimum; C = 6 N D (1 + overhead / N^(1/3)), as attention would add."""
    rng = np.random.default_rng(seed)
    best = law.optimum(flops).params
    n = (best[:, None] * np.geomspace(1 / around, around, sizes)).ravel()
    c = np.repeat(flops, sizes)
    d = c / 6 / n / (1 + overhead * n ** (-1 / 3))
    loss = law.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    return pd.DataFrame({"params": n, "tokens": d, "flops": c, "loss": loss})


def as_runs(frame: pd.DataFrame) -> Runs:
    return Runs(frame=frame.reset_index(drop=True), source="made", params_kind="total")


def a_of(fit: Fit) -> float:
    return fit.intervals["a"].value


# --- published numbers ---------------------------------------------------------------------------

PORIAN = {
    # Porian et al. 2024 (arXiv:2406.19146), fit_results.bs_median_weighted.n_exponent
    "rw_base_long_kaplan_kaplan_train": 0.8353,
    "rw_base_long_kaplan_standard_val": 0.7065,
    "rw_base_short_kaplan_standard_val": 0.6020,
    "rw_base_short_chinchilla_standard_val": 0.5715,
    "rw_tuned_short_const_standard_val": 0.4969,
    "rw_base_long_kaplan_attention_train": 0.7171,
    "rw_base_short_kaplan_attention_train": 0.6223,
    "rw_base_short_chinchilla_attention_train": 0.5772,
    "rw_tuned_short_const_attention_train": 0.5053,
    "rw_tuned_long_const_kaplan_train": 0.7115,
}


@pytest.mark.parametrize(("config", "exponent"), PORIAN.items())
def test_ten_exponents_of_porian(
    published_path: Callable[[str], Path], config: str, exponent: float
) -> None:
    path = published_path("porian_refinedweb.parquet")
    runs = read(path, where=f"config == '{config}'")
    found = isoflop(runs, variant="akima", bootstrap=0)
    assert a_of(found) == pytest.approx(exponent, abs=0.0025)


def test_porians_noise_gives_porians_interval(published_path: Callable[[str], Path]) -> None:
    # The final configuration: a .4969, 95 % (.4907, .5045).
    path = published_path("porian_refinedweb.parquet")
    runs = read(path, where="config == 'rw_tuned_short_const_standard_val'")
    found = isoflop(runs, variant="akima", interval="noise", noise=0.002).intervals["a"]
    assert (found.low, found.high) == pytest.approx((0.4907, 0.5045), abs=0.005)
    # Noise of one assumed size says less than the profiles themselves do.
    own = isoflop(runs, variant="akima").intervals["a"]
    assert own.high - own.low > 2 * (found.high - found.low)


@pytest.mark.parametrize(
    ("dataset", "exponent"), [("comma", 0.4264), ("dclm", 0.4317), ("nemotron", 0.4443)]
)
def test_parabolas_of_marin(
    published_path: Callable[[str], Path], dataset: str, exponent: float
) -> None:
    # polyfit(2) of loss in log N on the isoFLOP tables of Open-Athena, outliers dropped
    path = published_path("marin_isoflop.parquet")
    runs = read(path, where=f"dataset == '{dataset}' and outlier == False")
    found = isoflop(runs, bootstrap=0)
    assert a_of(found) == pytest.approx(exponent, abs=1e-3)
    assert [p.note for p in found.points] == [""] * 6


def test_parabolas_of_chinchillas_isoflops(published_path: Callable[[str], Path]) -> None:
    # The same on Apple's digitisation of Hoffmann et al. 2022: .5414
    path = published_path("chinchilla_scalefit_isoflop.parquet")
    found = isoflop(read(path, where="outlier == False"), bootstrap=0)
    assert a_of(found) == pytest.approx(0.5414, abs=1e-3)


def test_approach_2_of_hoffmann_on_the_digitised_points(epoch: Runs) -> None:
    # Hoffmann et al. 2022, table 2: a .49 (.462, .534), b .51 (.483, .529)
    found = isoflop(epoch)
    assert a_of(found) == pytest.approx(0.49, abs=0.03)
    assert found.intervals["b"].value == pytest.approx(0.51, abs=0.03)
    budgets = np.array([p.flops for p in found.points])
    nearest = np.abs(np.log(BUDGETS[:, None] / budgets)).min(axis=1)
    assert (nearest < 0.1).all()  # all nine of the paper are among those found
    assert len(budgets) <= 12


@pytest.mark.parametrize(
    ("accounting", "a", "b"),
    [
        ("kaplan_style_transformer_plus_lm_head", 0.5361, 0.4889),
        ("chinchilla_style_all", 0.3745, 0.5008),
        ("transformer_only", 0.6965, 0.4058),
    ],
)
def test_lines_through_the_optima_of_nanochat(
    published_path: Callable[[str], Path], accounting: str, a: float, b: float
) -> None:
    # dev/LOG.md of nanochat prints .54/.37/.70 and .49/.50/.41; its table says 2e18 and 5e18 for
    # the budgets 2.15e18 and 4.64e18, and with the printed ones no line gives these exponents.
    frame = pd.read_parquet(published_path("nanochat_optima.parquet"))
    rows = frame[frame["accounting"] == accounting].sort_values("flops")
    runs = as_runs(rows.assign(loss=rows["loss_bpb"]))
    for flops, close in (([1e18, 2.15e18, 4.64e18, 1e19], True), (rows["flops"], False)):
        points = [
            Point(flops=c, params=n, tokens=d, loss=loss, error=None, rows=1)
            for c, n, d, loss in zip(
                flops, rows["params"], rows["tokens"], rows["loss_bpb"], strict=True
            )
        ]
        found = frontier(
            runs, points, np.empty((0, 4, 3)),
            method="isoflop", variant="parabola", interval="none", resampled="none", level=0.95,
        )  # fmt: skip
        slopes = found.law.params["a"], found.law.params["b"]
        assert (slopes == pytest.approx((a, b), abs=1e-4)) is close


# --- known laws ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_symmetric_law_is_recovered(variant: str) -> None:
    law = known_law("symmetric")
    found = isoflop(as_runs(table(law, sizes=9)), variant=variant, bootstrap=0)
    best, ours = law.optimum(1e23), found.law.optimum(1e23)
    assert a_of(found) == pytest.approx(0.5, abs=1e-4)
    assert ours.params == pytest.approx(best.params, rel=5e-3)
    assert ours.tokens == pytest.approx(best.tokens, rel=5e-3)
    assert ours.loss == pytest.approx(best.loss, rel=2e-3)
    assert found.status == Status.CONVERGED


def test_the_joint_profile_has_no_bias(surface: Law) -> None:
    sizes = table(surface, around=16.0, sizes=9)
    found = isoflop(as_runs(sizes), variant="joint", bootstrap=0)
    best = surface.optimum(BUDGETS)
    assert [p.params for p in found.points] == pytest.approx(best.params, rel=1e-6)
    assert [p.tokens for p in found.points] == pytest.approx(best.tokens, rel=1e-6)
    assert [p.loss for p in found.points] == pytest.approx(best.loss, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_compute_that_is_not_6nd(variant: str) -> None:
    law = known_law("chinchilla")
    runs = as_runs(table(law, around=3.0, sizes=9, overhead=300.0))
    found = isoflop(runs, variant=variant, bootstrap=0)
    # the truth by a fine scan along each budget's own curve
    n = np.geomspace(1e7, 1e11, 400_001)
    best = np.array([_best(law, n, c / 6 / n / (1 + 300 * n ** (-1 / 3))) for c in BUDGETS])
    a, b = np.polyfit(np.log(BUDGETS), np.log(best), 1)[0]
    assert a + b > 1.02
    assert [p.params for p in found.points] == pytest.approx(best[:, 0], rel=0.02)
    assert [p.tokens for p in found.points] == pytest.approx(best[:, 1], rel=0.02)
    assert a_of(found) == pytest.approx(a, abs=2e-3)
    assert found.intervals["b"].value == pytest.approx(b, abs=2e-3)


def _best(law: Law, n: np.ndarray, d: np.ndarray) -> tuple[float, float]:
    at = law.loss(n, d).argmin()
    return float(n[at]), float(d[at])


@pytest.mark.parametrize("variant", VARIANTS)
def test_intervals_hold_the_truth_and_repeat(variant: str) -> None:
    law = known_law("chinchilla")
    runs = as_runs(table(law, noise=0.003, seed=2))
    found = isoflop(runs, variant=variant, bootstrap=300)
    again = isoflop(runs, variant=variant, bootstrap=300)
    assert np.array_equal(found.draws, again.draws, equal_nan=True)
    truth = law.params["beta"] / (law.params["alpha"] + law.params["beta"])
    entry = found.intervals["a"]
    assert entry.low < truth < entry.high
    assert entry.high - entry.low < 0.3
    planned = plan(found, flops=3e22)
    assert planned.params.low < law.optimum(3e22).params < planned.params.high
    read_back = Fit.from_json(found.to_json(), name="again")
    assert read_back.points == found.points
    assert read_back.notes == found.notes


def test_95_percent_intervals_hold_the_truth_in_most_tables() -> None:
    law, kind, held = known_law("chinchilla"), VARIANTS["parabola"], []
    truth = law.params["beta"] / (law.params["alpha"] + law.params["beta"])
    log_c = np.log(BUDGETS)
    for seed in range(100):
        runs = as_runs(table(law, noise=0.003, seed=seed))
        found = profiles(runs, tolerance=0.1, least=3)[1]
        minima = kind.vertices(found, [p.loss[None] for p in found])
        drawn = sampled(kind, found, minima, noise=None, count=200, seed=seed).draws
        low, high = np.quantile(line(log_c, drawn[..., 0], np.ones(9))[1], [0.025, 0.975])
        held.append(low < truth < high)
    assert 0.89 <= np.mean(held) <= 0.995  # 0.95 has a standard error of 0.022 here


def test_scatter_of_optima_widens_the_intervals() -> None:
    law = known_law("chinchilla")
    frame = table(law, noise=0.001, seed=1)
    moved = np.repeat(np.exp(0.2 * np.random.default_rng(0).standard_normal(len(BUDGETS))), 7)
    shifted = frame.assign(params=frame["params"] * moved, tokens=frame["tokens"] / moved)
    still, loose = (isoflop(as_runs(part), bootstrap=400) for part in (frame, shifted))
    widths = [f.intervals["a"].high - f.intervals["a"].low for f in (still, loose)]
    assert widths[1] > 4 * widths[0]
    assert any("scatter about the line" in note for note in loose.notes)
    assert loose.points[0].error == pytest.approx(still.points[0].error, rel=0.2)


def test_three_sizes_leave_the_scatter_alone_to_tell_the_error() -> None:
    # A parabola passes through three points whatever they are: limits are then Student's.
    law = known_law("chinchilla")
    found = isoflop(as_runs(table(law, sizes=3, noise=0.002)), bootstrap=2000)
    x = np.log(BUDGETS) - np.log(BUDGETS).mean()
    y = np.log([p.params for p in found.points])
    slope = (x * y).sum() / (x**2).sum()
    residual = y - y.mean() - slope * x
    half = 2.3646 * np.sqrt((residual**2).sum() / 7 / (x**2).sum())  # t at 7 degrees of freedom
    entry = found.intervals["a"]
    assert entry.low == pytest.approx(slope - half, abs=0.1 * half)
    assert entry.high == pytest.approx(slope + half, abs=0.1 * half)


def test_few_runs_decide_an_exponent() -> None:
    law, kind = known_law("chinchilla"), VARIANTS["parabola"]
    found = profiles(as_runs(table(law, noise=0.001)), tolerance=0.1, least=3)[1]
    # A parabola's minimum is -slope / (2 curvature), so each row counts by its place, and each
    # budget by its distance from the middle and by how flat it is.
    log_c = np.log(BUDGETS) - np.log(BUDGETS).mean()
    counts = np.multiply.outer(log_c, np.linspace(-1, 1, 7))
    depth = law.optimum(BUDGETS).loss - law.params["E"]  # the curvature goes with it
    counts = counts * (law.optimum(BUDGETS).loss / depth)[:, None]
    expected = (counts**2).sum() ** 2 / (counts**4).sum()
    assert deciding(kind, found) == pytest.approx(expected, rel=0.25)
    assert expected < len(BUDGETS) * 7 / 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_three_loose_budgets_give_wide_limits_and_no_overflow(variant: str) -> None:
    frame = table(known_law("chinchilla"), flops=BUDGETS[[0, 4, 8]], sizes=5, noise=0.01)
    moved = np.repeat(np.exp([0.5, -0.5, 0.5]), 5)
    frame = frame.assign(params=frame["params"] * moved, tokens=frame["tokens"] / moved)
    entry = isoflop(as_runs(frame), variant=variant).intervals["a"]
    assert entry.high - entry.low > 0.3


def test_rows_of_one_run_share_their_noise() -> None:
    law = known_law("chinchilla")
    frame = table(law)
    frame["loss"] *= np.exp(0.003 * np.random.default_rng(0).standard_normal(7))[frame.index % 7]
    named = frame.assign(run_id=(frame.index % 7).astype(str))
    alone, shared = isoflop(as_runs(frame)), isoflop(as_runs(named))
    assert (alone.resampled, shared.resampled) == ("rows", "runs")
    assert a_of(alone) == a_of(shared)
    # noise that all budgets have in common moves the level of the line, not its slope
    level = [np.log(f.draws[:, 1]).std() for f in (alone, shared)]
    assert level[1] > 1.5 * level[0]


@pytest.mark.parametrize("errors", [0.0, 0.1])
def test_the_scatter_is_what_the_errors_do_not_explain(errors: float) -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(0, 5, 400)
    y = 1 + 0.5 * x + np.hypot(0.2, errors) * rng.standard_normal(400)
    known = np.full(400, errors)
    assert scattered(x, y, known, np.ones(400)) == pytest.approx(0.2, rel=0.1)
    assert scattered(x, y, known + 0.3, np.ones(400)) == 0
    assert scattered(x[:2], y[:2], known[:2], np.ones(2)) == 0


# --- what is said --------------------------------------------------------------------------------


def test_the_notes_tell_the_bias_with_figures() -> None:
    # The skewed law is where parabolas fail: alpha .5, beta .18.
    law = known_law("asymmetric")
    notes = isoflop(as_runs(table(law, around=8.0, sizes=9)), bootstrap=0).notes
    told = next(note for note in notes if "without any noise" in note)
    assert "alpha 0.500, beta 0.180" in told
    found = isoflop(as_runs(table(law, around=8.0, sizes=9)), bootstrap=0)
    off = found.points[0].params / law.optimum(BUDGETS[0]).params - 1
    assert f"put N* {off:+.1%} " in told
    assert abs(off) > 0.1


def test_budgets_without_a_minimum_are_left_out_with_the_reason() -> None:
    frame = table(known_law("chinchilla"), sizes=9)
    budget = {c: frame["flops"] == c for c in BUDGETS}
    best = frame["params"].groupby(frame["flops"]).transform("median")
    frame["loss_unit"] = "nats/token"
    frame.loc[frame.index[budget[1e20]][:2], "loss_unit"] = "bits/byte"
    frame.loc[budget[6e19], "loss"] = 2 * frame["loss"].max() - frame["loss"][budget[6e19]]
    gone = (
        (budget[6e18] & (frame["params"] > 0.6 * best))
        | (budget[1e19] & (frame["params"] < 1.7 * best))
        | (budget[3e19] & (frame["params"] > 0.4 * best))
    )
    frame = frame[~gone]
    found = isoflop(as_runs(frame))
    assert [point.note for point in found.points[:6]] == [
        "its loss still falls towards the largest size",
        "its loss still falls towards the smallest size",
        "it has 2 sizes, and a minimum takes 3 here",
        "its losses do not curve upwards in log N",
        "its losses are in bits/byte and in nats/token",
        "",
    ]
    assert found.points[0].params is None
    assert found.used == 36
    assert sum(drop.rows for drop in found.dropped) == len(frame) - 36


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "spline"}, "no variant 'spline'; it has parabola, cubic, akima, joint"),
        ({"interval": "guess"}, "no interval 'guess'; it has residuals, noise"),
        ({"sizes": 2}, "a parabola of loss in log N takes 3 sizes or more at a budget, not 2"),
        ({"tolerance": 0.0}, "a tolerance of 0.0 groups no budgets"),
        ({"noise": -1.0}, "the noise is -1.0"),
        ({"bootstrap": 1}, "1 replicates have no spread"),
        ({"level": 95}, "the level is 95"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(FitError, match="^" + message.replace("(", r"\(") + "|" + message):
        isoflop(as_runs(table(known_law("chinchilla"))), **options)


def test_tables_without_profiles_are_refused() -> None:
    law = known_law("chinchilla")
    n = np.geomspace(1e8, 1e10, 8)
    lone = pd.DataFrame({"params": n, "tokens": 20 * n, "flops": 120 * n**2})
    lone["loss"] = law.loss(lone["params"], lone["tokens"])
    with pytest.raises(FitError, match="made: no two model sizes were trained with the same comp"):
        isoflop(as_runs(lone))
    one = table(law, flops=BUDGETS[:1])
    with pytest.raises(FitError, match="made: 1 of 1 budgets has a minimum, and a frontier takes"):
        isoflop(as_runs(one))
    small = table(law, sizes=9)
    small = small[small["params"] < 0.6 * np.repeat(law.optimum(BUDGETS).params, 9)]
    with pytest.raises(FitError, match=r"0 of 9 .*falls towards the largest size"):
        isoflop(as_runs(small), variant="akima")


def test_two_budgets_make_a_line_without_an_error_of_its_own() -> None:
    found = isoflop(as_runs(table(known_law("chinchilla"), flops=BUDGETS[[0, -1]], noise=0.002)))
    assert found.status == Status.NOT_IDENTIFIED
    assert found.intervals["a"].low < found.intervals["a"].value < found.intervals["a"].high


def test_fewer_sizes_about_the_minimum() -> None:
    law = known_law("asymmetric")
    runs = as_runs(table(law, around=16.0, sizes=15))
    wide, narrow = (isoflop(runs, sizes=k, bootstrap=0) for k in (None, 5))
    best = law.optimum(BUDGETS).params
    errors = [np.abs(np.log([p.params for p in f.points] / best)).max() for f in (wide, narrow)]
    assert errors[1] < errors[0] / 5
    assert narrow.used == 45
    assert narrow.dropped[-1].reason == "not among the 5 sizes about a lowest loss"


def test_rows_of_mixed_settings_are_remarked_on() -> None:
    frame = table(known_law("chinchilla"))
    worse = frame.assign(loss=1.05 * frame["loss"])
    found = isoflop(as_runs(pd.concat([frame, worse])), bootstrap=0)
    assert any("runs of one size differ by 5% in loss" in note for note in found.notes)
    assert not any("differ by" in note for note in isoflop(as_runs(frame), bootstrap=0).notes)


def test_a_loss_below_zero_is_not_told() -> None:
    # Profiles so steep that their parabola dips below 0 between the sizes.
    frame = table(known_law("chinchilla"), sizes=4, around=16.0)
    place = np.tile([-3.0, -1.0, 1.0, 3.0], len(BUDGETS))
    found = isoflop(as_runs(frame.assign(loss=np.where(np.abs(place) > 2, 9.0, 0.1))), bootstrap=50)
    assert [point.loss for point in found.points] == [None] * 9
    assert np.isnan(found.law.params["E"])
    assert replace(found, notes=()).to_json()


def test_profiles_without_freedom_leave_the_optimal_loss_unknown() -> None:
    """A parabola through three sizes passes through their losses, whatever their noise is."""
    law = known_law("chinchilla")
    rows = [
        (n, flops / (6 * n), flops)
        for flops in np.geomspace(1e19, 1e22, 5)
        for n in np.array([0.5, 1.0, 2.0]) * law.optimum(flops).params
    ]
    frame = pd.DataFrame(rows, columns=["params", "tokens", "flops"])
    noise = np.random.default_rng(0).standard_normal(len(frame))
    frame["loss"] = law.loss(frame["params"], frame["tokens"]) * np.exp(0.005 * noise)
    found = isoflop(as_runs(frame), bootstrap=100)
    assert {"a", "b"} <= found.intervals.keys()
    assert not {"E", "L_1", "c"} & found.intervals.keys()
    assert np.isnan(found.law.optimum(1e23).loss)
    assert any("L* is left out" in note for note in found.notes)
    known = isoflop(as_runs(frame), bootstrap=100, interval="noise", noise=0.01)
    assert known.intervals["E"].low < known.intervals["E"].high
