"""The commands about the graph: is params.yaml right, what would run, run it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli import completion
from flows.cli.project import checked_root, print_json, use_server

if TYPE_CHECKING:
    from concurrent.futures import Future

    from flows.dvc.planning import Plan


@click.command()
@click.option("--packages", is_flag=True, help="Also compare the installed packages with hashes.txt.")
def check(packages: bool) -> None:
    """Check params.yaml.

    One line where it is right; otherwise a line a mistake, and exit code 1. Plug-ins, the path of the data, and the
    columns in files that lie here must exist.
    """
    root = checked_root()
    _tell_of_old_graph(root)
    if packages:
        from flows.running.code import code_of
        from flows.running.packages import faults

        if found := list(faults(code_of(root))):
            raise ValueError("\n".join(found))
    click.echo(_told_right(root))


def _told_right(root: Path) -> str:
    from stages.core.params.file import load_params

    params = load_params(root / "params.yaml")
    return f"ok: params.yaml is right: {params.task.name} of {params.ingest.path} ({params.ingest.source})"


def _tell_of_old_graph(root: Path) -> None:
    from flows.projects.starting import is_current
    from stages.core import plugins
    from stages.core.params.file import load_params
    from stages.tasks import TASKS

    task = load_params(root / "params.yaml").task.name
    if not is_current(root, plugins.part(TASKS, task, "settings", key="task.name")):
        click.echo(
            "winnow: the stages in dvc.yaml are not those of this Winnow, so DVC may not see that its code changed."
            " Write them again: winnow init --renew .",
            err=True,
        )


@click.command()
@click.option("--json", "as_json", is_flag=True, help="An object: each stage that would run, and its reasons.")
@click.option("--check", is_flag=True, help="Only check that dvc.lock is of this code; exit with 1 where it is not.")
@click.option("--verbose", is_flag=True, help="Every reason, a line each.")
def plan(as_json: bool, check: bool, verbose: bool) -> None:
    """Say what would run, and why: a line a stage; of a fresh clone one line.

    A stage that only follows another is skipped in the end where what it reads comes out as it was.
    """
    from flows.dvc import planning

    root = checked_root()
    if check:
        if stale := planning.stale(root):
            raise click.ClickException(
                f"dvc.lock does not match params.yaml, the code or the data: {', '.join(stale)} would run. "
                "Run `dvc repro`, and commit dvc.lock and metrics/."
            )
        return
    found = planning.plan(root)
    if as_json:
        print_json(found.reasons)
    else:
        _print_plan(root, found.reasons, found.graph, verbose=verbose)


def _print_plan(
    root: Path, reasons: Mapping[str, Sequence[str]], graph: Collection[str], *, verbose: bool = False
) -> None:
    from flows.cli import planned
    from flows.dvc.planning import is_data

    of = sum(not is_data(name) for name in graph)
    click.echo(planned.as_text(reasons, of=of, verbose=verbose))
    if took := planned.time_of(root, reasons):
        click.echo(took)


@click.command()
@click.option(
    "--stage", "stages", metavar="STAGE", multiple=True, shell_complete=completion.stages,
    help="Only this one and all before it; repeatable.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Run the named stages (none named: all) even where nothing changed.")
@click.option("--dry-run", is_flag=True, help="Only say what would run, and why.")
def reproduce(stages: tuple[str, ...], force: bool, dry_run: bool) -> None:
    """Bring every stage up to date.

    Prefect runs the graph of dvc.yaml and shows each stage; the table of models is printed at the end. It uses
    the server that `winnow serve` would, or a temporary one. A second one in the same clone waits for the first.
    """
    root = checked_root()
    if dry_run:
        from flows.dvc import planning

        plan = planning.plan(root, stages)
        forced = dict.fromkeys(planning.forced(plan.graph, stages), ("by force",)) if force else {}
        reasons = {name: why for name in plan.graph if (why := plan.reasons.get(name) or forced.get(name))}
        _print_plan(root, reasons, plan.graph)
        return
    _refuse_without_data(root)
    ran = _reproduced(root, stages, force)
    from flows.dvc.planning import UP_TO_DATE
    from flows.review import metrics

    click.echo(f"{ran}\n\n{metrics.as_text(metrics.rows(root), metrics.notes(root))}")
    if ran != UP_TO_DATE and (following := list(_next(root, has_all=not stages))):
        click.echo("\nnext: " + "\n      ".join(following))


def _refuse_without_data(root: Path) -> None:
    """Raise ValueError where DVC keeps the data, or a pretrained model, and it is not here."""
    from flows.retraining.refresh import inputs_of, not_here
    from stages.core.params.file import load_params

    if pointers := not_here(root, inputs_of(root, load_params(root / "params.yaml"))):
        raise ValueError(
            f"DVC keeps what {', '.join(pointers)} names, and it is not here. Get it: `dvc pull {' '.join(pointers)}`."
        )


def _next(root: Path, *, has_all: bool) -> Iterator[str]:
    """What to do after a run; of the model only where the run `has_all` stages."""
    from flows.answering.how import asked
    from flows.review.revisions import changed, commit

    command = asked(root) if has_all else None
    if command:
        yield f"`{command}` answers; `winnow app` serves the model, with a page to try it on"
        yield "`winnow errors` lists the test rows that it answers wrongly"
    if changed(root):
        yield f"{commit(root)} keeps this run: later ones are compared with it"


def _reproduced(root: Path, stages: Sequence[str], force: bool) -> str:
    """What ran, in a line. Raises ClickException with the message of a failure.

    A run without a server is seen nowhere: where it has nothing to do, Prefect is not even loaded.
    """
    from concurrent.futures import ThreadPoolExecutor

    from flows.dvc import planning
    from flows.running.processes import ended_says
    from flows.serving import server

    with ended_says(planning.STOPPED), ThreadPoolExecutor() as threads:
        plan = threads.submit(planning.plan, root, stages)  # DVC looks while Prefect is loaded
        if not force and not server.may_be_found() and _nothing_to_do(root, plan):
            return planning.UP_TO_DATE
        use_server()
        from flows.reproduce import run

        good, told = run(root, stages, force=force, plan=plan)
    if not good:
        raise click.ClickException(told)
    return told


def _nothing_to_do(root: Path, plan: Future[Plan]) -> bool:
    """Whether the plan is empty; False where only the flow can tell, as another run changes what there is to do."""
    from flows.running.locks import lock_file, one_at_a_time

    try:
        with one_at_a_time(lock_file(root, "reproduce"), str, wait=False):
            return plan.exception() is None and not plan.result().reasons
    except (BlockingIOError, ValueError):
        return False
