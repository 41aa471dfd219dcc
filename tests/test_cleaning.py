"""Cleaning: the rules, what is dropped and why, planted duplicates, splits, and that order never matters."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import daft
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import REPOSITORY, run

from stages.clean import clean
from stages.cleaning import duplicates, rules
from stages.cleaning.reasons import NEEDS, REASONS
from stages.cleaning.splits import assign_splits
from stages.core.params.clean import CleanParams
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split
from stages.tasks import TASKS

COLUMNS = ("row_id", "text", "label", "origin", "split", "group", "kept")
OF_ANY_TASK = [reason for reason in REASONS if reason not in NEEDS]


Outcome = tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]


def cleaned(folder: Path, rows: list[tuple[Any, Any, Any]], **changes: Any) -> Outcome:
    """Run the stage on (text, label, split) rows; their ids are row-0, row-1, ... Returns kept, report, dropped."""
    table = [(f"row-{i}", text, label, f"made:{i}", split, None, None) for i, (text, label, split) in enumerate(rows)]
    return run_clean(folder, table, **changes)


def run_clean(
    folder: Path,
    table: list[tuple],
    *,
    row_group_size: int = 65_536,
    task: str = "text_classification",
    **changes: object,
) -> Outcome:
    params = load_params(REPOSITORY / "params.yaml")
    settings = CleanParams.model_validate(params.clean.model_dump() | changes)
    of_task = params.task.model_copy(update={"name": task})
    params = Params.model_validate(params.model_dump(by_alias=True) | {"clean": settings, "task": of_task})
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, pa.large_string()) for name in COLUMNS])
    raw = pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in table], schema)
    pq.write_table(raw, paths.raw, row_group_size=row_group_size)
    pq.write_table(pa.table({"origin": ["made:unreadable"]}), paths.unreadable)
    clean(params, paths)
    report = json.loads(paths.cleaning_report.read_text())
    return pd.read_parquet(paths.clean), report, pd.read_parquet(paths.quarantine)


def sentences(count: int, *, words: int = 12, seed: int = 3) -> list[str]:
    """Unlike sentences of made-up words, seven letters long on average."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(5, 9))) for _ in range(2_000)]
    return [" ".join(draw.sample(vocabulary, words)) + "." for _ in range(count)]


def test_long_texts_are_cut_at_a_word() -> None:
    texts = ["one two three", "one two threefold", "x" * 100, "ab " + "y" * 100]
    assert [rules.cut(text, 13) for text in texts] == ["one two three", "one two", "x" * 13, "ab"]


def test_every_dropped_row_is_quarantined_with_its_reason_and_its_own_text(tmp_path: Path) -> None:
    texts = sentences(12)
    rows = [
        (None, "a", None),
        (texts[0], None, None),
        (texts[1], " ", None),
        ("\u200b<br> ", "a", None),
        ("x", "a", None),
        (texts[2], "a", None),
        (texts[2].upper(), "b", None),
        (texts[3], "a", None),
        (f"<b>{texts[3]}</b>", "a", None),
        ("null null null", "a", None),
        ("word " * 1_000_000, "b", None),
    ]
    kept, report, dropped = cleaned(tmp_path, rows)
    assert dict(zip(dropped["row_id"], dropped["reason"], strict=True)) == {
        "row-0": "missing_text",
        "row-1": "missing_label",
        "row-2": "missing_label",
        "row-3": "empty",
        "row-4": "too_short",
        "row-5": "conflicting_label",
        "row-6": "conflicting_label",
        "row-8": "exact_duplicate",
    }
    quarantined = dropped.set_index("row_id")
    assert quarantined.loc["row-8", ["text", "repeats"]].tolist() == [f"<b>{texts[3]}</b>", "row-7"]
    assert quarantined["repeats"].notna().sum() == 1
    assert sorted(kept["row_id"]) == ["row-10", "row-7", "row-9"]
    assert len(kept.set_index("row_id").loc["row-10", "text"]) == 1999  # 400 words and the spaces between
    assert report["unreadable"] == 1  # by `ingest`, see run_clean
    assert report["read"] == 11
    assert report["kept"] == 3
    assert report["dropped"] == 8
    assert report["cut"] == 1
    assert sorted(report["dropped_by_reason"]) == sorted(OF_ANY_TASK)


def test_nothing_left_is_an_error_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no rows left after cleaning\. Read: 2\. Dropped: missing_text 1, too_short 1"
    ):
        cleaned(tmp_path, [(None, "a", None), ("x", "a", None)])
    assert not Paths(tmp_path).clean.exists()


def planted(originals: list[str]) -> tuple[list[str], list[str]]:
    """20 exact duplicates (by key) and 20 near ones: five each by case, zero-width, punctuation and one word."""
    exact = [f"  {text.upper()} " for text in originals[:20]]
    near = []
    for number, text in enumerate(originals[20:]):
        words = text.rstrip(".").split()
        kind = number % 4
        if kind == 0:
            words = [word.title() if at % 2 else word for at, word in enumerate(words)]
            words[0] = words[0] + "s"
        elif kind == 1:
            words = ["\u200b".join(word) for word in words] + ["\u200eend"]
        elif kind == 2:
            words = [f"{word}," for word in words]
            words[3] = f"({words[3][:3]}-{words[3][3:]})"
        else:
            shortest = min(range(len(words)), key=lambda at: len(words[at]))
            words[shortest] = "other"
        near.append(" ".join(words))
    return exact, near


def test_planted_duplicates_are_found_across_splits_and_the_test_split_stays(tmp_path: Path) -> None:
    originals = sentences(40)
    exact, near = planted(originals)
    fillers = sentences(200, seed=9)
    rows = [(text, "a", "test") for text in originals]
    rows += [(originals[0], "a", "test"), ("tiny", "b", "test")]  # a given test split keeps even these
    rows += [(text, "a", "train" if at % 2 else "validation") for at, text in enumerate(exact + near)]
    rows += [(text, "b", ("train", "validation", "test")[at % 3]) for at, text in enumerate(fillers)]
    kept, report, dropped = cleaned(tmp_path, rows)
    leaked = set(dropped.loc[dropped["reason"] == "leaked", "row_id"])
    assert {f"row-{42 + at}" for at in range(20)} <= leaked
    assert len(leaked & {f"row-{62 + at}" for at in range(20)}) >= 18
    assert leaked <= {f"row-{42 + at}" for at in range(40)}
    given = {f"row-{at}" for at, row in enumerate(rows) if row[2] == "test"}
    assert set(kept.loc[kept["split"] == "test", "row_id"]) == given
    assert set(dropped["reason"]) == {"leaked"}
    assert report["rows"] == kept["split"].value_counts().to_dict()


def test_of_near_duplicates_the_one_of_the_best_split_is_kept_then_the_smallest_id(tmp_path: Path) -> None:
    one, two, three = sentences(3)
    variant = "Really " + one[:1].upper() + one[1:]
    kept, _, dropped = cleaned(
        tmp_path,
        [
            (one, "a", "train"),
            (variant, "a", "validation"),
            (two, "b", "train"),
            (f"{two} Yes", "b", "train"),
            (three, "b", "test"),
            (f"{three} Yes", "b", "train"),
        ],
    )
    assert dropped[["row_id", "reason", "split", "repeats"]].values.tolist() == [
        ["row-0", "near_duplicate", "train", "row-1"],
        ["row-3", "near_duplicate", "train", "row-2"],
        ["row-5", "leaked", "train", "row-4"],
    ]
    assert sorted(kept["row_id"]) == ["row-1", "row-2", "row-4"]


def test_a_threshold_of_one_keeps_near_duplicates(tmp_path: Path) -> None:
    one, two = sentences(2)
    rows = [(one, "a", None), (f"{one} Yes", "a", None), (two, "b", None), (two.upper(), "b", None)]
    _, report, _ = cleaned(tmp_path, rows, near_duplicate_jaccard=1)
    assert report["dropped_by_reason"] | {"exact_duplicate": 0} == dict.fromkeys(OF_ANY_TASK, 0)
    assert report["dropped_by_reason"]["exact_duplicate"] == 1


def outs(folder: Path) -> list[bytes]:
    paths = Paths(folder)
    return [path.read_bytes() for path in (paths.clean, paths.quarantine, paths.cleaning_report)]


def with_rows_of(folder: Path, other: Path) -> Path:
    """The folder `other`, ready for `clean` to be run in it on the rows of `folder`."""
    (other / "artifacts/data").mkdir(parents=True)
    shutil.copy(Paths(folder).raw, Paths(other).raw)
    shutil.copy(Paths(folder).unreadable, Paths(other).unreadable)
    shutil.copy(REPOSITORY / "params.yaml", other)
    return other


def mixed_table() -> list[tuple]:
    """Rows with duplicates of every kind, some not in ASCII, under two labels."""
    exact, near = planted(sentences(40))
    texts = sentences(40) + exact + near + [f"{text} Ünd noch größer" for text in sentences(20, seed=5)]
    return [(f"{at:04}", text, "ab"[at % 2], f"made:{at}", None, None, None) for at, text in enumerate(texts)]


@pytest.mark.parametrize("rows_at_once", [1, 7, 50])
def test_order_row_groups_and_morsels_never_change_a_byte(tmp_path: Path, rows_at_once: int) -> None:
    """Daft has no partitions in one process: row groups of the file, and morsels, are what it works on at once."""
    table = mixed_table()
    run_clean(tmp_path / "one", table)
    random.Random(1).shuffle(table)
    with daft.execution_config_ctx(default_morsel_size=rows_at_once):
        run_clean(tmp_path / "two", table, row_group_size=rows_at_once)
    assert outs(tmp_path / "one") == outs(tmp_path / "two")


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_never_change_a_byte(tmp_path: Path, threads: int) -> None:
    """Daft is given so many threads whatever the machine has, and so little at once that each has something to do."""
    run_clean(tmp_path / "one", mixed_table(), row_group_size=50)
    two = with_rows_of(tmp_path / "one", tmp_path / "two")
    code = (
        "import sys, daft; from pathlib import Path; from stages.clean import clean, run_stage\n"
        "daft.set_runner_native(num_threads=int(sys.argv[1])); daft.set_execution_config(default_morsel_size=7)\n"
        "run_stage(clean)\n"
        "names = [(task / 'comm').read_text() for task in Path('/proc/self/task').glob('*')]\n"
        "print(sum(name.startswith('DAFTCPU') for name in names))"
    )
    done = run(two, sys.executable, "-c", code, str(threads), PYTHONPATH=str(REPOSITORY))
    assert sys.platform != "linux" or int(done.stdout) == threads
    assert outs(tmp_path / "one") == outs(tmp_path / "two")


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("drop", ["row-5"]), ("majority", ["row-0", "row-5"]), ("keep", ["row-0", "row-2", "row-3", "row-4", "row-5"])],
)
def test_a_text_under_several_labels_is_handled_as_the_parameter_says(
    tmp_path: Path, policy: str, kept: list[str]
) -> None:
    """One text twice as a and once as b; another once as each, which is a tie; a third alone."""
    one, two, three = sentences(3)
    rows = [(one, "a", None), (one.upper(), "a", None), (f" {one}", "b", None)]
    rows += [(two, "a", None), (two, "b", None), (three, "a", None)]
    clean, report, dropped = cleaned(tmp_path, rows, conflicting_labels=policy)
    assert sorted(clean["row_id"]) == kept
    assert report["conflicting_texts"]["texts"] == 2
    assert report["conflicting_texts"]["rows"] == 5
    found = {example["text"]: example["labels"] for example in report["conflicting_texts"]["examples"]}
    assert found == {one[:80]: {"a": 2, "b": 1}, two[:80]: {"a": 1, "b": 1}}
    assert set(dropped["reason"]) <= {"conflicting_label", "exact_duplicate"}


@pytest.mark.parametrize(
    ("one", "other"), [("Ada Lovelace wrote", '"Ada Lovelace wrote"'), ("The US Army marched", "The US, Army marched")]
)
def test_spans_of_the_same_words_agree_wherever_they_stand(tmp_path: Path, one: str, other: str) -> None:
    name, kind = ("Ada", "person") if "Ada" in one else ("US", "org")

    def spans(text: str, kind: str = kind) -> str:
        return json.dumps([[text.index(name), text.index(name) + len(name), kind]])

    def reasons(folder: str, target: str, *given: str | None) -> list[str]:
        rows = [("a", one, spans(one)), ("b", other, target), ("c", sentences(1)[0], "[]")]
        table = [(*row, f"made:{row[0]}", split, None, None) for row, split in zip(rows, given, strict=True)]
        _, _, dropped = run_clean(tmp_path / folder, table, task="token_classification", min_chars=4)
        return list(dropped["reason"])

    assert reasons("drawn", spans(other), None, None, None) == ["exact_duplicate"]
    assert reasons("given", spans(other), "train", "test", "train") == ["leaked"]
    assert reasons("unlike", spans(other, "other"), None, None, None) == ["conflicting_label"] * 2


def test_spans_of_other_places_with_the_same_words_are_in_conflict(tmp_path: Path) -> None:
    text = "Paris told Paris to go"
    table = [
        ("a", text, '[[0, 5, "loc"]]', "made:a", None, None, None),
        ("b", text, '[[11, 16, "loc"]]', "made:b", None, None, None),
        ("c", sentences(1)[0], "[]", "made:c", None, None, None),
    ]
    _, _, dropped = run_clean(tmp_path, table, task="token_classification", min_chars=4)
    assert dropped["reason"].tolist() == ["conflicting_label"] * 2


def test_conflicting_labels_are_reported_whole_however_long_they_are(tmp_path: Path) -> None:
    (one,) = sentences(1)
    labels = [f"{'long ' * 20}{end}" for end in "ab"]
    _, report, _ = cleaned(tmp_path, [(one, label, None) for label in labels], conflicting_labels="keep")
    (found,) = report["conflicting_texts"]["examples"]
    assert found["labels"] == dict.fromkeys(labels, 1)


def of_labels(counts: dict[tuple[str, str | None], int]) -> list[tuple[str, str, str | None]]:
    """Unlike texts, so many of each (label, split)."""
    texts = iter(sentences(sum(counts.values())))
    return [(next(texts), label, split) for (label, split), count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("what", "labels"),
    [
        ("keep", {"a": 12, "b": 9, "c": 4, "other": 1}),
        ("drop", {"a": 12, "b": 9}),
        ("merge", {"a": 12, "b": 9, "other": 5}),
    ],
)
def test_rows_of_rare_labels_stay_go_or_are_of_one_label(tmp_path: Path, what: str, labels: dict[str, int]) -> None:
    rows = of_labels({("a", None): 12, ("b", None): 9, ("c", None): 4, ("other", None): 1})
    rows += [(rows[0][0], "a", None), ("x", "c", None)]  # no longer there when labels are counted
    kept, report, dropped = cleaned(tmp_path, rows, rare_labels=what, rare_label_rows=5)
    assert kept["label"].value_counts().to_dict() == labels
    assert report["rare_labels"] == {"labels": 2, "rows": 5, "examples": {"c": 4, "other": 1}}
    assert report["dropped_by_reason"]["rare_label"] == (dropped["reason"] == "rare_label").sum() == 26 - len(kept)
    assert (report["dropped_by_reason"]["exact_duplicate"], report["dropped_by_reason"]["too_short"]) == (1, 1)
    if what != "keep":
        assert all(set(of["label"]) == set(labels) for _, of in kept.groupby("split"))


def test_a_label_of_given_test_rows_alone_is_rare_however_many_they_are(tmp_path: Path) -> None:
    rows = of_labels({("a", "train"): 12, ("a", "test"): 3, ("b", "train"): 12, ("b", "test"): 2, ("c", "test"): 20})
    kept, report, _ = cleaned(tmp_path, rows, rare_labels="drop", rare_label_rows=5)
    assert sorted(set(kept["label"])) == ["a", "b"]
    assert report["dropped_by_reason"]["rare_label"] == 20
    assert report["rare_labels"]["examples"] == {"c": 0}


def test_texts_kept_under_several_labels_are_in_one_split(tmp_path: Path) -> None:
    rows = [(text, label, None) for text in sentences(60) for label in "ab"]
    kept, _, _ = cleaned(tmp_path, rows, conflicting_labels="keep", test_fraction=0.3, validation_fraction=0.3)
    assert len(kept) == 120
    assert kept.groupby("text")["split"].nunique().max() == 1
    assert kept["split"].value_counts().to_dict() == {"train": 48, "validation": 36, "test": 36}


def of_authors(splits: list[str | None]) -> list[tuple]:
    """Three rows of each of ten authors a split, labels a and b; the third is of no author."""
    texts = iter(sentences(30 * len(splits)))
    return [
        (f"{split}-{author}-{at}", next(texts), "ab"[at % 2], f"made:{split}:{author}:{at}", split, None,
         json.dumps({"author": f"{author}" if at < 2 else None}))
        for split in splits for author in range(10) for at in range(3)
    ]  # fmt: skip


def test_rows_of_one_value_of_the_group_column_are_in_one_split_whatever_their_labels(tmp_path: Path) -> None:
    kept, _, _ = run_clean(
        tmp_path, of_authors([None]), group_column="author", test_fraction=0.3, validation_fraction=0.2
    )
    author = kept["kept"].map(lambda text: json.loads(text)["author"])
    assert kept.groupby(author)["split"].nunique().max() == 1
    assert kept["split"].value_counts().to_dict() == {"train": 15, "test": 9, "validation": 6}


def test_values_of_the_group_column_that_look_the_same_are_one_group(tmp_path: Path) -> None:
    rows = [
        (*row[:-1], row[-1].replace('"}', ' "}') if at % 2 else row[-1]) for at, row in enumerate(of_authors([None]))
    ]
    kept, _, _ = run_clean(tmp_path, rows, group_column="author", test_fraction=0.3, validation_fraction=0.2)
    author = kept["kept"].map(lambda text: (json.loads(text)["author"] or "").strip() or None)
    assert kept.groupby(author)["split"].nunique().max() == 1


def test_groups_of_a_given_test_split_leave_the_training_side(tmp_path: Path) -> None:
    kept, report, dropped = run_clean(tmp_path, of_authors(["train", "test"]), group_column="author")
    assert (kept["split"] == "test").sum() == 30
    assert dropped["reason"].unique().tolist() == ["leaked_group"]
    assert sorted(dropped["row_id"]) == sorted(f"train-{author}-{at}" for author in range(10) for at in range(2))
    assert report["dropped_by_reason"]["leaked_group"] == 20


@pytest.mark.parametrize("nobody", [None, "", "  "])
def test_rows_with_an_empty_value_of_the_group_column_are_no_group(tmp_path: Path, nobody: str | None) -> None:
    rows = [(*row[:-1], json.dumps({"author": nobody})) for row in of_authors(["train", "test"])]
    rows[0] = (*rows[0][:-1], json.dumps({"author": "one"}))
    _, report, dropped = run_clean(tmp_path, rows, group_column="author")
    assert dropped.empty
    assert report["dropped_by_reason"]["leaked_group"] == 0


def test_where_labels_that_disagree_are_kept_the_text_still_stands_in_one_split(tmp_path: Path) -> None:
    one, two, *others = sentences(40)
    rows = [(one, "a", "validation"), (one, "b", None), (two, "a", "train"), (two, "b", "validation")]
    rows += [(text, "ab"[at % 2], None) for at, text in enumerate(others)]
    kept, _, dropped = cleaned(tmp_path, rows, conflicting_labels="keep")
    assert kept.groupby("text")["split"].nunique().max() == 1
    assert dict(zip(dropped["row_id"], dropped["reason"], strict=True)) == {"row-1": "leaked", "row-2": "leaked"}


def test_an_unknown_group_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"clean\.group_column is 'writer'\. Allowed: a column .*\(author\), or null"):
        run_clean(tmp_path, of_authors([None]), group_column="writer")


def test_what_hides_in_a_text_is_cleaned_or_flagged(tmp_path: Path) -> None:
    one, two, three, four = (text.rstrip(".") for text in sentences(4))
    rows = [
        ("\u200b".join(one), "a", None),
        (f"\u202e{two}\u202c \u200f", "a", None),
        (f"<div onclick='x()'>{three}</div><script>alert(1)</script>", "b", None),
        (f"p\u0430yp\u0430l {four}", "b", None),
    ]
    kept, report, _ = cleaned(tmp_path, rows)
    assert dict(zip(kept["row_id"], kept["text"], strict=True)) == {
        "row-0": one, "row-1": two, "row-2": three, "row-3": f"p\u0430yp\u0430l {four}",
    }  # fmt: skip
    assert report["flagged"] == {
        "look_alike_letters": {"rows": 1, "examples": ["row-3"]},
        "escaped_markup": {"rows": 0, "examples": []},
    }


@pytest.mark.skipif(importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed")
def test_rows_of_other_languages_are_dropped_but_not_from_a_given_test_split(tmp_path: Path) -> None:
    english = "The ship left the harbour in the morning and came back with a lot of fish."
    german = "Das Schiff verließ am Morgen den Hafen und kam mit sehr vielen Fischen zurück."
    italian = "La nave ha lasciato il porto questa mattina ed è tornata con molti pesci."
    rows = [(english, "a", "train"), (german, "a", "train"), (italian, "a", "test")]
    kept, _, dropped = cleaned(tmp_path, rows, languages=["en"])
    assert sorted(kept["row_id"]) == ["row-0", "row-2"]
    assert dropped[["row_id", "reason"]].values.tolist() == [["row-1", "other_language"]]


@pytest.mark.parametrize("text", ["привет всем", "αβγ and abc", "naïve café", "5 µm", "日本語 text"])
def test_words_of_another_script_are_no_look_alikes(tmp_path: Path, text: str) -> None:
    _, report, _ = cleaned(tmp_path, [(f"{text} {sentences(1)[0]}", "a", None)])
    assert report["flagged"]["look_alike_letters"]["rows"] == 0


def near(keys: list[str], *, jaccard: float) -> duplicates.Neighbours:
    return duplicates.neighbours(pa.array(keys, pa.large_string()), jaccard=jaccard, compared=np.full(len(keys), True))


def test_similar_keys_share_a_group_whatever_joins_them() -> None:
    a = sentences(1, words=30)[0]
    chain = [a, f"{a} one more", f"{a} one more and one", "something else altogether", "abc", "abd"]
    groups = near(chain, jaccard=0.9).groups
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 4


def test_banding_proposes_nearly_every_pair_at_the_threshold() -> None:
    for jaccard in (0.5, 0.7, 0.8, 0.9):
        bands, rows = duplicates.banding(jaccard)
        assert bands * rows <= duplicates.HASHES
        assert 1 - (1 - jaccard**rows) ** bands >= duplicates.RECALL
    assert duplicates.banding(0.8) == (14, 5)  # 1 - (1 - 0.328) ** 14 = 0.996; 13 bands: 0.9943


def test_similarity_is_that_of_the_sets_of_five_letters() -> None:
    left, right = pa.array(["abcdefg", "aaaaaaa", "grün ist es"]), pa.array(["abcdefgh", "aaaaa", "blau war er"])
    # 3 shingles of 4; one of one, however often; none
    assert duplicates._jaccards(left, right).tolist() == [0.75, 1.0, 0.0]


def test_a_template_with_many_fillings_stays_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"the customer with the number {n} has asked for a refund of the last order" for n in range(3_000)]
    judged = []
    jaccards = duplicates._jaccards
    monkeypatch.setattr(duplicates, "_jaccards", lambda one, other: judged.append(len(one)) or jaccards(one, other))
    known = near(keys, jaccard=0.8)
    assert len(set(known.groups.tolist())) == 1
    assert sum(judged) < 2 * len(keys)
    none = np.zeros(len(keys), dtype=np.int64)
    of = duplicates.repeated(known, np.arange(len(keys)), none, none > 0)
    assert (of < 0).sum() < 30  # not one: numbers of unlike digits are not near each other
    assert known.near(np.flatnonzero(of >= 0), of[of >= 0]).all()
    assert sum(judged) < 8 * len(keys)


def frame(*groups: tuple[str, str | None, int]) -> pd.DataFrame:
    """Rows of (label, given split, how many)."""
    rows = [(label, split) for label, split, count in groups for _ in range(count)]
    table = pd.DataFrame(rows, columns=["label", "split"])
    return table.assign(row_id=[f"{at:05}" for at in table.index], group=None)


def test_splits_take_the_same_share_of_every_label() -> None:
    rows = frame(("a", None, 100), ("b", None, 50), ("c", None, 3), ("d", None, 2))
    rows["drawn"] = assign_splits(rows, validation_fraction=0.08, test_fraction=0.16, seed=20)
    counts = pd.crosstab(rows["label"], rows["drawn"])[["train", "validation", "test"]]
    assert counts.values.tolist() == [[76, 8, 16], [38, 4, 8], [1, 1, 1], [2, 0, 0]]
    shuffled = rows.sample(frac=1, random_state=2)
    again = assign_splits(shuffled, validation_fraction=0.08, test_fraction=0.16, seed=20)
    assert again.sort_index().tolist() == rows["drawn"].tolist()
    other = assign_splits(rows, validation_fraction=0.08, test_fraction=0.16, seed=21)
    assert other.tolist() != rows["drawn"].tolist()


def test_given_splits_are_kept_and_only_what_lacks_is_drawn() -> None:
    rows = frame(("a", "train", 100), ("a", "test", 20))
    drawn = assign_splits(rows, validation_fraction=0.08, test_fraction=0.16, seed=20)
    assert drawn.value_counts().to_dict() == {"train": 92, "test": 20, "validation": 8}
    assert (drawn[rows["split"] == "test"] == "test").all()
    rows = frame(("a", "train", 50), ("a", "validation", 10), ("a", None, 50))
    drawn = assign_splits(rows, validation_fraction=0.08, test_fraction=0.16, seed=20)
    assert drawn.value_counts().to_dict() == {"train": 92, "validation": 10, "test": 8}
    assert (drawn[rows["split"] == "train"] == "train").all()


@pytest.mark.parametrize(("given", "drawn"), [("validation", "test"), ("test", "validation")])
def test_what_is_beside_a_row_of_a_given_split_is_drawn_into_no_other(given: str, drawn: str) -> None:
    rows = frame(("a", "train", 100), ("a", given, 50))
    rows.loc[rows.index[:50], "group"] = rows.loc[rows.index[100:], "group"] = [f"g{at}" for at in range(50)]
    splits = assign_splits(rows, validation_fraction=0.2, test_fraction=0.2, seed=20)
    assert (splits[:50] == "train").all()
    assert splits[50:100].value_counts().to_dict() == {"train": 40, drawn: 10}


def test_rows_of_a_group_stay_on_one_side_of_a_split() -> None:
    frame = pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(200)],
            "label": ["a", "b"] * 100,
            "split": pd.Series([None] * 200, dtype="str"),
            "group": [f"{'ab'[i % 2]}{i // 8}" for i in range(160)] + [None] * 40,
        }
    )
    splits = assign_splits(frame, validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert frame[frame["group"].notna()].assign(drawn=splits).groupby("group")["drawn"].nunique().max() == 1
    for label in "ab":
        counts = splits[frame["label"] == label].value_counts()
        assert counts["test"] == 20
        assert counts["validation"] == 10
    shuffled = frame.sample(frac=1, random_state=3)
    again = assign_splits(shuffled, validation_fraction=0.1, test_fraction=0.2, seed=1)
    assert again.sort_index().tolist() == splits.tolist()


def test_a_group_that_the_data_brings_in_part_as_training_rows_is_one_for_training() -> None:
    rows = pd.DataFrame({"row_id": [f"{i:03}" for i in range(200)], "label": ["a"] * 200})
    rows["group"] = [f"group {i // 2}" for i in range(200)]
    rows["split"] = ["train" if i % 2 and i < 100 else None for i in range(200)]  # a half of the first fifty groups
    splits = assign_splits(rows, validation_fraction=0.2, test_fraction=0.2, seed=1)
    assert set(splits[:100]) == {"train"}
    assert set(splits[100:]) > {"test"}


def test_a_label_of_few_rows_keeps_one_for_training() -> None:
    splits = assign_splits(frame(("a", None, 4)), validation_fraction=0.45, test_fraction=0.45, seed=1)
    assert sorted(splits) == ["test", "test", "train", "validation"]


# The group that a kept row belongs to


def test_a_kept_row_names_its_group_or_those_near_it_or_itself(tmp_path: Path) -> None:
    one, two, three, *others = sentences(10)
    held = [f"{text} in the last place" for text in others[:2]]
    table = [
        ("row-a", one, "x", "a", None, None, None),
        ("row-b", f"{one} Yes", "y", "b", None, None, None),  # near, of another label: both stay
        ("row-c", two, "x", "c", None, "file", None),
        ("row-d", three, "x", "d", None, "file", None),
        ("row-e", others[3], "x", "e", None, None, None),
        ("row-f", held[0], "x", "f", "held_out", "other file", None),
        ("row-g", held[1], "x", "g", "held_out", None, None),
    ]
    kept, _, _ = run_clean(tmp_path, table)
    groups = {"row-a": "row-a", "row-b": "row-a", "row-c": "file", "row-d": "file", "row-e": "row-e"}
    assert dict(zip(kept["row_id"], kept["group"], strict=True)) == groups
    aside = pd.read_parquet(Paths(tmp_path).held_out)
    assert dict(zip(aside["row_id"], aside["group"], strict=True)) == {"row-f": "other file", "row-g": "row-g"}
    for path in (Paths(tmp_path).clean, Paths(tmp_path).held_out):
        assert pq.read_schema(path).field("group").type == pa.large_string()
    train = read_split(Paths(tmp_path).clean, "train", "group")
    assert set(zip(train["row_id"].to_pylist(), train["group"].to_pylist(), strict=True)) <= groups.items()


# Targets that hang on their text


@pytest.fixture
def tagging_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task of tests/tagging_task, whose targets are spans of characters."""
    monkeypatch.setitem(TASKS, "tagging_task", "tagging_task")


@pytest.mark.usefixtures("tagging_task")
def test_spans_go_along_with_their_text_and_a_row_whose_span_is_lost_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        ("<b>Ada</b> wrote  to Babbage.", '[[3,6,"person"],[21,28,"person"]]', None),
        ("It rained on the hills.", "[]", None),
        ("Far away " * 300 + "London", '[[2700,2706,"place"]]', None),  # cut at 2,000 characters
        ("The mill stood by a river.", '[[4,8,"thing"]]', None),
    ]
    kept, report, dropped = cleaned(tmp_path, rows, task="tagging_task")
    assert dict(zip(kept["text"], kept["label"], strict=True)) == {
        "Ada wrote to Babbage.": '[[0,3,"person"],[13,20,"person"]]',
        "It rained on the hills.": "[]",
        "The mill stood by a river.": '[[4,8,"thing"]]',
    }
    assert dropped[["row_id", "label", "reason"]].to_numpy().tolist() == [["row-2", rows[2][1], "target_lost"]]
    assert report["dropped_by_reason"]["target_lost"] == 1
    assert sorted(report["dropped_by_reason"]) == sorted([*OF_ANY_TASK, "target_lost"])
    assert report["label_shares"] == {"person": 0.333333, "thing": 0.333333}
    assert report["rare_labels"] == {"labels": 0, "rows": 0, "examples": {}}


@pytest.mark.usefixtures("tagging_task")
def test_splits_of_rows_with_spans_are_shares_of_all_rows_though_every_target_differs(tmp_path: Path) -> None:
    rows = [(text, f'[[0,{2 + at},"x"]]', None) for at, text in enumerate(sentences(100, words=30))]
    kept, _, _ = cleaned(tmp_path, rows, task="tagging_task", test_fraction=0.2, validation_fraction=0.1)
    assert kept["split"].value_counts().to_dict() == {"train": 70, "test": 20, "validation": 10}


@pytest.mark.usefixtures("tagging_task")
def test_settings_that_need_one_class_a_row_are_refused_for_spans(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refused:
        cleaned(tmp_path, [], task="tagging_task", rare_labels="drop", conflicting_labels="majority")
    assert str(refused.value).splitlines() == [
        "params.yaml: clean.rare_labels is 'drop', which needs rows of one class each. Allowed for the task: keep.",
        "params.yaml: clean.conflicting_labels is 'majority', which needs rows of one class each. Allowed for the task:"
        " drop, keep.",
    ]
