"""``scalefit laws`` as a user drives it, and plans by laws that are not of L(N, D)."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import cli
from scalefit.laws import FORMS, published_names
from tests.test_cli import PLAN_KEYS, run


def ask(*arguments: str) -> Result:
    """The command in this process, which is quick; one test below has a process of its own."""
    return CliRunner().invoke(cli, arguments)


def answer(*arguments: str) -> str:
    done = ask(*arguments)
    assert done.exit_code == 0, done.output
    assert not done.stderr
    return done.stdout


def test_all_laws_are_listed_by_paper() -> None:
    lines = answer("laws").splitlines()
    rows = [line.split() for line in lines if line.startswith("  ")]
    assert tuple(row[0] for row in rows) == published_names()
    assert "Henighan et al. 2020, arXiv:2010.14701" in lines
    assert ["besiroglu2024", "L(N,", "D)", "plans", "chinchilla"] in rows
    assert ["kaplan2020/params", "L(N)", "power-n"] in rows
    assert max(map(len, lines)) <= 98
    document = json.loads(answer("laws", "--json"), parse_constant=pytest.fail)
    assert document["schema"] == 1
    assert tuple(law["name"] for law in document["laws"]) == published_names()
    assert all(law["source"] and law["answers"] for law in document["laws"])


def test_one_law_shows_all_that_is_printed_of_it() -> None:
    text = answer("laws", "henighan2020/image-32x32")
    for part in (
        "N*(C) = N_1 (C/C_1)^a",
        "arXiv:2010.14701, table 1",
        "C_1 = 1.6e-13 PF-days, N_1 = 1, a = 0.65, E = 2.21, C_c = 3.6e-9 PF-days, c = 0.1",
        "N counts non-embedding parameters; loss in nats/token",
        "henighan2020/image-32x32/params          L(N): E = 2.2, N_c = 63, alpha = 0.13",
        "1e21     1.02B      163B     160.2     2.322",
    ):
        assert part in text
    law = json.loads(
        answer("laws", "henighan2020/image-32x32", "--json"),
        parse_constant=pytest.fail,
    )
    assert law["printed"]["C_1"] == "1.6e-13 PF-days"
    assert law["params"]["C_1"] == pytest.approx(1.6e-13 * 8.64e19)
    assert law["units"]["C_1"] == "FLOP"
    assert [row["flops"] for row in law["optima"]] == [1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25]
    assert "henighan2020/image-32x32/params" in law["related"]


def test_what_a_reader_must_know_stands_there() -> None:
    text = answer("laws", "hoffmann2022/approach3")
    assert "1.26e24 FLOP at 175B, a misprint" in " ".join(text.split())
    assert "0.454 … 0.455" in text
    assert "10th to 90th percentile" in text
    assert "N*(C) = N_1 (C/C_1)^a, D*(C) = D_1 (C/C_1)^b\n" in text  # its loss is not printed
    assert "1.26e25      175B       12T" in text
    kaplan = answer("laws", "kaplan2020/critical-batch")
    assert "Plans     no; plan with kaplan2020" in kaplan
    assert "2.100e+08  tokens" in kaplan


def test_exponents_are_the_table_of_hoffmann_with_its_bands() -> None:
    # Hoffmann et al. 2022, table 2, with the row of Kaplan et al. 2020.
    rows = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in answer("laws", "--exponents").splitlines()
    }
    for name, row in {
        "hoffmann2022/approach1": "0.50 (0.488, 0.502) 0.50 (0.501, 0.512)",
        "hoffmann2022/approach2": "0.49 (0.462, 0.534) 0.51 (0.483, 0.529)",
        "hoffmann2022/approach3": "0.46 (0.454, 0.455) 0.54 (0.542, 0.543)",
    }.items():
        assert rows[name] == f"{row} 10th to 90th percentile"
    assert rows["kaplan2020"] == "0.73 0.27"
    assert rows["besiroglu2024"] == "0.5126 0.4874 follow from the law"
    assert rows["pearce2024"] == "0.78 0.22"
    assert rows["gadre2024"] == "0.50 0.50 follow from the law"
    document = json.loads(
        answer("laws", "hoffmann2022", "--exponents", "--json"),
        parse_constant=pytest.fail,
    )
    found = {row["law"]: row for row in document["exponents"]}
    assert found["hoffmann2022/approach2"]["intervals"] == {
        "a": [0.462, 0.534],
        "b": [0.483, 0.529],
    }
    assert found["hoffmann2022/approach2"]["printed"]
    assert not found["hoffmann2022"]["printed"]
    assert "kaplan2020" not in found


def test_forms_are_listed_for_fit() -> None:
    text = answer("laws", "--forms")
    assert "chinchilla        L(N, D) = E + A/N^alpha + B/D^beta" in text
    named = [line.split()[0] for line in text.splitlines()]
    assert named == [name for name in FORMS if name != "frontier"]
    forms = json.loads(answer("laws", "--forms", "--json"))["forms"]
    assert forms[0]["needs"] == ["params", "tokens", "flops", "loss"]


def test_a_papers_name_lists_its_laws_and_a_models_name_will_do() -> None:
    assert "henighan2020/math " in answer("laws", "henighan2020")
    assert answer("laws", "llama3").startswith("grattafiori2024 ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["laws", "besiroglu"], "no law is called 'besiroglu'; did you mean besiroglu2024"),
        (["plan", "--flops", "1e21", "--law", "henighan2020/image-8x8/params"],
         "L(N) = E + (N_c/N)^alpha says nothing of N and D"),
        (["plan", "--flops", "1e21", "--law", "henighan2020/image-8x8/params"],
         "; plan with henighan2020/image-8x8"),
        (["plan", "--flops", "1e21", "--law", "pearce2024"], "only the exponents"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_sentence(arguments: list[str], words: str) -> None:
    done = ask(*arguments)
    assert done.exit_code == 2
    assert not done.stdout
    (message,) = done.stderr.splitlines()
    assert message.startswith("Error: ")
    assert words in message


def test_what_says_no_loss_of_n_and_d_simulates_nothing() -> None:
    done = ask("simulate", "--law", "kaplan2020", "--flops", "1e20")
    assert done.exit_code == 1
    assert "no law of N and D" in done.stderr


def test_a_frontier_plans_without_a_band_and_perhaps_without_a_loss() -> None:
    kaplan = ask("plan", "--flops", "1e21", "--law", "kaplan2020")
    assert "parameters N           7.77B" in kaplan.stdout
    assert "loss                   2.352" in kaplan.stdout
    assert "Nearly as good" not in kaplan.stdout
    assert "note: 6ND is 1.81 times the budget" in kaplan.stderr
    silent = ask("plan", "--flops", "3.8e25", "--law", "llama3")
    assert "389B" in silent.stdout
    assert "The law does not say the loss." in silent.stdout
    assert "nats" not in silent.stdout
    done = ask("plan", "--flops", "3.8e25", "--law", "llama3", "--json")
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert set(document) >= PLAN_KEYS
    assert document["law"] == "grattafiori2024"
    assert document["loss"] is None
    assert document["band"] == []


def test_laws_has_help_with_an_example() -> None:
    assert "  scalefit laws henighan2020/image-32x32" in answer("laws", "-h")
    assert "laws " in answer("--help")


def test_a_process_of_its_own_says_the_same(tmp_path: Path) -> None:
    done = run("laws", "besiroglu2024", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == answer("laws", "besiroglu2024")
