"""trainer_state.json of Hugging Face's Trainer.

`global_step` counts finished updates. An entry of `log_history` with `loss` is the mean of the
training loss since the entry before it; one with `eval_loss` is measured at its step. What else a
checkpoint folder holds is left alone: training_args.bin is a pickle.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalefit.errors import DataError
from scalefit.importers.imported import (
    Fact,
    Imported,
    Points,
    distinct_names,
    number,
    positive,
    read_text,
)

STATE = "trainer_state.json"
# At the end of training, of the whole run and not of a step.
_OF_THE_END = "train_runtime"


def is_state(content: object) -> bool:
    """Whether this JSON is a trainer's state."""
    return isinstance(content, dict) and "log_history" in content and "global_step" in content


def state_files(folder: Path) -> list[Path]:
    """The state of every run in a folder of runs, each from its last checkpoint."""
    last: dict[Path, Path] = {}
    for path in sorted(folder.rglob(STATE), key=_checkpoint):
        last[_run_folder(path)] = path
    return [last[run] for run in sorted(last)]


def read_states(paths: list[Path], source: str) -> Imported:
    """One run a state.

    Raises:
        DataError: if a file is no such JSON, or logged nothing.
    """
    points, facts, notes = Points(), {}, []
    names = _names([_run_folder(path) for path in paths])
    for path, run in zip(paths, names, strict=True):
        state = _state(path)
        _points(state, run, points, path)
        facts[run] = _facts(state)
        if path.parent.name.startswith("checkpoint-"):
            notes.append(f"run {run}: the log is that of {path.parent.name}, its last checkpoint")
    return Imported(
        kind="trainer", source=source, frame=points.frame(source), facts=facts,
        step_origin='"step" of log_history', notes=(*notes, *points.notes()),
    )  # fmt: skip


def _state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not is_state(state) or not isinstance(state["log_history"], list):
        raise DataError(f"{path} has no log_history and global_step; name a {STATE}")
    return dict(state)


def _points(state: Mapping[str, Any], run: str, points: Points, path: Path) -> None:
    for entry in state["log_history"]:
        step = number(entry.get("step")) if isinstance(entry, dict) else None
        if step is None:
            raise DataError(f"{path}: an entry of log_history has no step; repair the file")
        if _OF_THE_END in entry:
            continue
        for name, value in entry.items():
            x = number(value)
            if name != "step" and x is not None:
                points.add(run, step, name, x)


def _facts(state: Mapping[str, Any]) -> dict[str, Fact]:
    steps = positive(state["global_step"])
    tokens, flops = positive(state.get("num_input_tokens_seen")), positive(state.get("total_flos"))
    facts: dict[str, Fact] = {}
    if steps and tokens:
        origin = f'"num_input_tokens_seen" / "global_step" of {STATE}'
        facts["tokens_per_step"] = Fact(value=tokens / steps, origin=origin)
    if steps and flops:
        origin = f'"total_flos" / "global_step" of {STATE}'
        facts["flops_per_step"] = Fact(value=flops / steps, origin=origin)
    rates = [positive(entry.get("learning_rate")) for entry in state["log_history"]]
    peak = max((rate for rate in rates if rate), default=None)
    if peak:
        facts["lr"] = Fact(value=peak, origin='the highest "learning_rate" of log_history')
    return facts


def _run_folder(path: Path) -> Path:
    """The folder of a run: that of the state, or the one around its checkpoints."""
    folder = path.absolute().parent
    return folder.parent if folder.name.startswith("checkpoint-") else folder


def _checkpoint(path: Path) -> tuple[int, str]:
    """Checkpoints by their steps; the state of the finished run, beside them, comes last."""
    _, dash, step = path.parent.name.partition("checkpoint-")
    return (int(step) if dash and step.isdecimal() and len(step) < 19 else 2**63, str(path))


def _names(folders: list[Path]) -> list[str]:
    return distinct_names([folder / "_" for folder in folders], frozenset("_"))
