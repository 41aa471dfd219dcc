"""Validation: good rows pass with a summary of equal bytes; each fault is named with its column, counts and rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from source_fixtures import project_params, settings
from tagging_task.data import DATA as TAGGING

from stages.core.files import write_json
from stages.core.params.file import Params, load_params
from stages.core.params.validate import ValidateParams
from stages.core.paths import Paths
from stages.ingest import ingest
from stages.reading.kinds import kinds_of
from stages.tasks import TASKS
from stages.tasks.text_classification.data import DATA
from stages.validate import validate
from stages.validation.profiles import Drift, drift, profile, word_counts

WHOLE = load_params(REPOSITORY / "params.yaml")
SETTINGS = {"min_rows": 20, "min_labels": 2, "min_rows_per_label": 5, "max_dropped_share": 0.5, "min_median_chars": 5}


def params(**changes: Any) -> Params:
    settings = {**WHOLE.validate_.model_dump(), **SETTINGS, **changes}
    return WHOLE.model_copy(update={"validate_": ValidateParams.model_validate(settings)})


def good_rows() -> pd.DataFrame:
    """Two labels; of each 8 training rows, 2 validation rows and 2 test rows."""
    rows = [
        (label, split)
        for label in "ab"
        for split, n in (("train", 8), ("validation", 2), ("test", 2))
        for _ in range(n)
    ]
    return pd.DataFrame(
        [(f"row-{at}", f"text {at}", label, f"made:{at}", split) for at, (label, split) in enumerate(rows)],
        columns=["row_id", "text", "label", "origin", "split"],
    )


def write(
    folder: Path,
    raw: pd.DataFrame,
    clean: pd.DataFrame,
    unreadable: int = 0,
    dropped: Mapping[str, str] = MappingProxyType({}),
    released: Mapping[str, Any] = MappingProxyType({}),
) -> Paths:
    """The files that `validate` reads. `dropped`: row_id -> reason; `released`: the profile of the released data."""
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    raw.to_parquet(paths.raw)
    pd.DataFrame({"origin": [f"made:{at}" for at in range(unreadable)]}).to_parquet(paths.unreadable)
    clean.to_parquet(paths.clean)
    clean.iloc[:0].to_parquet(paths.held_out)
    pd.DataFrame({"row_id": list(dropped), "reason": list(dropped.values())}, dtype="str").to_parquet(paths.quarantine)
    write_json(paths.released_data, dict(released))
    return paths


def test_good_rows_pass_with_equal_bytes_at_two_paths_and_data_docs(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, good_rows(), good_rows()) for name in ("one", "two"))
    for paths in (one, two):
        validate(params(), paths)
    assert one.validation_report.read_bytes() == two.validation_report.read_bytes()
    summary = json.loads(one.validation_report.read_text())
    assert all(result["success"] for results in summary.values() for result in results)
    counted = [result["observed"] for result in summary["clean"] if "row_count" in result["expectation"]]
    assert counted == [24]
    assert (one.data_docs / "index.html").is_file()


def without_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def one_label(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows[rows["label"] == "a"]] * 2).assign(row_id=[f"row-{at}" for at in range(24)])


def repeated_id(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(row_id=rows["row_id"].replace("row-1", "row-0"))


def missing_second_text(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(text_pair=rows["text"].where(rows["row_id"] != "row-3"))


def several_faults(rows: pd.DataFrame) -> pd.DataFrame:
    """An id twice, a text that is missing, one that is empty, labels that are missing and unknown, a split by another
    name."""
    rows = repeated_id(rows)
    ids = rows["row_id"]
    return rows.assign(
        text=rows["text"].mask(ids == "row-3").mask(ids == "row-4", ""),
        label=rows["label"].mask(ids == "row-5").mask(ids == "row-6", "c"),
        split=rows["split"].replace("validation", "dev"),
    )


def label_without_test_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(split=rows["split"].where((rows["split"] != "test") | (rows["label"] != "b"), "train"))


def label_unknown_in_training(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=rows["label"].where(rows["split"] != "test", "c"))


def renamed_columns(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.rename(columns={"origin": "source", "label": "topic"})


def without_labels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=pd.Series(None, rows.index, dtype="str"))


def numbers_for_texts(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=rows["label"].map({"a": 1, "b": 2}), text=range(len(rows)))


FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = [
    (
        without_rows,
        (
            "clean: expect_table_row_count_to_be_between: found 0, allowed 20 or more.",
            "splits: no clean row is in train, validation, test. Add rows.",
            "on dropped_share: found 1 (in 1 of 1 rows), allowed 0.5 or less.",
        ),
    ),
    (one_label, ("clean: expect_column_unique_value_count_to_be_between on label: found 1, allowed 2 or more.",)),
    (
        several_faults,
        (
            'clean: expect_column_values_to_be_unique on row_id: found "row-0" (in 2 of 24 rows)',
            "clean: expect_column_values_to_not_be_null on text: found null (in 1 of 24 rows), allowed no missing "
            "value. Rows: row-3.",
            'clean: expect_column_value_lengths_to_be_between on text: found "" (in 1 of 24 rows), allowed 1 or more. '
            "Rows: row-4.",
            "clean: expect_column_values_to_not_be_null on label: found null (in 1 of 24 rows), allowed no missing "
            "value. Rows: row-5.",
            'clean: expect_column_values_to_be_in_set on label: found "c" (in 1 of 24 rows), allowed a, b. '
            "Rows: row-6. (validate.labels)",
            'on split: found "dev" (in 4 of 24 rows), allowed train, validation, test.',
            "splits: no clean row is in validation. Add rows.",
        ),
    ),
    (missing_second_text, ("not_be_null on text_pair: found null (in 1 of 24 rows)", "Rows: row-3.")),
    (label_unknown_in_training, ("labels: 1 of 3 with fewer than 5 training rows: 'c' (0). Add rows",)),
    (
        renamed_columns,
        tuple(f"clean: expect_column_to_exist on {name}: found no such column" for name in ("origin", "label")),
    ),
    (without_labels, ("clean: expect_column_values_to_not_be_null on label: found null (in 24 of 24 rows)",)),
    (numbers_for_texts, ('clean_columns: expect_column_values_to_be_in_set on type: found "int64" (in 2 of 5',)),
]


@pytest.mark.parametrize(("spoil", "messages"), FAULTS)
def test_faults_stop_the_pipeline_and_are_named(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], messages: tuple[str, ...]
) -> None:
    paths = write(tmp_path, good_rows(), spoil(good_rows()))
    with pytest.raises(ValueError, match="found") as raised:
        validate(params(labels=["a", "b"]), paths)
    assert [message for message in messages if message not in str(raised.value)] == []
    assert not paths.validation_report.exists()
    assert paths.validation_report.with_name("validation-failed.json").is_file()


def test_a_test_split_of_the_datas_own_may_lack_a_label_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = label_without_test_rows(good_rows())
    paths = write(tmp_path / "given", rows, rows)
    validate(params(), paths)
    assert "warning: labels: 1 of 2 with no test row: 'b'. The data brings that split, so it stays" in caplog.text
    drawn = rows.assign(split=rows["split"].where(rows["split"] == "validation"))
    with pytest.raises(ValueError, match=r"labels: 1 of 2 with no test row: 'b'\. Add rows of them"):
        validate(params(), write(tmp_path / "drawn", drawn, rows))


def test_labels_that_a_reader_takes_for_one_are_named_with_their_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spellings = {"Sea": 9, "sea": 6, "a,b": 9, "a, b": 7, "1": 8, "1.0": 8, '"x"': 6, "x": 7, "Other": 9}
    labels = [label for label, count in spellings.items() for _ in range(count)]
    splits = [split for count in spellings.values() for split in ["validation", "test", *["train"] * (count - 2)]]
    ids = [f"row-{at}" for at in range(len(labels))]
    rows = pd.DataFrame({"row_id": ids, "text": "some text", "label": labels, "origin": ids, "split": splits})
    paths = write(tmp_path, rows, rows)
    settings = {"min_rows_per_label": 4, "min_median_chars": 5, "max_look_alike_labels": 0}
    said = (
        "labels: 4 may be another, allowed 0: '1.0' (8 rows) looks like '1' (8); 'a, b' (7 rows) looks like 'a,b' (9); "
        "'\"x\"' (6 rows) looks like 'x' (7); 'sea' (6 rows) looks like 'Sea' (9). Where they mean the same, write "
        "them the same in the data; where not, raise the limit. (validate.max_look_alike_labels)"
    )
    validate(params(**settings), paths)
    assert f"warning: {said}" in caplog.messages
    with pytest.raises(ValueError, match="may be another") as raised:
        validate(params(**settings, warn_only=[]), paths)
    assert said in str(raised.value)
    validate(params(**settings | {"max_look_alike_labels": 4}, warn_only=[]), paths)


def test_the_labels_that_are_allowed_are_compared_in_their_one_form(tmp_path: Path) -> None:
    validate(params(labels=["a ", "b\u00a0"]), write(tmp_path / "letters", good_rows(), good_rows()))
    numbers = good_rows().assign(label=good_rows()["label"].map({"a": "1", "b": "2"}))
    validate(params(labels=["1.0", "2.0"]), write(tmp_path / "numbers", numbers, numbers))


def test_raw_rows_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"raw: expect_column_values_to_be_unique on row_id"):
        validate(params(), write(tmp_path, repeated_id(good_rows()), good_rows()))


def test_rows_that_could_not_be_read_count_as_dropped(tmp_path: Path) -> None:
    validate(params(), write(tmp_path / "few", good_rows(), good_rows(), unreadable=24))
    with pytest.raises(ValueError, match=r"on dropped_share: found 0\.51.* allowed 0\.5 or less"):  # 25 of 49
        validate(params(), write(tmp_path / "many", good_rows(), good_rows(), unreadable=25))


def test_every_limit_stops_what_is_beyond_it_and_is_named(tmp_path: Path) -> None:
    limits = {"min_label_share": 0.6, "max_label_share": 0.4, "min_median_chars": 9, "max_median_chars": 6}
    rows = good_rows().assign(text=good_rows()["text"].mask(good_rows()["row_id"].isin(["row-3", "row-5"]), "long" * 9))
    with pytest.raises(ValueError, match="found") as raised:
        validate(params(**limits, max_p95_chars=8), write(tmp_path, rows, rows))
    lines = [line.partition("between on ")[2] or line for line in str(raised.value).splitlines()[:-1]]
    assert lines == [
        "median_chars: found 7 (in 1 of 1 rows), allowed 6 or less. Rows: row-14, row-15, row-16, row-17, row-18. "
        "(validate.max_median_chars)",
        "median_chars: found 7 (in 1 of 1 rows), allowed 9 or more. Rows: row-14, row-15, row-16, row-17, row-18. "
        "(validate.min_median_chars)",
        "p95_chars: found 31.65 (in 1 of 1 rows), allowed 8 or less. Rows: row-5, row-3, row-23, row-22, row-21. "
        "(validate.max_p95_chars)",
        "labels: 2 of 2 with more than 0.4 of the clean rows: 'a' (0.5), 'b' (0.5). Add rows of the others, or raise "
        "the limit. (validate.max_label_share)",
        "labels: 2 of 2 with less than 0.6 of the clean rows: 'a' (0.5), 'b' (0.5). Add rows of them, or set "
        "clean.rare_labels to drop or merge, with clean.rare_label_rows at 9. (validate.min_label_share)",
    ]


def test_missing_values_of_raw_rows_are_counted_against_their_limit(tmp_path: Path) -> None:
    ids = good_rows()["row_id"]
    raw = good_rows().assign(
        text=good_rows()["text"].mask(ids == "row-3"), label=good_rows()["label"].mask(ids == "row-4")
    )
    paths = write(tmp_path, raw, good_rows())
    with pytest.raises(ValueError, match="raw: expect_column_values_to_not_be_null") as raised:
        validate(params(max_missing_text_share=0.04, max_missing_label_share=0.05), paths)  # 1 of 24 is 0.042
    [line, _] = str(raised.value).splitlines()
    assert "on text: found null (in 1 of 24 rows), allowed a share of 0.04 without a value. Rows: row-3." in line


def test_empty_fields_of_a_csv_count_as_missing(tmp_path: Path) -> None:
    paths = write(tmp_path / "project", good_rows(), good_rows())
    lines = [
        *(f"a text of row {at},{'ab'[at % 2]}" for at in range(22)),
        " ,a",
        '"",b',
        "text,",
        'text," "',
        "text,\u00a0",
    ]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    ingest(project_params(settings(tmp_path / "rows.csv")), paths)
    with pytest.raises(ValueError, match="max_missing_") as raised:
        validate(params(max_missing_text_share=0.05, max_missing_label_share=0.1), paths)  # 2 and 3 of 27
    for column, count in (("text", 2), ("label", 3)):
        assert f"not_be_null on {column}: found null (in {count} of 27 rows)" in str(raised.value)


def test_duplicates_are_counted_and_some_are_named(tmp_path: Path) -> None:
    dropped = {"row-20": "near_duplicate", "row-21": "too_short", "row-22": "exact_duplicate"}
    clean = good_rows()[~good_rows()["row_id"].isin(dropped)]
    paths = write(tmp_path, good_rows(), clean, dropped=dropped)
    with pytest.raises(ValueError, match="on duplicate_share") as raised:
        validate(params(max_duplicate_share=0.08), paths)
    assert "found 0.08333 (in 1 of 1 rows), allowed 0.08 or less. Rows: row-20, row-22." in str(raised.value)  # 2 of 24


def test_no_rows_at_all_are_refused_and_named(tmp_path: Path) -> None:
    nothing = good_rows().iloc[:0]
    with pytest.raises(ValueError, match="raw: expect_table_row_count_to_be_between: found 0, allowed 20 or more"):
        validate(params(), write(tmp_path, nothing, nothing))


def test_a_limit_of_null_asks_for_nothing(tmp_path: Path) -> None:
    none = dict.fromkeys(name for name, field in ValidateParams.model_fields.items() if "None" in str(field.annotation))
    validate(
        params(**none),
        write(tmp_path, pd.concat([good_rows()] * 3).assign(row_id=range(72)).astype("str"), good_rows()),
    )


def test_what_only_warns_is_logged_and_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="winnow")
    paths = write(tmp_path, good_rows(), good_rows())
    validate(params(max_label_share=0.4, warn_only=["max_label_share"]), paths)
    assert "warning: labels: 2 of 2 with more than 0.4 of the clean rows: 'a' (0.5), 'b' (0.5)." in caplog.text
    failed = [one for one in json.loads(paths.validation_report.read_text())["labels"] if not one["success"]]
    assert [one["limit"] for one in failed] == ["max_label_share"]


def test_an_unknown_name_in_warn_only_is_told_with_the_nearest(tmp_path: Path) -> None:
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["validate"]["warn_only"] = ["max_droped_share"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"validate\.warn_only\[0\] is 'max_droped_share'.*mean 'max_dropped_share'\?"):
        load_params(tmp_path / "params.yaml")


def of_kind(a_share: float, *, rows: int = 100, text: str = "the old ship") -> pd.DataFrame:
    """Clean rows, the share `a_share` of them of the label a, the others of b."""
    labels = ["a"] * round(a_share * rows) + ["b"] * round((1 - a_share) * rows)
    splits = [("train", "train", "validation", "test")[at % 4] for at in range(rows)]
    ids = [f"row-{at}" for at in range(rows)]
    return pd.DataFrame({"row_id": ids, "text": text, "label": labels, "origin": ids, "split": splits})


def drifted(folder: Path, before: pd.DataFrame, after: pd.DataFrame, **limits: Any) -> list[str]:
    """What `validate` complains of where `before` is released, a line each."""
    paths = write(folder, after, after, released=profile(before, DATA))
    try:
        validate(params(**limits), paths)
    except ValueError as error:
        return str(error).splitlines()[:-1]
    assert {one["column"] for one in json.loads(paths.validation_report.read_text())["drift"]} == {
        "label_drift", "length_drift", "lost_labels", "rows_lost", "word_drift",
    }  # fmt: skip
    return []


def test_data_of_the_released_kind_passes(tmp_path: Path) -> None:
    assert drifted(tmp_path, of_kind(0.5), of_kind(0.55)) == []


def test_a_class_that_grows_from_50_to_80_percent_stops_with_the_numbers(tmp_path: Path) -> None:
    [line] = drifted(tmp_path, of_kind(0.5), of_kind(0.8))
    assert line == (
        "drift: expect_column_values_to_be_between on label_drift: found 0.3 (in 1 of 1 rows), allowed 0.1 or less. "
        "Changed most: 'a' is 50.0% -> 80.0% of the rows, 'b' is 50.0% -> 20.0% of the rows. (validate.max_label_drift)"
    )


def test_data_of_another_kind_stops_with_a_line_for_each_that_is_beyond_its_limit(tmp_path: Path) -> None:
    before = of_kind(0.5).assign(label=["c", *of_kind(0.5)["label"][1:]])
    lines = drifted(tmp_path, before, of_kind(0.5, rows=40, text="the new ship sails on"))
    assert [line.partition("between on ")[2].partition(" (in")[0] for line in lines] == [
        "length_drift: found 0.75", "lost_labels: found 1", "rows_lost: found 0.6", "word_drift: found 0.6",
    ]  # fmt: skip
    assert "no row has 'c' any more" in lines[1]


def distance(after: pd.DataFrame) -> Drift:
    return drift(profile(of_kind(0.5), DATA), profile(after, DATA), word_counts(after["text"]))


def test_each_distance_is_what_a_hand_finds() -> None:
    assert distance(of_kind(0.5))[:5] == (0, 0, 0, 0, 0)
    assert distance(of_kind(0.8)).labels == 0.3
    assert distance(of_kind(0.5, text="the old ships is")).lengths == pytest.approx(4 / 12, abs=1e-6)
    other = distance(of_kind(0.5, text="the new ship"))
    assert (other.lengths, other.words) == (0, pytest.approx(1 / 3, abs=1e-6))
    assert other.changes["word_drift"] == [
        "the common words make 100.0% -> 66.7% of all words", "'new', 100 times, is none of them",
    ]  # fmt: skip
    assert distance(of_kind(0.5, rows=40)).rows_lost == 0.6
    assert distance(of_kind(0.5, rows=400)).rows_lost == 0


def test_words_are_those_of_any_script_and_the_commonest_are_kept() -> None:
    rows = pd.DataFrame({"text": ["Ünïcode und ünïcode, слово!", "two words"], "label": ["a", "b"]})
    kind = profile(rows, DATA)
    assert kind["common_words"] == ["two", "und", "words", "ünïcode", "слово"]
    assert kind["common_words_share"] == 1.0


@pytest.mark.parametrize(("content", "said"), [("{", "not JSON"), ("[]", "no profile"), ('{"rows": 1}', "no profile")])
def test_a_spoiled_profile_of_the_release_is_named_with_the_way_out(tmp_path: Path, content: str, said: str) -> None:
    paths = write(tmp_path, good_rows(), good_rows())
    paths.released_data.write_text(content)
    with pytest.raises(ValueError, match=rf"released_data\.json: {said}.*`winnow promote` writes it"):
        validate(params(), paths)


# Rows of several labels, or none

PERSON, PLACE, BOTH, NONE = '[[0,3,"person"]]', '[[0,3,"place"]]', '[[0,3,"person"],[4,7,"place"]]', "[]"
"""Targets of the task `tagging_task` of the tests."""


def tagged_rows(targets: list[str]) -> pd.DataFrame:
    """The good rows, with these targets in turn."""
    rows = good_rows()
    return rows.assign(label=[targets[at % len(targets)] for at in range(len(rows))])


def tagging(**changes: Any) -> Params:
    found = params(**changes)
    return found.model_copy(update={"task": found.task.model_copy(update={"name": "tagging_task"})})


@pytest.fixture(autouse=True)
def tagging_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "tagging_task", "tagging_task")


def test_each_row_counts_once_for_each_class_that_it_holds() -> None:
    twice = '[[0,3,"person"],[4,7,"person"]]'
    found = kinds_of(pd.Series([BOTH, NONE, None, twice], index=[3, 5, 7, 9]), TAGGING)
    assert list(found.items()) == [(3, "person"), (3, "place"), (9, "person")]


def test_shares_and_look_alikes_are_those_of_classes_where_rows_have_several(tmp_path: Path) -> None:
    rows = tagged_rows([BOTH, PERSON, NONE])
    paths = write(tmp_path, rows, rows)
    validate(tagging(max_label_share=0.7, min_label_share=0.3), paths)
    assert json.loads(paths.data_profile.read_text())["label_shares"] == {"person": 0.666667, "place": 0.333333}
    summary = json.loads(paths.validation_report.read_text())
    assert {"raw_labels", "clean_labels"} <= summary.keys()
    with pytest.raises(
        ValueError,
        match=r"labels: 1 of 2 with less than 0\.4 .*'place' \(0\.333\)\. Add rows of them, or"
        r" take them out of the targets\. \(validate\.min_label_share\)",
    ):
        validate(tagging(min_label_share=0.4), paths)


def test_a_class_that_may_not_occur_is_named_with_its_rows_where_rows_have_several(tmp_path: Path) -> None:
    rows = tagged_rows([PERSON, PERSON.replace("person", "Person"), BOTH])
    with pytest.raises(ValueError) as refused:
        validate(
            tagging(labels=["person", "Person"], warn_only=[], max_look_alike_labels=0), write(tmp_path, rows, rows)
        )
    told = str(refused.value)
    assert 'clean_labels: expect_column_values_to_be_in_set on label: found "place" (in 8 of 32 rows)' in told
    assert "labels: 1 may be another, allowed 0: 'Person' (8 rows) looks like 'person' (16)" in told


def test_a_label_that_only_test_rows_hold_is_named_with_the_next_step(tmp_path: Path) -> None:
    rows = good_rows()
    rows["label"] = [json.dumps([label]) for label in rows["label"]]
    rows.loc[rows["split"] == "test", "label"] = '["a","zebra"]'
    sets = params().model_copy(update={"task": WHOLE.task.model_copy(update={"name": "multilabel_classification"})})
    with pytest.raises(ValueError, match="zebra") as refused:
        validate(sets, write(tmp_path, rows, rows))
    told = str(refused.value)
    assert 'on label: found "zebra" (in 4 of 12 rows), allowed a, b. Rows: row-10, row-11, row-22, row-23.' in told
    assert "labels: 1 of 3 with fewer than 5 training rows: 'zebra' (0). Add rows of them, or take them out" in told


def test_a_class_that_more_rows_hold_than_in_the_released_data_is_drift(tmp_path: Path) -> None:
    released = profile(tagged_rows([PERSON, NONE]), TAGGING)
    rows = tagged_rows([PERSON, BOTH])
    moved = r"label_drift: found 0\.5 .*Changed most: 'person' is 50\.0% -> 100\.0% of the rows, 'place' is 0\.0%"
    with pytest.raises(ValueError, match=moved):  # (0.5 more persons + 0.5 more places) / 2
        validate(tagging(max_label_share=1), write(tmp_path, rows, rows, released=released))
