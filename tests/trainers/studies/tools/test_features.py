"""Least squares of minimum norm, against the pseudo-inverse."""

import numpy as np
import pytest

from trainers.studies.tools.features import draw_directions, minimum_norm, relu_features


@pytest.mark.parametrize("shape", [(30, 12), (12, 12), (12, 30)])
def test_the_weights_are_those_of_the_pseudo_inverse(shape):
    draw = np.random.default_rng(0)
    design, targets = draw.standard_normal(shape), draw.standard_normal((shape[0], 3))
    assert minimum_norm(design, targets) == pytest.approx(np.linalg.pinv(design) @ targets)


def test_features_are_never_negative_and_half_of_them_are_0():
    draw = np.random.default_rng(0)
    features = relu_features(draw.standard_normal((200, 20)), draw_directions(20, 300, draw))
    assert features.min() == 0.0
    assert (features == 0.0).mean() == pytest.approx(0.5, abs=0.02)
    # E max(0, z)^2 = 1/2 for directions of unit length on average
    assert (features**2).mean() == pytest.approx(0.5, rel=0.1)
