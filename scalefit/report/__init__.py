"""What people read: text for the terminal."""

from scalefit.report.text import fit_text, plan_text

__all__ = ["fit_text", "plan_text"]
