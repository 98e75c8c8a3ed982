"""The parts of a squared error: variance over training sets, squared bias, and noise.

The lemma E[(Z - EZ)^2] = E[Z^2] - (EZ)^2, once for the model h and once for the label y, gives

    E[(h - y)^2] = E[(h - Eh)^2] + (Eh - f)^2 + E[(y - f)^2],      f = E[y | x],

for a label drawn apart from the training set. The last term is what no model removes.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def split_error(outputs: Floats, truth: Floats) -> tuple[float, float]:
    """Variance and squared bias, unbiased, mean over tests; their sum is the mean squared error.

    Args:
        outputs: of models that were trained on independent sets, shape (models, tests, outputs).
        truth: the mean of what is to be predicted, shape (tests, outputs).

    Returns:
        The estimates of Yang et al. 2020 (arXiv:2002.11328): the bias is that of the mean model,
        less the variance that is left in the mean, so it can fall below 0.
    """
    models = len(outputs)
    mean = outputs.mean(axis=0)
    variance = ((outputs - mean) ** 2).sum(axis=(0, -1)).mean() / (models - 1)
    bias2 = ((mean - truth) ** 2).sum(axis=-1).mean() - variance / models
    return float(variance), float(bias2)


def label_noise(labels: Floats) -> float:
    """The third term for labels of one class each.

    Args:
        labels: probability of every class, shape (tests, classes): f, since a label is a 1 among 0.

    Returns:
        E|y|^2 - |f|^2, mean over tests.
    """
    return float(1.0 - (labels**2).sum(axis=-1).mean())


def expected_error(outputs: Floats, labels: Floats) -> float:
    """Squared error against labels drawn with these probabilities, all of them counted.

    Args:
        outputs: shape (models, tests, classes).
        labels: shape (tests, classes).
    """
    classes = np.eye(labels.shape[-1])
    missed = ((outputs[..., None, :] - classes) ** 2).sum(axis=-1)
    return float((missed * labels).sum(axis=-1).mean())
