"""The `winnow` command."""


def main() -> None:
    """Run `winnow` with the arguments of this process."""
    from flows.cli.commands import main as run

    run()
