"""A Python that has what a bare machine with a GPU has, and no more; and wheels of what is installed here.

A virtual environment whose packages are links to those of this one: torch, transformers and the like, with what they
need. What the kit brings is left out, so that a stage which imports it finds the kit's.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BARE = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "pyarrow", "scikit-learn", "psutil",
    "ninja", "triton", "onnx", "onnxruntime", "accelerate", "pytest", "pip", "setuptools", "pyyaml", "regex",
)  # fmt: skip


def installed(name: str) -> importlib.metadata.Distribution:
    """The package in site-packages; not one of that name elsewhere on the path, such as those that ray brings.

    Raises PackageNotFoundError where there is none.
    """
    found = importlib.metadata.distributions(name=name, path=[sysconfig.get_path("purelib")])
    for distribution in found:
        return distribution
    raise importlib.metadata.PackageNotFoundError(name)


def needed_by(names: Iterable[str]) -> set[str]:
    """The installed packages of these names, and all that they need, by their canonical names."""
    found: set[str] = set()
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            requirements = installed(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue  # triton, where torch is one for CPUs
        found.add(name)
        wanted = [Requirement(line) for line in requirements]
        left += [canonicalize_name(r.name) for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def make_bare(folder: Path, *, without: Collection[str]) -> Path:
    """Make the environment in `folder`, `without` some packages. Returns its Python."""
    return make_of(folder, needed_by(BARE) - {canonicalize_name(name) for name in without})


def make_of(folder: Path, names: Iterable[str]) -> Path:
    """Make an environment in `folder` that has just these packages, without what they need. Returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", purelib], check=True, capture_output=True, text=True).stdout.strip())
    here = Path(sysconfig.get_path("purelib"))
    for top in set().union(*map(tops, names)):
        (site / top).symlink_to(here / top)
    return python


def tops(name: str) -> set[str]:
    """The names at the top of site-packages that belong to an installed package."""
    files = installed(name).files or []
    return {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}


def wheel_of(name: str, folder: Path) -> Path:
    """Write a wheel of an installed package to `folder`: of what is installed, without its scripts."""
    found = installed(name)
    lines = (found.read_text("WHEEL") or "").splitlines()
    tags = [line.removeprefix("Tag: ").split("-") for line in lines if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))  # Pythons, ABIs, platforms
    path = folder / f"{found.name.replace('-', '_').replace('.', '_')}-{found.version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in found.files or []:
            within = PurePosixPath(file)
            if within.parts[0] != ".." and within.suffix != ".pyc" and within.name not in ("INSTALLER", "REQUESTED"):
                archive.write(str(found.locate_file(file)), str(within))
    return path
