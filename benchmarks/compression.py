"""What compression gains: `python benchmarks/compression.py` (after `make repro`; a minute or two).

The released model against its own teacher: in torch as trained, and in int8 as most people would have it (exported,
then ONNX Runtime's dynamic quantization). In each of several processes all take turns, with the same threads,
tokenization included; figures and ratios are the medians over the processes, with the lowest and highest ratio, since
where a process lies in memory moves single rows by a third. Quality is that of metrics/quality, on the test rows.
Writes compression.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import record
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from runners import QUANTIZED, ROOT, Predict, measure, onnx_run, predictor

from stages import machine, runners
from stages.backends.onnx_export import export
from stages.backends.quiet import quiet
from stages.files import read_json
from stages.paths import Paths
from stages.rows import read_split

TEACHER = ROOT / "artifacts/models/teacher"
OURS = "Winnow"
ROUNDS = 3


def contestants(int8: Path, threads: int) -> dict[str, tuple[Predict, Path]]:
    """What answers, and its folder."""
    torch.set_num_threads(threads)
    return {
        OURS: (runners.open_runner(QUANTIZED, threads=threads).predict, QUANTIZED),
        "teacher, dynamic int8": (predictor(onnx_run(int8 / "model.onnx", threads), TEACHER), int8),
        "teacher, torch float32": (runners.open_runner(TEACHER, threads=threads).predict, TEACHER),
    }


def make_int8(scratch: Path) -> Path:
    """The teacher as most people would quantize it, with its tokenizer."""
    exported, folder = scratch / "float32.onnx", scratch / "int8"
    folder.mkdir()
    with quiet():
        export(TEACHER, exported)
        quantize_dynamic(exported, folder / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)
    shutil.copyfile(TEACHER / "tokenizer.json", folder / "tokenizer.json")
    return folder


def one(int8: Path, threads: int, rows: int) -> dict[str, dict[str, float]]:
    """The figures of one process: the medians of some rounds, after one that is not counted."""
    texts = read_split(Paths(ROOT).clean, "test")["text"].to_pylist()[:rows]
    ways = contestants(int8, threads)
    rounds = [{name: measure(predict, texts) for name, (predict, _) in ways.items()} for _ in range(1 + ROUNDS)][1:]
    return {
        name: {
            "p50_ms": statistics.median(figures[name][0] for figures in rounds),
            "rows_per_s": statistics.median(figures[name][1] for figures in rounds),
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
