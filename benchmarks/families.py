"""Each kind of encoder in int8, by Winnow and by ONNX Runtime's own dynamic quantization of torch's export.

    python benchmarks/families.py [--threads 2] [--rounds 5] [--layers 2] [KIND ...]

The models are random, of the shape of a small student: two layers, 384 wide. Both graphs are given the same numbers of
tokens, of paragraphs of this manual, by the same tokenizer; of many rows, rows of one length. They run in turns, and a
figure is the best round's. Writes families.json beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import record
import torch
from contestants import Run, onnx_run
from onnxruntime.quantization import QuantType, quantize_dynamic
from record import ROOT
from transformers import CONFIG_MAPPING, AutoModel

from stages.backends.batching import calibration_inputs
from stages.backends.onnx_export import export
from stages.backends.onnxruntime_int8 import quantizer
from stages.backends.quiet import quiet
from stages.core import model_folder
from stages.core.contracts import Head
from stages.core.params.file import load_params
from stages.models.encoder import FAMILY, EncoderWithHead
from stages.models.pretrained import locate

WIDTH, HEADS, NEURONS, VOCABULARY, MAX_TOKENS, BATCH = 384, 12, 960, 30522, 128, 32
SHAPE = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_attention_heads": HEADS, "intermediate_size": NEURONS,
    "max_position_embeddings": 512, "pad_token_id": 0, "attn_implementation": "eager",
}  # fmt: skip
V3 = {
    "relative_attention": True, "position_buckets": 256, "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm",
    "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip
ENDS: dict[str, Any] = {f"{name}_token_id": None for name in ("bos", "eos", "cls", "sep")}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {}, "distilbert": {}, "electra": {"embedding_size": 128}, "albert": {"embedding_size": 128}, "roberta": {},
    "xlm-roberta": {}, "deberta-v2": V3, "modernbert": ENDS, "mpnet": {},
}  # fmt: skip
OURS, PLAIN = "winnow", "dynamic int8"


def main() -> None:
    """Measure the kinds that are named, or all, and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=2)
    asked = parser.parse_args()
    found = {
        kind: compared(kind, layers=asked.layers, threads=asked.threads, rounds=asked.rounds) for kind in asked.kinds
    }
    record.write(
        Path(__file__).with_suffix(".json"), {"threads": asked.threads, "layers": asked.layers, "kinds": found}
    )  # fmt: skip


def compared(kind: str, *, layers: int, threads: int, rounds: int) -> dict[str, Any]:
    """The figures of both graphs, and how many times as fast ours is."""
    with tempfile.TemporaryDirectory() as scratch, quiet():
        source = student(kind, Path(scratch), layers)
        texts = paragraphs()
        graphs = {OURS: by_winnow(source, texts), PLAIN: by_onnxruntime(source)}
        description = model_folder.describe(source)
        rows = [row["input_ids"] for row in calibration_inputs(texts, source, description)]
        runs = {name: onnx_run(path, threads) for name, path in graphs.items()}
        figures = measured(runs, rows, rounds)
        for name, path in graphs.items():
            figures[name] |= {"mb": path.stat().st_size / 1e6, "operators": len(onnx.load(path).graph.node)}
    ours, plain = figures[OURS], figures[PLAIN]
    faster = {"row": plain["p50_ms"] / ours["p50_ms"], "batches": ours["rows_per_s"] / plain["rows_per_s"]}
    return {**figures, "times_as_fast": faster}


def student(kind: str, folder: Path, layers: int) -> Path:
    """A random model of the kind with a head for ten labels, in a folder as stages write it."""
    params, sizes = load_params(ROOT / "params.yaml").model, {**SHAPE, **KINDS[kind]}
    sizes["n_layers" if kind == "distilbert" else "num_hidden_layers"] = layers
    if kind == "distilbert":
        sizes |= {"dim": WIDTH, "n_heads": HEADS, "hidden_dim": NEURONS}
        sizes = {name: value for name, value in sizes.items() if name not in ("hidden_size", "num_attention_heads")}
    torch.manual_seed(0)
    encoder = AutoModel.from_config(CONFIG_MAPPING[kind](**sizes))
    FAMILY.write(EncoderWithHead(encoder, pooling="mean", dropout=0.0, head=Head("row", 10)), folder)
    shutil.copyfile(locate(params) / "tokenizer.json", folder / "tokenizer.json")
    model_folder.seal(
        folder, backend="pytorch", task="text_classification", space={"labels": list(map(str, range(10)))},
        family="encoder", max_tokens=MAX_TOKENS, pad_id=0, temperature=1.0,
    )  # fmt: skip
    return folder


def paragraphs() -> list[str]:
    """Lines of the manual with some words in them."""
    pages = sorted((ROOT / "docs").glob("*.md"))
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if len(line.split()) > 5][:400]


def by_winnow(source: Path, texts: Sequence[str]) -> Path:
    made = quantizer.prepare(source, load_params(ROOT / "params.yaml").quantize, texts[:100])
    (source / "winnow").mkdir()
    made.write(source / "winnow", ())
    return source / "winnow/model.onnx"


def by_onnxruntime(source: Path) -> Path:
    """What a user has in three lines: torch's exporter, then `quantize_dynamic` as it comes."""
    exported, int8 = source / "exported.onnx", source / "dynamic.onnx"
    export(source, exported)
    quantize_dynamic(exported, int8, weight_type=QuantType.QInt8)
    return int8


def measured(runs: dict[str, Run], rows: Sequence[np.ndarray], rounds: int) -> dict[str, dict[str, float]]:
    """The best round's median of a row alone (ms), and its rows a second in batches of one length."""
    by_length: dict[int, list[np.ndarray]] = {}
    for row in rows:
        by_length.setdefault(row.shape[1], []).append(row)
    batches = [
        np.concatenate(of_it[at : at + BATCH]) for of_it in by_length.values() for at in range(0, len(of_it), BATCH)
    ]  # fmt: skip
    best: dict[str, dict[str, float]] = {name: {"p50_ms": np.inf, "rows_per_s": 0.0} for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            alone, together = spent(run, rows), spent(run, batches)
            best[name]["p50_ms"] = min(best[name]["p50_ms"], statistics.median(alone) * 1000)
            best[name]["rows_per_s"] = max(best[name]["rows_per_s"], len(rows) / sum(together))
    return best


def spent(run: Callable[[np.ndarray, np.ndarray], Any], inputs: Sequence[np.ndarray]) -> list[float]:
    """Seconds of each input."""
    found = []
    for ids in inputs:
        started = time.perf_counter()
        run(ids, np.ones_like(ids))
        found.append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    main()
