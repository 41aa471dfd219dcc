"""Stage `clean`: normalise texts, drop faulty rows and duplicates with a counted reason, and make the splits.

Near-duplicates that are found (99 in 100 at the threshold) never sit on both sides of a split that is drawn here; of
those with one label, only one is kept. Rows of a group are in one split, and a test split that the data brings stays as
it is. Rows without a label are dropped, or are a split of their own. Rows that are set aside (the split `held_out`)
influence none of this, and go to a file of their own. Each kept row names the group to which it belongs: rows that are
not independent, by the source or as near-duplicates.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from stages.cleaning import frames
from stages.cleaning.described import conflict_examples, counted, described, rare_labels
from stages.cleaning.grouped import grouped
from stages.cleaning.late import transfer_reasons, with_rows_set_aside
from stages.cleaning.rare import settle_rare_labels
from stages.cleaning.reasons import KEPT, reasons, spared
from stages.cleaning.splits import assign_splits, linked
from stages.cleaning.tables import forms, normalised, quarantined, taken
from stages.cleaning.targets import carry_targets, with_quotes
from stages.cleaning.written import with_answers
from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import write_json, write_parquet
from stages.core.params.file import Params
from stages.core.paths import HELD_OUT, SPLITS, TRANSFER, Paths
from stages.reading.clean_rows import TEXT_PAIR  # the column that both tables have besides, where rows are pairs
from stages.tasks import TASKS
from stages.tasks.contract import TaskData

CLEAN = ("row_id", "text", "label", "origin", "split", "group", "kept")


def clean(params: Params, paths: Paths) -> None:
    """Write `paths.clean`, `paths.held_out`, `paths.quarantine` and `paths.cleaning_report`.

    Raises ValueError, with the counts by reason, where no row is left; and for settings that need one class a row,
    or targets that are texts, where the task has others.
    """
    data: TaskData = plugins.part(TASKS, params.task.name, "data", key="task.name")
    if not data.exclusive and (faults := list(params.clean.faults_without_one_class())):
        raise ValueError("\n".join(faults))
    if data.writes != "target" and (faults := list(params.clean.faults_without_targets())):
        raise ValueError("\n".join(faults))
    every, keys, heavy = normalised(frames.read(paths.raw), params.clean)
    every = carry_targets(every, heavy["clean"], paths.raw, data)
    every = with_quotes(every, heavy["clean"], data)
    every, targets = with_answers(every, keys, params.clean, data)
    every["group"] = grouped(every, keys, heavy["clean"], params.clean, paths, data)
    aside = (every["split"] == HELD_OUT).to_numpy()
    rows = every[~aside].reset_index(drop=True) if aside.any() else every
    judged = reasons(rows, keys, params.clean, partial(forms, heavy, rows["at"].to_numpy()), targets)
    rows = rows.assign(reason=judged.reason, repeats=judged.repeats, sense=judged.sense)
    examples = conflict_examples(rows, keys)
    rare = settle_rare_labels(rows, params.clean) if data.exclusive else {}
    kept = rows[rows["reason"] == KEPT].copy()
    if kept.empty:
        counts = counted(rows)
        shown = ", ".join(f"{reason} {count}" for reason, count in counts.items() if count)
        raise ValueError(f"no rows left after cleaning. Read: {len(rows)}. Dropped: {shown or 'none'}.")
    kept["group"] = linked(kept["group"].fillna(kept["row_id"]), pd.Series(judged.kin[kept["key"]], kept.index))
    if judged.kin_of_targets is not None:
        kept["group"] = linked(kept["group"], pd.Series(judged.kin_of_targets[kept["target_key"]], kept.index))
    settings = params.clean
    kept["split"] = assign_splits(
        kept,
        validation_fraction=settings.validation_fraction,
        test_fraction=settings.test_fraction,
        seed=params.data_seed,
        stratified=data.exclusive,
    )
    if settings.unlabelled == "transfer":
        rows["reason"], rows["repeats"] = transfer_reasons(rows, keys, kept["split"], settings)
        more = rows[rows["reason"] == KEPT].drop(kept.index)
        kept = pd.concat([kept, more.assign(label=None, split=TRANSFER)]).sort_index()
    if aside.any():
        rows = with_rows_set_aside(every, rows, keys, aside, rare, settings, targets)
    held_out = rows[aside & (rows["reason"] == KEPT)]
    del keys, every
    rows["repeats"] = np.where(rows["repeats"] < 0, None, rows["row_id"].to_numpy()[rows["repeats"]])
    dropped, counts = rows[rows["reason"] != KEPT], counted(rows)
    assert len(rows) - len(kept) - len(held_out) == len(dropped) == sum(counts.values())
    report = {
        "unreadable": pq.read_metadata(paths.unreadable).num_rows,  # by `ingest`; they are not among those read here
        "read": len(rows),
        "kept": len(kept) + len(held_out),
        "dropped": len(dropped),
        "dropped_by_reason": counts,
        "conflicting_texts": examples,
        "spared_in_test": spared(rows, params.clean),
        "rare_labels": rare_labels(rare),
        **described(kept, SPLITS if settings.unlabelled == "drop" else (*SPLITS, TRANSFER), data),
    }
    if aside.any():
        report["rows"][HELD_OUT] = len(held_out)
    del rows
    for path, some in ((paths.held_out, held_out), (paths.clean, kept.sort_values("split", kind="stable"))):
        group = some["group"].fillna(some["row_id"])
        table = taken(heavy, some["at"].to_numpy(), label=some["label"], split=some["split"], group=group)
        write_parquet(path, table.select([*CLEAN, TEXT_PAIR] if TEXT_PAIR in table.column_names else CLEAN))
    del heavy, table
    write_parquet(paths.quarantine, quarantined(paths.raw, dropped))
    write_json(paths.cleaning_report, report)


if __name__ == "__main__":
    run_stage(clean)
