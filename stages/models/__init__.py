"""How a family of models is built, saved and opened: a `Family` (see stages/contracts.py) in a file of its own here."""

FAMILIES = {
    "bilstm": "stages.models.bilstm:FAMILY",
    "encoder": "stages.models.encoder:FAMILY",
}
