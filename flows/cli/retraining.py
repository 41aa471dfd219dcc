"""The commands about retraining: once, on a schedule, and the server that it needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from flows.cli.project import checked_root, use_server

_base = click.option("--base", metavar="BRANCH", help="What to propose to; without it, the branch checked out now.")
_approve = click.option(
    "--approve",
    type=click.Choice(["by hand", "when the gate passes"]),
    default="by hand",
    show_default=True,
    help="Whether what the gate passes is released at once.",
)


@click.command()
@_base
@_approve
@click.option("--accept-drift", is_flag=True, help="Train even where the data is unlike the last release's.")
def retrain(base: str | None, approve: Any, accept_drift: bool) -> None:
    """Retrain on the newest data, and propose the result as a branch.

    Works in a checkout of its own: nobody's is touched. Nothing new, or proposed before: nothing is done. Exits
    with 1 where it fails or the gate stops it.
    """
    root = checked_root()
    use_server()
    from flows.retrain import run

    good, told = run(root, base, approve, accept_drift=accept_drift)
    if not good:
        raise click.ClickException(told)
    click.echo(told)


@click.command()
@click.option("--cron", metavar="CRON", help="When: '0 3 * * *' is every night at three. Without: by hand.")
@click.option("--every", metavar="SECONDS", type=click.IntRange(min=1), help="Instead of --cron.")
@click.option("--timezone", default="UTC", show_default=True, help="Of --cron, such as Europe/Vienna.")
@_base
@_approve
def serve(cron: str | None, every: int | None, timezone: str, base: str | None, approve: str) -> None:
    """Retrain on a schedule, on this machine, until it is ended.

    Needs a Prefect server (`winnow server`). One retraining runs at a time; of missed schedules, only the newest.
    """
    if cron is not None and every is not None:
        raise click.UsageError("Give either --cron or --every.")
    root = checked_root()
    from datetime import timedelta

    from flows.retrain import retrain as flow
    from flows.running import git
    from flows.running.described import deployment_of, tags_of
    from flows.serving.runner import serve as serve_flow
    from flows.serving.schedules import schedule_of
    from flows.serving.server import connect

    branch = base or git.branch(root)  # the present one: at three in the morning another may be checked out
    if branch is None:
        raise click.ClickException("HEAD is detached, so the branch to propose to is not known. Name it: --base main.")
    os.chdir(root)  # where its runs begin: which clone they are of is no parameter, which whoever starts one could set
    parameters = {"base": branch, "approve": approve}
    schedule = schedule_of(cron, timedelta(seconds=every) if every else None, timezone)
    url = connect()
    name = deployment_of(root)
    click.echo(f"Serving retrain/{name}, for the branch {branch}, by the server at {url}. Ctrl-C ends it.", err=True)
    described = (
        f"Retrain {root.name} ({root}) on its newest data, and propose the result as a branch on top of {branch}."
    )
    tags = tags_of(root)
    serve_flow(flow, name=name, schedule=schedule, parameters=parameters, description=described, tags=tags)


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True)
@click.option("--folder", metavar="DIR", default="~/.winnow", show_default=True, help="Where its files are kept.")
def server(port: int, folder: str) -> None:
    """Start a Prefect server, for this machine alone, until it is ended.

    It asks for a password, which is made at random and kept in ~/.winnow; commands of the same user read it there.
    PREFECT_SERVER_API_AUTH_STRING=user:password sets another one; commands then need it as PREFECT_API_AUTH_STRING.
    Its database is a file of SQLite in DIR, or, for a team, the PostgreSQL that PREFECT_SERVER_DATABASE_CONNECTION_URL
    names: postgresql+asyncpg://user:password@host/database.
    """
    from flows.serving.server import start_server

    start_server(Path(folder), port)


@click.command()
@click.option("--alert-url", envvar="WINNOW_ALERT_WEBHOOK", metavar="URL", help="Or WINNOW_ALERT_WEBHOOK.")
def automations(alert_url: str | None) -> None:
    """Have the server mark crashed runs, and tell a webhook of failed and blocked ones.

    A crashed run frees its slot. Without a URL no alerts are sent. Run it again to change either.
    """
    from flows.serving.automations import STALE_AFTER, install_alerts, install_automations
    from flows.serving.server import connect

    connect()
    installed = install_automations(stale_after=STALE_AFTER)
    if alert_url:
        installed += install_alerts(alert_url)
    for name in installed:
        click.echo(name)
