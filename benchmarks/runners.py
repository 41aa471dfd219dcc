"""The pruned student's weights in several runtimes, side by side: single rows, batches, and where a row's time goes.

    python benchmarks/runners.py [--threads 2] [--rows 200] [--rounds 5]

All run in turns in one process, several rounds, tokenization included; a figure is the best round's median (single
rows of natural length) or mean (batches of 32), and the ratio is to Winnow's runner. What is compared to Winnow pads
its batches to the longest row, as is usual. OpenVINO takes part where it is installed. Writes
benchmarks/runners.json.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["NNCF_CI"] = "1"
import numpy as np
import onnx
import onnxruntime
import record
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from stages import machine, runners
from stages.backends.batching import open_tokenizer
from stages.backends.onnx_export import export
from stages.backends.quiet import quiet
from stages.files import read_json
from stages.models.encoder import FAMILY
from stages.rows import read_split

ROOT = Path(__file__).resolve().parent.parent
FLOAT32, QUANTIZED = (ROOT / "artifacts/models" / name for name in ("pruned", "quantized"))
BATCH = 32
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
Predict = Callable[[Sequence[str]], Any]


def predictor(run: Run, folder: Path = FLOAT32) -> Predict:
    """Texts to logits as is usual: one batch, padded to its longest row, with the tokenizer in `folder`."""
    description = read_json(folder / "model.json")
    tokenizer = open_tokenizer(folder, description).fast
    tokenizer.enable_padding(pad_id=description["pad_id"])

    def predict(texts: Sequence[str]) -> np.ndarray:
        rows = tokenizer.encode_batch(list(texts))
        ids, mask = ([getattr(row, name) for row in rows] for name in ("ids", "attention_mask"))
        return run(np.array(ids, dtype=np.int64), np.array(mask, dtype=np.int64))

    return predict


def session_of(model: Path | onnx.GraphProto, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    if isinstance(model, onnx.GraphProto):
        opset = [helper.make_opsetid("", 18)]
        source: Any = helper.make_model(model, opset_imports=opset, ir_version=10).SerializeToString()
    else:
        source = str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_run(model: Path | onnx.GraphProto, threads: int) -> Run:
    session = session_of(model, threads)
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def openvino_request(model: Any, threads: int) -> Run:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)[0]


def torch_module(model: Callable[..., torch.Tensor]) -> Run:
    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def contestants(scratch: Path, texts: Sequence[str], threads: int) -> dict[str, Predict]:
    """Winnow's runner first; then each runtime in float32, and in int8 as its own tools make it."""
    torch.set_num_threads(threads)
    model = FAMILY.open(FLOAT32)
    exported, int8 = scratch / "float32.onnx", scratch / "int8.onnx"
    with quiet():
        export(FLOAT32, exported)
        quantize_dynamic(exported, int8, weight_type=QuantType.QInt8, per_channel=True)
    made = {
        "Winnow": runners.open_runner(QUANTIZED, threads=threads).predict,
        "ONNX Runtime, float32": predictor(onnx_run(exported, threads)),
        "ONNX Runtime, dynamic int8": predictor(onnx_run(int8, threads)),
        "torch, eager": predictor(torch_module(model)),
        "torch, compiled": predictor(torch_module(torch.compile(model, dynamic=True))),
    }
    try:
        import nncf
        import openvino
    except ImportError:
        return made
    logging.getLogger("nncf").setLevel(logging.ERROR)
    float32 = openvino.Core().read_model(exported.read_bytes())
    tokenizer = open_tokenizer(FLOAT32, read_json(FLOAT32 / "model.json")).fast
    ids = [np.array([row.ids], dtype=np.int64) for row in tokenizer.encode_batch(list(texts[:200]))]
    rows = nncf.Dataset(ids, lambda row: {"input_ids": row, "attention_mask": np.ones_like(row)})
    with quiet():
        quantized = nncf.quantize(float32.clone(), rows, subset_size=len(ids), model_type=nncf.ModelType.TRANSFORMER)
    made["OpenVINO, as it comes"] = predictor(openvino_request(float32, threads))
    made["OpenVINO, NNCF int8"] = predictor(openvino_request(quantized, threads))
    return made


def measure(predict: Predict, texts: Sequence[str]) -> tuple[float, float]:
    """The median milliseconds of a row alone, and rows a second in batches."""
    spent = []
    for text in texts:
        started = time.perf_counter()
        predict([text])
        spent.append((time.perf_counter() - started) * 1000)
    started = time.perf_counter()
    for i in range(0, len(texts), BATCH):
        predict(texts[i : i + BATCH])
    return statistics.median(spent), len(texts) / (time.perf_counter() - started)


def breakdown(texts: Sequence[str], threads: int) -> dict[str, float]:
    """Milliseconds of one row, the medians: all, tokenization, starting a run, the operators; and the bound.

    The bound is what the matrix products would take at the rate of a large int8 product on the same threads.
    """
    description = read_json(QUANTIZED / "model.json")
    tokenizer = open_tokenizer(QUANTIZED, description).fast
    predict = runners.open_runner(QUANTIZED, threads=threads).predict
    run, nothing = onnx_run(QUANTIZED / "model.onnx", threads), onnx_run(graph_of_nothing(), threads)
    rows = [np.array([row.ids], dtype=np.int64) for row in tokenizer.encode_batch(list(texts))]
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
    session = session_of(graph, threads)
    x = np.random.default_rng(1).integers(0, 256, (rows, width), dtype=np.uint8)
    seconds = median_ms(lambda value: session.run(None, {"x": value}), [x] * 5) / 1000
    return 2 * rows * width * width / seconds


def as_table(found: dict[str, dict[str, float]]) -> str:
    own = found["Winnow"]
    lines = [f"{'':28}{'p50 ms':>9}{'x Winnow':>10}{'rows/s':>9}{'x Winnow':>10}"]
    for name, row in found.items():
        slower, fewer = row["p50_ms"] / own["p50_ms"], row["rows_per_s"] / own["rows_per_s"]
        lines.append(f"{name:28}{row['p50_ms']:9.3f}{slower:10.2f}{row['rows_per_s']:9.0f}{fewer:10.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=min(2, machine.cores()))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/runners.json")
    chosen = parser.parse_args()
    texts = read_split(ROOT / "artifacts/data/clean.parquet", "test")["text"].to_pylist()[: chosen.rows]
    rounds: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        made = contestants(Path(scratch), texts, chosen.threads)
        for predict in made.values():  # what is compiled for a shape is compiled before the clock runs
            measure(predict, texts)
        for _ in range(chosen.rounds):
            for name, predict in made.items():
                rounds.setdefault(name, []).append(measure(predict, texts))
    found = {
        name: {"p50_ms": min(ms for ms, _ in figures), "rows_per_s": max(rate for _, rate in figures)}
        for name, figures in rounds.items()
    }
    row = breakdown(texts, chosen.threads)
    print(as_table(found))
    record.write(chosen.output, {"threads": chosen.threads, "runners": found, "one_row": row})


if __name__ == "__main__":
    main()
