"""The models of the table that some tasks have not, each with the reason as the end of a sentence."""

from __future__ import annotations

from stages.core.contracts import Head

OF_WRITING = {
    "static": "a mean of token vectors says nothing of what comes next",
    "probe": "what it would fit is the head that writes, which is most of such a model",
}
OF_IMAGES = {
    "static": "an image has no token vectors",
    "probe": "its tower of images has random weights, which nothing would train",
}


def left_out_of(model: str, head: Head, *, images: bool) -> str | None:
    """Why a task of this head has no such model; None where it has. `images`: whether these are in its way."""
    if head.writes:
        return OF_WRITING[model]
    return OF_IMAGES[model] if images else None
