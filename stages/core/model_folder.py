"""A model's folder: its description in `model.json`, and the manifest of hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.core import plugins
from stages.core.contracts import Generation
from stages.core.files import publish, read_json, sha256, write_json

DESCRIPTION, MANIFEST = "model.json", "manifest.json"


def seal(folder: Path, *, backend: str, task: str, space: Mapping[str, Any], **more: Any) -> None:
    """Write model.json, which says how to open the model, and then the manifest of every file's SHA-256 and size.

    `space` is all that the model can answer.
    """
    write_json(folder / DESCRIPTION, {"backend": backend, "task": task, "space": space, **more})
    files = {name: folder / name for name in sorted(_files(folder))}
    write_json(
        folder / MANIFEST,
        {name: {"sha256": sha256(path), "bytes": path.stat().st_size} for name, path in files.items()},
    )


def _files(folder: Path) -> set[str]:
    """The names of the folder's files except the manifest: "weights.safetensors", "tokenizer/vocab.txt".

    A link to a file counts as that file, as DVC makes such links. Raises ValueError for one to a folder or to nothing:
    its target could change unseen.
    """
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.is_file():
            name = path.relative_to(folder).as_posix()
            raise ValueError(f"{folder}: {name} is a link to {path.readlink()}, which is no file. {_ADVICE}")
        if path.is_file():
            found.add(path.relative_to(folder).as_posix())
    return found - {MANIFEST}


def describe(folder: Path) -> dict[str, Any]:
    """The content of model.json, as `seal` wrote it. Raises FileNotFoundError where there is no model.

    A folder of an earlier version has `labels`, which are the space of the only task that there was.
    """
    if not (folder / DESCRIPTION).is_file():
        raise FileNotFoundError(f"{folder}: no model there (no {DESCRIPTION}). Make it with `make repro`.")
    found = _read(folder, DESCRIPTION)
    if "space" not in found and "labels" in found:
        found |= {"space": {"labels": found.pop("labels")}}
    return found


def _read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON object of the folder. Raises ValueError for anything else."""
    try:
        found = read_json(folder / name)
    except ValueError:  # of JSON, and of UTF-8
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{folder}: {name} was altered: it is no JSON object. {_ADVICE}")
    return found


def plugin_of(folder: Path, kind: str, table: Mapping[str, str]) -> Any:
    """The plug-in of `table` that model.json in `folder` names as the model's `kind`: its backend, its family.

    Raises FileNotFoundError where there is no model, and ValueError for no name, or one not in the table.
    """
    description = describe(folder)
    if kind not in description:
        raise ValueError(f"{folder / DESCRIPTION}: names no {kind}. Make the model again: `dvc repro --force`.")
    return plugins.load(table, description[kind], key=f"{folder / DESCRIPTION}: {kind}")


def verify(folder: Path) -> None:
    """Raise ValueError where a file of the folder is missing, is not the one that was sealed, or was added."""
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{folder}: no {MANIFEST}, so nothing says what belongs there. Make it with `make repro`."
        )
    expected = _read(folder, MANIFEST)
    found = _files(folder)
    for name in sorted(found ^ expected.keys()):
        raise ValueError(f"{folder}: {name} is {'not in the manifest' if name in found else 'missing'}. {_ADVICE}")
    for name, entry in sorted(expected.items()):
        if not isinstance(entry, dict) or sha256(folder / name) != entry.get("sha256"):
            raise ValueError(f"{folder}: {name} was altered, or {MANIFEST}: the SHA-256 is another. {_ADVICE}")


_ADVICE = "Do not use it: get the folder again (`dvc checkout`, or `make repro`)."


def leave_out(folder: Path, task: str, reason: str) -> None:
    """Write, in place of a model that the task cannot have, a folder that says why; nothing is measured of it."""
    with publish(folder) as draft:
        draft.mkdir()
        seal(draft, backend=NO_BACKEND, task=task, space={}, left_out=reason)


def left_out(folder: Path) -> str | None:
    """Why the task has no such model, as `leave_out` wrote it; None where there is one."""
    reason = describe(folder).get("left_out")
    return None if reason is None else str(reason)


NO_BACKEND = "none"  # nothing opens it


def reads_apart(description: Mapping[str, Any]) -> bool:
    """Whether a model, of that model.json, reads the two parts of a pair apart, and so takes single ones as well."""
    return description.get("apart", False) or reads_images(description)


def reads_images(description: Mapping[str, Any]) -> bool:
    """Whether a model, of that model.json, takes an image as the first part of a pair, or alone."""
    return "images" in description


def wants_pairs(description: Mapping[str, Any]) -> bool:
    """Whether a model, of that model.json, takes pairs of texts alone (ingest.columns.text_pair)."""
    return description.get("pairs", False)


def writes_for_sources(description: Mapping[str, Any]) -> bool:
    """Whether a model, of that model.json, writes a text for each source that it is given."""
    return description.get("writing", {}).get("source") is not None


def generation_of(description: Mapping[str, Any]) -> Generation | None:
    """How a model, of that model.json, writes where nothing else is asked; None: it writes nothing.

    The quantized one's says it. Others always take the likeliest token, as many as a target may have.
    """
    if "generation" in description:
        return Generation.of(description["generation"])
    return Generation(description["writing"]["max_target_tokens"]) if "writing" in description else None
