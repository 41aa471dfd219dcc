"""docs/tutorial.md: every command is typed for real (slow), and what the page shows is what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import tutorial_run
from conftest import REPOSITORY, edit_params, make_tiny
from tutorial_run import Step, Terminal, differences, renewed, run_page, steps_of

from flows.cli.commands import cli

PAGE = (REPOSITORY / "docs/tutorial.md").read_text(encoding="utf-8")
SMALL = """# A page
```console
$ mkdir here && cd here
$ pwd
~/here
$ seq 3
1
...
$ (echo ready; sleep 600) &
ready
```
Text.
```console varies
$ false
```
"""
LINES = ["epoch 1: 0.512 in 3.1 s", "epoch 2: 0.6 in 12:01", "written: ~/a/0a1b2c3d4e5f"]


def test_the_commands_of_a_page_are_taken_with_what_is_below_them() -> None:
    steps = list(steps_of(SMALL))
    assert [(step.command, step.shown) for step in steps][1:] == [
        ("pwd", ["~/here"]), ("seq 3", ["1", "..."]), ("(echo ready; sleep 600) &", ["ready"]), ("false", []),
    ]  # fmt: skip
    assert [step.varies for step in steps] == [False, False, False, False, True]
    assert steps[2].write(SMALL, ["a", "b"]) == SMALL.replace("1\n...\n", "a\nb\n")


def test_commands_run_one_after_the_other_in_the_folder_that_they_change_to(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home")
    done = [printed for _, printed in run_page(SMALL, terminal)]
    assert [printed.code for printed in done] == [0, 0, 0, None, 1]
    assert done[1].lines == ["~/here"]
    assert done[2].lines == ["1", "2", "3"]
    [server] = terminal.going_on
    assert server.poll() is not None


@pytest.mark.parametrize(
    ("shown", "differs"),
    [
        (["epoch 3: 0.1 in 4 s", "epoch 1: 0.9 in 0:20", "written: ~/a/ffffffffffff"], []),
        (["epoch 1: 0.512 in 3.1 s", "..."], []),
        (["...", "written:   ~/a/0a1b2c3d4e5f"], []),
        ([], []),  # nothing is shown of it
        (["epoch 1: 0.512 in 3.1 s"], ["not shown: epoch 2: 0.6 in 12:01"]),
        (["written: ~/a/0a1b2c3d4e5f"], ["not shown: epoch 1: 0.512 in 3.1 s"]),
        (["...", "step 1: 0.5 in 3.1 s", "..."], ["not printed: step 1: 0.5 in 3.1 s"]),
    ],
)
def test_numbers_and_hashes_may_differ_and_nothing_else(shown: list[str], differs: list[str]) -> None:
    assert list(differences(shown, LINES)) == differs


def test_what_is_left_out_stays_so_when_a_page_is_written_again() -> None:
    assert renewed(["epoch 7: 0.7 in 9 s", "...", "written: ~/a/aaaaaaaa"], LINES) == [LINES[0], "...", LINES[2]]
    assert renewed(["something else"], LINES) == LINES


def test_the_tutorial_names_commands_and_options_that_there_are() -> None:
    asked = [step.command for step in steps_of(PAGE) if step.command.startswith("winnow ")]
    assert {command.split()[1] for command in asked} >= {
        "init", "check", "reproduce", "errors", "threshold", "review", "retrain", "serve", "predict", "app",
    }  # fmt: skip
    for line in asked:
        name, *arguments = shlex.split(line.removesuffix(" &"))[1:]
        command = cli.commands[name]
        command.make_parser(click.Context(command)).parse_args(arguments)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_tutorial_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tutorial_run, "PATIENCE", 300)
    terminal = Terminal(tmp_path / "home")
    (terminal.home / ".gitconfig").write_text("[user]\n\tname = Kim\n\temail = kim@example.org\n")

    def smaller(step: Step) -> None:
        """A tiny model in the place of the pretrained one, once there is a project."""
        if step.command.startswith("winnow init"):
            project = terminal.home / "tickets"
            make_tiny(project)
            edit_params(
                project, model__name=str(project / "tiny"), tokenize__max_tokens=64, tokenize__tokenizer="trained",
                tokenize__vocabulary_size=400, finetune__epochs=4,
            )  # fmt: skip

    wrong = []
    for step, printed in run_page(PAGE, terminal, smaller):
        allowed = (0, 1) if re.match(r"winnow (threshold|retrain)", step.command) else (0, None)
        if printed.code not in allowed:
            raise AssertionError(f"{step.command} ended with {printed.code}:\n" + "\n".join(printed.lines))
        if not step.varies:
            wrong += [f"{step.command}: {line}" for line in differences(step.shown, printed.lines)]
    assert wrong == []
