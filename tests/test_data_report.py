"""The data report: each number as a hand counts it, equal bytes, and Markdown of it for a reviewer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import REPOSITORY
from review_fixtures import empty_review

from flows.releases import released_data
from flows.review.data_report import LABELS_SHOWN, as_markdown
from flows.review.pull_request import as_markdown as review_as_markdown
from stages.core.files import write_json
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.report import report

CLEAN = [
    ("r1", "a ship", "sea", "train"),
    ("r2", "two ships at sea", "sea", "train"),
    ("r3", "bread", "kitchen", "train"),
    ("r4", "wave", "sea", "validation"),
    ("r5", "x" * 100, "kitchen", "test"),
]
DROPPED = [
    ("r6", "oh", "sea", "too_short"),
    ("r7", "a  ship", "sea", "exact_duplicate"),
    ("r8", "a ship!", "sea", "near_duplicate"),
    ("r9", None, "sea", "missing_text"),
]
WARNING = "labels: expect_column_values_to_be_between on share: found 0.6"


def write(folder: Path) -> Paths:
    """What the stage reads: 5 rows kept, 4 dropped, 1 that could not be read."""
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True)
    pd.DataFrame({"row_id": [row[0] for row in CLEAN + DROPPED]}).to_parquet(paths.raw)
    pd.DataFrame(CLEAN, columns=["row_id", "text", "label", "split"]).to_parquet(paths.clean)
    pd.DataFrame(DROPPED, columns=["row_id", "text", "label", "reason"]).to_parquet(paths.quarantine)
    pd.DataFrame({"row_id": []}).to_parquet(paths.held_out)
    unreadable = pd.DataFrame([("rows.csv:7", "ragged", "a,b,c|d")], columns=["origin", "reason", "excerpt"])
    unreadable.to_parquet(paths.unreadable)
    cut = {"train": 0.0, "validation": 0.2, "test": 0.25}  # the limit of params.yaml is 0.2
    more = {"p95_tokens": 70.0, "truncated_rows": ["r5"], "unknown_share": 0.05, "unread_rows": 0}
    write_json(paths.token_report, {split: {"truncated_share": share, **more} for split, share in cut.items()})
    results = [{"success": False, "message": WARNING}, {"success": True, "message": None}]
    write_json(paths.validation_report, {"labels": results})
    return paths


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = write(tmp_path_factory.mktemp("report") / "one")
    report(load_params(REPOSITORY / "params.yaml"), paths)
    return paths


@pytest.fixture(scope="module")
def content(written: Paths) -> dict[str, Any]:
    return json.loads(written.data_report.read_text())


def test_what_is_masked_in_the_rows_is_masked_in_the_report_which_goes_into_git(tmp_path: Path) -> None:
    paths = write(tmp_path / "one")
    dropped = [("r6", "write to bob@web.de", "sea", "conflicting_label"), ("r7", None, "sea", "missing_text")]
    pd.DataFrame(dropped, columns=["row_id", "text", "label", "reason"]).to_parquet(paths.quarantine)
    unreadable = pd.DataFrame([("a:1", "ragged", "ann@web.de,x,y")], columns=["origin", "reason", "excerpt"])
    unreadable.to_parquet(paths.unreadable)
    params = load_params(REPOSITORY / "params.yaml")
    rules = params.clean.model_copy(update={"rules": [*params.clean.rules, "mask_emails"]})
    report(params.model_copy(update={"clean": rules}), paths)
    shown = json.loads(paths.data_report.read_text())["examples"]
    assert shown["dropped"]["conflicting_label"][0]["text"] == f"write to {params.clean.masks.email}"
    assert shown["unreadable"]["ragged"][0]["text"].startswith(params.clean.masks.email)


def test_rows_are_counted_from_the_source_to_the_splits(content: dict[str, Any]) -> None:
    assert content["steps"] == {
        "source": 10, "unreadable": 1, "read": 9, "dropped": 4, "kept": 5, "train": 3, "validation": 1, "test": 1,
    }  # fmt: skip
    assert content["dropped_share"] == 0.5  # 5 of 10
    assert content["duplicate_share"] == 0.222222  # 2 of 9
    assert content["truncated_share"]["test"] == 0.25


def test_every_reason_has_its_count_and_examples_with_their_texts_cut(content: dict[str, Any]) -> None:
    assert content["reasons"]["dropped"] == {
        "exact_duplicate": 1, "missing_text": 1, "near_duplicate": 1, "too_short": 1,
    }  # fmt: skip
    assert content["reasons"]["unreadable"] == {"ragged": 1}
    assert content["examples"]["unreadable"]["ragged"] == [{"row_id": "rows.csv:7", "text": "a,b,c|d"}]
    assert content["examples"]["dropped"]["missing_text"] == [{"row_id": "r9", "label": "sea", "text": None}]
    assert content["examples"]["labels"]["kitchen"] == [{"row_id": "r3", "text": "bread"}]


def test_labels_and_lengths_are_those_of_each_split(content: dict[str, Any]) -> None:
    assert content["labels"] == {
        "kitchen": {"train": 1, "validation": 0, "test": 1, "share": 0.4},
        "sea": {"train": 2, "validation": 1, "test": 0, "share": 0.6},
    }
    assert content["chars"]["train"] == {"p05": 5.1, "p50": 6.0, "p95": 15.0, "longest": 16}
    assert content["warnings"] == [
        WARNING,
        "tokens: truncated_share of test: found 0.25, allowed 0.2 or less. tokenize.max_tokens is 64; 95 in 100 texts "
        "have 70 or less, so raise it. Rows: r5.",
    ]


def test_the_tables_for_plots_hold_the_same_numbers(written: Paths) -> None:
    steps, reasons, labels, lengths = (
        pd.read_csv(written.data_plots / f"{name}.csv") for name in ("steps", "reasons", "labels", "lengths")
    )
    assert steps["rows"].tolist() == [10, 1, 9, 4, 5, 3, 1, 1]
    assert dict(zip(reasons["reason"], reasons["rows"], strict=True))["near_duplicate"] == 1
    assert labels.columns.tolist() == ["label", "train", "validation", "test"]
    assert lengths[["train", "validation", "test"]].sum().round(5).tolist() == [1, 1, 1]
    assert lengths.loc[lengths["test"] > 0, "chars"].tolist() == [100]  # bins of four characters


def test_two_runs_at_two_paths_give_equal_bytes(written: Paths, tmp_path: Path) -> None:
    other = write(tmp_path / "two")
    report(load_params(REPOSITORY / "params.yaml"), other)
    assert other.data_report.read_bytes() == written.data_report.read_bytes()
    for path in written.data_plots.iterdir():
        assert (other.data_plots / path.name).read_bytes() == path.read_bytes()


def test_markdown_shows_what_was_dropped_why_and_such_as(content: dict[str, Any]) -> None:
    told = as_markdown(content)
    assert "| dropped | 4 |" in told
    assert "| near duplicate | 1 | `r8` a ship! (sea) |" in told
    assert "| ragged | 1 | `rows.csv:7` a,b,c\\|d |" in told
    assert "| sea | 2 | 1 | 0 | 60.0% | `r1` a ship |" in told
    assert "- Warning: labels: expect_column" in told
    assert "unknown tokens of train 5.0%" in told
    assert "the tokenizer reads nothing" not in told
    unread = as_markdown({**content, "unread_rows": {"train": 2, "test": 0}}, {"unread_rows": {"train": 1}})
    assert "rows of train of which the tokenizer reads nothing 1 → 2." in unread
    assert "→" not in told


def test_against_an_earlier_report_what_differs_is_shown_with_what_it_was(content: dict[str, Any]) -> None:
    before = {
        **content,
        "steps": {**content["steps"], "kept": 1234},
        "labels": {"sea": content["labels"]["sea"], "x": {}},
    }
    told = as_markdown(content, before)
    assert "| kept | 1,234 → 5 |" in told
    assert told.count("→") == 1
    assert "Gone: x." in told


def test_many_labels_and_texts_that_are_markup_stay_a_table(content: dict[str, Any]) -> None:
    one = content["labels"]["sea"]
    labels = {f"l{at:03}": one for at in range(100)}
    hostile = {"l000": [{"row_id": "r", "text": "<b>|` @you\nhttp://x"}]}
    told = as_markdown({**content, "labels": labels, "examples": {**content["examples"], "labels": hostile}})
    assert f"{100 - LABELS_SHOWN} labels more." in told
    assert "&lt;b&gt;\\|\\` @\u2060you http:\u2060//x |" in told


def test_a_review_has_the_report_where_the_data_changed_and_only_there(content: dict[str, Any]) -> None:
    changed = dataclasses.replace(empty_review(), data=content, data_before={**content, "dropped_share": 0.4})
    assert "dropped 40.0% → 50.0%" in review_as_markdown(changed)
    same = dataclasses.replace(empty_review(), data=content, data_before=content)
    assert "<summary>Data</summary>" not in review_as_markdown(same)


FAILED = {"success": False, "warns": False, "message": "drift: too far"}


@pytest.mark.parametrize(
    ("summary", "found"),
    [
        ({"drift": [FAILED], "clean": []}, ("drift: too far",)),
        ({"drift": [FAILED], "clean": [FAILED | {"warns": True}]}, ("drift: too far",)),
        ({"drift": [FAILED], "clean": [FAILED]}, ()),
        ({"clean": [FAILED]}, ()),
    ],
)
def test_a_failure_is_one_of_drift_where_nothing_else_failed(
    tmp_path: Path, summary: dict[str, Any], found: tuple[str, ...]
) -> None:
    assert released_data.drift(tmp_path) == ()
    write_json(Paths(tmp_path).validation_report.with_name("validation-failed.json"), summary)
    assert released_data.drift(tmp_path) == found


def test_a_profile_is_remembered_once(tmp_path: Path) -> None:
    assert released_data.remember(tmp_path, '{"rows": 1}\n')
    assert not released_data.remember(tmp_path, '{"rows": 1}\n')
    assert Paths(tmp_path).released_data.read_text() == '{"rows": 1}\n'
