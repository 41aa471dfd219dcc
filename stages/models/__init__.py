"""How a family of models is built, saved and opened: a `Family` (see stages/contracts.py) in a file of its own here."""

FAMILIES = {
    "encoder": "stages.models.encoder:FAMILY",
}
