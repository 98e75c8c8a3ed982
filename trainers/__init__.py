"""Trains grids of small models whose every number is known, for scalefit to fit."""
