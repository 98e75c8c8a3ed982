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
    solution = np.empty_like(vector)
    for i in range(size):
        for j in range(i):
            dot = sum((factor[i][k] * factor[j][k] for k in range(j)), np.float64(0.0))
            factor[i].append((matrix[i, j] - dot) / factor[j][j])
        pivot = matrix[i, i] - sum((entry**2 for entry in factor[i]), np.float64(0.0))
        good = pivot > PIVOT * matrix[i, i]
        positive &= good
        factor[i].append(np.sqrt(np.where(good, pivot, 1.0)))
        known = sum((factor[i][k] * solution[k] for k in range(i)), np.float64(0.0))
        solution[i] = (vector[i] - known) / factor[i][i]
    for i in reversed(range(size)):
        known = sum((factor[k][i] * solution[k] for k in range(i + 1, size)), np.float64(0.0))
        solution[i] = (solution[i] - known) / factor[i][i]
    return solution, positive
