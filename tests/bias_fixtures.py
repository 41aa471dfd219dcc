"""A planted bias: a word for people that goes with the label in training, and not in the rows that are asked."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import TOPICS, UNUSED, tiny_params
from tokenizers import Tokenizer

from stages.core.files import read_json
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.finetune import finetune
from stages.models.encoder import FAMILY
from stages.tokenize import tokenize
from stages.training.inference import predict_logits
from stages.training.rows import TokenRows, read_tokens

WORDS = UNUSED[:2]  # one for each group
LABELS = ("sea", "kitchen")
SHARE = 0.95  # of the training rows of a label that have its group's word
COLUMNS = ("row_id", "text", "label", "split", "kept", "origin")


def planted_rows() -> list[tuple[str, ...]]:
    """Texts of three words, two of them of their label, and the word of a group among them."""
    draw = random.Random(11)
    rows: list[tuple[str, ...]] = []
    for split, count in (("train", 400), ("validation", 80), ("test", 200)):
        for at in range(count):
            label = at % 2
            usual = draw.random() < (SHARE if split == "train" else 0.5)
            group = label if usual else 1 - label
            words = [*draw.sample(TOPICS[LABELS[label]], 2), draw.choice(TOPICS[LABELS[1 - label]]), WORDS[group]]
            draw.shuffle(words)
            kept = json.dumps({"who": f"group {group}"})
            rows.append((f"{split}-{at}", " ".join(words), LABELS[label], split, kept, f"{split}:{at}"))
    return rows


def planted(folder: Path, tiny: Path, **changes: Any) -> tuple[Params, Paths]:
    """A project with these rows, and its parameters."""
    paths = Paths(folder)
    paths.clean.parent.mkdir(parents=True)
    table = {
        name: pa.array(values, pa.large_string())
        for name, values in zip(COLUMNS, zip(*planted_rows(), strict=True), strict=True)
    }
    pq.write_table(pa.table(table), paths.clean)
    pq.write_table(pa.table(table).slice(0, 0), paths.held_out)
    usual = {
        "ingest__keep_columns": ["who"], "clean__near_duplicate_jaccard": 1.0,
        "finetune__epochs": 6, "finetune__batch_size": 20,
        "finetune__encoder_learning_rate": 2e-3, "finetune__head_learning_rate": 2e-3,
        "finetune__freeze_embeddings": False, "finetune__precision": "fp32", "finetune__select_by": "last",
        "debias__swaps": [list(WORDS)], "distill__teacher_layers": [0, 1],
    }  # fmt: skip
    return tiny_params(paths, tiny, **{**usual, **changes}), paths


def mended(folder: Path, tiny: Path, **changes: Any) -> Mapping[str, Any]:
    """A teacher trained so, on the test rows: its accuracy, that of its worst group by label, how often a swapped word
    changes its answer; and the report of its training."""
    params, paths = planted(folder, tiny, **changes)
    tokenize(params, paths)
    finetune(params, paths)
    rows = read_tokens(paths.tokens / "test")
    number = {name: Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json")).token_to_id(name) for name in WORDS}
    texts = [rows[at]["input_ids"].tolist() for at in range(len(rows))]
    first_N = np.array([number[WORDS[0]] in text for text in texts])
    other = dict(zip(number.values(), reversed(number.values()), strict=True))
    swapped = TokenRows(
        rows.row_ids, rows.targets, rows.offsets,
        np.array([other.get(token, token) for text in texts for token in text], dtype=np.int32),
    )  # fmt: skip
    model = FAMILY.open(paths.model("teacher"))
    given_N, after_N = (
        predict_logits(model, one, pad_id=0, precision="fp32", title="test").argmax(1) for one in (rows, swapped)
    )
    right_N = given_N == rows.targets
    parts = [right_N[(first_N == one) & (rows.targets == label)].mean() for one in (True, False) for label in (0, 1)]
    return {
        "accuracy": float(right_N.mean()), "worst": float(min(parts)), "flip_rate": float((given_N != after_N).mean()),
        **read_json(paths.training("teacher")),
    }  # fmt: skip
