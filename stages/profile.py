"""Stage `profile`: what one model costs on this machine: latency, throughput, start-up, energy, size, memory."""

from __future__ import annotations

import sys

from stages import plugins
from stages.entry import run_stage
from stages.files import write_json
from stages.machine import processor
from stages.measures import COSTS
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split, texts_of
from stages.runners import open_runner


def profile(params: Params, paths: Paths, name: str) -> None:
    """Measure the model `name`; write metrics/profile/NAME.json. The figures are this machine's."""
    texts = texts_of(read_split(paths.clean, "test"))
    folder = paths.model(name)
    speed = plugins.load(COSTS, "speed", key="measure")(
        lambda threads: open_runner(folder, threads=threads), texts, params.profile
    )
    size = plugins.load(COSTS, "size", key="measure")(folder)
    write_json(paths.profile(name), {**speed, **size, "threads": params.profile.threads, "processor": processor()})


if __name__ == "__main__":
    run_stage(profile, *sys.argv[1:])
