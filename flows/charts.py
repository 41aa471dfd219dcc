"""The graph as a Mermaid flowchart: for the README, and with states for a run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flows.dvc_project import Graph

COLOURS = {  # of a state's name in Prefect
    "Completed": "fill:#bbf7d0,stroke:#15803d,color:#052e16",
    "Cached": "fill:#dbeafe,stroke:#1d4ed8,color:#172554",
    "Failed": "fill:#fecaca,stroke:#b91c1c,color:#450a0a",
    "not run": "fill:#e5e7eb,stroke:#6b7280,color:#111827",
}


def flowchart(stages: Graph, states: Mapping[str, str] | None = None) -> str:
    """A Mermaid flowchart, coloured by `states` where they are given.

    An edge that a longer way implies is left out, so that the picture can be read.
    """
    states = states or {}
    lines = ["```mermaid", "flowchart LR", *(f"    {_node(stage, states.get(stage))}" for stage in stages)]
    for stage, upstream in stages.items():
        implied = {above for up in upstream for above in _ancestors(stages, up)}
        lines.extend(f"    {_identifier(up)} --> {_identifier(stage)}" for up in upstream if up not in implied)
    for state, style in COLOURS.items():
        if members := [_identifier(stage) for stage in stages if states.get(stage) == state]:
            name = re.sub(r"\W", "_", state)
            lines += [f"    classDef {name} {style}", f"    class {','.join(members)} {name}"]
    return "\n".join([*lines, "```"])


def _ancestors(stages: Graph, stage: str) -> set[str]:
    return {above for up in stages[stage] for above in (up, *_ancestors(stages, up))}


def _identifier(stage: str) -> str:
    return "stage_" + re.sub(r"\W", "_", stage)  # the prefix: Mermaid takes a bare "end" for a keyword


def _node(stage: str, state: str | None) -> str:
    return f'{_identifier(stage)}["{stage}"]' if state is None else f'{_identifier(stage)}["{stage}: {state}"]'
