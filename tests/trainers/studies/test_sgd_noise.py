"""The noise of SGD: its covariance, where it lies, and where it dies."""

import numpy as np
import pytest

from trainers.studies import sgd_noise
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return sgd_noise.run(Ask(seeds=range(5)))


@pytest.fixture
def network():
    """Two networks of three hidden units with their examples."""
    draw = np.random.default_rng(1)
    weights = draw.standard_normal((2, 3 * (sgd_noise.INPUTS + 2)))
    inputs = draw.standard_normal((2, sgd_noise.EXAMPLES, sgd_noise.INPUTS))
    return weights, inputs, draw.standard_normal((2, sgd_noise.EXAMPLES))


def last(table, arm):
    rows = table[table["arm"].eq(arm)]
    return rows[rows["step"].eq(rows["step"].max())]


def test_noise_dies_with_the_loss_where_all_examples_are_fitted(table):
    end = last(table, "wide")
    assert end["loss"].max() < 1e-6
    assert end["trace"].max() < 1e-5
    assert sgd_noise.find(table).showed


def test_noise_stays_with_label_noise_or_with_too_few_weights(table):
    assert last(table, "labels")["trace"].min() > 0.1
    assert last(table, "narrow")["trace"].min() > 0.01
    assert last(table, "narrow")["loss"].min() > 0.01


def test_noise_lies_in_the_span_of_the_gradients_which_moves(table):
    assert table["outside"].max() < 1e-20
    first = table[table["step"].eq(0)]
    assert first["start"].to_numpy() == pytest.approx(1)
    assert last(table, "wide")["start"].max() < 0.95
    assert last(table, "wide")["start"].min() > 16 / 640


def test_the_trace_is_bounded_by_the_loss(network):
    weights, inputs, values = network
    first = np.eye(weights.shape[1])[None, :1]
    found = sgd_noise.noise(weights, inputs, values, 0.0, first)
    slopes = sgd_noise.network(weights, inputs)[1]
    largest = (slopes**2).sum(-1).max(-1)
    assert (found["trace"] <= 2 * found["loss"] * largest).all()
    assert found["labels"].tolist() == [0, 0]


def test_the_covariance_is_that_of_single_gradients_with_noisy_labels(network):
    weights, inputs, values = network
    rows = sgd_noise.factor(weights, inputs, values, 0.3)[2]
    predicted, slopes = sgd_noise.network(weights, inputs)
    # noise of two values has the same covariance, and can be enumerated
    residuals = np.stack([predicted - values - shift for shift in (0.3, -0.3)], axis=-1)
    each = (residuals[..., None] * slopes[:, :, None]).reshape(2, -1, weights.shape[1])
    for one, factor in zip(each, rows, strict=True):
        assert factor.T @ factor == pytest.approx(np.cov(one.T, bias=True), abs=1e-12)


def test_the_gradients_are_those_of_the_predictions(network):
    weights, inputs, _ = network
    slopes = sgd_noise.network(weights, inputs)[1]
    for at in range(weights.shape[1]):
        step = np.zeros_like(weights)
        step[:, at] = 1e-6
        up, down = (sgd_noise.network(weights + way * step, inputs)[0] for way in (1, -1))
        assert slopes[..., at] == pytest.approx((up - down) / 2e-6, abs=1e-7)


def test_what_is_said_is_what_the_table_holds(table):
    finding = sgd_noise.find(table)
    assert f"{last(table, 'labels')['trace'].mean():.2f}" in finding.text[1]
    assert f"{last(table, 'wide')['start'].mean():.0%}" in finding.text[3]
    assert len(sgd_noise.draw(table).axes) == 2


def test_noise_that_does_not_die_is_not_said_to_show(table):
    rows = table["arm"].eq("wide") & table["step"].gt(0)
    assert not sgd_noise.find(table.assign(trace=table["trace"].mask(rows, 1.0))).showed
