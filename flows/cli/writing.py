"""What `winnow predict` does with a model that writes: the settings, and a text printed as it is written."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flows.cli.numbers import Number

if TYPE_CHECKING:
    from stages.core.contracts import Runner

Command = TypeVar("Command", bound=Callable[..., Any])
Settings = Mapping[str, Any]
"""Those of Generation (stages/core/contracts.py) that are given, by their names."""

NUMBERS: Mapping[str, tuple[click.ParamType, str]] = {
    "max_new_tokens": (click.IntRange(min=1), "The most tokens that a model writes."),
    "beams": (click.IntRange(min=1), "Search so many likely texts side by side, and give the likeliest."),
    "temperature": (Number(min=0), "Draw the tokens: by their probabilities at 1, the likely ones more often below."),
    "top_k": (click.IntRange(min=0), "Draw only from the K likeliest tokens; 0: from all."),
    "top_p": (Number(0, 1, min_open=True), "Draw only from the likeliest tokens that have this probability together."),
    "repetition_penalty": (Number(min=0, min_open=True), "Above 1: tokens that are there already become less likely."),
    "length_penalty": (click.FLOAT, "Of beams: above 0, longer texts are preferred."),
    "seed": (click.IntRange(min=0), "By which tokens are drawn."),
}  # fmt: skip


def options(command: Command) -> Command:
    """The options for models that write; the command is given those that were used as `settings`."""

    @functools.wraps(command)
    def with_settings(*arguments: Any, stop: tuple[str, ...], **others: Any) -> Any:
        given = {name: value for name in NUMBERS if (value := others.pop(name)) is not None}
        return command(*arguments, settings={**given, **({"stop": stop} if stop else {})}, **others)

    decorated: Any = click.option(
        "--stop", metavar="TEXT", multiple=True, help="End before it, where it is written; repeatable."
    )(with_settings)
    for name, (kind, told) in reversed(list(NUMBERS.items())):
        metavar = "K" if name == "top_k" else None
        decorated = click.option(f"--{name.replace('_', '-')}", name, type=kind, metavar=metavar, help=told)(decorated)
    found: Command = decorated
    return found


def as_asked(runner: Runner, folder: Path, settings: Settings) -> Runner:
    """The runner, which writes with these settings where it is a model that does.

    Raises ValueError for settings of one that does not, and for those that do not go together.
    """
    if runner.written is None and not settings:
        return runner
    from stages.backends.runners import as_writer, generation_with

    return as_writer(runner, generation_with(folder, settings))


def show(runner: Runner, folder: Path, settings: Settings, text: str) -> None:
    """Print what is written for a text, piece by piece; on a terminal without characters that could move its cursor."""
    from flows.answering.terminal import in_lines
    from stages.backends.runners import generation_with

    assert runner.stream is not None
    clean = in_lines if sys.stdout.isatty() else str
    for piece in runner.stream(text, generation_with(folder, settings)):
        click.echo(clean(piece), nl=False)
    click.echo()
