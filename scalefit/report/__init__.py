"""What people read: text for the terminal."""

from scalefit.report.comparison import choice_text
from scalefit.report.text import fit_text

__all__ = ["choice_text", "fit_text"]
