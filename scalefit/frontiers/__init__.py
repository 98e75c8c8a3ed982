"""Frontiers: runs in, lines N*(C) and D*(C) out, by approaches 1 and 2 of Hoffmann et al. 2022.

Approach 1: checkpoints -> curves -> readings (where one size overtakes another) -> envelope.
Approach 2: budgets -> vertices or joint (where each profile is lowest) -> isoflop.
Both end in ``frontier``, which draws the lines through the optima and makes the ``Fit``.
"""
