"""import, export and runs as a person drives them."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli import cli
from scalefit.importers import load
from tests.conftest import ROOT, known_law, simulate
from tests.importers.written import chart, nanochat_log, nanogpt_log, trainer_state

CURVE = {0: 10.0, 1000: 4.5, 2000: 3.75}


def ask(*arguments: str | Path, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


def sweep(folder: Path) -> list[Path]:
    """Logs of nine models as nanoGPT prints them, on a known law."""
    law = known_law("chinchilla")
    paths = []
    for number, size in enumerate((10, 20, 40, 80, 160, 320, 640, 1280, 2560)):
        curve = {s: float(law.loss(size * 1e6, s * 491_520)) for s in (1000, 4000, 16_000)}
        text = nanogpt_log(curve).replace("124,354,560", f"{size * 1_000_000 - 19_200:,}")
        paths.append(folder / f"m{number}.log")
        paths[-1].write_text(text)
    return paths


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_of_logs_becomes_a_table_that_is_fitted(place: Path) -> None:
    sweep(place)
    done = ask("import", place, "-o", "runs.parquet", "--all-steps")
    assert "tokens <- step x 491,520" in done.stderr
    assert 'loss <- "val_loss"' in done.stderr
    assert "runs    9, 27 rows, in runs.parquet" in done.stderr
    assert done.stdout == ""
    fit = json.loads(
        ask("fit", "runs.parquet", "--bootstrap", "0", "--no-figures", "--json").stdout
    )
    assert fit["law"]["params"]["alpha"] == pytest.approx(0.35, abs=0.01)


def test_what_is_missing_is_said_with_the_option_that_gives_it(place: Path) -> None:
    Path("chart.csv").write_text(chart({"d8": CURVE, "d12": CURVE}))
    said = ask("import", "chart.csv", "-o", "r.parquet", code=1).stderr
    assert said.startswith("Error: run 'd8' of chart.csv states no")
    assert "--tokens-per-step d8=491520" in said
    assert not (place / "r.parquet").exists()
    ask("import", "chart.csv", "-o", "r.parquet", "--params", "d8=25M", "--params", "85M",
        "--tokens-per-step", "491520", "--loss-unit", "nats/token")  # fmt: skip
    table = load("r.parquet").set_index("run")
    assert table["params_total"].to_dict() == {"d8": 25e6, "d12": 85e6}
    assert table["tokens"].tolist() == [2000 * 491_520] * 2
    assert set(table["loss_unit"]) == {"nats/token"}


def test_the_mapping_is_in_the_json(place: Path) -> None:
    Path("trainer_state.json").write_text(trainer_state({100: 4.0, 200: 3.5}))
    done = ask("import", "trainer_state.json", "-o", "hf", "--params", "1.1B", "--tokens-per-step",
               "4096", "--metric", "eval_loss", "--json")  # fmt: skip
    found = json.loads(done.stdout)
    mapping = {entry["column"]: entry["from"] for entry in found["mapping"]}
    assert mapping["loss"] == '"eval_loss"'
    assert mapping["params_total"] == "--params"
    assert mapping["flops"] == '"total_flos" / "global_step" of trainer_state.json x step'
    assert {"reason": "earlier checkpoint of its run", "rows": 1} in found["dropped"]
    assert (found["runs"], found["rows"], found["output"]) == (1, 1, "hf")
    assert len(list(Path("hf").glob("*.parquet"))) == 1


def test_nothing_is_overwritten_and_imports_add_up_in_a_folder(place: Path) -> None:
    del place
    Path("a.log").write_text(nanogpt_log(CURVE))
    Path("b.log").write_text(nanochat_log({0: 3.2, 840: 0.98}))
    ask("import", "a.log", "-o", "all")
    assert "nothing measured is overwritten" in ask("import", "a.log", "-o", "all", code=1).stderr
    ask("import", "b.log", "-o", "all")
    assert sorted(load("all")["run"]) == ["a", "b"]
    ask("import", "a.log", "-o", "a.parquet")
    assert (
        "to which imports can be added" in ask("import", "a.log", "-o", "a.parquet", code=1).stderr
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--params", "many"], 2, "'many' is not a number of parameters"),
        (["--params", "a="], 2, "is not a number of parameters"),
        (["--loss-unit", "pints"], 2, "'pints' is not a unit of loss"),
        (["--from", "excel"], 2, "'excel' is not one of"),
        (["--metric", "lss"], 1, "has no metric 'lss' for --metric"),
        (["--params", "b=1M"], 1, "--params b=...: no run has this name; it has a"),
        (["--filter", "x"], 1, "--filter is for wandb: and mlflow: sources"),
    ],
)
def test_what_is_asked_wrongly_is_one_sentence(
    place: Path, options: list[str], code: int, said: str
) -> None:
    del place
    Path("a.log").write_text(nanogpt_log(CURVE))
    error = ask("import", "a.log", "-o", "r.parquet", *options, code=code).stderr
    assert said in error
    assert not Path("r.parquet").exists()


def test_a_target_that_cannot_be_written_leaves_nothing(place: Path) -> None:
    Path("a.log").write_text(nanogpt_log(CURVE))
    Path("file").write_text("x")
    assert "cannot write" in ask("import", "a.log", "-o", "file/r.parquet", code=1).stderr
    assert sorted(path.name for path in place.iterdir()) == ["a.log", "file"]


@pytest.mark.parametrize("name", ["runs.csv", "runs.jsonl"])
def test_a_table_comes_back_from_an_export_as_it_was(place: Path, name: str) -> None:
    sweep(place)
    ask("import", place, "-o", "runs.parquet", "--all-steps")
    ask("export", "runs.parquet", "-o", name)
    before, after = load("runs.parquet"), load(name)
    filled = [column for column in before if before[column].notna().any()]
    assert list(before.columns) == list(after.columns)
    for column in filled:
        assert before[column].tolist() == after[column].tolist(), column
    assert after.drop(columns=filled).isna().all(axis=None)


@pytest.mark.parametrize("name", ["runs.csv", "runs.jsonl"])
def test_an_exported_table_gives_the_same_fit(place: Path, name: str) -> None:
    sweep(place)
    ask("import", place, "-o", "runs.parquet", "--all-steps")
    ask("export", "runs.parquet", "-o", name)
    one, other = (
        json.loads(ask("fit", path, "--bootstrap", "0", "--no-figures", "--json").stdout)
        for path in ("runs.parquet", name)
    )
    assert one["law"]["params"] == other["law"]["params"]


def test_an_export_goes_to_stdout_and_takes_a_choice_of_rows(place: Path) -> None:
    sweep(place)
    ask("import", place, "-o", "runs.parquet")
    lines = ask("export", "runs.parquet", "--where", "run == 'm3'").stdout.splitlines()
    assert len(lines) == 2
    assert "80000000,,,,7864320000" in lines[1]  # whole numbers stay whole
    (record,) = map(json.loads, ask("export", "runs.parquet", "--json", "--where", "run == 'm3'")
                    .stdout.splitlines())  # fmt: skip
    assert (record["run"], record["params_total"], record["seed"]) == ("m3", 80_000_000, None)
    assert "selects none" in ask("export", "runs.parquet", "--where", "run == 'x'", code=1).stderr
    assert "says no format" in ask("export", "runs.parquet", "-o", "x.xls", code=1).stderr
    ask("export", "runs.parquet", "-o", "x.csv")
    assert "not overwritten" in ask("export", "runs.parquet", "-o", "x.csv", code=1).stderr


def test_a_table_at_a_glance(place: Path) -> None:
    frame = simulate(known_law("chinchilla"))
    frame["seed"], frame["family"] = [0, 1] * 27, "made"
    frame["status"] = ["diverged", *["ok"] * 53]
    frame.loc[1, "loss"] = None
    frame.to_parquet(place / "runs.parquet")
    text = ask("runs", "runs.parquet", "--by", "seed").stdout
    assert "54 rows of 54 runs" in text
    assert "families  made 54" in text
    assert "status    ok 53, diverged 1" in text
    assert "A fit would use 52 of 54 rows" in text
    assert "left out: 1 row, status diverged" in text
    assert "left out: 1 row, loss not measured" in text
    assert [line.split()[:3] for line in text.splitlines()[-2:]] == [
        ["0", "27", "27"],
        ["1", "27", "27"],
    ]
    found = json.loads(ask("runs", "runs.parquet", "--where", "seed == 1", "--json").stdout)
    assert (found["rows"], found["seeds"], found["groups"]) == (27, 1, [])
    assert found["spans"]["params"] == {"low": 5e7, "high": pytest.approx(1e10), "missing": 0}
    assert found["spans"]["loss"]["missing"] == 1
    assert "no column" in ask("runs", "runs.parquet", "--by", "sead", code=1).stderr


def test_rows_without_a_value_are_a_group_of_their_own(place: Path) -> None:
    del place
    Path("r.csv").write_text(
        "run_id,step,params,tokens,loss,device\n"
        "a,1,1e6,1e8,3.0,cpu\na,2,1e6,2e8,2.5,cpu\nb,1,2e6,1e8,,\n"
    )
    text = ask("runs", "r.csv", "--by", "device").stdout
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["cpu", "2", "1", "2.500"], ["–", "1", "1", "–"],
    ]  # fmt: skip
    (cpu, none) = json.loads(ask("runs", "r.csv", "--by", "device", "--json").stdout)["groups"]
    assert cpu == {"value": "cpu", "rows": 2, "runs": 1, "best_loss": 2.5}
    assert none == {"value": None, "rows": 1, "runs": 1, "best_loss": None}


def test_standard_input_is_counted_but_read_once(place: Path) -> None:
    del place
    table = "params,tokens,loss\n1e6,1e8,3.0\n"
    done = CliRunner().invoke(cli, ["runs", "-"], input=table)
    assert "1 row of 1 run" in done.stdout
    assert "No fit: standard input is read once; name a file" in done.stdout
    sent = CliRunner().invoke(cli, ["export", "-"], input=table)
    assert sent.stdout == "params,tokens,loss\n1000000,100000000,3.0\n"


def test_why_no_fit_is_possible_is_said_at_a_glance(place: Path) -> None:
    pd.DataFrame({"params": [1e6, 2e6], "loss": [3.0, 2.9]}).to_csv(place / "r.csv", index=False)
    text = ask("runs", "r.csv").stdout
    assert "2 rows of 2 runs" in text
    assert 'No fit: r.csv has no column with values for "tokens"' in text


def test_help_explains_what_a_fit_does_with_the_rows_of_a_run() -> None:
    text = " ".join(ask("import", "--help").stdout.split())
    assert "its last checkpoint with a loss" in text
    assert "resamples whole runs" in text


def test_help_of_the_program_stays_free_of_tables() -> None:
    code = (
        "import sys; sys.argv = ['scalefit', '--help']\n"
        "from scalefit.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'tensorboard', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "import" in done.stdout
