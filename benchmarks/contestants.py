"""What the benchmarks of runtimes compare: each with the settings that its own makers name for the case at hand.

All tokenize by `encode_batch_fast`. Of many rows everybody gets the same batches, of rows of similar length; a peer may
fill them to the longest row or run rows of equal length apart, and the faster of the two counts. OpenVINO is compiled
for latency where rows come alone, and for throughput, with its own queue, where there are many.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["NNCF_CI"] = "1"  # before it is imported: else it tells its makers what is done with it
import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from record import ROOT

from stages.backends import runners
from stages.backends.batching import calibration_inputs, open_reader
from stages.backends.onnx_export import export
from stages.backends.onnxruntime_int8.exported import fuse
from stages.backends.quiet import quiet
from stages.core.files import read_json
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.models.encoder import FAMILY
from stages.reading.clean_rows import read_split, texts_of

MATRICES = ["Attention", "Gather", "Gemm", "MatMul"]  # what Winnow has in int8, too
Inputs = tuple[np.ndarray, np.ndarray]  # ids and mask, (B, T) int64 each
Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
Predict = Callable[[Sequence[str]], Any]
Many = Callable[[Sequence[Sequence[str]]], Any]  # of batches
Encode = Callable[[Sequence[str]], Iterable[Inputs]]


@dataclass(frozen=True)
class Contestant:
    """How one text is answered, and the ways in which batches may be."""

    single: Predict
    many: Mapping[str, Many]


def winnow(folder: Path, threads: int) -> Contestant:
    """A folder by its own runner."""
    predict = runners.open_runner(folder, threads=threads).predict
    return Contestant(predict, {"its own": lambda batches: [predict(batch) for batch in batches]})


def peer(run: Run, folder: Path) -> Contestant:
    """A runtime that takes ids and mask, with the tokenizer in `folder`."""

    def answered(encode: Encode) -> Many:
        return lambda batches: [run(*inputs) for batch in batches for inputs in encode(batch)]

    single, ways = padded(folder), {"padded": padded(folder), "equal lengths": equally_long(folder)}
    return Contestant(
        lambda texts: [run(*inputs) for inputs in single(texts)],
        {way: answered(encode) for way, encode in ways.items()},
    )


def padded(folder: Path) -> Encode:
    """A batch as one input, filled to its longest row."""
    description = read_json(folder / "model.json")
    tokenizer = open_reader(folder, description).tokenizer
    tokenizer.enable_padding(pad_id=description["pad_id"])

    def encode(texts: Sequence[str]) -> Iterator[Inputs]:
        rows = tokenizer.encode_batch_fast(list(texts))
        yield (
            np.array([row.ids for row in rows], dtype=np.int64),
            np.array([row.attention_mask for row in rows], dtype=np.int64),
        )

    return encode


def equally_long(folder: Path) -> Encode:
    """A batch as one input a length."""
    tokenizer = open_reader(folder, read_json(folder / "model.json")).tokenizer

    def encode(texts: Sequence[str]) -> Iterator[Inputs]:
        by_length: dict[int, list[list[int]]] = {}
        for row in tokenizer.encode_batch_fast(list(texts)):
            by_length.setdefault(len(row.ids), []).append(row.ids)
        for rows in by_length.values():
            ids = np.array(rows, dtype=np.int64)
            yield ids, np.ones_like(ids)

    return encode


def onnx_run(model: Path | bytes, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    source = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def torch_run(model: Callable[..., torch.Tensor]) -> Run:
    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    return run


def openvino_peer(model: Any, folder: Path, threads: int) -> Contestant:
    """Compiled twice: for latency, and for throughput with as many requests at once as it likes."""
    import openvino

    core, common = openvino.Core(), {"INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", {**common, "PERFORMANCE_HINT": "LATENCY"}).create_infer_request()

    def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)[0]

    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", {**common, "PERFORMANCE_HINT": "THROUGHPUT"}))

    def queued(encode: Encode) -> Many:
        def many(batches: Sequence[Sequence[str]]) -> list[np.ndarray]:
            answers: list[np.ndarray] = []
            queue.set_callback(lambda done, _at: answers.append(done.get_output_tensor().data.copy()))
            for batch in batches:
                for ids, mask in encode(batch):
                    queue.start_async({"input_ids": ids, "attention_mask": mask})
            queue.wait_all()
            return answers

        return many

    ways = {"padded": queued(padded(folder)), "equal lengths": queued(equally_long(folder))}
    return Contestant(peer(run, folder).single, ways)


def calibration_texts() -> list[str]:
    """The training rows from which Winnow's own ranges are learned."""
    train = texts_of(read_split(Paths(ROOT).clean, "train"))
    wanted = load_params(ROOT / "params.yaml").quantize.calibration_rows
    chosen = np.linspace(0, len(train) - 1, num=min(wanted, len(train)), dtype=int)
    return [str(train[at]) for at in chosen]


class Calibration(CalibrationDataReader):
    """Rows for ONNX Runtime's quantizer, one by one."""

    def __init__(self, rows: Sequence[dict[str, np.ndarray]]) -> None:
        self._rows = iter(rows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rows, None)


def onnx_files(source: Path, scratch: Path, texts: Sequence[str]) -> dict[str, Path]:
    """The model in `source` as ONNX Runtime's own tools make it: exported, fused by its optimizer, and both in int8."""
    files = {
        "float32": scratch / "float32.onnx",
        "float32, optimizer": scratch / "fused.onnx",
        "dynamic int8": scratch / "dynamic.onnx",
        "dynamic int8, optimizer": scratch / "fused_dynamic.onnx",
        "static int8": scratch / "static.onnx",
        "static int8, optimizer": scratch / "fused_static.onnx",
    }
    rows = calibration_inputs(list(texts), source, read_json(source / "model.json"))
    common = {
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "extra_options": {"DefaultTensorType": onnx.TensorProto.FLOAT},  # fused operators: no shape inference
    }
    with quiet():
        export(source, files["float32"])
        fuse(files["float32"], files["float32, optimizer"], FAMILY.open(source).encoder.config)
        for way in ("", ", optimizer"):
            exported = files[f"float32{way}"]
            quantize_dynamic(exported, files[f"dynamic int8{way}"], **common)
            shaped = scratch / f"{exported.stem}_shaped.onnx"
            quant_pre_process(exported, shaped, skip_optimization=True, auto_merge=True)
            quantize_static(
                shaped, files[f"static int8{way}"], Calibration(rows), quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8, op_types_to_quantize=MATRICES, **common,
            )  # fmt: skip
    return files


def with_tokenizer(model: Path, source: Path, folder: Path) -> Path:
    """A folder with the file `model` and the tokenizer of `source`: what would be shipped."""
    folder.mkdir()
    shutil.copyfile(model, folder / "model.onnx")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    return folder


def openvino_models(exported: Path, source: Path, texts: Sequence[str]) -> dict[str, Any]:
    """OpenVINO's model in float32, and in int8 by NNCF from the same rows; nothing where they are not installed."""
    try:
        import nncf
        import openvino
    except ImportError:
        return {}
    import logging

    logging.getLogger("nncf").setLevel(logging.ERROR)
    float32 = openvino.Core().read_model(exported.read_bytes())
    rows = calibration_inputs(list(texts), source, read_json(source / "model.json"))
    with quiet():
        int8 = nncf.quantize(
            float32.clone(), nncf.Dataset(rows), subset_size=len(texts), model_type=nncf.ModelType.TRANSFORMER
        )
    return {"OpenVINO, float32": float32, "OpenVINO, NNCF int8": int8}
