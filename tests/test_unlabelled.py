"""Rows without labels: which of them go on as the split `transfer`, and that students learn from their answers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, TOPICS, UNUSED, tiny_params
from safetensors.torch import load_file
from source_fixtures import kept, settings
from test_cleaning import cleaned, of_authors, outs, run_clean, sentences
from test_distilled_vectors import ROWS, TRAIN_ROWS, write_teacher
from test_files_source import write_rows
from test_pairs import cleaned as cleaned_pairs
from test_sources import hub_folder
from test_tokenize import write_clean
from test_validate import good_rows, write
from test_validate import params as validate_params

from flows.review.cards import data_card
from flows.review.data_report import as_markdown
from stages.cache_logits import cache_logits
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.prune import prune
from stages.report import report
from stages.sources import hub
from stages.tokenize import tokenize
from stages.training.rows import open_training_data, read_tokens
from stages.validate import validate

# Sources


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_file_of_transfer_rows_needs_no_label_column_and_leaves_the_others_to_be_drawn(
    tmp_path: Path, ending: str
) -> None:
    write_rows(tmp_path / f"reviews.{ending}", [("x", "a")])
    more = pd.DataFrame({"text": ["y", "z"]})
    path = tmp_path / f"unlabelled.{ending}"
    how = {"csv": lambda: more.to_csv(path, index=False), "parquet": lambda: more.to_parquet(path)}
    how.get(ending, lambda: more.to_json(path, orient="records", lines=True))()
    splits = settings(tmp_path).splits.model_dump() | {"transfer": "unlabelled"}
    rows = [(row.text, row.label, row.split) for row in kept(tmp_path, splits=splits)]
    assert rows == [("x", "a", None), ("y", None, "transfer"), ("z", None, "transfer")]
    with pytest.raises(ValueError, match=r"no column 'label' .*ingest\.splits\.transfer"):
        kept(tmp_path / f"unlabelled.{ending}")


def test_the_label_of_a_transfer_row_is_not_looked_at(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["x", "y", "z"], "label": "a", "part": ["train", "more", "test"]}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    splits = settings(tmp_path).splits.model_dump() | {"transfer": "more"}
    rows = kept(tmp_path / "rows.csv", splits=splits, split_column="part")
    assert [(row.label, row.split) for row in rows] == [("a", "train"), (None, "transfer"), ("a", "test")]
    chosen = settings(hub_folder(tmp_path / "pets"), splits=splits | {"transfer": "test", "test": "final"})
    assert [(row.label, row.split) for row in hub.read(chosen, 0)] == [
        ("cat", None), ("dog", None), ("dog", None), (None, "transfer"),
    ]  # fmt: skip


# Cleaning


def labelled_and_not() -> list[tuple[Any, Any, Any]]:
    return [(text, "ab"[at % 2] if at < 60 else None, None) for at, text in enumerate(sentences(80))]


def test_rows_without_a_label_stand_in_a_split_of_their_own_and_change_nothing_of_the_others(tmp_path: Path) -> None:
    alone, before, _ = cleaned(tmp_path / "alone", labelled_and_not())
    both, counts, dropped = cleaned(tmp_path / "both", labelled_and_not(), unlabelled="transfer")
    transfer = both[both["split"] == "transfer"]
    assert sorted(transfer["row_id"]) == sorted(f"row-{at}" for at in range(60, 80))
    assert transfer["label"].isna().all()
    pd.testing.assert_frame_equal(both[both["split"] != "transfer"].reset_index(drop=True), alone)
    assert counts["rows"] == {**before["rows"], "transfer": 20}
    assert (counts["kept"], counts["dropped"], len(dropped)) == (80, 0, 0)
    assert counts["label_shares"] == before["label_shares"] == {"a": 0.5, "b": 0.5}
    assert "| transfer | 20 |" in data_card(load_params(REPOSITORY / "params.yaml"), counts, {})


def test_the_order_of_the_rows_never_changes_a_byte(tmp_path: Path) -> None:
    texts = [text for text, *_ in labelled_and_not()]
    texts += [f"{text} too" for text in texts[::3]] + [text.upper() for text in texts[::4]]
    table = [
        (f"{at:04}", text, "ab"[at % 2] if at < 60 else None, f"made:{at}", None, None, None)
        for at, text in enumerate(texts)
    ]
    run_clean(tmp_path / "one", table, unlabelled="transfer")
    random.Random(1).shuffle(table)
    run_clean(tmp_path / "two", table, unlabelled="transfer")
    assert outs(tmp_path / "one") == outs(tmp_path / "two")


def test_where_every_row_has_a_label_the_clean_rows_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("drop", "transfer"):
        cleaned(tmp_path / name, labelled_and_not()[:60], unlabelled=name)
    one, two = (Paths(tmp_path / name) for name in ("drop", "transfer"))
    assert one.clean.read_bytes() == two.clean.read_bytes()
    assert one.quarantine.read_bytes() == two.quarantine.read_bytes()


def test_no_transfer_row_repeats_another_row_exactly_or_nearly_least_of_all_a_held_out_one(tmp_path: Path) -> None:
    """The validation and test rows that are drawn count as those that are given do."""
    rows = labelled_and_not()
    splits = cleaned(tmp_path / "before", rows)[0].set_index("row_id")["split"]
    first = {split: rows[int(splits.index[splits == split][0].removeprefix("row-"))][0] for split in set(splits)}
    more = [
        *((first[split].upper(), None, None) for split in ("validation", "test", "train")),
        *((f"{first[split]} too", "", None) for split in ("validation", "test", "train")),
        (rows[60][0].upper(), None, None),
        (f"{rows[60][0]} too", None, None),
        ("x", None, None),
        (sentences(1, seed=9)[0], None, "validation"),
    ]
    both, counts, dropped = cleaned(tmp_path / "after", rows + more, unlabelled="transfer")
    assert dict(zip(dropped["row_id"], dropped["reason"], strict=True)) == {
        "row-80": "leaked",
        "row-81": "leaked",
        "row-82": "exact_duplicate",
        "row-83": "leaked",
        "row-84": "leaked",
        "row-85": "near_duplicate",
        "row-86": "exact_duplicate",
        "row-87": "near_duplicate",
        "row-88": "too_short",
        "row-89": "missing_label",
    }
    assert counts["rows"]["transfer"] == 20
    assert both.set_index("row_id").loc[splits.index, "split"].tolist() == splits.tolist()


def test_a_text_without_a_label_between_two_with_labels_makes_them_no_duplicates(tmp_path: Path) -> None:
    words = sentences(1, words=30)[0].rstrip(".").split()
    left, between, right = (" ".join(words[at : at + 24]) for at in (0, 2, 4))  # 22 of 24 words, and 20
    rows = [(left, "a", None), (between, None, None), (right, "a", None)]
    both, _, dropped = cleaned(tmp_path, rows, unlabelled="transfer", near_duplicate_jaccard=0.75)
    assert sorted(both["row_id"]) == ["row-0", "row-2"]
    assert dropped["reason"].tolist() == ["near_duplicate"]


def test_rows_of_a_group_that_is_drawn_for_validation_or_test_are_no_transfer_rows(tmp_path: Path) -> None:
    rows = of_authors([None])
    table = [(*row[:2], None, *row[3:]) if row[0].endswith("-0") else row for row in rows]
    both, counts, dropped = run_clean(tmp_path, table, group_column="author", unlabelled="transfer", test_fraction=0.4)
    author = both["kept"].map(lambda text: json.loads(text)["author"])
    held_out, transfer = (
        author[both["split"].isin(names)].dropna() for names in (["validation", "test"], ["transfer"])
    )
    assert len(transfer)
    assert not set(held_out) & set(transfer)
    assert set(dropped["reason"]) == {"leaked_group"}
    assert counts["rows"]["transfer"] + len(dropped) == 10


def test_pairs_the_other_way_round_of_held_out_ones_are_no_transfer_rows(tmp_path: Path) -> None:
    texts = [text.rstrip(".") for text in sentences(80)]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    rows = [(a, b, "a") for a, b in pairs] + [(b, a, None) for a, b in pairs]
    both, _, reasons = cleaned_pairs(tmp_path, rows, unlabelled="transfer")
    held_out = both[both["split"].isin(["validation", "test"])]
    assert len(held_out) > 0
    assert sorted(reasons) == sorted(f"row-{int(name.removeprefix('row-')) + 40:02}" for name in held_out["row_id"])
    assert set(reasons.values()) == {"leaked"}


# Validation and the data report


def with_transfer_rows() -> pd.DataFrame:
    more = pd.DataFrame(
        [(f"more-{at}", f"another text {at}", None, f"made:more-{at}", "transfer") for at in range(60)],
        columns=good_rows().columns,
    )
    return pd.concat([good_rows(), more], ignore_index=True).astype("str")


def test_validation_allows_rows_without_labels_where_they_are_wanted_and_looks_at_their_texts(tmp_path: Path) -> None:
    settings = validate_params()
    wanted = settings.model_copy(update={"clean": settings.clean.model_copy(update={"unlabelled": "transfer"})})
    rows = with_transfer_rows()
    paths = write(tmp_path / "good", rows, rows)
    validate(wanted, paths)
    alone = write(tmp_path / "alone", good_rows(), good_rows())
    validate(settings, alone)
    assert paths.data_profile.read_bytes() == alone.data_profile.read_bytes()  # what later data is compared with
    with pytest.raises(ValueError, match=r"on label: found .*\(validate\.max_missing_label_share\)"):
        validate(settings, paths)
    rows.loc[rows["row_id"] == "more-3", "text"] = None
    with pytest.raises(ValueError, match=r"transfer: expect_column_values_to_not_be_null on text.*more-3"):
        validate(wanted, write(tmp_path / "bad", with_transfer_rows(), rows))


# From tokens to students

MORE = [(f"more-{at}", f"{UNUSED[0]} {' '.join(words[at : at + 3])}", None, "transfer")
        for words in TOPICS.values() for at in range(6)]  # fmt: skip


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> tuple[Params, Paths]:
    """A project with transfer rows, a random teacher, and its logits of training rows, transfer rows and copies."""
    paths = write_clean(tmp_path_factory.mktemp("transfer") / "project", ROWS + MORE)
    tiny = tiny_models("bert")
    params = tiny_params(
        paths, tiny, cache_logits__augmented_copies=1, distill__teacher_layers=[0, 2], distill__epochs=1,
        distill__batch_size=12, distill__precision="fp32", prune__epochs=1, prune__common_words=1,
        prune__feed_forward_kept=1.0,
    )  # fmt: skip
    tokenize(params, paths)
    write_teacher(params, paths, tiny)
    cache_logits(params, paths)
    return params, paths


def test_transfer_rows_become_tokens_without_a_label_and_the_teacher_does_not_see_them(
    cached: tuple[Params, Paths],
) -> None:
    paths = cached[1]
    assert read_tokens(paths.tokens / "transfer").targets.tolist() == [-1] * len(MORE)
    assert json.loads(paths.token_report.read_text())["transfer"]["rows"] == len(MORE)
    assert len(open_training_data(paths).train) == TRAIN_ROWS


def test_the_teacher_answers_transfer_rows_as_it_would_answer_them_as_training_rows(
    cached: tuple[Params, Paths], tmp_path: Path
) -> None:
    params, paths = cached
    found = load_file(paths.logits)
    assert found["logits"].shape == (2 * (TRAIN_ROWS + len(MORE)), 3)
    assert found["lengths"].shape == (TRAIN_ROWS + len(MORE),)  # of the copies, of transfer rows too
    trained = [(name, text, list(TOPICS)[at // 6], "train") for at, (name, text, *_) in enumerate(MORE)]
    other = write_clean(tmp_path / "other", [row for row in ROWS if row[3] != "train"] + trained)
    tokenize(params, other)
    shutil.copytree(paths.model("teacher"), other.model("teacher"))
    shutil.copytree(paths.training("teacher").parent, other.training("teacher").parent)
    cache_logits(params.model_copy(update={"cache_logits": params.cache_logits.model_copy(
        update={"augmented_copies": 0})}), other)  # fmt: skip
    asked = found["logits"][TRAIN_ROWS : TRAIN_ROWS + len(MORE)].numpy()
    np.testing.assert_allclose(asked, load_file(other.logits)["logits"].numpy(), atol=1e-4)


def test_students_train_on_both_and_pruning_keeps_the_tokens_of_transfer_rows(cached: tuple[Params, Paths]) -> None:
    params, paths = cached
    distill(params, paths)
    prune(params, paths)
    for name in ("student", "pruned"):
        told = json.loads(paths.training(name).read_text())
        assert told["train_rows"] == TRAIN_ROWS
        assert told["unlabelled_rows"] == len(MORE)
        assert told["hidden_copies"] == TRAIN_ROWS + len(MORE)  # of each row
    vocabulary = json.loads((paths.model("pruned") / "tokenizer.json").read_text())["model"]["vocab"]
    assert UNUSED[0] in vocabulary
    assert UNUSED[1] not in vocabulary


def test_the_data_report_counts_transfer_rows_beside_those_with_labels(cached: tuple[Params, Paths]) -> None:
    params, paths = cached
    rows = pd.read_parquet(paths.clean)
    rows.to_parquet(paths.raw)
    rows.iloc[:0].assign(reason="").to_parquet(paths.quarantine)
    rows.iloc[:0].to_parquet(paths.held_out)
    pd.DataFrame(columns=["origin", "reason", "excerpt"], dtype="str").to_parquet(paths.unreadable)
    paths.validation_report.write_text("{}")
    report(params, paths)
    content = json.loads(paths.data_report.read_text())
    assert content["steps"]["transfer"] == len(MORE)
    assert f"| transfer | {len(MORE)} |" in as_markdown(content)
    assert content["steps"]["kept"] == len(ROWS) + len(MORE)
    assert sum(one["share"] for one in content["labels"].values()) == pytest.approx(1, abs=1e-5)
    assert content["chars"]["transfer"]["longest"] == max(len(text) for _, text, *_ in MORE)
