"""What families of models have not, by their names in stages/models: parameters and backends are checked by it."""

from __future__ import annotations

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
