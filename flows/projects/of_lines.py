"""Values of params.yaml for files that belong together line by line, such as train.en and train.de."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from flows.projects.sample import SPLITS, Sample

_NUMBER = re.compile(r"[-_]?\d+(-of-\d+)?$")


def values(sample: Sample) -> dict[str, Any]:
    """The source of such files, and what the files of each split are called, where some are for training."""
    stems = _called({stem.partition("/")[0] for stem in sample.parts})
    found = {
        split: next((stem for name in names for stem in stems if stem.lower().startswith(name)), None)
        for split, names in SPLITS.items()
    }
    called = {f"ingest.splits.{split}": stem for split, stem in found.items() if stem is not None}
    return {"ingest.source": "parallel"} | (called if found["train"] is not None else {})


def _called(stems: Collection[str]) -> list[str]:
    """The stems, sorted; of numbered parts (train-00, train-01) what they have in common, which stands for all."""
    bases = Counter(_NUMBER.sub("", stem) for stem in stems)
    return sorted({base if bases[base := _NUMBER.sub("", stem)] > 1 else stem for stem in stems})


def direction(sample: Sample, text: str, label: str) -> str:
    """Which of the files are read, and how to have it the other way round."""
    one, other = (f"{sample.parts[0]}.{column}" for column in (text, label))
    told = f"A row is a line of {one} with that of {other}, and so of all files that are called alike."
    return f"{told} The other way round: --text {label} --label {text}."
