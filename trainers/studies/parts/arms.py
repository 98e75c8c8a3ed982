"""Ways of training held against each other: at one rate, and at one ratio of rate to batch.

found = compared(table)         # columns seed, arm, optimiser, lr, batch, ratio, matched, ...
found.means.loc[found.ladder, "trace"]
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a table says of its arms, over the seeds that are matched in all of them.

    Attributes:
        ladder: arms of one rate, by rising ratio; the first has least noise.
        equal: arms of equal ratio, the one off the ladder first.
        least: what the first of the ladder is called.
        owned: what it owns, "...'s" or "that of ...".
        traces: seeds in rows, arms in columns.
        falls: of each seed, whether the trace falls with every step up in ratio.
        means: over seeds, arms in rows: trace, top, test, and others that are numbers.
        follows: correlation between the ranks of trace and test error within a seed.
    """

    ladder: list[str]
    equal: list[tuple[str, str]]
    least: str
    owned: str
    traces: pd.DataFrame
    falls: "pd.Series[bool]"
    means: pd.DataFrame
    follows: float

    def times(self, one: str, other: str) -> "pd.Series[float]":
        """How many times the trace of the other an arm has, a seed."""
        return self.traces[one] / self.traces[other]

    @property
    def pairs(self) -> "list[pd.Series[float]]":
        """`times` of arms of equal ratio."""
        return [self.times(*both) for both in self.equal]

    @property
    def twice(self) -> float:
        """Times the trace that the last but one of the ladder has of the last, mean over seeds."""
        return float(self.times(self.ladder[-2], self.ladder[-1]).mean())

    @property
    def noisiest(self) -> list[str]:
        """Arms of the highest ratio."""
        return [self.ladder[-1], *(one for one, other in self.equal if other == self.ladder[-1])]


def compared(table: pd.DataFrame) -> Compared:
    """Of gradient descent and SGD; Adam's rate is in other units, so it is in the means alone.

    The ladder has the rate of the arm with the lowest ratio. An arm off the ladder whose ratio is
    none of it stands in no pair.
    """
    names = table["arm"].unique()
    rows = table[table.groupby("seed")["matched"].transform("all")]
    noise = rows[rows["optimiser"] != "Adam"]
    by_noise = noise.pivot_table(index="seed", columns="ratio", values="trace")
    ranks = noise.groupby("seed")[["trace", "test"]].rank()
    arms = table[table["optimiser"] != "Adam"].drop_duplicates("arm").set_index("arm")
    first = arms.sort_values("ratio").iloc[0]
    ladder = arms[arms["lr"] == first["lr"]].sort_values("ratio")
    whole, batches = first["optimiser"] == "GD", f"SGD in batches of {first['batch']}"
    return Compared(
        ladder=[str(name) for name in ladder.index],
        equal=[
            (str(name), str(one))
            for name, ratio in arms.drop(ladder.index)["ratio"].items()
            for one in ladder.index[np.isclose(ladder["ratio"], ratio)]
        ],
        least="gradient descent" if whole else batches,
        owned="gradient descent's" if whole else f"that of {batches}",
        traces=rows.pivot_table(index="seed", columns="arm", values="trace").reindex(columns=names),
        falls=(by_noise.diff(axis=1).iloc[:, 1:] < 0).all(axis=1),
        means=rows.groupby("arm").mean(numeric_only=True).reindex(names),
        follows=float(ranks["trace"].corr(ranks["test"])),
    )


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
