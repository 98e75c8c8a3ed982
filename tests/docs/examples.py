"""The commands that README, docs and --help show, and a folder in which each of them runs."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
from click.testing import CliRunner, Result

from cli import COMMANDS, cli
from tests.conftest import ROOT, known_law, simulate

BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
QUICK = {
    "SCALEFIT_TRAIN_GRID_DRY_RUN": "1",
    "SCALEFIT_TUNE_DRY_RUN": "1",
    "SCALEFIT_STUDY_SEEDS": "3",
    "SCALEFIT_FIT_BOOTSTRAP": "40",
    "SCALEFIT_REPORT_BOOTSTRAP": "40",
    "SCALEFIT_PLOT_BOOTSTRAP": "40",
}
"""What makes an example short: the same command, fewer draws, nothing trained."""


def shown() -> dict[str, str]:
    """Every example, with where it stands."""
    found: dict[str, str] = {}
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if path.parts[-2:] == ("reference", "cli.md"):
            continue  # it repeats what --help shows
        for line in _lines(path.read_text(encoding="utf-8")):
            found.setdefault(line, str(path.relative_to(ROOT)))
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for line in _joined((command.help or "").splitlines()):
            if line.startswith("scalefit "):
                found.setdefault(_bare(line), f"scalefit {name} --help")
    return found


def blocks(path: Path, kind: str) -> list[str]:
    """The fenced blocks of a kind in a page."""
    text = path.read_text(encoding="utf-8")
    return [match["body"] for match in BLOCK.finditer(text) if match["kind"] == kind]


def _lines(text: str) -> Iterator[str]:
    """Commands of fenced and indented blocks; what a command printed is not one."""
    prose = BLOCK.sub("", text)
    indented = [line[4:] for line in prose.splitlines() if line.startswith("    ")]
    fenced = [
        line.removeprefix("$ ")
        for match in BLOCK.finditer(text)
        if match["kind"] in ("", "console", "bash", "sh")
        for line in match["body"].splitlines()
    ]
    for line in _joined([*indented, *fenced]):
        if line.startswith("scalefit "):
            yield _bare(line)


def _joined(lines: list[str]) -> Iterator[str]:
    """Lines that end in a backslash with the next."""
    whole = ""
    for line in lines:
        whole += line.strip()
        if whole.endswith("\\"):
            whole = whole[:-1]
            continue
        yield whole
        whole = ""


def _bare(line: str) -> str:
    """Without the remark behind it."""
    return re.split(r"\s+#\s", line)[0].strip()


def prepare(folder: Path) -> None:
    """The files that examples speak of."""
    shutil.copytree(ROOT / "results" / "text.parquet", folder / "results.parquet")
    runs = simulate(known_law("chinchilla"), noise=0.005, sizes=10, per_size=10)
    runs["run_id"] = [f"run {n:.3g}" for n in runs["params"]]
    runs["val_nll"], runs["dataset"], runs["step"] = runs["loss"], "c4", 1000 + runs.index
    runs["seed"], runs["status"] = 0, "ok"
    runs.to_csv(folder / "runs.csv", index=False)
    runs.to_parquet(folder / "runs.parquet")
    simulate(known_law("chinchilla"), noise=0.005, sizes=8, per_size=6).to_csv(
        folder / "chinchilla.csv", index=False
    )
    _curves().to_csv(folder / "curves.csv", index=False)
    _curves().to_parquet(folder / "curves.parquet")
    _sweep().to_csv(folder / "sweep.csv", index=False)
    _logs(folder)
    for name in ("mine.toml", "tuned.toml", "large.toml"):
        assert perform(f"scalefit grids text > {name}", folder).exit_code == 0


def _curves() -> pd.DataFrame:
    """Loss curves of three runs."""
    steps = np.arange(1, 201)
    parts = [
        pd.DataFrame(
            {
                "run_id": f"run {rate}",
                "step": steps,
                "train_loss": 2 + 3 * np.exp(-steps * rate),
                "val_loss": 2.1 + 3 * np.exp(-steps * rate),
            }
        )
        for rate in (0.01, 0.02, 0.05)
    ]
    return pd.concat(parts, ignore_index=True)


def _sweep() -> pd.DataFrame:
    """Losses of every size over learning rates and batches, in sequences of 2048 tokens."""
    grid = [
        (n, d, rate, batch)
        for n in (1e8, 2e8, 4e8, 8e8)
        for d in (2e9, 8e9, 3.2e10)
        for rate in np.geomspace(2e-4, 6e-3, 9)
        for batch in (64, 128, 256, 512, 1024)
    ]
    frame = pd.DataFrame(grid, columns=["params", "tokens", "lr", "batch_size"])
    best = 2e-3 * (frame["params"] / 1e8) ** -0.3
    wide = 128 * (frame["tokens"] / 2e9) ** 0.4
    off = np.log(frame["lr"] / best) ** 2 + np.log(frame["batch_size"] / wide) ** 2
    frame["loss"] = known_law("chinchilla").loss(frame["params"], frame["tokens"]) + 0.02 * off
    frame["batch_tokens"] = frame["batch_size"]
    return frame


def _logs(folder: Path) -> None:
    """Logs as nanoGPT prints them, and an export of W&B."""
    (folder / "logs").mkdir()
    for name, millions in (("small", 10.65), ("large", 29.94)):
        lines = [
            "tokens per iteration will be: 491,520",
            f"number of parameters: {millions:.2f}M",
            *(
                f"step {step}: train loss {4 - step / 1000:.4f}, val loss {4.1 - step / 1000:.4f}"
                for step in range(0, 1001, 250)
            ),
        ]
        (folder / "logs" / f"{name}.log").write_text("\n".join(lines) + "\n")
    (folder / "out").mkdir()
    history = [
        {"step": step, "epoch": step / 1000, "eval_loss": 4 - step / 1000}
        for step in range(100, 1001, 100)
    ]
    state = {
        "global_step": 1000, "epoch": 1.0, "log_history": history, "total_flos": 1e18,
        "num_input_tokens_seen": 491_520_000,
    }  # fmt: skip
    (folder / "out" / "trainer_state.json").write_text(json.dumps(state))
    steps = range(0, 1000, 100)
    pd.DataFrame(
        {
            "Step": steps,
            "brisk-sun-1 - val/loss": [4 - step / 1000 for step in steps],
            "brisk-sun-1 - val/loss__MIN": [4 - step / 1000 for step in steps],
            "brisk-sun-1 - val/loss__MAX": [4 - step / 1000 for step in steps],
        }
    ).to_csv(folder / "wandb_export.csv", index=False)


def perform(line: str, folder: Path) -> Result:
    """Run a line as a shell would: stages of scalefit, pipes between them, > into a file."""
    done = Result(CliRunner(), b"", b"", b"", None, 0, None)
    for part in line.split(";"):
        text: str | None = None
        for stage in re.split(r"\s\|\s", part):
            words = shlex.split(stage)
            if words[0] != "scalefit":
                continue  # jq, head: not ours
            target = None
            if ">" in words:
                at = words.index(">")
                target, words = Path(words[at + 1]).expanduser(), words[:at]
            done = CliRunner().invoke(cli, _spread(words[1:], folder), input=text, env=QUICK)
            if done.exit_code:
                return done
            text = done.stdout
            if target is not None:
                (folder / target.name).write_text(text)
    return done


def _spread(words: list[str], folder: Path) -> list[str]:
    """Patterns of file names as a shell spreads them."""
    found: list[str] = []
    for word in words:
        matches = sorted(folder.glob(word)) if "*" in word and " " not in word else []
        found += [str(match.relative_to(folder)) for match in matches] or [word]
    return found
