"""Write docs/reference/cli.md from what every command says with --help.

python docs/reference.py
"""

import sys
from pathlib import Path

import click
from click.testing import CliRunner

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
PLACE = HERE / "reference" / "cli.md"
WIDTH = 100


def main() -> None:
    """Write the page."""
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(page())


def page() -> str:
    """The page: the list of commands, then each with its options."""
    from cli import SECTIONS, cli

    lines = [
        "# Command line",
        "",
        "What `scalefit COMMAND --help` says; this page is generated from it. stdout is the "
        "answer, stderr everything else; every command that answers has `--json`. What was asked "
        "wrongly exits 2, what cannot be done exits 1, Ctrl-C exits 130.",
        "",
        "```text",
        said(cli, []),
        "```",
    ]
    for section, entries in SECTIONS.items():
        lines += ["", f"## {section}"]
        for entry in entries:
            lines += [
                "",
                f"### scalefit {entry.name}",
                "",
                "```text",
                said(cli, [entry.name]),
                "```",
            ]
    return "\n".join(lines) + "\n"


def said(group: click.Group, command: list[str]) -> str:
    """The help of a command, at one width on every machine."""
    done = CliRunner().invoke(
        group, [*command, "--help"], prog_name="scalefit", terminal_width=WIDTH, env={}
    )
    assert done.exit_code == 0, done.output
    return "\n".join(line.rstrip() for line in done.output.strip().splitlines())


if __name__ == "__main__":
    main()
