"""One model's costs, measured once: `python -m stages.programs.timing MODEL [table]`, which `profile` calls."""

from __future__ import annotations

import json
import sys
from typing import Any

from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.model_folder import describe, generation_of, writes_for_sources
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures import COSTS
from stages.reading.clean_rows import read_split, texts_of

TABLE = "table"


def timing(params: Params, paths: Paths, name: str, *more: str) -> None:
    """Measure the model `name`; print the figures as JSON in a line. With `table`, of all batches and threads too."""
    texts = texts_of(read_split(paths.clean, "test"), paths.images)
    folder = paths.model(name)
    measures = {key: plugins.load(COSTS, key, key="measure") for key in COSTS}

    description, how = describe(folder), None
    if generation_of(description) is not None:  # for all that write, so that they are timed at the same work
        how = generation_of(describe(paths.model("quantized")))

    def opened(threads: int) -> Any:
        return open_runner(folder, threads=threads, how=how)

    # The memory before the table, which opens the model again.
    found = {**measures["speed"](opened, texts, params.profile), **measures["size"](folder)}
    if how is not None:
        writer = opened(params.profile.threads)
        positions = None if writes_for_sources(description) else description["max_tokens"]
        found |= measures["writing_speed"](writer, texts, how, params.profile, positions=positions)
    if TABLE in more:
        found["throughput"] = measures["throughput"](opened, texts, params.profile)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    run_stage(timing, *sys.argv[1:])
