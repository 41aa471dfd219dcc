"""Families of models, a file each: a `Family` (see stages/core/contracts.py) builds, writes and opens them."""

FAMILIES = {
    "bilstm": "stages.models.bilstm:FAMILY",
    "encoder": "stages.models.encoder:FAMILY",
}

LACKS = {
    "bilstm": frozenset(
        {"pretrained_weights", "units", "vectors", "width", "layers", "activation_checkpointing"}
        | {"openvino_int8", "torchao_int8"}
    ),
    "encoder": frozenset(),
}
"""What a family has not: weights to begin a teacher with; attention heads and neurons that can be pruned (`units`);
inner vectors that correspond to a teacher's; a width that can be cut; layers of its teacher's; activation
checkpointing; and, by a backend's name, the operators that this backend wants."""
