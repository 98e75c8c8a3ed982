"""Epoch-wise double descent in the linear model of two scales."""

import numpy as np
import pytest

from trainers.studies import epochs
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return epochs.run(Ask(seeds=range(10)))


def test_the_error_falls_twice_and_the_second_minimum_is_lower(table):
    found = epochs.descents(table)
    assert found["twice"].sum() >= 9
    assert (found["second"] < found["first"]).sum() >= 9
    assert found["peak"].mean() == pytest.approx(1.085, abs=0.3)


def test_with_fewer_samples_than_features_it_does_not_come(monkeypatch):
    monkeypatch.setattr(epochs, "SAMPLES", 100)
    found = epochs.descents(epochs.run(Ask(seeds=range(10))))
    assert not (found["twice"] & (found["second"] < found["first"])).any()


def test_the_closed_form_is_what_gradient_descent_does(monkeypatch):
    monkeypatch.setattr(epochs, "TIMES", np.array([1.0, 7.0, 40.0]))
    monkeypatch.setattr(epochs, "SAMPLES", 30)
    error = epochs.run(Ask(seeds=[3]))["error"]
    draw = np.random.default_rng(3)
    scales = np.repeat([1.0, epochs.SCALE], [epochs.STRONG, epochs.WEAK])
    features = draw.standard_normal((30, scales.size)) * scales
    truth = draw.standard_normal(scales.size) / scales / np.sqrt(scales.size)
    values = features @ truth + epochs.NOISE * draw.standard_normal(30)
    rate = np.linalg.norm(features, 2) ** -2.0
    weights, walked = np.zeros(scales.size), {}
    for step in range(1, 41):
        weights -= rate * features.T @ (features @ weights - values)
        walked[step] = (((weights - truth) * scales) ** 2).sum()
    assert error.to_numpy() == pytest.approx([walked[step] for step in (1, 7, 40)])


def test_what_is_said_is_what_the_table_holds(table):
    finding = epochs.find(table)
    assert finding.showed
    peak = epochs.descents(table)["peak"].mean()
    assert f"{peak:.3f}" in finding.text[0]
    assert len(epochs.draw(table).axes) == 1
