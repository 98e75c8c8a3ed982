"""A part of a source: so many rows, all of them, and no others."""

import numpy as np
import pytest

from trainers.sources.base import HeldOut, passes, source
from trainers.sources.limited import Limited


class Numbered:
    """Rows 0..99 of four predictions each."""

    context, classes, loss_unit, entropy, available = 4, 7, "nats/token", 0.5, 400

    def config(self):
        return {"name": "numbered"}

    def rows(self, seed, count):
        return np.arange(100)[passes(100, seed, count), None]

    def held_out(self, count):
        return HeldOut(rows=np.arange(100, 100 + count)[:, None], surprisal=None)


@pytest.fixture
def part():
    return Limited(source=Numbered(), unique=42)


def test_a_part_has_as_many_rows_as_fit_and_every_pass_has_them_all(part):
    assert part.available == 40
    rows = part.rows(5, 35)[:, 0]
    whole = Numbered().rows(5, 10)[:, 0]
    assert np.array_equal(rows[:10], whole)
    for first in (10, 20):
        assert sorted(rows[first : first + 10]) == sorted(whole)
    assert not np.array_equal(rows[10:20], rows[20:30])
    assert set(rows[30:]) <= set(whole)


def test_a_larger_part_holds_the_smaller_one(part):
    larger = Limited(source=Numbered(), unique=80)
    assert set(part.rows(2, 10)[:, 0]) < set(larger.rows(2, 20)[:, 0])


def test_a_longer_draw_begins_with_a_shorter_one(part):
    for count in (0, 3, 10, 11, 27):
        assert np.array_equal(part.rows(1, 50)[:count], part.rows(1, count))


def test_all_of_a_source_is_all_of_it():
    whole = Limited(source=Numbered(), unique=400)
    rows = whole.rows(0, 200)[:, 0]
    assert sorted(rows[:100]) == sorted(rows[100:]) == list(range(100))


def test_seeds_have_parts_of_their_own(part):
    assert set(part.rows(0, 10)[:, 0]) != set(part.rows(1, 10)[:, 0])


def test_everything_else_is_the_sources(part):
    assert (part.context, part.classes, part.loss_unit, part.entropy) == (4, 7, "nats/token", 0.5)
    assert part.config() == {"name": "numbered", "unique_tokens": 42}
    assert part.held_out(3).rows.tolist() == [[100], [101], [102]]


def test_a_part_of_an_endless_source_comes_back_too():
    part = Limited(source=source("markov", 8), unique=80)
    rows = part.rows(0, 30)
    assert len(np.unique(rows, axis=0)) == 10
    assert part.available == 80
