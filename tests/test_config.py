"""Options from the command line, the environment and a file, in that order."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import SECTIONS, cli


def ask(*arguments: str, code: int = 0, **env: str) -> str:
    done = CliRunner().invoke(cli, arguments, env=env)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def shown(*arguments: str, **env: str) -> dict[str, dict[str, object]]:
    options = json.loads(ask("--show-config", *arguments, "--json", **env))["options"]
    assert isinstance(options, dict)
    return options


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "scalefit.toml"


def test_the_command_line_beats_the_environment_which_beats_the_file(place: Path) -> None:
    place.write_text('[fit]\nlevel = 0.8\nform = "generalised"\ntie = ["alpha=beta"]\nseed = 3\n')
    found = shown("fit", "x.csv", "--level", "0.6", SCALEFIT_FIT_LEVEL="0.7", SCALEFIT_FIT_SEED="4")
    assert found["--level"] == {"value": 0.6, "from": "command line"}
    assert found["--seed"] == {"value": 4, "from": "SCALEFIT_FIT_SEED"}
    assert found["--form"] == {"value": "generalised", "from": "scalefit.toml"}
    assert found["--tie"] == {"value": [["alpha", "beta"]], "from": "scalefit.toml"}
    assert found["--objective"] == {"value": "huber-log", "from": "default"}
    assert found["PATH"] == {"value": "x.csv", "from": "command line"}


def test_a_file_named_with_config_takes_the_place_of_the_folders(place: Path) -> None:
    place.write_text("[plan]\nmfu = 0.2\n")
    place.with_name("mine.toml").write_text('[plan]\nmfu = 0.3\ngpu = "h100"\n')
    assert shown("plan")["--mfu"] == {"value": 0.2, "from": "scalefit.toml"}
    options = json.loads(ask("--config", "mine.toml", "--show-config", "plan", "--json"))["options"]
    assert options["--mfu"] == {"value": 0.3, "from": "mine.toml"}
    assert options["--gpu"]["value"] == "h100"


def test_what_is_stated_is_used(place: Path) -> None:
    law = ("plan", "--flops", "1e21", "--law", "besiroglu2024", "--json")
    wider = json.loads(ask(*law, SCALEFIT_PLAN_MAX_PARAMS="1e9"))
    assert wider["params"]["value"] == pytest.approx(1e9)
    place.write_text("[plan]\nmax-params = 5e8\n")
    assert json.loads(ask(*law))["params"]["value"] == pytest.approx(5e8)


def test_shown_as_text_every_option_has_its_value_and_where_it_comes_from(place: Path) -> None:
    del place
    text = ask("--show-config", "plan", "--flops", "1e21,1e22")
    assert "--flops             1e+21, 1e+22" in text
    assert "-                     default" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fit]\nlevle = 0.9\n", "has no option levle; did you mean level?"),
        ("[fti]\nlevel = 0.9\n", "[fti] is no command of scalefit; did you mean fit?"),
        ("fit = 3\n", "write [fit] and the options of it below"),
        ("[fit\n", "is not valid TOML"),
        ("[fit]\nlevel = 3\n", "--level"),
    ],
)
def test_a_wrong_file_is_one_sentence(place: Path, text: str, said: str) -> None:
    place.write_text(text)
    error = ask("fit", "x.csv", code=2)
    assert said in error
    assert "Traceback" not in error


def test_a_file_that_is_not_there_is_said(place: Path) -> None:
    del place
    assert "no.toml cannot be read" in ask("--config", "no.toml", "fit", "x.csv", code=2)


def test_every_command_of_the_list_is_there_and_says_what_it_does() -> None:
    for entries in SECTIONS.values():
        for entry in entries:
            command = cli.get_command(click.Context(cli), entry.name)
            assert command is not None
            assert command.name == entry.name
            assert command.help
            assert entry.about.endswith(".")
            assert entry.name in ask("--help")
