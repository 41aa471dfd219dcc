"""Small archives in the layout of a source archive on the package index, and the files that pin them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from stages.reading.corpora import Pin, place_of


def tar(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """A gzipped tar archive of files and symbolic links."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return gzip.compress(written.getvalue(), mtime=0)


def pinned(archive: bytes, package: str = "vaderSentiment", version: str = "3.3.2") -> Pin:
    return Pin(package, version, hashlib.sha256(archive).hexdigest())


def stored(archive: bytes, pin: Pin, folder: Path) -> Path:
    """The archive, where `pin` says that it lies in the folder."""
    path = place_of(pin, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    return path


def pin_file(pin: Pin, folder: Path) -> Path:
    path = folder / "corpora.txt"
    path.write_text(f"# a comment\n\n{pin.package}=={pin.version} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
    return path
