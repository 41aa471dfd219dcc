"""The report of `clean`: how many rows were dropped for which reason, and what those are like that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from stages.cleaning.flags import FLAGS
from stages.cleaning.keys import PAIR_SEPARATOR
from stages.cleaning.reasons import CODES, KEPT, NEEDS, conflicts
from stages.reading.kinds import kinds_of, shares_of
from stages.tasks.contract import TaskData

EXAMPLES = 5  # of each kind
EXAMPLE_CHARS = 80


def counted(rows: pd.DataFrame) -> dict[str, int]:
    """The number of dropped rows, by reason; those that only some tasks have, only of these."""
    return {
        reason: int((rows["reason"] == code).sum())
        for reason, code in CODES.items()
        if reason not in NEEDS or NEEDS[reason] in rows
    }


def described(kept: pd.DataFrame, splits: Sequence[str], data: TaskData) -> dict[str, Any]:
    """The report's description of the kept rows: counts, flags, classes and lengths."""
    flagged = {name: kept.loc[kept[name], "row_id"] for name in FLAGS}
    kinds = kinds_of(kept["label"], data)
    return {
        "cut": int(kept["was_cut"].sum()),
        "flagged": {name: {"rows": len(ids), "examples": ids.head(EXAMPLES).tolist()} for name, ids in flagged.items()},
        "rows": {split: int((kept["split"] == split).sum()) for split in splits},
        "labels": int(kinds.nunique()),
        "label_shares": shares_of(kinds, int(kept["label"].count())),
        "chars": {f"p{percent}": float(kept["chars"].quantile(percent / 100)) for percent in (5, 50, 95)},
    }


def rare_labels(rare: dict[str, int]) -> dict[str, Any]:
    """The report's account of the rare labels, with their rows."""
    return {"labels": len(rare), "rows": sum(rare.values()), "examples": dict(list(rare.items())[:EXAMPLES])}


def conflict_examples(rows: pd.DataFrame, keys: pa.Array) -> dict[str, Any]:
    """The number of texts with several labels, and the first of them with their labels."""
    found = conflicts(rows[(rows["reason"] == KEPT) | (rows["reason"] >= CODES["conflicting_label"])])
    labels = found["label"].str.slice(0, EXAMPLE_CHARS) if "target_key" in found else found["label"]
    by_sense = labels.groupby(found["sense"])
    shown = [
        {
            "text": keys[key].as_py().replace(PAIR_SEPARATOR, " | ")[:EXAMPLE_CHARS],
            "labels": by_sense.get_group(sense).value_counts().to_dict(),
        }
        for key, sense in found.drop_duplicates("sense")[["key", "sense"]].head(EXAMPLES).itertuples(index=False)
    ]
    return {"texts": int(found["sense"].nunique()), "rows": len(found), "examples": shown}
