"""The commands that show what was measured: the table of models, the report of the data, the review of a change."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.project import checked_root, print_json, root_here

_markdown = click.option("--markdown", is_flag=True, help="Markdown, on a terminal too.")
MOST = 200  # revisions of a history


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of objects; fractions and numbers as measured.")
@click.option("--markdown", is_flag=True, help="As the README has it.")
def metrics(as_json: bool, markdown: bool) -> None:
    """Print the table of models.

    Where it was measured with other parameters or other code than those here, or its speeds on another machine, a
    line on stderr says so.
    """
    from flows.dvc import freshness
    from flows.review import metrics as table
    from stages.core.machine import processor

    root = root_here()
    rows = table.rows(root)
    if not any(row.measured for row in rows):
        raise click.ClickException("no metrics yet. Run `winnow reproduce` or `dvc repro` first.")
    if as_json:
        print_json(table.as_records(rows))
    else:
        written = table.as_markdown if markdown else table.as_text
        click.echo(written(rows, table.notes(root)))
    for told in (freshness.notice(root), table.elsewhere(rows, processor())):
        if told:
            click.echo(f"winnow: {told}", err=True)


@click.command()
@click.option("--base", metavar="REV", help="Show what each number was in this revision.")
@_markdown
def data(base: str | None, markdown: bool) -> None:
    """Print what became of the rows, from source to split: tables on a terminal, Markdown in a pipe."""
    root = root_here()
    from flows.cli import terminal
    from flows.review.data_report import as_markdown
    from flows.review.side import Side
    from flows.running.git import commit_of
    from flows.running.masking import masked
    from stages.core.paths import Paths

    path = Paths(root).data_report
    if not path.is_file():
        raise click.ClickException("no data report yet. Run `winnow reproduce --stage report` or `dvc repro report`.")
    before = Side(root, commit_of(root, base) if base else None)
    earlier = before.json(path) if base else {}
    for note in before.notes:
        click.echo(masked(note), err=True)
    terminal.show(masked(as_markdown(Side(root, None).json(path), earlier)), as_it_is=markdown)


@click.command()
@click.option("--base", metavar="REV", help="Without it: where this branch left main; on main, the commit before.")
@click.option("--output", metavar="DIR", help="Without it: the project's artifacts/review.")
@click.option(
    "--check", is_flag=True, help="Exit with 1 where the gate says fail, a stage would run, or none can tell."
)
@click.option("--texts/--no-texts", default=True, help="Whether both files show the texts of rows, or their ids.")
@click.option("--pictures", is_flag=True, help="Write two charts as PNG too, for comments that take pictures.")
@_markdown
def review(base: str | None, output: str | None, check: bool, texts: bool, pictures: bool, markdown: bool) -> None:
    """Show what the working tree changes against a base.

    Writes review.md, for a pull request, and review.html, a page that opens without a network; prints the first: as
    tables on a terminal, as Markdown in a pipe.
    """
    root = checked_root()
    from flows.cli import terminal
    from flows.review.comparison import gather
    from flows.review.evidence import without_texts
    from flows.review.page.page import render
    from flows.review.pull_request import as_markdown, stopped
    from flows.running.masking import masked

    found = gather(root, base) if texts else without_texts(gather(root, base))
    folder = Path(output) if output is not None else root / "artifacts/review"
    folder.mkdir(parents=True, exist_ok=True)
    comment = masked(as_markdown(found))
    (folder / "review.md").write_text(comment, encoding="utf-8")
    (folder / "review.html").write_text(masked(render(found)), encoding="utf-8")
    drawn = []
    if pictures:
        from flows.review.pictures import write

        drawn = write(found, folder)
    terminal.show(comment, as_it_is=markdown)
    click.echo(f"Written: {', '.join(map(str, (folder / 'review.md', folder / 'review.html', *drawn)))}", err=True)
    if check and (why := stopped(found)):
        raise click.ClickException(why)


@click.command()
@click.argument("revision", metavar="[REV]", default="HEAD")
@click.option("--last", metavar="N", type=click.IntRange(1, MOST), default=20, show_default=True, help="Revisions.")
@click.option("--model", metavar="NAME", help="Without it: the model that is released (promotion.model).")
@click.option("--json", "as_json", is_flag=True, help="A list of objects; fractions and numbers as recorded.")
@_markdown
def history(revision: str, last: int, model: str | None, as_json: bool, markdown: bool) -> None:
    """Print what the last revisions of a branch recorded of one model: quality, speed, size; newest first.

    It is read from git alone. A letter says which test rows a value is of, and which machine a time, and only what has
    the same letter is compared.
    """
    root = root_here()
    from flows.cli import terminal
    from flows.review import history as over_time
    from flows.running import git
    from flows.running.masking import masked
    from stages.core.params.file import load_params
    from stages.core.paths import MODELS

    name = model or load_params(root / "params.yaml").promotion.model
    if name not in MODELS:
        raise click.BadParameter(f"'{name}' is no model. Allowed: {', '.join(MODELS)}.", param_hint="--model")
    found = over_time.history(root, name, last=last, revision=revision)
    if not found:
        raise click.ClickException(
            f"no commit up to {revision} has figures of {name}. Run `winnow reproduce`, then commit metrics."
        )
    if as_json:
        print_json(over_time.as_records(found))
    else:
        terminal.show(masked(over_time.as_markdown(found, name, git.lacking(root))), as_it_is=markdown)
