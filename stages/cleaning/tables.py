"""The rows in memory: columns for decisions in a light frame; texts in Arrow, copied once."""

from __future__ import annotations

import json
from pathlib import Path

import daft
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from daft import col, lit
from daft.functions import length, strip, when

from stages.cleaning import batches, languages, rules
from stages.cleaning.flags import FLAGS
from stages.cleaning.keys import PAIR_SEPARATOR, comparison_key, form_of, written
from stages.cleaning.reasons import REASONS
from stages.core.contracts import as_label
from stages.core.params.clean import CleanParams
from stages.reading.clean_rows import TEXT_PAIR

HEAVY = ("row_id", "clean", "clean_pair", "origin", "kept")  # the third where rows are pairs
NAMES = {"clean": "text", "clean_pair": "text_pair"}
QUARANTINE = ("row_id", "text", "label", "origin", "split", "reason", "repeats")
PIECE = 1 << 16  # keys compared at once


def normalised(raw: daft.DataFrame, params: CleanParams) -> tuple[pd.DataFrame, pa.Array, dict[str, pa.Array]]:
    """The rows, by row_id; the distinct keys; and the HEAVY columns, in the order that Daft gave them in.

    Of each row: at (its place in the heavy columns), row_id, label, split, group, chars, written and blank (of the
    clean text; missing: no text), was_cut, FLAGS, key (a position in the keys, -1: none); language where it matters.
    Of pairs chars are those of both texts, written is the shorter one's, and language_pair the second's; blank, was_cut
    and FLAGS are what one of the two is.
    Raises ValueError where `group_column` or `languages` ask for what is not there.
    """
    if params.languages is not None:
        languages.identifier()
    table = _texts(raw, params).to_arrow()
    order = pc.sort_indices(table["row_id"]).to_numpy()
    names = [name for name in HEAVY if name in table.column_names]
    light = table.drop_columns([name for name in names if name != "row_id"] + ["key"])
    rows = light.take(pa.array(order)).to_pandas().assign(at=order)
    del light
    keys = table["key"].combine_chunks()
    table = table.select(names)
    places, keys = distinct(keys)
    rows["key"] = places[order]
    heavy = {}
    for name in names:  # one by one: a column is there twice while its pieces are put together
        heavy[name] = table[name].combine_chunks()
        table = table.drop_columns(name)
    if params.group_column is not None:
        rows["group"] = _values(heavy["kept"], params.group_column).take(pa.array(order)).to_pandas()
    return rows, keys, heavy


def distinct(keys: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The place (N,) of each of N keys among the distinct ones, -1 where there is none; and the distinct keys.

    By sorting: a table of hashes would hold all of them once more.
    """
    order = pc.sort_indices(keys).to_numpy()[: len(keys) - keys.null_count]
    is_new = np.ones(len(order), dtype=bool)
    for at in range(1, len(order), PIECE):
        some = keys.take(pa.array(order[at - 1 : at + PIECE]))
        is_new[at : at + PIECE] = pc.not_equal(some[1:], some[:-1])
    places = np.full(len(keys), -1, dtype=np.int64)
    places[order] = np.cumsum(is_new) - 1
    return places, keys.take(pa.array(order[is_new]))


def _texts(raw: daft.DataFrame, params: CleanParams) -> daft.DataFrame:
    frame = _described(raw, params)
    return _paired(frame, params) if "text_pair" in raw.column_names else frame


def _described(raw: daft.DataFrame, params: CleanParams, *, of: str = "") -> daft.DataFrame:
    """The texts of the column text + `of`, cleaned, with their measurements; all columns end in `of`."""
    cleaned, clean = col(f"cleaned{of}"), col(f"clean{of}")
    cleaning = rules.cleaning_of(params.rules, params.masks, params.stop_word_language, params.max_chars)
    frame = raw.with_column(f"cleaned{of}", batches.cleaned(col(f"text{of}"), cleaning))
    frame = frame.with_columns({f"clean{of}": cleaned["text"], f"was_cut{of}": cleaned["was_cut"]})
    frame = frame.exclude(f"text{of}", f"cleaned{of}").with_columns(
        {
            f"chars{of}": length(clean),
            f"written{of}": written(clean),
            f"blank{of}": length(strip(clean)) == lit(0),
            f"key{of}": comparison_key(clean),
            **{f"{name}{of}": flag(clean).fill_null(False) for name, flag in FLAGS.items()},
        }
    )
    return frame if params.languages is None else frame.with_column(f"language{of}", languages.language(clean))


def _paired(frame: daft.DataFrame, params: CleanParams) -> daft.DataFrame:
    """The second texts, cleaned as the first are, with the measurements of each pair."""
    frame = _described(frame, params, of="_pair")
    written, written_pair = col("written"), col("written_pair")
    both = {name: col(name) | col(f"{name}_pair") for name in ("blank", "was_cut", *FLAGS)}
    both |= {
        "chars": col("chars") + col("chars_pair"),
        "written": when(written < written_pair, written).otherwise(written_pair),
        "key": col("key") + lit(PAIR_SEPARATOR) + col("key_pair"),
    }
    return frame.with_columns(both).exclude(*(f"{name}_pair" for name in both))


def _values(kept: pa.Array, column: str) -> pa.Array:
    """The value of a kept column in each row; null where it is missing or empty."""
    objects = [json.loads(text) if text else {} for text in kept.to_pylist()]
    if objects and not any(column in values for values in objects):
        columns = ", ".join(sorted(objects[0])) or "none"
        allowed = f"a column of ingest.keep_columns ({columns}), or null"
        raise ValueError(f"params.yaml: clean.group_column is '{column}'. Allowed: {allowed}.")
    found = [values.get(column) for values in objects]
    return pa.array([as_label(value) for value in found], pa.large_string())  # "Ada " is Ada


def taken(heavy: dict[str, pa.Array], at: np.ndarray, **columns: pd.Series) -> pa.Table:
    """The rows at these places of the heavy columns, named as in NAMES, with other columns in the same order."""
    places = pa.array(at)
    texts = {NAMES.get(name, name): array.take(places) for name, array in heavy.items()}
    return pa.table(texts | {name: pa.array(values, pa.large_string()) for name, values in columns.items()})


def forms(heavy: dict[str, pa.Array], at: np.ndarray, rows: np.ndarray) -> list[str]:
    """The `form_of` the texts of M of N `rows`; of pairs, of both texts.

    The texts stand at the places `at` (N,) of the heavy columns.
    """
    columns = [heavy[name].take(pa.array(at[rows])).to_pylist() for name in ("clean", "clean_pair") if name in heavy]
    return [PAIR_SEPARATOR.join(map(form_of, texts)) for texts in zip(*columns, strict=True)]


def quarantined(raw_rows: Path, dropped: pd.DataFrame) -> pa.Table:
    """The dropped rows, by row_id, as they are in the Parquet file `raw_rows`, with reason and repeated row.

    Each has the reason why it is dropped, and the row_id of the row that it repeats.
    """
    columns = [*QUARANTINE, TEXT_PAIR] if TEXT_PAIR in pq.read_schema(raw_rows).names else QUARANTINE
    found = {"reason": np.array(REASONS, dtype=object)[dropped["reason"].to_numpy()], "repeats": dropped["repeats"]}
    names = [name for name in columns if name not in found]
    ids = pa.array(dropped["row_id"], pa.large_string())
    with pq.ParquetFile(raw_rows) as raw:
        wanted = pc.is_in(
            raw.read(["row_id"])["row_id"], value_set=ids
        ).combine_chunks()  # once: each search makes a set
        batches_found, read = [], 0
        for batch in raw.iter_batches(columns=names):
            batches_found.append(batch.filter(wanted.slice(read, len(batch))))
            read += len(batch)
    table = pa.Table.from_batches(batches_found).select(names)
    table = table.take(pc.sort_indices(table["row_id"]))
    for name, values in found.items():
        table = table.append_column(name, pa.array(values, pa.large_string()))
    return table.select(columns).cast(pa.schema([(name, pa.large_string()) for name in columns]))
