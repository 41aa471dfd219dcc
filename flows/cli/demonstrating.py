"""The command `demo`."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli.predicting import folder_of


@click.command()
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("-o", "--output", "folder", metavar="FOLDER", required=True, type=click.Path(path_type=Path),
              help="A new folder, or one of a demo page, which is replaced.")  # fmt: skip
def demo(model: str | None, folder: Path) -> None:
    """Make a page that runs a model in the reader's browser: a folder for any web server, without one of ours.

    MODEL is a sealed model of onnxruntime_int8; without it, the project's artifacts/models/quantized. The folder is all
    that the page needs, and what a reader types stays in the browser. What others wrote of it is fetched before, once:
    winnow fetch --demo.
    """
    place = folder_of(model)
    from flows.demo.folder import write_demo

    size = write_demo(place, folder)
    click.echo(
        f"{folder}: a page of {size / 1e6:.1f} MB. To look at it: python -m http.server -b 127.0.0.1 -d {folder}"
    )
