"""Each kind of encoder with a tokenizer of its own kind, from its folder to int8: two tasks, small random models."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TOPICS
from test_fast_tokenizers import fast
from test_models import model_params
from tokenizers import Tokenizer, processors
from transformers import CONFIG_MAPPING, AutoModel

from stages.backends import runners
from stages.backends.onnxruntime_int8 import quantizer
from stages.compression.refusals import faults_of_folder
from stages.compression.structured import cut_layers
from stages.compression.vocabulary import cut_tokenizer
from stages.core import model_folder, plugins
from stages.core.contracts import inputs_of
from stages.core.files import sha256
from stages.core.lacks import LACKS_OF_KINDS
from stages.core.params.file import Params, load_params
from stages.models.encoder import FAMILY
from stages.models.pretrained import faults_of_model, load_tokenizer
from stages.tasks import TASKS
from stages.tasks.shared.spans import Span, as_text
from stages.tokens.encoded import encoded
from stages.training.batches import by_row, first_batches
from stages.training.rows import TokenRows, rows_of

PARAMS = load_params(REPOSITORY / "params.yaml")
MAX_TOKENS, WIDTH = 40, 32
USUAL = {"hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 48}
ALIKE = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **USUAL}


class Kind(NamedTuple):
    """What is particular to a kind of model."""

    tokenizer: str
    config: dict[str, Any]
    written: bool = True
    """Whether its int8 graph is written from the weights; otherwise torch exports it."""


KINDS = {
    "bert": Kind("wordpiece", ALIKE),
    "distilbert": Kind(
        "wordpiece",
        {"dim": WIDTH, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 48, "dropout": 0.0,
         "attention_dropout": 0.0},
    ),
    "electra": Kind("wordpiece", {**ALIKE, "embedding_size": 16}),
    "albert": Kind("unigram", {**ALIKE, "embedding_size": 16}),
    "roberta": Kind("byte_level_bpe", {**ALIKE, "type_vocab_size": 1}),
    "xlm-roberta": Kind("unigram", {**ALIKE, "type_vocab_size": 1}),
    "deberta-v2": Kind(  # as DeBERTa-v3 has it
        "unigram",
        {**ALIKE, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"],
         "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0},
        written=False,
    ),
    "modernbert": Kind(
        "byte_level_bpe", {**USUAL, "local_attention": 8, "global_attn_every_n_layers": 2}, written=False
    ),
}  # fmt: skip


def sentences() -> list[tuple[str, str]]:
    """Sentences of a few words, and their topics."""
    draw = random.Random(3)
    filler = ["the", "a", "with", "near", "under", "some", "every", "old", "small", "slow"]
    found = []
    for _ in range(100):
        for topic, words in TOPICS.items():
            own = draw.sample(words, 3) + draw.sample(filler, 3)
            draw.shuffle(own)
            found.append((" ".join(own), topic))
    return found


def spans_of(text: str) -> str:
    """The words of the sea as spans."""
    starts = [(text.index(word), word) for word in text.split() if word in TOPICS["sea"]]
    return as_text(Span(start, start + len(word), "sea") for start, word in starts)


ROWS = sentences()
TEXTS = [text for text, _ in ROWS]
TARGETS = {"text_classification": [topic for _, topic in ROWS], "token_classification": list(map(spans_of, TEXTS))}


def folder_of(kind: str, folder: Path) -> Path:
    """A random model of the kind, with two layers and a tokenizer that has learned the sentences."""
    tokenizer = fast(KINDS[kind].tokenizer, TEXTS)
    if kind == "modernbert":
        around = {"single": "<s> $A </s>", "special_tokens": [("<s>", 0), ("</s>", 2)]}
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(**around)
    layers = "n_layers" if kind == "distilbert" else "num_hidden_layers"
    ends = {f"{name}_token_id": 0 for name in ("bos", "eos", "cls", "sep")}
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, layers: 2, **ends}
    torch.manual_seed(5)
    model = AutoModel.from_config(CONFIG_MAPPING[kind](**{**sizes, **KINDS[kind].config}))
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2) if weights.ndim > 1 else weights.add_(torch.randn_like(weights) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def params_of(folder: Path, **changes: Mapping[str, Any]) -> Params:
    sections = {
        "model": {"name": str(folder), "sha256": sha256(folder / "model.safetensors"), "revision": None},
        "tokenize": {"max_tokens": MAX_TOKENS}, "distill": {"teacher_layers": [0]}, **changes,
    }  # fmt: skip
    return PARAMS.model_copy(
        update={name: getattr(PARAMS, name).model_copy(update=dict(values)) for name, values in sections.items()}
    )


def rows_for(task: str, tokenizer: Tokenizer) -> tuple[TokenRows, dict[str, Any]]:
    encoding = plugins.part(TASKS, task, "encoding", key="task.name")
    space = encoding.space(TARGETS[task])
    columns = {"row_id": [str(number) for number in range(len(TEXTS))], "text": TEXTS, "label": TARGETS[task]}
    return rows_of(encoded(columns, task=encoding, tokenizer=tokenizer, space=space, max_tokens=MAX_TOKENS)), space


def trained(model: Any, batches: list[Any], loss: Callable[[Any], torch.Tensor], *, epochs: int = 2) -> list[float]:
    """Train the model; the mean loss of each epoch, the first of them before any step."""
    steps = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with torch.no_grad():
        found = [float(np.mean([loss(batch).item() for batch in batches]))]
    for _ in range(epochs):
        of_epoch = []
        for batch in batches:
            steps.zero_grad()
            now = loss(batch)
            now.backward()
            steps.step()
            of_epoch.append(now.item())
        found.append(float(np.mean(of_epoch)))
    return found


def sealed(folder: Path, tokenizer: Path, task: str, space: dict[str, Any], backend: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    about = {"family": "encoder", "max_tokens": MAX_TOKENS, "temperature": 1.0}
    model_folder.seal(folder, backend=backend, task=task, space=space, **about)
    return folder


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_opened_trained_distilled_pruned_and_answers_in_int8(kind: str, task: str, tmp_path: Path) -> None:
    folder = folder_of(kind, tmp_path / "pretrained")
    params = params_of(folder, prune={"heads_kept": 0.5, "feed_forward_kept": 0.5})
    assert [*faults_of_model(folder, params), *faults_of_folder(folder, params)] == []
    tokenizer = load_tokenizer(params.model)
    rows, space = rows_for(task, tokenizer.backend_tokenizer)
    batches = first_batches(rows, count=len(rows), pad_id=tokenizer.pad_token_id)
    learning = plugins.part(TASKS, task, "learning", key="task.name")

    def loss(model: Any, batch: Any) -> torch.Tensor:
        return learning.loss(by_row(model(*inputs_of(batch)), batch), batch["labels"])

    torch.manual_seed(1)
    teacher: Any = FAMILY.build(folder, model_params(folder), learning.head(space)).train()
    before, *_, after = trained(teacher, batches, lambda batch: loss(teacher, batch).mean(), epochs=3)
    assert after < 0.8 * before

    student: Any = FAMILY.student(teacher.eval(), [0]).train()
    with torch.no_grad():
        taught = {id(batch): teacher(*inputs_of(batch)) for batch in batches}

    def distilled(batch: Any) -> torch.Tensor:
        out = student(*inputs_of(batch))
        return learning.distilled(out, taught[id(batch)], batch["attention_mask"], temperature=2.0).mean()

    before, *_, after = trained(student, batches, distilled)
    assert after < before

    (tmp_path / "cut").mkdir()
    used = [tokenizer.pad_token_id, *rows.used_tokens()]
    kept = cut_tokenizer(folder / "tokenizer.json", tmp_path / "cut/tokenizer.json", used[: len(used) // 2], common=0)
    assert len(kept) < len(tokenizer)
    kept = cut_tokenizer(folder / "tokenizer.json", tmp_path / "cut/tokenizer.json", used, common=0)
    pruned: Any = FAMILY.cut_vocabulary(student, kept, MAX_TOKENS)
    smaller = first_batches(rows.renumbered(kept), count=len(rows), pad_id=kept.index(tokenizer.pad_token_id))
    with torch.no_grad():
        student.eval()
        first = [model(*inputs_of(of[0])) for model, of in ((student, batches), (pruned, smaller))]
        assert torch.allclose(*(out[:, :5] for out in first), atol=1e-5)
    counts = cut_layers(
        pruned, FAMILY.units, {"heads": 0.5, "feed_forward": 0.5}, smaller[:2], lambda batch: loss(pruned, batch).sum()
    )
    assert counts == {"heads": [[4, 2]], "feed_forward": [[64, 32]]}
    before, *_, after = trained(pruned.train(), smaller, lambda batch: loss(pruned, batch).mean())
    assert after < before

    source, int8 = tmp_path / "pruned", tmp_path / "int8"
    FAMILY.write(pruned.eval(), source)
    sealed(source, tmp_path / "cut/tokenizer.json", task, space, "pytorch")
    sealed(int8, tmp_path / "cut/tokenizer.json", task, space, "onnxruntime_int8")
    made = quantizer.prepare(source, params.quantize, TEXTS[:50])
    made.write(int8, ())
    sealed(int8, tmp_path / "cut/tokenizer.json", task, space, "onnxruntime_int8")
    assert made.activations == ("static" if KINDS[kind].written else "dynamic")
    exact, found = (runners.open_runner(one, threads=1).predict(TEXTS[:60]) for one in (source, int8))
    spread = float(np.ptp(exact.values, axis=0).max())
    assert spread > 0.3
    assert np.abs(found.values - exact.values).max() < 0.1 * spread
    assert np.abs(found.values - exact.values).mean() < 0.02 * spread
    if found.characters is not None:
        places = dict.fromkeys(map(tuple, found.characters[: found.offsets[1]].tolist()))
        assert "".join(TEXTS[0][start:end] for start, end in places) == TEXTS[0].replace(" ", "")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_cannot_is_one_line_in_check(kind: str, tmp_path: Path) -> None:
    about = {"model_type": kind, "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / "model.safetensors").touch()
    wanted: dict[str, dict[str, Any]] = {
        "units": {"prune": {"heads_kept": 0.5}},
        "vectors": {"cache_logits": {"vectors": ["values"]}},
        "width": {"distill": {"teacher_layers": [0], "hidden_size": 32}},
        "layers": {"finetune": {"freeze_layers": 1}},
        "activation_checkpointing": {"finetune": {"activation_checkpointing": True}},
        "first_layer": {"distill": {"teacher_layers": [1]}},
    }
    for what, changes in wanted.items():
        found = list(faults_of_folder(tmp_path, params_of(tmp_path, **changes)))
        assert len(found) == (what in LACKS_OF_KINDS.get(kind, ())), (what, found)
