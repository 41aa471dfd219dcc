"""The command `app`."""

from __future__ import annotations

import click

from flows.app.hosts import allowed_name, is_loopback
from flows.cli.numbers import Number
from flows.cli.predicting import folder_of


def _names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(map(allowed_name, names))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("folder", metavar="[FOLDER]", required=False)
@click.option("--host", metavar="HOST", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free.")
@click.option("--allow-remote", is_flag=True, help="Listen where other machines can ask. There is no password.")
@click.option("--allowed-host", "hosts", metavar="NAME", multiple=True, callback=_names,
              help="A name that requests may call it by.")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), help="Of the model; without it: as many as there are cores.")
@click.option("--gather", type=Number(0, 100), default=0.0, show_default=True,
              help="Milliseconds that a batch under 64 rows waits for more.")  # fmt: skip
@click.option("--max-rows", type=click.IntRange(min=1), default=256, show_default=True, help="Of a request.")
@click.option("--max-characters", type=click.IntRange(min=1), default=20_000, show_default=True, help="Of a text.")
@click.option("--max-bytes", type=click.IntRange(min=1), default=4_000_000, show_default=True, help="Of a request.")
@click.option("--max-waiting", type=click.IntRange(min=1), default=4096, show_default=True,
              help="Rows that wait for the model; further ones are refused.")  # fmt: skip
@click.option("--timeout", type=Number(0.1, 3600), default=30.0, show_default=True,
              help="Seconds that a request may take, and a client to send or read.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No line for each request.")
def app(
    folder: str | None,
    host: str,
    port: int,
    allow_remote: bool,
    hosts: tuple[str, ...],
    threads: int | None,
    gather: float,
    max_rows: int,
    max_characters: int,
    max_bytes: int,
    max_waiting: int,
    timeout: float,
    quiet: bool,
) -> None:
    """Serve a model over HTTP, for this machine alone, until it is ended.

    FOLDER is a sealed model; without it, the project's artifacts/models/quantized. POST /predict answers JSON, / is a
    page to try it on, /docs describes the rest. Ctrl-C and SIGTERM end it: what it holds is answered, what is new
    refused. Exits with 1 where not all was answered.
    """
    from flows.app import server
    from flows.app.limits import Limits

    if not is_loopback(host) and not allow_remote:
        raise click.UsageError(
            f"--host {host} can be reached from other machines, and whoever reaches it may ask. Add --allow-remote, or"
            " leave --host out."
        )
    if allow_remote and is_loopback(host):
        raise click.UsageError(
            f"--allow-remote does nothing where it listens on {host}, which other machines cannot reach. Add --host"
            " 0.0.0.0, or leave --allow-remote out."
        )
    place = folder_of(folder)
    opened = server.listening("127.0.0.1" if host == "localhost" else host, port)
    from flows.app.application import application
    from flows.app.ending import Ending
    from flows.app.served import open_served
    from stages.core.machine import cores

    served, ending = open_served(place, threads=threads or cores()), Ending()
    limits = Limits(max_rows, max_characters, max_bytes, max_waiting, timeout)
    remote = not is_loopback(host)
    named = {*hosts, *([host.lower().rstrip(".")] if remote else [])}
    asked = application(served, limits, ending, gather=gather / 1000, hosts=named, remote=remote)
    if remote:
        click.echo("winnow: other machines can reach this, without a password: put a proxy before it.", err=True)
    about = f"{served.name} ({served.noun}, manifest {served.manifest[:12]})"
    click.echo(f"Serving {about}, at {server.url_of(opened)} Ctrl-C ends it.", err=True)
    if not server.serve(asked, opened, ending, seconds=timeout, log=not quiet):
        raise click.ClickException("some requests were given up: the server ended before they were answered.")
