"""Images of rows as a page shows them: inside it, as data URIs, as it loads nothing from elsewhere."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Mapping
from typing import NamedTuple

from flows.review.side import Side
from stages.core.paths import Paths
from stages.reading.pixels import NAMED, Images

QUALITY = 80  # of WebP: 1 kB for a drawing of 64 pixels a side


class Rows(NamedTuple):
    """What rows show of themselves."""

    texts: Mapping[str, str | tuple[str, str]]
    """By row id."""
    image: Callable[[str], str]
    """The data URI of an image, by its name; empty where there is no such image."""

    def of(self, row_id: str) -> tuple[str, str]:
        """A row's text, or both of a pair, or that beside an image; and the image."""
        text = self.texts.get(row_id, "")
        if isinstance(text, str):
            return text, ""
        return (text[1], image) if (image := self.image(text[0])) else (" | ".join(text), "")


def images_of(side: Side, texts: Mapping[str, str | tuple[str, str]]) -> Callable[[str], str]:
    """A function from an image's name to its data URI; it gives an empty text where no image is called so.

    `texts`: those of the side's rows. Where none begins as an image's name does, nothing is asked for.
    """
    path = Paths(side.root).images
    have_some = any(isinstance(text, tuple) and text[0].startswith(NAMED) for text in texts.values())
    content = side.artifact(path) if have_some and side.hash_of(path) is not None else None
    return (lambda _: "") if content is None else uris(content)


def uris(content: bytes) -> Callable[[str], str]:
    """As `images_of`, of the images in the content of an images.arrow."""
    images = Images(content)
    known = frozenset(images.names)

    @functools.cache
    def uri(name: str) -> str:
        return _as_uri(images, name) if name in known else ""

    return uri


def _as_uri(images: Images, name: str) -> str:
    from PIL import Image  # where rows are texts, nothing needs it

    written = io.BytesIO()
    Image.fromarray(images.image(name).pixels).save(written, "WEBP", quality=QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode('ascii')}"
