"""Pairs of texts: read, cleaned, tokenized, learned, quantized and asked, and what single texts get in their place."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import warm_python
from conftest import REPOSITORY, TOPICS
from safetensors.torch import load_file
from source_fixtures import read, settings
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from flows.cli.commands import main
from stages.backends import runners
from stages.backends.batching import model_inputs, open_reader
from stages.backends.onnxruntime_int8 import exported, graph
from stages.backends.onnxruntime_int8.quantizer import prepare
from stages.clean import clean
from stages.cleaning.keys import PAIR_SEPARATOR
from stages.cleaning.tables import QUARANTINE
from stages.core import model_folder
from stages.core.contracts import Head, Outputs, RawRow, Runner, Text
from stages.core.files import read_json
from stages.core.params.clean import CleanParams
from stages.core.params.file import load_params
from stages.core.params.model import ModelParams
from stages.core.paths import Paths
from stages.ingest import PAIRS_SCHEMA, SCHEMA
from stages.measures import fairness, robustness, slices
from stages.measures.opened import Opened
from stages.models.encoder import FAMILY
from stages.tasks.contract import Judged
from stages.tasks.text_classification.answers import ANSWERS
from stages.tasks.text_classification.data import DATA
from stages.tasks.text_classification.encoding import ENCODING
from stages.tasks.text_classification.measures import MEASURES
from stages.tokens.encoded import encoded
from stages.training.batches import collate
from stages.training.rows import TokenRows, read_tokens
from stages.validation.profiles import profile
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")
SEA, KITCHEN = (" ".join(TOPICS[name][:4]) for name in ("sea", "kitchen"))
PAIRS = [(SEA, KITCHEN), (KITCHEN, SEA), ("ship", "bread oven"), ("owl moss bear path leaf river", "storm")]


# Reading


def test_each_format_brings_both_texts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,other,label\none,two,x\nthree,,y\n")
    (tmp_path / "a.jsonl").write_text(
        '{"label": "x", "other": "two", "text": "one"}\n{"label": "y", "other": null, "text": "three"}\n'
    )
    for name, places in (("a.csv", (2, 3)), ("a.jsonl", (1, 2))):
        assert read(tmp_path / name, columns={"text_pair": "other"}, keep_columns=["label"]) == [
            RawRow("one", "x", f"{name}:{places[0]}", kept='{"label": "x"}', text_pair="two"),
            RawRow("three", "y", f"{name}:{places[1]}", kept='{"label": "y"}', text_pair=None),
        ]


def test_a_dataset_of_the_hub_brings_both_texts(tmp_path: Path) -> None:
    from stages.sources import hub

    (tmp_path / "train.csv").write_text("text,other,label\none,two,x\n")
    found = list(hub.read(settings(tmp_path, columns={"text_pair": "other"}), 0))
    assert found == [RawRow("one", "x", "train:1", text_pair="two")]


def test_a_column_that_is_not_there_is_named_with_its_parameter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,other,label\none,two,x\n")
    with pytest.raises(ValueError, match=r"no column 'others' \(ingest\.columns\.text_pair\)\. .* mean 'other'\?"):
        read(tmp_path / "a.csv", columns={"text_pair": "others"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"columns": {"text_pair": "text"}}, "columns.text_pair is 'text', as columns.text is"),
        ({"columns": {"text_pair": "b"}, "source": "docstrings"}, "Allowed for the source docstrings: null"),
    ],
)
def test_what_makes_no_pairs_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(tmp_path, **changes)


def test_single_texts_have_no_further_column() -> None:
    assert SCHEMA.names == ["row_id", "text", "label", "origin", "split", "group", "kept"]
    assert PAIRS_SCHEMA.names == [*SCHEMA.names, "text_pair"]


# Cleaning


def cleaned(
    folder: Path, rows: list[tuple[Any, ...]], *, task: str = "text_classification", **changes: object
) -> tuple[pd.DataFrame, dict, dict[str, str]]:
    """Run the stage on (text, text_pair, label[, split]) rows, row-00, ...: kept, report, reasons of the dropped."""
    values = PARAMS.clean.model_dump() | {"min_chars": 4} | changes
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True)
    raw = [
        {"row_id": f"row-{at:02}", "text": row[0], "text_pair": row[1], "label": row[2], "origin": f"made:{at}",
         "split": row[3] if len(row) > 3 else None, "group": row[4] if len(row) > 4 else None, "kept": None}
        for at, row in enumerate(rows)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(raw, PAIRS_SCHEMA), paths.raw)
    pq.write_table(pa.table({"origin": pa.array([], pa.large_string())}), paths.unreadable)
    of_task = PARAMS.task.model_copy(update={"name": task})
    clean(PARAMS.model_copy(update={"clean": CleanParams.model_validate(values), "task": of_task}), paths)
    dropped = pd.read_parquet(paths.quarantine)
    assert dropped.columns.tolist() == [*QUARANTINE, "text_pair"]
    reasons = dict(zip(dropped["row_id"], dropped["reason"], strict=True))
    return pd.read_parquet(paths.clean), json.loads(paths.cleaning_report.read_text()), reasons


@pytest.mark.parametrize(
    ("task", "others", "labels"),
    [
        ("question_answering", ("<p>{}</p>", "{}\r\n", "In short: {}"), ("[]", "[]")),
        ("sentence_similarity", ("{}!", "{}\r\n"), ("0.5", "0.25")),
    ],
)
def test_rows_of_one_passage_are_in_one_split_however_it_is_written(
    tmp_path: Path, task: str, others: tuple[str, ...], labels: tuple[str, str]
) -> None:
    passages = [f"{' '.join(words)} of the {at}." for at, words in enumerate(itertools.permutations(TOPICS["sea"], 6))]
    rows = [
        (form.format(passage), f"Which word is number {number} of {at}?", labels[number % 2], f"{at}")
        for at, passage in enumerate(passages[:: len(passages) // 40][:40])
        for number, form in enumerate(("{}", *others))
    ]
    kept, _, _ = cleaned(tmp_path, [row[:3] for row in rows], task=task)
    passage_of = {f"row-{number:02}": row[3] for number, row in enumerate(rows)}
    of_passages = kept.groupby(kept["row_id"].map(passage_of))
    assert (of_passages["split"].nunique() == 1).all()
    assert (of_passages["group"].nunique() == 1).all()
    assert kept["group"].nunique() == 40


def test_rows_set_aside_or_without_a_label_change_no_group_of_the_others(tmp_path: Path) -> None:
    passages = [f"{' '.join(words)} of the {at}." for at, words in enumerate(itertools.permutations(TOPICS["sea"], 6))]
    some = passages[:: len(passages) // 30][:30]
    rows = [(text, f"Which word is it of {at}?", "[]", None, f"of {at}") for at, text in enumerate(some)]
    marked = [(f"<b>{text}</b>", f"And which of {at}?") for at, text in enumerate(some)]
    aside = [(*row, "[]", "held_out", f"before {at}") for at, row in enumerate(marked[:20])]
    without = [(*row, None, None, f"before {at}") for at, row in enumerate(marked[20:])]
    changes = {"task": "question_answering", "unlabelled": "transfer"}
    alone, _, _ = cleaned(tmp_path / "alone", rows, **changes)
    beside, _, dropped = cleaned(tmp_path / "beside", [*rows, *aside, *without], **changes)
    columns = ["row_id", "split", "group"]
    assert beside[beside["split"] != "transfer"][columns].to_numpy().tolist() == alone[columns].to_numpy().tolist()
    assert {dropped.get(f"row-{at}") for at in range(30, 50)} == {"leaked_group"}


def test_a_passage_that_is_set_aside_joins_no_two_others(tmp_path: Path) -> None:
    one = "The captain of the old ship counted every barrel, rope and lantern on deck before the harbour bell rang."
    between = one.replace("lantern", "candle")
    rows = [(one, "Who counted?", "[]"), (between.replace("captain", "sailor"), "What?", "[]"), (SEA, "Which?", "[]")]
    added = (between, "When?", "[]")
    together, _, _ = cleaned(tmp_path / "with", [*rows, added], task="question_answering")
    apart, _, dropped = cleaned(tmp_path / "aside", [*rows, (*added, "held_out")], task="question_answering")
    assert (together["group"].nunique(), apart["group"].nunique()) == (2, 3)
    assert dropped == {"row-03": "leaked_group"}


def test_a_training_passage_that_is_nearly_one_of_a_given_test_is_told_and_dropped(tmp_path: Path) -> None:
    rows = [
        (A, "Who walks?", "[]", "test"),
        (NEARLY_A, "Where is it?", "[]", "train"),
        (SEA, "What is it?", "[]", "train"),
    ]
    _, _, reasons = cleaned(tmp_path, rows, task="question_answering")
    assert reasons == {"row-01": "leaked_group"}


A = "A man in a red coat walks his two large dogs along the frozen river bank."
NEARLY_A = "A man in a red coat walks his two large dogs along the frozen river banks."
B = "Somebody is outdoors with a couple of animals on a cold winter afternoon."
NEARLY_B = "Somebody is outdoors with a couple of animals on a cold winter afternoons."
C = "The woman reads a thick newspaper in a crowded underground train at night."


def test_rules_faults_and_limits_are_those_of_both_texts(tmp_path: Path) -> None:
    rows = [
        ("<b>first</b>  text", "second &amp; text", "a"),
        ("a text", None, "a"),
        (None, "a text", "a"),
        ("a text", " \u200b ", "a"),
        ("a text", "abc", "a"),
        ("word " * 5, "other " * 5, "a"),
        ("short text", "a p\u0430ypal word", "a"),
    ]
    kept, report, reasons = cleaned(tmp_path, rows, max_chars=14)
    assert reasons == {"row-01": "missing_text", "row-02": "missing_text", "row-03": "empty", "row-04": "too_short"}
    assert sorted(zip(kept["text"], kept["text_pair"], strict=True)) == [
        ("first text", "second & text"), ("short text", "a p\u0430ypal word"),
        ("word word word", "other other"),
    ]  # fmt: skip
    assert report["cut"] == 1
    assert report["flagged"]["look_alike_letters"]["examples"] == ["row-06"]
    assert report["chars"]["p50"] == 23  # of 10 + 13, 14 + 11 and 10 + 13 together


def test_a_pair_is_another_pairs_duplicate_where_both_texts_are_in_their_places(tmp_path: Path) -> None:
    rows = [(A, B, "a"), (A.upper(), B, "a"), (A, C, "a"), (C, B, "a"), (B, A, "a"), (f"{A} {B}", C, "a")]
    _, _, reasons = cleaned(tmp_path, rows)
    assert reasons == {"row-01": "exact_duplicate"}


def test_pairs_are_nearly_the_same_where_both_texts_are(tmp_path: Path) -> None:
    rows = [
        (A, B, "a"),
        (NEARLY_A, NEARLY_B, "a"),
        (NEARLY_A, C, "a"),
        (C, B, "a"),
        (NEARLY_A, B, "a"),
        (C, NEARLY_A, "a"),
    ]
    _, _, reasons = cleaned(tmp_path, rows)
    assert reasons == {"row-01": "near_duplicate", "row-04": "near_duplicate"}


def test_labels_disagree_where_they_are_of_the_same_pair(tmp_path: Path) -> None:
    rows = [(A, B, "a"), (A, B.lower(), "b"), (A, C, "a"), (B, A, "b"), (C, B, "a")]
    _, report, reasons = cleaned(tmp_path, rows)
    assert reasons == {"row-00": "conflicting_label", "row-01": "conflicting_label"}
    (shown,) = report["conflicting_texts"]["examples"]
    assert (shown["text"].count(PAIR_SEPARATOR), shown["labels"]) == (0, {"a": 1, "b": 1})


@pytest.mark.parametrize("given", ["test", "validation"])
def test_what_repeats_a_pair_of_a_given_split_either_way_round_does_not_stay_in_training(
    tmp_path: Path, given: str
) -> None:
    rows = [
        (A, B, "a", given),
        (B, A, "a", "train"),
        (NEARLY_B, A, "a", "train"),
        (B, NEARLY_A, "b", "train"),  # of another label, and so no leak
        (A, C, "a", "train"),
        (C, A, "a", "train"),
    ]
    kept, _, reasons = cleaned(tmp_path, rows)
    assert reasons == {"row-01": "leaked", "row-02": "leaked"}
    assert len(kept) == 4


def test_pairs_the_other_way_round_are_drawn_into_one_split(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    texts = ["".join(chr(97 + letter) for letter in draw.integers(0, 26, 30)) for _ in range(80)]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    kept, _, _ = cleaned(tmp_path, [(one, other, "a") for a, b in pairs for one, other in ((a, b), (b, a))])
    assert len(kept) == 80
    split = dict(zip(zip(kept["text"], kept["text_pair"], strict=True), kept["split"], strict=True))
    assert all(split[a, b] == split[b, a] for a, b in pairs)
    assert set(split.values()) == {"train", "validation", "test"}


# Tokens


def tokenizer_of(tiny: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny)


def as_tokens(columns: dict[str, Any], tokenizer: PreTrainedTokenizerFast, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"task": ENCODING, "space": {"labels": ["a"]}, "max_tokens": 8, **changes}
    rows = {"row_id": [str(at) for at in range(len(columns["text"]))], **columns}
    return encoded(rows, tokenizer=tokenizer.backend_tokenizer, **options)


def test_tokens_types_and_cuts_are_those_of_transformers(tiny_models: Callable[[str], Path]) -> None:
    tokenizer = tokenizer_of(tiny_models("bert"))
    first, second = zip(*PAIRS, strict=True)
    expected = tokenizer(
        list(first), list(second), truncation="longest_first", max_length=8, return_token_type_ids=True
    )
    columns = {"text": first, "text_pair": second, "label": ["a"] * len(PAIRS)}
    found = as_tokens(columns, tokenizer)
    assert found["input_ids"] == expected["input_ids"]
    assert found["boundary"] == [types.index(1) for types in expected["token_type_ids"]]
    assert found["full_length"] == [11, 11, 6, 10]
    examples = [{"input_ids": ids, "target": 0, "boundary": at} for ids, at in
                zip(found["input_ids"], found["boundary"], strict=True)]  # fmt: skip
    padded = tokenizer.pad(expected, padding="longest", return_tensors="pt")
    batch = collate(examples, pad_id=0)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], padded[name])


def test_rows_keep_their_boundaries_when_renumbered_and_copied() -> None:
    tokens = np.array([2, 5, 3, 6, 3, 2, 7, 3, 8, 9, 3], dtype=np.int32)
    rows = TokenRows(["a", "b"], np.array([0, 1]), np.array([0, 5, 11]), tokens, np.array([3, 3]))
    assert rows.renumbered([2, 3, 5, 6, 7, 8, 9])[1]["boundary"] == 3
    copies = TokenRows(["a", "b"], rows.targets, rows.offsets, tokens, np.array([3, 4])).and_unlabelled(
        np.concatenate([tokens[:5], tokens[:5], tokens[5:], tokens[5:]]), np.array([5, 5, 6, 6])
    )
    assert [copies[at]["boundary"] for at in range(6)] == [3, 4, 3, 3, 4, 4]


# Models and backends


def make_model(tiny: Path, folder: Path) -> Path:
    """A random model of pairs whose head is so steep that pairs get clearly different answers."""
    named: dict[str, Any] = {"family": "encoder", "name": str(tiny), "revision": None, "sha256": None}
    torch.manual_seed(1)
    model: Any = FAMILY.build(
        tiny,
        ModelParams(
            **named,
            pooling="cls",
            encoder_dropout=0.0,
            head_dropout=0.0,
            scratch=None,
            image=None,
            image_augmentation=0.0,
        ),
        Head("row", 3),
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1 and "embeddings" not in name:
                weights.mul_(8)
    FAMILY.write(model, folder)
    shutil.copyfile(tiny / "tokenizer.json", folder / "tokenizer.json")
    seal(folder, backend="pytorch")
    return folder


def seal(folder: Path, **more: Any) -> None:
    described = {"family": "encoder", "max_tokens": 12, "pad_id": 0, "temperature": 1.0, "pairs": True}
    model_folder.seal(folder, task="text_classification", space={"labels": ["a", "b", "c"]}, **{**described, **more})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Path:
    return make_model(tiny_models("bert"), tmp_path_factory.mktemp("models") / "pairs")


def quantized(model: Path, folder: Path, *, exact: bool = False) -> Path:
    folder.mkdir(parents=True)
    made = prepare(model, PARAMS.quantize, PAIRS * 4)
    made.write(folder, made.matrices if exact else ())
    shutil.copyfile(model / "tokenizer.json", folder / "tokenizer.json")
    seal(folder, backend="onnxruntime_int8")
    return folder


def by_transformers(model: Path, tiny: Path, pair: tuple[str, str], **changes: Any) -> np.ndarray:
    """Probabilities (3,) of transformers' own encoder with these weights, and a linear layer on its first token."""
    weights = load_file(model / "model.safetensors")
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(model), attn_implementation="eager").eval()
    encoder.load_state_dict(
        {name.removeprefix("encoder."): w for name, w in weights.items() if "head" not in name}, strict=False
    )
    inputs = tokenizer_of(tiny)(
        *pair, truncation="longest_first", max_length=12, return_tensors="pt", return_token_type_ids=True
    )
    with torch.no_grad():
        first_H = encoder(**{**inputs, **changes}).last_hidden_state[0, 0]
        return torch.softmax(weights["head.weight"] @ first_H + weights["head.bias"], -1).numpy()


def test_answers_are_those_of_transformers_with_its_token_types(
    model: Path, tiny_models: Callable[[str], Path]
) -> None:
    answers = runners.open_runner(model, threads=1).predict(PAIRS).values
    for pair, answer in zip(PAIRS, answers, strict=True):
        np.testing.assert_allclose(answer, by_transformers(model, tiny_models("bert"), pair), atol=1e-5)
    untyped = by_transformers(
        model, tiny_models("bert"), PAIRS[0], token_type_ids=torch.zeros(1, 11, dtype=torch.int64)
    )
    assert np.abs(untyped - answers[0]).max() > 0.01
    assert np.abs(answers[0] - answers[1]).max() > 0.01  # the same texts, swapped


def test_the_written_graph_in_float32_is_the_model(model: Path, tmp_path: Path) -> None:
    exact = runners.open_runner(model, threads=1).predict(PAIRS).values
    written = runners.open_runner(quantized(model, tmp_path / "exact", exact=True), threads=1)
    np.testing.assert_allclose(written.predict(PAIRS).values, exact, atol=1e-4)
    np.testing.assert_allclose(written.predict(PAIRS[:1]).values, exact[:1], atol=1e-4)


def test_int8_is_far_nearer_to_the_model_than_the_model_without_types(
    model: Path, tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    exact = runners.open_runner(model, threads=1).predict(PAIRS).values
    int8 = runners.open_runner(quantized(model, tmp_path / "int8"), threads=1).predict(PAIRS).values
    untyped = by_transformers(
        model, tiny_models("bert"), PAIRS[0], token_type_ids=torch.zeros(1, 11, dtype=torch.int64)
    )
    assert np.abs(int8 - exact).max() < 0.25 * np.abs(untyped - exact[0]).max()


def test_single_texts_get_a_graph_without_types(model: Path) -> None:
    config = read_json(model / "config.json")
    weights = {name: tensor.numpy() for name, tensor in load_file(model / "model.safetensors").items()}
    exact = graph.Precision(graph.matrices(config), None, per_channel=True)
    inputs = {pairs: [one.name for one in graph.build(weights, config, exact, max_tokens=12, pairs=pairs).graph.input]
              for pairs in (False, True)}  # fmt: skip
    assert inputs == {False: ["input_ids", "attention_mask"], True: ["input_ids", "attention_mask", "token_type_ids"]}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["written", "exported"])
@pytest.mark.parametrize("kind", ["albert", "distilbert"])
def test_a_graph_takes_types_where_the_model_does(
    tmp_path: Path, tiny_models: Callable[[str], Path], kind: str, way: str
) -> None:
    source, folder = make_model(tiny_models(kind), tmp_path / "model"), tmp_path / "exact"
    texts = PAIRS * 4
    made = prepare(source, PARAMS.quantize, texts) if way == "written" else exported.prepare(source, PARAMS.quantize)
    folder.mkdir()
    made.write(folder, made.matrices)
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    seal(folder, backend="onnxruntime_int8")
    operators = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    assert not operators & {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention"}
    exact = runners.open_runner(source, threads=1).predict(PAIRS).values
    np.testing.assert_allclose(runners.open_runner(folder, threads=1).predict(PAIRS).values, exact, atol=1e-5)


@pytest.mark.slow
def test_openvino_takes_types(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    from stages.backends.openvino_int8.quantizer import prepare as prepare_openvino

    made = prepare_openvino(model, PARAMS.quantize, PAIRS)
    made.write(tmp_path, made.matrices)
    shutil.copyfile(model / "tokenizer.json", tmp_path / "tokenizer.json")
    seal(tmp_path, backend="openvino_int8")
    exact = runners.open_runner(model, threads=1).predict(PAIRS).values
    np.testing.assert_allclose(runners.open_runner(tmp_path, threads=1).predict(PAIRS).values, exact, atol=0.02)


def test_any_pair_gets_probabilities(model: Path) -> None:
    runner = runners.open_runner(model, threads=1)
    odd: list[Text] = [("", ""), ("\ud800", "ship"), ("ship " * 200_000, "owl"), ("owl", "a" * 1_000_000)]
    answers = runner.predict(odd).values
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)
    assert runner.predict([]).values.shape == (0, 3)


def test_the_inputs_of_a_batch_are_in_the_order_of_the_model(model: Path) -> None:
    encodings = open_reader(model, {"max_tokens": 12}).read([("ship", "owl")]).encodings
    ids, mask, types = (array.tolist() for array in model_inputs(encodings, are_pairs=True))
    assert (len(ids[0]), mask, types) == (5, [[1] * 5], [[0, 0, 0, 1, 1]])


def test_lengths_and_words_of_the_data_are_those_of_both_texts() -> None:
    pairs = pd.DataFrame({"text": ["ab", "cd"], "text_pair": ["ef ab", "gh"], "label": ["x", "y"]})
    found = profile(pairs, DATA)
    assert found["common_words"] == ["ab", "cd", "ef", "gh"]
    assert found["chars"]["p95"] == pytest.approx(5 + 0.95 * 3)  # of 5 and 8 characters
    assert profile(pairs.drop(columns="text_pair"), DATA)["common_words"] == ["ab", "cd"]


# Asking


@pytest.mark.parametrize("asked", [["ship"], [("ship", "owl"), "ship"], [("a", "b", "c")], [("a", None)]])
def test_a_model_of_pairs_refuses_what_is_none(model: Path, asked: list[Any]) -> None:
    with pytest.raises(
        ValueError, match=rf"text number {len(asked)} is .*trained on pairs of texts: give \(text, text_pair\)"
    ):
        load(model, threads=1)(asked)


def test_a_model_of_single_texts_refuses_pairs(model: Path, tmp_path: Path) -> None:
    single = shutil.copytree(model, tmp_path / "single")
    seal(single, backend="pytorch", pairs=False)
    with pytest.raises(ValueError, match=r"text number 1 is a pair\. The model was trained on single texts"):
        load(single, threads=1)([("ship", "owl")])


def test_lists_of_two_are_pairs(model: Path) -> None:
    classify = load(model, threads=1)
    assert classify([["ship", "owl"]]) == classify([("ship", "owl")])


# Measures


def answers_to(texts: list[Text], predict: Callable[..., np.ndarray]) -> tuple[Judged, Opened]:
    runner = Runner("text_classification", {"labels": ["a", "b"]}, lambda asked: Outputs(predict(asked)))
    model = Opened(runner, ANSWERS, MEASURES)
    truths = ["a"] * len(texts)
    units = [str(number) for number in range(len(texts))]
    return model.judge(texts, truths, units=units, seed=1, columns={"label": truths}), model


def test_both_texts_are_perturbed_and_swapped_and_lengths_are_sums() -> None:
    asked: list[Text] = []

    def predict(texts: list[Text]) -> np.ndarray:
        asked.extend(texts)
        return np.tile(np.array([[0.75, 0.25]], dtype=np.float32), (len(texts), 1))

    answers = answers_to([("He said so", "to his king"), ("ab", "cd" * 9), ("abcdefgh", "i")], predict)
    params = PARAMS.evaluate
    measured = robustness.measure(*answers, params)["robustness"]
    assert measured["upper_case"]["rows"] == 3
    assert ("HE SAID SO", "TO HIS KING") in asked
    assert fairness.swap_rates(*answers, params.identity_swaps, 10, confidence=0.95)["rows"] == 1
    assert asked[-1] == ("She said so", "to her queen")
    assert slices.values_of(answers[0], "length").tolist() == ["long", "middle", "short"]  # 21, 20, 9


# From end to end


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """What all stages made of a corpus whose labels are those of the second text (tests/pairs_run.py)."""
    root = tmp_path_factory.mktemp("pairs")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/pairs_run.py"), str(root)],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Paths(root)


def test_a_row_without_its_second_text_is_dropped_and_the_others_reach_the_tokens(ran: Paths) -> None:
    report = read_json(ran.cleaning_report)
    assert (report["read"], report["kept"], report["dropped_by_reason"]["missing_text"]) == (161, 160, 1)
    rows = read_tokens(ran.tokens / "train")
    assert rows.boundaries is not None
    assert rows.boundaries.dtype == np.int32
    assert (rows[0]["boundary"], len(rows[0]["input_ids"])) == (6, 11)  # [CLS], 4 words, [SEP]; 4 words, [SEP]


@pytest.mark.parametrize("name", ["baseline", "static", "probe", "teacher", "student", "pruned", "quantized"])
def test_every_model_says_that_it_is_of_pairs(ran: Paths, name: str) -> None:
    assert model_folder.wants_pairs(model_folder.describe(ran.model(name)))


@pytest.mark.parametrize("name", ["baseline", "static", "teacher"])
def test_models_learn_which_text_is_the_second(ran: Paths, name: str) -> None:
    said = load(ran.model(name), threads=1)([(SEA, KITCHEN), (KITCHEN, SEA)])
    assert [answer.label for answer in said] == ["kitchen", "sea"]


def test_int8_answers_as_the_model_that_it_was_made_of(ran: Paths) -> None:
    test = pd.read_parquet(ran.clean).query("split == 'test'")
    pairs = list(zip(test["text"], test["text_pair"], strict=True))
    pruned, int8 = (load(ran.model(name), threads=1) for name in ("pruned", "quantized"))
    assert np.mean([a.label == b.label for a, b in zip(pruned(pairs), int8(pairs), strict=True)]) > 0.8
    assert read_json(ran.quality("quantized"))["rows"] == len(pairs)
    assert "`token_type_ids`" in (ran.model("quantized") / "README.md").read_text()


def predict(folder: Path, *arguments: str) -> int:
    """The exit code of `winnow predict`; what it prints is captured."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", "--model", str(folder), "--threads", "1", *arguments])
    return int(ended.value.code or 0)


def test_the_command_answers_pairs_from_its_arguments_and_from_a_file(
    ran: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(ran.model("baseline"), "--json", SEA, KITCHEN, "--pair", KITCHEN, "--pair", SEA) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["text"], line["text_pair"], line["label"]) for line in lines] == [
        (SEA, KITCHEN, "kitchen"), (KITCHEN, SEA, "sea"),
    ]  # fmt: skip
    (tmp_path / "pairs.txt").write_text(f"{SEA}\t{KITCHEN}\nthree\n")
    (tmp_path / "pairs.csv").write_text(f"first,second\n{SEA},{KITCHEN}\n{SEA},\n")
    columns = ["--text-column", "first", "--text-pair-column", "second"]
    for file, options, parts in (("pairs.txt", [], ("", "")), ("pairs.csv", columns, (SEA, ""))):
        assert predict(ran.model("baseline"), "--file", str(tmp_path / file), *options) == 0
        said = capsys.readouterr()
        first, second = (line.split("\t") for line in said.out.splitlines())
        assert (first[0], first[2:], second) == ("kitchen", [SEA, KITCHEN], ["null", "null", *parts])
        assert said.err.startswith("winnow: 1 of 2 rows have no answer: 1 ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["some text"], "text number 1 is a single text. The model was trained on pairs of texts"),
        (["a", "b", "--pair", "c"], "1 --pair for 2 TEXT"),
        (["--file", "lines"], "lines, line 1: 0 tabs, expected two texts and a tab between."),
        (["--file", "pairs.tsv"], "pairs.tsv: no column 'text' (--text-column). Found: one, two."),
    ],
)
def test_the_command_says_what_a_pair_lacks(
    ran: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("lines").write_text("three\nfour\n")
    Path("pairs.tsv").write_text("one\ttwo\n")
    assert predict(ran.model("baseline"), *arguments) != 0
    assert said in capsys.readouterr().err
