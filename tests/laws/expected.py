"""The rows of the table of published answers, and how near to one a value must be."""

import csv

import pytest

from tests.conftest import published_folder

ABSENT = "the published tables are not at hand"


def expected(source: str) -> list[dict[str, str]]:
    """The rows about one table; none where the tables are not at hand."""
    path = published_folder() / "expected_answers.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["source"] == source]


def every_row(source: str, count: int) -> pytest.MarkDecorator:
    """A test for each row, of which there are so many."""
    rows = expected(source)
    assert len(rows) in (0, count)
    return pytest.mark.parametrize(
        "row", rows or [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT))],
        ids=lambda row: row and row["quantity"],
    )  # fmt: skip


def assert_near(value: float, row: dict[str, str]) -> None:
    target, tolerance = float(row["value"]), float(row["tolerance"])
    if row["tol_kind"] == "rel_upper":
        assert value <= target * (1 + tolerance)
    else:
        assert row["tol_kind"] == "abs"
        assert value == pytest.approx(target, abs=tolerance)
