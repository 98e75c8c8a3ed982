"""A program with mistakes, each of which type checkers must find."""

import scalefit as sf


def main() -> None:
    """A mistake a line."""
    sf.read(3)  # a path is text
    fit = sf.fit("results.parquet")  # runs are read first
    sf.plan(fit, flop=1e21)  # the word is flops
    print(fit.lwa)
