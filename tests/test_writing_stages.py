"""Tasks that write, through the stages from tokens to the pruned model (tests/writing_run.py)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_python
from conftest import REPOSITORY
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from writing_run import params_of, started

from stages.clean import clean
from stages.core.contracts import NO_LABEL, Generation, Writing, inputs_of
from stages.core.files import read_json
from stages.core.model_folder import describe, generation_of, plugin_of
from stages.core.params.task import faults_of_task
from stages.core.paths import Paths
from stages.ingest import ingest
from stages.models import FAMILIES
from stages.tokenize import tokenize
from stages.tokens.literal import literal
from stages.training.batches import collate
from stages.training.rows import TokenRows, read_tokens

CASES = [("text2text_generation", "gpt2"), ("text2text_generation", "t5"), ("text_generation", "llama")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """What the stages made."""
    root = tmp_path_factory.mktemp("writing")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/writing_run.py"), str(root), *request.param],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Paths(root)


def written(rows: TokenRows, number: int, tokenizer: Tokenizer) -> str:
    """What is learned to be written in a row."""
    labels = rows[number]["target"]
    return tokenizer.decode(labels[labels != NO_LABEL].tolist())


def is_alone(paths: Paths) -> bool:
    return describe(paths.model("teacher"))["task"] == "text_generation"


def test_the_tokens_of_each_row_are_its_source_and_its_target(ran: Paths):
    rows, tokenizer = read_tokens(ran.tokens / "train"), Tokenizer.from_file(str(ran.tokenizer / "tokenizer.json"))
    writing = Writing.of(read_json(ran.tokens / "space.json")["writing"])
    assert rows.decoded == (writing.source == "apart")
    for number in range(5):
        text = written(rows, number, tokenizer)
        assert text.split()[0] in ("die", "der", "ein", "das")
        ids = rows[number]["input_ids"].tolist()
        if writing.source == "apart":
            begin = int(rows.begins_of([number])[0])
            assert ids[begin] == writing.begin
            assert tokenizer.decode(ids[:begin]).split()[-1] == text.split()[-1], "the number of both"
        else:
            assert ids[0] == writing.begin
    assert rows.n_targets.min() > 5


def test_model_json_says_how_the_model_writes(ran: Paths):
    description = describe(ran.model("pruned"))
    writing = Writing.of(description["writing"])
    assert writing.source == (None if is_alone(ran) else "apart" if writing.begin != writing.end else "before")
    assert "generation" not in description, "figures alone hang on it"
    assert generation_of(description) == Generation(writing.max_target_tokens)
    assert "pairs" not in description


def test_the_cache_has_the_likeliest_tokens_of_every_place_and_says_its_size(ran: Paths):
    kept, rows = load_file(ran.logits), read_tokens(ran.tokens / "train")
    places = int(rows.n_targets.sum()) + int((kept.get("labels", np.array([])) != NO_LABEL).sum())
    assert kept["tokens"].shape == kept["log_probabilities"].shape == (places, 8)
    report = read_json(ran.cache_report)
    assert report["tokens_mb"] == round(places * 8 * 4 / 1e6, 3)
    assert 0 < report["rest_share"] < 1
    assert "logits" not in kept


def test_the_student_also_learns_what_its_teacher_wrote(ran: Paths):
    rows = len(read_tokens(ran.tokens / "train"))
    assert read_json(ran.training("teacher"))["train_rows"] == rows
    report = read_json(ran.training("student"))
    assert (report["train_rows"], report.get("written_texts")) == (rows, None if is_alone(ran) else rows)
    if not is_alone(ran):
        kept = load_file(ran.logits)
        assert len(kept["lengths"]) == rows
        assert ("begins" in kept) == read_tokens(ran.tokens / "train").decoded


def test_a_likelihood_chooses_the_epoch_and_it_grows(ran: Paths):
    report = read_json(ran.training("teacher"))
    measure = "bits_per_byte" if is_alone(ran) else "chrf"
    scores = [epoch[measure] for epoch in report["history"]]
    assert scores == sorted(scores)
    assert report[f"validation_{measure}"] == scores[-1] < 0


def test_the_pruned_model_is_smaller_and_knows_the_rows(ran: Paths):
    report = read_json(ran.pruning_report)
    assert report["parameters"][1] < report["parameters"][0]
    assert all(left < had for had, left in [*report["heads"], *report["feed_forward"]])
    rows = read_tokens(ran.tokens / "validation")
    batch = collate([rows[number] for number in range(4)], pad_id=0)
    family = plugin_of(ran.model("pruned"), "family", FAMILIES)
    with torch.inference_mode():
        logits = family.open(ran.model("pruned"))(*inputs_of(batch))
    assert logits.shape[:2] == batch["labels"].shape


# What is refused


@pytest.fixture
def cleaned(tmp_path: Path) -> Callable[..., tuple[Any, Paths]]:
    """cleaned(task, kind, changes): parameters and paths, with clean rows."""

    def get(task: str, kind: str, changes: dict[str, dict[str, Any]]) -> tuple[Any, Paths]:
        params, paths = params_of(tmp_path, task, kind, changes), started(tmp_path)
        ingest(params, paths)
        clean(params, paths)
        return params, paths

    return get


def test_targets_without_room_are_counted_by_split_before_anything_is_written(
    cleaned: Callable[..., tuple[Any, Paths]],
):
    sizes = {"tokenizer": "trained", "vocabulary_size": 320, "max_tokens": 48, "max_target_tokens": 6}
    params, paths = cleaned("text2text_generation", "gpt2", {"tokenize": sizes})
    with pytest.raises(
        ValueError, match=r"more than 6 tokens, their end included: \d+ of train, .*the longest has \d+"
    ):
        tokenize(params, paths)
    assert not paths.tokens.exists()


def test_a_model_from_scratch_wants_a_trained_tokenizer(cleaned: Callable[..., tuple[Any, Paths]]):
    sizes = {"tokenizer": "pretrained", "max_tokens": 48, "max_target_tokens": 24}
    params, paths = cleaned("text2text_generation", "t5", {"tokenize": sizes})
    with pytest.raises(ValueError, match=r"tokenize.tokenizer is 'pretrained'. Allowed with model.name 'scratch'"):
        tokenize(params, paths)


def test_a_prefix_stands_in_front_of_each_source(cleaned: Callable[..., tuple[Any, Paths]]):
    sizes = {"tokenizer": "trained", "vocabulary_size": 320, "max_tokens": 48, "max_target_tokens": 24}
    params, paths = cleaned("text2text_generation", "gpt2", {"tokenize": {**sizes, "prefix": "to German: "}})
    tokenize(params, paths)
    row = read_tokens(paths.tokens / "test")[0]
    tokenizer = literal(Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json")))
    assert tokenizer.decode(row["input_ids"].tolist()).startswith("to German: ")


def test_copies_with_hidden_tokens_are_refused_before_anything_runs(ran: Paths):
    task, kind = describe(ran.model("teacher"))["task"], {"decoder": "gpt2", "encoder_decoder": "t5"}
    family = describe(ran.model("teacher"))["family"]
    params = params_of(ran.root, task, kind[family], {"cache_logits": {"augmented_copies": 1}})
    said = f"augmented_copies is 1. Allowed for task '{task}', whose models write: 0"
    assert any(said in fault for fault in faults_of_task(params))
