"""The commands of `winnow prompt`: a language model with prompts, as a baseline, and as a teacher."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from flows.cli.project import root_here

STOPPED = "stopped. Nothing was written; run it again."
ENDING = ".jsonl"


@click.group()
def prompt() -> None:
    """Ask a language model by prompts: measure it, or have it label rows."""


_values = click.option(
    "--values", metavar="FILE", help="The prompt's values; without it the project's prompt.yaml (docs/few-labels.md)."
)


@prompt.command()
@_values
@click.option(
    "--split", type=click.Choice(["validation", "test"]), default="validation", show_default=True,
    help="Prompts are chosen on validation rows; the test rows are for the one that was chosen.",
)  # fmt: skip
def measure(values: str | None, split: str) -> None:
    """Measure how right a language model is on the project's rows.

    Demonstrations are training rows. On test rows the figures of the project's own models stand beside it. Writes
    metrics/prompted/SPLIT.json.
    """
    root, path = _project(values)
    from flows.experiments import prompting
    from flows.running.processes import ended_says
    from stages.core import plugins
    from stages.core.params.file import load_params
    from stages.tasks import TASKS
    from stages.tasks.contract import TaskMeasures

    of: TaskMeasures = plugins.part(TASKS, load_params(root / "params.yaml").task.name, "measures", key="task.name")
    with ended_says(STOPPED):
        found = prompting.measure(root, path, split, lambda line: click.echo(line, err=True))
    for line in prompting.shown(root, found, of.measures):
        click.echo(line)
    _tell(f"{found['rows']:,} rows of the split {split}, {found['demonstrations']:.1f} demonstrations each.")
    if found["cut"]:
        _tell(f"{found['cut']:.1%} of the texts lost their end. Raise max_tokens, where the model takes more.")
    click.echo(f"Written: {prompting.figures_of(root, split)}", err=True)


@prompt.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("-o", "--output", "out", metavar="OUT", required=True, help="A jsonl, with the columns of your data.")
@_values
@click.option("-n", "--count", type=click.IntRange(min=1), default=20_000, show_default=True,
              help="Of more rows without a label so many are drawn.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Without it: data_seed of params.yaml.")
@click.option("--text-column", metavar="NAME", help="Of FILE; without it, ingest.columns.text of params.yaml.")
@click.option("--text-pair-column", metavar="NAME", help="The second text's; without it, ingest.columns.text_pair.")
def label(
    file: str | None,
    out: str,
    values: str | None,
    count: int,
    seed: int | None,
    text_column: str | None,
    text_pair_column: str | None,
) -> None:
    """Have a language model label rows of FILE, or the project's rows without a label.

    OUT has each text with the model's label, its probability, and that of every label, for ingest to read. Rows that
    the model is less sure of than min_probability are left out.
    """
    if not out.lower().endswith(ENDING):
        raise click.UsageError(
            f"-o {out}: labelled rows are written as lines of JSON. Give a name that ends in {ENDING}."
        )
    if file is None and (text_column or text_pair_column):
        raise click.UsageError("--text-column and --text-pair-column are about a FILE.")
    root, path = _project(values)
    from flows.answering.writing import refuse_out
    from flows.experiments import prompting
    from flows.labelling import candidates
    from flows.running.processes import ended_says
    from stages.core.params.file import load_params
    from stages.core.paths import Paths

    refuse_out(out, file or "-")
    params = load_params(root / "params.yaml")
    columns = candidates.TextColumns(text_column, text_pair_column)
    seed = params.data_seed if seed is None else seed
    pool = candidates.found(Paths(root), params.ingest, file, columns, most=count, seed=seed)
    with ended_says(STOPPED):
        rows = prompting.label(root, path, pool.rows, Path(out).absolute(), lambda line: click.echo(line, err=True))
    for name, number in sorted(Counter(row[params.ingest.columns.label] for row in rows).items()):
        click.echo(f"{name}\t{number}")
    asked = len(pool.rows)
    of = f"{asked:,} drawn of {pool.of:,}" if asked < pool.of else f"{pool.of:,}"
    less_sure = "; of the others the model was less sure" if len(rows) < asked else ""
    _tell(f"{len(rows):,} labelled of {of} rows without a label{less_sure}.")
    click.echo(f"Written: {out}", err=True)


def _project(values: str | None) -> tuple[Path, Path]:
    """The project here, and the file of the prompt's values."""
    root = root_here()
    from stages.prompting.values import FILE

    return root, root / FILE if values is None else Path(values).absolute()


def _tell(news: str) -> None:
    click.echo(f"winnow: {news}", err=True)
