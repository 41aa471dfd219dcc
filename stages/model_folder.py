"""A model's folder: what `model.json` says of it, the manifest of hashes, and opening it whatever runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages import plugins
from stages.backends import RUNNERS
from stages.contracts import Runner
from stages.files import read_json, sha256, write_json

DESCRIPTION, MANIFEST = "model.json", "manifest.json"


def seal(folder: Path, *, backend: str, task: str, labels: list[str], **more: Any) -> None:
    """Write model.json, which says what opens the model, and then the manifest of every file's SHA-256 and size."""
    write_json(folder / DESCRIPTION, {"backend": backend, "task": task, "labels": labels, **more})
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    write_json(
        folder / MANIFEST,
        {path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size} for path in files},
    )


def describe(folder: Path) -> dict[str, Any]:
    """What `seal` wrote to model.json. Raises FileNotFoundError where there is no model."""
    if not (folder / DESCRIPTION).is_file():
        raise FileNotFoundError(f"{folder}: no model there (no {DESCRIPTION}). Make it with `make repro`.")
    return read_json(folder / DESCRIPTION)


def verify(folder: Path) -> None:
    """Raise ValueError where a file of the folder is missing, is not the one that was sealed, or was added."""
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{folder}: no {MANIFEST}, so nothing says what belongs there. Make it with `make repro`."
        )
    expected = read_json(folder / MANIFEST)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    for name in sorted(found ^ expected.keys()):
        raise ValueError(f"{folder}: {name} is {'not in the manifest' if name in found else 'missing'}. {_ADVICE}")
    for name, entry in sorted(expected.items()):
        if sha256(folder / name) != entry["sha256"]:
            raise ValueError(f"{folder}: {name} was altered: its SHA-256 is not the manifest's. {_ADVICE}")


_ADVICE = "Do not use it: get the folder again (`dvc checkout`, or `make repro`)."


def open_runner(folder: Path, *, threads: int) -> Runner:
    """Open the model in `folder` for texts, with `threads` threads, after checking it against its manifest."""
    description = describe(folder)
    verify(folder)
    return plugins.load(RUNNERS, description["backend"], key=f"{folder / DESCRIPTION}: backend")(folder, threads)
