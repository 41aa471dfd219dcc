"""Stage `tokenize`: clean rows to token ids in memory-mapped Arrow, a folder a split.

The bytes hang on the rows, the tokenizer and the parameters alone: no times, paths or versions of a cache.
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

from stages import plugins
from stages.contracts import Task
from stages.entry import run_stage
from stages.files import publish, write_json
from stages.params import Params
from stages.paths import SPLITS, Paths
from stages.pretrained import load_tokenizer
from stages.rows import read_split
from stages.tasks import TASKS

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
OF_THE_MACHINE = ("is_local", "local_files_only", "name_or_path")  # where the tokenizer happened to lie
FEATURES = datasets.Features(
    {
        "row_id": datasets.Value("large_string"),
        "input_ids": datasets.List(datasets.Value("int32")),
        "label": datasets.Value("int32"),
        "full_length": datasets.Value("int32"),
    }
)


def tokenize(params: Params, paths: Paths) -> None:
    """Write `paths.tokens`, `paths.tokenizer` and `paths.token_report`.

    Raises ValueError where `tokenize.max_tokens` is more than the model takes, a split has no rows, or a
    label has no training rows.
    """
    task: Task = plugins.load(TASKS, params.task, key="task")
    tokenizer = load_tokenizer(params.model)
    max_tokens = params.tokenize.max_tokens
    if max_tokens > tokenizer.model_max_length:
        allowed = f"at most {tokenizer.model_max_length}, which is what {params.model.name} takes"
        raise ValueError(f"params.yaml: tokenize.max_tokens is {max_tokens}. Allowed: {allowed}.")
    write_tokenizer(tokenizer, paths.tokenizer)
    rows = {split: read_split(paths.clean, split) for split in SPLITS}
    labels = sorted(set(rows["train"]["label"].to_pylist()))
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    with publish(paths.tokens) as draft:
        draft.mkdir()
        arguments = {"tokenizer": tokenizer, "labels": labels, "max_tokens": max_tokens}
        report = {split: write_tokens(rows[split], draft / split, task, arguments) for split in SPLITS}
        pad_id = tokenizer.pad_token_id or 0
        write_json(draft / "labels.json", {"labels": labels, "max_tokens": max_tokens, "pad_id": pad_id})
    write_json(paths.token_report, report)


def write_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """tokenizer.json and tokenizer_config.json: without padding, truncation or a trace of where they lay."""
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    with publish(folder) as draft:
        tokenizer.save_pretrained(draft)
        for file in draft.iterdir():
            if file.name not in TOKENIZER_FILES:
                file.unlink()
        config = json.loads((draft / "tokenizer_config.json").read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if key not in OF_THE_MACHINE}
        write_json(draft / "tokenizer_config.json", kept)


def write_tokens(rows: pa.Table, folder: Path, task: Task, arguments: dict[str, Any]) -> dict[str, float]:
    """Write one split's rows, encoded, to `folder` as one shard. Returns what the report says of them."""
    mark = _fingerprint(rows, arguments)
    with tempfile.TemporaryDirectory(prefix="winnow-tokens-") as cache:
        encoded = datasets.Dataset(rows.replace_schema_metadata(None), fingerprint=f"{mark}-text").map(
            task.encode,
            batched=True,
            fn_kwargs=arguments,
            remove_columns=["text"],
            features=FEATURES,
            cache_file_name=str(Path(cache) / "tokens.arrow"),
            new_fingerprint=f"{mark}-full",
            desc=f"tokenizing {folder.name}",
        )
        lengths = np.asarray(encoded.with_format("numpy")["full_length"][:])
        tokens = encoded.remove_columns("full_length", new_fingerprint=mark)
        tokens.save_to_disk(str(folder), num_shards=1)
    return _statistics(lengths, arguments["max_tokens"])


def _fingerprint(rows: pa.Table, arguments: dict[str, Any]) -> str:
    """What `datasets` tells its own caches apart by: a hash of everything that the tokens hang on."""
    digest = hashlib.sha256(arguments["tokenizer"].backend_tokenizer.to_str().encode())
    digest.update(json.dumps([arguments["labels"], arguments["max_tokens"], rows.to_pydict()]).encode())
    return digest.hexdigest()[:32]


def _statistics(lengths: np.ndarray, max_tokens: int) -> dict[str, float]:
    """Of the lengths in tokens before cutting, and the share that was cut."""
    return {
        "rows": len(lengths),
        "mean_tokens": round(float(lengths.mean()), 3),
        "p95_tokens": round(float(np.percentile(lengths, 95)), 3),
        "truncated_share": round(float((lengths > max_tokens).mean()), 6),
    }


if __name__ == "__main__":
    run_stage(tokenize)
