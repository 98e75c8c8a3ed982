"""What speaks against a fit: its residuals, the rows that carry it, and how it predicts."""

from scalefit.diagnosis.backtest import backtest
from scalefit.diagnosis.diagnose import diagnose

__all__ = ["backtest", "diagnose"]
