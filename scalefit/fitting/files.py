"""Fits as files: written whole beside their table, found again by the planner."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from scalefit.errors import FitError, ScalefitError
from scalefit.fitting.result import Fit
from scalefit.laws import Form

SUFFIX = ".fit.json"
METHODS = ("isoflop", "envelope")  # that write files of their own beside the law's


def beside(table: str, method: str = "parametric") -> Path:
    """Where the fit of a table belongs: ``results.parquet`` -> ``results.fit.json``.

    By another approach it is ``results.isoflop.fit.json`` or ``results.envelope.fit.json``. A glob
    or stdin has no single place, and a folder that cannot be written to holds no new file: then it
    is the current folder.
    """
    path, suffix = Path(table), ("" if method == "parametric" else f".{method}") + SUFFIX
    if not path.exists():
        return Path(("stdin" if table == "-" else "runs") + suffix)
    folder = path.parent if os.access(path.parent, os.W_OK) else Path()
    return folder / (path.resolve().name.split(".")[0] + suffix)


def newest(folder: Path) -> Path | None:
    """The fit written last in a folder, None if there is none."""
    found = list(folder.glob("*" + SUFFIX))
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def siblings(path: Path) -> list[Path]:
    """The fits of one table by every approach, of which ``path`` is one."""
    table = path.name.removesuffix(SUFFIX)
    for method in METHODS:
        table = table.removesuffix(f".{method}")
    names = (f"{table}{SUFFIX}", *(f"{table}.{method}{SUFFIX}" for method in METHODS))
    return [found for name in names if (found := path.with_name(name)).exists()]


def save(fit: Fit, path: Path) -> Path:
    """Write a fit; an earlier fit there is replaced, any other file is kept.

    Raises:
        FitError: if the path holds something else or cannot be written.
    """
    if path.exists() and not _is_fit(path):
        raise FitError(
            f"{path} exists and is not a fit, so it is not overwritten; "
            "name another file with --output"
        )
    try:
        replace_text(path, fit.to_json() + "\n")
    except OSError as error:
        raise FitError(
            f"the fit cannot be written to {path} ({error.strerror}); name another with --output"
        ) from None
    return path


def replace_own(
    path: Path,
    text: str,
    *,
    what: str,
    own: Callable[[Path], bool],
    error: type[ScalefitError] = ScalefitError,
) -> Path:
    """Write a text wholly or not at all; what is there is replaced only if it is of the same kind.

    Args:
        path: where.
        text: to be written.
        what: a word for it, "plan".
        own: whether a file is one.
        error: raised if something else is there, or it cannot be written.
    """
    if path.exists() and not own(path):
        raise error(f"{path} exists and is no {what}, so it is kept; name another file")
    try:
        replace_text(path, text)
    except OSError as reason:
        raise error(f"the {what} cannot be written to {path}: {reason.strerror}") from None
    return path


def replace_text(path: Path, text: str) -> None:
    """Write a text wholly or not at all, in place of what is there; OSError if that cannot be."""
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def replace_file(path: Path, save: Callable[[Path], object]) -> None:
    """The same for whatever `save` writes into the path it is given, which has the same suffix."""
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        save(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, *, form: Form | None = None) -> Fit:
    """The fit in a JSON file; a fit of your own form needs that ``form``.

    Raises:
        FitError: if the file cannot be read or holds no fit.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise FitError(f"{path} cannot be read as a fit: {reason}") from None
    return Fit.from_json(text, name=str(path), form=form)


def _is_fit(path: Path) -> bool:
    """Whether a file holds a fit of whatever schema."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and {"schema", "law", "certificate"} <= document.keys()
