"""Tokenizing: the same bytes at two paths, memory-mapped rows in their order, an honest report."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY
from tokenizers import Tokenizer

from stages.core.files import sha256
from stages.core.params.file import Params, load_params
from stages.core.params.model import ModelParams
from stages.core.paths import Paths
from stages.tokenize import tokenize
from stages.tokens.counts import beyond, kinds_of
from stages.tokens.unknown import counts

ROWS = [
    ("t1", "ship anchor tide", "sea", "train"),
    ("t2", "bread oven", "kitchen", "train"),
    ("t3", "ship bread oven butter pepper knife flour", "kitchen", "train"),
    ("v1", "anchor", "sea", "validation"),
    ("x1", "sugar spoon", "kitchen", "test"),
]

ALL_READ = {"unknown_share": 0.0, "unread_rows": 0, "unknown_rows": [], "unknown_words": []}


def params(model: Path, max_tokens: int = 6, **changes: Any) -> Params:
    whole = load_params(REPOSITORY / "params.yaml")
    values = whole.model.model_dump() | {"name": str(model), "revision": None}
    values["sha256"] = sha256(model / "model.safetensors")
    sections = {
        "model": ModelParams.model_validate(values),
        "tokenize": whole.tokenize.model_copy(update={"max_tokens": max_tokens, **changes}),
    }
    return whole.model_copy(update=sections)


def write_clean(folder: Path, rows: list[tuple[str, str, str, str]]) -> Paths:
    paths = Paths(folder)
    paths.clean.parent.mkdir(parents=True)
    names = ("row_id", "text", "label", "split")
    table = pa.Table.from_pylist(
        [dict(zip(names, row, strict=True)) for row in rows], pa.schema([(name, pa.large_string()) for name in names])
    )
    pq.write_table(table.append_column("origin", table["row_id"]), paths.clean)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Paths:
    paths = write_clean(tmp_path_factory.mktemp("one") / "project", ROWS)
    tokenize(params(tiny_models("bert")), paths)
    return paths


def test_two_runs_at_two_paths_give_equal_bytes_without_paths(
    written: Paths, tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    other = write_clean(tmp_path / "elsewhere", ROWS)
    tokenize(params(tiny_models("bert")), other)
    for of in (Paths.tokens, Paths.tokenizer):
        one, two = (contents(of.fget(paths)) for paths in (written, other))  # type: ignore[attr-defined]
        assert one == two
        assert not any(b"/tmp" in content or b"pytest" in content for content in one.values())


def test_rows_are_memory_mapped_in_order_with_their_ids(written: Paths) -> None:
    train = datasets.load_from_disk(str(written.tokens / "train"))
    assert train["row_id"][:] == ["t1", "t2", "t3"]
    assert train["label"][:] == [1, 0, 0]
    assert [len(ids) for ids in train["input_ids"]] == [5, 4, 6]
    assert train.data.table.schema.field("input_ids").type == pa.list_(pa.int32())
    assert train.column_names == ["row_id", "input_ids", "label"]
    assert json.loads((written.tokens / "space.json").read_text()) == {
        "space": {"labels": ["kitchen", "sea"]}, "max_tokens": 6, "pad_id": 0,
    }  # fmt: skip
    assert sorted(contents(written.tokens)) == [
        "space.json",
        *(
            f"{split}/{name}"
            for split in ("test", "train", "validation")
            for name in ("data-00000-of-00001.arrow", "dataset_info.json", "state.json")
        ),
    ]


def test_other_rows_have_another_fingerprint(written: Paths) -> None:
    marks = {
        json.loads((written.tokens / split / "state.json").read_text())["_fingerprint"] for split in ("train", "test")
    }
    assert len(marks) == 2


def test_the_report_counts_tokens_before_cutting(written: Paths) -> None:
    report = json.loads(written.token_report.read_text())
    # lengths with both marks: 5, 4, 9; the 95th percentile lies 0.9 of the way from 5 to 9
    assert report["train"] == {
        "rows": 3, "mean_tokens": 6.0, "p95_tokens": 8.6, "truncated_share": 0.333333, "truncated_rows": ["t3"],
        "lost_token_share": 0.166667, "windows_per_row": 1.0, **ALL_READ,  # 3 of 18 tokens
    }  # fmt: skip
    assert report["validation"] == {
        "rows": 1, "mean_tokens": 3.0, "p95_tokens": 3.0, "truncated_share": 0.0, "truncated_rows": [],
        "lost_token_share": 0.0, "windows_per_row": 1.0, **ALL_READ,
    }  # fmt: skip


def test_more_rows_cut_than_the_limit_stop_or_warn_with_the_share_and_rows(
    tmp_path: Path, tiny_models: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="winnow")
    said = "tokens: truncated_share of train: found 0.3333, allowed 0.3 or less. tokenize.max_tokens is 6; 95 in 100"
    whole = params(tiny_models("bert"))

    def with_limit(warn_only: list[str]) -> Params:
        changed = whole.validate_.model_copy(update={"max_truncated_share": 0.3, "warn_only": warn_only})
        return whole.model_copy(update={"validate_": changed})

    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        tokenize(with_limit([]), write_clean(tmp_path / "stops", ROWS))
    assert "Rows: t3. (validate.max_truncated_share)" in str(raised.value)
    paths = write_clean(tmp_path / "warns", ROWS)
    tokenize(with_limit(["max_truncated_share"]), paths)
    assert f"warning: {said}" in caplog.text
    assert paths.token_report.is_file()


FOREIGN = [
    ("t1", "ship anchor tide bread", "sea", "train"),  # 4 tokens
    ("t2", "房间 oven 房", "kitchen", "train"),  # 4, of which 3 unknown: each character is a word
    ("t3", "\U0001f600 \U0001f600", "kitchen", "train"),  # 2, both unknown
    ("t4", "房 " * 20, "sea", "train"),  # 4 that are read of 20, all unknown
    ("v1", "ห้องพัก", "sea", "validation"),
    ("x1", "sugar spoon", "kitchen", "test"),
]


def test_what_the_tokenizer_cannot_read_is_counted_of_what_the_model_sees(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    whole = params(tiny_models("bert"))
    every = whole.validate_.model_copy(update={"max_unknown_share": None, "max_truncated_share": None})
    paths = write_clean(tmp_path, FOREIGN)
    tokenize(whole.model_copy(update={"validate_": every}), paths)
    report = json.loads(paths.token_report.read_text())
    assert {name: report["train"][name] for name in ALL_READ} == {
        "unknown_share": 0.642857,  # 9 of 14
        "unread_rows": 2,
        "unknown_rows": ["t3", "t4", "t2"],
        "unknown_words": ["房", "\U0001f600", "间"],
    }
    assert (report["validation"]["unknown_share"], report["validation"]["unread_rows"]) == (1.0, 1)
    assert {name: report["test"][name] for name in ALL_READ} == ALL_READ


def test_more_unknown_tokens_than_the_limit_stop_with_the_words_and_models_that_read_them(
    tmp_path: Path, tiny_models: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    whole = params(tiny_models("bert"), max_tokens=40)
    with pytest.raises(ValueError, match="unknown_share of train") as raised:
        tokenize(whole, write_clean(tmp_path / "stops", FOREIGN))
    train, validation, where = str(raised.value).splitlines()
    assert train == (
        "tokens: unknown_share of train: found 0.8333, allowed 0.1 or less. The tokenizer cannot read such as '房', "
        "'\U0001f600', '间' (Chinese, emoji and symbols), and nothing at all of 2 of 4 rows. Name a model that can in "
        "model.name, a multilingual one such as intfloat/multilingual-e5-small or "
        "distilbert/distilbert-base-multilingual-cased, or set tokenize.tokenizer to trained. Rows: t3, t4, t2. "
        "(validate.max_unknown_share)"
    )
    assert "(Thai)" in validation
    assert where == "Or raise the limit."
    warns = whole.validate_.model_copy(update={"warn_only": ["max_unknown_share"]})
    tokenize(whole.model_copy(update={"validate_": warns}), write_clean(tmp_path / "warns", FOREIGN))
    assert "warning: tokens: unknown_share of validation: found 1, allowed 0.1" in caplog.text


def test_a_pair_is_unread_by_what_both_texts_hold() -> None:
    tokens = np.array([2, 1, 3, 9, 3, 2, 1, 3, 2, 1, 3, 2, 8, 3])  # [CLS] ? [SEP] x [SEP], and windows of two rows
    found, at = counts(
        tokens, np.array([5, 3, 3, 3]), np.array([0, 1, 2, 2]), np.array(["a", "b", "c"]), unknown=1, special=[1, 2, 3]
    )
    assert found == {"unknown_share": 0.6, "unread_rows": 1, "unknown_rows": ["b", "a", "c"]}  # 3 of 5
    assert at.tolist() == [1, 0, 2]


def test_emoji_alone_need_a_model_of_bytes() -> None:
    assert kinds_of(["\U0001f600", "\u2764\ufe0f"]) == ["emoji and symbols"]
    assert kinds_of(["привет", "שלום", "ok"]) == ["Cyrillic", "Hebrew", "Latin"]
    of = {"unknown_share": 1.0, "unread_rows": 1, "rows": 1, "unknown_words": ["\U0001f600"], "unknown_rows": ["a"]}
    of |= {"truncated_share": 0.0}
    report = dict.fromkeys(("train", "validation", "test"), of)
    [(limit, line), *_] = beyond(report, 64, max_truncated_share=None, max_unknown_share=0.5)
    assert limit == "max_unknown_share"
    assert "a byte-level one such as FacebookAI/roberta-base" in line


def test_the_tokenizer_is_two_files_that_neither_pad_nor_cut(written: Paths) -> None:
    assert sorted(contents(written.tokenizer)) == ["tokenizer.json", "tokenizer_config.json"]
    tokenizer = Tokenizer.from_file(str(written.tokenizer / "tokenizer.json"))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_a_label_without_training_rows_stops_the_stage(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    paths = write_clean(tmp_path / "project", [*ROWS, ("x2", "owl", "forest", "test")])
    with pytest.raises(ValueError, match=r"row x2: no training row has the label 'forest'"):
        tokenize(params(tiny_models("bert")), paths)
    assert not paths.tokens.exists()
