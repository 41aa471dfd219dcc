"""What compression gains: `python benchmarks/compression.py` (after `make repro`; a minute or two).

The released model against its own teacher: in torch as trained, and in int8 by ONNX Runtime's own tools (dynamic as
most people have it; dynamic and static after its optimizer). All have the same batches, rows of similar length
together, filled or not, whichever is faster. In each of several processes all take turns, with the same threads,
tokenization included; figures and ratios are the medians over the processes, with the lowest and highest ratio, since
where a process lies in memory moves single rows by a third. Quality is that of metrics/quality, on the test rows.
Writes compression.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import contestants
import record
import torch
from contestants import Contestant, onnx_run
from record import ROOT
from runners import OURS, QUANTIZED, fastest, measure

from stages.core import machine
from stages.core.files import read_json
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split

TEACHER = ROOT / "artifacts/models/teacher"
INT8 = ("dynamic int8", "dynamic int8, optimizer", "static int8, optimizer")
ROUNDS = 3


def taking_part(int8: Path, threads: int) -> dict[str, tuple[Contestant, Path]]:
    """What answers, and its folder."""
    torch.set_num_threads(threads)
    itself = contestants.winnow(TEACHER, threads)
    made = {OURS: (contestants.winnow(QUANTIZED, threads), QUANTIZED), "teacher, torch float32": (itself, TEACHER)}
    for way in INT8:
        folder = int8 / way
        made[f"teacher, {way}"] = (contestants.peer(onnx_run(folder / "model.onnx", threads), TEACHER), folder)
    return made


def make_int8(scratch: Path) -> Path:
    """The teacher as ONNX Runtime's tools quantize it, a folder a way, each with its tokenizer."""
    files = contestants.onnx_files(TEACHER, scratch, contestants.calibration_texts())
    (scratch / "int8").mkdir()
    for way in INT8:
        contestants.with_tokenizer(files[way], TEACHER, scratch / "int8" / way)
    return scratch / "int8"


def one(int8: Path, threads: int, rows: int) -> dict[str, dict[str, float]]:
    """The figures of one process: the medians of some rounds, after one that is not counted."""
    texts = read_split(Paths(ROOT).clean, "test")["text"].to_pylist()[:rows]
    ways = taking_part(int8, threads)
    rounds = [{name: fastest([measure(made, texts)]) for name, (made, _) in ways.items()} for _ in range(1 + ROUNDS)]
    return {
        name: {
            "p50_ms": statistics.median(figures[name]["p50_ms"] for figures in rounds[1:]),
            "rows_per_s": statistics.median(figures[name]["rows_per_s"] for figures in rounds[1:]),
            "size_mb": megabytes(folder),
        }
        for name, (_, folder) in ways.items()
    }


def compared(processes: list[dict[str, dict[str, float]]], name: str) -> dict[str, Any]:
    """The medians of a contestant, and how many times slower and larger than ours it is, with the extremes."""
    figures = [process[name] for process in processes]
    ratios = {
        "times_slower": [process[name]["p50_ms"] / process[OURS]["p50_ms"] for process in processes],
        "times_fewer_rows": [process[OURS]["rows_per_s"] / process[name]["rows_per_s"] for process in processes],
        "times_larger": [process[name]["size_mb"] / process[OURS]["size_mb"] for process in processes],
    }
    return {
        **{key: round(statistics.median(each[key] for each in figures), 4) for key in figures[0]},
        **{
            key: {"median": round(statistics.median(of), 2), "low": round(min(of), 2), "high": round(max(of), 2)}
            for key, of in ratios.items()
        },
    }


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def quality(name: str) -> dict[str, float]:
    found = read_json(Paths(ROOT).quality(name))
    return {measure: found[measure] for measure in ("accuracy", "macro_f1")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=min(2, machine.cores()))
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.one, chosen.threads, chosen.rows)))
        return
    size = ["--threads", str(chosen.threads), "--rows", str(chosen.rows)]
    processes = []
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, __file__, "--one", str(make_int8(Path(scratch))), *size]
        for number in range(chosen.processes):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            processes.append(json.loads(done.stdout.splitlines()[-1]))
            p50 = ", ".join(f"{name} {found['p50_ms']:.3f} ms" for name, found in processes[-1].items())
            print(f"process {number + 1}: {p50}", flush=True)
    scores = {name: quality(name) for name in ("teacher", "quantized")}
    report = {
        "threads": chosen.threads,
        "processes": chosen.processes,
        "models": {name: compared(processes, name) for name in processes[0]},
        "quality": scores,
        "kept": {key: round(scores["quantized"][key] / scores["teacher"][key], 4) for key in scores["teacher"]},
    }
    record.write(chosen.output, report)


if __name__ == "__main__":
    main()
