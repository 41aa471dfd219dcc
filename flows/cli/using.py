"""The commands about a finished model's answers: when to withhold them, where they err, what made one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.answering.how import MODEL
from flows.cli import completion
from flows.cli.numbers import Number
from flows.cli.project import print_json, root_here
from flows.cli.terminal import shows_colour

if TYPE_CHECKING:
    from flows.answering.errors import WrongRows
    from flows.answering.explaining import Explanation
    from flows.answering.threshold import Fitted

SHOWN, WRITTEN = 20, 500  # wrong answers, printed and in a file
WIDTH = 100  # characters of a text that is printed
_model_name = click.option(
    "--model", metavar="NAME", default=MODEL, show_default=True, shell_complete=completion.models,
    help="One of the project's models.",
)  # fmt: skip


@click.command()
@_model_name
@click.option(
    "--risk", type=Number(0, 1, min_open=True, max_open=True), metavar="SHARE",
    help="Propose the threshold with which no more of the answers are wrong: 0.05, say.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as a JSON object.")
def threshold(model: str, risk: float | None, as_json: bool) -> None:
    """Show how often the model errs among the answers that it is surest of, on the validation rows.

    One line a threshold: the share of rows that `winnow predict --threshold` would still answer, and how many of these
    answers are wrong. Exits with 1 where no threshold reaches the wanted risk.
    """
    root = root_here()
    from flows.answering.threshold import fit
    from stages.core.paths import Paths

    fitted = fit(Paths(root), _known(root, model), risk)
    if as_json:
        print_json(
            {
                "score": fitted.score,
                "separates": fitted.separates,
                "curve": [one._asdict() for one in fitted.curve],
                "proposed": fitted.proposed and fitted.proposed._asdict(),
                "proposed_on_test": fitted.on_test and fitted.on_test._asdict(),
            }
        )
    else:
        click.echo("\n".join(_told(fitted)))
    if risk is not None and fitted.proposed is None:
        raise click.ClickException(
            f"no threshold keeps the risk under {risk:.1%} for sure, on enough of the validation rows. Allow more, or"
            " add validation rows."
        )


def _known(root: Path, model: str) -> str:
    """The model's name. Raises ClickException where the project has not made it."""
    from stages.core.paths import MODELS, Paths

    if model not in MODELS:
        raise click.UsageError(f"--model {model}: allowed are {', '.join(MODELS)}.")
    if not Paths(root).model(model).is_dir():
        raise click.ClickException(f"no artifacts/models/{model} yet. Run `winnow reproduce`.")
    return model


def _told(fitted: Fitted) -> list[str]:
    """The table and the proposal, line by line."""
    lines = [f"{'threshold':>9}  {'answered':>8}  {'rows':>7}  {'wrong':>6}  interval"]
    lines += [
        f"{one.threshold:9.4f}  {one.coverage:8.1%}  {one.rows:7,}  {one.risk:6.1%}  {one.low:.1%} to {one.high:.1%}"
        for one in fitted.curve
    ]
    lines.append(f"\nOf validation rows; wrong: 1 - {fitted.score} of the answers given.")
    if fitted.separates is not None:
        lines.append(f"A right answer is surer than a wrong one in {fitted.separates:.1%} of pairs (AUROC).")
    if (one := fitted.proposed) is not None:
        lines.append(f"Proposed: --threshold {one.threshold:g}, which answers {one.coverage:.1%} of the rows;")
        lines.append(f"  {one.risk:.1%} of these answers are wrong ({one.low:.1%} to {one.high:.1%}).")
        if (test := fitted.on_test) is not None:
            lines.append(f"  On the test rows it answers {test.coverage:.1%}, of which {test.risk:.1%} are wrong.")
    return lines


@click.command()
@_model_name
@click.option(
    "-o", "--output", "outs", metavar="OUT", multiple=True,
    help="A file for all of them: .html is a page, csv, tsv, jsonl (also with .gz) and parquet are tables; repeatable.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=1), help=f"Rows at most.  [default: {WRITTEN} with -o, {SHOWN} without]"
)
@click.option(
    "--neighbours", type=click.IntRange(min=0), default=3, show_default=True, help="Training rows beside each."
)
def errors(model: str, outs: Sequence[str], limit: int | None, neighbours: int) -> None:
    """Show the test rows that the model answers wrongly, those that it is surest of first.

    Each with its truth, the answer, how sure the model is, the slices that it is of, and the training rows that are
    nearest to it in words. They are a list to look at, not one to choose by: what was changed because of test rows is
    no more measured by them.
    """
    root = root_here()
    from flows.answering.errors import NUMBERS, as_rows, wrong_rows
    from flows.answering.errors_page import render
    from flows.answering.terminal import cleaned, shortened
    from flows.answering.writing import ENDINGS, PAGE, refuse_out, write_page
    from flows.labelling.lists import write_list
    from stages.core.paths import Paths

    for out in outs:
        refuse_out(out, "-", (PAGE,) if out.lower().endswith(PAGE) else ENDINGS)
    found = wrong_rows(
        Paths(root), _known(root, model), limit=limit or (WRITTEN if outs else SHOWN), neighbours=neighbours
    )
    for out in outs:
        if out.lower().endswith(PAGE):
            write_page(out, render(found))
        else:
            write_list(out, as_rows(found), NUMBERS)
        click.echo(f"Written: {out}", err=True)
    if not outs:
        for row in found.rows:
            sure = "" if row.confidence is None else f"{row.confidence:.4f}\t"
            parts = (row.answer_words, f"not {row.truth_words}", shortened(row.text, WIDTH))
            click.echo(sure + "\t".join(map(cleaned, parts)))
    click.echo(f"winnow: {found.told}{_rest(found, is_written=bool(outs))}", err=True)


def _rest(found: WrongRows, *, is_written: bool) -> str:
    """How many of the wrong answers are not here, and how they are had."""
    here = len(found.rows)
    if here == found.wrong:
        return ""
    if is_written:
        return f" {here:,} of them are written; all with --limit {found.wrong}."
    more = "all" if found.wrong <= WRITTEN else f"{WRITTEN:,}"
    return f" {here:,} of them are shown; {more} with -o FILE, or as many as --limit says."


@click.command()
@click.argument("text", metavar="TEXT")
@click.option("--pair", metavar="TEXT", help="The second text, for a model of pairs.")
@click.option("-o", "--output", "out", metavar="OUT.html", help="Write it as a page, too.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object: each word with its place and its weight.")
@click.option("--model", metavar="DIR", help="A model's folder; without it the project's artifacts/models/quantized.")
@click.option("--threads", type=click.IntRange(min=1), help="Without it: as many as there are cores.")
def explain(
    text: str, pair: str | None, out: str | None, as_json: bool, model: str | None, threads: int | None
) -> None:
    """Show which words of TEXT made the answer: what becomes of it without them.

    A word's weight is how much the probability of the answer falls where the word is left out. The line below the text
    checks it: what the probability is without the five words that weigh most, and without five drawn at random.
    """
    if not text.strip() or (pair is not None and not pair.strip()):
        raise click.UsageError("There is nothing to explain: the text is empty.")
    if out is not None:
        from flows.answering.writing import PAGE, refuse_out

        refuse_out(out, "-", (PAGE,))
    from flows.answering.explaining import explained
    from flows.cli.predicting import folder_of
    from stages.backends.runners import open_runner
    from stages.core.machine import cores

    runner = open_runner(folder_of(model), threads=threads or cores())
    found = explained(runner, text if pair is None else (text, pair))
    if out is not None:
        from flows.answering.explained_page import render
        from flows.answering.writing import write_page

        write_page(out, render(found))
        click.echo(f"Written: {out}", err=True)
    if as_json:
        print_json(found.as_json())
    else:
        _show(found)


def _show(found: Explanation) -> None:
    """The text in colour on a terminal; in a pipe, or with NO_COLOR, a line a word: its weight, the word."""
    import sys

    from flows.answering.explained_text import coloured, plain

    if shows_colour():
        coloured(found, sys.stdout)
    else:
        click.echo("\n".join(plain(found)))
