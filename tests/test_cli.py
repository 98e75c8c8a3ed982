"""The command line as a user drives it: a real process in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import ROOT, known_law, simulate

FIT_KEYS = {
    "schema",
    "form",
    "method",
    "status",
    "objective",
    "law",
    "intervals",
    "runs",
    "certificate",
}
PLAN_KEYS = {
    "schema", "law", "flops", "params", "tokens", "loss", "tokens_per_param", "band",
    "extrapolation", "notes",
}  # fmt: skip


def run(
    *arguments: str, cwd: Path, stdin: bytes | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "scalefit", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def refused(*arguments: str, cwd: Path, code: int = 1, stdin: bytes | None = None) -> str:
    """Run what must fail: one sentence on stderr, nothing on stdout, nothing written."""
    before = sorted(cwd.rglob("*"))
    done = run(*arguments, cwd=cwd, stdin=stdin)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(cwd.rglob("*")) == before
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    return message


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "runs.parquet"
    simulate(known_law("chinchilla"), noise=0.005).to_parquet(path)
    return path


def test_fit_then_plan_as_a_newcomer_types_them(table: Path, tmp_path: Path) -> None:
    fitted = run("fit", "runs.parquet", "--bootstrap", "100", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    assert "Chinchilla law" in fitted.stdout
    assert "95% interval" in fitted.stdout
    assert (tmp_path / "runs.fit.json").exists()
    assert (tmp_path / "runs.fit.png").stat().st_size > 20_000
    planned = run("plan", "--flops", "1e21", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.startswith("1e21 FLOP by runs.fit.json, the newest fit in this folder")


def test_the_json_of_fit_keeps_its_contract(table: Path, tmp_path: Path) -> None:
    done = run("fit", "runs.parquet", "--json", "--no-figures", "--bootstrap", "60", cwd=tmp_path)
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert set(document) >= FIT_KEYS
    assert document["schema"] == 3
    assert (document["form"], document["method"], document["status"]) == (
        "chinchilla",
        "parametric",
        "converged",
    )
    assert document["objective"].keys() >= {"name", "delta", "value"}
    assert set(document["law"]["params"]) == {"E", "A", "B", "alpha", "beta"}
    assert set(document["intervals"]) == {"E", "A", "B", "alpha", "beta", "a", "b"}
    assert document["intervals"]["E"].keys() >= {"value", "low", "high", "level"}
    assert document["runs"]["used"] == 54
    assert document["runs"]["dropped"] == []
    assert not (tmp_path / "runs.fit.png").exists()


def test_the_json_of_plan_keeps_its_contract(tmp_path: Path) -> None:
    done = run("plan", "--flops", "5.76e23", "--law", "besiroglu2024", "--json", cwd=tmp_path)
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert set(document) >= PLAN_KEYS
    assert document["schema"] == 1
    assert document["flops"] == 5.76e23
    assert document["params"]["value"] == pytest.approx(7.22487e10, rel=1e-5)
    assert set(document["params"]) == {"value", "low", "high", "level"}
    assert document["params"]["low"] is None
    assert document["extrapolation"] == pytest.approx(5.76e23 / 1.3e22)


def test_options_change_what_they_say(table: Path, tmp_path: Path) -> None:
    frame = pd.read_parquet(table).rename(columns={"loss": "final"})
    frame["kind"] = ["a"] * 30 + ["b"] * 24
    frame.to_csv(tmp_path / "odd.csv", index=False)
    done = run(
        "fit", "odd.csv", "--column", "loss=final", "--where", "kind == 'a' and tokens > 0",
        "--drop-highest", "2", "--delta", "0.01", "--bootstrap", "0", "--level", "0.9",
        "--output", "law.json", "--json", "--no-figures", cwd=tmp_path,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["runs"]["used"] == 28
    assert {entry["rows"] for entry in document["runs"]["dropped"]} == {24, 2}
    assert document["objective"]["delta"] == 0.01
    assert document["intervals"]["E"]["low"] is None
    planned = run("plan", "--flops", "2.5ZFLOP", "--law", "law.json", cwd=tmp_path)
    assert planned.stdout.startswith("2.5e21 FLOP by law.json")


def test_wishes_about_parameters_are_kept(table: Path, tmp_path: Path) -> None:
    done = run(
        "fit", "runs.parquet", "--no-figures", "--fix", "E=1.8", "--tie", "alpha=beta",
        "--bound", "A=:1000", "--objective", "lad-log", "--interval", "hc3", "--certify",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["law"]["params"]["E"] == 1.8
    assert document["law"]["params"]["alpha"] == document["law"]["params"]["beta"]
    assert document["constraints"] == {
        "fixed": {"E": 1.8}, "bounds": {"A": [0.0, 1000.0]}, "tied": {"alpha": "beta"},
    }  # fmt: skip
    assert document["interval"] == "hc3"
    assert document["objective"]["name"] == "lad-log"
    told = run("fit", "runs.parquet", "--no-figures", "--fix", "E=1.8", "--certify", cwd=tmp_path)
    assert "as given: E = 1.8" in told.stdout
    assert "none better" in told.stdout


def test_stdin_is_a_table_too(table: Path, tmp_path: Path) -> None:
    text = pd.read_parquet(table).to_csv(index=False).encode()
    done = run("fit", "-", "--bootstrap", "0", "--no-figures", cwd=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stdin.fit.json").exists()


def test_without_any_fit_plan_names_the_law_it_falls_back_on(tmp_path: Path) -> None:
    done = run("plan", "--flops", "1e21", cwd=tmp_path)
    assert "besiroglu2024, as there is no fit in this folder" in done.stdout.splitlines()[0]
    assert "2.78B" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fit", "missing.parquet"], 1, "missing.parquet"),
        (["fit", "empty.csv"], 1, "empty.csv"),
        (["fit", "nothing"], 1, "nothing"),
        (["fit", "no-loss.csv"], 1, "loss"),
        (["fit", "text.csv"], 1, "row 3"),
        (["fit", "nan.csv"], 1, "row"),
        (["fit", "inf.csv"], 1, "loss"),
        (["fit", "negative.csv"], 1, "loss"),
        (["fit", "zero.csv"], 1, "tokens"),
        (["fit", "one.csv"], 1, "1 usable row"),
        (["fit", "same-n.csv"], 1, "model sizes"),
        (["fit", "doubled.csv"], 1, "1 usable row"),
        (["fit", "truncated.parquet"], 1, "truncated.parquet"),
        (["fit", "torn"], 1, "bad.parquet"),
        (["fit", "runs.parquet", "--where", "loss >"], 1, "where"),
        (["fit", "runs.parquet", "--where", "losss > 2"], 1, "losss"),
        (["fit", "runs.parquet", "--column", "loss=los"], 1, "los"),
        (["fit", "runs.parquet", "--drop-highest", "54"], 1, "54"),
        (["fit", "runs.parquet", "--output", "no/such/folder.json"], 1, "--output"),
        (["fit", "runs.parquet", "--method", "guess"], 2, "--method"),
        (["fit", "runs.parquet", "--objective", "l7"], 2, "--objective"),
        (["fit", "runs.parquet", "--form", "cubic"], 2, "--form"),
        (["fit", "runs.parquet", "--column", "loss"], 2, "loss=NAME"),
        (["fit", "runs.parquet", "--level", "1"], 2, "--level"),
        (["fit", "runs.parquet", "--bootstrap", "-1"], 2, "--bootstrap"),
        (["fit", "runs.parquet", "--interval", "guess"], 2, "--interval"),
        (["fit", "runs.parquet", "--delta", "wide"], 2, "0.001 or adaptive"),
        (["fit", "runs.parquet", "--delta", "-1"], 1, "positive number"),
        (["fit", "runs.parquet", "--fix", "E"], 2, "E=1.69"),
        (["fit", "runs.parquet", "--fix", "gamma=1"], 1, "gamma"),
        (["fit", "runs.parquet", "--bound", "alpha=0.9:0.1"], 1, "alpha"),
        (["fit", "runs.parquet", "--bound", "alpha=low"], 2, "alpha=0.1:0.9"),
        (["fit", "runs.parquet", "--tie", "E=A"], 1, "alpha with beta"),
        (["fit", "runs.parquet", "--weights", "mass"], 1, "mass"),
        (["plan", "--flops", "1e"], 2, "Try 1e21"),
        (["plan", "--flops", "0"], 2, "Try 1e21"),
        (["plan"], 2, "--flops"),
        (["plan", "--flops", "1e21", "--law", "besiroglu"], 2, "besiroglu2024"),
        (["plan", "--flops", "1e21", "--law", "runs.parquet"], 1, "runs.parquet"),
        (["plan", "--flops", "1e21", "--law", "gone.json"], 1, "gone.json"),
        (["train-grid", "nogrid"], 1, "nogrid"),
        (["train-grid", "bad.toml"], 1, "bad.toml"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(
    arguments: list[str], code: int, words: str, bad_inputs: Path
) -> None:
    message = refused(*arguments, cwd=bad_inputs, code=code)
    assert words in message, message


@pytest.fixture(scope="module")
def bad_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    good = simulate(known_law("chinchilla"), noise=0.005)
    good.to_parquet(folder / "runs.parquet")
    whole = (folder / "runs.parquet").read_bytes()
    (folder / "truncated.parquet").write_bytes(whole[: len(whole) // 2])
    (folder / "torn").mkdir()
    (folder / "torn" / "good.parquet").write_bytes(whole)
    (folder / "torn" / "bad.parquet").write_bytes(whole[:100])
    (folder / "nothing").mkdir()
    (folder / "empty.csv").write_text("")
    (folder / "bad.toml").write_text("widths = [8")
    for name, frame in {
        "no-loss": good.drop(columns="loss"),
        "text": good.astype({"tokens": object}).assign(
            tokens=lambda t: [*t["tokens"][:2], "many", *t["tokens"][3:]]
        ),
        "nan": good.assign(params=good["params"].where(good.index != 4)),
        "inf": good.assign(loss=good["loss"].where(good.index != 4, float("inf"))),
        "negative": good.assign(loss=good["loss"].where(good.index != 4, -1.0)),
        "zero": good.assign(tokens=good["tokens"].where(good.index != 4, 0.0)),
        "one": good.head(1),
        "same-n": good.assign(params=1e9),
        "doubled": pd.concat([good.head(1)] * 10),
    }.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_a_foreign_file_at_the_fits_place_is_kept(table: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.fit.json").write_text("my notes")
    assert "not overwritten" in refused("fit", "runs.parquet", "--bootstrap", "0", cwd=tmp_path)
    assert (tmp_path / "runs.fit.json").read_text() == "my notes"


def test_help_is_quick_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['scalefit', '--help']\n"
        "from scalefit.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'scipy', 'numpy', 'pandas', 'lmfit', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "train-grid" in done.stdout


@pytest.mark.parametrize("command", ["fit", "plan", "train-grid"])
def test_every_command_has_help_with_an_example(command: str, tmp_path: Path) -> None:
    done = run(command, "-h", cwd=tmp_path)
    assert done.returncode == 0
    assert f"  scalefit {command}" in done.stdout


def test_no_color_leaves_no_escapes(tmp_path: Path) -> None:
    done = run("plan", "--flops", "1e21", cwd=tmp_path, NO_COLOR="1")
    assert "\x1b" not in done.stdout + done.stderr


def test_the_same_cli_by_every_way_in(tmp_path: Path) -> None:
    versions = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for command in (
            [sys.executable, "-m", "scalefit", "--version"],
            [sys.executable, str(ROOT / "cli.py"), "--version"],
            [str(Path(sys.executable).with_name("scalefit")), "--version"],
        )
    }
    assert len(versions) == 1


def test_shell_completion_answers(tmp_path: Path) -> None:
    done = run(cwd=tmp_path, _SCALEFIT_COMPLETE="bash_source")
    assert "_scalefit_completion" in done.stdout


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    if shutil.which("sh") is None:
        pytest.skip("there is no shell here")
    done = subprocess.run(
        f"{sys.executable} -m scalefit plan --flops 1e21 | head -1",
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
