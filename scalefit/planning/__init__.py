"""Planning: how large a model, on how much data, for a budget."""

from scalefit.planning.allocate import plan
from scalefit.planning.result import Band, Choice, Plan, Quantity, Regret

__all__ = ["Band", "Choice", "Plan", "Quantity", "Regret", "plan"]
