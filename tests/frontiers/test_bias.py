"""The error of approach 2 without noise: published figures and what follows from symmetry."""

import numpy as np
import pytest

from scalefit.errors import FitError
from scalefit.frontiers.bias import VARIANTS, Bias, predicted_bias
from scalefit.laws import FORMS, Law

SURFACES = {
    "chinchilla": (1.69, 406.4, 410.7, 0.34, 0.28),
    "asymmetric": (1.69, 406.4, 410.7, 0.465, 0.155),
    "symmetric": (1.69, 400.0, 400.0, 0.31, 0.31),
}
WIDTHS = (2.0, 4.0, 8.0, 16.0)


def surface(name: str) -> Law:
    form = FORMS["chinchilla"]
    values = dict(zip(form.parameters, SURFACES[name], strict=True))
    return Law(name=name, form=form, params=values)


def found(name: str, variant: str, width: float) -> Bias:
    """Budgets 1e17 to 1e21, 15 sizes each, extended to 1e24 FLOP."""
    budgets = np.logspace(17, 21, 5)
    return predicted_bias(
        surface(name), flops=budgets, around=width, sizes=15, variant=variant, at=1e24
    )


@pytest.mark.parametrize(
    ("name", "variant", "percent"),
    [
        # Open-Athena, scaling-law-analysis: errors of D* at 1e24, per cent
        ("chinchilla", "parabola", (-0.326938, -1.301125, -2.902905, -5.100245)),
        ("asymmetric", "parabola", (-1.674748, -6.497779, -13.910419, -23.116308)),
        ("chinchilla", "cubic", (0.000654, 0.010420, 0.052383, 0.163986)),
        ("asymmetric", "cubic", (0.004179, 0.066276, 0.330836, 1.026402)),
        ("symmetric", "parabola", (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_published_errors_of_tokens(name: str, variant: str, percent: tuple[float, ...]) -> None:
    for width, value in zip(WIDTHS, percent, strict=True):
        off = found(name, variant, width)
        assert 100 * off.tokens_there == pytest.approx(value, rel=1e-5, abs=1e-6)
        assert off.a == pytest.approx(0, abs=1e-9)
        assert off.b == pytest.approx(0, abs=1e-9)
        assert off.tokens == pytest.approx(np.full(5, value / 100), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", SURFACES)
def test_n_and_d_err_in_opposite_directions(name: str) -> None:
    off = found(name, "parabola", 8.0)
    assert (1 + off.params_there) * (1 + off.tokens_there) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", SURFACES)
def test_the_joint_profile_does_not_err(name: str) -> None:
    off = found(name, "joint", 8.0)
    assert off.params_there == pytest.approx(0, abs=1e-6)
    assert off.params == pytest.approx(np.zeros(5), abs=1e-6)


def test_sizes_that_drift_from_the_optimum_tilt_the_exponent() -> None:
    law, budgets = surface("chinchilla"), np.logspace(17, 21, 5)
    place = np.linspace(-1, 1, 5)  # of the middle of the sizes from the optimum, in log N
    best = law.optimum(budgets).params * np.exp(place)
    fixed = best[:, None] * np.geomspace(1 / 4, 4, 15)
    off = predicted_bias(law, flops=budgets, params=fixed)
    assert off.a > 0.002
    assert off.a == pytest.approx(-off.b, abs=1e-9)
    log_off = np.log1p(off.params)
    slope = np.polyfit(np.log(budgets), log_off, 1)[0]
    assert off.a == pytest.approx(slope)
    cubic = predicted_bias(law, flops=budgets, params=fixed, variant="cubic")
    assert abs(cubic.params_there) < abs(off.params_there)


def test_any_law_of_n_and_d_has_its_bias() -> None:
    form = FORMS["generalised"]
    values = dict(zip(form.parameters, (*SURFACES["chinchilla"], 1.0), strict=True))
    same = Law(name="k = 1", form=form, params=values)
    off = predicted_bias(same, flops=np.logspace(17, 21, 5), around=4.0, sizes=15, at=1e24)
    assert 100 * off.tokens_there == pytest.approx(-1.301125, rel=1e-5)


def test_what_cannot_be_said_is_refused() -> None:
    law = surface("chinchilla")
    with pytest.raises(FitError, match="no variant 'line'"):
        predicted_bias(law, flops=[1e19, 1e20], variant="line")
    with pytest.raises(FitError, match="takes 4 sizes at a budget, not 3"):
        predicted_bias(law, flops=[1e19, 1e20], sizes=3, variant="cubic")
    with pytest.raises(FitError, match="fewer than two budgets have their minimum inside"):
        predicted_bias(law, flops=[1e19, 1e20], params=[1e6, 2e6, 4e6])
    assert set(VARIANTS) == {"parabola", "cubic", "akima", "joint"}
