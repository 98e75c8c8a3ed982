"""Temperatures of two whole years from a file."""

import sys

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import StudyError
from trainers.studies.parts.temperatures import bundled, temperatures


def days(first="2019-01-01", last="2020-12-31", name="temperature"):
    dates = pd.date_range(first, last)
    values = 10.0 - 8.0 * np.cos(np.arange(len(dates)) / 58.1)
    return pd.DataFrame({"date": dates.strftime("%Y-%m-%d"), name: values.round(1)})


def read(tmp_path, table):
    path = tmp_path / "mine.csv"
    table.to_csv(path, index=False)
    return temperatures(path)


def test_a_leap_year_has_its_day_and_only_whole_years_are_taken(tmp_path):
    found = read(tmp_path, days("2017-06-01", "2021-03-01"))
    assert list(found.groupby(found.index.year).size()) == [365, 366]
    assert (found.index[0].year, found.index[-1].year) == (2019, 2020)


def test_order_case_slashes_and_hours_do_not_matter(tmp_path):
    plain = read(tmp_path, days())
    table = days().rename(columns={"date": " Date", "temperature": "Temp_Max"})
    table[" Date"] = table[" Date"].str.replace("-", "/") + " 12:00"
    pd.testing.assert_series_equal(read(tmp_path, table.sample(frac=1.0, random_state=0)), plain)


def test_days_missing_outside_the_two_years_do_not_matter(tmp_path):
    table = days("2017-06-01")
    assert len(read(tmp_path, table.drop(index=[3, 4, 5]))) == 731


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.rename(columns={"date": "day"}), "has no column date; it has day, temp"),
        (lambda t: t.rename(columns={"temperature": "rain"}), r"temperature \(temp_max, .* it has"),
        (lambda t: t.replace({"date": {"2019-02-03": "3.2.2019"}}), 'line 35, has "3.2.2019" as'),
        (lambda t: t.replace({"date": {"2019-02-03": "2019-02-30"}}), 'line 35, has "2019-02-30"'),
        (lambda t: t.replace({"date": {"2019-02-03": "2019-02-02"}}), "which was there before"),
        (lambda t: t.astype({"temperature": object}).replace({"temperature": {2.0: "warm"}}),
         'line 2, has "warm" as its temperature, not a number'),
        (lambda t: t.replace({"temperature": {2.0: np.inf}}), 'line 2, has "inf"'),
        (lambda t: t.drop(index=[40, 41]), "for 2 days of 2019 and 2020, .* 2019-02-10; fill"),
        (lambda t: t.assign(temperature=t["temperature"].where(t.index != 40)), "for 1 days of"),
        (lambda t: t.iloc[:-1], "from 2019-01-01 to 2020-12-30; one whole calendar year"),
        (lambda t: t.iloc[:0], "has temperatures of no day"),
        (lambda t: t.assign(temperature=7.0), "has one temperature for all of 2019"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(tmp_path, change, said):
    with pytest.raises(StudyError, match=said) as caught:
        read(tmp_path, change(days()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81", None])
def test_what_is_no_table_is_one_sentence(tmp_path, content):
    path = tmp_path / "mine.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyError, match=r"mine.csv (cannot be read as a CSV|has no column)"):
        temperatures(path)


def test_seattle_has_four_years_of_which_the_last_two_are_taken():
    pytest.importorskip("vega_datasets")
    found = temperatures(bundled())
    assert (str(found.index[0].date()), len(found)) == ("2014-01-01", 730)
    assert found.iloc[0] == 7.2


def test_without_the_extra_both_ways_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vega_datasets", None)
    with pytest.raises(StudyError, match=r'"scalefit\[weather\]".* by --data'):
        bundled()
