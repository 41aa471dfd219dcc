"""Changes to the values of a params.yaml that leave its comments and its order as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def set_values(path: Path, values: Mapping[str, Any]) -> None:
    """Set parameters of the file at `path`; the keys of `values` are dotted, as "distill.losses.labels".

    Raises ValueError for one that the file does not have.
    """
    from ruamel.yaml import YAML

    editor = YAML()
    editor.preserve_quotes = True
    editor.width = 10_000
    editor.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    content = editor.load(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        *sections, key = name.split(".")
        section = content
        for part in sections:
            section = section.get(part, {})
        if key not in section:
            raise ValueError(f"{path}: it has no parameter '{name}'.")
        section[key] = _in_line(value, section, key) if isinstance(value, list | dict) else value
    with path.open("w", encoding="utf-8") as file:
        editor.dump(content, file)


def _in_line(values: list[Any] | dict[str, Any], section: Any, key: str) -> Sequence[Any] | Mapping[str, Any]:
    """The list, or the section, as it is written on the line of its key: [a, b], {a: 1}.

    Its comment, which stays behind it, goes where the others of the section stand, however long the old list was.
    """
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    comments = {name: tokens[2] for name, tokens in section.ca.items.items() if tokens[2]}
    if key in comments:
        comments[key].column = min(comment.column for comment in comments.values())
    found = CommentedMap(values) if isinstance(values, dict) else CommentedSeq(values)
    found.fa.set_flow_style()
    return found
