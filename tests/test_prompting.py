"""Prompts to a language model: what they hold, exact likelihoods, calibration, and the two commands."""

from __future__ import annotations

import itertools
import json
import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import REPOSITORY, TOPICS, edit_params, run
from labelling_fixtures import UNLABELLED, write_project
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from flows.experiments import prompting
from stages.core.contracts import RawRow, Text
from stages.core.files import read_json, sha256, write_json
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.programs.prompted import opened, refuse_task
from stages.prompting.asking import Asker, calibrated
from stages.prompting.demonstrations import Demonstration, Demonstrations
from stages.prompting.likelihoods import Tree, log_likelihoods
from stages.prompting.prompts import Continued, Prompt, Reader, filled
from stages.prompting.values import PromptValues, load_values, words_of
from stages.sources import files
from stages.tasks.text_classification.measures import MEASURES
from stages.tokens.literal import literal

END = "<|end|>"
VALUES: dict[str, Any] = {
    "model": {"name": "./tiny", "revision": None, "sha256": None}, "instruction": "Tell the topic.",
    "template": "Text: {text}\nTopic: {label}", "separator": "\n\n", "verbalizers": {"sea": "the open sea"},
    "demonstrations": 2, "content_free": ["N/A", "", "[MASK]"], "length_normalized": False, "max_tokens": 150,
    "batch_size": 3, "min_probability": 0.0,
}  # fmt: skip
WORDS = ["kitchen", "the open sea"]
ROWS = [
    Demonstration("bread in the oven", "kitchen"), Demonstration("waves and a ship", "the open sea"),
    Demonstration("butter on bread", "kitchen"), Demonstration("a harbour with a ship", "the open sea"),
]  # fmt: skip


def write_decoder(folder: Path, kind: str) -> Path:
    """A tiny random model that writes, with a tokenizer of its kind: of bytes, or with blanks as a part of words."""
    tokenizer = Tokenizer(BPE(unk_token=None if kind == "gpt2" else END))
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        tokenizer.pre_tokenizer, alphabet = pre_tokenizers.Metaspace(), [*string.printable, "▁"]
    texts = [*(" ".join(words) for words in TOPICS.values()), *("Text: Topic: the open sea kitchen",) * 3]
    trainer = BpeTrainer(vocab_size=400, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, model_max_length=200
    ).save_pretrained(folder)
    size: dict[str, Any] = {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(4)
    model: Any = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**size, n_positions=200, n_embd=32, n_layer=2, n_head=4)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(
            **size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=64, max_position_embeddings=200,
        )),
    }[kind]()  # fmt: skip
    for weight in model.parameters():  # so that it is sure of something
        weight.data += 0.1 * torch.randn_like(weight)
    model.eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def decoders_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """decoders_of(kind): the folder of a tiny model, made once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_decoder(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def gpt2(decoders_of: Callable[[str], Path]) -> Path:
    return decoders_of("gpt2")


def values_of(**changes: Any) -> PromptValues:
    return PromptValues(**VALUES | changes)


def tokenizer_of(folder: Path) -> Tokenizer:
    return literal(Tokenizer.from_file(str(folder / "tokenizer.json")))


def reader_of(folder: Path, words: Sequence[str] = WORDS, **changes: Any) -> Reader:
    return Reader(values_of(**changes), words, tokenizer_of(folder), 0)


def language_of(folder: Path) -> Any:
    """transformers' own model."""
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()


def text_of(ids: Sequence[int], folder: Path) -> str:
    return tokenizer_of(folder).decode(list(ids)[1:])


def plain(language: Any, ids: Sequence[int], start: int) -> float:
    """The log-likelihood of the tokens from `start` on, by a forward pass of this sequence alone."""
    with torch.inference_mode():
        logs_TV = language(torch.tensor([list(ids)])).logits[0].double().log_softmax(-1)
    return sum(float(logs_TV[place - 1, ids[place]]) for place in range(start, len(ids)))


def nearest(texts: Sequence[Text], count: int, rows: Sequence[Demonstration] = ROWS) -> list[list[int]]:
    return Demonstrations(rows).nearest(texts, count)


# Likelihoods


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_likelihood_of_each_label_is_that_of_a_plain_forward_pass(
    kind: str, decoders_of: Callable[[str], Path]
) -> None:
    folder = decoders_of(kind)
    language, reader = language_of(folder), reader_of(folder)
    prompts = [reader.read(text, near, ROWS) for text, near in (("a loaf", [0, 2]), ("the sea, and a long one", []))]
    asked = [[prompt.asked, *prompt.content_free] for prompt in prompts]
    found = log_likelihoods(language, asked)
    for row, own in zip(asked, found, strict=True):
        for one, logs_C in zip(row, own, strict=True):
            assert logs_C == pytest.approx([plain(language, ids, one.start) for ids in one.ids_C], abs=1e-4)


def test_what_is_shared_is_read_once_and_gives_what_each_gives_alone(gpt2: Path) -> None:
    language, prompt = language_of(gpt2), reader_of(gpt2).read("a loaf", [0, 2, 1], ROWS)
    every = [prompt.asked, *prompt.content_free]
    together = log_likelihoods(language, [every])[0]
    alone = [
        [float(log_likelihoods(language, [[Continued([ids], one.start)]])[0][0][0]) for ids in one.ids_C]
        for one in every
    ]
    assert np.stack(together) == pytest.approx(np.array(alone), abs=1e-4)
    tree = Tree()
    for one in every:
        for ids in one.ids_C:
            tree.add(ids)
    assert len(tree.tokens) < 1.6 * len(prompt.asked.ids_C[0])


def test_a_tree_sees_the_way_to_its_root_and_nothing_else() -> None:
    tree = Tree()
    assert [tree.add([5, 6, 7]), tree.add([5, 8]), tree.add([5, 6, 9])] == [[0, 1, 2], [0, 3], [0, 1, 4]]
    assert tree.places == [0, 1, 2, 1, 2]
    assert [np.flatnonzero(row).tolist() for row in tree.seen()] == [[0], [0, 1], [0, 1, 2], [0, 3], [0, 1, 4]]


def asker_of(folder: Path, **changes: Any) -> Asker:
    return Asker(
        language_of(folder), reader_of(folder, **changes), Demonstrations(ROWS), values_of(**changes), str.lower
    )


@pytest.mark.parametrize("is_normalized", [False, True])
def test_probabilities_are_those_of_the_formula_by_hand(gpt2: Path, *, is_normalized: bool) -> None:
    language = language_of(gpt2)

    def shares(text: str) -> list[float]:
        shown = "Text: butter on bread\nTopic: kitchen\n\nText: bread in the oven\nTopic: kitchen"
        before = f"Tell the topic.\n\n{shown}\n\n"
        scores = []
        for words in WORDS:
            ids = [0, *tokenizer_of(gpt2).encode(f"{before}Text: {text}\nTopic: {words}").ids]
            start = 1 + len(tokenizer_of(gpt2).encode(f"{before}Text: {text}\nTopic:").ids)
            scores.append(math.exp(plain(language, ids, start) / (len(ids) - start if is_normalized else 1)))
        return [score / sum(scores) for score in scores]

    own, nothing = shares("bread in the oven!"), np.mean([shares(text) for text in ("N/A", "", "[MASK]")], axis=0)
    expected = [one / other for one, other in zip(own, nothing, strict=True)]
    outputs = asker_of(gpt2, length_normalized=is_normalized).predict(["Bread in the oven!"])
    assert outputs.values[0] == pytest.approx([one / sum(expected) for one in expected], abs=1e-4)
    assert outputs.values.dtype == np.float32
    uncalibrated = asker_of(gpt2, length_normalized=is_normalized, content_free=[]).predict(["Bread in the oven!"])
    assert uncalibrated.values[0] == pytest.approx(own, abs=1e-4)


def test_calibration_divides_by_the_mean_of_what_says_nothing() -> None:
    found = calibrated(np.array([0.6, 0.4]), np.array([[0.8, 0.2], [0.7, 0.3]]))
    assert found == pytest.approx([0.8 / 2.4, 1.6 / 2.4])


@pytest.mark.parametrize("count", [0, 2])
def test_a_batch_of_any_size_gives_the_same_answers(gpt2: Path, count: int) -> None:
    texts = ["a loaf", "waves", "bread in a harbour", "a loaf", "the ship and butter", "x" * 30, "waves"]
    alone, together = (asker_of(gpt2, batch_size=size, demonstrations=count).predict(texts) for size in (1, 4))
    assert together.values == pytest.approx(alone.values, abs=1e-5)
    assert together.values.sum(1) == pytest.approx(np.ones(7), abs=1e-6)
    assert len({tuple(row) for row in alone.values.round(5).tolist()}) == 5


# Prompts


def test_a_prompt_has_instruction_demonstrations_with_the_nearest_last_and_the_text(gpt2: Path) -> None:
    prompt = reader_of(gpt2).read("a loaf {label}", [3, 0], ROWS)
    before = (
        "Tell the topic.\n\nText: bread in the oven\nTopic: kitchen\n\nText: a harbour with a ship\nTopic: the open sea"
    )
    expected = [f"{before}\n\nText: a loaf {{label}}\nTopic: {words}" for words in WORDS]
    assert [text_of(ids, gpt2) for ids in prompt.asked.ids_C] == expected
    assert [text_of(one.ids_C[0], gpt2) for one in prompt.content_free] == [
        f"{before}\n\nText: {text}\nTopic: kitchen" for text in ("N/A", "", "[MASK]")
    ]
    assert text_of(prompt.asked.ids_C[0][: prompt.asked.start], gpt2).endswith("Topic:"), "a blank goes with the label"
    assert prompt.shown == (3, 0)


def test_without_an_instruction_a_prompt_begins_with_what_is_shown(gpt2: Path) -> None:
    prompt = reader_of(gpt2, instruction="").read("a loaf", [], ROWS)
    assert text_of(prompt.asked.ids_C[0], gpt2) == "Text: a loaf\nTopic: kitchen"


def longest(prompt: Prompt) -> int:
    return max(len(ids) for one in (prompt.asked, *prompt.content_free) for ids in one.ids_C)


def test_the_farthest_demonstrations_are_left_out_whole_where_there_is_no_room(gpt2: Path) -> None:
    lengths = [longest(reader_of(gpt2).read("a loaf", [0, 1, 3][:count], ROWS)) for count in range(4)]
    for count in range(4):
        for spare in (0, 1):
            most = lengths[count] + spare
            prompt = reader_of(gpt2, max_tokens=most).read("a loaf", [0, 1, 3], ROWS)
            assert (prompt.shown, prompt.is_cut) == ((0, 1, 3)[:count], False)
            assert longest(prompt) <= most


@pytest.mark.parametrize("text", ["a loaf of bread and butter " * 20, "🙂" * 60])
def test_a_text_loses_its_end_where_it_has_no_room_alone(gpt2: Path, text: str) -> None:
    prompt = reader_of(gpt2, max_tokens=70).read(text, [0], ROWS)
    assert (prompt.shown, prompt.is_cut) == ((), True)
    assert longest(prompt) <= 70
    asked = text_of(prompt.asked.ids_C[0], gpt2).removeprefix("Tell the topic.\n\nText: ").partition("\n")[0]
    assert len(asked) > 3
    assert text.startswith(asked)


def test_of_a_pair_the_longer_text_loses_its_end(gpt2: Path) -> None:
    template = "One: {text}\nOther: {text_pair}\nTopic: {label}"
    prompt = reader_of(gpt2, max_tokens=80, template=template, instruction="").read(("a loaf", "butter " * 40), [], ())
    text = text_of(prompt.asked.ids_C[0], gpt2)
    assert text.startswith("One: a loaf\nOther: butter butter")
    assert text_of(prompt.content_free[0].ids_C[0], gpt2) == "One: N/A\nOther: N/A\nTopic: kitchen"


def test_a_prompt_without_room_for_any_text_is_refused(gpt2: Path) -> None:
    with pytest.raises(ValueError, match=r"max_tokens is 12\. Allowed: more than \d+, which the instruction"):
        reader_of(gpt2, max_tokens=12).read("a loaf", [], ROWS)


def test_words_that_the_tokenizer_does_not_tell_apart_are_refused(gpt2: Path) -> None:
    with pytest.raises(ValueError, match="'kitchen' and 'kitchen' are the same tokens"):
        reader_of(gpt2, ["kitchen", "kitchen"])
    with pytest.raises(ValueError, match="'' is no token"):
        reader_of(gpt2, ["kitchen", ""])


def test_slots_in_texts_are_text() -> None:
    assert filled("{text} and {text_pair}: {label}", ("{label}", "{text}"), "{x}") == "{label} and {text}: {x}"


# Demonstrations


def test_demonstrations_are_the_rows_that_share_most_with_the_text() -> None:
    assert nearest(["a ship with waves"], 4) == [[1, 3, 0, 2]]
    assert nearest(["butter"], 1) == [[2]]
    assert nearest(["nothing alike", "zebra"], 2) == [[0, 1], [0, 1]], "of equally near rows the first"
    assert nearest(["butter"], 0) == [[]]
    assert [len(one) for one in nearest(["butter"], 9)] == [4]


def test_a_row_with_the_very_text_that_is_asked_is_no_demonstration() -> None:
    for number, row in enumerate(ROWS):
        assert sorted(nearest([row.text], 4)[0]) == [other for other in range(4) if other != number]


def test_pairs_are_compared_by_both_texts() -> None:
    rows = [Demonstration(("a ship", "bread"), "same"), Demonstration(("a ship", "waves"), "other")]
    assert nearest([("the ship", "the waves")], 2, rows) == [[1, 0]]


# Values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "Text: {text} Topic:"}, "template: it is .Text.* Allowed: {label} once, at its end"),
        ({"template": "{text} {label} is it."}, "{label} once, at its end"),
        ({"template": "{label} {text} {label}"}, "{label} once, at its end"),
        ({"template": "Topic: {label}"}, "Allowed: {text} once"),
        ({"template": "{text} {words} {label}"}, "the slot {words}. Allowed: {text}, {text_pair}, {label}"),
        ({"verbalizers": {"sea": " sea"}}, "the words for 'sea' are ' sea'. Allowed: words without blanks"),
        ({"verbalizers": {"sea": ""}}, "verbalizers.sea is ''. Allowed: a text of at least 1 characters"),
        ({"demonstrations": -1}, "demonstrations is -1. Allowed: 0 or more"),
        ({"length_normalized": "yes"}, "length_normalized is 'yes'. Allowed: true or false"),
        ({"shots": 4}, "shots is not a parameter. Allowed here: model, instruction, template"),
        ({"model": {"name": "x; rm", "revision": None, "sha256": None}}, "model.name is 'x; rm'"),
        (
            {"model": {"name": "scratch", "revision": None, "sha256": None}},
            "model.name: it is 'scratch'.* Allowed: a folder",
        ),
        ({"min_probability": 1.5}, "min_probability is 1.5. Allowed: 1.0 or less"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(tmp_path: Path, changes: Mapping[str, Any], message: str) -> None:
    path = tmp_path / "prompt.yaml"
    path.write_text(yaml.safe_dump(VALUES | changes))
    with pytest.raises(ValueError, match=re.sub(r"([{}])", r"\\\1", message)) as raised:
        load_values(path)
    assert str(raised.value).startswith("prompt.yaml: ")
    assert len(str(raised.value).splitlines()) == 1


def test_no_value_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "prompt.yaml"
    for name in VALUES:
        path.write_text(yaml.safe_dump({key: value for key, value in VALUES.items() if key != name}))
        with pytest.raises(ValueError, match=rf"^prompt.yaml: {name} is missing. It has no default"):
            load_values(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"- 1", "found .* expected lines"), (b"a: \xff", "not UTF-8"), (b"a: [", "not YAML")]
)
def test_a_file_that_holds_no_values_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "prompt.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_values(tmp_path / "prompt.yaml")
    with pytest.raises(FileNotFoundError, match=r"docs/few-labels\.md shows one whole"):
        load_values(tmp_path / "another.yaml")


def test_the_values_that_the_manual_shows_are_right(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/few-labels.md").read_text(encoding="utf-8")
    [block] = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "verbalizers:" in block]
    (tmp_path / "prompt.yaml").write_text(block)
    assert load_values(tmp_path / "prompt.yaml").template == "Review: {text}\nSentiment: {label}"


def test_a_label_without_words_is_read_by_its_name() -> None:
    assert words_of(["card_arrival", "sea"], values_of(), "p") == ["card arrival", "the open sea"]
    with pytest.raises(ValueError, match=r"^p: verbalizers has 'sea', a label that no training row has\. Allowed: a\."):
        words_of(["a"], values_of(), "p")
    with pytest.raises(ValueError, match=r"^p: verbalizers: the labels 'a_b' and 'c' have the same words, 'a b'\."):
        words_of(["a_b", "c"], values_of(verbalizers={"c": "a b"}), "p")


# Projects


def training() -> list[tuple[str, str]]:
    return [(f"{word} and {other}", label) for label in ("kitchen", "sea") for word, other in pairs(TOPICS[label])]


def pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(words))


def write_prompted_project(root: Path, folder: Path, **changes: Any) -> Paths:
    """A project with training, validation and test rows, rows without a label, and prompt.yaml."""
    paths = write_project(root, training())
    rows = pd.read_parquet(paths.clean)
    kinds = {"validation": "near the {}", "test": "far from the {}"}
    asked = [
        {"row_id": f"{split}{label}{at}", "text": text.format(word), "label": label, "origin": f"{split}.csv:{at}",
         "split": split, "group": f"{split}{label}{at}", "kept": None}
        for split, text in kinds.items() for label in ("kitchen", "sea") for at, word in enumerate(TOPICS[label][:6])
    ]  # fmt: skip
    pd.concat([rows, pd.DataFrame(asked)]).to_parquet(paths.clean)
    edit_params(root, evaluate__resamples=200)
    own = {"name": str(folder), "revision": None, "sha256": sha256(folder / "model.safetensors")}
    (root / "prompt.yaml").write_text(yaml.safe_dump(VALUES | {"model": own} | changes))
    return paths


def opened_in(root: Path, folder: Path, **changes: Any) -> Any:
    paths = write_prompted_project(root, folder, **changes)
    return opened(load_params(paths.params), paths, load_values(root / "prompt.yaml"), "prompt.yaml")


def test_demonstrations_are_training_rows_alone(tmp_path: Path, gpt2: Path) -> None:
    _, asker = opened_in(tmp_path / "p", gpt2)
    words = {"kitchen": "kitchen", "sea": "the open sea"}
    assert asker._demonstrations.rows == [Demonstration(text, words[label]) for text, label in training()]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_model_that_a_project_asks_is_transformers_own(
    tmp_path: Path, kind: str, decoders_of: Callable[[str], Path]
) -> None:
    folder = decoders_of(kind)
    model, asker = opened_in(tmp_path / "p", folder)
    rows = asker._demonstrations
    reader = Reader(values_of(), WORDS, tokenizer_of(folder), 0)
    own = Asker(language_of(folder), reader, rows, values_of()).predict(["a loaf of bread", "the ship"])
    assert model.runner.predict(["a loaf of bread", "the ship"]).values == pytest.approx(own.values, abs=1e-5)
    assert model.runner.space == {"labels": ["kitchen", "sea"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_tokens": 201}, r"^prompt\.yaml: max_tokens is 201\. Allowed: 200 or less"),
        ({"template": "{text} {text_pair} {label}"}, r"^prompt\.yaml: template is .*: one without {text_pair}"),
        ({"verbalizers": {"forest": "trees"}}, r"^prompt\.yaml: verbalizers has 'forest'"),
    ],
)
def test_values_that_do_not_go_with_the_project_are_refused(
    tmp_path: Path, gpt2: Path, changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opened_in(tmp_path / "p", gpt2, **changes)


def test_words_that_go_on_from_others_want_calibration_or_a_mean_per_token(gpt2: Path) -> None:
    """As nothing says where words end, they are likelier for no text at all."""
    words = ["the open sea", "the open sea and its ships"]
    alone = {"content_free": [], "length_normalized": False}
    with pytest.raises(ValueError, match="'the open sea and its ships' goes on from 'the open sea', and could never"):
        reader_of(gpt2, words, **alone)
    for changes in ({"content_free": ["N/A"]}, {"length_normalized": True}):
        reader_of(gpt2, words, **{**alone, **changes})


def test_only_models_judged_on_the_rows_of_now_stand_beside(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    figures = {"rows": 12, "accuracy": 0.5, "intervals": {"accuracy": {"low": 0.4, "high": 0.6}}}
    rows = "artifacts/data/clean.parquet"
    locked: dict[str, Any] = {"clean": {"outs": [{"path": rows, "md5": "now"}]}}
    for name, of in (("baseline", "before"), ("quantized", "now")):
        write_json(paths.quality(name), figures)
        locked[f"evaluate@{name}"] = {"deps": [{"path": "x", "md5": "now"}, {"path": rows, "md5": of}]}
    defined = {"clean": {"cmd": "a"}, "evaluate": {"foreach": ["baseline", "quantized"], "do": {"cmd": "b"}}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": defined}))
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    accuracy = [MEASURES.measure("accuracy")]
    of_test = prompting.shown(tmp_path, {**figures, "split": "test"}, accuracy)
    assert [line.partition("\t")[0] for line in of_test] == ["prompted", "quantized"]
    assert len(prompting.shown(tmp_path, {**figures, "split": "validation"}, accuracy)) == 1


@pytest.mark.parametrize(
    ("sha", "message"),
    [("0" * 64, r"^prompt\.yaml: model\.sha256 is '0+', but"), (None, r"^prompt\.yaml: model\.sha256 is null")],
)
def test_weights_that_are_not_those_that_are_named_are_refused(
    tmp_path: Path, gpt2: Path, sha: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opened_in(tmp_path / "p", gpt2, model={"name": str(gpt2), "revision": None, "sha256": sha})


def test_a_model_that_does_not_write_is_refused(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"^prompt\.yaml: model\.name is .* it is a bert model"):
        opened_in(tmp_path / "p", tiny_models("bert"))


def test_a_task_without_one_label_a_text_is_refused() -> None:
    refuse_task("text_classification")
    for task in ("multilabel_classification", "regression", "token_classification"):
        with pytest.raises(ValueError, match=rf"task\.name is '{task}'\. Allowed for prompts.*: text_classification\."):
            refuse_task(task)


def test_a_project_is_measured_and_its_rows_are_labelled_for_ingest(tmp_path: Path, gpt2: Path) -> None:
    root = tmp_path / "project"
    paths = write_prompted_project(root, gpt2)
    edit_params(root, ingest__keep_columns=["who"], ingest__split_column="part")
    pd.read_parquet(paths.raw).assign(kept='{"who": "p7"}').to_parquet(paths.raw)
    done = run(root, "winnow", "prompt", "measure", "--split", "test")
    found = read_json(root / "metrics/prompted/test.json")
    assert (found["rows"], found["split"], found["demonstrations"], found["cut"]) == (12, "test", 2.0, 0.0)
    assert found["intervals"]["accuracy"]["low"] <= found["accuracy"] <= found["intervals"]["accuracy"]["high"]
    assert found["prompt"]["model"]["name"] == gpt2.name, "no path of this machine"
    assert str(tmp_path) not in (root / "metrics/prompted/test.json").read_text()
    assert done.stdout.startswith(f"prompted\tmacro-F1 {found['macro_f1'] * 100:.1f}% (")

    out = root / "set/train/labelled.jsonl"
    out.parent.mkdir(parents=True)
    (root / "set/validation.csv").write_text("text,label,who,part\nby hand,sea,p1,validation\n")
    run(root, "winnow", "prompt", "label", "-o", str(out.relative_to(root)))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(row["text"] for row in rows) == sorted(UNLABELLED)
    for row in rows:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == max(row["probabilities"].values()) == row["probabilities"][row["label"]]
    params = load_params(paths.params).ingest.model_copy(update={"path": str(root / "set")})
    read = [row for row in files.read(params, 0) if isinstance(row, RawRow) and row.split == "train"]
    assert [(row.text, row.label) for row in read] == [(row["text"], row["label"]) for row in rows]
    assert {json.loads(row.kept or "{}")["who"] for row in read} == {"p7"}

    least = sorted(row["probability"] for row in rows)[6]
    values = yaml.safe_load((root / "prompt.yaml").read_text()) | {"min_probability": least}
    (root / "surer.yaml").write_text(yaml.safe_dump(values))
    (root / "more.csv").write_text("body,who\n" + "\n".join(f'"{row["text"]}",p2' for row in rows) + "\n")
    asked = ["label", "more.csv", "--text-column", "body", "--values", "surer.yaml"]
    run(root, "winnow", "prompt", *asked, "-o", "surer.jsonl")
    surer = [json.loads(line) for line in (root / "surer.jsonl").read_text().splitlines()]
    assert [row["text"] for row in surer] == [row["text"] for row in rows if row["probability"] >= least]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("measure", "prompt.yaml: no such file. docs/few-labels.md shows one whole"),
        ("label -o x.csv", "-o x.csv: labelled rows are written as lines of JSON"),
        ("label -o x.jsonl --text-column body", "--text-column and --text-pair-column are about a FILE."),
        ("label missing.csv -o x.jsonl", "there is no file missing.csv"),
    ],
)
def test_a_command_that_cannot_be_done_says_so_in_a_line(
    tmp_path: Path, gpt2: Path, arguments: str, message: str
) -> None:
    root = tmp_path / "project"
    write_prompted_project(root, gpt2)
    (root / "prompt.yaml").unlink()
    done = run(root, "winnow", "prompt", *arguments.split(), check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
