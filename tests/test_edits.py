"""Parameters that a params.yaml lacks are added as they stand elsewhere; what it has stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from flows.dvc.edits import add_missing
from stages.core.params.file import load_params

WHOLE = REPOSITORY / "params.yaml"


def without(text: str, name: str) -> str:
    """The text without a section, and the blank line before it, or without a parameter and what is within it."""
    *sections, key = name.split(".")
    start = 0
    for depth, section in enumerate(sections):
        start = text.index(f"\n{'  ' * depth}{section}:", start) + 1
    indent = "  " * len(sections)
    lines = text[text.index(f"\n{indent}{key}:", start) + 1 :].splitlines(keepends=True)
    within = [lines[0]]
    for line in lines[1:]:
        if not line.startswith(f"{indent} "):
            break
        within.append(line)
    before, own, after = text.partition("".join(within))
    assert own
    return before.removesuffix("\n" if before.endswith("\n\n") else "") + after


@pytest.mark.parametrize(
    "names",
    [
        ["clean.max_chars"],
        ["finetune.method", "finetune.epochs", "finetune.batch_size"],
        ["promotion.max_size_mb"],
        ["evaluate"],
        ["profile", "promotion"],
        ["distill.losses"],
        ["ingest.columns.text_pair"],
        ["data_seed"],
    ],
)
def test_what_is_missing_is_added_where_it_stands_in_the_other_file(names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = WHOLE.read_text(encoding="utf-8")
    for name in names:
        text = without(text, name)
    path.write_text(text, encoding="utf-8")
    assert [name for name in add_missing(path, WHOLE) if name in names] == names
    assert path.read_text(encoding="utf-8") == WHOLE.read_text(encoding="utf-8")
    load_params(path)


def test_what_the_file_has_stays_with_its_comments_and_lines_of_its_own(tmp_path: Path) -> None:
    path, whole = tmp_path / "params.yaml", tmp_path / "whole.yaml"
    whole.write_text(
        "a:\n  first: 1  # one\n  names: [x]\n  splits:\n    train: t\n    test: u\n\nb: 2\n", encoding="utf-8"
    )
    path.write_text("# mine\na:\n  splits: {train: other}\n  names:\n  - y\n  - z\n", encoding="utf-8")
    assert add_missing(path, whole) == ["a.first", "b"]
    assert path.read_text(encoding="utf-8") == (
        "# mine\na:\n  first: 1  # one\n  splits: {train: other}\n  names:\n  - y\n  - z\n\nb: 2\n"
    )
    assert add_missing(path, whole) == []
