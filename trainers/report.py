"""What the terminal shows of a grid: its size, its progress, what came of it."""

from pathlib import Path

from scalefit.quantities import format_count, format_flops
from trainers.grid import Grid, Grids, Progress, Size, Summary


def grid_text(grid: Grid | Grids, size: Size) -> str:
    """One line: how many runs, of what sizes, on how many tokens."""
    params, tokens = (" to ".join(map(format_count, span)) for span in (size.params, size.tokens))
    return (
        f"grid    {grid.name}: {size.runs} runs, N {params}, D {tokens}, "
        f"{format_flops(size.flops)} FLOP"
    )


def progress_text(progress: Progress) -> str:
    """One line: runs, share of the compute, time left, the losses measured last."""
    (runs, all_runs), (flops, all_flops) = progress.runs, progress.flops
    left = "" if progress.remaining is None else f", about {duration(progress.remaining)} left"
    losses = " ".join("diverged" if loss is None else f"{loss:.3f}" for loss in progress.losses)
    share = flops / all_flops if all_flops else 1.0
    latest = f", loss {losses}" if losses else ""
    return f"{runs} of {all_runs} runs, {share:.0%} of the compute{left}{latest}"


def trained_text(summary: Summary, results: Path) -> str:
    """What was trained, what was there before, what failed and why."""
    done = f"{summary.trained} runs trained in {duration(summary.seconds)}"
    lines = [
        f"{done}, {format_flops(summary.flops)} FLOP; {summary.skipped} were there before",
        f"rows    {results}",
    ]
    if not summary.trained and not summary.failed:
        lines[0] = f"nothing to train: all {summary.skipped} runs are there"
    if summary.diverged:
        lines.append(f"{summary.diverged} runs diverged: kept with that status, never fitted")
    return "\n".join(lines + [f"failed  {failure}" for failure in summary.failures])


def duration(seconds: float) -> str:
    """A time for people: "50 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
