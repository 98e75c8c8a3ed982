"""Numbers in sentences."""

import numpy as np
import pandas as pd
import pytest

from trainers.studies.tools.words import span


@pytest.mark.parametrize(
    ("values", "form", "said"),
    [
        ([60.0, 90.0, 70.0], ".0f", "60 to 90"),
        ([60.2, 59.9], ".0f", "60"),
        ([0.243, 0.295], ".1%", "24.3% to 29.5%"),
        ([40.0, np.inf], ".0f", "40 to never"),
        ([np.nan, 3.0], ".0f", "3"),
        ([np.nan, np.nan], ".0f", "never"),
    ],
)
def test_a_span_is_said(values, form, said):
    assert span(pd.Series(values), form) == said
    if not np.isnan(values).any():
        assert span(np.array(values), form) == said
