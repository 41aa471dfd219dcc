"""Stage `clean`: texts normalised, faulty rows and duplicates dropped with a counted reason, splits made.

Near-duplicates that are found (99 in 100 at the threshold) never sit on both sides of a split, and a test split that
the data brings stays as it is.
"""

from __future__ import annotations

import daft
import pandas as pd
import pyarrow as pa
from daft import col, lit
from daft.functions import length

from stages.cleaning import rules
from stages.cleaning.duplicates import comparison_key
from stages.cleaning.reasons import REASONS, reasons
from stages.cleaning.splits import assign_splits
from stages.entry import run_stage
from stages.files import write_json, write_parquet
from stages.params import CleanParams, Params
from stages.paths import SPLITS, Paths

CLEAN = ("row_id", "text", "label", "origin", "split", "kept")
QUARANTINE = ("row_id", "text", "label", "origin", "reason")


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
        "label_shares": {label: round(share, 6) for label, share in kept["label"].value_counts(normalize=True).items()},
        "chars": {f"p{percent}": float(kept["clean"].str.len().quantile(percent / 100)) for percent in (5, 50, 95)},
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


def _table(rows: pd.DataFrame, columns: tuple[str, ...]) -> pa.Table:
    schema = pa.schema([(name, pa.large_string()) for name in columns])
    return pa.Table.from_pandas(rows[list(columns)], schema=schema, preserve_index=False)


if __name__ == "__main__":
    run_stage(clean)
