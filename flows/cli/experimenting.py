"""The commands that run the graph several times: with other seeds, or with parts of the recipe left out."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.project import checked_root

STOPPED = "stopped. What had ended is in DVC's cache; `winnow {}` takes it from there and runs the rest."


@click.command()
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="That of params.yaml, and the next."
)
@click.option("--output", metavar="FILE", help="Without it: the project's docs/ablation.md; the figures go beside it.")
def ablation(seeds: int, output: str | None) -> None:
    """Measure what each part of the recipe is worth.

    Trains the students of every loss, and what is made of them, once a seed: an hour or so on two cores. It is of
    the last commit, in a checkout of its own. What has run before is not run again.
    """
    root = checked_root()
    from flows.experiments import ablation, pages
    from flows.running import git
    from flows.running.processes import ended_says

    page = Path(output) if output is not None else root / "docs/ablation.md"
    pages.refuse(page)
    with ended_says(STOPPED.format("ablation")):
        commit = git.commit_of(root, "HEAD")
        found = ablation.ablate(root, seeds, lambda line: click.echo(line, err=True))
    record = pages.write(page, ablation.as_markdown(found), ablation.as_record(found), commit)
    click.echo(f"Written: {page}, {record}", err=True)


@click.command()
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="That of params.yaml, and the next."
)
@click.option("--output", metavar="FILE", help="Without it: the project's docs/debias.md; the figures go beside it.")
def debias(seeds: int, output: str | None) -> None:
    """Measure what each way to mend unequal treatment gains and costs.

    Trains, compresses and measures with each debias.method that goes with the project, once a seed, on the same rows.
    It is of the last commit, in a checkout of its own. What has run before is not run again.
    """
    root = checked_root()
    from flows.experiments import debiasing, pages
    from flows.running import git
    from flows.running.processes import ended_says

    page = Path(output) if output is not None else root / "docs/debias.md"
    pages.refuse(page)
    with ended_says(STOPPED.format("debias")):
        commit = git.commit_of(root, "HEAD")
        found = debiasing.compare(root, seeds, lambda line: click.echo(line, err=True))
    record = pages.write(page, debiasing.as_markdown(found), debiasing.as_record(found), commit)
    click.echo(f"Written: {page}, {record}", err=True)


@click.command()
@click.option(
    "--seeds",
    "count",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="That of params.yaml, and the next.",
)
def seeds(count: int) -> None:
    """Measure how much of each model's figures is the luck of a seed.

    Trains and compresses once a seed, on the same rows, and measures on the test rows and on those set aside. It is of
    the last commit, in a checkout of its own. What has run before is not run again. Writes metrics/seeds.json.
    """
    root = checked_root()
    from flows.experiments import seeds as several
    from flows.review import metrics as table
    from flows.running.processes import ended_says
    from stages.core.paths import Paths

    with ended_says(STOPPED.format("seeds")):
        found = several.measure(root, count, lambda line: click.echo(line, err=True))
    several.write(found, Paths(root).seeds)
    click.echo(table.as_text(table.rows(root), table.notes(root)))
    click.echo(f"Written: {Paths(root).seeds}. `make readme` shows it.", err=True)
