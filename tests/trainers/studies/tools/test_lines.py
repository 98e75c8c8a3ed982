"""Lines of several seeds: one each, and the mean."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from trainers.studies.tools.lines import seed_lines


def test_each_seed_has_a_line_and_the_mean_is_the_labelled_one():
    table = pd.DataFrame({"seed": [0, 0, 1, 1], "x": [1, 2, 1, 2], "y": [1.0, 2.0, 3.0, 6.0]})
    axes = Figure().subplots()
    seed_lines(axes, table, "x", "y", colour="k", label="mean", lw=3.0)
    *seeds, mean = axes.lines
    assert [line.get_ydata().tolist() for line in seeds] == [[1.0, 2.0], [3.0, 6.0]]
    assert mean.get_ydata() == pytest.approx([2.0, 4.0])
    assert mean.get_label() == "mean"
    assert mean.get_linewidth() == 3.0
