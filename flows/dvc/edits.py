"""Changes to the values and lines of a params.yaml that leave its comments and its order as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

KEY = re.compile(r"(?P<indent> *)(?P<name>\w+):")


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


def add_missing(path: Path, whole: Path) -> list[str]:
    """Add to the file at `path` the parameters of `whole` that it lacks, as they stand there. Returns their names.

    A new line goes behind the one that it follows in `whole`. Within a value that is written on one line, such as
    {a: 1}, nothing is added.
    """
    of_whole, added = whole.read_text(encoding="utf-8").splitlines(), []
    lines = path.read_text(encoding="utf-8").splitlines()
    last: dict[str, str] = {}  # of each section the parameter before this one
    for name, place in _places(of_whole).items():
        section = name.rpartition(".")[0]
        there = _places(lines)
        if name not in there and (not section or section in there):
            if section and not _opens(lines[there[section].first]):
                continue
            before = last.get(section)
            at = there[before].end if before else there[section].first + 1 if section else 0
            is_apart = place.first > 0 and not of_whole[place.first - 1].strip()
            lines[at:at] = of_whole[place.first - is_apart : place.end]
            added.append(name)
        last[section] = name
    if added:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return added


class Place(NamedTuple):
    """The lines of a parameter with all that is within it: `first`, and those before `end`."""

    first: int
    end: int


def _places(lines: Sequence[str]) -> dict[str, Place]:
    """Where each parameter stands, by its name with dots, in the file's order."""
    found: dict[str, Place] = {}
    above: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        if (match := KEY.match(line)) is None:
            continue
        depth = len(match["indent"])
        above = [(of, name) for of, name in above if of < depth]
        name = ".".join([*(name for _, name in above), match["name"]])
        above.append((depth, match["name"]))
        found[name] = Place(number, _end(lines, number, depth))
    return found


def _end(lines: Sequence[str], first: int, depth: int) -> int:
    """Behind the last line that is indented further than the one at `first`, or as far and an item of its list."""
    end = first + 1
    for number in range(first + 1, len(lines)):
        line = lines[number]
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        if indent < depth or (indent == depth and not line.lstrip().startswith("- ")):
            break
        end = number + 1
    return end


def _opens(line: str) -> bool:
    """Whether what the line names is written on the lines below it."""
    return re.fullmatch(r" *\w+: *(#.*)?", line) is not None


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
