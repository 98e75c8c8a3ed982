"""Jets: whatever NumPy computes, they differentiate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.laws.jets import Jet, lift, variables

EXPRESSIONS = {
    "sums": lambda x, y, z: 2 + x - y + (3 - z) - 1.5,
    "products": lambda x, y, z: x * y / z * 2 / y,
    "powers": lambda x, y, z: x**2.5 + y**z + 1.7**x + np.power(z, 0.5),
    "inverse": lambda x, y, z: 1 / x + np.reciprocal(y) + 3 / z,
    "logarithms": lambda x, y, z: np.log(x) * np.log2(y) + np.log10(z) + np.log1p(x),
    "exponentials": lambda x, y, z: np.exp(-x) + np.expm1(y / 3) + np.tanh(z),
    "roots": lambda x, y, z: np.sqrt(x * y) + np.square(z) + np.abs(-x),
    "waves": lambda x, y, z: np.sin(x) * np.cos(y) - z,
    "sharp": lambda x, y, z: np.logaddexp(4 * np.log(x), 4 * np.log(y)) / 4 + np.logaddexp(z, 1.0),
    "extremes": lambda x, y, z: np.minimum(x, y * z) + np.maximum(z, 2.0),
    "choices": lambda x, y, z: np.where(x < y, x * z, y) + np.where(z >= 1, 1.0, z),
}
near = st.floats(0.3, 3.0).map(lambda x: round(x, 3))


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(point=st.tuples(near, near, near))
def test_derivatives_are_those_of_differences(name: str, point: tuple[float, ...]) -> None:
    x, y, z = point
    if min(abs(x - y), abs(x - y * z), abs(z - 2), abs(z - 1)) < 1e-2:
        return  # on an edge of a minimum or a choice
    act = EXPRESSIONS[name]
    theta = np.array([point])
    jet = act(*variables(theta))
    assert jet.value.squeeze() == pytest.approx(act(*point), rel=1e-12)
    h = 1e-4
    for i in range(3):
        step = h * np.eye(3)[i]
        slope = (act(*(theta[0] + step)) - act(*(theta[0] - step))) / (2 * h)
        assert jet.first[0, i].squeeze() == pytest.approx(slope, rel=1e-4, abs=1e-5)
        for j in range(3):
            other = h * np.eye(3)[j]
            bend = sum(
                a * b * act(*(theta[0] + a * step + b * other)) for a in (1, -1) for b in (1, -1)
            ) / (4 * h * h)
            assert jet.second[0, i, j].squeeze() == pytest.approx(bend, rel=1e-3, abs=1e-4)


def test_arrays_and_jets_mix_on_either_side() -> None:
    rows, (x, y) = np.linspace(1, 2, 5), variables(np.array([[0.5, 0.7], [0.1, 0.2]]))
    for jet in (rows * x + y, x * rows + y, y - rows**-x, rows / x, 1 - rows * y):
        assert isinstance(jet, Jet)
        assert jet.value.shape == (2, 5)
        assert np.broadcast_shapes(jet.second.shape, (2, 2, 2, 5)) == (2, 2, 2, 5)


def test_lifting_is_the_chain_rule() -> None:
    x, y = variables(np.array([[0.5, 0.7]]))
    inner = [np.exp(x), x * y]
    u, v = (g.value for g in inner)
    lifted = lift(u * v**2, [v**2, 2 * u * v], {(1, 0): 2 * v, (1, 1): 2 * u}, inner)
    plain = inner[0] * inner[1] ** 2
    np.testing.assert_allclose(lifted.first, plain.first)
    np.testing.assert_allclose(lifted.second, plain.second)


def test_what_a_jet_cannot_do_is_a_type_error() -> None:
    (x,) = variables(np.array([[0.5]]))
    with pytest.raises(TypeError):
        np.floor(x)


def test_what_is_not_chosen_leaves_no_trace_though_it_overflows() -> None:
    x, y = variables(np.array([[800.0, 2.0]]))
    with np.errstate(all="ignore"):
        jet = np.minimum(3.0, np.exp(x)) * y
    np.testing.assert_array_equal(jet.first, [[[0.0], [3.0]]])
    np.testing.assert_array_equal(jet.second, np.zeros((1, 2, 2, 1)))


@pytest.mark.parametrize("x", [-600.0, 600.0])
def test_a_logarithm_undoes_an_exponential_at_the_ends_of_the_range(x: float) -> None:
    (jet,) = variables(np.array([[x]]))
    undone = np.log(np.exp(jet))
    assert undone.value == pytest.approx(x)
    assert undone.first == pytest.approx(1.0)
    assert undone.second == pytest.approx(0.0, abs=1e-12)


def test_a_jet_carries_the_derivatives_by_what_it_depends_on() -> None:
    x, y, z = variables(np.array([[0.5, 0.7, 0.9]]))
    assert (x * z).of == (0, 2)
    assert (x * z).slopes.shape == (1, 2, 1)
    np.testing.assert_allclose((x * z).first, [[[0.9], [0.0], [0.5]]])
    assert (x * z + y).of == (0, 1, 2)
