"""Interpolants of least L1 and least L2 norm on Fourier features."""

import numpy as np
import pytest

from trainers.studies import fourier
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return fourier.run(Ask(seeds=range(20)))


def shares(table, column):
    both = fourier.pairs(table)
    return both.groupby(["target", "samples"])[column].mean()


def test_l1_finds_the_sparse_target_and_l2_is_better_on_the_dense_one(table):
    exact, better = shares(table, "exact"), shares(table, "better")
    assert exact["sparse", 40] >= 0.9
    assert exact["sparse", 60] == 1
    assert exact["sparse", 10] == 0
    assert better["dense"].max() <= 1 / 3
    assert fourier.find(table).showed


def test_neither_norm_wins_clearly_on_the_step(table):
    wide = shares(table, "better")["step"].loc[20:]
    assert 0.2 < wide.mean() < 0.6


def test_more_features_bring_the_l2_interpolant_to_the_piecewise_linear_one(table):
    limit = table[table["target"].eq("limit")].pivot_table(
        index="seed", columns="features", values="error"
    )
    assert (np.diff(limit.to_numpy()) < 0).all()
    assert limit[4000].median() < 0.02 * limit[50].median()


def test_the_kernel_of_the_features_is_a_parabola():
    x = np.linspace(0, 0.9, 10)
    products = fourier.features(x, 40_000) @ fourier.features(np.zeros(1), 40_000).T
    assert products[:, 0] == pytest.approx(np.pi**2 * (x**2 - x + 1 / 6), abs=1e-4)


def test_both_go_through_the_samples_and_each_has_its_least_norm():
    draw = np.random.default_rng(0)
    x, values = draw.random(12), draw.standard_normal(12)
    design = fourier.features(x, 40)
    by_square = fourier.least_squares_norm(design, values)
    by_size = fourier.least_absolute_norm(design, values)
    for found in (by_square, by_size):
        assert found[0] + design @ found[1:] == pytest.approx(values, abs=1e-9)
    assert np.abs(by_size[1:]).sum() < np.abs(by_square[1:]).sum()
    assert (by_square[1:] ** 2).sum() < (by_size[1:] ** 2).sum()
    # a vertex of the programme: no more terms than samples, the constant among them
    assert (np.abs(by_size[1:]) > 1e-12).sum() <= 12


def test_adding_a_constant_to_the_values_moves_the_constant_only():
    draw = np.random.default_rng(2)
    design, values = fourier.features(draw.random(9), 30), draw.standard_normal(9)
    for solve in (fourier.least_squares_norm, fourier.least_absolute_norm):
        moved = solve(design, values + 5.0) - solve(design, values)
        assert moved == pytest.approx(np.r_[5.0, np.zeros(30)], abs=1e-8)


def test_without_a_constant_the_least_l1_norm_finds_sparse_weights():
    draw = np.random.default_rng(3)
    design, truth = draw.standard_normal((20, 40)), np.zeros(40)
    truth[[4, 17]] = 1.5, -2.0
    found = fourier.least_absolute_norm(design, design @ truth, constant=False)
    assert found == pytest.approx(truth, abs=1e-9)


def test_what_is_said_is_what_the_table_holds(table):
    finding = fourier.find(table)
    assert f"{shares(table, 'exact')['sparse', 30]:.0%}" in finding.text[0]
    step = shares(table, "better")["step"].loc[20:].mean()
    assert f"{step:.0%} (step)" in finding.text[1]
    assert len(fourier.draw(table).axes) == 3


def test_if_l1_were_always_better_the_target_would_not_decide(table):
    wins = table["error"].mask(table["norm"].eq("L1"), 0.0)
    assert not fourier.find(table.assign(error=wins)).showed
