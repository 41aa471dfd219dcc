"""Rows that name an image, by a path or with its bytes: each image is read once, and the rows have its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stages.core.contracts import RawRow, RejectedRow
from stages.core.params.ingest import ImagesParams
from stages.reading.images import UnreadableImageError, image_of, read_image
from stages.reading.pixels import ImagesWriter


def with_images(
    rows: Iterable[RawRow | RejectedRow], folder: Path, settings: ImagesParams, images: ImagesWriter
) -> Iterator[RawRow | RejectedRow]:
    """The rows with the names of their images, which are kept; those whose image cannot be read with the reason.

    Paths are from `folder`. A path that many rows have is read once.
    """
    known: dict[str, str | UnreadableImageError] = {}
    for row in rows:
        if isinstance(row, RejectedRow) or (row.text is None and row.image is None):
            yield row
            continue
        path = row.text or ""
        found = known.get(path) if row.image is None else None
        if found is None:
            found = _named(path, row.image, folder, settings, images)
        if row.image is None:
            known[path] = found
        if isinstance(found, UnreadableImageError):
            yield RejectedRow(row.origin, found.reason, str(found), path[:200])
        else:
            yield row._replace(text=found, image=None)


def _named(
    path: str, data: bytes | None, folder: Path, settings: ImagesParams, images: ImagesWriter
) -> str | UnreadableImageError:
    try:
        return images.add(read_image(path, folder, settings) if data is None else image_of(data, settings))
    except UnreadableImageError as error:
        return UnreadableImageError(error.reason, str(error))  # one that was raised holds its frames, and the file
