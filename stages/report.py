"""Stage `report`: the fate of the rows, from source to split: counts, reasons, labels, lengths, examples.

It writes numbers and a few examples as JSON, of which `winnow data` and a review make Markdown, and tables for `dvc
plots`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from stages.cleaning.rules import cleaner, cleaning_of, has_masks
from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.params.file import Params
from stages.core.paths import HELD_OUT, Paths
from stages.reading.clean_rows import DUPLICATES, TEXT_PAIR, splits_of, whole_texts
from stages.reading.kinds import one_row_a_kind, rows_by_kind
from stages.tasks import TASKS
from stages.tasks.contract import TaskData
from stages.tokens.counts import beyond
from stages.validation.lengths import histogram, lengths

EXAMPLES = 3  # of each reason
EXAMPLE_CHARS = 80
OF_TOKENS = ("truncated_share", "unknown_share", "unread_rows")


def report(params: Params, paths: Paths) -> None:
    """Write `paths.data_report` and the tables of `paths.data_plots`."""
    data: TaskData = plugins.part(TASKS, params.task.name, "data", key="task.name")
    pair = [TEXT_PAIR] if TEXT_PAIR in pq.read_schema(paths.clean).names else []
    clean = _read(paths.clean, "row_id", "text", *pair, "label", "split")
    splits = splits_of(paths.clean)
    clean["text"] = whole_texts(clean)
    clean["chars"] = clean["text"].str.len()
    quarantine = _read(paths.quarantine, "row_id", "text", "label", "reason")
    unreadable = _read(paths.unreadable, "origin", "reason", "excerpt")
    if has_masks(params.clean.rules):  # dropped rows are as they came, and the report goes into git
        masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
        change = cleaner(cleaning_of(params.clean.rules, masks, language, max_chars))
        columns = [(quarantine, "text"), (unreadable, "excerpt")]
        if data.writes == "target":  # a text as the other is, which no rule cleans
            columns += [(clean, "label"), (quarantine, "label")]
        for rows, name in columns:
            rows[name] = rows[name].map(change, na_action="ignore")
    steps = _steps(clean, quarantine, unreadable, splits, paths)
    reasons = {"unreadable": _counted(unreadable["reason"]), "dropped": _counted(quarantine["reason"])}
    labels = rows_by_kind(clean, data)
    duplicates, tokens = sum(reasons["dropped"].get(reason, 0) for reason in DUPLICATES), read_json(paths.token_report)
    warned = beyond(
        tokens, params.tokenize.max_tokens, max_truncated_share=params.validate_.max_truncated_share,
        max_unknown_share=params.validate_.max_unknown_share,
    )  # fmt: skip
    content = {
        "steps": steps,
        "reasons": reasons,
        "dropped_share": round(1 - steps["kept"] / max(steps["source"], 1), 6),
        "duplicate_share": round(duplicates / max(steps["read"], 1), 6),
        **{key: {split: tokens[split][key] for split in splits} for key in OF_TOKENS},
        "labels": {
            label: {**counts, "share": round(sum(counts.values()) / int(clean["label"].count()), 6)}
            for label, counts in labels.to_dict("index").items()
        },
        "chars": {split: lengths(clean.loc[clean["split"] == split, "chars"]) for split in splits},
        "warnings": [*_warnings(read_json(paths.validation_report)), *(line for _, line in warned)],
        "examples": {
            "unreadable": _examples(unreadable.rename(columns={"origin": "row_id", "excerpt": "text"}), "reason"),
            "dropped": _examples(quarantine, "reason"),
            "labels": _examples(one_row_a_kind(clean, data), "label", each=1),
        },
    }
    write_json(paths.data_report, content)
    dropped = [(reason, count) for counts in reasons.values() for reason, count in counts.items()]
    with publish(paths.data_plots) as draft:
        draft.mkdir()
        _write_table(draft / "steps.csv", pd.DataFrame(steps.items(), columns=["step", "rows"]))
        _write_table(draft / "reasons.csv", pd.DataFrame(dropped or [("none", 0)], columns=["reason", "rows"]))
        _write_table(draft / "labels.csv", labels.rename_axis(columns=None).reset_index())
        _write_table(draft / "lengths.csv", histogram(clean, splits))


def _steps(
    clean: pd.DataFrame, quarantine: pd.DataFrame, unreadable: pd.DataFrame, splits: Sequence[str], paths: Paths
) -> dict[str, int]:
    """The numbers of rows, step by step in the order of the pipeline."""
    read, aside = (pq.read_metadata(path).num_rows for path in (paths.raw, paths.held_out))
    by_split = {split: int((clean["split"] == split).sum()) for split in splits} | ({HELD_OUT: aside} if aside else {})
    before = {"source": read + len(unreadable), "unreadable": len(unreadable), "read": read}
    return {**before, "dropped": len(quarantine), "kept": len(clean) + aside, **by_split}


def _counted(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _read(path: Path, *columns: str) -> pd.DataFrame:
    return pq.read_table(path, columns=list(columns)).to_pandas(ignore_metadata=True)


def _warnings(validation: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [result["message"] for results in validation.values() for result in results if not result["success"]]


def _examples(rows: pd.DataFrame, by: str, each: int = EXAMPLES) -> dict[str, list[dict[str, str | None]]]:
    """The first rows of each value of `by`, with their texts cut."""
    columns = [name for name in ("row_id", "label", "text") if name in rows and name != by]
    first = rows.sort_values("row_id", kind="stable").groupby(by, sort=True).head(each)
    return {
        str(value): [
            {name: _cut(row[name]) for name in columns}
            for row in first.loc[first[by] == value, columns].to_dict("records")
        ]
        for value in sorted(first[by].unique())
    }


def _cut(text: Any) -> str | None:
    if pd.isna(text):
        return None
    line = " ".join(str(text).split())
    return line if len(line) <= EXAMPLE_CHARS else f"{line[: EXAMPLE_CHARS - 3]}..."


def _write_table(path: Path, table: pd.DataFrame) -> None:
    table.to_csv(path, index=False, lineterminator="\n")


if __name__ == "__main__":
    run_stage(report)
