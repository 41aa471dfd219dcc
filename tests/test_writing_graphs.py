"""Graphs of models that write: in float32 transformers' logits step by step; int8 near them; folders without torch."""

from __future__ import annotations

import gc
import itertools
import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from writing_fixtures import SHAPES, TEXTS, Source, write_writer

from stages.backends import runners
from stages.backends.onnxruntime_int8 import quantizer
from stages.backends.onnxruntime_int8.writing import files, prepared
from stages.backends.onnxruntime_int8.writing.stepper import ROOM, GraphStepper, Sessions, open_sessions
from stages.core import model_folder
from stages.core.contracts import Generation, Quantizable, QuantizationRows, Runner
from stages.core.params.file import load_params
from stages.decoding.scores import log_softmax
from stages.decoding.stepper import Prompt, TokenModel
from stages.decoding.writing import write

VOCABULARY, POSITIONS, END, START = 97, 256, 1, 0
LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
}  # fmt: skip
T5: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
STRETCHED = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
             "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip

PARAMS = load_params(REPOSITORY / "params.yaml").quantize

ALLOWED = 0.03  # nats a token


def gpt2(width: int = 32) -> Any:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=width, n_layer=2, n_head=4)
    )  # fmt: skip


MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": gpt2,
    "gpt2, heads of 5": lambda: gpt2(width=20),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "llama, tied, biased": lambda: LlamaForCausalLM(
        LlamaConfig(**LLAMA, tie_word_embeddings=True, attention_bias=True, mlp_bias=False, head_dim=16)
    ),
    "llama, stretched": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, rope_parameters=STRETCHED)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "t5, heads of 5": lambda: T5ForConditionalGeneration(T5Config(**{**T5, "d_kv": 5})),
    "t5, gated, untied": lambda: T5ForConditionalGeneration(
        T5Config(**{**T5, "num_decoder_layers": 3, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False})
    ),
}


def made(name: str) -> Any:
    """A random model with norms that are not 1, and biases that are not 0."""
    torch.manual_seed(3)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    return model


def quantizable(model: Any) -> Quantizable:
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    config = json.loads(model.config.to_json_string(use_diff=False))
    return prepared.prepare(weights, config, per_channel=True)


def opened(model: Any, folder: Path, kept: Collection[str] | None = None) -> Sessions:
    """The model's graphs, written and opened; in float32 where `kept` is None."""
    found = quantizable(model)
    found.write(folder, found.matrices if kept is None else kept)
    return open_sessions(folder, 1)


def exact(model: Any, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
    """transformers' logits (R, V) of what follows each sequence, one by one and without a cache."""
    found = []
    with torch.inference_mode():
        for row, own in enumerate(ids):
            told = {} if sources is None else {"decoder_input_ids": torch.tensor([own])}
            read = own if sources is None else sources[row]
            found.append(model(torch.tensor([read]), **told).logits[0, -1].numpy())
    return np.stack(found)


def begun(model: Any) -> tuple[list[list[int]], list[list[int]] | None]:
    """Three sequences, or sources, of different lengths."""
    random = np.random.default_rng(7)
    texts: list[list[int]] = [random.integers(2, VOCABULARY, length).tolist() for length in (5, 1, 40)]
    return ([[START]] * 3, texts) if model.config.is_encoder_decoder else (texts, None)


ORDERS = {2: [0, 0, 1, 2, 2], 9: [4, 1, 1, 0, 2], 10: [0, 2, 1, 3, 4], 15: [1, 1, 3, 0, 4], 20: [3, 0], 24: [1]}


@pytest.mark.parametrize("name", MODELS)
def test_a_float_graph_gives_transformers_logits_step_by_step_in_any_order_of_its_rows(
    name: str, tmp_path: Path
) -> None:
    model, random = made(name), np.random.default_rng(9)
    ids, sources = begun(model)
    stepper = GraphStepper(opened(model, tmp_path))
    found = [stepper.begin(ids, sources)]
    expected = [exact(model, ids, sources)]
    for step in range(ROOM + 30):  # the room is full on the way
        order = ORDERS.get(step)
        if order is not None:
            ids, sources = [ids[row] for row in order], [sources[row] for row in order] if sources else None
        tokens = random.integers(2, VOCABULARY, len(ids))
        ids = [[*own, int(token)] for own, token in zip(ids, tokens, strict=True)]
        found.append(stepper.step(tokens, None if order is None else np.array(order)).copy())
        expected.append(exact(model, ids, sources))
    assert max(np.abs(one - other).max() for one, other in zip(found, expected, strict=True)) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_a_float_graph_scores_every_token_of_a_text_as_transformers_does(name: str, tmp_path: Path) -> None:
    model, random = made(name), np.random.default_rng(2)
    ids, sources = (random.integers(2, VOCABULARY, (3, length)) for length in (11, 17))
    apart = model.config.is_encoder_decoder
    with torch.inference_mode():
        read = {"input_ids": torch.from_numpy(sources), "decoder_input_ids": torch.from_numpy(ids)}
        expected = model(**read if apart else {"input_ids": torch.from_numpy(ids)}).logits.numpy()
    found = GraphStepper(opened(model, tmp_path)).score(ids, sources if apart else None)
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_a_float_graph_writes_what_transformers_generates(name: str, beams: int, tmp_path: Path) -> None:
    model = made(name)
    ids, sources = begun(model)
    sessions = opened(model, tmp_path)
    tokens = TokenModel(
        open=lambda: GraphStepper(sessions), decode=lambda ids: " ".join(map(str, ids)), end=END, positions=None
    )
    prompts = [Prompt(own, sources[row] if sources else None) for row, own in enumerate(ids)]
    written = write(tokens, prompts, Generation(max_new_tokens=12, beams=beams))
    settings: dict[str, Any] = {
        "max_new_tokens": 12,
        "num_beams": beams,
        "do_sample": False,
        "eos_token_id": END,
        "pad_token_id": 0,
    }
    started = {"decoder_start_token_id": START} if sources else {}
    for one, own, read in zip(written, ids, sources or ids, strict=True):
        found = model.generate(torch.tensor([read]), **settings, **started)[0].tolist()
        assert one.ids == found[len(own) :]


@pytest.mark.parametrize("name", MODELS)
def test_int8_stays_near_float32_and_every_matrix_can_be_kept(name: str, tmp_path: Path) -> None:
    model = made(name)
    ids, sources = begun(model)
    exact_RV = log_softmax(exact(model, ids, sources))
    int8_RV = log_softmax(GraphStepper(opened(model, tmp_path, kept=())).begin(ids, sources))
    assert 0 < (np.exp(exact_RV) * (exact_RV - int8_RV)).sum(-1).mean() < 0.02
    for matrix in quantizable(model).matrices:
        one_RV = GraphStepper(opened(model, tmp_path, kept=(matrix,))).begin(ids, sources)
        assert not np.array_equal(log_softmax(one_RV), int8_RV), matrix


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_in_int8_a_rows_logits_do_not_hang_on_the_other_rows_of_its_batch(name: str, tmp_path: Path) -> None:
    model = made(name)
    ids, sources = begun(model)
    sessions = opened(model, tmp_path, kept=())
    together = GraphStepper(sessions)
    found = [together.begin(ids, sources).copy(), together.step(np.array([5, 6, 7]), None).copy()]
    for row, own in enumerate(ids):
        alone = GraphStepper(sessions)
        first = alone.begin([own], [sources[row]] if sources else None).copy()
        for one, other in zip(found, (first, alone.step(np.array([5 + row]), None)), strict=True):
            assert np.abs(one[row] - other[0]).max() < 1e-4


def test_heads_and_neurons_that_were_pruned_are_missing_in_the_graph_too(tmp_path: Path) -> None:
    """Heads of zeros, whose numbers for distances the layer does not read, are as good as none."""
    model = made("t5")
    weights = {name: weight.numpy().copy() for name, weight in model.state_dict().items()}
    config = json.loads(model.config.to_json_string(use_diff=False))
    heads, left = [1, 3], np.r_[8:16, 24:32]
    attentions = [f"{stack}.block.1.layer.0.SelfAttention" for stack in ("encoder", "decoder")]
    dense = "encoder.block.0.layer.1.DenseReluDense"
    with torch.no_grad():
        gone = np.setdiff1d(np.arange(32), left)
        for attention in attentions:
            model.get_submodule(attention).o.weight[:, gone] = 0
        model.get_submodule(dense).wo.weight[:, 5:] = 0
    for attention in attentions:
        for part in "qkv":
            weights[f"{attention}.{part}.weight"] = weights[f"{attention}.{part}.weight"][left]
        weights[f"{attention}.o.weight"] = weights[f"{attention}.o.weight"][:, left]
    weights[f"{dense}.wi.weight"] = weights[f"{dense}.wi.weight"][:5]
    weights[f"{dense}.wo.weight"] = weights[f"{dense}.wo.weight"][:, :5]
    every = [0, 1, 2, 3]
    config["winnow"] = {"heads": {"encoder": [every, heads], "decoder": [every, heads]}}
    found = prepared.prepare(weights, config, per_channel=True)
    found.write(tmp_path, found.matrices)
    ids, sources = begun(model)
    stepper = GraphStepper(open_sessions(tmp_path, 1))
    stepper.begin(ids, sources)
    logits_RV = stepper.step(np.array([5, 6, 7]), None)
    expected_RV = exact(model, [[START, token] for token in (5, 6, 7)], sources)
    assert np.abs(logits_RV - expected_RV).max() < 1e-4


def test_a_table_that_also_makes_the_logits_is_in_the_folder_once_and_files_have_the_same_bytes(
    tmp_path: Path,
) -> None:
    model = made("t5")
    for folder in ("once", "again"):
        (tmp_path / folder).mkdir()
        quantizable(model).write(tmp_path / folder, ())
    names = ["encoder.onnx", "model.onnx", files.DATA]
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == names
    once, again = ([(tmp_path / folder / name).read_bytes() for name in names] for folder in ("once", "again"))
    assert once == again
    table = model.shared.weight.detach().numpy()
    rounded_HV = np.rint(table.T / (np.abs(table).max(1) / np.float32(64))).astype(np.int8)
    assert sum(one.count(rounded_HV.tobytes()) for one in once) == 1


@pytest.mark.parametrize("setting", [{"scale_attn_by_inverse_layer_idx": True}, {"activation_function": "tanh"}])
def test_a_formula_that_no_graph_is_written_for_is_refused_with_its_name(setting: dict[str, Any]) -> None:
    model = made("gpt2")
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    config = {**json.loads(model.config.to_json_string(use_diff=False)), **setting}
    with pytest.raises(ValueError, match=next(iter(setting)).split("_")[0]):
        prepared.prepare(weights, config, per_channel=True)


def quantized(layout: str, source: Source, root: Path, **changes: Any) -> tuple[Runner, Runner, dict[str, Any]]:
    """A small model in float32 and as the stage quantizes it, in `root`/int8, and what the guard found."""
    float32, int8 = root / "float32", root / "int8"
    for folder in (float32, int8):
        folder.mkdir()
    write_writer(float32, layout, source)
    shutil.copyfile(float32 / "tokenizer.json", int8 / "tokenizer.json")
    model_folder.seal(int8, **{**model_folder.describe(float32), "backend": "onnxruntime_int8"})
    asked: list[Any] = TEXTS if source is None else list(itertools.pairwise(TEXTS))
    exact = runners.open_runner(float32, threads=1)
    outputs = exact.predict(asked)
    rows = QuantizationRows(
        calibration=asked, validation=asked, exact=outputs, measure="nats",
        score=lambda given: -float(np.abs(given.values - outputs.values).mean()),
        agreement=lambda one, other: float((one.values == other.values).mean()),
        divergence=lambda one, other: float(np.abs(one.values - other.values).mean()),
    )  # fmt: skip
    found = quantizer.quantize(float32, int8, PARAMS.model_copy(update=changes), rows)
    model_folder.seal(int8, **model_folder.describe(int8))
    return exact, runners.open_runner(int8, threads=1), found


@pytest.mark.parametrize(("layout", "source"), SHAPES)
def test_a_quantized_folder_reads_and_writes_as_the_model_does(layout: str, source: Source, tmp_path: Path) -> None:
    exact, int8, found = quantized(layout, source, tmp_path, max_loss=1.0)
    assert found["kept"] == []
    assert found["activations"] == "dynamic"
    asked: list[Any] = TEXTS if source is None else list(itertools.pairwise(TEXTS))
    assert np.abs(int8.predict(asked).values - exact.predict(asked).values).mean() < 0.3
    assert int8.write is not None
    assert int8.stream is not None
    written = int8.write(TEXTS, Generation(8))
    assert written == ["".join(int8.stream(text, Generation(8))) for text in TEXTS], "alone as in a batch"


@pytest.mark.parametrize(("layout", "source"), [("llama", None), ("t5", "apart")])
def test_the_guard_puts_harmful_matrices_of_a_writing_model_back(layout: str, source: Source, tmp_path: Path) -> None:
    exact, int8, found = quantized(layout, source, tmp_path, max_loss=ALLOWED)
    assert found["lost_without_guard"] > ALLOWED >= found["lost"]
    assert 0 < len(found["kept"]) < found["matrices"]
    asked: list[Any] = TEXTS if source is None else list(itertools.pairwise(TEXTS))
    assert np.abs(int8.predict(asked).values - exact.predict(asked).values).mean() <= ALLOWED + 1e-3


@pytest.mark.parametrize(("layout", "source"), [("gpt2", None), ("t5", "apart")])
def test_a_quantized_folder_opens_and_writes_in_a_python_without_torch_and_onnx(
    layout: str, source: Source, tmp_path: Path
) -> None:
    _, int8, _ = quantized(layout, source, tmp_path, max_loss=1.0)
    code = f"""
import sys
for name in ("torch", "transformers", "onnx", "safetensors"):
    sys.modules[name] = None
from pathlib import Path
from stages.backends.runners import open_runner
from stages.core.contracts import Generation
print(ascii(open_runner(Path({str(tmp_path / "int8")!r}), threads=1).write({TEXTS!r}, Generation(8))))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert int8.write is not None
    assert done.stdout.strip() == ascii(int8.write(TEXTS, Generation(8)))


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_a_folder_of_links_into_a_cache_opens_as_dvc_makes_them(name: str, tmp_path: Path) -> None:
    model = made(name)
    ids, sources = begun(model)
    (tmp_path / "made").mkdir()
    expected = GraphStepper(opened(model, tmp_path / "made")).begin(ids, sources)
    linked = tmp_path / "linked"
    linked.mkdir()
    for number, path in enumerate(sorted((tmp_path / "made").iterdir())):
        cached = tmp_path / "cache" / f"{number:02}" / "content"
        cached.parent.mkdir(parents=True)
        path.rename(cached)
        (linked / path.name).symlink_to(cached)
    assert np.array_equal(GraphStepper(open_sessions(linked, 1)).begin(ids, sources), expected)


def test_a_model_that_is_open_stays_as_it_is_while_its_folder_is_written_anew(tmp_path: Path) -> None:
    model = made("t5")
    ids, sources = begun(model)
    sessions = opened(model, tmp_path, kept=())
    before = GraphStepper(sessions).begin(ids, sources).copy()
    quantizable(model).write(tmp_path, quantizable(model).matrices)
    assert np.array_equal(GraphStepper(sessions).begin(ids, sources), before)


def test_a_graph_that_nobody_has_any_more_leaves_the_memory_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard opens one for each matrix, and Python's collector does not know how large they are."""
    quantized("gpt2", None, tmp_path, max_loss=1.0)
    open_graphs: list[weakref.ref[Any]] = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, *of: Any, **more: Any) -> None:
            super().__init__(*of, **more)
            open_graphs.append(weakref.ref(self))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    runner = runners.open_runner(tmp_path / "int8", threads=1)
    assert runner.stream is not None
    assert runner.predict(TEXTS).values.size
    assert "".join(runner.stream(TEXTS[0], Generation(3)))
    gc.collect()
    gc.disable()
    try:
        del runner
        assert [one() for one in open_graphs] == [None]
    finally:
        gc.enable()
