"""Amplitudes for given exponents: the linear half of a separable fit.

Variable projection (Golub & Pereyra 1973): with its exponents fixed, a law that is a sum of terms
is linear in their amplitudes, and minimising the squared relative error over non-negative
amplitudes is a tiny quadratic problem, solved exactly by trying every set of terms.
"""

from itertools import chain, combinations

import numpy as np

from scalefit.laws.base import FloatArray
from scalefit.linalg import solve_positive


def amplitudes(features: FloatArray, weights: FloatArray, target: FloatArray) -> FloatArray:
    """Non-negative amplitudes of least squared error of ``amplitudes @ features`` to the target.

    Args:
        features: each term over the measured loss, shape (terms, points, runs).
        weights: of the runs, shape (runs,).
        target: what the terms should add up to, over the measured loss, shape (runs,) or (points,
            runs).

    Returns:
        shape (terms, points); zeros where no set of terms can be told apart.
    """
    weighted = features * weights
    matrix = np.einsum("kpn,mpn->kmp", weighted, features)
    vector = weighted @ target if target.ndim == 1 else (weighted * target).sum(axis=-1)
    best = np.zeros(vector.shape[1])
    found: FloatArray = np.zeros_like(vector)
    count = len(features)
    for present in chain.from_iterable(combinations(range(count), k + 1) for k in range(count)):
        chosen = list(present)
        solution, positive = solve_positive(matrix[np.ix_(chosen, chosen)], vector[chosen])
        gain = (solution * vector[chosen]).sum(axis=0)
        take = positive & (solution >= 0).all(axis=0) & (gain > best)
        candidate = np.zeros_like(vector)
        candidate[chosen] = solution
        found = np.where(take, candidate, found)
        best = np.where(take, gain, best)
    return found
