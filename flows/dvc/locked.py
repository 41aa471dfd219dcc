"""What dvc.yaml and dvc.lock say of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.dvc.command import DvcError
from stages.core.yaml_text import parse


def definitions(root: Path) -> dict[str, Any]:
    """What dvc.yaml says of each stage, before templates and loops are resolved."""
    return read_yaml(root / "dvc.yaml").get("stages") or {}


def cores_wanted(root: Path) -> dict[str, int]:
    """The stages that do not use the whole machine, with the cores that they use: `meta: {cores: 1}` in dvc.yaml."""
    wanted: dict[str, int] = {}
    for name, definition in definitions(root).items():
        loop = definition.get("foreach") or definition.get("matrix")
        count = ((definition.get("do") or definition).get("meta") or {}).get("cores")
        if isinstance(count, int):
            items = loop if isinstance(loop, list | dict) else []
            wanted |= {name: count} | {f"{name}@{item}": count for item in items}
    return wanted


def lock_of(root: Path) -> dict[str, Any]:
    """What dvc.lock says; empty where there is none."""
    return read_yaml(root / "dvc.lock")


def locked_stages(root: Path) -> dict[str, dict[str, Any]]:
    """The stages of dvc.lock that dvc.yaml has; DVC leaves those that it has no more in dvc.lock for ever."""
    defined = definitions(root)

    def is_there(address: str) -> bool:
        name, _, item = address.partition("@")
        return name in defined and bool(item) == bool({"do", "matrix"} & defined[name].keys())

    return {address: stage for address, stage in (lock_of(root).get("stages") or {}).items() if is_there(address)}


def read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return parse(path.read_text(encoding="utf-8"), path.name) or {}
    except ValueError as error:
        raise DvcError(f"{error} Restore it with git.") from None
