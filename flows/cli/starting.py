"""The command that starts a project."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from flows.cli import completion


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--task", metavar="TASK", shell_complete=completion.tasks,
    help="What a model is to learn; without it, what the data looks like.",
)  # fmt: skip
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rows: csv, tsv, jsonl, parquet, conll, nested json.",
)
@click.option("--text", metavar="COLUMN", help="The column of the texts, where the guess is wrong.")
@click.option("--text-pair", metavar="COLUMN", help="The column of the second texts, where rows are pairs.")
@click.option("--label", metavar="COLUMN", help="The column of the targets, where the guess is wrong.")
@click.option(
    "--renew",
    is_flag=True,
    help="Bring FOLDER to this Winnow: the stages of its dvc.yaml, and parameters that its params.yaml lacks.",
)
def init(
    folder: Path,
    task: str | None,
    data: Path | None,
    text: str | None,
    text_pair: str | None,
    label: str | None,
    renew: bool,
) -> None:
    """Start a project in FOLDER: params.yaml, dvc.yaml, a DVC of its own.

    With --data it looks at the first rows, proposes the task, the columns and some limits, and says why. The file, or
    folder, is copied into the project, where DVC keeps it. FOLDER may be inside a git repository, or anywhere: then it
    becomes one.
    """
    if renew and (task or data or text or text_pair or label):
        raise click.UsageError("--renew changes what is there. Give it without --task, --data and columns.")
    if renew:
        _renew(folder)
        return
    if task is None and data is None:
        raise click.UsageError(f"Give --data FILE, or --task TASK: {', '.join(_tasks())}.")
    if data is None and (text or text_pair or label):
        raise click.UsageError("--text, --text-pair and --label are columns of --data.")
    from flows.projects.guessing import guess
    from flows.projects.sample import sample_of
    from flows.projects.starting import refuse_unknown, start
    from flows.running.signals import ending_signals_raise

    if task is not None:
        refuse_unknown(task)
    columns = {"text": text, "text_pair": text_pair, "label": label}
    proposal = guess(sample_of(str(data)), task=task, **columns) if data is not None else None
    name = proposal.task if proposal else str(task)
    with ending_signals_raise():
        started = start(folder, name, data, proposal)
    click.echo(f"{folder}: a project of {name}")
    for line in started.written:
        click.echo(f"  {line}")
    if proposal:
        click.echo("guessed, to be changed in params.yaml where it is wrong:")
        for reason in proposal.reasons:
            click.echo(f"  {reason}")
        for line in proposal.warnings:
            click.echo(f"winnow: warning: {line}", err=True)
    _tell_what_is_wrong(started.root)
    _tell_what_is_next(folder)


def _tasks() -> list[str]:
    from stages.tasks import TASKS

    return list(TASKS)


def _tell_what_is_wrong(root: Path) -> None:
    """Mistakes that `winnow check` finds in what was just written."""
    from flows.cli.mistakes import mistakes
    from stages.core.params.file import load_params

    for line in mistakes(root, load_params(root / "params.yaml")):
        click.echo(f"winnow: {line}", err=True)


def _tell_what_is_next(folder: Path) -> None:
    from stages.core.params.file import load_params
    from stages.reading.corpora import SOURCES

    program = "winnow" if shutil.which("winnow") else Path(sys.executable).with_name("winnow")
    commands = ["fetch"] if load_params(folder / "params.yaml").ingest.source in SOURCES else []
    click.echo(
        " && ".join(
            [
                f"next: cd {shlex.quote(str(folder))}",
                *(f"{shlex.quote(str(program))} {command}" for command in (*commands, "reproduce")),
            ]
        )
    )


def _renew(folder: Path) -> None:
    from flows.projects.starting import renew_graph, renew_parameters
    from flows.running.code import link_code
    from stages.core import plugins
    from stages.core.params.file import load_params
    from stages.tasks import TASKS

    link_code(folder.absolute())
    added = renew_parameters(folder.absolute())
    click.echo(f"{folder}/params.yaml: {'now has ' + ', '.join(added) if added else 'has all parameters'}")
    params = load_params(folder / "params.yaml")
    settings = plugins.part(TASKS, params.task.name, "settings", key="task.name")
    changed = renew_graph(folder.absolute(), settings)
    click.echo(f"{folder}/dvc.yaml: {'written again' if changed else 'is as this Winnow has it'}")
