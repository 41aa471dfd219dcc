"""Whether a model was made with other parameters than the present ones, by dvc.lock, without reading all of it.

dvc.lock as YAML takes a second. DVC writes it in one way, so its lines tell the stages apart, and only the parameters
are YAML here: the same section in several stages once. Code and data are not looked at: `winnow plan` does so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.dvc import differences
from flows.dvc.locked import read_yaml, upstream
from stages.core.yaml_text import parse

PARAMS = "params.yaml"
_STAGES = re.compile(r"^  (?=\S)", re.MULTILINE)
_SECTIONS = re.compile(r"^    (?=[^\s-])", re.MULTILINE)  # of a stage: deps, params, outs
_FILES = re.compile(r"^      (?=[^\s-])", re.MULTILINE)  # of its parameters
_KEYS = re.compile(r"^        (?=[^\s-])", re.MULTILINE)  # of a file; the items of a list stand where the key does
_PATHS = re.compile(r"^    - path: (.+)$", re.MULTILINE)


def notice(root: Path, model: str) -> str | None:
    """One line where parameters have changed since the model at the path `model` was made; else None."""
    remedy = "`winnow plan` says what would run, `winnow reproduce` makes it again."
    return differences.notice(_changes(root, model), "this model was made", "this model is of what is here", remedy)


def _changes(root: Path, model: str) -> Iterator[str]:
    lock = root / "dvc.lock"
    if not lock.is_file():
        return
    text, names = lock.read_text(encoding="utf-8"), (root / "dvc.yaml").read_text(encoding="utf-8")
    if re.search("^<{7}", text, re.MULTILINE):  # a merge left its marks
        parse(text, lock.name)
    stages = {name: stage for name, stage in _stages(text) if _is_defined(name, names)}
    sections = dict.fromkeys(key for stage in upstream(stages, (model,)).values() for key in stage["params"])
    if sections:
        now = read_yaml(root / PARAMS)
        for before in parse("".join(f"-\n        {section}" for section in sections), "the parameters of dvc.lock"):
            if isinstance(before, dict):
                yield from differences.changed_values(before, now)


def _stages(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stages of dvc.lock: the paths of deps and outs, as DVC has them, and the parameters, each a text of YAML."""
    for stage in _STAGES.split(text.partition("\nstages:\n")[2])[1:]:
        name, _, rest = stage.partition(":\n")
        sections = dict(_parted(section) for section in _SECTIONS.split(rest)[1:])
        files = dict(_parted(file) for file in _FILES.split(sections.get("params", ""))[1:])
        paths = {kind: [{"path": path} for path in _PATHS.findall(sections.get(kind, ""))] for kind in ("deps", "outs")}
        yield name, {**paths, "params": _KEYS.split(files.get(PARAMS, ""))[1:]}


def _parted(text: str) -> tuple[str, str]:
    name, _, rest = text.partition(":")
    return name, rest


def _is_defined(name: str, definitions: str) -> bool:
    """Whether the stage is still in dvc.yaml: DVC never removes the others from dvc.lock."""
    return re.search(rf"^\s+{re.escape(name.partition('@')[0])}:", definitions, re.MULTILINE) is not None
