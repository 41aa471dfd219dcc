"""Stage `profile`: what one model costs on this machine: latency, throughput, size, memory."""

from __future__ import annotations

import sys

from stages import plugins
from stages.entry import run_stage
from stages.files import write_json
from stages.measures import MEASURES
from stages.model_folder import open_runner
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split


def profile(params: Params, paths: Paths, name: str) -> None:
    """Measure the model `name`; write metrics/profile/NAME.json. The figures are this machine's."""
    texts = read_split(paths.clean, "test")["text"].to_pylist()
    runner = open_runner(paths.model(name), threads=params.profile.threads)
    speed = plugins.load(MEASURES, "speed", key="measure")(runner, texts, params.profile)
    size = plugins.load(MEASURES, "size", key="measure")(paths.model(name))
    write_json(paths.profile(name), {**speed, **size, "threads": params.profile.threads})


if __name__ == "__main__":
    run_stage(profile, *sys.argv[1:])
