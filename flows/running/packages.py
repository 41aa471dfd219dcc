"""Check of the installed packages against hashes.txt: whether they are the published files, and unaltered.

constraints.txt pins versions; hashes.txt adds the SHA-256 of those that are one wheel for every platform. Others
(torch, numpy, ...) differ by machine, and are not in it. A wheel's own hash is of no use once it is installed, as pip
keeps no wheel; so hashes.txt also has a hash of the wheel's content: of the sorted lines "path,SHA-256" of its files.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

PINS, HASHES = "constraints.txt", "hashes.txt"
HEAD = f"""\
# Packages of {PINS} that are one wheel for every platform: name, version, SHA-256 of the wheel, SHA-256 of what it
# holds. Written by `python -m flows.running.packages`, from the wheels that pip downloads;
# `winnow check --packages` compares.
"""
BY_PIP = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}  # in .dist-info, written by who installs


class Pinned(NamedTuple):
    """A line of hashes.txt."""

    version: str
    wheel: str
    content: str


def faults(root: Path, path: Sequence[str] | None = None) -> Iterator[str]:
    """A line for each installed package, of those on `path` (None: Python's), that differs from hashes.txt.

    Packages that are not installed are no fault, and files that a package's RECORD does not name are not seen. Raises
    FileNotFoundError where the project at `root` has no hashes.txt.
    """
    pinned = read(root / HASHES)
    for package in importlib.metadata.distributions(path=list(sys.path if path is None else path)):
        name = canonical(package.metadata["Name"] or "")
        if not name:
            where = package.locate_file("")
            yield f"{where} has a .dist-info without a name in METADATA. Remove that folder, and install what it is of."
        if expected := pinned.get(name):
            if package.version != expected.version:
                yield f"{name} {package.version} is installed, and {HASHES} has {expected.version}. Run `make setup`."
            elif fault := _fault(package, expected):
                yield (
                    f"{name} {package.version} is not what was published: {fault}. Install it anew: "
                    f"pip install --force-reinstall --no-deps {name}=={package.version}"
                )


def _fault(package: importlib.metadata.Distribution, expected: Pinned) -> str | None:
    recorded = dict(_recorded(package))
    lines = []
    for file, expected_hash in recorded.items():
        path = Path(str(package.locate_file(file)))
        if not path.is_file():
            return f"{file} is missing"
        if (found := _sha256(path.read_bytes())) != expected_hash:
            return f"{file} was altered"
        lines.append(f"{file},{found}")
    return None if _digest(lines) == expected.content else "its files are others (those of another build, perhaps)"


def _is_published(file: PurePosixPath) -> bool:
    """Whether the wheel has the file in this place; pip writes or compiles others, or puts them elsewhere (scripts)."""
    by_pip = file.parent.name.endswith(".dist-info") and file.name in BY_PIP
    elsewhere = ".." in file.parts or file.is_absolute() or file.parts[0].endswith(".data")
    return not (by_pip or elsewhere or "__pycache__" in file.parts)


def _recorded(package: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    """The published files by the package's RECORD, each with its SHA-256 as hex; empty where RECORD has none.

    Not by `package.files`, which from Python 3.12 on leaves out files that are missing.
    """
    for file, told, *_ in csv.reader((package.read_text("RECORD") or "").splitlines()):
        algorithm, _, digest = told.partition("=")
        if _is_published(PurePosixPath(file)):
            known = algorithm == "sha256"
            yield file, base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex() if known else ""


def content_of(wheel: Path) -> str:
    """The SHA-256 of a wheel's content."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and _is_published(PurePosixPath(name))]
        return _digest(f"{name},{_sha256(archive.read(name))}" for name in names)


def _digest(lines: Iterable[str]) -> str:
    return _sha256("\n".join(sorted(lines)).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def canonical(name: str) -> str:
    """A package's name as the index compares it: "PyYAML" and "py_yaml" are "pyyaml" and "py-yaml"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(path: Path) -> dict[str, Pinned]:
    """The pinned packages by name. Raises FileNotFoundError without such a file, ValueError for a wrong line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Write it: python -m flows.running.packages")
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            if not re.fullmatch(r"\S+ \S+ [0-9a-f]{64} [0-9a-f]{64}", line):
                raise ValueError(f"{path}, line {number}: expected name, version and two SHA-256. Write it anew.")
            name, *pinned = line.split()
            found[name] = Pinned(*pinned)
    return found


def as_text(pinned: Mapping[str, Pinned]) -> str:
    """The text of hashes.txt."""
    return HEAD + "".join(f"{name} {' '.join(pinned[name])}\n" for name in sorted(pinned))


def of_wheels(folder: Path) -> dict[str, Pinned]:
    """The wheels of a folder that are for every platform, as they are pinned."""
    wheels = sorted(folder.glob("*-none-any.whl"))
    parts = {wheel: wheel.name.split("-") for wheel in wheels}
    return {
        canonical(parts[wheel][0]): Pinned(parts[wheel][1], _sha256(wheel.read_bytes()), content_of(wheel))
        for wheel in wheels
    }


def download(pins: Path, folder: Path) -> None:
    """Put the wheels for every platform of the packages in `pins` into `folder`; packages without one are left out."""
    for line in pins.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith("#"):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
            # For a platform that has no wheels of its own: those for every platform alone.
            only = ["--only-binary=:all:", "--platform", "any", "--", line.strip()]
            subprocess.run([*command, *only], check=False, stderr=subprocess.DEVNULL)


def main(root: Path) -> None:
    """Write hashes.txt of the project at `root` anew."""
    with tempfile.TemporaryDirectory(prefix="winnow-wheels-") as folder:
        download(root / PINS, Path(folder))
        (root / HASHES).write_text(as_text(of_wheels(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main(Path.cwd())
