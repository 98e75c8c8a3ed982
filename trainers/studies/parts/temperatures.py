"""Daily temperatures of two whole years: those that vega_datasets brings, or a user's CSV file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scalefit.errors import StudyError
from scalefit.laws import FloatArray

NAMES = ("temp_max", "temperature", "temp", "tmax", "temp_mean", "tavg", "tmean")
"""How the column may be called, in whatever case; the first of these is taken."""


def bundled() -> Path:
    """Seattle's weather of 2012 to 2015, from NOAA, which comes with vega_datasets."""
    try:
        from vega_datasets import data
    except ModuleNotFoundError as error:
        raise StudyError(
            'the study weather needs temperatures: pip install "scalefit[weather]" brings some, or '
            "give a CSV file of yours with the columns date and temperature by --data"
        ) from error
    return Path(data.seattle_weather.filepath)


def temperatures(path: Path) -> "pd.Series[float]":
    """The last two whole calendar years of a CSV file, by day; StudyError if it does not have them.

    It needs a column "date" (2019-12-31 or 2019/12/31) and one of NAMES.
    """
    try:
        table = pd.read_csv(path, dtype=str).rename(columns=lambda name: name.strip().lower())
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as a CSV file: {error}") from error
    named = [name for name in NAMES if name in table]
    if "date" not in table or not named:
        missing = "date" if named else f"temperature ({', '.join(NAMES)})"
        raise StudyError(
            f"{path} has no column {missing}; it has {', '.join(map(str, table.columns))}"
        )
    days, said = table["date"].str.strip().str[:10].str.replace("/", "-"), table[named[0]]
    dates = pd.to_datetime(days, format="%Y-%m-%d", errors="coerce")
    values = pd.to_numeric(said, errors="coerce").astype(float)
    _refuse(path, table["date"], dates.isna(), "as its date, which must read like 2019-12-31")
    _refuse(path, said, said.notna() & ~np.isfinite(values), f"as its {named[0]}, not a number")
    _refuse(path, table["date"], dates.duplicated(), "as its date, which was there before")
    return _two_years(path, pd.Series(values.to_numpy(), index=pd.DatetimeIndex(dates)).dropna())


def _refuse(path: Path, said: "pd.Series[Any]", wrong: "pd.Series[bool]", what: str) -> None:
    """StudyError for the first line that is wrong."""
    if wrong.any():
        place = int(wrong.to_numpy().argmax())
        raise StudyError(f'{path}, line {place + 2}, has "{said.iloc[place]}" {what}')


def _two_years(path: Path, series: "pd.Series[float]") -> "pd.Series[float]":
    """The last two whole years, none of whose days (366 in a leap year) may be missing."""
    series = series.sort_index()
    ends = (series.index[0], series.index[-1]) if len(series) else (pd.NaT, pd.NaT)
    last = ends[1].year if ends[1] == pd.Timestamp(ends[1].year, 12, 31) else ends[1].year - 1
    if not len(series) or pd.Timestamp(last - 1, 1, 1) < ends[0]:
        span = f"from {ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d}" if len(series) else "of no day"
        raise StudyError(
            f"{path} has temperatures {span}; one whole calendar year is trained on and the next "
            "one tested on, so give it two"
        )
    days = pd.date_range(f"{last - 1}-01-01", f"{last}-12-31")
    lost = days[~days.isin(series.index)]
    if len(lost):
        raise StudyError(
            f"{path} has no temperature for {len(lost)} days of {last - 1} and {last}, the first "
            f"of them {lost[0]:%Y-%m-%d}; fill the gaps"
        )
    found = series.reindex(days)
    trained = found.to_numpy()[days.year == last - 1]
    if (trained == trained[0]).all():
        raise StudyError(f"{path} has one temperature for all of {last - 1}; give measured ones")
    return found


def baselines(before: FloatArray, after: FloatArray) -> dict[str, float]:
    """Errors on the second year of what the first one, or nothing, teaches without a network."""
    slope, level = np.polyfit(before[:-1], before[1:], 1)
    guesses = {
        "persistence": after[:-1],
        "autoregression": level + slope * after[:-1],
        "mean": before.mean(),
    }
    return {name: float(((after[1:] - guess) ** 2).mean()) for name, guess in guesses.items()}
