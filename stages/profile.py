"""Stage `profile`: the costs of each model on this machine: latency, throughput, start-up, energy, size, memory.

All models in one run and in turns, each time in a new process, so that what is compared is of one machine and one hour:

    round 1: baseline  static  probe  teacher  student  pruned  quantized
    round 2: baseline  static  ...                           a figure is the median of its rounds
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stages.core import guard
from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.machine import processor
from stages.core.model_folder import left_out
from stages.core.params.file import Params
from stages.core.paths import MODELS, Paths
from stages.core.progress import progress

Figures = Mapping[str, Any]
EXACT = ("size_mb",)  # the same in each round


def profile(params: Params, paths: Paths, *names: str) -> None:
    """Measure the models `names` (none named: all); write metrics/profile/NAME.json. The figures are this machine's.

    Of a model that the task cannot have the file says so.
    """
    reasons = {name: left_out(paths.model(name)) for name in names or MODELS}
    found = in_turns([name for name, reason in reasons.items() if reason is None], params.profile.rounds, measured)
    machine = {
        "threads": params.profile.threads,
        "processor": processor(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    for name, reason in reasons.items():
        if reason is not None:
            write_json(paths.profile(name), {"left_out": reason})
    for name, rounds in found.items():
        write_json(paths.profile(name), {**combined(rounds), **machine})


def in_turns(
    names: Sequence[str], rounds: int, measure: Callable[[str, int], Figures]
) -> Mapping[str, Sequence[Figures]]:
    """The figures of `measure(name, round)` for each name in each round (from 0); a round goes once over all names."""
    found: dict[str, list[Figures]] = {name: [] for name in names}
    for number, name in progress([(number, name) for number in range(rounds) for name in names], "profile"):
        found[name].append(measure(name, number))
    return found


def measured(name: str, number: int) -> Figures:
    """One model's figures, measured in a process of its own.

    Raises SystemExit where that fails, after it has reported the reason, and ChildProcessError where it was killed
    before.
    """
    command = [sys.executable, "-m", "stages.programs.timing", name, *(["table"] if number == 0 else [])]
    # The outs are this process's to put back, not the child's; and Ctrl-C is heard here alone.
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=False,
        preexec_fn=guard.end_with_parent, process_group=0,
    )  # fmt: skip
    if done.returncode < 0:
        ended_by = signal.Signals(-done.returncode).name
        raise ChildProcessError(
            f"the process that measures the model '{name}' was ended by {ended_by}. A machine sends SIGKILL where"
            " it has no memory left. Make room, then run it again."
        )
    if done.returncode:
        raise SystemExit(done.returncode)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def combined(rounds: Sequence[Figures]) -> dict[str, Any]:
    """The median of each figure, and under `rounds` those of each round; figures of the first alone stay unchanged."""
    repeated = [key for key in rounds[0] if all(isinstance(figures.get(key), int | float) for figures in rounds)]
    each = {key: [figures[key] for figures in rounds] for key in repeated}
    medians = {key: round(statistics.median(values), 3) for key, values in each.items()}
    return {**rounds[0], **medians, "rounds": {key: each[key] for key in repeated if key not in EXACT}}


if __name__ == "__main__":
    run_stage(profile, *sys.argv[1:])
