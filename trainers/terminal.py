"""Training from the command line: what is said before, while and after a grid is trained."""

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from scalefit.commands.terminal import Status, say
from scalefit.errors import ScalefitError
from trainers.estimate import estimate
from trainers.grid import Grid, Grids
from trainers.launch.choose import chosen, leads
from trainers.report import estimate_text, grid_text, progress_text
from trainers.train import Summary, left_of, train


def trained(
    grid: Grid | Grids,
    results: Path,
    *,
    as_json: bool,
    dry_run: bool,
    max_flops: float | None = None,
    max_hours: float | None = None,
    **where: Any,
) -> Summary | None:
    """Train a grid with progress on stderr; None if this process is not to say what came of it.

    That is so for a dry run, which only says what would be trained, and under torchrun for all
    processes but one. `where` are the arguments of ``launch.choose.chosen``. Raises ScalefitError
    without torch, and what ``train`` raises.
    """
    if find_spec("torch") is None:
        raise ScalefitError('training needs torch; install it with: pip install "scalefit[train]"')
    launcher = chosen(**where)
    budget: dict[str, Any] = {"max_flops": max_flops, "max_hours": max_hours}
    if not leads():
        train(grid, results, launcher=launcher, report=lambda _: None, **budget)
        return None
    size = grid.describe()
    say([grid_text(grid, size)])
    if dry_run:
        count = launcher.workers
        found = estimate(left_of(grid, results, count, **budget), count)
        said = json.dumps(asdict(size) | {"left": asdict(found)})
        click.echo(said if as_json else estimate_text(found, count))
        return None
    with Status() as status:
        return train(
            grid,
            results,
            launcher=launcher,
            report=lambda progress: status.show(progress_text(progress)),
            **budget,
        )


def whole(done: Summary) -> None:
    """Raise ScalefitError if some runs failed."""
    if done.failed:
        reasons = "" if len(done.failures) > 3 else ": " + "; ".join(done.failures)
        raise ScalefitError(
            f"{done.failed} runs failed{reasons}; the same command tries them again"
        )
