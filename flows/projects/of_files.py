"""Values of params.yaml for files, or folders of files, called after splits: train.csv, dev.csv, test/a.csv."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flows.projects.sample import SPLITS, Sample

_NUMBER = re.compile(r"[-_]?\d[^/.]*$")  # of a part, as `ingest` has it


def values(sample: Sample) -> dict[str, Any]:
    """What the files of each split are called, where there are several splits and some files are for training."""
    parts = sorted({_NUMBER.sub("", stem.partition("/")[0]) for stem in sample.files})
    found = {
        split: next((part for name in names for part in parts if part.lower() == name), None)
        for split, names in SPLITS.items()
    }
    called = {f"ingest.splits.{split}": part for split, part in found.items() if part is not None}
    return called if found["train"] is not None and len(called) > 1 else {}


def told(called: Mapping[str, Any]) -> list[str]:
    """A sentence on those values; none where there are none."""
    return [f"Files are called after splits: {', '.join(called.values())}."] if called else []
