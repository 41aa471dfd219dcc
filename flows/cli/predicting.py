"""The command `predict`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.answering import terminal
from flows.cli import answering, images, writing
from flows.running.masking import masked
from flows.running.root import find_root

if TYPE_CHECKING:
    from flows.cli.answers import Row

DEFAULT_MODEL = "artifacts/models/quantized"


@dataclass(frozen=True)
class Project:
    """What the whole of Winnow knows of a project, and the light install does not: the object of click's context."""

    outdated: Callable[[Path, str], str | None]
    """outdated(root, model): what is to be told of a model that was made with other parameters."""


@click.command(cls=images.WithLabels)
@click.argument("texts", metavar="[TEXT]...|FILE|IMAGE...", nargs=-1)
@click.option(
    "--pair", "pairs", metavar="TEXT", multiple=True, help="The second text, for a model of pairs; one a TEXT."
)
@click.option(
    "--file", "file", metavar="FILE",
    help="The same as FILE; - is the standard input.",
)  # fmt: skip
@click.option("--text-column", metavar="NAME", help="Of such a table; without it, ingest.columns.text of params.yaml.")
@click.option("--text-pair-column", metavar="NAME", help="The second text's; without it, ingest.columns.text_pair.")
@click.option(
    images.LABELS, "labels", metavar="LABEL...", multiple=True,
    help="Of IMAGE: the labels among which it is asked for; all that follows, up to the next option.",
)  # fmt: skip
@click.option(
    "--template", "templates", metavar="TEXT", multiple=True,
    help="How a label is said, as 'a drawing of a {}'; repeatable: the mean of all is taken.",
)  # fmt: skip
@answering.options
@writing.options
@click.option("--json", "as_json", is_flag=True, help="A JSON object a text, with all that the model says of it.")
@click.option("--model", metavar="DIR", help=f"A model's folder; without it the project's {DEFAULT_MODEL}.")
@click.option("--threads", type=click.IntRange(min=1), help="Without it: as many as there are cores.")
def predict(
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    file: str | None,
    text_column: str | None,
    text_pair_column: str | None,
    labels: tuple[str, ...],
    templates: tuple[str, ...],
    out: str | None,
    top: int | None,
    threshold: float | None,
    settings: writing.Settings,
    as_json: bool,
    model: str | None,
    threads: int | None,
) -> None:
    """Answer each TEXT, or each row of FILE: csv, tsv, jsonl or parquet (also with .gz), or else lines of text.

    With -o, the rows are written to OUT with all their columns, and `answer`, `probability` (how sure the model is of
    the whole answer) and `error` (why a row has none) beside them. OUT appears when all is done. The exit code is 3
    where some rows could not be answered.

    Without it, prints a line a text, in their order: the answer and the text (of a pair, both), with tabs between. An
    answer is a label and its probability, or the spans that were found, each with its type; of a model of vectors how
    similar the two texts of a pair are, or the vector of a TEXT alone. Each run of white space inside a text is printed
    as one space. A line of text holds a text, or of a pair both with a tab between.

    A row of a file that is empty or cannot be read is answered with null, so that answers and rows never shift; how
    many there are is told on stderr. An empty line between the rows of a csv or jsonl is no row, and has no answer.
    Exits with 1 where no row has an answer.

    A model that writes answers with what it writes behind each TEXT, or for it. Of one TEXT alone it is printed as it
    comes, and with several, or --json, in lines as above. How it writes is recorded in the model; the options
    from --max-new-tokens to --stop change that.

    A model of images and texts answers each IMAGE, a png, jpeg, webp or gif, with the likeliest of --labels and how
    likely that is among them; without --labels with its vector.
    """
    if labels or templates or (images.are_images(texts) and not pairs):
        others = {"--pair": pairs, "--file": file, "-o": out, "--top": top, "--threshold": threshold}
        others |= {f"--{name.replace('_', '-')}": given for name, given in settings.items()}
        _answer_images(folder_of(model), texts, labels, templates, others, threads, as_json=as_json)
        return
    texts, file = _given(texts, pairs, file)
    if out is not None:
        answering.refuse(out, file, as_json=as_json)
    folder = folder_of(model)
    from flows.cli import answers
    from stages.backends.runners import reading_files
    from stages.core.machine import cores
    from stages.core.model_folder import describe, reads_apart, reads_images, wants_pairs
    from winnow import opened

    wanted, are_pairs = answering.Wanted(top, threshold), False
    if file is not None:
        about = describe(folder)
        are_pairs = wants_pairs(about) or (reads_apart(about) and text_pair_column is not None)
        rows = _rows_of(file, text_column, text_pair_column, are_pairs=are_pairs)
    elif text_column or text_pair_column:
        raise click.UsageError("--text-column and --text-pair-column are about a --file.")
    else:
        given = _not_empty(texts, "text")
        rows = answers.rows_of_texts(zip(given, _not_empty(pairs, "--pair"), strict=True) if pairs else given)
    unanswered = answers.Unanswered()
    runner, task = opened(folder, threads=threads or cores())
    of_table = Path(file).parent if file not in (None, "-") else None  # from where a file names images, as in training
    runner = writing.as_asked(reading_files(runner, folder, of_table), folder, settings)
    shaped = answering.shaped(task, runner.task, wanted)  # refuses what the task cannot have
    if file is not None and out is not None:
        answering.answer_file(
            file, out, runner, task, wanted, text=text_column, text_pair=text_pair_column, are_pairs=are_pairs,
            of_images=reads_images(about),
        )  # fmt: skip
        return
    if runner.stream is not None and file is None and len(texts) == 1 and not pairs and not as_json:
        writing.show(runner, folder, settings, *_not_empty(texts, "text"))
        return
    shown = terminal.in_lines if sys.stdout.isatty() else str  # texts of others could move the cursor
    for line in answers.answers(rows, runner, shaped, unanswered, as_json=as_json):
        click.echo(shown(line))
    if unanswered.are_all:
        raise click.ClickException(str(unanswered))
    if told := str(unanswered):
        click.echo(f"winnow: {told}", err=True)


def _answer_images(
    folder: Path, paths: tuple[str, ...], labels: tuple[str, ...], templates: tuple[str, ...],
    others: Mapping[str, object], threads: int | None, *, as_json: bool,
) -> None:  # fmt: skip
    """Print a line an image. Raises UsageError for options of other answers, and where something is missing."""
    if wrong := [option for option, given in others.items() if given not in (None, ())]:
        raise click.UsageError(f"{wrong[0]} is not for images: leave it out, or {images.LABELS}.")
    if not paths:
        raise click.UsageError(f"Nothing to answer: give IMAGE before {images.LABELS}.")
    if labels:
        lines = images.labelled(images.opened(folder, threads), paths, labels, templates, as_json=as_json)
    elif templates:
        raise click.UsageError(f"--template says how a label is said: give {images.LABELS}.")
    else:
        lines = images.vectors(images.opened(folder, threads), paths, as_json=as_json)
    for line in lines:
        click.echo(line)


def _given(texts: tuple[str, ...], pairs: tuple[str, ...], file: str | None) -> tuple[tuple[str, ...], str | None]:
    """The texts, or the file; one text alone may be the name of a file. Raises UsageError for both, and for none."""
    if file is None and not pairs and (named := answering.named_file(texts)) is not None:
        return (), named
    if bool(texts) == (file is not None):
        raise click.UsageError("Give either TEXT or --file." if texts else "Nothing to answer: give TEXT or --file.")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(f"{len(pairs)} --pair for {len(texts)} TEXT. Give each TEXT one --pair, in their order.")
    return texts, file


def folder_of(model: str | None) -> Path:
    """The model's folder; of the project's own it is told where parameters have changed since it was made.

    Raises ClickException where the project has made none yet.
    """
    if model is not None:
        return Path(model)
    root = find_root(Path.cwd())
    if not (root / DEFAULT_MODEL).is_dir():
        raise click.ClickException(f"no {DEFAULT_MODEL} yet. Run `winnow reproduce`, or name a folder with --model.")
    context = click.get_current_context(silent=True)
    if context and (known := context.find_object(Project)) and (told := known.outdated(root, DEFAULT_MODEL)):
        click.echo(f"winnow: {masked(told)}", err=True)
    return root / DEFAULT_MODEL


def _rows_of(file: str, text: str | None, text_pair: str | None, *, are_pairs: bool) -> Iterator[Row]:
    """The rows of a file, a table or lines. Raises UsageError where the options do not fit it or the model."""
    from flows.cli import asked

    if text_pair and not are_pairs:
        raise click.UsageError("The model is of single texts: leave --text-pair-column out.")
    if asked.is_tagged(file):
        raise click.UsageError(f"{file} holds words with tags. Allowed: texts, a line each, or a table of them.")
    if asked.is_table(file):
        return asked.rows_of_table(file, asked.columns_of(text, text_pair, are_pairs=are_pairs))
    if text or text_pair:
        endings = ", ".join(asked.TABLES)
        raise click.UsageError(f"{file} is read as lines of text, which have no columns. A table ends in {endings}.")
    return asked.rows_of_lines(file, are_pairs=are_pairs)


def _not_empty(texts: Iterable[str], unit: str) -> Iterator[str]:
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise ValueError(f"{unit} {number} is empty. Give every {unit} something to answer.")
        yield text
