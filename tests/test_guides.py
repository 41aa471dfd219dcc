"""docs/guides.md: each block of parameters, put into a project's params.yaml, is one that `winnow check` accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from flows.cli.mistakes import mistakes
from flows.dvc.edits import set_values
from stages.core import plugins
from stages.core.params.file import load_params
from stages.core.yaml_text import parse
from stages.tasks import TASKS

PAGE = (REPOSITORY / "docs/guides.md").read_text(encoding="utf-8")
WHOLE = ("model.scratch", "ingest.images", "finetune.lora")  # values that have names within


def blocks() -> Iterator[tuple[str, str]]:
    """The heading that each block of YAML stands under, and the block."""
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]+)$|^```yaml\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE):
        if found[1]:
            heading = found[1]
        else:
            yield heading, found[2]


def dotted(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values by their names with dots; of those that are one value, such as a scratch model, the whole."""
    for name, value in values.items():
        if isinstance(value, dict) and f"{above}{name}" not in WHOLE:
            yield from dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def project(folder: Path, values: dict[str, Any]) -> Path:
    """A project of the block's task on a file, as `winnow init` starts one, with the block's values on top.

    Where rows have images, it is on the folder of the file.
    """
    name = values.get("task", {}).get("name", "text_classification")
    settings = plugins.part(TASKS, name, "settings", key="task.name")
    path = folder / "params.yaml"
    path.write_bytes((REPOSITORY / "params.yaml").read_bytes())
    starts = {"task.name": name, "task.measure": settings.measures[0], **settings.starts}
    file = folder / ("data/rows.jsonl" if settings.images else "rows.jsonl")
    file.parent.mkdir(exist_ok=True)
    starts |= {"ingest.source": "files", "ingest.path": "data" if settings.images else file.name}
    set_values(path, starts | dict(dotted(values)))
    ingest = load_params(path).ingest
    row = dict.fromkeys(filter(None, [*ingest.columns.model_dump().values(), *ingest.keep_columns]), "a text")
    file.write_text(f"{json.dumps(row)}\n")
    return path


@pytest.mark.parametrize("block", [pytest.param(block, id=heading) for heading, block in blocks()])
def test_the_lines_are_accepted_in_a_project_of_their_task(tmp_path: Path, block: str) -> None:
    params = load_params(project(tmp_path, parse(block, "docs/guides.md")))
    assert list(mistakes(tmp_path, params)) == []


def test_lines_that_do_not_go_together_are_told(tmp_path: Path) -> None:
    values = {"task": {"name": "regression", "measure": "pearson"}, "finetune": {"label_smoothing": 0.1}}
    [line] = mistakes(tmp_path, load_params(project(tmp_path, values)))
    assert "finetune.label_smoothing is 0.1" in line


def test_each_thing_that_the_page_promises_has_its_lines() -> None:
    promised = set(re.findall(r"\[[^\]]+\]\(#([\w-]+)\)", PAGE))
    under: dict[str, str] = {}
    for part in re.split(r"^###? ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        under[re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")] = text
    assert {name for name in promised if "```yaml" not in under[name]} == set()
