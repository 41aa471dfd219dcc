"""Families of models, a file each: a `Family` (see stages/core/contracts.py) builds, writes and opens them."""

FAMILIES = {
    "bilstm": "stages.models.bilstm:FAMILY",
    "decoder": "stages.models.decoder:FAMILY",
    "encoder": "stages.models.encoder:FAMILY",
    "encoder_decoder": "stages.models.encoder_decoder:FAMILY",
    "two_towers": "stages.models.two_towers:FAMILY",
}
