"""diagnose, backtest and simulate as a user drives them."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from cli import cli
from tests.test_cli import run

SIMULATED = ("simulate", "--law", "besiroglu2024", "--flops", "1e18:1e21:7", "--noise", "0.003")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diagnosis")
    done = run(*SIMULATED, "--seed", "3", "-o", "runs.csv", cwd=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "next    scalefit fit runs.csv" in done.stderr
    return path


def test_a_simulated_table_is_diagnosed_in_words_and_tables(folder: Path) -> None:
    done = run("diagnose", "runs.csv", "--drop", "2", "--parameter", "a", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("runs.csv: 49 rows, huber-log")
    assert "- Noise: losses scatter by 0." in done.stdout
    assert "- Without 2 rows a goes from" in done.stdout
    for heading in ("residuals", "removed one after another", "objective  "):
        assert heading in done.stdout


def test_the_reading_options_are_those_of_fit(folder: Path) -> None:
    frame = pd.read_csv(folder / "runs.csv").rename(columns={"loss": "final"})
    frame.to_csv(folder / "odd.csv", index=False)
    options = (
        "odd.csv",
        "--column",
        "loss=final",
        "--where",
        "tokens > 1e9",
        "--drop-highest",
        "1",
    )
    diagnosed = json.loads(
        run("diagnose", *options, "--by", "size", "--drop", "1", "--json", cwd=folder).stdout,
        parse_constant=pytest.fail,
    )
    assert diagnosed["rows"] == (frame["tokens"] > 1e9).sum() - 1
    assert diagnosed["influence"]["unit"] == "size"
    tested = run("backtest", *options, "--cuts", "1", "--json", cwd=folder)
    (cut,) = json.loads(tested.stdout, parse_constant=pytest.fail)["cuts"]
    assert cut["fitted"] + cut["predicted"] == diagnosed["rows"]
    assert 'loss is read from "final"' in tested.stderr


def test_a_back_test_is_a_table(folder: Path) -> None:
    done = run("backtest", "runs.csv", "--cuts", "2", "--level", "0.8", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "80% prediction interval" in done.stdout
    for predictor in ("chinchilla", "power law in C", "pinned E", "last value"):
        assert done.stdout.count(f"\n{predictor}") == 2


def test_simulated_runs_go_into_a_pipe_or_json(folder: Path) -> None:
    text = run(*SIMULATED, "--seed", "3", cwd=folder).stdout
    assert text == (folder / "runs.csv").read_text()
    document = json.loads(run(*SIMULATED, "--seed", "3", "--json", cwd=folder).stdout)
    assert len(document["runs"]) == len(pd.read_csv(io.StringIO(text))) == 49
    piped = run("fit", "-", "--bootstrap", "0", "--no-figures", cwd=folder, stdin=text.encode())
    assert piped.returncode == 0, piped.stderr


def test_a_fit_can_be_simulated_from(folder: Path) -> None:
    fitted = run(
        "fit", "runs.csv", "--bootstrap", "0", "--no-figures", "--output", "law.json", cwd=folder
    )
    assert fitted.returncode == 0, fitted.stderr
    arguments = ("--params", "1e8:1e10:5", "--tokens", "1B,10B", "-o", "again.parquet")
    done = run("simulate", "--law", "law.json", *arguments, "--json", cwd=folder)
    assert len(json.loads(done.stdout)["runs"]) == 10
    assert len(pd.read_parquet(folder / "again.parquet")) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["diagnose", "missing.csv"], 1, "missing.csv"),
        (["diagnose", "runs.csv", "--parameter", "gamma"], 1, "gamma"),
        (["diagnose", "runs.csv", "--drop", "-1"], 2, "--drop"),
        (["diagnose", "runs.csv", "--by", "batch"], 2, "--by"),
        (["diagnose", "runs.csv", "--where", "losss > 2"], 1, "losss"),
        (["diagnose", "runs.csv", "--drop-highest", "45"], 1, "usable row"),
        (["backtest", "runs.csv", "--cuts", "0"], 2, "--cuts"),
        (["backtest", "runs.csv", "--where", "flops < 1.1e18"], 1, "no cut"),
        (["simulate", "--flops", "1e20"], 2, "--law"),
        (["simulate", "--law", "besiroglu"], 2, "besiroglu2024"),
        (["simulate", "--law", "besiroglu2024"], 1, "--flops"),
        (["simulate", "--law", "besiroglu2024", "--flops", "1e20:1e21"], 2, "1e8:1e10:8"),
        (["simulate", "--law", "besiroglu2024", "--flops", "1e"], 2, "Try 1e21"),
        (["simulate", "--law", "besiroglu2024", "--flops", "1e20", "--noise", "-1"], 1, "noise"),
        (["simulate", "--law", "besiroglu2024", "--flops", "1e20", "-o", "runs.csv"], 1, "exists"),
        (["simulate", "--law", "besiroglu2024", "--flops", "1e20", "-o", "runs.txt"], 1, ".csv"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(
    arguments: list[str], code: int, words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    assert done.stdout == ""
    assert sorted(folder.iterdir()) == before
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert words in message


@pytest.mark.parametrize("command", ["diagnose", "backtest", "simulate"])
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    done = run(command, "-h", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  scalefit {command}" in done.stdout


def test_a_table_of_curves_is_read_run_by_run(tmp_path: Path) -> None:
    steps = pd.Series(range(300), dtype=float)
    fast = 2.0 * 0.95**steps
    good = pd.DataFrame(
        {"run": "a", "step": steps, "train_loss": fast + 0.2, "val_loss": fast + 0.3}
    )
    rising = good.assign(run="b", val_loss=good["val_loss"] + steps / 300)
    pd.concat([good, rising]).to_parquet(tmp_path / "curves.parquet")
    done = run("diagnose", "curves.parquet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("curves of 2 runs\nC1     1  good")
    assert "development loss was lowest" in done.stdout
    answer = json.loads(run("diagnose", "curves.parquet", "--json", cwd=tmp_path).stdout)
    assert [(one["run"], one["labels"]) for one in answer["curves"]] == [
        ("a", ["C1"]), ("b", ["C2"]),
    ]  # fmt: skip
    only = run("diagnose", "curves.parquet", "--where", "run == 'b'", "--json", cwd=tmp_path)
    assert len(json.loads(only.stdout)["curves"]) == 1
    refused = run("diagnose", "curves.parquet", "--drop-highest", "2", cwd=tmp_path)
    assert refused.returncode == 1
    assert "leave out --drop-highest" in refused.stderr
