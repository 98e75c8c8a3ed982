"""Runs that another learning rate would have served better, as a sweep in the same table shows.

A law of the losses that training can reach must not see what it does not reach for want of tuning.
Among runs of this project's trainers that differ in nothing but their rates and seeds, those at the
best rate stand for their size and data; the others are kept in the table and left out of fits.
"""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RATES = ("learning_rate", "embedding_rate")
CHECKPOINT = ["tokens", "averaging"]


def undertuned(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows, shape (rows,), are of a run that does worse than its like at other rates.

    Rows are compared at the same tokens and averaging, and rates by the mean of ``loss`` over the
    seeds; rows that name no configuration are never among them.
    """
    if not {"config", "loss", *CHECKPOINT} <= set(frame):
        return np.zeros(len(frame), dtype=bool)
    runs = {text: _split(text) for text in frame["config"].dropna().unique()}
    told = frame["config"].map(runs.get)
    known = told.notna().to_numpy()
    found = np.zeros(len(frame), dtype=bool)
    if known.any():
        rows = frame.loc[known, [*CHECKPOINT, "loss"]].copy()
        rows["like"] = [like for like, _ in told[known]]
        rows["rates"] = [rates for _, rates in told[known]]
        mean = rows.groupby(["like", *CHECKPOINT, "rates"])["loss"].transform("mean")
        best = mean.groupby([rows[name] for name in ("like", *CHECKPOINT)]).transform("min")
        found[known] = (mean > best).to_numpy()
    return found


def _split(text: str) -> tuple[str, str] | None:
    """What a configuration says besides rates and seed, and its rates; None if it is not ours."""
    try:
        config = json.loads(text)
    except ValueError:
        return None
    if not isinstance(config, Mapping) or not {"trainer", *RATES} <= set(config):
        return None
    rest = {key: value for key, value in config.items() if key not in (*RATES, "seed")}
    return json.dumps(rest, sort_keys=True), json.dumps([config[rate] for rate in RATES])
