"""Pruning: importance, cutting heads, neurons and tokens, and what is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import REPOSITORY
from test_models import IDS, MASK, assert_transformers_opens, build
from test_tokenize import ROWS as CLEAN_ROWS
from test_tokenize import params as tokenize_params
from test_tokenize import write_clean
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from stages.compression.refusals import faults_of_folder, refuse_unprunable
from stages.compression.structured import cut, cut_layers, importance, most_important
from stages.compression.vocabulary import cut_tokenizer, tokens_to_keep, with_vocabulary
from stages.core.contracts import Units
from stages.core.lacks import LACKS_OF_KINDS
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.finetune import finetune
from stages.models.encoder import FAMILY
from stages.prune import renumbered
from stages.tasks.text_classification.encoding import ENCODING
from stages.tokenize import tokenize
from stages.training.batches import first_batches
from stages.training.rows import TokenRows, TrainingData

ROWS = TokenRows(["a", "b", "c"], np.zeros(3), np.array([0, 5, 8, 10]), np.array([2, 50, 51, 52, 3, 2, 53, 3, 2, 3]))

UNPRUNED = {"vocabulary": "all", "feed_forward_kept": 1.0}

TEXTS = ("the ship is near the harbour", "Every old oven, slowly!", "zebra 42", "x")


class Line(nn.Module):
    """Two layers; the loss is the sum of what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(1, 4), nn.Linear(4, 1)
        self.up.weight.data = torch.tensor([[1.0], [2.0], [0.0], [-3.0]])
        self.up.bias.data = torch.zeros(4)
        self.down.weight.data = torch.tensor([[1.0, -2.0, 5.0, 1.0]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x)).sum()

    @property
    def units(self) -> Units:
        return Units((self.up,), self.down, 1)


def test_the_importance_of_a_neuron_is_what_the_loss_changes_without_it() -> None:
    model = Line()
    batch = torch.tensor([[[1.0], [1.0]], [[2.0], [-1.0]]])  # two examples of two tokens
    [scores] = importance([model.units], [batch], model)
    # activation * weight, summed over an example's tokens: (1 + 1) * (1, -4, 0, -3) and (2 - 1) * the same
    assert scores.tolist() == pytest.approx([1.5, 6.0, 0.0, 4.5])


def test_the_importance_of_a_head_is_that_of_its_activations_together() -> None:
    model = Line()
    heads = Units((model.up,), model.down, 2)
    [scores] = importance([heads], [torch.tensor([[[1.0]]])], model)
    assert scores.tolist() == pytest.approx([3.0, 3.0])  # |1 - 4|, |0 - 3|


def test_a_layer_that_is_run_twice_has_the_activations_of_both_runs() -> None:
    model = Line()
    [once] = importance([model.units], [torch.tensor([[[1.0]]])], model)
    [twice] = importance([model.units], [torch.tensor([[[1.0]]])], lambda batch: model(batch) + model(3 * batch))
    assert once.tolist() == pytest.approx([1.0, 4.0, 0.0, 3.0])
    assert twice.tolist() == pytest.approx([4.0, 16.0, 0.0, 12.0])


def test_of_a_matrix_with_all_units_in_each_of_its_blocks_the_same_are_cut_from_each() -> None:
    up, down = nn.Linear(1, 8), nn.Linear(4, 1)
    told: list[int] = []
    up.weight.data = torch.arange(8.0)[:, None]
    cut(Units((up,), down, 2, blocks=2, resized=told.append), np.array([1]))
    assert up.weight.ravel().tolist() == [2.0, 3.0, 6.0, 7.0]
    assert (up.out_features, down.in_features, told) == (4, 2, [1])


@pytest.mark.parametrize(
    ("share", "multiple", "kept"),
    [(0.5, 1, [1, 3]), (0.25, 1, [1]), (0.01, 1, [1]), (0.5, 3, [0, 1, 3]), (1.0, 32, [0, 1, 2, 3])],
)
def test_the_most_important_units_are_kept_in_their_order(share: float, multiple: int, kept: list[int]) -> None:
    scores = np.array([1.5, 6.0, 0.0, 4.5])
    assert most_important(scores, share, multiple=multiple).tolist() == kept


def test_without_neurons_that_do_nothing_a_model_says_the_same() -> None:
    model = Line()
    before = model(torch.tensor([[[1.0]]])).item()
    cut(model.units, np.array([0, 1, 3]))
    assert model(torch.tensor([[[1.0]]])).item() == pytest.approx(before)
    assert (model.up.out_features, model.down.in_features) == (3, 3)
    assert model.down.weight.tolist() == [[1.0, -2.0, 1.0]]


@pytest.mark.parametrize("kind", ["albert", "bert", "distilbert", "roberta"])
def test_heads_without_output_can_be_cut_and_nothing_changes(
    tiny_models: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    model = build(tiny_models(kind))
    with torch.inference_mode():
        for units in FAMILY.units(model)["heads"]:
            units.consumer.weight[:, 8:16] = 0  # the second of four heads of 8
        before = model(IDS, MASK)
        for units in FAMILY.units(model)["heads"]:
            assert len(units) == 4
            cut(units, np.array([0, 2, 3]))
        assert torch.allclose(model(IDS, MASK), before, atol=1e-6)
    FAMILY.write(model, tmp_path)
    with torch.inference_mode():
        assert torch.allclose(FAMILY.open(tmp_path)(IDS, MASK), before, atol=1e-6)


def test_a_narrower_feed_forward_part_opens_in_transformers(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    model = build(tiny_models("bert"))
    for units in FAMILY.units(model)["feed_forward"]:
        cut(units, np.arange(32))
    FAMILY.write(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["intermediate_size"] == 32
    assert_transformers_opens(tmp_path, model)


@pytest.mark.parametrize(
    ("kind", "purpose", "part"),
    [("mpnet", "pruned", "units"), ("mpnet", "compared", "taps"), ("albert", "compared", "taps")],
)
def test_what_a_kind_lacks_is_said_with_what_to_set(
    tiny_models: Callable[[str], Path], kind: str, purpose: str, part: str
) -> None:
    assert {"units": "units", "taps": "vectors"}[part] in LACKS_OF_KINDS[kind]
    with pytest.raises(ValueError, match=f"layers of a {kind} model cannot be {purpose}.* Allowed for it: "):
        getattr(FAMILY, part)(build(tiny_models(kind)))


@pytest.mark.parametrize(
    ("model_type", "tokenizer_type", "pruned", "said"),
    [
        ("albert", "Unigram", {}, []),
        ("bert", "WordLevel", {}, ["the tokenizer's type is WordLevel. Allowed for it: all."]),
        ("roberta", "BPE", {}, []),
        ("mpnet", "WordPiece", {"heads_kept": 0.5}, [
            "of the kind mpnet, whose layers cannot be taken apart so."
            " Set prune.heads_kept: 1.0, prune.feed_forward_kept: 1.0.",
        ]),
        ("mpnet", "WordPiece", {"feed_forward_kept": 1.0}, []),
    ],
)  # fmt: skip
def test_a_look_at_a_models_folder_says_what_of_it_cannot_be_pruned(
    tmp_path: Path, model_type: str, tokenizer_type: str, pruned: dict[str, Any], said: list[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": tokenizer_type, "unk_id": 0}}))
    whole = load_params(REPOSITORY / "params.yaml")
    params = whole.model_copy(update={"prune": whole.prune.model_copy(update=pruned)})
    found = list(faults_of_folder(tmp_path, params))
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True)), found
    assert list(faults_of_folder(tmp_path / "elsewhere", params)) == []


@pytest.mark.parametrize(
    ("pruned", "cached", "distilled", "said"),
    [
        ({"vocabulary": "all", "heads_kept": 0.5}, {}, {}, "layers of a mpnet model cannot be pruned"),
        (UNPRUNED, {"vectors": ["hidden"]}, {}, "cannot be compared layer by layer"),
        (UNPRUNED, {}, {"hidden_size": 16}, "layers of a mpnet model cannot be made narrower"),
        (UNPRUNED, {}, {"teacher_layers": [0, 5]}, r"teacher_layers has 5\. Allowed: 0 to 2, as the teacher has 3"),
    ],
)
def test_what_cannot_be_pruned_stops_finetune_before_it_trains(
    tiny_models: Callable[[str], Path],
    tmp_path: Path,
    pruned: dict[str, Any],
    cached: dict[str, Any],
    distilled: dict[str, Any],
    said: str,
) -> None:
    paths = write_clean(tmp_path / "project", CLEAN_ROWS)
    params = tokenize_params(tiny_models("mpnet"))
    changes = {
        "prune": params.prune.model_copy(update=pruned), "cache_logits": params.cache_logits.model_copy(update=cached),
        "distill": params.distill.model_copy(update=distilled),
    }  # fmt: skip
    params = params.model_copy(update=changes)
    tokenize(params, paths)
    with pytest.raises(ValueError, match=said):
        finetune(params, paths)
    assert not paths.step_log("teacher").exists()


@pytest.mark.parametrize(
    ("about", "layers", "said"),
    [
        ({"model_type": "bert", "num_hidden_layers": 4}, [0, 4], "teacher_layers has 4. Allowed: 0 to 3"),
        ({"model_type": "distilbert", "n_layers": 6}, [0, 5], None),
        ({"model_type": "modernbert", "num_hidden_layers": 22}, [1, 2], "Allowed: 0, and others behind it"),
        ({"model_type": "modernbert", "num_hidden_layers": 22}, [0, 3, 6], None),
    ],
)
def test_layers_that_the_teacher_does_not_have_are_told_before_it_is_trained(
    tmp_path: Path, about: dict[str, Any], layers: list[int], said: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(about))
    whole = load_params(REPOSITORY / "params.yaml")
    params = whole.model_copy(update={"distill": whole.distill.model_copy(update={"teacher_layers": layers})})
    found = list(faults_of_folder(tmp_path, params))
    assert [said is not None and said in line for line in found] == ([True] if said else [])


def test_what_albert_has_not_as_its_layers_are_one_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "albert"}))
    whole = load_params(REPOSITORY / "params.yaml")
    changes = {"freeze_layers": 2, "activation_checkpointing": True}
    params = whole.model_copy(update={"finetune": whole.finetune.model_copy(update=changes)})
    [line] = faults_of_folder(tmp_path, params)
    assert line.endswith("Set finetune.freeze_layers: 0, finetune.activation_checkpointing: false.")


def test_a_vocabulary_that_cannot_be_cut_stops_it_too(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel"}}))
    params = load_params(REPOSITORY / "params.yaml")
    with pytest.raises(ValueError, match=r"prune\.vocabulary is corpus, and the tokenizer's type is WordLevel"):
        refuse_unprunable(params, tmp_path / "tokenizer.json", units=dict, taps=list, readers=list)


@pytest.fixture
def tokenizer(tiny_models: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads((tiny_models("bert") / "tokenizer.json").read_text())


def tokens(tokenizer: dict[str, Any], text: str) -> list[str]:
    return Tokenizer.from_str(json.dumps(tokenizer)).encode(text).tokens


def ids(tokenizer: dict[str, Any], text: str) -> list[int]:
    return Tokenizer.from_str(json.dumps(tokenizer)).encode(text).ids


def test_texts_of_kept_tokens_are_written_as_before_and_others_in_smaller_pieces(tokenizer: dict[str, Any]) -> None:
    used = ids(tokenizer, "the ship")
    cut_one = with_vocabulary(tokenizer, tokens_to_keep(tokenizer, used, common=0))
    assert tokens(cut_one, "the ship") == ["[CLS]", "the", "ship", "[SEP]"]
    assert tokens(tokenizer, "oven") == ["[CLS]", "oven", "[SEP]"]
    assert tokens(cut_one, "oven") == ["[CLS]", "o", "##v", "##e", "##n", "[SEP]"]
    assert len(cut_one["model"]["vocab"]) < len(tokenizer["model"]["vocab"])


def test_what_had_tokens_never_becomes_unknown(tokenizer: dict[str, Any]) -> None:
    cut_one = with_vocabulary(tokenizer, tokens_to_keep(tokenizer, [], common=0))
    for text in TEXTS:
        assert ("[UNK]" in tokens(cut_one, text)) == ("[UNK]" in tokens(tokenizer, text)), text


def test_a_piece_that_alone_has_a_character_stays(tokenizer: dict[str, Any]) -> None:
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["##über"] = len(vocabulary)
    kept = tokens_to_keep(tokenizer, [], common=0)
    assert vocabulary["##über"] in kept


def test_common_words_are_those_of_the_lowest_numbers_and_places_left_free_are_none() -> None:
    words = ["[PAD]", "[UNK]", "[unused0]", "a", "##a", "aa", "aaa", "##aa"]
    tokenizer = {
        "added_tokens": [{"id": 0, "content": "[PAD]"}, {"id": 1, "content": "[UNK]"}],
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "vocab": {word: number for number, word in enumerate(words)}},
    }  # fmt: skip
    assert tokens_to_keep(tokenizer, [], common=1) == [0, 1, 3, 4, 5]


def test_special_tokens_are_renumbered_wherever_they_stand(tokenizer: dict[str, Any]) -> None:
    cut_one = with_vocabulary(tokenizer, [1, 2, 3, 0, 50])
    assert ids(cut_one, "") == [1, 2]  # [CLS] and [SEP], once 2 and 3
    assert {token["content"]: token["id"] for token in cut_one["added_tokens"]}["[PAD]"] == 3


def test_with_a_cut_tokenizer_texts_are_cut_at_their_end_as_runners_cut_them(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    """Whatever side the settings beside tokenizer.json name: the training rows were cut there too."""
    whole = tmp_path / "whole"
    PreTrainedTokenizerFast.from_pretrained(tiny_models("bert"), truncation_side="left").save_pretrained(whole)
    shutil.copytree(whole, tmp_path / "cut")
    kept = cut_tokenizer(whole / "tokenizer.json", tmp_path / "cut/tokenizer.json", [0], common=100)
    paths = Paths(tmp_path)
    paths.clean.parent.mkdir(parents=True)
    row = {"row_id": ["v"], "text": ["zebra ship oven"], "label": ["a"], "split": ["validation"]}
    pq.write_table(pa.table(row), paths.clean)
    given = TokenRows(["v"], np.array([0]), np.array([0, 3]), np.array([2, kept[-1], 3]))
    data = TrainingData(train=given, validation=given, space={"labels": ["a"]}, pad_id=0, max_tokens=4)
    found = renumbered(data, tmp_path / "cut/tokenizer.json", kept, paths, ENCODING).validation[0]["input_ids"]
    fast = PreTrainedTokenizerFast.from_pretrained(tmp_path / "cut")
    assert fast.convert_ids_to_tokens(found.tolist()) == ["[CLS]", "zebra", "ship", "[SEP]"]


def test_units_of_a_kind_at_share_one_stay_and_the_counts_of_the_others_are_told(
    tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WINNOW_PROGRESS", "1")
    model = build(tiny_models("bert"))
    batches = first_batches(ROWS, count=2, batch_size=1, pad_id=0)
    assert [batch["input_ids"].tolist() for batch in batches] == [[[2, 50, 51, 52, 3]], [[2, 53, 3]]]
    counts = cut_layers(
        model, FAMILY.units, {"heads": 0.5, "feed_forward": 1.0}, batches,
        lambda batch: model(batch["input_ids"], batch["attention_mask"]).sum(),
    )  # fmt: skip
    assert counts == {"heads": [[4, 2]] * 3}
    assert {len(units) for units in FAMILY.units(model)["feed_forward"]} == {64}
    assert "importance: " in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["bert", "distilbert", "albert", "roberta"])
def test_a_model_with_fewer_tokens_and_positions_says_the_same_of_them(
    tiny_models: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    model = build(tiny_models(kind))
    kept = [0, 2, 3, 50, 51, 52, 53]
    renumbered = torch.tensor([[kept.index(int(token)) for token in row] for row in IDS])
    smaller = FAMILY.cut_vocabulary(model, kept, 16)
    assert not smaller.training
    with torch.inference_mode():
        assert torch.allclose(smaller(renumbered, MASK), model(IDS, MASK), atol=1e-6)
    assert smaller.encoder.get_input_embeddings().weight.shape[0] == 7
    FAMILY.write(smaller, tmp_path)
    with torch.inference_mode():
        assert torch.allclose(FAMILY.open(tmp_path)(renumbered, MASK), model(IDS, MASK), atol=1e-6)
