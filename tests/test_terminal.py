"""What a terminal shows: plans in a line a stage, Markdown as tables; a pipe gets the Markdown."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import read_terminal
from flow_fixtures import environment

from flows.cli import planned, terminal
from stages.core.paths import Paths

FRESH = {
    "ingest": ("artifacts/raw.parquet is not in DVC's cache", "artifacts/unreadable.parquet is not in DVC's cache"),
    "clean": ("artifacts/raw.parquet is missing", "artifacts/clean.parquet is not in DVC's cache", "after ingest"),
    "compare": ("a.parquet is missing", "after evaluate@baseline, evaluate@teacher, evaluate@student"),
}


def test_a_plan_is_a_line_a_stage_and_says_how_to_see_the_rest() -> None:
    assert planned.as_text(FRESH, of=4).splitlines() == [
        "ingest   2 of its files are not here",
        "clean    2 of its files are not here; after ingest",
        "compare  a.parquet is missing; after evaluate@baseline, evaluate@teacher and 1 more",
        "",
        "`winnow plan --verbose` gives each reason in full.",
    ]
    assert planned.as_text(FRESH, of=3, verbose=True).count("\n") == 6


def test_a_plan_of_a_fresh_clone_is_one_line_as_is_that_of_a_project_in_which_nothing_has_run() -> None:
    fresh, how = planned.as_text(FRESH, of=3).splitlines()
    assert fresh.startswith("All 3 stages would run: dvc.lock has their results, but their files are not here,")
    assert how == "`winnow plan --verbose` gives each by itself."
    never = {"ingest": ("it has never run",), "clean": ("it has never run", "after ingest")}
    assert planned.as_text(never, of=2).splitlines()[0] == "All 2 stages would run: none has ever run."
    changed = {**FRESH, "clean": ("seed: 1 -> 2", "after ingest")}
    assert planned.as_text(changed, of=3).startswith("ingest   2 of its files are not here\n")


def test_what_changed_comes_before_what_only_follows_and_no_reason_is_folded_where_there_is_one_of_a_kind() -> None:
    changed = ("x.txt is missing", "after clean", "seed: 1 -> 2", "a.py changed", "b.py changed")
    assert list(planned.folded(changed)) == [
        "seed: 1 -> 2", "a.py changed", "1 more change", "x.txt is missing", "after clean",
    ]  # fmt: skip
    assert planned.as_text({"clean": ("seed: 1 -> 2",)}, of=1) == "clean  seed: 1 -> 2"


def test_a_plan_says_what_its_stages_took_here_last_time_as_far_as_that_is_known(tmp_path: Path) -> None:
    assert planned.time_of(tmp_path, []) is None
    assert planned.time_of(tmp_path, FRESH) == "How long that takes is unknown: none of these stages has run here."
    paths = Paths(tmp_path)
    paths.seconds("ingest").parent.mkdir(parents=True)
    paths.seconds("ingest").write_text("61.5\n")
    assert planned.time_of(tmp_path, FRESH) == "62 s is what 1 of these 3 stages took here last time."
    paths.seconds("clean").write_text("3600.0\n")
    paths.seconds("compare").write_text("torn")
    assert planned.time_of(tmp_path, ["ingest", "clean"]) == "61 min is what these took here last time."
    assert planned.time_of(tmp_path, FRESH) == "61 min is what 2 of these 3 stages took here last time."


MARKDOWN = """\
<!-- winnow: review -->

| step | rows | such as |
| --- | --- | --- |
| source | 12 | <code>row-1</code> one<br>two &lt;b&gt; @\u2060you \x1b[31mred |

<details><summary>The gate</summary>

All is well.

</details>
"""


def test_on_a_terminal_markdown_is_drawn_and_no_text_of_anybodys_commands_it() -> None:
    stream = io.StringIO()
    terminal.draw(MARKDOWN, stream, width=100)
    shown = stream.getvalue()
    assert "row-1 one / two <b> @you" in shown
    assert "The gate" in shown
    assert not any(sign in shown for sign in ("|", "<details>", "</", "winnow: review", "\x1b[31m", "\u2060"))
    assert [line.index("rows") for line in shown.splitlines() if "step" in line] == [
        line.index("12") for line in shown.splitlines() if "source" in line
    ]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_no_colour_is_shown_to_who_wants_none(no_color: str, coloured: bool) -> None:
    code = "from flows.cli.terminal import show, shows_colour; print(shows_colour()); show('`code`', as_it_is=False)"
    more = environment(TERM="xterm-256color", NO_COLOR=no_color)
    master, slave = pty.openpty()
    subprocess.run([sys.executable, "-c", code], env=more, stdout=slave, check=True)
    os.close(slave)
    shown = read_terminal(master).decode()
    assert shown.startswith(str(coloured))
    assert bool(re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-9]([;m])", shown)) is coloured


@pytest.mark.parametrize(("option", "drawn"), [("", True), ("--markdown", False)])
def test_a_terminal_gets_tables_and_a_pipe_markdown(tmp_path: Path, option: str, drawn: bool) -> None:
    code = f"from flows.cli.terminal import show; show('| a | b |\\n| - | - |\\n| 1 | 2 |', as_it_is={bool(option)})"
    command = [sys.executable, "-c", code]
    piped = subprocess.run(command, env=environment(), capture_output=True, check=True, text=True)
    assert piped.stdout.startswith("| a | b |")
    master, slave = pty.openpty()
    subprocess.run(command, env=environment(TERM="dumb"), stdout=slave, check=True)
    os.close(slave)
    shown = read_terminal(master).decode()
    assert ("| a | b |" not in shown) is drawn
    assert "1" in shown
