"""Cleaning: the rules, what is dropped and why, planted duplicates, splits, and that order never matters."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import daft
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.clean import clean
from stages.cleaning import duplicates, rules
from stages.cleaning.reasons import REASONS
from stages.cleaning.splits import assign_splits
from stages.params import CleanParams, Params, load_params
from stages.paths import Paths

REPOSITORY = Path(__file__).resolve().parent.parent
CODE = "<lambda> a < b > c <type> List<T> <object at 0x7f>"
COLUMNS = ("row_id", "text", "label", "origin", "split", "kept")


Outcome = tuple[pd.DataFrame, dict[str, Any], pd.DataFrame]


def cleaned(folder: Path, rows: list[tuple[Any, Any, Any]], **changes: object) -> Outcome:
    """Run the stage on (text, label, split) rows; their ids are row-0, row-1, ... Returns kept, report, dropped."""
    table = [(f"row-{i}", text, label, f"made:{i}", split, None) for i, (text, label, split) in enumerate(rows)]
    return run_clean(folder, table, **changes)


def run_clean(folder: Path, table: list[tuple], **changes: object) -> Outcome:
    params = load_params(REPOSITORY / "params.yaml")
    settings = CleanParams.model_validate(params.clean.model_dump() | changes)
    params = Params.model_validate(params.model_dump(by_alias=True) | {"clean": settings})
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, pa.large_string()) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in table], schema), paths.raw)
    clean(params, paths)
    report = json.loads(paths.cleaning_report.read_text())
    return pd.read_parquet(paths.clean), report, pd.read_parquet(paths.quarantine)


def after(rule: str, text: str) -> str:
    frame = daft.from_pydict({"text": [text]})
    return frame.select(rules.RULES[rule](daft.col("text"))).to_pydict()["text"][0]


def sentences(count: int, *, words: int = 12, seed: int = 3) -> list[str]:
    """Unlike sentences of made-up words, seven letters long on average."""
    draw = random.Random(seed)
    vocabulary = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(5, 9))) for _ in range(2_000)]
    return [" ".join(draw.sample(vocabulary, words)) + "." for _ in range(count)]


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ("unicode_nfc", "cafe\u0301 ﬁ", "caf\u00e9 ﬁ"),
        ("unicode_nfkc", "Ｗｉｄｅ ﬁ", "Wide fi"),
        ("invisible_characters", "\ufeffwo\u200brd so\u00adft\u202e\x00\x1b tab\tline\n", "word soft tab\tline\n"),
        ("white_space", "  a\u00a0b \n\n\tc\u3000", "a b c"),
        ("lower_case", "ÄPFEL", "äpfel"),
        ("html_markup", "<p class='x'>One <b>bo</b>ld</p><BR/>two &lt;b&gt; &amp;", " One bold  two <b> &"),
        ("html_markup", "a<!-- b -->c<script>d < e</script>f", "a c f"),
        ("html_markup", CODE, CODE),
        ("html_markup", "x&#8203;y &copy=2 &nosuch; R&D", "xy &copy=2 &nosuch; R&D"),
    ],
)  # fmt: skip
def test_rules_change_what_they_are_for_and_nothing_else(rule: str, text: str, expected: str) -> None:
    assert after(rule, text) == expected


def test_long_texts_are_cut_at_a_word() -> None:
    texts = ["one two three", "one two threefold", "x" * 100, "ab " + "y" * 100, None]
    frame = daft.from_pydict({"text": texts})
    assert frame.select(rules.cut(daft.col("text"), 13)).to_pydict()["text"] == [
        "one two three", "one two", "x" * 13, "ab", None,
    ]  # fmt: skip


def test_every_dropped_row_is_quarantined_with_its_reason_and_its_own_text(tmp_path: Path) -> None:
    texts = sentences(12)
    rows = [
        (None, "a", None),
        (texts[0], None, None),
        (texts[1], " ", None),
        ("\u200b<br> ", "a", None),
        ("too short", "a", None),
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
    assert dropped.set_index("row_id").loc["row-8", "text"] == f"<b>{texts[3]}</b>"
    assert sorted(kept["row_id"]) == ["row-10", "row-7", "row-9"]
    assert len(kept.set_index("row_id").loc["row-10", "text"]) == 1999  # 400 words and the spaces between
    assert report["read"] == 11
    assert report["kept"] == 3
    assert report["dropped"] == 8
    assert report["cut"] == 1
    assert tuple(sorted(report["dropped_by_reason"])) == tuple(sorted(REASONS))


def test_nothing_left_is_an_error_with_the_counts(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no rows left after cleaning\. Read: 2\. Dropped: missing_text 1, too_short 1"
    ):
        cleaned(tmp_path, [(None, "a", None), ("short", "a", None)])
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
            (two, "a", "train"),
            (f"{two} Yes", "b", "train"),
            (three, "b", "test"),
        ],
    )
    assert dropped[["row_id", "reason"]].values.tolist() == [["row-0", "near_duplicate"], ["row-3", "near_duplicate"]]
    assert sorted(kept["row_id"]) == ["row-1", "row-2", "row-4"]


def test_a_threshold_of_one_keeps_near_duplicates(tmp_path: Path) -> None:
    one, two = sentences(2)
    rows = [(one, "a", None), (f"{one} Yes", "a", None), (two, "b", None), (two.upper(), "b", None)]
    _, report, _ = cleaned(tmp_path, rows, near_duplicate_jaccard=1)
    assert report["dropped_by_reason"] | {"exact_duplicate": 0} == dict.fromkeys(REASONS, 0)
    assert report["dropped_by_reason"]["exact_duplicate"] == 1


def test_order_and_partitions_never_change_a_byte(tmp_path: Path) -> None:
    exact, near = planted(sentences(40))
    texts = sentences(40) + exact + near
    table = [(f"{at:04}", text, "ab"[at % 2], f"made:{at}", None, None) for at, text in enumerate(texts)]
    run_clean(tmp_path / "one", table)
    random.Random(1).shuffle(table)
    with daft.execution_config_ctx(default_morsel_size=7):
        run_clean(tmp_path / "two", table)
    for path in (Paths.clean, Paths.quarantine, Paths.cleaning_report):
        one, two = (path.fget(Paths(tmp_path / name)).read_bytes() for name in ("one", "two"))  # type: ignore[attr-defined]
        assert one == two


def test_similar_keys_share_a_group_whatever_joins_them() -> None:
    a = sentences(1, words=30)[0]
    chain = [a, f"{a} one more", f"{a} one more and one", "something else altogether", "abc", "abd"]
    groups = duplicates.near_duplicate_groups(chain, jaccard=0.9)
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 4


def test_banding_proposes_nearly_every_pair_at_the_threshold() -> None:
    for jaccard in (0.5, 0.7, 0.8, 0.9):
        rows = duplicates.rows_per_band(jaccard)
        assert 1 - (1 - jaccard**rows) ** (duplicates.HASHES // rows) >= 0.99
    assert duplicates.rows_per_band(0.8) == 6  # 21 bands: 1 - (1 - 0.262) ** 21 = 0.998; 7 rows: 0.985


def test_a_template_with_many_fillings_stays_cheap() -> None:
    keys = [f"the customer with the number {n} has asked for a refund of the last order" for n in range(3_000)]
    order = np.arange(len(keys))
    assert len(duplicates._neighbours(order, np.zeros(len(keys), dtype=np.uint64))) < len(keys) * duplicates.WINDOW
    assert len(set(duplicates.near_duplicate_groups(keys, jaccard=0.8).tolist())) == 1


def frame(*groups: tuple[str, str | None, int]) -> pd.DataFrame:
    """Rows of (label, given split, how many)."""
    rows = [(label, split) for label, split, count in groups for _ in range(count)]
    table = pd.DataFrame(rows, columns=["label", "split"])
    return table.assign(row_id=[f"{at:05}" for at in table.index])


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


def test_a_label_of_few_rows_keeps_one_for_training() -> None:
    frame = pd.DataFrame({"row_id": list("wxyz"), "label": "a", "split": pd.Series([None] * 4, dtype="str")})
    splits = assign_splits(frame, validation_fraction=0.45, test_fraction=0.45, seed=1)
    assert sorted(splits) == ["test", "test", "train", "validation"]
