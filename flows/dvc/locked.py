"""The stages as dvc.yaml and dvc.lock describe them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.dvc.command import DvcError
from stages.core.paths import Paths
from stages.core.yaml_text import parse

CLEAN = Paths(Path()).clean.as_posix()


def definitions(root: Path) -> dict[str, Any]:
    """The definition of each stage in dvc.yaml, before templates and loops are resolved."""
    return read_yaml(root / "dvc.yaml").get("stages") or {}


def cores_wanted(root: Path) -> dict[str, int]:
    """The stages that do not use the whole machine, and the cores that each uses: `meta: {cores: 1}` in dvc.yaml."""
    wanted: dict[str, int] = {}
    for name, definition in definitions(root).items():
        loop = definition.get("foreach") or definition.get("matrix")
        count = ((definition.get("do") or definition).get("meta") or {}).get("cores")
        if isinstance(count, int):
            items = loop if isinstance(loop, list | dict) else []
            wanted |= {name: count} | {f"{name}@{item}": count for item in items}
    return wanted


def lock_of(root: Path) -> dict[str, Any]:
    """The content of dvc.lock; empty where there is no such file."""
    return read_yaml(root / "dvc.lock")


def locked_stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock that are still in dvc.yaml; DVC never removes the others from dvc.lock."""
    defined = definitions(root)

    def is_there(address: str) -> bool:
        name, _, item = address.partition("@")
        return name in defined and bool(item) == bool({"do", "matrix"} & defined[name].keys())

    return {address: stage for address, stage in (lock_of(root).get("stages") or {}).items() if is_there(address)}


def saw_these_rows(locked: Mapping[str, dict[str, Any]], stage: str) -> bool | None:
    """Whether the clean rows that a stage read are those of now; None where dvc.lock does not say."""
    known = [
        next((entry.get("md5") for entry in entries if entry["path"] == CLEAN), None)
        for entries in (locked.get("clean", {}).get("outs", ()), locked.get(stage, {}).get("deps", ()))
    ]
    return known[0] == known[1] if all(known) else None


def upstream(locked: Mapping[str, dict[str, Any]], outs_wanted: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The stages that make outs whose paths start so, and all that they depend on, in the order of dvc.lock."""
    outs = {name: [out["path"] for out in stage.get("outs") or []] for name, stage in locked.items()}
    maker = {path: name for name, paths in outs.items() for path in paths}
    todo = [name for name, paths in outs.items() if any(path.startswith(outs_wanted) for path in paths)]
    found: set[str] = set()
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += [maker[dep["path"]] for dep in locked[name].get("deps") or [] if dep["path"] in maker]
    return {name: stage for name, stage in locked.items() if name in found}


def read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return parse(path.read_text(encoding="utf-8"), path.name) or {}
    except ValueError as error:
        raise DvcError(f"{error} Restore it with git.") from None
