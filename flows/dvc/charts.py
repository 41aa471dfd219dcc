"""The graph as a Mermaid flowchart, for the README and wherever Mermaid is drawn; as SVG where it is not.

Prefect's pages show Mermaid as text, and pictures only by address: hence the SVG, small enough to be its own.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Mapping

from flows.dvc.planning import Graph

NODE = (190, 34)  # width and height, in pixels
GAP = (16, 30)
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
    lines += [f"    {_identifier(up)} --> {_identifier(stage)}" for up, stage in _edges(stages)]
    for state, style in COLOURS.items():
        if members := [_identifier(stage) for stage in stages if states.get(stage) == state]:
            name = re.sub(r"\W", "_", state)
            lines += [f"    classDef {name} {style}", f"    class {','.join(members)} {name}"]
    return "\n".join([*lines, "```"])


def _edges(stages: Graph) -> Iterator[tuple[str, str]]:
    for stage, upstream in stages.items():
        implied = {above for up in upstream for above in _ancestors(stages, up)}
        yield from ((up, stage) for up in upstream if up not in implied)


def _ancestors(stages: Graph, stage: str) -> set[str]:
    return {above for up in stages[stage] for above in (up, *_ancestors(stages, up))}


def _identifier(stage: str) -> str:
    return "stage_" + re.sub(r"\W", "_", stage)  # the prefix: Mermaid takes a bare "end" for a keyword


def _node(stage: str, state: str | None) -> str:
    return f'{_identifier(stage)}["{stage}"]' if state is None else f'{_identifier(stage)}["{stage}: {state}"]'


def picture(stages: Graph, states: Mapping[str, str]) -> str:
    """The graph from top to bottom, coloured by state, as the address of an SVG that needs no server."""
    at, width, height = _places(stages)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">']
    for up, stage in _edges(stages):
        (x0, y0), (x1, y1) = at[up], at[stage]
        start, end, half = y0 + NODE[1], y1, (y1 - y0 - NODE[1]) / 2
        curve = f"M{x0} {start} C{x0} {start + half} {x1} {end - half} {x1} {end}"
        parts.append(f'<path d="{curve}" fill="none" stroke="#9ca3af" stroke-width="1.5"/>')
    for stage, (x, y) in at.items():
        fill, stroke, text = re.findall(r"#\w+", COLOURS.get(states[stage], COLOURS["not run"]))
        size = f'width="{NODE[0]}" height="{NODE[1]}"'
        parts.append(f'<rect x="{x - NODE[0] / 2}" y="{y}" {size} rx="6" fill="{fill}" stroke="{stroke}"/>')
        label = html.escape(f"{stage}: {states[stage]}")
        place = f'x="{x}" y="{y + NODE[1] / 2 + 4}" text-anchor="middle"'
        parts.append(f'<text {place} font-size="12" fill="{text}">{label}</text>')
    return "data:image/svg+xml;base64," + base64.b64encode("".join([*parts, "</svg>"]).encode()).decode()


def _places(stages: Graph) -> tuple[dict[str, tuple[float, float]], int, int]:
    """The middle of each node's upper edge, by its depth in the graph, and the size of the whole picture; in pixels."""
    depth: dict[str, int] = {}
    for stage, upstream in stages.items():
        depth[stage] = 1 + max((depth[up] for up in upstream), default=-1)
    rows = [
        [stage for stage in stages if depth[stage] == level] for level in range(max(depth.values(), default=-1) + 1)
    ]
    width = max(map(len, rows), default=0) * (NODE[0] + GAP[0]) + GAP[0]
    at: dict[str, tuple[float, float]] = {}
    for level, row in enumerate(rows):
        # Below what it follows, so that few edges cross.
        row.sort(key=lambda stage: sum(at[up][0] for up in stages[stage]) / max(len(stages[stage]), 1))
        left = (width - len(row) * (NODE[0] + GAP[0])) / 2 + (NODE[0] + GAP[0]) / 2
        for place, stage in enumerate(row):
            at[stage] = (left + place * (NODE[0] + GAP[0]), GAP[1] / 2 + level * (NODE[1] + GAP[1]))
    return at, width, len(rows) * (NODE[1] + GAP[1])
