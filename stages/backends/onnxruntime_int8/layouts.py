"""BERT's relatives in BERT's terms: their weights under BERT's names, so that `graph.py` can write them too.

What differs between them is small. DistilBERT has no token types, RoBERTa's positions begin behind the number of its
padding, ELECTRA and ALBERT have a matrix between embeddings and layers, and ALBERT uses one layer many times.
E width of the embeddings, H hidden width, P positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx

from stages.models.model_files import positions

Weights = Mapping[str, np.ndarray]
Config = dict[str, Any]

SAME_NAMES = ("bert", "camembert", "data2vec-text", "electra", "ernie", "roberta", "xlm-roberta")
POSITIONS, TYPES = "encoder.embeddings.position_embeddings.weight", "encoder.embeddings.token_type_embeddings.weight"
LAYER = "encoder.encoder.layer."
KINDS = ("weight", "bias")
SHARED_FROM = 1024  # bytes: smaller constants are not worth the search
OF_DISTILBERT = {
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
OF_ALBERT = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.dense": "attention.output.dense",
    "attention.LayerNorm": "attention.output.LayerNorm",
    "ffn": "intermediate.dense",
    "ffn_output": "output.dense",
    "full_layer_layer_norm": "output.LayerNorm",
}
ALBERTS_LAYER = "encoder.encoder.albert_layer_groups.0.albert_layers.0."
ALBERTS_PROJECTION, PROJECTION = "encoder.encoder.embedding_hidden_mapping_in", "encoder.embeddings_project"


class InBertsTerms(NamedTuple):
    """A model as `graph.build` takes it."""

    weights: Weights
    config: Config
    repeated: bool = False
    """Whether several layers have the same weights, which a file then holds once."""


def in_berts_terms(weights: Weights, config: Config) -> InBertsTerms | None:
    """The model under BERT's names; None for a kind of another layout. `graph.understands` looks at what came out."""
    kind = config.get("model_type")
    if kind in SAME_NAMES:
        return InBertsTerms(_from_first_position(weights, config), {**config, "model_type": "bert"})
    if kind == "distilbert":
        return _of_distilbert(weights, config)
    if kind == "albert" and config["num_hidden_groups"] == config["inner_group_num"] == 1:
        return _of_albert(weights, config)
    return None


def _from_first_position(weights: Weights, config: Config) -> Weights:
    """The weights, with the position of the first token first in the table.

    RoBERTa counts positions from behind the number of its padding, over tokens that are no padding: in a row that is
    padded at its end, if at all, these are the tokens in turn.
    """
    if POSITIONS not in weights:
        return weights
    table = weights[POSITIONS]
    skipped = len(table) - positions({**config, "max_position_embeddings": len(table)})
    return {**weights, POSITIONS: table[skipped:]} if skipped else weights


def _of_distilbert(weights: Weights, config: Config) -> InBertsTerms:
    found = _renamed(weights, "encoder.transformer.layer.{}.", OF_DISTILBERT, config["n_layers"])
    found[TYPES] = np.zeros((1, config["dim"]), dtype=np.float32)
    ours = {
        "model_type": "bert", "hidden_size": config["dim"], "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"], "hidden_act": config["activation"], "layer_norm_eps": 1e-12,
        "type_vocab_size": 1,
    }  # fmt: skip
    return InBertsTerms(found, {**config, **ours})


def _of_albert(weights: Weights, config: Config) -> InBertsTerms:
    found = _renamed(weights, ALBERTS_LAYER, OF_ALBERT, config["num_hidden_layers"])
    for kind in KINDS:
        if (theirs := f"{ALBERTS_PROJECTION}.{kind}") in found:
            found[f"{PROJECTION}.{kind}"] = found.pop(theirs)
    return InBertsTerms(found, {**config, "model_type": "bert"}, repeated=True)


def _renamed(weights: Weights, prefix: str, names: Mapping[str, str], n_layers: int) -> dict[str, np.ndarray]:
    """The weights with BERT's `names` in the layers, which stand under `prefix`, with or without their number."""
    found = dict(weights)
    for layer in range(n_layers):
        for theirs, berts in names.items():
            for kind in KINDS:
                if (name := f"{prefix.format(layer)}{theirs}.{kind}") in weights:
                    found.pop(name, None)
                    found[f"{LAYER}{layer}.{berts}.{kind}"] = weights[name]
    return found


def with_equal_constants_once(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, in which large constants that are the same stand once, under the name of the first of them."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    named: dict[str, str] = {}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= SHARED_FROM:
            key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
            named[tensor.name] = first.setdefault(key, tensor.name)
    kept = [tensor for tensor in model.graph.initializer if named.get(tensor.name, tensor.name) == tensor.name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for node in model.graph.node:
        node.input[:] = [named.get(name, name) for name in node.input]
    return model
