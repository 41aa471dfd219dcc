"""Stage `tokenize`: clean rows to token ids in memory-mapped Arrow, a folder a split.

The bytes depend on the rows, the tokenizer and the parameters alone: no times, paths or versions of a cache.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from stages.core import plugins
from stages.core.contracts import PLACE
from stages.core.entry import run_stage
from stages.core.files import publish, write_json
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models.pretrained import load_tokenizer, refuse_misfit
from stages.reading.clean_rows import TEXT_PAIR, read_split, splits_of, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskEncoding
from stages.tokens.capitals import marked
from stages.tokens.counts import beyond, statistics
from stages.tokens.encoded import TARGET, encoded
from stages.tokens.files import write_tokenizer
from stages.tokens.pieces import new_tokens
from stages.tokens.trained import train_tokenizer
from stages.tokens.unknown import unread
from stages.validation.verdict import Broken, settle

INT32, INTS = datasets.Value("int32"), datasets.List(datasets.Value("int32"))
FLOAT32 = datasets.Value("float32")
TARGETS = {"int32": INT32, "float32": FLOAT32, "list_int32": INTS, "vector_float32": datasets.List(FLOAT32)}


def tokenize(params: Params, paths: Paths) -> None:
    """Write `paths.tokens`, `paths.tokenizer` and `paths.token_report`.

    Raises ValueError where the tokenizer or `tokenize` do not fit the model, a split has no rows, or a row's target is
    none that training rows have, and where more rows are cut than `validate.max_truncated_share`, or more tokens are
    unknown to the tokenizer than `validate.max_unknown_share`.
    """
    task: TaskEncoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    tokenizer = load_tokenizer(params.model)
    refuse_misfit(tokenizer, params.tokenize, params.model.name)
    if params.tokenize.capitals == "marked":
        tokenizer = marked(tokenizer)
    rows = {split: read_split(paths.clean, split) for split in splits_of(paths.clean)}
    space = task.space(rows["train"]["label"].to_pylist())
    report: dict[str, Any] = {}
    pieces: list[list[int]] | None = None
    if params.tokenize.tokenizer == "trained":
        texts = [part for text in texts_of(rows["train"]) for part in ((text,) if isinstance(text, str) else text)]
        tokenizer, pieces = train_tokenizer(tokenizer, texts, params.tokenize.vocabulary_size)
        report["vocabulary"] = {"tokens": len(pieces), "new_tokens": new_tokens(pieces)}
    write_tokenizer(tokenizer, paths.tokenizer, pieces)
    max_tokens, stride = params.tokenize.max_tokens, params.tokenize.shared
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    with publish(paths.tokens) as draft:
        draft.mkdir()
        values = {"space": space, "max_tokens": max_tokens, "stride": stride}
        report |= {split: write_tokens(of, draft / split, task, tokenizer, values) for split, of in rows.items()}
        # Any token can fill batches where none is made for it: the attention mask hides what it fills.
        described = {"space": space, "max_tokens": max_tokens, "pad_id": tokenizer.pad_token_id or 0}
        write_json(draft / "space.json", described | ({} if stride is None else {"stride": stride}))
    found = beyond(
        report, max_tokens, max_truncated_share=params.validate_.max_truncated_share,
        max_unknown_share=params.validate_.max_unknown_share,
    )  # fmt: skip
    warn_only = params.validate_.warn_only
    settle((Broken(limit, line, limit in warn_only) for limit, line in found), "Or raise the limit.")
    write_json(paths.token_report, report)


def write_tokens(
    rows: pa.Table, folder: Path, task: TaskEncoding, tokenizer: PreTrainedTokenizerFast, values: dict[str, Any]
) -> dict[str, Any]:
    """Write one split's encoded rows to `folder` as one shard. Returns their entry in the report.

    `values` are those of `encoded`: `space`, `max_tokens` and `stride`.
    """
    mark, engine = _fingerprint(rows, tokenizer, values), tokenizer.backend_tokenizer
    with tempfile.TemporaryDirectory(prefix="winnow-tokens-") as cache:
        written = datasets.Dataset(rows.replace_schema_metadata(None), fingerprint=f"{mark}-text").map(
            encoded,
            batched=True,
            fn_kwargs={"task": task, "tokenizer": engine, **values},
            remove_columns=rows.column_names,
            features=features_of(task, are_pairs=TEXT_PAIR in rows.column_names),
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


def features_of(task: TaskEncoding, *, are_pairs: bool) -> datasets.Features:
    """The columns of a split, in their order."""
    columns = {"row_id": datasets.Value("large_string"), "input_ids": INTS, TARGET[task.feature]: TARGETS[task.feature]}
    return datasets.Features({**columns, "full_length": INT32, **({PLACE[task.apart]: INT32} if are_pairs else {})})


def _fingerprint(rows: pa.Table, tokenizer: PreTrainedTokenizerFast, values: dict[str, Any]) -> str:
    """The fingerprint by which `datasets` tells its caches apart: a hash of everything that the tokens depend on."""
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    digest.update(json.dumps([values, rows.to_pydict()], sort_keys=True).encode())
    return digest.hexdigest()[:32]


if __name__ == "__main__":
    run_stage(tokenize)
