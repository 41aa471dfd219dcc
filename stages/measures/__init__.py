"""What is measured of a model: a `measure(...)` -> dict of numbers, in a file of its own here."""

MEASURES = {
    "quality": "stages.measures.quality:measure",
    "speed": "stages.measures.speed:measure",
    "size": "stages.measures.size:measure",
}
