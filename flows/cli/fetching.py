"""The command that fetches what a project's source reads and is not in the project."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.project import root_here


@click.command()
def fetch() -> None:
    """Fetch the corpus that ingest.path pins, where ingest.source has one in an archive of pip's index.

    Silent where there is nothing to do. The archive is checked by its hash and kept for all projects of this
    installation; none of its code is run.
    """
    from stages.core.params.file import load_params
    from stages.reading.corpora import SOURCES, pin_of, place_of, store

    root = root_here()
    ingest = load_params(root / "params.yaml").ingest
    if ingest.source not in SOURCES:
        return
    from flows.running import corpora

    pin = pin_of(root / Path(ingest.path))
    was_there = place_of(pin, store()).is_file()
    path = corpora.fetch(pin, store(), corpora.places_of_pip)
    if not was_there:
        click.echo(f"{pin}: {path}")
