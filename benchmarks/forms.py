"""How often the intervals of every form hold the truth.

    PYTHONPATH=. python benchmarks/forms.py [--tables 100] [--replicates 200] [--forms kaplan,...]

Tables of the first known surface of each form in tests/laws/cases.py, with Gaussian noise of .5 %
in the response, rows independent; the default objective and the default bootstrap.
"""

import argparse
from collections.abc import Iterator

from scalefit.fitting import Fit, fit
from scalefit.laws import FORMS
from tests.laws.cases import CASES, Case

NOISE = 0.005


def main() -> None:
    """Print a row for each form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--replicates", type=int, default=200)
    first = {case.form: case for case in reversed(CASES)}
    parser.add_argument("--forms", default=",".join(first))
    asked = parser.parse_args()
    print("| form | rows | shares of 95 % intervals that hold the truth |\n|---|---|---|")
    for name in asked.forms.split(","):
        case = first[name]
        held: dict[str, list[bool]] = {}
        for seed in range(asked.tables):
            runs = case.runs(noise=NOISE, seed=seed)
            found = fit(runs, form=name, bootstrap=asked.replicates, seed=seed)
            for constant, inside in judged(case, found):
                held.setdefault(constant, []).append(inside)
        shares = ", ".join(f"{key} {sum(x) / len(x):.2f}" for key, x in held.items())
        print(f"| {name} | {len(case.runs())} | {shares} |", flush=True)


def judged(case: Case, found: Fit) -> Iterator[tuple[str, bool]]:
    """Each constant, and a of a law that plans, and whether its interval holds the truth."""
    truth = dict(case.truth)
    if FORMS[case.form].plans:
        truth["a"] = float(FORMS[case.form].exponents(case.theta())[0])
    for name, value in truth.items():
        entry = found.intervals[name]
        if entry.identified and entry.low is not None and entry.high is not None:
            yield name, entry.low <= value <= entry.high


if __name__ == "__main__":
    main()
