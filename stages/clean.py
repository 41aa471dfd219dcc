"""Stage `clean`: texts normalised, faulty rows and duplicates dropped with a counted reason, splits made.

No near-duplicate ends up on both sides of a split, and a test split that the data brings stays as it is.
"""

from __future__ import annotations

import daft
import pandas as pd
import pyarrow as pa
from daft import col, lit
from daft.functions import length

from stages.cleaning import rules
from stages.cleaning.duplicates import comparison_key, near_duplicate_groups
from stages.cleaning.splits import assign_splits
from stages.entry import run_stage
from stages.files import write_json, write_parquet
from stages.params import CleanParams, Params
from stages.paths import SPLITS, Paths

REASONS = (
    "missing_text",
    "missing_label",
    "empty",
    "too_short",
    "leaked",
    "conflicting_label",
    "exact_duplicate",
    "near_duplicate",
)
CLEAN = ("row_id", "text", "label", "origin", "split")
QUARANTINE = ("row_id", "text", "label", "origin", "reason")
KEPT_FIRST = {"test": 0, "validation": 1, "train": 2}  # of duplicates, by given split; without one: last


def clean(params: Params, paths: Paths) -> None:
    """Write `paths.clean`, `paths.quarantine` and `paths.cleaning_report`.

    Raises ValueError, with the counts by reason, where no row is left.
    """
    rows = normalised(daft.read_parquet(str(paths.raw)), params.clean)
    rows["reason"] = reasons(rows, params.clean)
    kept, dropped = rows[rows["reason"].isna()].copy(), rows[rows["reason"].notna()]
    counts = dropped["reason"].value_counts().reindex(REASONS, fill_value=0).astype(int).to_dict()
    assert len(rows) == len(kept) + len(dropped) == len(kept) + sum(counts.values())
    if kept.empty:
        shown = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
        raise ValueError(f"no rows left after cleaning. Read: {len(rows)}. Dropped: {shown or 'none'}.")
    settings = params.clean
    kept["split"] = assign_splits(
        kept,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=params.seed,
    )
    report = {
        "read": len(rows),
        "kept": len(kept),
        "dropped": len(dropped),
        "dropped_by_reason": counts,
        "cut": int(kept["was_cut"].sum()),
        "rows": {split: int((kept["split"] == split).sum()) for split in SPLITS},
        "labels": int(kept["label"].nunique()),
    }
    write_parquet(paths.clean, _table(kept.assign(text=kept["clean"]).sort_values(["split", "row_id"]), CLEAN))
    write_parquet(paths.quarantine, _table(dropped, QUARANTINE))
    write_json(paths.cleaning_report, report)


def normalised(raw: daft.DataFrame, params: CleanParams) -> pd.DataFrame:
    """The raw columns, and clean (the text after the rules), was_cut and key; sorted by row_id."""
    whole = rules.apply(params.rules, col("text"))
    frame = raw.with_column("whole", whole).with_column("clean", rules.cut(col("whole"), params.max_chars))
    frame = frame.with_column("was_cut", (length(col("whole")) > lit(params.max_chars)).fill_null(False))
    frame = frame.with_column("key", comparison_key(col("clean"))).exclude("whole")
    return frame.to_arrow().to_pandas().sort_values("row_id", ignore_index=True)


def reasons(rows: pd.DataFrame, params: CleanParams) -> pd.Series:
    """Why each row is dropped, or missing where it is kept.

    Of two reasons the earlier in REASONS counts. Rows that the data gives as `test` are dropped only where
    there is no text or no label.
    """
    given_test = rows["split"] == "test"
    reason = pd.Series(None, index=rows.index, dtype="str")
    faults = {
        "missing_text": rows["text"].isna(),
        "missing_label": rows["label"].isna() | (rows["label"].str.strip() == ""),
        "empty": rows["clean"].str.strip() == "",
        "too_short": (rows["clean"].str.len() < params.min_chars) & ~given_test,
    }
    for name, fault in faults.items():
        reason[fault & reason.isna()] = name
    exact = _exact(rows[reason.isna()])
    reason[exact.index] = exact
    near = _near(rows[reason.isna()], params.near_duplicate_jaccard)
    reason[near.index] = near
    return reason


def _exact(rows: pd.DataFrame) -> pd.Series:
    """Reasons of the rows that share their key with another."""
    is_test = rows["split"] == "test"
    others = rows[~is_test]
    leaked = others["key"].isin(set(rows.loc[is_test, "key"]))
    others_left = others[~leaked]
    conflicting = others_left.groupby("key")["label"].transform("nunique") > 1
    repeated = _best_first(others_left[~conflicting]).duplicated("key")
    return pd.concat(
        [
            _constant("leaked", others.index[leaked]),
            _constant("conflicting_label", others_left.index[conflicting]),
            _constant("exact_duplicate", repeated.index[repeated]),
        ]
    )


def _near(rows: pd.DataFrame, jaccard: float) -> pd.Series:
    """Reasons of the rows that are near-duplicates of another."""
    keys = sorted(set(rows["key"]))
    group_of = dict(zip(keys, near_duplicate_groups(keys, jaccard=jaccard).tolist(), strict=True))
    groups = rows["key"].map(group_of)
    is_test = rows["split"] == "test"
    leaked = groups.isin(set(groups[is_test])) & ~is_test
    left = _best_first(rows[~is_test & ~leaked])
    repeated = groups[left.index].duplicated()
    return pd.concat(
        [
            _constant("leaked", rows.index[leaked]),
            _constant("near_duplicate", repeated.index[repeated]),
        ]
    )


def _best_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Which of several duplicates is kept: by given split, then by row_id."""
    rank = rows["split"].map(KEPT_FIRST).fillna(len(KEPT_FIRST)).rename("rank")
    return rows.assign(rank=rank).sort_values(["rank", "row_id"])


def _constant(reason: str, index: pd.Index) -> pd.Series:
    return pd.Series(reason, index=index, dtype="str")


def _table(rows: pd.DataFrame, columns: tuple[str, ...]) -> pa.Table:
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    return pa.Table.from_pandas(rows[list(columns)], schema=schema, preserve_index=False)


if __name__ == "__main__":
    run_stage(clean)
