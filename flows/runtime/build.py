"""Build the light install: `python -m flows.runtime.build`, as `make runtime` does, writes to dist/

winnow_runtime-VERSION-py3-none-any.whl   the same bytes each time
requirements.txt                          all packages that it needs, pinned; also those of each extra:
requirements-app.txt, ...
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from flows import __version__
from flows.running.packages import PINS, canonical
from flows.runtime.contents import DATA, NEEDS, UNUSED, code

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
NAME = "winnow-runtime"
PYTHONS = ("3.11", "3.12", "3.13")
EPOCH = "315532800"  # 1980, the first that a zip archive can say: of each file in the wheel
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def build(out: Path, root: Path = ROOT) -> Path:
    """Write the wheel of the code at `root`, and the lists of what it needs, to the folder `out`; returns the wheel.

    It takes the place of earlier versions. Needs the packages of `make setup`: their metadata say what each needs.
    """
    pinned = pins(root)
    out.mkdir(parents=True, exist_ok=True)
    for earlier in out.glob(f"{NAME.replace('-', '_')}-*.whl"):
        earlier.unlink()
    for extra in NEEDS:
        name = f"requirements-{extra}.txt" if extra else "requirements.txt"
        head = f"# All that {NAME} needs: pip install --no-deps --no-compile -r {name} WHEEL"
        lines = [pinned[one] for one in sorted(closed({*NEEDS[""], *NEEDS[extra]}))]
        (out / name).write_text("".join(f"{line}\n" for line in [head, *lines]), encoding="utf-8")
    with tempfile.TemporaryDirectory() as draft:
        return Path(shutil.copy(_wheel(root, Path(draft), pinned), out))


def _wheel(root: Path, draft: Path, pinned: Mapping[str, str]) -> Path:
    """The wheel, made in the folder `draft`. Raises ValueError where setuptools makes none."""
    _copy(root, draft)
    (draft / "pyproject.toml").write_text(_project(pinned), encoding="utf-8")
    command = [sys.executable, "-c", BUILD, str(draft / "dist")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    made = subprocess.run(command, cwd=draft, env=environment, umask=0o022, capture_output=True, text=True, check=False)
    if made.returncode:
        raise ValueError(f"{NAME}: setuptools made no wheel. Run `make setup`. It said:\n{made.stderr}")
    (wheel,) = (draft / "dist").glob("*.whl")
    return wheel


def pins(root: Path) -> dict[str, str]:
    """The lines of constraints.txt, NAME==VERSION, by their canonical names."""
    lines = (root / PINS).read_text(encoding="utf-8").splitlines()
    return {canonical(line.partition("==")[0]): line for line in lines if line and not line.startswith("#")}


def closed(names: Iterable[str]) -> set[str]:
    """The packages and all that they need here, less UNUSED, by their canonical names.

    Raises PackageNotFoundError where one is not installed.
    """
    found: set[str] = set()
    left = [canonical(name) for name in names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [needed for needed in _needed_by(name) if needed not in UNUSED]
    return found


def _needed_by(name: str) -> Iterator[str]:
    """What the package needs, on any Python that Winnow promises."""
    for requirement in map(Requirement, metadata.requires(name) or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": "", "python_version": version}) for version in PYTHONS):
            yield canonical(requirement.name)


def _copy(root: Path, draft: Path) -> None:
    for path in [*code(root), root / "LICENSE"]:
        target = draft / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o644)  # which the wheel says too


def _project(pinned: Mapping[str, str]) -> str:
    """pyproject.toml of the wheel: lists in TOML are as in JSON."""
    needs = {extra: [pinned[canonical(name)] for name in names] for extra, names in NEEDS.items()}
    extras = "\n".join(f"{extra} = {json.dumps(names)}" for extra, names in needs.items() if extra)
    data = "\n".join(f'"{Path(folder).parent.as_posix().replace("/", ".")}" = ["{Path(folder).name}/*"]'
                     for folder in DATA)  # fmt: skip
    return f"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{NAME}"
version = "{__version__}"
description = "Opens the models that Winnow makes, and answers: without torch."
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
dependencies = {json.dumps(needs[""])}

[project.optional-dependencies]
{extras}

[project.scripts]
winnow = "flows.runtime.command:main"

[tool.setuptools]
py-modules = ["winnow"]

[tool.setuptools.packages.find]
include = ["flows*", "stages*"]

[tool.setuptools.package-data]
{data}
"""


def main() -> None:
    """Build to --out, which is dist/ of this repository without it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        log.info("%s", build(parser.parse_args().out))
    except (ValueError, metadata.PackageNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
