"""The commands of `winnow label`: rows worth a label, labels that are doubted, and what a person says of them."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flows.cli.project import root_here

if TYPE_CHECKING:
    from flows.labelling.doubting import DoubtedRows
    from flows.labelling.keeping import Kept
    from flows.labelling.proposing import Proposal
    from flows.labelling.taking import Checked, Taken
    from stages.core.params.file import Params
    from stages.core.paths import Paths
    from stages.tasks.shared.labelling import TaskLabelling

SHOWN, WIDTH = 20, 100  # rows, and characters of a text, on a terminal
SOME_WRONG = 3  # the exit code where some rows of a list could not be taken
NEXT = "Fill the column 'label' and give the file to `winnow label take`."


@click.group()
def label() -> None:
    """Label rows: those most worth it, and those whose label looks wrong."""


_outs = click.option(
    "-o", "--output", "outs", metavar="OUT", multiple=True,
    help="A file for all of them: csv, tsv, jsonl and parquet are tables, .html is a page; repeatable.",
)  # fmt: skip


@label.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-n", "--count", type=click.IntRange(min=1), default=50, show_default=True, help="Rows to propose.")
@_outs
@click.option("--by", metavar="NAME", help="How unsure the model is: margin or entropy; without it the former.")
@click.option("--pool", type=click.IntRange(min=1), default=20_000, show_default=True,
              help="Of more rows without a label so many are drawn, and the model is asked.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Without it: data_seed of params.yaml.")
@click.option("--text-column", metavar="NAME", help="Of FILE; without it, ingest.columns.text of params.yaml.")
@click.option("--text-pair-column", metavar="NAME", help="The second text's; without it, ingest.columns.text_pair.")
@click.option("--model", metavar="DIR", help="A model's folder; without it the project's artifacts/models/quantized.")
@click.option("--threads", type=click.IntRange(min=1), help="Without it: as many as there are cores.")
def propose(
    file: str | None,
    count: int,
    outs: Sequence[str],
    by: str | None,
    pool: int,
    seed: int | None,
    text_column: str | None,
    text_pair_column: str | None,
    model: str | None,
    threads: int | None,
) -> None:
    """Propose the rows to label next, of FILE or of the project's rows without a label.

    They are rows that the model is unsure of and that differ from each other; none repeats a training row, another
    one, or a row that is labelled already. A table has an empty column `label` to fill, a page is to label by keys.
    """
    paths, params, labelling = _project()
    if file is None and (text_column or text_pair_column):
        raise click.UsageError("--text-column and --text-pair-column are about a FILE.")
    by = by or next(iter(labelling.uncertainties), None)
    if by is not None and by not in labelling.uncertainties:
        raise click.UsageError(f"--by {by}. Allowed for the task: {', '.join(labelling.uncertainties) or 'none'}.")
    _refuse(outs, file or "-")
    from flows.cli.predicting import folder_of
    from flows.labelling import candidates, keeping, places, proposing
    from flows.labelling.allowed import classes

    keeping.refuse_encoding(params.ingest)
    folder, seed = folder_of(model), params.data_seed if seed is None else seed
    columns = candidates.TextColumns(text_column, text_pair_column)
    found = candidates.found(paths, params.ingest, file, columns, most=pool, seed=seed)
    chooser = proposing.chooser(paths, params, folder, threads, by)
    place = places.place_of(paths.root, params.ingest)
    labelled = keeping.labelled_keys(keeping.read_rows(paths.root / place.path), params.ingest)
    with _bar(len(found.rows), "rows") as bar:
        proposed = proposing.propose(found.rows, chooser, count, labelled=labelled, seed=seed, on_rows=bar.update)
    if not proposed.rows:
        raise click.ClickException(
            f"nothing to propose: of {found.of:,} rows {proposed.labelled:,} are labelled already, and the others"
            " repeat training rows. Give other rows."
        )
    allowed = classes(paths.clean, params.task.name, labelling)
    _write_proposals(paths, outs, proposed.rows, allowed or [], labelling)
    of = f"{len(found.rows):,} drawn of {found.of:,}" if len(found.rows) < found.of else f"{found.of:,}"
    _tell(f"{_rows(len(proposed.rows))} proposed of {of} without a label; {proposed.duplicates:,} repeat others.")
    if by is None:
        _tell("the model does not say how sure it is of a number, so they are chosen by how much they differ alone.")
    if outs:
        _tell(NEXT + (f" Allowed: {', '.join(allowed)}." if allowed else " A label is a number."))


def _write_proposals(
    paths: Paths, outs: Sequence[str], rows: Sequence[Proposal], allowed: Sequence[str], labelling: TaskLabelling
) -> None:
    """Write the lists, and remember what is in them; without any, print the first rows."""
    from flows.labelling import lists
    from flows.labelling.listed import remember

    if not outs:
        for one in rows[:SHOWN]:
            sure = "-" if one.probability is None else f"{one.probability:.4f}"
            _print(one.row.suggestion or "-", sure, one.row.text)
        _tell_shown(len(rows))
        return
    remember(paths, [one.row for one in rows])
    for out in outs:
        if _is_page(out):
            _write_page(out, lists.page_of(rows, allowed, labelling, f"{Path(out).stem}.csv"))
        else:
            lists.write_list(out, lists.of_proposals(rows))
        click.echo(f"Written: {out}", err=True)


@label.command()
@_outs
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="Rows at most.")
@click.option(
    "--neighbours", type=click.IntRange(min=0), default=3, show_default=True, help="Training rows beside each."
)
@click.option("--folds", type=click.IntRange(min=2), default=5, show_default=True,
              help="Parts of the cross-validation.")  # fmt: skip
@click.option("--fit-rows", type=click.IntRange(min=2), default=20_000, show_default=True,
              help="Rows that each model learns from, at most.")  # fmt: skip
@click.option("--probe/--no-probe", default=True, show_default=True,
              help="Ask the probe's encoder too, where it is made: it reads each training row once.")  # fmt: skip
@click.option("--apart", type=click.Choice(["row", "group"]), default="row", show_default=True,
              help="What no model learns from of what it judges: the row alone, or all rows of its group.")  # fmt: skip
def errors(
    outs: Sequence[str],
    limit: int,
    neighbours: int,
    folds: int,
    fit_rows: int,
    probe: bool,
    apart: Literal["row", "group"],
) -> None:
    """Show the training rows whose label is likely wrong, the likeliest first.

    The project's baseline, and a head on its probe's encoder, are fitted some times, each time without some rows, and
    say what they think of these. A table has empty columns to fill: `label` (the right one; the same where it is
    right), or `drop` (x).
    """
    paths, params, _ = _project()
    _refuse(outs, "-")
    from flows.labelling import doubting, keeping, places
    from flows.labelling.out_of_fold import has_probe

    if not paths.clean.is_file():
        raise click.ClickException(f"no {paths.clean} yet. Run `winnow reproduce --stage clean`.")
    settled = {row["row_id"] for row in keeping.read_rows(places.corrections_of(paths))}
    with _bar(folds * (2 if probe and has_probe(paths) else 1), "models") as bar:
        found = doubting.doubted_rows(
            paths, params, doubting.Settings(limit, neighbours, folds, fit_rows, apart, probe),
            settled=settled, on_fold=lambda: bar.update(1),
        )  # fmt: skip
    _write_doubted(paths, outs, found, params.task.name)
    _tell(f"{found.doubted:,} of {found.of:,} training rows are doubted, {found.flagged:,} of them flagged.")
    if probe and not found.probed:
        _tell("the baseline alone judged. With the probe more is found: `winnow reproduce --stage probe`, then again.")
    if found.settled:
        _tell(f"{found.settled:,} more stand in corrections.csv already.")
    if found.unjudged:
        _tell(f"{found.unjudged:,} could not be judged: no model had learned their label from another row.")
    if outs:
        _tell("Fill the column 'label', or 'drop' with x, and give the file to `winnow label take`.")


def _write_doubted(paths: Paths, outs: Sequence[str], found: DoubtedRows, task: str) -> None:
    """Write the lists, and remember what is in them; without any, print the first rows."""
    from flows.labelling import lists
    from flows.labelling.doubts_page import render
    from flows.labelling.listed import remember

    if outs:
        remember(paths, [one.row for one in found.rows])
    for out in outs:
        if _is_page(out):
            _write_page(out, render(found, task))
        else:
            lists.write_list(out, lists.of_doubted(found.rows))
        click.echo(f"Written: {out}", err=True)
    if not outs:
        for one in found.rows[:SHOWN]:
            _print(f"{one.quality:.4f}", f"{one.row.given}", f"likelier {one.row.suggestion}", one.row.text)
        _tell_shown(len(found.rows))


@label.command()
@click.argument("file", metavar="FILE")
@click.option("--by", metavar="NAME", default="", help="Who labelled, to be written beside each row.")
@click.option("--new-labels", is_flag=True, help="Take labels that no training row has.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken, and write nothing.")
def take(file: str, by: str, new_labels: bool, dry_run: bool) -> None:
    """Take a list back that was filled: check each row, and keep those that are right.

    Proposed rows are added to a csv beside the project's data, doubted ones to corrections.csv. Each row that is wrong
    is told with its line and what to do. Exits with 3 where some are, with 1 where none could be taken.
    """
    paths, params, labelling = _project()
    from flows.answering.terminal import cleaned
    from flows.labelling import keeping, places, taking
    from flows.labelling.allowed import classes

    known = taking.listed_here(paths, file)
    allowed = None if new_labels else classes(paths.clean, params.task.name, labelling)
    checked = taking.check(known, file, params.task.name, allowed, _tell)
    place = places.place_of(paths.root, params.ingest)
    new = [one for one in checked.taken if one.row.given is None]
    doubted = [one for one in checked.taken if one.row.given is not None]
    if new:
        keeping.refuse_encoding(params.ingest)
    faults = list(checked.faults)
    on = datetime.date.today().isoformat()
    if not dry_run:
        if new:
            kept = keeping.keep_labelled(paths, paths.root / place.path, new, params.ingest, on=on, by=by)
            faults += _kept(kept, place.path.as_posix(), place.next_step)
        if doubted:
            corrections = places.corrections_of(paths)
            kept = keeping.keep_corrections(paths, corrections, doubted, on=on, by=by)
            faults += _kept(kept, corrections.name, "`winnow label apply` writes the data with them, as a copy.")
    _tell(_counts(checked, new, doubted))
    for line in faults[:SHOWN]:
        click.echo(cleaned(line), err=True)
    if len(faults) > SHOWN:
        _tell(f"{len(faults) - SHOWN:,} more rows are wrong: mend these, and take it again.")
    if not checked.taken:
        raise click.ClickException(
            f"{file}: no row could be taken."
            + (f" Its column '{taking.LABEL}' is empty: fill it." if checked.empty == checked.rows else "")
        )
    if faults:
        sys.exit(SOME_WRONG)


@label.command()
def apply() -> None:
    """Write the project's data with the corrections of corrections.csv, as a copy in data/_corrected.

    A relabelled row has its new label, a dropped one none; all rows keep their ids. The data itself is not changed,
    and params.yaml says which of both is read.
    """
    paths, params, _ = _project()
    from flows.labelling import applying

    with contextlib.chdir(paths.root):  # as the stage, which is told the same path
        applied = applying.apply(paths, params)
    _tell(
        f"{applied.path.as_posix()}: {applied.source} with {_rows(applied.relabelled)} relabelled and"
        f" {applied.dropped:,} without a label, so that they are dropped."
    )
    for line in applied.faults[:SHOWN]:
        click.echo(line, err=True)
    if params.clean.unlabelled != "drop":
        _tell(f"clean.unlabelled is '{params.clean.unlabelled}', so rows without a label stay as such.")
    if Path(params.ingest.path) != applied.path:
        _tell(
            f"Next: set `path: {applied.path.as_posix()}` under ingest in params.yaml; the way back is"
            f" `path: {applied.source}`."
        )
    if applied.unread is not None:
        _tell(f"{applied.unread.path.as_posix()} is not in it. For its rows: {applied.unread.next_step}")
    if applied.faults:
        sys.exit(SOME_WRONG)


def _kept(kept: Kept, name: str, next_step: str) -> list[str]:
    """Tell what became of the rows; returns what is wrong with others."""
    there = f", {kept.there:,} were there already" if kept.there else ""
    _tell(f"{name}: {_rows(kept.added)} added{there}. Next: {next_step}")
    return kept.faults


def _counts(checked: Checked, new: Sequence[Taken], doubted: Sequence[Taken]) -> str:
    """What a list holds, in a line."""
    told = [f"{len(new):,} labelled"] if new else []
    if doubted:
        parts = {
            "relabelled": sum(one.target not in (None, one.row.given) for one in doubted),
            "to be dropped": sum(one.target is None for one in doubted),
            "right as they are": sum(one.target == one.row.given for one in doubted),
        }
        told += [f"{count:,} {what}" for what, count in parts.items() if count]
    others = {
        "without a label, left out": checked.empty,
        "doubles": checked.doubles,
        "found by their text, as their id was changed": checked.found_by_text,
        "wrong": len(checked.faults),
    }
    told += [f"{count:,} {what}" for what, count in others.items() if count]
    return f"{_rows(checked.rows)}: {'; '.join(told) or 'none'}."


def _project() -> tuple[Paths, Params, TaskLabelling]:
    """The project here. Raises ValueError where rows of its task cannot be labelled."""
    root = root_here()
    from flows.labelling.parts import labelling_of
    from stages.core.params.file import load_params
    from stages.core.paths import Paths

    paths = Paths(root)
    params = load_params(paths.params)
    return paths, params, labelling_of(params.task.name)


def _is_page(out: str) -> bool:
    from flows.answering.writing import PAGE

    return out.lower().endswith(PAGE)


def _refuse(outs: Sequence[str], file: str) -> None:
    from flows.answering.writing import ENDINGS, PAGE, refuse_out

    for out in outs:
        refuse_out(out, file, (PAGE,) if _is_page(out) else ENDINGS)


def _write_page(out: str, html: str) -> None:
    from flows.answering.writing import write_page

    write_page(out, html)


def _print(*parts: str) -> None:
    """A line of a terminal or a pipe: the parts with tabs between, the last, a text, cut."""
    from flows.answering.terminal import cleaned, shortened

    *first, text = parts
    click.echo("\t".join(map(cleaned, (*first, shortened(text, WIDTH)))))


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _tell_shown(rows: int) -> None:
    if rows > SHOWN:
        _tell(f"{SHOWN} of {rows:,} are shown; all with -o FILE.")


def _tell(news: str) -> None:
    click.echo(f"winnow: {news}", err=True)


def _bar(total: int, unit: str) -> Any:
    """A bar on a terminal, for what takes longer than a moment; in a log nothing."""
    from tqdm import tqdm

    return tqdm(total=total, unit=f" {unit}", leave=False, delay=1.0, disable=not sys.stderr.isatty())
