"""AIC, AICc and a development set choose a degree."""

import numpy as np
import pytest

from trainers.studies import capacity, polynomials
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return capacity.run(Ask(seeds=range(200)))


def test_with_few_examples_aic_is_unsafe_and_a_development_set_is_not(table):
    high = table.groupby(["rule", "samples"])["error"].quantile(0.9)
    assert high[capacity.DEVELOPMENT, 30] < 0.1 * high[capacity.AIC, 30]


def test_with_many_examples_aic_is_the_better_one(table):
    middle = table.groupby(["rule", "samples"])["error"].median()
    assert middle[capacity.AIC, 480] < middle[capacity.DEVELOPMENT, 480]
    assert middle[capacity.AIC, 240] < middle[capacity.DEVELOPMENT, 240]


def test_the_corrected_criterion_is_never_far_behind(table):
    middle = table.groupby(["rule", "samples"])["error"].median()
    for count in capacity.COUNTS:
        assert middle[capacity.AICC, count] < 1.1 * middle[capacity.DEVELOPMENT, count]


def test_no_rule_does_better_than_the_best_degree(table):
    by = table.pivot_table(index=["samples", "seed"], columns="rule", values="error")
    assert (by.to_numpy() >= by[[capacity.BEST]].to_numpy()).all()


def test_the_criterion_is_twice_the_weights_less_twice_the_log_likelihood():
    draw = np.random.default_rng(0)
    residuals = draw.standard_normal((1, 30)) * 0.7
    variance = (residuals**2).mean()
    likelihood = -0.5 * (residuals**2 / variance + np.log(2 * np.pi * variance)).sum()
    plain, corrected = capacity.criteria(np.full((1, len(capacity.DEGREES)), variance), 30)
    constant = 30 * (1 + np.log(2 * np.pi))
    # a line and the noise are three numbers
    assert plain[0, 1] + constant == pytest.approx(2 * 3 - 2 * likelihood)
    assert corrected[0, 1] - plain[0, 1] == pytest.approx(2 * 3 * 4 / (30 - 3 - 1))


def test_more_degrees_never_miss_the_training_examples_by_more():
    x, y = polynomials.examples(range(5), 60)
    fits = [polynomials.fit(x, y, int(degree)) for degree in capacity.DEGREES]
    missed = capacity.missed(x, y, fits)
    assert (np.diff(missed, axis=1) <= 1e-12).all()


def test_what_is_said_is_what_the_table_holds(table):
    finding = capacity.find(table)
    assert finding.showed
    assert f"{finding.numbers['high_AIC_30']:.2g}" in finding.text[0]
    assert f"{finding.numbers['development set_480']:.5f}" in finding.text[1]
    assert f"{finding.numbers['AICc_30']:.4f}" in finding.text[2]
    assert len(capacity.draw(table).axes) == 2


def test_a_table_in_which_all_rules_do_the_same_shows_nothing(table):
    assert not capacity.find(table.assign(error=1.0)).showed
