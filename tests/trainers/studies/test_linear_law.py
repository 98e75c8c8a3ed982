"""Exact losses of linear regression: which form describes them."""

import numpy as np
import pytest

from trainers.sources.regression import Regression
from trainers.studies import linear_law
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return linear_law.run(Ask(seeds=range(1)))


def test_the_additive_law_is_wrong_and_the_k_form_right(table):
    finding = linear_law.find(table)
    assert finding.showed
    assert finding.numbers["additive rms"] > 0.02
    assert finding.numbers["k-form rms"] < 0.003
    truth = Regression()
    assert finding.numbers["k-form alpha"] == pytest.approx(truth.alpha, rel=0.05)
    assert finding.numbers["k-form beta"] == pytest.approx(truth.beta, rel=0.05)
    assert finding.numbers["additive alpha"] > 1.5
    assert finding.numbers["k-form E"] == pytest.approx(truth.noise, rel=0.005)
    assert f"{finding.numbers['additive rms']:.1%}" in finding.text[0]


def test_more_of_either_never_hurts_and_no_loss_lies_below_the_noise(table):
    losses = table.pivot_table(index="params", columns="tokens", values="loss").to_numpy()
    assert (np.diff(losses, axis=0) < 0).all()
    assert (np.diff(losses, axis=1) < 0).all()
    assert losses.min() > Regression().noise


def test_its_figure_has_losses_and_both_residuals(table):
    figure = linear_law.draw(table)
    assert len(figure.axes) == 3
    assert "additive" in figure.axes[1].get_title()
