"""Labels C1 to C8 on curves whose fault is known by construction."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.diagnosis.curves import LABELS, diagnose_curves, read_curves
from scalefit.errors import DataError

STEPS = np.arange(0.0, 1001.0)


def curves(train, development, **more):
    return pd.DataFrame({"step": STEPS, "train_loss": train, "loss": development, **more})


def labels(frame):
    (found,) = diagnose_curves(frame)
    assert len(found.reasons) == len(found.labels)
    return found.labels


def falling(end, pace=60.0, start=2.3):
    return end + (start - end) * np.exp(-STEPS / pace)


def noise(size, seed=0):
    return size * np.abs(np.random.default_rng(seed).standard_normal(STEPS.size))


RISING = 0.5 * np.maximum(STEPS - 300.0, 0.0) / 700.0
SHAPES = {
    "good": (falling(0.2), falling(0.3), ("C1",)),
    "overfitted": (falling(0.1), falling(0.3) + RISING, ("C2",)),
    "overfitted and memorised": (falling(0.001), falling(0.3) + RISING, ("C2", "C5")),
    "stopped too early": (falling(0.1, 800.0), falling(0.2, 800.0), ("C3",)),
    "hardly moved": (falling(2.2), falling(2.2), ("C4",)),
    "went back up": (falling(0.3) + 4.0 * RISING, falling(0.3) + 4.0 * RISING, ("C4",)),
    "memorised": (falling(0.001), falling(0.1), ("C5",)),
    "too small": (falling(1.5), falling(1.6), ("C6",)),
    "unstable": (falling(0.3) + noise(0.8), falling(0.3) + noise(0.8), ("C7",)),
    "development loss of few examples": (falling(0.2), falling(0.3) + noise(0.8), ("C8",)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_fault_is_named_and_nothing_else_is(name):
    train, development, wanted = SHAPES[name]
    assert labels(curves(train, development)) == wanted


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=10, deadline=None)
@given(unit=st.floats(1e-3, 1e3), pace=st.floats(1e-3, 1e3))
def test_the_units_of_loss_and_step_do_not_matter(name, unit, pace):
    train, development, wanted = SHAPES[name]
    frame = curves(unit * train, unit * development)
    assert labels(frame.assign(step=pace * frame["step"] + 5.0)) == wanted


def test_a_language_model_that_follows_a_power_law_is_not_blamed():
    law = 1.8 + 9.0 * (1.0 + STEPS) ** -0.3
    every_tenth = np.where(STEPS % 10 == 0, law + 0.02, np.nan)
    assert labels(curves(law + noise(0.2), every_tenth)) == ("C1",)


def test_the_order_of_rows_does_not_matter_and_runs_keep_theirs():
    frames = [
        curves(*SHAPES[name][:2], run_id=name).sample(frac=1.0, random_state=1) for name in SHAPES
    ]
    found = diagnose_curves(pd.concat(frames))
    assert [one.run for one in found] == list(SHAPES)
    assert [one.labels for one in found] == [wanted for *_, wanted in SHAPES.values()]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_that_diverged_says_from_which_step_on(value):
    train, development = (np.where(STEPS < 700, falling(end), value) for end in (0.2, 0.3))
    (found,) = diagnose_curves(curves(train, development))
    assert found.labels == ("C4",)
    assert "from step 700 on" in found.reasons[0]


def test_the_reason_of_overfitting_names_the_lowest_and_its_step():
    (found,) = diagnose_curves(curves(*SHAPES["overfitted"][:2]))
    development = SHAPES["overfitted"][1]
    step = float(found.reasons[0].partition("near step ")[2].partition(" ")[0])
    assert abs(step - development.argmin()) < 30
    assert set(found.labels) < set(LABELS)


def test_a_loss_that_may_be_negative_is_read_by_its_fall():
    assert labels(curves(falling(-3.0, start=-1.0), falling(-2.9, start=-1.0))) == ("C1",)
    rising = falling(-2.9, start=-1.0) + RISING
    assert labels(curves(falling(-3.0, start=-1.0), rising)) == ("C2",)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda frame: frame.drop(columns="loss"), "no column loss"),
        (lambda frame: frame.assign(loss="high"), "holds text"),
        (lambda frame: frame.assign(step=np.nan), "rows without a step"),
        (lambda frame: frame.head(0), "no rows"),
        (lambda frame: frame.head(11), "values at 11 steps; a curve needs 12"),
        (lambda frame: frame.assign(step=3.0), "values at 1 steps"),
        (lambda frame: frame.assign(loss=np.nan), "loss has values at 0 steps"),
    ],
)
def test_what_is_no_curve_is_refused_in_one_sentence(spoil, said):
    with pytest.raises(DataError, match=said):
        diagnose_curves(spoil(curves(*SHAPES["good"][:2])), "mine.csv")


def test_a_table_is_read_under_common_names_and_told_from_a_table_of_runs(tmp_path):
    path = str(tmp_path / "curves.csv")
    frame = curves(*SHAPES["memorised"][:2], run="a", width=8)
    other = curves(*SHAPES["good"][:2], run="b", width=16)
    table = pd.concat([frame, other]).rename(columns={"loss": "val_loss"})
    table.to_csv(path, index=False)
    read = read_curves(path, where="width > 8")
    assert read is not None
    assert [(one.run, one.labels) for one in diagnose_curves(read)] == [("b", ("C1",))]
    table.rename(columns={"val_loss": "mine"}).to_csv(path, index=False)
    read = read_curves(path, columns={"loss": "mine"})
    assert read is not None
    assert [one.run for one in diagnose_curves(read)] == ["a", "b"]
    table.drop(columns="train_loss").to_csv(path, index=False)
    assert read_curves(path) is None
