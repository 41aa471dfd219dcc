"""How a family of models is built, saved and opened: a `Family` (see stages/core/contracts.py) in a file here."""

FAMILIES = {
    "bilstm": "stages.models.bilstm:FAMILY",
    "encoder": "stages.models.encoder:FAMILY",
}
