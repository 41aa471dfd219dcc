"""Small archives in the layout of a source archive on the package index, and the files that pin them."""

from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


class Quiet(http.server.SimpleHTTPRequestHandler):
    """What `python -m http.server` answers with, without its log."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server of the folder's files."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()
