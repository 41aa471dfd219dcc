"""The `winnow` command of the light install: `predict` and `app`."""

from __future__ import annotations

import click

from flows import __version__
from flows.cli.ending import run
from flows.cli.predicting import predict
from flows.cli.serving_app import app


class _Light(click.Group):
    """A group that says of a package that is not installed what brings it."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"this needs the package '{error.name}', which the light install leaves out. `winnow app` needs the"
                " packages of its extra `app`, a table or -o those of `files`, an image those of `images`:"
                " docs/deployment.md."
            ) from None


@click.group(cls=_Light, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="winnow", message="%(prog)s %(version)s (light)")
def cli() -> None:
    """Answers of sealed models. All else, such as training, is in the whole of Winnow."""


cli.add_command(predict)
cli.add_command(app)


def main() -> None:
    """Run `winnow`, as `run` says."""
    run(cli)
