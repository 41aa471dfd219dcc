"""Families of models, a file each: a `Family` (see stages/core/contracts.py) builds, writes and opens them."""

FAMILIES = {
    "bilstm": "stages.models.bilstm:FAMILY",
    "encoder": "stages.models.encoder:FAMILY",
}
