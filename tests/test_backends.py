"""Runners and the quantizer: the same model, whatever runs it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TOPICS

from stages.backends import runners
from stages.cleaning import rules
from stages.core import model_folder
from stages.core.contracts import Head
from stages.core.params.file import load_params
from stages.core.params.model import ModelParams
from stages.models.encoder import FAMILY

TEXTS = [" ".join(words[:n]) for n in (1, 4, 9) for words in TOPICS.values()]


def make_student(tiny: Path, folder: Path) -> Path:
    """A random model with a head so steep that texts get clearly different answers."""
    named: dict[str, Any] = {"family": "encoder", "name": str(tiny), "revision": None, "sha256": None}
    params = ModelParams(
        **named, pooling="mean", encoder_dropout=0.0, head_dropout=0.1, scratch=None, image=None, image_augmentation=0.0
    )
    torch.manual_seed(1)
    model: Any = FAMILY.build(tiny, params, Head("row", 3))
    with torch.no_grad():
        model.head.weight.mul_(20)
    FAMILY.write(model, folder)
    shutil.copyfile(tiny / "tokenizer.json", folder / "tokenizer.json")
    model_folder.seal(
        folder, backend="pytorch", task="text_classification", space={"labels": ["a", "b", "c"]}, family="encoder",
        max_tokens=12, pad_id=0,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Path:
    return make_student(tiny_models("bert"), tmp_path_factory.mktemp("models") / "student")


def quantized(student: Path, folder: Path, temperature: float = 1.0) -> Path:
    from stages.backends.onnxruntime_int8.quantizer import prepare

    folder.mkdir(parents=True)
    prepare(student, load_params(REPOSITORY / "params.yaml").quantize, TEXTS).write(folder, ())
    shutil.copyfile(student / "tokenizer.json", folder / "tokenizer.json")
    description = {**model_folder.describe(student), "backend": "onnxruntime_int8", "temperature": temperature}
    model_folder.seal(folder, **description)
    return folder


@pytest.fixture(scope="module")
def int8(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quantized(student, tmp_path_factory.mktemp("int8") / "quantized")


def test_the_temperature_in_the_folder_softens_the_probabilities(student: Path, int8: Path, tmp_path: Path) -> None:
    softer = quantized(student, tmp_path / "softer", temperature=2.0)
    texts = ["the ship near the harbour", "bread and butter"]
    before, after = (runners.open_runner(folder, threads=1).predict(texts).values for folder in (int8, softer))
    expected = np.sqrt(before) / np.sqrt(before).sum(1, keepdims=True)  # logits halved
    np.testing.assert_allclose(after, expected, rtol=1e-4)


def test_pytorch_answers_in_the_order_of_the_texts(student: Path) -> None:
    runner = runners.open_runner(student, threads=1)
    together = runner.predict(TEXTS).values
    assert together.shape == (len(TEXTS), 3)
    assert together.dtype == np.float32
    assert np.allclose(together.sum(1), 1, atol=1e-6)
    for i in (0, 4, 8):
        assert np.allclose(runner.predict([TEXTS[i]]).values[0], together[i], atol=1e-6)


def spread_and_error(student: Path, int8: Path) -> tuple[float, float]:
    exact = runners.open_runner(student, threads=1).predict(TEXTS).values
    rounded = runners.open_runner(int8, threads=1).predict(TEXTS).values
    return float(np.ptp(exact, axis=0).max()), float(np.abs(exact - rounded).max())


def test_int8_stays_close_to_the_model_that_it_was_made_of(student: Path, int8: Path) -> None:
    spread, error = spread_and_error(student, int8)
    assert error < 0.1 * spread
    assert spread > 0.2


@pytest.mark.parametrize("kind", ["distilbert", "albert", "roberta"])
def test_other_encoders_survive_quantization(tiny_models: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    student = make_student(tiny_models(kind), tmp_path / "student")
    spread, error = spread_and_error(student, quantized(student, tmp_path / "quantized"))
    assert error < 0.15 * spread
    assert spread > 0.1


def test_int8_holds_its_matrices_as_int8(int8: Path) -> None:
    import onnx

    graph = onnx.load(int8 / "model.onnx").graph
    products = [node.op_type for node in graph.node if node.name.endswith(".product")]
    assert products == ["QAttention", *["MatMulIntegerToFloat"] * 3] * 3
    floats = [t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) > 1]
    assert sum(np.prod(t.dims) for t in floats) < 0.15 * sum(np.prod(t.dims) for t in graph.initializer)
    kinds = [node.op_type for node in graph.node]
    assert (kinds.count("SkipLayerNormalization") + kinds.count("LayerNormalization"), kinds.count("Gelu")) == (7, 3)


def test_the_quantized_file_has_the_same_bytes_wherever_it_is_made(student: Path, int8: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere/student"
    shutil.copytree(student, moved)
    again = quantized(moved, tmp_path / "elsewhere/quantized")
    assert (again / "model.onnx").read_bytes() == (int8 / "model.onnx").read_bytes()
    assert b"/stages/" not in (int8 / "model.onnx").read_bytes()


def test_the_int8_runner_needs_no_torch(int8: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stages.backends.runners import open_runner\n"
        "print(open_runner(Path(sys.argv[1]), threads=1).predict(['ship']).values.shape)\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'pandas', 'pydantic', 'daft', 'pyarrow'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(int8)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["(1, 3)", "[]"]


@pytest.mark.parametrize("backend", ["pytorch", "onnxruntime_int8"])
def test_a_raw_text_gets_the_answer_of_its_clean_form(student: Path, int8: Path, tmp_path: Path, backend: str) -> None:
    """As test rows do, which are clean: in HTML, with invisible characters, masks, and beyond max_chars."""
    params = load_params(REPOSITORY / "params.yaml").clean
    names = [*params.rules, "markdown_markup", "mask_urls", "mask_numbers", "no_stop_words"]
    cleaning = rules.cleaning_of(names, params.masks, params.stop_word_language, 60)
    shutil.copytree({"pytorch": student, "onnxruntime_int8": int8}[backend], tmp_path / "model")
    plain = runners.open_runner(tmp_path / "model", threads=1)
    about = {**model_folder.describe(tmp_path / "model"), "cleaning": cleaning._asdict()}
    model_folder.seal(tmp_path / "model", **about)
    asked = runners.open_runner(tmp_path / "model", threads=1)
    raw = [
        "<div class='q'><p>the ship&nbsp;near</p> the <b>harbour</b></div><script>wave()</script>",
        "b\u200bread \u202eand\n\n\n**butter** &amp;lt;i&amp;gt;oven&amp;lt;/i&amp;gt;",
        "see https://a.b/ship at 10:30 " + "tree owl " * 30,
        "\ud800 moss", "", "  ",
    ]  # fmt: skip
    clean = rules.cleaner(cleaning)
    assert [clean(text) for text in raw[:2]] == ["ship near harbour", "bread butter oven"]
    cleaned = [clean(text) for text in raw]
    np.testing.assert_array_equal(asked.predict(raw).values, plain.predict(cleaned).values)
    np.testing.assert_array_equal(asked.predict(cleaned).values, plain.predict(cleaned).values)
    assert np.abs(asked.predict(raw[:1]).values - plain.predict(raw[:1]).values).max() > 0.01


def test_any_number_of_threads_gives_the_same_answer(int8: Path) -> None:
    one, two = (runners.open_runner(int8, threads=n).predict(TEXTS).values for n in (1, 2))
    assert np.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_int8_runner_takes_the_threads_that_it_is_given(
    int8: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    given: list[int] = []
    session = onnxruntime.InferenceSession

    def opened(path: str, options: Any, **more: Any) -> Any:
        given.append(options.intra_op_num_threads)
        return session(path, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    runners.open_runner(int8, threads=threads)
    assert given == [threads]


def test_the_baseline_runner_is_scikit_learns_own_answer(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from stages.core.files import write_json
    from stages.tasks.text_classification.baseline import one_row_a_label

    for labels in (["a", "b", "c"] * 3, (["a", "b", "b"] * 3)):
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        model = LogisticRegression(C=10.0).fit(vectorizer.fit_transform(TEXTS), labels)
        coefficients, intercept = one_row_a_label(model.coef_, model.intercept_)
        folder = tmp_path / str(len(set(labels)))
        folder.mkdir()
        from safetensors.numpy import save_file

        weights = {"coefficients": coefficients, "intercept": intercept, "idf": vectorizer.idf_}
        save_file(
            {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in weights.items()}, folder / "weights.safetensors"
        )
        write_json(folder / "vocabulary.json", sorted(vectorizer.vocabulary_))
        space = {"labels": sorted(set(labels))}
        model_folder.seal(folder, backend="linear", task="text_classification", space=space, max_ngram=2)
        ours = runners.open_runner(folder, threads=1).predict(TEXTS).values
        assert np.allclose(ours, model.predict_proba(vectorizer.transform(TEXTS)), atol=1e-5)
