"""The light install: what pip installs of it, and how long a process takes from its start to the first answer.

    python benchmarks/runtime.py [--model artifacts/models/quantized] [--starts 20] [--out benchmarks/runtime.json]

Builds the wheel, has pip install it in a new environment as docs/deployment.md says, and starts processes that open the
model and answer a text, in turns with this environment, the whole of Winnow. The first start of the light install,
which compiles what it imports, is told by itself. `load` is the machine's load average before: where it is not near 0,
others had a part in the figures, least in those of processor time. Writes runtime.json beside this file, or to --out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import record
from record import ROOT

from flows.runtime.build import build

TEXT = "Return the eigenvalues of a symmetric matrix."
ASK = """
import json, resource, sys, time
from winnow import load
imported = time.monotonic()
model = load(sys.argv[1])
opened = time.monotonic()
model([sys.argv[2]])
answered = time.monotonic()
used = resource.getrusage(resource.RUSAGE_SELF)
costs = {"processor": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1000}
print(json.dumps([{"imported": imported, "opened": opened, "answered": answered}, costs]))
"""


def installed(folder: Path) -> tuple[Path, Path]:
    """An environment with the light install in `folder`: its Python, and its site-packages."""
    wheel = build(folder / "dist")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "-r", str(wheel.with_name("requirements.txt")), str(wheel)], check=True)
    return python, next((folder / "venv/lib").glob("python*/site-packages"))


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def start(python: Path, model: Path, environment: Mapping[str, str], cwd: Path) -> dict[str, float]:
    """Seconds of one process from its start, those of processor time among them, and its peak memory in MB."""
    began = time.monotonic()
    told = subprocess.run(
        [python, "-c", ASK, str(model), TEXT], cwd=cwd, env=environment, check=True, capture_output=True, text=True
    )
    times, costs = json.loads(told.stdout)
    return {name: value - began for name, value in times.items()} | costs


def summary(starts: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure, and the slowest first answer."""
    medians = {name: round(statistics.median(one[name] for one in starts), 3) for name in starts[0]}
    return {**medians, "answered_slowest": round(max(one["answered"] for one in starts), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "artifacts/models/quantized")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    model, load = arguments.model.resolve(), os.getloadavg()[0]
    others = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    alone = {name: value for name, value in os.environ.items() if name not in others}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python, site = installed(folder)
        before = size_mb(site)
        first = start(python, model, alone, folder)
        ways = {"light": (python, alone), "whole": (Path(sys.executable), alone | {"PYTHONPATH": str(ROOT)})}
        starts: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(arguments.starts):
            for way, (which, environment) in ways.items():
                starts[way].append(start(which, model, environment, folder))
        figures = {
            "load": round(load, 2), "starts": arguments.starts,
            "installed_mb": round(before, 1), "installed_mb_once_started": round(size_mb(site), 1),
            "first_start": {key: round(value, 3) for key, value in first.items()},
            "seconds_from_the_start": {way: summary(each) for way, each in starts.items()},
        }  # fmt: skip
    record.write(arguments.out, figures)


if __name__ == "__main__":
    main()
