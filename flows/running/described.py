"""The description of a run at Prefect besides its states: a name, tags, and the parameters as a table.

Prefect would invent a name. Project, branch, commit and what changed tell runs of one server apart, tags let it filter
them. Task runs have none: for each Prefect would ask the server whether it limits a tag of theirs, and of so many at
once the server refuses some, for two seconds and more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from flows.running import git
from flows.running.masking import masked_each
from flows.running.root import here
from stages.core.yaml_text import parse

TAG = "winnow"
NAME_LIMIT = 200  # characters of a run's name


def run_name() -> str:
    """The name of the calling flow run: "reviews main 1a2b3c4 clean, report", "reviews main 1a2b3c4-dirty all stages".

    What changed is added by `name_run`: that is known only later.
    """
    parameters = runtime.flow_run.parameters or {}
    root = _root(parameters)
    commit = git.attempt(root, "describe", "--always", "--dirty", "--exclude", "*").stdout.strip()
    return " ".join(filter(None, (root.name, _branch(root, parameters), commit, _what(parameters))))


def name_run(changed: str) -> None:
    """Add what changed to the name of this flow run: "reviews main 1a2b3c4 all stages: seed 20 -> 21"."""
    run = _run()
    if run is not None and changed:
        name = f"{run.name}: {' '.join(changed.split())}"
        _update(run, name=name if len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 3]}...")


def tag_run() -> None:
    """Add "winnow", the project's name and "branch:NAME" to the tags of this flow run, whoever started it."""
    run = _run()
    if run is not None:
        root = _root(run.parameters)
        branch = _branch(root, run.parameters)
        _update(run, tags={*run.tags, *tags_of(root), *([f"branch:{branch}"] if branch else [])})


def tags_of(root: Path) -> list[str]:
    """The tags of all that is about the project at `root`: its runs and its deployment."""
    return [TAG, root.name]


def deployment_of(root: Path) -> str:
    """The name of the deployment of the project at `root`; another clone on the same server is another one."""
    known = re.sub(r"[/%&<>]", "-", root.name)  # what Prefect allows in no name
    return f"{known}-{hashlib.sha256(str(root).encode()).hexdigest()[:6]}"


def _run() -> FlowRun | None:
    context = FlowRunContext.get()
    return context.flow_run if context else None


def _update(run: FlowRun, **values: Any) -> None:
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:  # a server that is away ends no run
        client.update_flow_run(run.id, **values)


def _root(parameters: Mapping[str, Any]) -> Path:
    root = parameters.get("root")
    with contextlib.suppress(FileNotFoundError):  # the flow says so itself
        return here() if root is None else Path(root)
    return Path.cwd()


def _branch(root: Path, parameters: Mapping[str, Any]) -> str | None:
    """The branch that a run is for, by its parameters, or else the one checked out; None where HEAD is detached."""
    return parameters.get("base") or git.branch(root)


def _what(parameters: Mapping[str, Any]) -> str:
    if "base" in parameters:
        return "newest data"
    stages = ", ".join(parameters.get("stages") or ()) or "all stages"
    return f"{stages} by force" if parameters.get("force") else stages


def publish_parameters(root: Path) -> None:
    """The values of params.yaml as an artifact of this run, as they were when it ended."""
    path = root / "params.yaml"
    values = parse(path.read_text(encoding="utf-8"), path.name) if path.is_file() else {}
    flat = dict(_flat(values or {}))
    shown = zip(flat, masked_each(flat.values()), strict=True)
    rows = [{"parameter": key, "value": value} for key, value in shown]
    create_table_artifact(rows, key="parameters", description="The values of params.yaml.")


def _flat(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(values, ensure_ascii=False, default=str)
