"""Each kind of encoder with a tokenizer of its own kind, from its folder to int8: two tasks, small random models."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY, TOPICS, tiny_params
from safetensors.numpy import load_file
from test_fast_tokenizers import fast
from test_models import model_params
from test_tokenize import write_clean
from tokenizers import Tokenizer, models, processors
from transformers import CONFIG_MAPPING, AutoModel
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from stages.backends import runners
from stages.backends.onnxruntime_int8 import graph, quantizer
from stages.backends.onnxruntime_int8.biased import ranges_of_distances
from stages.backends.onnxruntime_int8.layouts import with_equal_constants_once
from stages.backends.onnxruntime_int8.relative import rows_of_distances
from stages.cache_logits import cache_logits
from stages.compression.refusals import faults_of_folder
from stages.compression.structured import cut_layers
from stages.compression.vocabulary import cut_tokenizer
from stages.core import model_folder, plugins
from stages.core.contracts import Head, Outputs, inputs_of
from stages.core.files import read_json, sha256
from stages.core.lacks import LACKS_OF_KINDS
from stages.core.params.file import Params, load_params
from stages.distill import distill
from stages.finetune import finetune
from stages.models.encoder import FAMILY
from stages.models.model_files import KINDS as ALLOWED
from stages.models.pretrained import faults_of_model, load_tokenizer
from stages.prune import prune
from stages.quantize import quantize
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.tasks.shared.spans import Span, as_text
from stages.tokenize import tokenize
from stages.tokens.encoded import encoded
from stages.training.batches import first_batches
from stages.training.rows import TokenRows, rows_of

PARAMS = load_params(REPOSITORY / "params.yaml")
MAX_TOKENS, WIDTH = 40, 32
USUAL = {"hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 48}
ALIKE = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **USUAL}


class Kind(NamedTuple):
    """What is particular to a kind of model."""

    tokenizer: str
    config: dict[str, Any]


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
    ),
    "modernbert": Kind("byte_level_bpe", {**USUAL, "local_attention": 4, "global_attn_every_n_layers": 2}),
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


def folder_of(kind: str, folder: Path, **changes: Any) -> Path:
    """A random model of the kind, with two layers and a tokenizer that has learned the sentences.

    `changes`: what of its configuration is other than usual.
    """
    known = KINDS.get(kind, Kind("wordpiece", ALIKE))
    tokenizer = fast(known.tokenizer, TEXTS)
    if kind == "modernbert":
        around = {"single": "<s> $A </s>", "special_tokens": [("<s>", 0), ("</s>", 2)]}
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(**around)
    layers = "n_layers" if kind == "distilbert" else "num_hidden_layers"
    ends = {f"{name}_token_id": 0 for name in ("bos", "eos", "cls", "sep")}
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, layers: 2, **ends}
    torch.manual_seed(5)
    model = AutoModel.from_config(CONFIG_MAPPING[kind](**{**sizes, **known.config, **changes}))
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(2) if weights.ndim > 1 else weights.add_(torch.randn_like(weights) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def params_of(folder: Path, **changes: Mapping[str, Any]) -> Params:
    sections: dict[str, Mapping[str, Any]] = {
        "model": {"name": str(folder), "sha256": sha256(folder / "model.safetensors"), "revision": None},
        "tokenize": {"max_tokens": MAX_TOKENS}, "distill": {"teacher_layers": [0]}, **changes,
    }  # fmt: skip
    return PARAMS.model_copy(
        update={name: getattr(PARAMS, name).model_copy(update=dict(values)) for name, values in sections.items()}
    )


class Project(NamedTuple):
    """A pretrained model, and rows of a task in its tokens."""

    kind: str
    task: str
    folder: Path
    params: Params
    space: dict[str, Any]
    learning: TaskLearning
    rows: TokenRows
    pad_id: int


def project(kind: str, task: str, folder: Path) -> Project:
    model = folder_of(kind, folder)
    params = params_of(model, prune={"heads_kept": 0.5, "feed_forward_kept": 0.5})
    assert [*faults_of_model(model, params), *faults_of_folder(model, params)] == []  # what `winnow check` asks
    tokenizer = load_tokenizer(params.model)
    encoding = plugins.part(TASKS, task, "encoding", key="task.name")
    space = encoding.space(TARGETS[task])
    columns = {"row_id": [str(number) for number in range(len(TEXTS))], "text": TEXTS, "label": TARGETS[task]}
    made = encoded(
        columns, task=encoding, tokenizer=tokenizer.backend_tokenizer, space=space, max_tokens=MAX_TOKENS
    )  # fmt: skip
    learning = plugins.part(TASKS, task, "learning", key="task.name")
    return Project(kind, task, model, params, space, learning, rows_of(made), tokenizer.pad_token_id)


def trained(model: Any, batches: list[Any], loss: Callable[[Any], torch.Tensor]) -> list[float]:
    """Train the model; the mean loss before, and that of each epoch."""
    steps = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
    with torch.no_grad():
        found = [float(np.mean([loss(batch).item() for batch in batches]))]
    for _ in range(3):
        of_epoch = []
        for batch in batches:
            steps.zero_grad()
            now = loss(batch)
            now.backward()
            steps.step()
            of_epoch.append(now.item())
        found.append(float(np.mean(of_epoch)))
    model.eval()
    return found


def taught(of: Project) -> Any:
    """A teacher that has learned something."""
    torch.manual_seed(1)
    teacher = FAMILY.build(of.folder, model_params(of.folder), of.learning.head(of.space))
    batches = first_batches(of.rows, count=len(of.rows), pad_id=of.pad_id)
    losses = trained(
        teacher, batches, lambda batch: of.learning.loss(teacher(*inputs_of(batch)), batch["labels"]).mean()
    )
    assert losses[-1] < 0.8 * losses[0]
    return teacher


def distilled(of: Project, teacher: Any) -> Any:
    """A student of the first layer that has come nearer to its teacher."""
    batches = first_batches(of.rows, count=len(of.rows), pad_id=of.pad_id)
    with torch.no_grad():
        answers = {id(batch): teacher(*inputs_of(batch)) for batch in batches}
    student = FAMILY.student(teacher, [0])

    def loss(batch: Any) -> torch.Tensor:
        out = student(*inputs_of(batch))
        return of.learning.distilled(out, answers[id(batch)], batch["attention_mask"], temperature=2.0).mean()

    losses = trained(student, batches, loss)
    assert losses[-1] < losses[0]
    return student


def pruned(of: Project, student: Any, tokenizer: Path) -> Any:
    """The student without tokens, heads and neurons; its tokenizer is written to `tokenizer`.

    Of the rows half the tokens are taken to be used, which must make the vocabulary smaller, and then all, which must
    change nothing.
    """
    used = [of.pad_id, *of.rows.used_tokens()]
    fewer, kept = (
        cut_tokenizer(of.folder / "tokenizer.json", tokenizer, some, common=0)
        for some in (used[: len(used) // 2], used)
    )
    assert len(fewer) < len(kept) <= max(used) + 1
    smaller = FAMILY.cut_vocabulary(student, kept, MAX_TOKENS)
    batches = first_batches(of.rows.renumbered(kept), count=len(of.rows), pad_id=kept.index(of.pad_id))
    before = first_batches(of.rows, count=32, pad_id=of.pad_id)[0]
    with torch.no_grad():
        real = before["attention_mask"].bool() if of.task == "token_classification" else slice(None)
        [whole, cut] = [model(*inputs_of(one))[real] for model, one in ((student, before), (smaller, batches[0]))]
        assert torch.allclose(whole, cut, atol=1e-5)

    def loss(batch: Any) -> torch.Tensor:
        return of.learning.loss(smaller(*inputs_of(batch)), batch["labels"])

    shares = {"heads": 0.5, "feed_forward": 0.5}
    counts = cut_layers(smaller, FAMILY.units, shares, batches[:2], lambda batch: loss(batch).sum())
    assert counts == {"heads": [[4, 2]], "feed_forward": [[64, 32]]}
    losses = trained(smaller, batches, lambda batch: loss(batch).mean())
    assert losses[-1] < losses[0]
    return smaller


def sealed(of: Project, folder: Path, tokenizer: Path, backend: str) -> None:
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    about = {"family": "encoder", "max_tokens": MAX_TOKENS, "temperature": 1.0}
    model_folder.seal(folder, backend=backend, task=of.task, space=of.space, **about)


def answered(
    of: Project, model: Any, tokenizer: Path, folder: Path, *, activations: str = "static"
) -> tuple[Outputs, Outputs]:
    """The answers of PyTorch and of int8, which must have such `activations`."""
    FAMILY.write(model, folder / "exact")
    (folder / "int8").mkdir()
    sealed(of, folder / "exact", tokenizer, "pytorch")
    made = quantizer.prepare(folder / "exact", of.params.quantize, TEXTS[:50])
    assert made.activations == activations
    made.write(folder / "int8", ())
    sealed(of, folder / "int8", tokenizer, "onnxruntime_int8")
    exact, int8 = (runners.open_runner(folder / name, threads=1).predict(TEXTS[:60]) for name in ("exact", "int8"))
    return exact, int8


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_opened_trained_distilled_pruned_and_answers_in_int8(kind: str, task: str, tmp_path: Path) -> None:
    """Int8 is off by less than a tenth of what lies between the smallest and the largest output, and 2% in the mean."""
    of = project(kind, task, tmp_path / "pretrained")
    student = distilled(of, taught(of))
    tokenizer = tmp_path / "cut.json"
    exact, int8 = answered(of, pruned(of, student, tokenizer), tokenizer, tmp_path)
    spread = float(np.ptp(exact.values, axis=0).max())
    error = np.abs(int8.values - exact.values)
    assert spread > 0.3
    assert error.max() < 0.1 * spread
    assert error.mean() < 0.02 * spread
    if int8.characters is not None and int8.offsets is not None:
        places = dict.fromkeys(map(tuple, int8.characters[: int8.offsets[1]].tolist()))
        assert "".join(TEXTS[0][start:end] for start, end in places) == TEXTS[0].replace(" ", "")


def test_a_kind_whose_graph_is_not_written_is_exported_and_answers_in_int8(tmp_path: Path) -> None:
    of = project("roberta-prelayernorm", "text_classification", tmp_path / "pretrained")
    exact, int8 = answered(of, taught(of), of.folder / "tokenizer.json", tmp_path, activations="dynamic")
    spread = float(np.ptp(exact.values, axis=0).max())
    assert spread > 0.3
    assert np.abs(int8.values - exact.values).max() < 0.1 * spread
    graph = onnx.load(next(tmp_path.rglob("model.onnx"))).graph
    floats = [weights for weights in graph.initializer if weights.data_type == onnx.TensorProto.FLOAT]
    kept = [weights for weights in floats if len(weights.dims) == 2]
    assert [sorted(weights.dims) for weights in kept if min(weights.dims) == 3] == [[3, WIDTH]], "the head"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["albert", "deberta-v2", "modernbert", "xlm-roberta"])
def test_the_stages_from_tokenize_to_quantize_take_it(kind: str, tmp_path: Path) -> None:
    splits = ["train", "train", "train", "validation", "test"]
    rows = [(str(at), text, topic, splits[at % 5]) for at, (text, topic) in enumerate(ROWS[:120])]
    paths = write_clean(tmp_path / "project", rows)
    params = tiny_params(
        paths, folder_of(kind, tmp_path / "pretrained"), tokenize__max_tokens=32, finetune__epochs=10,
        finetune__batch_size=8, finetune__encoder_learning_rate=2.0e-3, finetune__head_learning_rate=2.0e-2,
        finetune__precision="fp32", distill__epochs=8, distill__batch_size=8, distill__encoder_learning_rate=2.0e-3,
        distill__precision="fp32", distill__teacher_layers=[0], prune__common_words=5, prune__epochs=1,
        prune__heads_kept=0.75, prune__feed_forward_kept=0.5,
    )  # fmt: skip
    for stage in (tokenize, finetune, cache_logits, distill, prune, quantize):
        stage(params, paths)
    found = read_json(paths.quantization)
    assert found["activations"] == "static"
    assert found["agreement"] > 0.9
    answers = runners.open_runner(paths.model("quantized"), threads=1).predict(TEXTS[:120]).values.argmax(1)
    topics = sorted(TOPICS)
    right = [topics[answer] == topic for answer, (_, topic) in zip(answers, ROWS[:120], strict=True)]
    assert sum(right) / len(right) > 0.6  # of three topics


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{kind: (kind, {}) for kind in KINDS},
    "mpnet": ("mpnet", {}),
    "electra, as wide": ("electra", {"embedding_size": WIDTH}),
    "deberta-v2, with matrices of positions": ("deberta-v2", {"share_att_key": False, "position_buckets": -1}),
    "deberta-v2, queries alone": ("deberta-v2", {"pos_att_type": ["c2p"], "norm_rel_ebd": "none"}),
    "modernbert, with biases": ("modernbert", {"norm_bias": True, "mlp_bias": True, "attention_bias": True}),
}


@pytest.mark.parametrize("head", [Head("row", 3), Head("token", 4), Head("vector", 0)], ids=lambda head: head.kind)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_graph_that_is_written_puts_out_what_torch_does(variant: str, head: Head, tmp_path: Path) -> None:
    kind, changes = VARIANTS[variant]
    folder = folder_of(kind, tmp_path / "pretrained", **changes)
    torch.manual_seed(1)
    model = FAMILY.build(folder, model_params(folder), head).eval()
    FAMILY.write(model, tmp_path / "written")
    known = quantizer.written(
        load_file(tmp_path / "written/model.safetensors"), read_json(tmp_path / "written/config.json")
    )  # fmt: skip
    assert known is not None
    exact = graph.Precision(known.matrices, None, per_channel=True)
    made = known.build(exact, max_tokens=12)
    once = with_equal_constants_once(known.build(exact, max_tokens=12))
    assert (once.ByteSize() < 0.8 * made.ByteSize()) == known.repeated == (kind == "albert")
    pad = model.encoder.config.pad_token_id
    ids = np.array([[5, 9, 7, 8, 6, 4, 9, 8], [5, 4, 6, *[pad] * 5]])
    mask = np.array([[1] * 8, [1, 1, 1, *[0] * 5]])
    with torch.inference_mode():
        expected = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    session = onnxruntime.InferenceSession(once.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    assert np.ptp(expected) > 0.1
    real = mask.astype(bool) if head.kind == "token" else slice(None)
    np.testing.assert_allclose(found[real], expected[real], atol=2e-5)


def test_the_numbers_of_special_tokens_follow_a_vocabulary_that_is_cut(tmp_path: Path) -> None:
    """ModernBERT's are at the end of its vocabulary, where a smaller one has no tokens."""
    folder = folder_of("modernbert", tmp_path / "pretrained")
    model: Any = FAMILY.build(folder, model_params(folder), Head("row", 3))
    config = model.encoder.config
    last = config.vocab_size - 1
    config.bos_token_id, config.eos_token_id, config.cls_token_id, config.sep_token_id = 0, last, last, last - 1
    found = FAMILY.cut_vocabulary(model, [0, 1, 2, 5, last], MAX_TOKENS).encoder.config
    assert (found.bos_token_id, found.eos_token_id, found.cls_token_id, found.sep_token_id) == (0, 4, 4, None)
    found = FAMILY.new_vocabulary(model, [[last], [1], [3, 4], [0]]).encoder.config
    assert (found.bos_token_id, found.eos_token_id, found.cls_token_id, found.sep_token_id) == (3, 0, 0, None)


def test_positions_that_speak_to_positions_are_left_to_the_exporter(tmp_path: Path) -> None:
    folder = folder_of("deberta-v2", tmp_path / "pretrained", pos_att_type=["c2p", "p2c", "p2p"])
    FAMILY.write(FAMILY.build(folder, model_params(folder), Head("row", 3)), tmp_path / "written")
    weights, config = load_file(tmp_path / "written/model.safetensors"), read_json(tmp_path / "written/config.json")
    assert quantizer.written(weights, config) is None


def test_the_heads_of_mobilebert_are_as_wide_as_its_narrow_layers_say(tmp_path: Path) -> None:
    narrow = {"true_hidden_size": 16, "intra_bottleneck_size": 16, "embedding_size": WIDTH}
    folder = folder_of("mobilebert", tmp_path / "pretrained", **narrow)
    model: Any = FAMILY.build(folder, model_params(folder), Head("row", 3))
    assert [len(heads) for heads in FAMILY.units(model)["heads"]] == [4, 4]


@pytest.mark.parametrize(("buckets", "most"), [(256, 512), (32, 128), (8, 48), (-1, 64)])
def test_each_distance_has_the_row_that_transformers_gives_it(buckets: int, most: int) -> None:
    config = {"position_buckets": buckets, "max_relative_positions": most, "max_position_embeddings": most}
    distances = torch.arange(1 - 512, 512)
    theirs = make_log_bucket_position(distances, buckets, most) if buckets > 0 else distances
    span = buckets if buckets > 0 else most
    expected = torch.clamp(theirs.long() + span, 0, 2 * span - 1)
    assert rows_of_distances(config, distances.numpy()).tolist() == expected.tolist()


@pytest.mark.parametrize("tokens", [5, 300])
def test_each_distance_has_the_range_that_transformers_gives_it(tokens: int) -> None:
    distances = np.arange(1 - tokens, tokens)
    theirs = MPNetEncoder.relative_position_bucket(torch.from_numpy(-distances))
    assert ranges_of_distances(distances, 32).tolist() == theirs.tolist()


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


KINDS_OF_TOKENIZERS = [("wordpiece", True), ("byte_level_bpe", True), ("unigram", True), ("word_level", False)]


@pytest.mark.parametrize(("kind", "trainable"), KINDS_OF_TOKENIZERS)
def test_what_a_tokenizer_cannot_is_one_line_in_check(kind: str, trainable: bool, tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"a": 0})) if kind == "word_level" else fast(kind).backend_tokenizer
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "model.safetensors").touch()
    changes = {"tokenize": {"tokenizer": "trained"}, "prune": {"vocabulary": "all"}}
    trained_one = list(faults_of_folder(tmp_path, params_of(tmp_path, **changes)))
    assert [line.partition(" is trained, ")[0] for line in trained_one] == ["params.yaml: tokenize.tokenizer"] * (
        not trainable
    )
    changes["tokenize"] = {"capitals": "marked"}
    [line] = faults_of_folder(tmp_path, params_of(tmp_path, **changes))
    assert line.startswith("params.yaml: tokenize.capitals is 'marked', and its ")
    assert list(faults_of_folder(tmp_path, params_of(tmp_path, prune={"vocabulary": "all"}))) == []


COLUMNS = {
    "heads and neurons": "units", "inner vectors": "vectors", "narrower": "width", "single layers": "layers",
    "activation checkpointing": "activation_checkpointing",
}  # fmt: skip


def test_the_manual_has_a_row_for_each_kind_with_what_it_lacks_and_how_its_graph_comes_about() -> None:
    lines = (REPOSITORY / "docs/models.md").read_text(encoding="utf-8").splitlines()
    first_table = takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), lines))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in first_table]
    header, rows = cells[0], {row[0]: row for row in cells if row[0] in ALLOWED}
    assert sorted(rows) == sorted(ALLOWED)
    for kind, row in rows.items():
        said = dict(zip(header, row, strict=True))
        lacked = {what for column, what in COLUMNS.items() if said[column] == "no"}
        assert lacked == LACKS_OF_KINDS.get(kind, frozenset()) & set(COLUMNS.values()), kind
    assert {kind for kind, row in rows.items() if row[-1] == "written"} >= {kind for kind, _ in VARIANTS.values()}
