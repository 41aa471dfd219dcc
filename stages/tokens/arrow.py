"""Tokens of a split in Arrow, in bytes that depend on the rows, the tokenizer and the settings alone."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from stages.core.contracts import BEGINS, NAMED, PLACE, Writing
from stages.reading.clean_rows import TEXT_PAIR
from stages.tasks.contract import TaskEncoding
from stages.tokens.counts import statistics
from stages.tokens.encoded import TARGET, encoded
from stages.tokens.literal import literal
from stages.tokens.unknown import unread

INT32, INTS = datasets.Value("int32"), datasets.List(datasets.Value("int32"))
FLOAT32 = datasets.Value("float32")
TARGETS = {"int32": INT32, "float32": FLOAT32, "list_int32": INTS, "vector_float32": datasets.List(FLOAT32)}


def write_tokens(
    rows: pa.Table, folder: Path, task: TaskEncoding, tokenizer: PreTrainedTokenizerFast, values: dict[str, Any]
) -> dict[str, Any]:
    """Write one split's encoded rows to `folder` as one shard. Returns their entry in the report.

    `values` are those of `encoded`: `space`, `max_tokens`, `stride` and `writing`.
    """
    mark, engine = _fingerprint(rows, tokenizer, values), tokenizer.backend_tokenizer
    engine = engine if values["writing"] is None else literal(engine)
    with tempfile.TemporaryDirectory(prefix="winnow-tokens-") as cache:
        written = datasets.Dataset(rows.replace_schema_metadata(None), fingerprint=f"{mark}-text").map(
            encoded,
            batched=True,
            fn_kwargs={"task": task, "tokenizer": engine, **values},
            remove_columns=rows.column_names,
            features=features_of(task, are_pairs=TEXT_PAIR in rows.column_names, writing=values["writing"]),
            cache_file_name=str(Path(cache) / "tokens.arrow"),
            new_fingerprint=f"{mark}-full",
            desc=f"tokenizing {folder.name}",
        )
        full_lengths = np.asarray(written.with_format("numpy")["full_length"][:])
        of_reading = unread(written.data["input_ids"], full_lengths, rows, tokenizer)
        tokens = written.remove_columns("full_length", new_fingerprint=mark)
        tokens.save_to_disk(str(folder), num_shards=1)
    row_ids = rows["row_id"].to_numpy()
    of_lengths = statistics(full_lengths, row_ids, values["max_tokens"], windows=values["stride"] is not None)
    return of_lengths | of_reading


def features_of(task: TaskEncoding, *, are_pairs: bool, writing: Writing | None = None) -> datasets.Features:
    """The columns of a split, in their order."""
    if writing is not None:
        apart = {BEGINS: INT32} if writing.source == "apart" else {}
        columns = {"row_id": datasets.Value("large_string"), "input_ids": INTS, "labels": INTS, "full_length": INT32}
        return datasets.Features({**columns, **apart})
    columns = {"row_id": datasets.Value("large_string"), "input_ids": INTS, TARGET[task.feature]: TARGETS[task.feature]}
    if task.images:
        return datasets.Features({**columns, "full_length": INT32, NAMED: datasets.Value("large_string")})
    return datasets.Features({**columns, "full_length": INT32, **({PLACE[task.apart]: INT32} if are_pairs else {})})


def _fingerprint(rows: pa.Table, tokenizer: PreTrainedTokenizerFast, values: dict[str, Any]) -> str:
    """The fingerprint by which `datasets` tells its caches apart: a hash of everything that the tokens depend on."""
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    told = {name: value for name, value in values.items() if name != "writing" or value is not None}
    digest.update(json.dumps([told, rows.to_pydict()], sort_keys=True).encode())
    return digest.hexdigest()[:32]
