"""Simulated runs obey their law, their noise and their file."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import DataError, QuantityError
from scalefit.laws import Law, published
from scalefit.quantities import parse_flops, parse_params
from scalefit.runs import SCHEMA, read
from scalefit.simulate import Noise, grid, simulate, spaced, summary, write
from tests.conftest import known_law

LAW = known_law("chinchilla")
N, D = np.geomspace(5e7, 1e10, 60), np.geomspace(1e9, 3e11, 50)[:, None]


def errors(noise: Noise, seed: int = 0) -> np.ndarray:
    frame = simulate(LAW, params=N, tokens=D, noise=noise, seed=seed)
    return np.log(frame["loss"] / LAW.loss(frame["params_total"], frame["tokens"])).to_numpy()


def test_without_noise_every_loss_is_the_law(surface: Law) -> None:
    frame = simulate(surface, params=N, tokens=D, noise=Noise(sd=0.0))
    loss = surface.loss(frame["params_total"], frame["tokens"])
    np.testing.assert_array_equal(frame["loss"], loss)
    np.testing.assert_array_equal(frame["flops"], 6.0 * frame["params_total"] * frame["tokens"])


def test_the_same_seed_gives_the_same_table() -> None:
    first, again, other = (
        simulate(LAW, params=N, tokens=D, noise=Noise(sd=0.01), seed=seed) for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, again)
    assert not np.array_equal(first["loss"], other["loss"])


def test_the_noise_is_as_large_as_it_says() -> None:
    for noise in (Noise(sd=0.02), Noise(sd=0.02, df=5.0), Noise(sd=0.02, shared=0.3)):
        assert errors(noise).std() == pytest.approx(0.02, rel=0.15)
    assert pd.Series(errors(Noise(sd=0.02, df=4.0))).kurt() > 1


def test_rows_of_one_size_share_their_part_of_the_noise() -> None:
    by_size = errors(Noise(sd=0.01, shared=0.4)).reshape(50, 60)
    between = by_size.mean(axis=0).var(ddof=1) - by_size.var(axis=0, ddof=1).mean() / 50
    assert between / (between + by_size.var(axis=0, ddof=1).mean()) == pytest.approx(0.4, abs=0.15)
    together = errors(Noise(sd=0.01, shared=1.0)).reshape(50, 60)
    np.testing.assert_allclose(together - together[0], 0, atol=1e-12)


def test_outliers_are_as_many_as_asked_for_and_above() -> None:
    wild = errors(Noise(sd=0.0, outliers=7, outlier_size=0.2))
    assert np.sum(np.abs(wild - 0.2) < 1e-9) == 7
    assert np.sum(np.abs(wild) < 1e-9) == len(wild) - 7


def test_a_shared_run_is_one_run_to_the_reader(tmp_path: Path) -> None:
    for shared, runs in ((0.3, 60), (0.0, 3000)):
        noise = Noise(sd=0.01, shared=shared)
        frame = simulate(LAW, params=N, tokens=D, noise=noise)
        path = write(frame, tmp_path / f"{runs}.parquet")
        table = read(path)
        assert table.frame["run_id"].nunique() == runs
        assert (table.cluster is None) == (shared == 0.0)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_reads_back_as_it_was_and_is_never_overwritten(suffix: str, tmp_path: Path) -> None:
    frame = simulate(LAW, params=N, tokens=D, noise=Noise(sd=0.01))
    path = write(frame, tmp_path / f"runs{suffix}")
    back = read(path)
    np.testing.assert_array_equal(back.frame["loss"], frame["loss"])
    np.testing.assert_array_equal(back.frame["params"], frame["params_total"])
    assert back.params_kind == "total"
    before = path.read_bytes()
    with pytest.raises(DataError, match="not overwritten"):
        write(frame, path)
    assert path.read_bytes() == before


def test_parquet_has_the_schema_of_the_runs_table(tmp_path: Path) -> None:
    frame = simulate(LAW, params=N, tokens=D, noise=Noise(sd=0.01))
    schema = pq.read_schema(write(frame, tmp_path / "runs.parquet"))
    assert schema.names == SCHEMA.names
    assert schema.metadata[b"scalefit.schema"] == SCHEMA.metadata[b"scalefit.schema"]


def test_a_law_of_non_embedding_parameters_stays_one(tmp_path: Path) -> None:
    from dataclasses import replace

    law = replace(LAW, convention=replace(LAW.convention, params="non_embedding"))
    frame = simulate(law, params=N, tokens=D, noise=Noise(sd=0.01))
    assert read(write(frame, tmp_path / "r.csv")).params_kind == "non_embedding"


def test_profiles_have_equal_compute_about_the_optimum() -> None:
    budgets = np.array([1e19, 1e20])
    n, d = grid(published("besiroglu2024"), flops=budgets)
    np.testing.assert_allclose((6 * n * d).reshape(2, -1), budgets[:, None] * np.ones(7))
    best = published("besiroglu2024").optimum(budgets).params
    np.testing.assert_allclose(n.reshape(2, -1)[:, [0, 3, 6]], best[:, None] * [0.25, 1, 4])
    n, d = grid(LAW, flops=budgets, params=np.array([1e8, 1e9, 1e10]))
    np.testing.assert_allclose(sorted(6 * n * d), np.repeat(budgets, 3))


def test_a_grid_is_every_size_on_every_count() -> None:
    n, d = grid(LAW, params=np.array([1.0, 2.0]), tokens=np.array([3.0, 4.0, 5.0]))
    assert set(zip(n, d, strict=True)) == {(i, j) for i in (1, 2) for j in (3, 4, 5)}


@given(low=st.floats(1, 1e12), factor=st.floats(1.01, 1e6), count=st.integers(2, 50))
def test_ranges_are_even_in_the_logarithm(low: float, factor: float, count: int) -> None:
    values = spaced(f"{low!r}:{low * factor!r}:{count}", parse_params)
    assert len(values) == count
    assert values[0] == pytest.approx(low)
    assert values[-1] == pytest.approx(low * factor)
    np.testing.assert_allclose(np.diff(np.log(values)), np.log(factor) / (count - 1), rtol=1e-6)


def test_lists_and_units_are_amounts_too() -> None:
    assert spaced("70M,1.5B", parse_params).tolist() == [7e7, 1.5e9]
    assert spaced("1e19:1ZFLOP:3", parse_flops) == pytest.approx([1e19, 1e20, 1e21])


@pytest.mark.parametrize("text", ["", "1e8:1e9", "1e8:1e9:0", "1e8:1e9:x", "1:2:3:4", "a,b", "1,"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        spaced(text, parse_params)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        (Noise(sd=-0.1), "like 0.01"),
        (Noise(sd=float("nan")), "like 0.01"),
        (Noise(sd=0.1, df=2.0), "more than 2"),
        (Noise(sd=0.1, shared=1.5), "from 0 to 1"),
        (Noise(sd=0.1, outliers=5), "ask for fewer"),
        (Noise(sd=0.1, outlier_size=float("inf"), outliers=1), "ask for"),
        (Noise(sd=1e4), "no positive number"),
    ],
)
def test_noise_that_is_none_is_refused(noise: Noise, words: str) -> None:
    with pytest.raises(DataError, match=words):
        simulate(LAW, params=[1e8, 2e8], tokens=[1e9, 2e9], noise=noise)


def test_grids_that_are_none_are_refused() -> None:
    flat = Law(name="flat", form=LAW.form, params={**LAW.params, "A": 0.0})
    some = np.array([1e9])
    with pytest.raises(DataError, match="--params and --tokens, or --flops"):
        grid(LAW, params=some)
    with pytest.raises(DataError, match="not both"):
        grid(LAW, params=some, tokens=some, flops=some)
    with pytest.raises(DataError, match="no compute-optimal size"):
        grid(flat, flops=some)
    with pytest.raises(DataError, match="at least one"):
        simulate(LAW, params=0.2, tokens=1e9, noise=Noise(sd=0.1))
    with pytest.raises(DataError, match="0 runs"):
        simulate(LAW, params=[], tokens=[], noise=Noise(sd=0.1))


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    frame = simulate(LAW, params=1e9, tokens=1e10, noise=Noise(sd=0.1))
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        write(frame, tmp_path / "runs.xlsx")
    with pytest.raises(DataError, match="cannot write"):
        write(frame, tmp_path / "nowhere" / "runs.csv")


def test_the_summary_is_json() -> None:
    frame = simulate(LAW, params=[1e8, 1e9], tokens=1e10, noise=Noise(sd=0.1))
    document = json.loads(json.dumps(summary(frame, LAW), allow_nan=False))
    assert document["law"]["params"] == dict(LAW.params)
    assert [run["loss"] for run in document["runs"]] == pytest.approx(frame["loss"], rel=1e-12)
