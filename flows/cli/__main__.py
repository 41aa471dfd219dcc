"""`python -m flows.cli`: the `winnow` command of this checkout."""

from flows.cli import main

main()
