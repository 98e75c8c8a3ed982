"""scalefit plan as people type it: every question, every output, every refusal."""

import json
import tomllib
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from cli import cli
from scalefit.fitting import fit, load, save
from scalefit.frontiers.isoflop import isoflop
from scalefit.planning import plan
from scalefit.runs import read
from tests.conftest import known_law, simulate


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs and the fit to them, as a user's would be."""
    monkeypatch.chdir(tmp_path)
    simulate(known_law("chinchilla"), noise=0.005).to_parquet("runs.parquet")
    save(fit(read("runs.parquet"), bootstrap=100), Path("runs.fit.json"))
    return tmp_path


def ask(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert done.exit_code == code, done.output
    return done


def document(*arguments: str) -> dict:
    return json.loads(ask(*arguments, "--json").stdout)


def test_a_budget_is_planned_with_all_that_belongs_to_it(folder: Path) -> None:
    done = ask("--flops", "1e22")
    lines = done.stdout.splitlines()
    assert lines[0] == "1e22 FLOP by runs.fit.json, the newest fit in this folder"
    assert lines[1].startswith("C = 6ND; N as its source counts it")
    for start in ("parameters N", "tokens D", "tokens/parameter", "loss", "wasted compute",
                  "wastes at most  1%", "Model ", "Training "):  # fmt: skip
        assert any(line.startswith(start) for line in lines), start
    assert not done.stderr
    assert max(map(len, lines)) <= 98


def test_the_newest_contract_keeps_the_first(folder: Path) -> None:
    found = document("--flops", "1e22")
    assert found["flops"] == 1e22
    expected = plan(load(Path("runs.fit.json")), flops=1e22)
    for name in ("params", "tokens", "loss", "tokens_per_param"):
        assert found[name]["value"] == getattr(expected, name).value
        assert found[name]["low"] == getattr(expected, name).low
    assert [band["overhead"] for band in found["band"]] == [0.01, 0.05, 0.2]
    assert found["model"]["shape"]["vocab"] == 32_768
    assert found["bill"] is None


def test_a_loss_is_reached_at_least_cost_and_by_other_sizes() -> None:
    done = ask("--loss", "2.1", "--law", "besiroglu2024")
    assert done.stdout.startswith("a loss of 2.1 by besiroglu2024 (")
    (half,) = (line for line in done.stdout.splitlines() if " 0.5 N*" in line)
    (twice,) = (line for line in done.stdout.splitlines() if " 2 N*" in line)
    assert "+" in half.split()[-2]
    assert twice.split()[-2].startswith("-")


def test_units_of_loss_come_with_the_loss() -> None:
    nats = document("--loss", "2.1", "--law", "besiroglu2024")
    bits = document(
        "--loss", f"{2.1 / np.log(2) / 4.3}bits/byte", "--bytes-per-token", "4.3",
        "--law", "besiroglu2024",
    )  # fmt: skip
    assert bits["flops"] == pytest.approx(nats["flops"])
    assert bits["loss_unit"] == "bits/byte"
    shown = document(
        "--flops", "1e22", "--loss-unit", "bits/token", "--law", "besiroglu2024"
    )["loss"]["value"]  # fmt: skip
    assert shown == pytest.approx(plan_value("1e22") / np.log(2))


def plan_value(flops: str) -> float:
    return document("--flops", flops, "--law", "besiroglu2024")["loss"]["value"]


def test_a_size_and_an_amount_of_data_have_their_regret() -> None:
    done = ask("--params", "7B", "--tokens", "2T", "--law", "besiroglu2024")
    assert "7B parameters and 2T tokens by besiroglu2024" in done.stdout
    assert "The same loss costs" in done.stdout
    assert "The same cost reaches" in done.stdout
    found = document("--params", "7B", "--tokens", "2T", "--law", "besiroglu2024")
    assert found["regret"]["overhead"]["value"] > 0.5
    assert found["band"] == []


def test_machines_are_a_budget_or_a_bill() -> None:
    machines = ("--gpu", "h100", "--count", "512", "--price", "2.5", "--law", "besiroglu2024")
    found = document(*machines, "--days", "30")
    assert found["flops"] == pytest.approx(512 * 989.5e12 * 0.4 * 30 * 86_400)
    assert found["bill"]["days"]["value"] == pytest.approx(30)
    cost = found["bill"]["cost"]["value"]
    assert cost == pytest.approx(512 * 24 * 30 * 2.5)
    assert document(*machines, "--spend", str(cost))["flops"] == pytest.approx(found["flops"])
    done = ask(*machines, "--flops", "1e24")
    assert "Hardware 512 x NVIDIA H100 SXM at 40% of its peak: " in done.stdout


def test_a_table_of_ones_own_is_hardware_too(folder: Path) -> None:
    Path("mine.toml").write_text(
        '[mine]\nname = "Mine"\npeak = 1e15\nmemory = 1e12\nformat = "bf16"\nsource = "me"\n'
    )
    found = document("--gpu", "mine", "--hardware", "mine.toml", "--flops", "3.6e20")
    assert found["bill"]["device_hours"]["value"] == pytest.approx(3.6e20 / 0.4e15 / 3600)


def test_laws_are_held_against_each_other_in_money() -> None:
    done = ask(
        "--flops", "1e23", "--law", "besiroglu2024", "--law", "hoffmann2022", "--gpu", "h100",
        "--price", "2",
    )  # fmt: skip
    assert "1e23 FLOP by 2 laws" in done.stdout
    (line,) = (x for x in done.stdout.splitlines() if x.startswith("If besiroglu2024 is right"))
    assert "the plan of hoffmann2022 wastes 8.6%" in line
    assert line.endswith("in money.")


def test_all_approaches_of_one_table_stand_side_by_side(folder: Path) -> None:
    law, rng = known_law("chinchilla"), np.random.default_rng(0)
    rows = [
        {"params": n, "tokens": c / 6 / n, "flops": c,
         "loss": float(law.loss(n, c / 6 / n)) * np.exp(0.002 * rng.standard_normal())}
        for c in np.geomspace(1e18, 1e21, 5)
        for n in float(law.optimum(c).params) * np.geomspace(0.3, 3, 7)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv("sweep.csv", index=False)
    runs = read("sweep.csv")
    save(fit(runs, bootstrap=50), Path("sweep.fit.json"))
    save(isoflop(runs, bootstrap=50), Path("sweep.isoflop.fit.json"))
    for one in ("sweep.fit.json", "sweep.isoflop.fit.json"):
        found = document("--flops", "1e22", "--law", one, "--approaches")
        assert [x["law"] for x in found["plans"]] == ["sweep.fit.json", "sweep.isoflop.fit.json"]
        (judgement,) = found["judgements"]
        assert judgement["judge"] == "sweep.fit.json"
        assert judgement["overhead"] < 0.1
    hoffmann = document("--flops", "1e23", "--law", "hoffmann2022", "--approaches")
    assert [x["law"].split("/")[1] for x in hoffmann["plans"]] == [
        "approach1", "approach2", "approach3",
    ]  # fmt: skip
    done = ask("--flops", "1e22", "--law", "besiroglu2024", "--approaches", code=2)
    assert "besiroglu2024 has no other approaches beside it" in done.stderr


def test_several_budgets_are_rows(folder: Path) -> None:
    done = ask("--flops", "1e19:1e22:4", "--output", "rows.csv")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1e19 to 1e22 FLOP by runs.fit.json")
    assert [line.split()[0] for line in lines[-4:]] == ["1e19", "1e20", "1e21", "1e22"]
    frame = pd.read_csv("rows.csv")
    assert frame["flops"].tolist() == pytest.approx([1e19, 1e20, 1e21, 1e22])
    assert (frame["params_low"] < frame["params"]).all()
    found = document("--flops", "1e19:1e22:4")
    assert found["params"]["value"] == pytest.approx(frame["params"].tolist())


@pytest.mark.parametrize("name", ["plan.json", "plan.csv", "plan.svg", "plan.png"])
def test_a_plan_is_written_as_its_suffix_says(folder: Path, name: str) -> None:
    for _ in range(2):  # a plan replaces a plan
        assert f"plan    {name}" in ask("--flops", "1e22", "--output", name).stderr
    text = Path(name).read_bytes()
    if name.endswith("json"):
        assert json.loads(text) == document("--flops", "1e22")
    elif name.endswith("csv"):
        assert len(pd.read_csv(name)) == 1
    else:
        assert text.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
        assert len(text) > 20_000


def test_profiles_come_from_the_runs(folder: Path) -> None:
    sampled, profiled = (
        document("--flops", "1e22"),
        document("--flops", "1e22", "--profile", "runs.parquet"),
    )
    assert profiled["interval"] == "profile"
    assert profiled["params"]["value"] == sampled["params"]["value"]
    assert profiled["params"]["low"] != sampled["params"]["low"]
    done = ask("--flops", "1e22", "--profile", "runs.parquet", "--drop-highest", "3", code=1)
    assert "give --where, --drop-highest and --column as for the fit" in done.stderr


def test_a_ladder_is_a_grid_file(folder: Path) -> None:
    done = ask("--ladder", "1e18:1e20:3")
    grid = tomllib.loads(done.stdout)
    assert len(grid["runs"]) == 3
    budgets = [
        6 * 12 * run["depth"] * run["widths"][0] ** 2 * run["tokens"][0] for run in grid["runs"]
    ]
    assert budgets == sorted(budgets)
    assert not done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to plan for; give a budget (--flops)"),
        (("--flops", "1e21", "--loss", "2"), "contradict each other"),
        (("--flops", "1e21", "--days", "3", "--gpu", "h100", "--count", "8"),
         "--flops and --days are both budgets"),
        (("--days", "3"), "--days says nothing without a --gpu"),
        (("--flops", "1e21", "--count", "3"), "--count says nothing without a --gpu"),
        (("--days", "3", "--gpu", "h100"), "depends on how many there are; give a count"),
        (("--spend", "1000", "--gpu", "h100"), "depends on the price of an hour; give a price"),
        (("--flops", "1e21", "--gpu", "h1000"), "did you mean h100"),
        (("--flops", "1e21", "--law", "hofmann2022"), "did you mean hoffmann2022"),
        (("--flops", "1e21", "--gpu", "h100", "--count", "0"), "0 is not in the range x>=1"),
        (("--loss", "1.5"), "never reaches a loss of 1.5: its least is 1.8"),
        (("--loss", "two"), "'two' is not a loss. Try 2.1 or 0.9bits/byte"),
        (("--loss", "2bits/byte", "--law", "besiroglu2024"), "give its --bytes-per-token"),
        (("--loss", "2nats/token", "--loss-unit", "bits/byte"), "give one of them"),
        (("--flops", "1e21", "--loss-unit", "perplexity"), "is not a unit of loss"),
        (("--flops", "1e21", "--unique-tokens", "100"), "fewer than the"),
        (("--flops", "1e21", "--head-width", "3"), "even width"),
        (("--flops", "1e21", "--rate-law", "besiroglu2024"), "such as li2025/learning-rate"),
        (("--flops", "1e21", "--output", "runs.parquet"), ".json, .csv, .svg or .png"),
        (("--flops", "1e21", "--output", "runs.fit.json"), "is no plan, so it is kept"),
        (("--flops", "1e21", "--output", "no/plan.csv"), "cannot be written to no"),
        (("--flops", "1e19,1e20", "--law", "besiroglu2024", "--law", "hoffmann2022"), "single one"),
        (("--ladder", "1e19:1e21:3", "--law", "besiroglu2024", "--law", "hoffmann2022"),
         "a ladder is planned by one law"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_exit_2(
    folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    done = ask(*arguments, code=2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.output
    error = done.stderr[done.stderr.index("Error: ") :]
    assert len(error.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_fit_that_is_not_to_be_trusted_needs_force(folder: Path) -> None:
    path = Path("runs.fit.json")
    path.write_text(path.read_text().replace('"converged"', '"bound_hit"'))
    done = ask("--flops", "1e22", code=2)
    assert "is bound hit, so its plan is not to be trusted" in done.stderr
    assert "the fit is not to be trusted as it is" in ask("--flops", "1e22", "--force").stderr


def test_what_is_far_beyond_the_runs_is_said_on_stderr(folder: Path) -> None:
    done = ask("--flops", "1e25")
    assert "times the largest run behind the law; the interval covers sampling error" in done.stderr
    assert "note" not in done.stdout


def test_help_says_what_every_option_is_for() -> None:
    text = CliRunner().invoke(cli, ["plan", "--help"]).stdout
    command = cli.get_command(click.Context(cli), "plan")
    for option in command.params:
        assert isinstance(option, click.Option)
        assert option.help or option.name in ("vocab", "context", "drop_highest"), option.name
        assert option.opts[-1] in text
