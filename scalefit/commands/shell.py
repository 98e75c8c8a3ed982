"""Completion of commands, options and names in a shell."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem, get_completion_class

from scalefit.commands.terminal import command, say

VARIABLE = "_SCALEFIT_COMPLETE"
FILES = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/scalefit.fish",
}
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completed_by(names: Callable[[], Iterable[str]]) -> Complete:
    """Completes an argument by these names, and by files; the names are asked for when needed."""

    def complete(
        _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in names() if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]

    return complete


def law_names() -> Iterable[str]:
    """The laws of the literature."""
    from scalefit.laws.literature import entries

    return [entry.name for entry in entries()]


def study_names() -> Iterable[str]:
    """The studies."""
    from importlib import import_module

    names: Iterable[str] = import_module("trainers.study").studies()
    return names


def grid_names() -> Iterable[str]:
    """The grids that ship."""
    from importlib import import_module

    names: Iterable[str] = import_module("trainers.grid").shipped()
    return names


def device_names() -> Iterable[str]:
    """The accelerators that are known."""
    from scalefit.planning.hardware import devices

    return sorted({one.key for one in devices().values()})


@command("completion")
@click.argument("shell", type=click.Choice(list(FILES)))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the lines that complete scalefit's commands, options and names in a SHELL.

    \b
    eval "$(scalefit completion bash)"          # for this shell; in ~/.bashrc for all
    scalefit completion fish > ~/.config/fish/completions/scalefit.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "scalefit", VARIABLE).source())
    say([f"to have it in every shell, put it into {FILES[shell]}"])
