"""Planning: how large a model, on how much data, for a budget."""

from scalefit.planning.allocate import Band, Plan, Quantity, plan

__all__ = ["Band", "Plan", "Quantity", "plan"]
