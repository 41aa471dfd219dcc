"""Why a stage would run, in plain words: which file, which parameter, from which value to which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.dvc.command import DvcError
from flows.dvc.locked import read_yaml

NEVER = "it has never run"
SHOWN = 3  # changes of a line that tells of some


def reasons_of(root: Path, locked: dict[str, Any] | None, changes: Iterable[Any]) -> Iterator[str]:
    if locked is None:
        yield NEVER
        return
    for change in changes:
        if change == "changed command":
            yield f"its command changed (it was: {locked.get('cmd')})"
        elif isinstance(change, str):
            yield change
        else:
            for path, state in change.get("changed deps", {}).items():
                yield from _dependency(root, locked, path, state)
            for path, state in change.get("changed outs", {}).items():
                yield f"{path} {_OUT_WORDS.get(state, f'is {state}')}"


_OUT_WORDS = {
    "modified": "is not what the stage wrote",
    "deleted": "is missing",
    "new": "is a new out",
    "not in cache": "is not in DVC's cache",
}
_DEPENDENCY_WORDS = {"modified": "changed", "deleted": "is missing", "new": "is a new dependency"}


def _dependency(root: Path, locked: dict[str, Any], path: str, state: str | dict[str, str]) -> Iterator[str]:
    if isinstance(state, str):
        yield f"{path} {_DEPENDENCY_WORDS.get(state, f'is {state}')}"
        return
    before, now = locked.get("params", {}).get(path, {}), _parameters(root / path)
    for key, how in state.items():
        if how == "modified":
            differences = list(_differences(key, before.get(key), _value(now, key)))
            yield from differences or [f"{key} changed"]
        else:
            yield f"{key} {'is no longer in ' + path if how == 'deleted' else 'is a new parameter'}"


def changed_parameters(root: Path, locked: dict[str, Any]) -> Iterator[str]:
    """The parameters of a stage, by its entry in dvc.lock, that have another value here: "finetune.epochs: 3 -> 4"."""
    for path, values in (locked.get("params") or {}).items():
        yield from changed_values(values, _parameters(root / path))


def changed_values(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The values that are others now; `before` as dvc.lock has them, by keys such as "finetune.epochs"."""
    for key, value in before.items():
        yield from _differences(key, value, _value(now, key))


def notice(changes: Iterator[str], made: str, is_current: str, remedy: str) -> str | None:
    """One line: `made` ("this model was made") before the first of the changes; None where there are none.

    Where that cannot be determined (a merge conflict, say), the line says so of `is_current` ("this model is of what is
    here").
    """
    try:
        found = list(dict.fromkeys(changes))
    except (DvcError, ValueError, OSError) as error:
        return f"whether {is_current} cannot be told: {error}"
    return f"{made} before a change: {in_short(found)}. {remedy}" if found else None


def in_short(changes: Sequence[str]) -> str:
    """The first of some changes, and how many more there are."""
    more = f" and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return f"{', '.join(changes[:SHOWN])}{more}"


def _differences(key: str, before: Any, now: Any) -> Iterator[str]:
    """The values below `key` that differ, as "finetune.epochs: 3 -> 4"."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*now, *before]):
            yield from _differences(f"{key}.{name}", before.get(name), now.get(name))
    elif before != now:
        yield f"{key}: {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _value(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _parameters(path: Path) -> dict[str, Any]:
    return read_yaml(path) if path.suffix in {".yaml", ".yml", ".json"} else {}
