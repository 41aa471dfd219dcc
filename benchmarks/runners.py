"""The pruned student's weights in several runtimes, side by side: single rows, batches, and where a row's time goes.

    python benchmarks/runners.py [--threads 2] [--rows 200] [--rounds 5]

All run in turns in one process, several rounds, tokenization included; a figure is the best round's median (single
rows of natural length) or mean (batches of 32, rows of similar length together), and the ratio is to Winnow's runner.
Each peer has the settings that its makers name for the case (contestants.py). OpenVINO takes part where it is installed
(`.venv/bin/pip install --constraint constraints.txt --editable '.[openvino]'`). Writes runners.json beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import contestants
import numpy as np
import onnx
import onnxruntime
import record
import torch
from contestants import Contestant, onnx_run
from onnx import TensorProto, helper, numpy_helper
from record import ROOT

from stages.backends import runners
from stages.backends.batching import open_reader
from stages.core import machine
from stages.core.files import read_json
from stages.models.encoder import FAMILY
from stages.reading.clean_rows import read_split

FLOAT32, QUANTIZED = (ROOT / "artifacts/models" / name for name in ("pruned", "quantized"))
OURS = "Winnow"
BATCH = 32


def taking_part(scratch: Path, threads: int) -> dict[str, Contestant]:
    """Winnow's runner first; then each runtime in float32, and in int8 as its own tools make it."""
    torch.set_num_threads(threads)
    model, texts = FAMILY.open(FLOAT32), contestants.calibration_texts()
    files = contestants.onnx_files(FLOAT32, scratch, texts)
    made = {OURS: contestants.winnow(QUANTIZED, threads)}
    made |= {f"ONNX Runtime, {way}": contestants.peer(onnx_run(file, threads), FLOAT32) for way, file in files.items()}
    for name, compiled in (("torch, eager", model), ("torch, compiled", torch.compile(model, dynamic=True))):
        made[name] = contestants.peer(contestants.torch_run(compiled), FLOAT32)
    for name, found in contestants.openvino_models(files["float32"], FLOAT32, texts).items():
        made[name] = contestants.openvino_peer(found, FLOAT32, threads)
    return made


def measure(contestant: Contestant, texts: Sequence[str]) -> dict[str, float]:
    """The median milliseconds of a row alone, and rows a second in batches by each of its ways."""
    spent = []
    for text in texts:
        started = time.perf_counter()
        contestant.single([text])
        spent.append((time.perf_counter() - started) * 1000)
    alike = sorted(texts, key=len)
    batches = [alike[i : i + BATCH] for i in range(0, len(alike), BATCH)]
    found = {"p50_ms": statistics.median(spent)}
    for way, many in contestant.many.items():
        started = time.perf_counter()
        many(batches)
        found[way] = len(texts) / (time.perf_counter() - started)
    return found


def fastest(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Of some rounds the best median, and the best rate with the way that had it."""
    rate, way = max((figures[way], way) for figures in rounds for way in figures if way != "p50_ms")
    return {"p50_ms": min(figures["p50_ms"] for figures in rounds), "rows_per_s": rate, "batches": way}


def breakdown(texts: Sequence[str], threads: int) -> dict[str, float]:
    """Milliseconds of one row, the medians: all, tokenization, starting a run, the operators; and the bound.

    The bound is what the matrix products would take at the rate of a large int8 product on the same threads.
    """
    description = read_json(QUANTIZED / "model.json")
    tokenizer = open_reader(QUANTIZED, description).tokenizer
    predict = runners.open_runner(QUANTIZED, threads=threads).predict
    run, nothing = onnx_run(QUANTIZED / "model.onnx", threads), onnx_run(model_of(graph_of_nothing()), threads)
    rows = [np.array([row.ids], dtype=np.int64) for row in tokenizer.encode_batch_fast(list(texts))]
    whole = median_ms(lambda text: predict([text]), texts)
    tokenization = median_ms(lambda text: tokenizer.encode_batch_fast([text]), texts)
    session = median_ms(lambda ids: run(ids, np.ones_like(ids)), rows)
    dispatch = median_ms(lambda ids: nothing(ids, np.ones_like(ids)), rows)
    tokens = statistics.median(row.shape[1] for row in rows)
    weights = FAMILY.open(FLOAT32).state_dict()
    products = sum(w.numel() for name, w in weights.items() if ".layer." in name and w.ndim == 2)
    peak = int8_peak(threads)
    return {
        "tokens": tokens,
        "row_ms": whole,
        "tokenization_ms": tokenization,
        "dispatch_ms": dispatch,
        "operators_ms": session - dispatch,
        "rest_ms": whole - tokenization - session,
        "matrix_peak_tops": peak / 1e12,
        "matrix_bound_ms": 2 * products * tokens / peak * 1000,
    }


def median_ms(call: Callable[[Any], Any], inputs: Sequence[Any]) -> float:
    """Of the inputs' best of some rounds."""
    best = [float("inf")] * len(inputs)
    for _ in range(5):
        for i, value in enumerate(inputs):
            started = time.perf_counter()
            call(value)
            best[i] = min(best[i], (time.perf_counter() - started) * 1000)
    return statistics.median(best)


def graph_of_nothing() -> onnx.GraphProto:
    """A graph that does next to nothing: what a call of a session costs by itself."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", "T"]) for n in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.INT64, ["B", "T"])
    return helper.make_graph([helper.make_node("Identity", ["input_ids"], ["logits"])], "nothing", inputs, [output])


def model_of(graph: onnx.GraphProto) -> bytes:
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def int8_peak(threads: int, *, rows: int = 1024, width: int = 2048) -> float:
    """Operations a second of a large product of uint8 with int8."""
    weight = np.random.default_rng(0).integers(-127, 128, (width, width), dtype=np.int8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["logits"])
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, width])],
        [helper.make_tensor_value_info("logits", TensorProto.INT32, [rows, width])],
        [numpy_helper.from_array(weight, "w")],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model_of(graph), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).integers(0, 256, (rows, width), dtype=np.uint8)
    seconds = median_ms(lambda value: session.run(None, {"x": value}), [x] * 5) / 1000
    return 2 * rows * width * width / seconds


def as_table(found: dict[str, dict[str, Any]]) -> str:
    own = found[OURS]
    lines = [f"{'':40}{'p50 ms':>9}{'x Winnow':>10}{'rows/s':>9}{'x Winnow':>10}  batches"]
    for name, row in found.items():
        slower, fewer = row["p50_ms"] / own["p50_ms"], row["rows_per_s"] / own["rows_per_s"]
        figures = f"{row['p50_ms']:9.3f}{slower:10.2f}{row['rows_per_s']:9.0f}{fewer:10.2f}"
        lines.append(f"{name:40}{figures}  {row['batches']}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=min(2, machine.cores()))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/runners.json")
    chosen = parser.parse_args()
    texts = read_split(ROOT / "artifacts/data/clean.parquet", "test")["text"].to_pylist()[: chosen.rows]
    rounds: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        made = taking_part(Path(scratch), chosen.threads)
        for contestant in made.values():  # what is compiled for a shape is compiled before the clock runs
            measure(contestant, texts)
        for _ in range(chosen.rounds):
            for name, contestant in made.items():
                rounds.setdefault(name, []).append(measure(contestant, texts))
    found = {name: fastest(figures) for name, figures in rounds.items()}
    row = breakdown(texts, chosen.threads)
    print(as_table(found))
    record.write(chosen.output, {"threads": chosen.threads, "runners": found, "one_row": row})


if __name__ == "__main__":
    main()
