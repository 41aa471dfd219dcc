"""What the flow costs over DVC alone: `python benchmarks/orchestration.py`.

A Prefect server runs already, as it does for whoever schedules. Two figures: a reproduce in which nothing has changed,
against `dvc status`, in this repository (`make repro` first); and a stage that does nothing, against plain `dvc repro`,
as the slope between chains of two lengths. The commands alternate. Writes orchestration.json beside this file.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import record

RUNS = 7
SHORT, LONG = 2, 12  # stages of the two chains
ROOT = Path(__file__).resolve().parents[1]
DVC = [sys.executable, "-m", "dvc"]
WINNOW = [sys.executable, "-m", "flows.cli"]


def main() -> None:
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as environment:
        cached = paired({"dvc_status": [*DVC, "status"], "winnow_reproduce": [*WINNOW, "reproduce"]}, ROOT, environment)
        slopes = {}
        chains = {count: chain(Path(name) / f"chain{count}", count, environment) for count in (SHORT, LONG)}
        forced = {"dvc_repro": [*DVC, "repro", "--force"], "winnow_reproduce": [*WINNOW, "reproduce", "--force"]}
        times = {count: paired(forced, folder, environment) for count, folder in chains.items()}
        for command in forced:
            slopes[command] = (times[LONG][command] - times[SHORT][command]) / (LONG - SHORT)
    report = {
        "runs": RUNS,
        "cached_seconds": rounded(cached),
        "cached_adds_seconds": round(cached["winnow_reproduce"] - cached["dvc_status"], 2),
        "chain_seconds": {f"{count}_stages": rounded(times[count]) for count in times},
        "per_stage_seconds": rounded(slopes),
        "per_stage_adds_seconds": round(slopes["winnow_reproduce"] - slopes["dvc_repro"], 3),
    }
    record.write(Path(__file__).with_suffix(".json"), report)


def paired(commands: dict[str, list[str]], folder: Path, environment: dict[str, str]) -> dict[str, float]:
    """The median seconds of each command, run in turns; the first turn does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def chain(folder: Path, count: int, environment: dict[str, str]) -> Path:
    """A project of so many stages, each after the one before; none does more than write a byte."""
    folder.mkdir()
    stages = []
    for number in range(count):
        before = f"deps: [s{number - 1}.txt]" if number else "params: [seed]"
        stages.append(f"  s{number}: {{cmd: echo {number} > s{number}.txt, {before}, outs: [s{number}.txt]}}\n")
    (folder / "dvc.yaml").write_text("stages:\n" + "".join(stages), encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copy(ROOT / "constraints.txt", folder)  # what params.yaml names as the source of its data
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"]):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder


@contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """The environment of commands that use a Prefect server, which runs inside."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PREFECT_API_URL": api, "DVC_NO_ANALYTICS": "1"}
    command = [*WINNOW, "server", "--port", str(port), "--folder", str(home / "server")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=home)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.2)
        yield environment
    finally:
        process.terminate()
        process.wait()


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


if __name__ == "__main__":
    main()
