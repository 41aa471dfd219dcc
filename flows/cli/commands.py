"""The group of all commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from flows import __version__
from flows.cli import (
    demonstrating,
    experimenting,
    fetching,
    graph,
    labelling,
    predicting,
    prompting,
    releasing,
    retraining,
    serving_app,
    showing,
    starting,
    using,
)
from flows.cli.ending import run

MEANT = dict.fromkeys(("train", "run", "start", "repro", "fit", "finetune"), "reproduce")
"""Words that people try, with the command that does it; by its letters another one is nearer to some of them."""


class _Commands(click.Group):
    """The commands, and what else they are called elsewhere."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names. Raises UsageError, with the one that was meant, for another word."""
        if args[0] in MEANT and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command '{args[0]}'. Did you mean '{MEANT[args[0]]}'?", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="winnow", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """From raw text to small, fast, trustworthy language models, reproducibly."""
    ctx.obj = predicting.Project(_outdated)


def _outdated(root: Path, model: str) -> str | None:
    from flows.dvc.outdated import notice

    return notice(root, model)


for _command in (
    starting.init, fetching.fetch, graph.check, graph.plan, graph.reproduce,
    showing.metrics, showing.data, showing.review, showing.history,
    predicting.predict, using.threshold, using.errors, using.explain, labelling.label,
    serving_app.app, demonstrating.demo,
    retraining.retrain, retraining.serve, retraining.server, retraining.automations, releasing.promote,
    releasing.rollback, releasing.list_releases, experimenting.seeds, experimenting.ablation,
    experimenting.debias, prompting.prompt,
):  # fmt: skip
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `winnow`, as `run` says."""
    run(cli, arguments)
