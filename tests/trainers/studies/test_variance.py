"""Bias and variance of random features against their number."""

import numpy as np
import pytest

from trainers.studies import variance
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return variance.run(Ask(seeds=range(5)))


def test_the_variance_has_one_peak_where_the_features_are_as_many_as_the_examples(table):
    found = variance.shapes(table)
    assert (found["peak"] == variance.EXAMPLES).all()
    assert found["unimodal"].all()
    # measured: over 100 times what is left at 4000 features
    at = table.pivot_table("variance", "seed", "width")
    assert (at[200] > 100 * at[4000]).all()


def test_the_bias_falls_to_a_plateau_but_not_at_every_step(table):
    found = variance.shapes(table)
    assert (found["rise"] <= variance.RISE).all()
    assert not found["strict"].all()
    mean = table.groupby("width")["bias2"].mean()
    assert mean[10] > 3 * mean[4000]
    assert mean[500] == pytest.approx(mean[4000], abs=0.02)


def test_many_features_only_tie_with_the_best_few(table):
    mean = table.groupby("width")["wrong"].mean()
    assert mean[4000] == pytest.approx(mean[:180].min(), abs=0.03)
    assert mean[200] > 2 * mean[4000]


def test_the_terms_add_up_to_the_error_with_the_noise_kept(table):
    two = table["variance"] + table["bias2"]
    assert two.to_numpy() == pytest.approx(table["error"].to_numpy(), rel=1e-9)
    three = table["variance"] + table["noisy_bias2"] + table["noise"]
    assert three.to_numpy() == pytest.approx(table["noisy_error"].to_numpy(), rel=1e-9)
    # a fifth wrong: 1 - .8^2 - 9 (.2 / 9)^2
    assert table["noise"].to_numpy() == pytest.approx(1 - 0.64 - 0.04 / 9)


def test_the_smallest_eigenvalue_of_the_hessian_is_least_at_the_peak(table):
    assert (variance.shapes(table)["inverse_peak"] == variance.EXAMPLES).all()


def test_the_sets_are_disjoint_and_a_fifth_of_their_labels_is_wrong():
    images, targets, tests, answers = variance.noisy_sets(0, np.random.default_rng(0))
    assert images.shape == (7, 200, 64)
    assert len(tests) == len(answers) == 1797 - 1400
    rows = np.concatenate([images.reshape(-1, 64), tests])
    assert rows[:1400].mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert len(np.unique(rows, axis=0)) == 1797
    true = variance.digits.shuffled(0)[1][:1400]
    assert (targets.reshape(-1, 10).argmax(1) != true).sum() == 280


def test_what_is_said_is_what_the_table_holds(table):
    finding = variance.find(table)
    assert finding.showed
    said = " ".join(finding.text)
    assert f"{table.groupby('width')['bias2'].mean()[4000]:.3f}" in said
    assert f"{table['noise'].iloc[0]:.3f}" in said
    assert len(variance.draw(table).axes) == 2


def test_a_bias_that_rises_is_not_called_a_plateau(table):
    risen = table.assign(bias2=table["bias2"] + 0.05 * (table["width"] == 1000))
    assert not variance.find(risen).showed
