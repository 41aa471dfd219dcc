"""A model's head as config.json has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.core.contracts import Head


def head_config(head: Head) -> dict[str, Any]:
    """The entries of config.json that say what a model puts out."""
    return {"head": {"kind": head.kind, "size": head.size}}


def read_head(config: Mapping[str, Any]) -> Head:
    """What the model of this config.json puts out; those of earlier versions have `n_labels`, numbers of a row."""
    if "head" not in config:
        return Head("row", config["n_labels"])
    return Head(config["head"]["kind"], config["head"]["size"])
