"""The console logs of karpathy/nanoGPT and karpathy/nanochat, and nanochat's results.csv.

nanoGPT's train.py prints "step 250: train loss 2.9, val loss 3.0" before update 250, so that these
weights have seen 250 batches, and "iter 100: loss 3.2, time 90.21ms, mfu 13.70%" likewise. Its
"number of parameters" leaves the position embeddings out and is rounded; the two counts of its
optimiser add up to all of them. nanochat's base_train.py prints "step 00100/21400 (0.47%) | loss:
3.21 | ..." (an average that forgets, of training losses) and "Step 00250 | Validation bpb: 0.81".
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from scalefit.errors import DataError
from scalefit.importers.imported import (
    Fact,
    Imported,
    Points,
    distinct_names,
    number,
    positive,
    read_bytes,
    read_text,
)
from scalefit.importers.tables import parse

# Names of log files that say nothing about the run; the folder does.
GENERIC = frozenset(
    ("train", "training", "log", "output", "out", "stdout", "base_train", "results")
)
_X = r"[-+]?(?:[0-9][0-9,]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|nan|inf)"
_GPT_EVAL = re.compile(rf"step (\d+): train loss ({_X}), val loss ({_X})", re.IGNORECASE)
_GPT_ITER = re.compile(rf"iter (\d+): loss ({_X})\b", re.IGNORECASE)
_CHAT_EVAL = re.compile(rf"step (\d+)(?:/\d+)? \| validation bpb: ({_X})", re.IGNORECASE)
_CHAT_ITER = re.compile(rf"step (\d+)(?:/\d+)? (?:\([\d.]+%\) )?\| loss: +({_X})\b", re.IGNORECASE)
_CHAT_TIME = re.compile(r"total time: ([\d.]+)m")
_GPT_COUNTS = re.compile(r"num (?:non-)?decayed parameter tensors: \d+, with ([\d,]+) parameters")
_GPT_ROUNDED = re.compile(r"number of parameters: ([\d.]+)M\b")
_CHAT_GROUP = re.compile(r"(\w+) *: ([\d,]+)")
_CHAT_TABLES = ("wte", "value_embeds", "bigram_embed")
_MOST_GROUPS = 100  # lines after its heading within which the table ends
_SETTING = re.compile(r"^(\w+) *= *([-+.\deE]+)\b")

_NANOGPT = "nanogpt"
_NANOCHAT = "nanochat"
# One line of nanochat, what it states, and how its value is named in the mapping.
_CHAT_FACTS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "params_total": (re.compile(r"Number of parameters: ([\d,]+)"), "Number of parameters"),
    "tokens_per_step": (re.compile(r"Total batch size ([\d,]+) =>"), "Total batch size"),
    "flops_per_token": (
        re.compile(rf"Estimated FLOPs per token: ({_X})"),
        "Estimated FLOPs per token",
    ),
    "depth": (re.compile(r'^(?:num_layers: | *"n_layer": )(\d+)'), "the model's layers"),
    "width": (re.compile(r'^(?:model_dim: | *"n_embd": )(\d+)'), "the model's width"),
}
_GPU = re.compile(r"^GPU: (.+?) \| Peak FLOPS")
_GPT_SETTINGS = {"learning_rate": "lr", "n_layer": "depth", "n_embd": "width"}


def lines_kind(text: str) -> str | None:
    """Whether the lines of a text are of "nanogpt" or "nanochat"; None for any other text."""
    if _CHAT_EVAL.search(text) or _CHAT_ITER.search(text):
        return _NANOCHAT
    return _NANOGPT if _GPT_EVAL.search(text) or _GPT_ITER.search(text) else None


def is_results(header: Iterable[str]) -> bool:
    """Whether these columns are those of nanochat's results.csv."""
    return {"depth", "tokens_trained", "val_bpb"} <= set(header)


def read_logs(paths: Sequence[Path], kind: str, source: str) -> Imported:
    """One run a log file.

    Raises:
        DataError: if a file is no text, or has no line of a loss.
    """
    points, facts = Points(), {}
    for path, run in zip(paths, distinct_names(paths, GENERIC), strict=True):
        text = read_text(path)
        found = _points(text.splitlines(), run, points)
        if not found:
            raise DataError(f"{path} has no line of a loss as {kind} prints it; name another log")
        facts[run] = _nanogpt_facts(text) if kind == _NANOGPT else _nanochat_facts(text)
    return Imported(
        kind=kind, source=source, frame=points.frame(source), facts=facts,
        step_origin='"step" and "iter" of the log', notes=points.notes(),
    )  # fmt: skip


def read_results(path: Path) -> Imported:
    """The runs of nanochat's results.csv (runs/scaling_laws.sh, runs/miniseries.sh), a row each.

    Raises:
        DataError: if it is not such a table.
    """
    table = parse(read_bytes(path), str(path))
    if not is_results(table.columns):
        raise DataError(f"{path} lacks depth, tokens_trained or val_bpb of nanochat's results.csv")
    points, facts = Points(), {}
    for place, record in enumerate(table.to_dict("records"), start=1):
        row = {str(name): value for name, value in record.items()}
        budget, depth = positive(row.get("flops_budget")), positive(row["depth"])
        steps, loss = positive(row.get("num_iterations")), number(row["val_bpb"])
        if depth is None or steps is None or loss is None:
            raise DataError(
                f"{path}, data row {place}: depth, num_iterations or val_bpb is no number above 0"
            )
        run = f"{budget:g}_d{depth:g}" if budget else f"d{depth:g}"
        if run in facts:
            raise DataError(f"{path} has two rows of the run {run}; leave one of them")
        points.add(run, steps, "val_bpb", loss)
        facts[run] = _result_facts(row, steps)
    return Imported(
        kind=_NANOCHAT, source=str(path), frame=points.frame(str(path)), facts=facts,
        step_origin='"num_iterations" of results.csv', notes=(),
    )  # fmt: skip


def _result_facts(row: Mapping[str, object], steps: float) -> dict[str, Fact]:
    count = positive(row.get("params_total")) or positive(row.get("num_params"))
    tokens = positive(row["tokens_trained"])
    facts: dict[str, Fact] = {}
    if count:
        name = "params_total" if positive(row.get("params_total")) else "num_params"
        facts["params_total"] = Fact(value=count, origin=f'"{name}" of results.csv')
    if tokens and steps:
        facts["tokens_per_step"] = Fact(
            value=tokens / steps, origin='"tokens_trained" / "num_iterations" of results.csv'
        )
    for column, name in (("depth", "depth"), ("width", "model_dim")):
        value = positive(row.get(name))
        if value:
            facts[column] = Fact(value=value, origin=f'"{name}" of results.csv')
    return facts


def _points(lines: Iterable[str], run: str, points: Points) -> int:
    """Note every loss of a log; how many there were."""
    found = 0
    for line in lines:
        for pattern, metrics in (
            (_GPT_EVAL, ("train_loss", "val_loss")),
            (_GPT_ITER, ("loss",)),
            (_CHAT_EVAL, ("val_bpb",)),
            (_CHAT_ITER, ("train_loss",)),
        ):
            match = pattern.search(line)
            if match is None:
                continue
            step = int(match[1])
            for metric, value in zip(metrics, match.groups()[1:], strict=True):
                points.add(run, step, metric, _value(value))
                found += 1
            spent = _CHAT_TIME.search(line)
            if spent:
                points.add(run, step, "wall_seconds", 60 * _value(spent[1]))
            break
    return found


def _value(text: str) -> float:
    """A number of a log, with or without commas; inf for what is none, such as 1.2.3."""
    value = number(text.replace(",", ""))
    return float("inf") if value is None else value


def _nanogpt_facts(text: str) -> dict[str, Fact]:
    lines = text.splitlines()
    facts = {
        "loss_unit": Fact(
            value="nats/token", origin="train.py of nanoGPT averages the cross entropy of tokens"
        )
    }
    per_step = _last(lines, re.compile(r"tokens per iteration will be: ([\d,]+)"))
    if per_step:
        facts["tokens_per_step"] = Fact(value=per_step, origin='"tokens per iteration" of the log')
    counts = [_value(match[1]) for line in lines if (match := _GPT_COUNTS.search(line))]
    rounded = _last(lines, _GPT_ROUNDED)
    if len(counts) >= 2:
        origin = "decayed and non-decayed parameters of the log"
        facts["params_total"] = Fact(value=sum(counts[-2:]), origin=origin)
    elif rounded:
        origin = '"number of parameters" of the log, rounded and without position embeddings'
        facts["params_total"] = Fact(value=round(1e6 * rounded), origin=origin)
    for line in lines:
        match = _SETTING.match(line)
        if match and match[1] in _GPT_SETTINGS and positive(match[2]):
            origin = f'"{match[1]}" of the log'
            facts[_GPT_SETTINGS[match[1]]] = Fact(value=_value(match[2]), origin=origin)
    return facts


def _nanochat_facts(text: str) -> dict[str, Fact]:
    lines = text.splitlines()
    facts = {"loss_unit": Fact(value="nats/token", origin="nanochat trains on it")}
    for name, (pattern, origin) in _CHAT_FACTS.items():
        value = _last(lines, pattern)
        if value:
            facts[name] = Fact(value=value, origin=f'"{origin}" of the log')
    device = next((match[1] for line in lines if (match := _GPU.match(line))), None)
    if device:
        facts["device"] = Fact(value=device, origin='"GPU" of the log')
    return facts | _groups(lines)


def _groups(lines: Sequence[str]) -> dict[str, Fact]:
    """The table under "Parameter counts:", in parts if its groups add up to its total.

    Other ranks print in between, so that lines of another shape are passed over.
    """
    starts = [i for i, line in enumerate(lines) if line.strip() == "Parameter counts:"]
    counts: dict[str, float] = {}
    for line in lines[starts[-1] + 1 :][:_MOST_GROUPS] if starts else ():
        match = _CHAT_GROUP.fullmatch(line.strip())
        if match is not None:
            counts[match[1]] = _value(match[2])
        if "total" in counts:
            break
    total = counts.pop("total", None)
    if not total:
        return {}
    said: Callable[[str], str] = '{} under "Parameter counts" of the log'.format
    facts = {"params_total": Fact(value=total, origin=said("total"))}
    known = {*_CHAT_TABLES, "lm_head", "transformer_matrices", "scalars"}
    if set(counts) <= known and sum(counts.values()) == total:
        tables = sum(counts.get(name, 0) for name in _CHAT_TABLES)
        head = counts.get("lm_head", 0)
        rest = total - tables - head
        origin = said(" + ".join(name for name in _CHAT_TABLES if name in counts))
        facts["params_embedding"] = Fact(value=tables, origin=origin)
        facts["params_head"] = Fact(value=head, origin=said("lm_head"))
        facts["params_non_embedding"] = Fact(value=rest, origin=said("all the others"))
    return facts


def _last(lines: Iterable[str], pattern: re.Pattern[str]) -> float | None:
    """The number that the last of the matching lines states: a resumed run prints it again."""
    values = [match[1] for line in lines if (match := pattern.search(line))]
    return positive(values[-1].replace(",", "")) if values else None
