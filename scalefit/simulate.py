"""Runs of a known law, for tests, for teaching and to see what a planned grid would tell."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scalefit.errors import DataError, QuantityError
from scalefit.export import write_new
from scalefit.laws import FloatArray, Law
from scalefit.runs import SCHEMA, canonical_json, run_id

AROUND, PROFILE = 4.0, 7  # sizes of an isoFLOP profile: within this factor of its optimum, many
MOST_ROWS = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How measured losses differ from the law, in log loss (0.01 is 1 %).

    Attributes:
        sd: standard deviation of the noise.
        df: of a Student t, above 2 so that ``sd`` exists; None for a normal distribution.
        shared: the share of its variance that rows of one size have in common, from 0 to 1; they
            are then checkpoints of one run, whose intraclass correlation it is.
        outliers: rows chosen at random whose loss comes out too high, as in a run that diverged.
        outlier_size: by how much.
    """

    sd: float
    df: float | None = None
    shared: float = 0.0
    outliers: int = 0
    outlier_size: float = 0.1


def simulate(
    law: Law, *, params: npt.ArrayLike, tokens: npt.ArrayLike, noise: Noise, seed: int = 0
) -> pd.DataFrame:
    """Train, so to speak, a model of N ``params`` on D ``tokens`` for every pair.

    Args:
        law: the truth.
        params: N of each run; whole numbers are made of it.
        tokens: D of each run, of a shape that broadcasts against ``params``.
        noise: of the measurement.
        seed: the same seed gives the same table.

    Returns:
        Rows of the runs table (``scalefit.runs.SCHEMA``), with flops = 6 N D.

    Raises:
        DataError: if the noise is none, or the law has no positive finite loss somewhere.
    """
    n, d = (
        np.rint(x).ravel()
        for x in np.broadcast_arrays(np.asarray(params, float), np.asarray(tokens, float))
    )
    _check(noise, len(n))
    if not law.form.surface:
        raise DataError(f"{law.name} is no law of N and D ({law.form.equation}), so no run follows")
    if not ((n >= 1) & (d >= 1) & (n < 2**63) & (d < 2**63)).all():
        raise DataError("a run needs at least one parameter and one token, and fewer than 2^63")
    rng = np.random.default_rng(seed)
    size, unit = np.unique(n, return_inverse=True)
    with np.errstate(over="ignore"):
        loss = law.loss(n, d) * np.exp(_errors(noise, rng, unit, len(size)))
    if not (np.isfinite(loss) & (loss > 0)).all():
        raise DataError(f"{law.name} with this noise gives a loss that is no positive number")
    return _table(law, noise, seed, n, d, loss, unit if noise.shared else np.arange(len(n)))


def grid(
    law: Law,
    *,
    params: FloatArray | None = None,
    tokens: FloatArray | None = None,
    flops: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """The N and D of runs, as two arrays of one shape.

    Every size on every token count; or, for budgets ``flops``, isoFLOP profiles: every size with
    D = C / 6N. Without ``params`` a profile has seven sizes within a factor of four of the law's
    optimum.

    Raises:
        DataError: if neither a grid nor profiles are asked for, or both, or the law has no optimum
            for sizes to lie around.
    """
    if flops is None:
        if params is None or tokens is None:
            raise DataError("name the runs to simulate: --params and --tokens, or --flops budgets")
        n, d = np.meshgrid(params, tokens, indexing="ij")
        return n.ravel(), d.ravel()
    if tokens is not None:
        raise DataError("budgets leave no choice of tokens: give --flops or --tokens, not both")
    if params is not None:
        n, c = np.meshgrid(params, flops, indexing="ij")
        return n.ravel(), (c / 6 / n).ravel()
    best = law.optimum(flops).params
    if not (np.isfinite(best) & (best > 0)).all():
        raise DataError(f"{law.name} has no compute-optimal size; name sizes with --params")
    n = best[:, None] * np.geomspace(1 / AROUND, AROUND, PROFILE)
    return n.ravel(), (flops[:, None] / 6 / n).ravel()


def spaced(text: str, parse: Callable[[str], float]) -> FloatArray:
    """Amounts of "1e8:1e10:8" (first, last, how many, evenly in the logarithm) or "1e19,3e19".

    Raises:
        QuantityError: if the text is neither, or ``parse`` refuses one of its amounts.
    """
    first, *rest = text.split(":")
    if not rest:
        return np.array([parse(part) for part in text.split(",")])
    if len(rest) != 2 or not rest[1].strip().isdecimal() or not 1 <= int(rest[1]) <= MOST_ROWS:
        raise QuantityError(
            f"{text!r} is not a range. Try 1e8:1e10:8 (first:last:count) or 1e9,2e9."
        )
    return np.geomspace(parse(first), parse(rest[0]), int(rest[1]))


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write simulated runs as CSV or Parquet, by the suffix; an existing file is kept.

    Raises:
        DataError: if the file exists, has another suffix, or cannot be written.
    """
    encoders = {".csv": _csv, ".parquet": _parquet}
    if path.suffix not in encoders:
        raise DataError(f"{path} says no format; name a file that ends in .csv or .parquet")
    return write_new(encoders[path.suffix](frame), path)


def summary(frame: pd.DataFrame, law: Law) -> dict[str, object]:
    """The JSON object of ``scalefit simulate --json``."""
    return {
        "law": {"form": law.form.name, "params": dict(law.params), "source": law.source},
        "runs": json.loads(
            frame.drop(columns="config").to_json(orient="records", double_precision=15)
        ),
    }


def _check(noise: Noise, rows: int) -> None:
    if rows == 0 or rows > MOST_ROWS:
        raise DataError(f"{rows} runs cannot be simulated; ask for 1 to {MOST_ROWS}")
    if not 0 <= noise.sd < np.inf:
        raise DataError(f"the noise is {noise.sd}; it is a standard deviation, like 0.01 for 1 %")
    if noise.df is not None and not 2 < noise.df < np.inf:
        raise DataError(
            f"a Student t of {noise.df} degrees of freedom has no standard deviation; "
            "take more than 2, like 3"
        )
    if not 0 <= noise.shared <= 1:
        raise DataError(f"the shared part of the noise is {noise.shared}; it lies from 0 to 1")
    if not 0 <= noise.outliers <= rows or not np.isfinite(noise.outlier_size):
        raise DataError(f"{noise.outliers} outliers do not fit into {rows} runs; ask for fewer")


def _errors(
    noise: Noise, rng: np.random.Generator, unit: npt.NDArray[np.intp], units: int
) -> FloatArray:
    """Errors in log loss, shape (rows,)."""
    own = _draw(noise, rng, len(unit))
    common = _draw(noise, rng, units)[unit]
    errors: FloatArray = np.sqrt(1 - noise.shared) * own + np.sqrt(noise.shared) * common
    errors[rng.choice(len(unit), size=noise.outliers, replace=False)] += noise.outlier_size
    return errors


def _draw(noise: Noise, rng: np.random.Generator, count: int) -> FloatArray:
    if noise.df is None:
        return noise.sd * rng.standard_normal(count)
    unit = np.sqrt(1 - 2 / noise.df)  # the sd of a Student t is one over it
    draws: FloatArray = noise.sd * unit * rng.standard_t(noise.df, count)
    return draws


def _table(
    law: Law,
    noise: Noise,
    seed: int,
    params: FloatArray,
    tokens: FloatArray,
    loss: FloatArray,
    run: npt.NDArray[np.intp],
) -> pd.DataFrame:
    truth = {
        "form": law.form.name,
        "law": dict(law.params),
        "noise": asdict(noise),
        "params": params.tolist(),
        "seed": seed,
        "tokens": tokens.tolist(),
    }
    name = run_id(truth)
    counted = "params_non_embedding" if law.convention.params == "non_embedding" else "params_total"
    return pd.DataFrame(
        {
            "run_id": [f"{name}-{number}" for number in run],
            "family": "simulated",
            counted: params.astype(np.int64),
            "tokens": tokens.astype(np.int64),
            "flops": 6.0 * params * tokens,
            "loss": loss,
            "loss_unit": law.convention.loss,
            "seed": seed,
            "status": "ok",
            "config": canonical_json({key: truth[key] for key in ("form", "law", "noise", "seed")}),
        }
    )


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    """All columns of the runs table; those that mean nothing here are null."""
    table = pa.Table.from_pandas(frame.reindex(columns=SCHEMA.names), preserve_index=False)
    sink = io.BytesIO()
    pq.write_table(table.cast(SCHEMA), sink, compression="zstd")
    return sink.getvalue()
