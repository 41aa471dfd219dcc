"""The commands about releases: what is released, release it, go back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.project import root_here

if TYPE_CHECKING:
    from flows.releases.releases import Release


@click.command()
@click.argument("revision", default="HEAD")
@click.option("--push/--no-push", default=True, help="Send the release to origin, where there is one.")
def promote(revision: str, push: bool) -> None:
    """Release the model of REVISION (without it, HEAD).

    Every file of it is rehashed first. The release is a git tag; promoting what is released already changes nothing.
    New data is compared with that of the release from then on: metrics/released_data.json, to be committed.
    """
    from flows.releases import releases

    root = root_here()
    release = releases.promote(root, revision, push=push)
    click.echo(_release(release))
    _remember_data(root, release.revision)


@click.command()
@click.option("--push/--no-push", default=True, help="Send it to origin, where there is one.")
def rollback(push: bool) -> None:
    """Return to the release before."""
    from flows.releases import releases

    root = root_here()
    release = releases.rollback(root, push=push)
    click.echo(_release(release))
    _remember_data(root, release.revision)


def _remember_data(root: Path, revision: str) -> None:
    """Compare new data with that of the release from now on."""
    from flows.releases import released_data
    from stages.core.paths import Paths

    path = Paths(root).released_data.relative_to(root)
    if (profile := released_data.profile_of(root, revision)) is None:
        click.echo(f"{path} stays as it is: this release has no profile of its data.", err=True)
    elif released_data.remember(root, profile):
        click.echo(f"{path}: new data is compared with that of this release. Run `dvc repro`, commit.", err=True)


@click.command(name="releases")
def list_releases() -> None:
    """Print the releases, newest first; the first is what is released."""
    from flows.releases import releases

    found = releases.history(root_here())
    if not found:
        click.echo("Nothing is released yet. `winnow promote` releases what HEAD has.")
    for release in found:
        click.echo(_release(release))


def _release(release: Release) -> str:
    return f"{release.version}  {release.revision[:12]}"
