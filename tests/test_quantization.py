"""int8: the graph built from weights, its ranges, the guard, `auto`, and what bad input gets."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import REPOSITORY, TOPICS
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from stages.backends import QUANTIZERS, runners
from stages.backends.auto import quantizer as auto_quantizer
from stages.backends.batching import CHARACTERS_A_TOKEN, open_reader, outputs
from stages.backends.guard import guarded
from stages.backends.onnxruntime_int8 import graph, quantizer
from stages.backends.onnxruntime_int8.ranges import BINS, Histogram
from stages.backends.onnxruntime_int8.runner import open_runner
from stages.compression.card import Origin, card
from stages.core import model_folder, plugins
from stages.core.contracts import Head, Outputs, Quantizable, QuantizationRows, Runner
from stages.core.files import read_json, write_json
from stages.core.params.compress import QuantizeParams
from stages.core.params.file import Params, load_params
from stages.core.params.model import ModelParams, Pooling
from stages.core.paths import Paths
from stages.measures.calibration import fit_temperature
from stages.models.encoder import FAMILY
from stages.quantize import quantize
from stages.tasks.regression.settings import SETTINGS as OF_NUMBERS
from stages.tasks.shared.label_sets import as_text
from stages.tasks.shared.probabilities import kl_divergence
from stages.tasks.text_classification.answers import ANSWERS
from stages.tasks.text_classification.settings import SETTINGS as OF_LABELS

WORDS = [word for words in TOPICS.values() for word in words]
TEXTS = [" ".join(WORDS[i : i + n]) for n in (1, 2, 4, 9) for i in range(0, len(WORDS) - 9, 3)]
LABELS = ["a", "b", "c"]
PARAMS = load_params(REPOSITORY / "params.yaml").quantize
FOUND = {"measure": "macro_f1", "int8": 0.49, "float32": 0.5, "agreement": 0.975}
WHY_TORCHAO = "torchao is not installed: `make test-torchao` runs this"


def params(**changes: Any) -> QuantizeParams:
    return PARAMS.model_copy(update=changes)


def make_student(tiny: Path, folder: Path, *, pooling: Pooling = "mean") -> Path:
    """A random model with a head so steep that texts get clearly different answers, and norms that are not 1 and 0."""
    named: dict[str, Any] = {"family": "encoder", "name": str(tiny), "revision": None, "sha256": None}
    torch.manual_seed(1)
    model: Any = FAMILY.build(
        tiny,
        ModelParams(
            **named,
            pooling=pooling,
            encoder_dropout=0.0,
            head_dropout=0.0,
            scratch=None,
            image=None,
            image_augmentation=0.0,
        ),
        Head("row", 3),
    )
    with torch.no_grad():
        model.head.weight.mul_(20)
        for name, weights in model.named_parameters():
            if "LayerNorm" in name or name.endswith("bias"):
                weights.add_(torch.randn_like(weights) * 0.1)
    FAMILY.write(model, folder)
    return sealed(folder, tiny / "tokenizer.json")


def sealed(folder: Path, tokenizer: Path) -> Path:
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    more = {"family": "encoder", "max_tokens": 12, "temperature": 1.0}
    model_folder.seal(folder, backend="pytorch", task="text_classification", space={"labels": LABELS}, **more)
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Path:
    return make_student(tiny_models("bert"), tmp_path_factory.mktemp("models") / "student")


def weights_and_config(student: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    return load_file(student / "model.safetensors"), read_json(student / "config.json")


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def logits(model: onnx.ModelProto, ids: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    return opened(model).run(["logits"], feeds)[0]


def in_float32(student: Path, **changes: Any) -> onnx.ModelProto:
    weights, config = weights_and_config(student)
    exact = graph.Precision(graph.matrices(config), None, per_channel=True)
    return graph.build(weights, {**config, **changes}, exact, max_tokens=12)


def same_answers(one: Outputs, other: Outputs) -> float:
    return float((one.values.argmax(1) == other.values.argmax(1)).mean())


def rows_of(student: Path, score: Callable[[Outputs], float] | None = None) -> QuantizationRows:
    exact = runners.open_runner(student, threads=1).predict(TEXTS)
    return QuantizationRows(
        calibration=TEXTS, validation=TEXTS, exact=exact, measure="accuracy",
        score=score or (lambda given: same_answers(given, exact)), agreement=same_answers,
        divergence=ANSWERS.divergence,
    )  # fmt: skip


def quantized(student: Path, folder: Path, backend: str = "onnxruntime_int8", **changes: Any) -> dict[str, Any]:
    """What quantizing `student` to `folder` found, the folder sealed as the stage seals it."""
    folder.mkdir(parents=True)
    sealed(folder, student / "tokenizer.json")
    write = plugins.load(QUANTIZERS, backend, key="quantize.backend")
    found = write(student, folder, params(**changes), rows_of(student))
    model_folder.seal(folder, **{**model_folder.describe(student), "backend": found["backend"]})
    return found


IDS = np.array([[2, 90, 91, 92, 3], [2, 100, 95, 3, 0]], dtype=np.int64)
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]], dtype=np.int64)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_the_built_graph_in_float32_gives_torchs_logits(
    tiny_models: Callable[[str], Path], tmp_path: Path, pooling: Pooling, activation: str
) -> None:
    student = make_student(tiny_models("bert"), tmp_path / "student", pooling=pooling)
    config = read_json(student / "config.json")
    write_json(student / "config.json", {**config, "hidden_act": activation})
    with torch.inference_mode():
        expected = FAMILY.open(student)(torch.from_numpy(IDS), torch.from_numpy(MASK)).numpy()
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(logits(in_float32(student), IDS, MASK), expected, atol=2e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_built_graph_of_a_model_without_a_layer_as_its_head_gives_torchs_vectors(
    tiny_models: Callable[[str], Path], tmp_path: Path, pooling: Pooling
) -> None:
    named: dict[str, Any] = {"family": "encoder", "name": "tiny", "revision": None, "sha256": None, "pooling": pooling}
    torch.manual_seed(1)
    model: Any = FAMILY.build(
        tiny_models("bert"),
        ModelParams(**named, encoder_dropout=0.0, head_dropout=0.0, scratch=None, image=None, image_augmentation=0.0),
        Head("vector", 0),
    )
    FAMILY.write(model, tmp_path)
    assert graph.understands(*weights_and_config(tmp_path))
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(IDS), torch.from_numpy(MASK)).numpy()
    found = logits(in_float32(tmp_path), IDS, MASK)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_what_stands_behind_the_mask_changes_nothing(student: Path) -> None:
    weights, config = weights_and_config(student)
    ranges = dict.fromkeys(graph.matrices(config), (-4.0, 4.0))
    int8 = graph.build(weights, config, graph.Precision((), ranges, per_channel=True), max_tokens=12)
    short = logits(int8, IDS[1:, :4])
    for padding in (0, 77):
        padded = np.concatenate([IDS[1:, :4], np.full((1, 3), padding, dtype=np.int64)], axis=1)
        mask = np.array([[1, 1, 1, 1, 0, 0, 0]], dtype=np.int64)
        np.testing.assert_allclose(logits(int8, padded, mask), short, atol=1e-5)


def without_a_head(weights: dict[str, np.ndarray], head: int) -> dict[str, np.ndarray]:
    """Layer 1 without one of its four heads of 8, 16 of its 64 inner units, 20 words and 8 positions."""
    rest = np.delete(np.arange(32), np.arange(head * 8, head * 8 + 8))
    pruned = dict(weights)
    layer = "encoder.encoder.layer.1."
    for part in ("query", "key", "value"):
        for kind in ("weight", "bias"):
            pruned[f"{layer}attention.self.{part}.{kind}"] = weights[f"{layer}attention.self.{part}.{kind}"][rest]
    pruned[f"{layer}attention.output.dense.weight"] = weights[f"{layer}attention.output.dense.weight"][:, rest]
    for kind in ("weight", "bias"):
        pruned[f"{layer}intermediate.dense.{kind}"] = weights[f"{layer}intermediate.dense.{kind}"][:48]
    pruned[f"{layer}output.dense.weight"] = weights[f"{layer}output.dense.weight"][:, :48]
    for table, fewer in (("word_embeddings", 20), ("position_embeddings", 68)):
        name = f"encoder.embeddings.{table}.weight"
        pruned[name] = weights[name][: len(weights[name]) - fewer]
    return {name: np.ascontiguousarray(array) for name, array in pruned.items()}


def silenced(weights: dict[str, np.ndarray], head: int) -> dict[str, np.ndarray]:
    """The same model at its full size: what is pruned there adds nothing here."""
    quiet = {name: array.copy() for name, array in weights.items()}
    quiet["encoder.encoder.layer.1.attention.output.dense.weight"][:, head * 8 : head * 8 + 8] = 0
    quiet["encoder.encoder.layer.1.output.dense.weight"][:, 48:] = 0
    return quiet


@pytest.mark.parametrize("ranges", [None, (-4.0, 4.0)], ids=["dynamic", "static"])
@pytest.mark.parametrize("kept", [True, False], ids=["float32", "int8"])
def test_pruned_layers_answer_as_the_layers_whose_pruned_parts_are_zero(student: Path, ranges, kept: bool) -> None:
    weights, config = weights_and_config(student)
    names = graph.matrices(config)
    how = graph.Precision(names if kept else (), ranges and dict.fromkeys(names, ranges), per_channel=True)
    ids = np.minimum(IDS, len(weights["encoder.embeddings.word_embeddings.weight"]) - 21)
    whole, pruned = (
        logits(graph.build(made(weights, 2), config, how, max_tokens=12), ids, MASK)
        for made in (silenced, without_a_head)
    )
    assert np.ptp(whole) > 0.5
    np.testing.assert_allclose(pruned, whole, atol=2e-5 if kept else 0.02 * np.ptp(whole))


def test_a_scale_holds_zero_and_has_three_digits() -> None:
    assert graph.scale_of((-1.0, 3.0)) == (np.float32(0.0157), 64)
    assert graph.scale_of((1.0, 2.55)) == (np.float32(0.01), 0)
    assert graph.scale_of((0.0, 0.0))[0] > 0


def test_each_block_of_an_embedding_has_its_scale() -> None:
    values, scales = graph.blocks(np.array([[1.27, -0.5, 127.0, 0.0]], dtype=np.float32), 2)
    np.testing.assert_allclose(scales, [[0.01, 1.0]], rtol=1e-6)
    assert values.tolist() == [[255, 78, 255, 128]]


def test_cutting_the_ends_of_a_histogram_leaves_the_middle() -> None:
    counts = np.zeros(BINS, dtype=np.int64)
    counts[[0, BINS // 2, BINS - 1]] = [1, 998, 1]
    histogram = Histogram(low=0.0, high=float(BINS - 1), counts=counts)
    assert histogram.without(0.0) == (0.0, BINS - 1.0)
    assert histogram.without(0.002) == (BINS / 2, BINS / 2)


def test_divergence_is_zero_for_equal_answers_and_ln_2_for_half_the_probability() -> None:
    certain, torn = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])
    assert kl_divergence(torn, torn) == 0
    assert kl_divergence(certain, torn) == pytest.approx(np.log(2), abs=1e-9)


@pytest.mark.parametrize("activations", ["static", "dynamic"])
def test_int8_loses_little_and_says_what_it_did(student: Path, tmp_path: Path, activations: str) -> None:
    found = quantized(student, tmp_path / "int8", activations=activations)
    assert (found["backend"], found["activations"], found["kept"]) == ("onnxruntime_int8", activations, [])
    assert found["matrices"] == 13
    assert found["agreement"] > 0.95
    assert 0 < found["divergence"] < 0.02


@pytest.mark.parametrize("activations", ["static", "dynamic"])
def test_no_two_products_of_int8_are_beyond_16_bits(student: Path, tmp_path: Path, activations: str) -> None:
    """Processors without VNNI add two in 16 bits, and cut off what is beyond: they would answer differently."""
    quantized(student, tmp_path / "int8", activations=activations)
    weights = [
        numpy_helper.to_array(tensor).astype(int)
        for tensor in onnx.load(tmp_path / "int8/model.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    assert len(weights) == 12
    assert {np.abs(matrix).max() for matrix in weights} == {64}
    assert 2 * 255 * 64 < 2**15


def test_static_answers_do_not_hang_on_the_other_rows_of_a_batch(student: Path, tmp_path: Path) -> None:
    quantized(student, tmp_path / "int8", activations="static")
    runner = runners.open_runner(tmp_path / "int8", threads=1)
    alone = np.concatenate([runner.predict([text]).values for text in TEXTS])
    np.testing.assert_allclose(runner.predict(TEXTS).values, alone, atol=1e-6)


# The guard


def spoiled_student(student: Path, folder: Path) -> Path:
    """A model of which one matrix cannot be int8: a weight that nothing reaches is so large that the rest is lost."""
    shutil.copytree(student, folder)
    weights = {name: array.copy() for name, array in load_file(student / "model.safetensors").items()}
    layer = "encoder.encoder.layer.1."
    for kind in ("weight", "bias"):
        weights[f"{layer}attention.output.LayerNorm.{kind}"][5] = 0
    weights[f"{layer}intermediate.dense.weight"] *= 20
    weights[f"{layer}intermediate.dense.weight"][0, 5] = 20000
    weights[f"{layer}output.dense.weight"] *= 20
    save_file(weights, folder / "model.safetensors")
    return sealed(folder, student / "tokenizer.json")


def test_the_guard_leaves_in_float32_the_matrix_that_int8_ruins(student: Path, tmp_path: Path) -> None:
    spoiled = spoiled_student(student, tmp_path / "student")
    found = quantized(spoiled, tmp_path / "int8", per_channel=False, max_loss=0.1)
    assert found["lost_without_guard"] > 0.1 >= found["lost"]
    assert found["kept"] == ["layer.1.feed_forward_in"]
    assert max(found["sensitivity"], key=found["sensitivity"].__getitem__) == "layer.1.feed_forward_in"
    kept = onnx.load(tmp_path / "int8/model.onnx").graph
    types = {tensor.name: tensor.data_type for tensor in kept.initializer}
    assert types["layer.1.feed_forward_in.weight"] == onnx.TensorProto.FLOAT
    assert types["layer.0.feed_forward_in.weight"] == onnx.TensorProto.INT8


def staged(damage: dict[str, float]) -> tuple[Quantizable, Callable[[Path, int], Runner], QuantizationRows]:
    """A model whose answers are off by the sum of the damage of each matrix that is int8; its score is 1 less that."""

    def write(folder: Path, kept: Collection[str]) -> None:
        write_json(folder / "loss.json", sum(loss for name, loss in damage.items() if name not in kept))

    def open_staged(folder: Path, threads: int) -> Runner:
        loss = json.loads((folder / "loss.json").read_text())
        space = {"labels": ["a", "b"]}
        return Runner("any", space, lambda texts: Outputs(np.tile([1 - loss, loss], (len(texts), 1))))

    exact, score = Outputs(np.array([[1.0, 0.0]] * 2)), lambda given: float(given.values[:, 0].mean())
    rows = QuantizationRows([], ["x", "y"], exact, "score", score, same_answers, ANSWERS.divergence)
    return Quantizable(tuple(damage), write, "static"), open_staged, rows


def test_the_guard_puts_back_the_most_sensitive_first_and_no_more_than_needed(tmp_path: Path) -> None:
    model, open_staged, rows = staged({"first": 0.01, "second": 0.2, "third": 0.05})
    found = guarded(model, tmp_path, backend="x", open_runner=open_staged, params=params(max_loss=0.02), rows=rows)
    assert found["kept"] == ["second", "third"]
    assert (found["lost_without_guard"], found["lost"]) == (0.26, 0.01)
    assert read_json(tmp_path / "loss.json") == pytest.approx(0.01)


def test_within_the_limit_nothing_is_put_back_and_no_sensitivity_measured(tmp_path: Path) -> None:
    model, open_staged, rows = staged({"first": 0.01})
    found = guarded(model, tmp_path, backend="x", open_runner=open_staged, params=params(max_loss=0.02), rows=rows)
    assert (found["kept"], found["sensitivity"]) == ([], {})


# Other backends


def test_openvino_answers_as_the_student_and_keeps_in_float32_what_the_guard_names(
    student: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    from stages.backends.openvino_int8.quantizer import prepare
    from stages.backends.openvino_int8.runner import open_runner

    sealed(tmp_path, student / "tokenizer.json")
    made = prepare(student, params(), TEXTS[:8])
    assert len(made.matrices) == 3 + 3 * 6 + 1  # words, positions, token types; six matrices a layer; the head
    exact = runners.open_runner(student, threads=1).predict(TEXTS).values
    sizes, errors = [], []
    for kept in ((), made.matrices):
        made.write(tmp_path, kept)
        sizes.append((tmp_path / "model.bin").stat().st_size)
        errors.append(np.abs(open_runner(tmp_path, 1).predict(TEXTS).values - exact).mean())
    assert sizes[1] > 2.5 * sizes[0]
    assert errors[1] < 1e-4 < errors[0] < 0.1
    shared = open_runner(tmp_path, 1)  # by threads: each gets the answers to what it asked
    alone = [shared.predict([text]).values for text in TEXTS]
    with ThreadPoolExecutor(4) as threads:
        answered = list(threads.map(lambda text: shared.predict([text]).values, TEXTS * 40))
    assert all((found == alone[at % len(TEXTS)]).all() for at, found in enumerate(answered))


@pytest.mark.slow
def test_openvinos_files_have_the_same_bytes_wherever_they_are_made(student: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    moved = shutil.copytree(student, tmp_path / "elsewhere/student")
    for source, folder in ((student, "one"), (moved, "two")):
        quantized(source, tmp_path / folder, backend="openvino_int8")
    for name in ("model.xml", "model.bin"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert str(tmp_path).encode() not in (tmp_path / "one" / name).read_bytes()


def test_openvino_sends_no_telemetry() -> None:
    pytest.importorskip("nncf")
    code = (
        "import stages.backends.openvino_int8.quantizer, nncf.telemetry.wrapper as wrapper\n"
        "from nncf.telemetry import telemetry\n"
        "print(isinstance(telemetry, wrapper.NNCFTelemetry))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NNCF", "PYTEST"))}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_torchao_answers_as_the_student_and_keeps_in_float32_what_the_guard_names(
    student: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao", reason=WHY_TORCHAO)
    from stages.backends.torchao_int8.quantizer import prepare
    from stages.backends.torchao_int8.runner import open_runner

    sealed(tmp_path, student / "tokenizer.json")
    made = prepare(student, params())
    assert len(made.matrices) == 3 + 3 * 6  # words, positions, token types; six matrices a layer; not the head
    exact = runners.open_runner(student, threads=1).predict(TEXTS).values
    sizes, errors = [], []
    for kept in ((), made.matrices[:3], made.matrices):
        made.write(tmp_path, kept)
        sizes.append((tmp_path / "model.safetensors").stat().st_size)
        errors.append(np.abs(open_runner(tmp_path, 1).predict(TEXTS).values - exact).mean())
    assert sizes == sorted(sizes)
    assert sizes[2] > 2.5 * sizes[0]
    assert errors[2] < 1e-6 < errors[0] < 0.1


def test_torchaos_products_are_of_int8_with_int8(student: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason=WHY_TORCHAO)
    quantized(student, tmp_path / "int8", backend="torchao_int8")
    runner = runners.open_runner(tmp_path / "int8", threads=1)
    with torch.profiler.profile() as profile:
        runner.predict(TEXTS[:1])
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["aten::_int_mm"] == 3 * 6
    assert counts["aten::addmm"] == 1  # the head


def test_torchaos_answers_do_not_hang_on_the_other_rows_of_a_batch(student: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao", reason=WHY_TORCHAO)
    quantized(student, tmp_path / "int8", backend="torchao_int8")
    runner = runners.open_runner(tmp_path / "int8", threads=1)
    alone = np.concatenate([runner.predict([text]).values for text in TEXTS])
    np.testing.assert_allclose(runner.predict(TEXTS).values, alone, atol=1e-6)


def test_torchaos_weights_have_7_bits_and_its_files_the_same_bytes_wherever_they_are_made(
    student: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torchao", reason=WHY_TORCHAO)
    moved = shutil.copytree(student, tmp_path / "elsewhere/student")
    for source, folder in ((student, "one"), (moved, "two")):
        quantized(source, tmp_path / folder, backend="torchao_int8")
    for name in ("model.safetensors", "layout.json", "config.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    int8 = {
        name: array for name, array in load_file(tmp_path / "one/model.safetensors").items() if array.dtype == np.int8
    }
    products = [array for name, array in int8.items() if name.endswith("_weight_qdata") and "embeddings" not in name]
    assert len(products) == 3 * 6
    assert max(np.abs(array.astype(int)).max() for array in products) == 64


def test_auto_takes_a_backend_that_is_installed_and_the_folder_names_it(
    student: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="winnow")
    found = quantized(student, tmp_path / "int8", backend="auto")
    assert found["backend"] in found["candidates"]
    assert "auto" not in found["candidates"]
    assert model_folder.describe(tmp_path / "int8")["backend"] == found["backend"]
    assert f"auto: {found['backend']} is taken" in caplog.text
    assert "ms a row" in caplog.text
    assert all(figures.keys() == found.keys() - {"candidates"} for figures in found["candidates"].values())
    assert runners.open_runner(tmp_path / "int8", threads=1).predict(TEXTS[:2]).values.shape == (2, 3)


def test_auto_takes_the_fastest_and_its_files(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="winnow")
    pytest.importorskip("nncf")
    times = {"onnxruntime_int8": 0.2, "openvino_int8": 0.1, "torchao_int8": 0.3}
    monkeypatch.setattr(auto_quantizer, "_in_turns", lambda runners, _: {name: times[name] for name in runners})
    assert quantized(student, tmp_path / "int8", backend="auto")["backend"] == "openvino_int8"
    assert {path.name for path in (tmp_path / "int8").glob("model.*")} == {"model.bin", "model.json", "model.xml"}


def test_auto_goes_on_where_a_backend_breaks(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="winnow")

    def breaks(*_: Any) -> None:
        raise RuntimeError("out of memory")

    pytest.importorskip("nncf")
    monkeypatch.setattr("stages.backends.openvino_int8.quantizer.quantize", breaks)
    assert "openvino_int8" not in quantized(student, tmp_path / "int8", backend="auto")["candidates"]
    assert "auto: openvino_int8 is left out: RuntimeError: out of memory" in caplog.text


def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where neither nncf nor torchao is installed."""
    for package in ("nncf", "torchao", "torchao.prototype.safetensors.safetensors_support"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("openvino_int8.quantizer", "torchao_int8.quantizer", "torchao_int8.runner"):
        monkeypatch.delitem(sys.modules, f"stages.backends.{module}", raising=False)


def test_auto_leaves_out_what_is_not_installed_and_says_what_is_missing(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="winnow")
    without_extras(monkeypatch)
    found = quantized(student, tmp_path / "int8", backend="auto")
    assert (found["backend"], list(found["candidates"])) == ("onnxruntime_int8", ["onnxruntime_int8"])
    assert "auto: openvino_int8 is left out: params.yaml: quantize.backend is 'openvino_int8'" in caplog.text
    assert "needs the package 'nncf': it is not installed" in caplog.text
    assert "needs the package 'torchao': it is not installed" in caplog.text


def test_auto_gives_the_reason_of_each_backend_where_none_is_left(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_extras(monkeypatch)  # which take minutes to try every matrix in vain
    rows = rows_of(student)
    unlike = dataclasses.replace(rows, score=lambda answers: float(answers is rows.exact))
    sealed_folder = tmp_path / "int8"
    sealed_folder.mkdir()
    sealed(sealed_folder, student / "tokenizer.json")
    with pytest.raises(ValueError) as error:
        auto_quantizer.quantize(student, sealed_folder, params(backend="auto", max_loss=0.5), unlike)
    told, of_onnxruntime, of_openvino, of_torchao = str(error.value).splitlines()
    assert told == "params.yaml: quantize.backend is 'auto', and no backend is left:"
    assert of_onnxruntime.startswith("  onnxruntime_int8: quantize: onnxruntime_int8 loses 1.0000 of accuracy even")
    assert "needs the package 'nncf': it is not installed" in of_openvino
    assert "needs the package 'torchao': it is not installed" in of_torchao


# What the stage writes beside the model


def test_the_folders_card_says_what_was_pruned_and_only_where_something_was(student: Path, tmp_path: Path) -> None:
    origin = Origin("files", "fine-tuned", load_params(REPOSITORY / "params.yaml").distill)
    described = {**model_folder.describe(student), "pretrained": "tiny", "backend": "onnxruntime_int8"}
    training = {"train_rows": 7}
    cut = {"parameters": [9, 5], "tokens": [30522, 9000], "heads": [[4, 3]] * 2, "feed_forward": [[64, 32]] * 2}
    assert (
        "pruned to 9,000 of 30,522 tokens, 3 of 4 attention heads a layer, 32 of 64 neurons a layer, quantized with"
        in card(OF_LABELS, described, origin, training, cut, FOUND, tmp_path)
    )
    assert "prune" not in card(OF_LABELS, described, origin, training, {"parameters": [9, 9]}, FOUND, tmp_path)


def test_the_folders_card_has_what_int8_cost_and_every_file_of_the_model(student: Path, tmp_path: Path) -> None:
    described = {**model_folder.describe(student), "pretrained": "tiny", "backend": "torchao_int8"}
    for name in ("README.md", "config.json", "layout.json", "manifest.json", "model.json", "model.safetensors"):
        (tmp_path / name).touch()
    origin = Origin("files", "fine-tuned", load_params(REPOSITORY / "params.yaml").distill)
    of_numbers = card(OF_NUMBERS, described, origin, {"train_rows": 7}, {}, FOUND, tmp_path)
    assert "to 97.5% of them the number of before, to a tenth of what numbers deviate by" in of_numbers
    said = card(OF_LABELS, described, origin, {"train_rows": 7}, {}, FOUND, tmp_path)
    assert "macro_f1 0.4900, before quantization 0.5000;\n  the same answer as before to 97.5% of them" in said
    assert "Files: `config.json`, `layout.json`, `model.safetensors` (the model:" in said


def test_an_int8_model_and_its_card_have_thresholds_of_their_own(student: Path, tmp_path: Path) -> None:
    """Not with those of the pruned model, here all of 0.9."""
    paths = Paths(tmp_path)
    shutil.copytree(student, paths.model("pruned"))
    others = {"labels": LABELS, "thresholds": dict.fromkeys(LABELS, 0.9)}
    task = {"task": "multilabel_classification", "space": others, "pretrained": "tiny"}
    model_folder.seal(paths.model("pruned"), **{**model_folder.describe(student), **task})
    of_texts = runners.open_runner(paths.model("pruned"), threads=1).predict(TEXTS).values
    truths = [as_text(label for label, one in zip(LABELS, row, strict=True) if one > 0.2) for row in of_texts]
    rows = {"row_id": list(map(str, range(len(TEXTS)))), "text": TEXTS, "label": truths}
    both = [pa.table({**rows, "split": [split] * len(TEXTS)}) for split in ("train", "validation")]
    paths.clean.parent.mkdir(parents=True)
    pq.write_table(pa.concat_tables(both), paths.clean)
    for report, content in ((paths.training("pruned"), {"train_rows": 7}), (paths.pruning_report, {})):
        report.parent.mkdir(parents=True, exist_ok=True)
        write_json(report, content)
    whole = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    whole["task"] = {"name": "multilabel_classification", "measure": "micro_f1"}
    whole["quantize"] |= {"backend": "onnxruntime_int8", "max_loss": 1.0}
    quantize(Params.model_validate(whole), paths)
    thresholds = model_folder.describe(paths.model("quantized"))["space"]["thresholds"]
    assert max(thresholds.values()) < 0.5
    shown = ", ".join(f"{label} {of}" for label, of in thresholds.items())
    assert f"- Thresholds: {shown}\n" in (paths.model("quantized") / "README.md").read_text()
    model_folder.verify(paths.model("quantized"))


def test_a_temperature_is_fitted_to_the_texts_and_labels_given(student: Path) -> None:
    """Labels that are half of them wrong want softer probabilities; such as the model gives them, sharper ones."""
    outputs, space = runners.open_runner(student, threads=1).predict(TEXTS), {"labels": LABELS}
    given = ANSWERS.answers(outputs, space)
    half_wrong = [LABELS[LABELS.index(one) - 1] if at % 2 else one for at, one in enumerate(given)]
    fitted = [fit_temperature(ANSWERS, truths, outputs, space) for truths in (given, half_wrong)]
    assert fitted[0] < 1 < fitted[1]


# Bad input


def test_a_backend_that_is_not_installed_is_told_with_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "leaf_that_needs_more.py").write_text("import a_package_that_nobody_has\n")
    sys.path.insert(0, str(tmp_path))
    try:
        with pytest.raises(ValueError) as error:
            plugins.load({"fast": "leaf_that_needs_more:quantize"}, "fast", key="quantize.backend")
    finally:
        sys.path.remove(str(tmp_path))
    assert str(error.value) == (
        "params.yaml: quantize.backend is 'fast', which needs the package 'a_package_that_nobody_has': it is not"
        " installed. Install it: .venv/bin/pip install --constraint constraints.txt a_package_that_nobody_has"
    )


def test_an_unknown_backend_is_told_with_what_is_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"Allowed: auto, onnxruntime_int8, openvino_int8, torchao_int8\. Did you mean 'openvino_"
    ):
        plugins.load(QUANTIZERS, "openvino", key="quantize.backend")


def test_static_ranges_without_calibration_rows_are_refused(student: Path) -> None:
    with pytest.raises(ValueError, match=r"calibration rows, and there are none.*'dynamic'"):
        quantizer.prepare(student, params(activations="static"), [])


def test_dynamic_ranges_need_no_calibration_rows(student: Path, tmp_path: Path) -> None:
    quantizer.prepare(student, params(activations="dynamic"), []).write(tmp_path, ())
    assert (tmp_path / "model.onnx").is_file()


def test_a_flipped_byte_in_the_folder_is_found_before_it_is_opened(student: Path, tmp_path: Path) -> None:
    quantized(student, tmp_path / "int8")
    spoiled = bytearray((tmp_path / "int8/model.onnx").read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    (tmp_path / "int8/model.onnx").write_bytes(spoiled)
    with pytest.raises(ValueError, match=r"model\.onnx was altered"):
        runners.open_runner(tmp_path / "int8", threads=1)


@pytest.fixture(scope="module")
def runner(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Runner:
    folder = tmp_path_factory.mktemp("int8") / "quantized"
    quantized(student, folder)
    return open_runner(folder, 1)


@pytest.mark.parametrize("text", ["", " ", "\x00\x07\x1b", "\ud800 ship", "a" * 1_000_000, "ship " * 200_000])
def test_any_text_gets_probabilities(runner: Runner, text: str) -> None:
    answer = runner.predict([text]).values
    assert answer.shape == (1, 3)
    assert answer.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(runner.predict(["bread", text, "owl"]).values[1], answer[0], atol=1e-6)


def test_no_texts_get_no_probabilities(runner: Runner) -> None:
    assert runner.predict([]).values.shape == (0, 3)


def test_a_long_text_is_answered_as_its_beginning(runner: Runner) -> None:
    beginning = "the ship near the old harbour under some slow storm by night "
    long, short = (runner.predict([text]).values for text in (beginning + "bread " * 200_000, beginning * 9))
    np.testing.assert_array_equal(long, short)


def test_no_more_of_a_text_is_tokenized_than_its_tokens_can_need(student: Path) -> None:
    reader = open_reader(student, {"max_tokens": 12})
    behind = "a" * (12 * CHARACTERS_A_TOKEN) + " ship"
    (long,), (beginning,) = (reader.read([text]).encodings for text in (behind, "a" * 5000))
    assert long.ids == beginning.ids
    assert len(reader.read(["ship " * 50]).encodings[0]) == 12


def test_a_run_holds_rows_of_one_length_and_a_bounded_number_of_tokens(student: Path) -> None:
    shapes = []

    def run(input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        assert attention_mask.all()
        shapes.append(input_ids.shape)
        return input_ids[:, 1:2].astype(np.float32) * np.array([[0, 0.01]], dtype=np.float32)

    texts = ["ship"] * 700 + ["old ship"] * 2
    answers = outputs(texts, open_reader(student, {"max_tokens": 12}), run, size=2).values
    assert shapes == [(2, 6), (682, 3), (18, 3)]  # "old" is three pieces of a word
    assert len(np.unique(answers[:700], axis=0)) == 1
    assert not np.allclose(answers[0], answers[-1])


@pytest.mark.parametrize("name", QUANTIZERS)
def test_every_backend_has_the_files_that_dvc_yaml_names(name: str) -> None:
    folder = REPOSITORY / "stages/backends" / name
    assert {path.name for path in folder.glob("*.py")} >= {"quantizer.py", "runner.py"}
