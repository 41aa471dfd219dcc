"""Links among data: refused, so that a file from elsewhere is never read, kept or published as data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_OBJECT = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")  # DVC's names of objects in its cache, by their bytes


def refuse_links(path: Path, within: Path = Path()) -> None:
    """Raise ValueError for a link on the way from `within` to `path`, or among the contents of the folder `path`.

    An absolute `path` is its owner's choice; only its contents are looked at. Links to objects of DVC's cache pass, as
    DVC makes them itself (`cache.type symlink`).
    """
    refuse_link(path, within)
    for folder, folders, files in os.walk(within / path):
        for name in sorted([*folders, *files]):
            _refuse(Path(folder, name), within)


def refuse_link(path: Path, within: Path = Path()) -> None:
    """Raise ValueError where `path`, or a folder on the way to it from `within`, is a link; as `refuse_links`."""
    if not path.is_absolute():
        for part in _way(path):
            _refuse(within / part, within)


def _way(path: Path) -> Iterator[Path]:
    """a, a/b and a/b/c for a/b/c; nothing of the folder that it is relative to."""
    yield from reversed(path.parents[:-1])
    if path.parts:
        yield path


def _refuse(path: Path, within: Path) -> None:
    if not path.is_symlink() or (path.is_file() and _OBJECT.search(path.resolve().as_posix())):
        return
    shown = path.relative_to(within) if path.is_relative_to(within) else path
    lost = "" if path.exists() else ", which is not there"
    raise ValueError(
        f"{shown} is a link to {path.readlink()}{lost}. Data may hold no links, as what they lead to would be kept and"
        f" published with it. Put the files themselves there, or remove it: rm {shown}"
    )
