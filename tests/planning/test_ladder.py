"""A ladder is a grid file that train-grid takes, and trains what was planned."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from scalefit.errors import PlanError
from scalefit.laws import FORMS, Law
from scalefit.planning import Plan, plan
from scalefit.planning.ladder import ladder_toml
from scalefit.planning.shape import Build
from trainers.grid import load
from trainers.sources.base import source

LAPTOP = Law(
    name="laptop", form=FORMS["chinchilla"],
    params={"E": 1.38, "A": 58.0, "B": 583.0, "alpha": 0.56, "beta": 0.59},
)  # fmt: skip
CONTEXT = 16


def rungs(budgets: np.ndarray, **build: int) -> list[Plan]:
    made = Build(**{"vocab": source("text", CONTEXT).classes, "context": CONTEXT} | build)
    return [plan(LAPTOP, flops=budget, build=made) for budget in budgets]


def test_what_was_planned_is_what_the_grid_trains(tmp_path: Path) -> None:
    budgets = np.geomspace(1e9, 1e12, 5)
    plans = rungs(budgets)
    path = tmp_path / "ladder.toml"
    path.write_text(ladder_toml(plans, source="text", origin="laptop"))
    runs = load(path).runs()
    assert len(runs) == len(plans)
    for run, one, budget in zip(runs, plans, budgets, strict=True):
        model = one.model
        assert run.shape == model.shape
        assert run.shape.params().total == model.total
        assert run.batch == model.batch
        assert run.ends == (model.steps,)
        assert run.tokens == (model.steps * model.batch_tokens,)
        assert run.rates["matrices"] == pytest.approx(model.learning_rate, rel=1e-3)
        # N is met to its nearest model and D to whole batches.
        assert run.tokens[0] == pytest.approx(one.tokens.value, rel=0.01)
        assert 6 * model.total * run.tokens[0] == pytest.approx(budget, rel=0.2)
        assert run.flops == pytest.approx(model.exact_flops, rel=0.01)


def test_its_head_says_what_was_planned() -> None:
    text = ladder_toml(rungs(np.array([1e10, 1e12])), source="markov", origin="laptop, my law")
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert "2 rungs by laptop, my law" in head[0]
    assert any("vocabulary of 96 and a context of 16 tokens" in line for line in head)
    assert head[-1].split()[1] == "1e12"
    document = tomllib.loads(text)
    assert document["source"] == "markov"
    assert len(document["runs"]) == 2


def test_rungs_that_are_no_training_are_refused() -> None:
    with pytest.raises(PlanError, match="the rung of 1e9 FLOP: no well-proportioned transf"):
        ladder_toml(rungs(np.array([1e9]), vocab=32_768), source="text", origin="laptop")
    with pytest.raises(PlanError, match="take a smaller --context"):
        ladder_toml(rungs(np.array([1e10]), context=131_072), source="text", origin="laptop")
