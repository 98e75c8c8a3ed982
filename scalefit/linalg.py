"""Many small linear systems at once; LAPACK's per-matrix cost would be most of a bootstrap."""

import numpy as np
import numpy.typing as npt

PIVOT = 1e-13


def solve_positive(
    matrix: npt.NDArray[np.float64], vector: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Solve a batch of positive definite systems by Cholesky.

    Args:
        matrix: shape (p, p, batch), symmetric; only the lower triangle is read.
        vector: shape (p, batch).

    Returns:
        The solutions, shape (p, batch), and whether each matrix was positive definite, shape
        (batch,); where it was not, the solution means nothing.
    """
    size = len(vector)
    factor: list[list[npt.NDArray[np.float64]]] = [[] for _ in range(size)]
    positive = np.ones(vector.shape[1], dtype=bool)
    solution, inverse = np.empty_like(vector), np.empty_like(vector)
    for i in range(size):
        for j in range(i):
            entry = matrix[i, j].copy()
            for k in range(j):
                entry -= factor[i][k] * factor[j][k]
            entry *= inverse[j]
            factor[i].append(entry)
        pivot, right = matrix[i, i].copy(), vector[i].copy()
        for k, entry in enumerate(factor[i]):
            pivot -= entry * entry
            right -= entry * solution[k]
        good = pivot > PIVOT * matrix[i, i]
        positive &= good
        inverse[i] = 1 / np.sqrt(np.where(good, pivot, 1.0))
        solution[i] = right * inverse[i]
    for i in reversed(range(size)):
        for k in range(i + 1, size):
            solution[i] -= factor[k][i] * solution[k]
        solution[i] *= inverse[i]
    return solution, positive
