"""Laws held against each other: what each would train, and what following the wrong one costs."""

import json

import numpy as np
import pytest

from scalefit.errors import PlanError
from scalefit.laws import published
from scalefit.planning import plan
from scalefit.planning.hardware import Cluster, device
from scalefit.planning.rivals import rivals

NAMES = ("besiroglu2024", "hoffmann2022", "hoffmann2022/approach1", "kaplan2020")


def test_following_the_wrong_law_costs_what_the_right_one_says() -> None:
    cluster = Cluster(device=device("h100"), price=2.0)
    plans = [plan(published(name), flops=1e23, cluster=cluster) for name in NAMES]
    found = rivals(plans)
    for judgement in found.judgements:
        law = published(judgement.judge)
        (other,) = (one for one in plans if one.law.name == judgement.plan)
        reached = float(law.loss(other.params.value, other.tokens.value))
        needed = plan(law, loss=reached).flops
        spent = 6 * other.params.value * other.tokens.value
        assert spent / needed - 1 == pytest.approx(judgement.overhead, rel=1e-6)
        assert judgement.wasted == pytest.approx(spent - needed, rel=1e-6)
        assert judgement.cost / other.bill.cost.value == pytest.approx(judgement.wasted / spent)
    overheads = [judgement.overhead for judgement in found.judgements]
    assert overheads == sorted(overheads, reverse=True)


def test_who_knows_but_its_own_optimum_or_counts_otherwise_is_no_judge() -> None:
    found = rivals([plan(published(name), flops=1e23) for name in NAMES])
    pairs = {(judgement.judge, judgement.plan) for judgement in found.judgements}
    # Kaplan et al. leave embeddings out.
    assert pairs == {
        ("besiroglu2024", "hoffmann2022"), ("hoffmann2022", "besiroglu2024"),
        ("besiroglu2024", "hoffmann2022/approach1"), ("hoffmann2022", "hoffmann2022/approach1"),
    }  # fmt: skip
    assert all(judgement.cost is None for judgement in found.judgements)
    assert any("hoffmann2022/approach1, kaplan2020: knows nothing" in x for x in found.notes)
    assert any("kaplan2020 and besiroglu2024 count N or C differently" in x for x in found.notes)


def test_what_all_plans_have_to_say_is_said_once() -> None:
    names = ("besiroglu2024", "muennighoff2023")
    found = rivals([plan(published(name), flops=1e24) for name in names])
    assert sum("no interval: this law" in note for note in found.notes) == 1
    assert any(note.startswith("besiroglu2024: 77 times the largest run") for note in found.notes)


def test_rows_and_json_hold_every_plan() -> None:
    found = rivals([plan(published(name), loss=2.1) for name in NAMES[:2]])
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [one["law"] for one in document["plans"]] == list(NAMES[:2])
    frame = found.frame()
    assert frame["law"].tolist() == list(NAMES[:2])
    assert frame["loss"].tolist() == [2.1, 2.1]


def test_laws_are_compared_at_one_budget() -> None:
    several = [plan(published(name), flops=np.array([1e20, 1e21])) for name in NAMES[:2]]
    with pytest.raises(PlanError, match="at one budget; give a single one"):
        rivals(several)
