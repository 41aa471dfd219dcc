"""What families of models have not, by their names in stages/models: parameters and backends are checked by it."""

from __future__ import annotations

LACKS = {
    "bilstm": frozenset(
        {"pretrained_weights", "units", "vectors", "width", "layers", "activation_checkpointing", "writing"}
        | {"packing", "images", "one_stack", "openvino_int8", "torchao_int8"}
    ),
    "decoder": frozenset({"source_apart", "width", "images", "openvino_int8", "torchao_int8"}),
    "encoder": frozenset({"writing", "packing", "images"}),
    "encoder_decoder": frozenset(
        {"vectors", "width", "packing", "images", "one_stack", "openvino_int8", "torchao_int8"}
    ),
    "two_towers": frozenset({"vectors", "width", "writing", "packing", "one_stack", "openvino_int8", "torchao_int8"}),
}
"""What a family has not: weights to begin a teacher with; attention heads and neurons that can be pruned (`units`);
inner vectors that correspond to a teacher's; a width that can be cut; layers of its teacher's; activation
checkpointing; `writing`: models of it read alone, and those of families without this lack do nothing but write; several
texts that stay apart in one row of a batch (`packing`); an encoder that reads a source apart from what is written for
it (`source_apart`, of families that write); a tower of `images`: families without this lack are for tasks of images
alone; `one_stack` of layers, as many as `distill.teacher_layers` names; and, by a backend's name, the operators that
this backend wants."""

ALL_WITHIN = frozenset({"units", "vectors", "width"})
LACKS_OF_KINDS = {
    "albert": frozenset({"vectors", "width", "layers", "activation_checkpointing"}),
    "deberta": ALL_WITHIN,
    "deberta-v2": frozenset({"vectors", "width"}),
    "gpt2": frozenset({"vectors"}),
    "megatron-bert": ALL_WITHIN,
    "mobilebert": frozenset({"width"}),
    "modernbert": frozenset({"vectors", "width", "first_layer"}),
    "mpnet": ALL_WITHIN | {"activation_checkpointing"},
    "rembert": ALL_WITHIN,
    "roberta-prelayernorm": frozenset({"width"}),
    "roc_bert": frozenset({"width"}),
    "xlm-roberta-xl": frozenset({"width"}),
}
"""What a kind of model (`model_type` in config.json) has not, in the same words; the other kinds lack nothing.

Besides: `layers` that can be told apart, as they are one; a `first_layer` that any other could take the place of.
"""
