"""Random ReLU features and least squares of minimum norm: the smallest over-parameterised models.

Only the last layer is learned, so the minimum that gradient descent from 0 reaches has a closed
form (Rahimi & Recht 2007; Belkin et al. 2019, arXiv:1812.11118).
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

Floats = npt.NDArray[np.float64]


def relu_features(inputs: Floats, directions: Floats) -> Floats:
    """max(0, inputs @ directions), shape (examples, features)."""
    features: Floats = (inputs @ directions).clip(min=0.0)
    return features


def draw_directions(inputs: int, features: int, draw: np.random.Generator) -> Floats:
    """Normal directions of unit length on average, shape (inputs, features)."""
    directions: Floats = draw.standard_normal((inputs, features)) / np.sqrt(inputs)
    return directions


def minimum_norm(design: Floats, targets: Floats) -> Floats:
    """The least-squares solution of smallest norm, for a design of full rank.

    By a QR factorisation of whichever side is longer, so that the condition number is not squared
    (at the threshold it is what the studies measure).

    Args:
        design: shape (examples, features).
        targets: shape (examples, outputs).

    Returns:
        Weights, shape (features, outputs).
    """
    examples, features = design.shape
    if features <= examples:
        left, corner = np.linalg.qr(design)
        weights: Floats = solve_triangular(corner, left.T @ targets)
        return weights
    left, corner = np.linalg.qr(design.T)
    weights = left @ solve_triangular(corner, targets, trans="T")
    return np.asarray(weights, dtype=np.float64)
