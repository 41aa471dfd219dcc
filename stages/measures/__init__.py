"""Measures of a model: each a `measure(...)` -> dict of numbers, in a file of its own here."""

ANSWERS = {
    "quality": "stages.measures.quality:measure",
    "calibration": "stages.measures.calibration:measure",
    "slices": "stages.measures.slices:measure",
    "fairness": "stages.measures.fairness:measure",
    "robustness": "stages.measures.robustness:measure",
    "continuations": "stages.measures.continuations:measure",
    "zero_shot": "stages.measures.zero_shot:measure",
}
COSTS = {
    "speed": "stages.measures.speed:measure",
    "throughput": "stages.measures.throughput:measure",
    "writing_speed": "stages.measures.writing_speed:measure",
    "size": "stages.measures.size:measure",
}
