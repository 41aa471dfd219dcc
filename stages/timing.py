"""One model's costs, measured once in a process of its own: `python -m stages.timing MODEL [table]`, for `profile`."""

from __future__ import annotations

import json
import sys
from typing import Any

from stages import plugins
from stages.entry import run_stage
from stages.measures import COSTS
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split, texts_of
from stages.runners import open_runner

TABLE = "table"


def timing(params: Params, paths: Paths, name: str, *more: str) -> None:
    """Measure the model `name`; print the figures as JSON in a line. With `table`, of all batches and threads too."""
    texts = texts_of(read_split(paths.clean, "test"))
    folder = paths.model(name)
    measures = {key: plugins.load(COSTS, key, key="measure") for key in COSTS}

    def opened(threads: int) -> Any:
        return open_runner(folder, threads=threads)

    # The memory before the table, which opens the model again.
    found = {**measures["speed"](opened, texts, params.profile), **measures["size"](folder)}
    if TABLE in more:
        found["throughput"] = measures["throughput"](opened, texts, params.profile)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    run_stage(timing, *sys.argv[1:])
