"""Numbers in the sentences of a finding."""

import math
from typing import Any


def span(values: Any, form: str = ".0f") -> str:
    """From the lowest to the highest of some numbers, "60" or "60 to 90"; infinite is never.

    Args:
        values: a series or an array; of a series, what is missing (NaN) is left out.
        form: how each is written, as in format().
    """
    ends = (float(values.min()), float(values.max()))
    return " to ".join(
        dict.fromkeys(format(end, form) if math.isfinite(end) else "never" for end in ends)
    )
