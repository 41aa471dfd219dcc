"""What `winnow predict` does with a whole file: which argument is one, and its answers written to another."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from flows.cli.numbers import Number

if TYPE_CHECKING:
    from stages.core.contracts import Runner
    from stages.tasks.contract import TaskAnswers

Command = TypeVar("Command", bound=Callable[..., Any])

SOME_UNANSWERED = 3  # the exit code where rows of a file have no answer


class Wanted(NamedTuple):
    """What is wanted beside the answer."""

    top: int | None
    threshold: float | None


def options(command: Command) -> Command:
    """The options of `winnow predict` for files of answers, and for answers in another shape."""
    for option in (
        click.option(
            "--threshold", type=Number(0, 1), metavar="SHARE",
            help="No answer where the confidence is less; `winnow threshold` proposes one.",
        ),
        click.option(
            "--top", type=click.IntRange(min=1), metavar="K", help="The K likeliest labels, each with its probability."
        ),
        click.option(
            "-o", "--output", "out", metavar="OUT",
            help="A file for the rows with their answers: csv, tsv, jsonl (also with .gz) or parquet; - is csv here.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def named_file(texts: tuple[str, ...]) -> str | None:
    """The file that the arguments name: one argument alone, which is a file. None: they are texts.

    Raises FileNotFoundError for the name of a table that is not there.
    """
    if len(texts) != 1:
        return None
    (text,) = texts
    try:
        if Path(text).is_file():
            return text
    except OSError:  # too long for a name
        return None
    if not re.fullmatch(r"\S+\.\w+", text):
        return None  # and what reads files is not loaded for a text
    from flows.cli.asked import TABLES

    endings = "|".join(map(re.escape, TABLES))
    if re.fullmatch(rf"\S+({endings})(\.gz)?", text, re.IGNORECASE):  # what is meant as the name of a table
        raise FileNotFoundError(
            f"there is no file {text}. Give the path of one, or a text with more than a name in it."
        )
    return None


def shaped(task: TaskAnswers, name: str, wanted: Wanted) -> TaskAnswers:
    """The task `name` with its answers in the wanted shape. Raises ValueError where it cannot have it."""
    if wanted == (None, None):
        return task
    from flows.answering import shaped as shapes
    from stages.core import plugins
    from stages.tasks import TASKS

    noun = plugins.part(TASKS, name, "settings", key="task.name").noun
    if wanted.threshold is not None:
        shapes.refuse_threshold(task, noun)
        task = shapes.abstaining(task, wanted.threshold)
    if wanted.top is not None:
        shapes.refuse_top(task, noun)
        task = shapes.with_top(task, wanted.top)
    return task


def refuse(out: str, file: str | None, *, as_json: bool) -> None:
    """Raise ValueError, FileNotFoundError or UsageError where answers cannot be written to `out`."""
    if file is None:
        raise click.UsageError("-o is for the rows of a file: give its name in the place of TEXT.")
    if as_json:
        raise click.UsageError("--json is of answers that are printed: OUT's ending says how it is written (.jsonl).")
    from flows.answering.writing import refuse_out

    refuse_out(out, file)


def answer_file(
    file: str, out: str, runner: Runner, task: TaskAnswers, wanted: Wanted, *,
    text: str | None, text_pair: str | None, are_pairs: bool, of_images: bool,
) -> None:  # fmt: skip
    """Write the rows of `file` with their answers to `out`, and tell how many have none.

    Exits with 0 where all are answered, with 3 where some could not be, and with 1 where none could.
    """
    from flows.answering.bar import Bar
    from flows.answering.filling import Asking, fill
    from flows.answering.reading import open_lines, open_table
    from flows.cli import asked

    def tell(news: str) -> None:
        click.echo(f"winnow: {news}", err=True)

    is_table, was_there = asked.is_table(file), out != "-" and Path(out).exists()
    bar = Bar(file, is_sized=is_table)
    try:
        if is_table:
            source = open_table(file, asked.columns_of(text, text_pair, are_pairs=are_pairs), bar.opener, tell)
        else:
            source = open_lines(file, are_pairs=are_pairs)
        asking = Asking(runner, task, are_pairs, of_images, wanted.threshold, wanted.top or 0)
        filled = fill(source, asking, out, bar.add)
    finally:
        bar.close()
    rows = filled.unanswered
    if out != "-":
        without = rows.reasons.total() + filled.withheld
        count = f"{rows.rows - without:,} of {rows.rows:,}" if without else f"{rows.rows:,}"
        replaced = "; what stood there is replaced" if was_there else ""
        click.echo(f"Written: {out}, {count} {'row' if rows.rows == 1 else 'rows'} answered{replaced}", err=True)
    if filled.withheld:
        tell(f"{filled.withheld:,} of {rows.rows:,} answers are withheld: under --threshold {wanted.threshold:g}.")
    if rows.are_all:
        raise click.ClickException(str(rows))
    if told := str(rows):
        tell(told)
        raise click.exceptions.Exit(SOME_UNANSWERED)
