"""The description of a run at Prefect besides its states: a name, tags, and the parameters as a table.

Prefect would invent a name. Project and commit tell runs of one server apart, tags let it filter them. Task runs have
none: for each Prefect would ask the server whether it limits a tag of theirs, and of so many at once the server refuses
some, for two seconds and more.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from flows.running import git
from flows.running.masking import masked
from flows.running.root import here
from stages.core.yaml_text import parse

TAG = "winnow"


def run_name() -> str:
    """The name of the calling flow run: "reviews 1a2b3c4 clean, report", "reviews 1a2b3c4-dirty all stages"."""
    parameters = runtime.flow_run.parameters or {}
    root = _root(parameters)
    commit = git.attempt(root, "describe", "--always", "--dirty", "--exclude", "*").stdout.strip()
    return " ".join(filter(None, (root.name, commit, _what(parameters))))


def _root(parameters: Mapping[str, Any]) -> Path:
    root = parameters.get("root")
    with contextlib.suppress(FileNotFoundError):  # the flow says so itself
        return here() if root is None else Path(root)
    return Path.cwd()


def _what(parameters: Mapping[str, Any]) -> str:
    if "base" in parameters:
        return f"newest data for {parameters['base'] or 'the branch checked out'}"
    stages = ", ".join(parameters.get("stages") or ()) or "all stages"
    return f"{stages} by force" if parameters.get("force") else stages


def tag_run() -> None:
    """Add "winnow" and the project's name to the tags of this flow run, whoever started it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    run = context.flow_run
    with contextlib.suppress(Exception), get_client(sync_client=True) as client:  # a server that is away ends no run
        client.update_flow_run(run.id, tags={*run.tags, TAG, _root(run.parameters).name})


def publish_parameters(root: Path) -> None:
    """The values of params.yaml as an artifact of this run, as they were when it ended."""
    path = root / "params.yaml"
    values = parse(path.read_text(encoding="utf-8"), path.name) if path.is_file() else {}
    rows = [{"parameter": key, "value": masked(value)} for key, value in _flat(values or {})]
    create_table_artifact(rows, key="parameters", description="The values of params.yaml.")


def _flat(values: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield from _flat(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, json.dumps(values, ensure_ascii=False, default=str)
