"""What the terminal shows of a grid: its size, its progress, what came of it."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from textwrap import wrap

from scalefit.errors import GridError
from scalefit.quantities import format_count, format_flops
from trainers.estimate import Estimate
from trainers.grid import Grid, Grids, Size, load
from trainers.status import State
from trainers.study import Outcome
from trainers.train import Progress, Summary
from trainers.tune import Sweep


def grid_text(grid: Grid | Grids, size: Size) -> str:
    """One line: how many runs, of what sizes, on how many tokens."""
    params, tokens = (_span(limits) for limits in (size.params, size.tokens))
    return (
        f"grid    {grid.name}: {size.runs} runs, N {params}, D {tokens}, "
        f"{format_flops(size.flops)} FLOP"
    )


def estimate_text(found: Estimate, workers: int) -> str:
    """What is left to train, how long that takes and whether it fits into memory."""
    if not found.runs:
        return "nothing to train: every run is there, or beyond the budget"
    free = ""
    if found.available is not None:
        fits = "fits" if found.memory < found.available else "does NOT fit; try fewer --workers"
        free = f", of {_gigabytes(found.available)} free: {fits}"
    return (
        f"{found.runs} runs left, {format_flops(found.flops)} FLOP: about "
        f"{duration(found.seconds)} on {workers} workers\n"
        f"memory {_gigabytes(found.memory)}{free}"
    )


def grids_answer(texts: Mapping[str, str]) -> tuple[list[dict[str, object]], str]:
    """The grids that ship, as data and as text: what each is for, and how large."""
    found, lines = list[dict[str, object]](), list[str]()
    for name, text in texts.items():
        what = " ".join(line[2:] for line in takewhile(_comment, text.splitlines()))
        try:
            size = load(name).describe()
        except GridError as error:  # a source that needs something which is not here
            found.append({"name": name, "about": what, "lacks": str(error)})
            lines.append(f"{name}: {error}")
        else:
            found.append({"name": name, "about": what, **asdict(size)})
            params, tokens = (_span(limits) for limits in (size.params, size.tokens))
            amount = format_flops(size.flops)
            lines.append(f"{name}: {size.runs} runs, {amount} FLOP, N {params}, D {tokens}")
        lines += wrap(what, 98, initial_indent="    ", subsequent_indent="    ")
    return found, "\n".join(lines)


def status_text(state: State) -> str:
    """What became of the runs, and why some failed."""
    counts = [f"{state.done} done", f"{state.diverged} diverged", f"{len(state.failed)} failed"]
    if state.undertuned:
        counts[0] += f" ({state.undertuned} of them under-tuned: never fitted)"
    if state.missing is not None:
        counts.append(f"{state.missing} missing")
    lines = [", ".join(counts)]
    if state.flops is not None and state.flops[1]:
        done, whole = state.flops
        lines[0] += f"; {format_flops(done)} of {format_flops(whole)} FLOP ({done / whole:.0%})"
    if state.others:
        lines.append(f"{state.others} runs are not of this grid")
    return "\n".join(lines + [f"failed  {name}: {why}" for name, why in state.failed.items()])


def sweep_text(found: Sweep) -> str:
    """The best rate of each width, and what the grid should state."""
    lines = [
        f"{found.key} of {format_count(found.tokens)} tokens; the grid states {found.given:.3g}",
        f"{'width':>7} {'params':>9} {'best':>9} {'loss':>8} {'as stated':>10}",
    ]
    for one in found.widths:
        best = "at an end" if one.rate is None else f"{one.rate:.3g}"
        losses = " ".join(
            f"{'-' if loss is None else f'{loss:.4f}':>{size}}"
            for loss, size in ((one.loss, 8), (one.stated, 10))
        )
        lines.append(f"{one.width:>7} {format_count(one.params):>9} {best:>9} {losses}")
    if found.rate is None:
        lines.append("no width has its best inside the sweep; sweep wider with --span")
    else:
        lines.append(f"{found.key} = {found.rate:.3g} serves them all")
    if found.drift is not None:
        lines.append(f"best rate ~ width^{found.drift:.2f}; 0 is what the 1/width rule promises")
    return "\n".join(lines)


def study_text(done: Outcome) -> str:
    """What a study found, and by which criterion."""
    finding = done.finding
    seeds = "1 seed" if done.seeds == 1 else f"{done.seeds} seeds"
    head = f"{done.title}  ({seeds}, {duration(done.seconds)})"
    verdict = "showed" if finding.showed else "did NOT show"
    lines = [head, *wrap(f"{verdict}: {finding.criterion}", 98)]
    for sentence in finding.text:
        lines += wrap(sentence, 98, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def _span(limits: tuple[int, int]) -> str:
    return " to ".join(dict.fromkeys(map(format_count, limits)))


def _comment(line: str) -> bool:
    return line.startswith("# ")


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2g} GB"


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
        lines[0] = f"nothing to train: {summary.skipped} runs are there"
    if summary.left:
        lines.append(f"{summary.left} runs are beyond the budget; without it the command goes on")
    if summary.elsewhere:
        lines.append(f"{summary.elsewhere} runs are trained by another process on this folder")
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
