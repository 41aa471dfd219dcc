"""The graphs of two towers for ONNX Runtime: the vectors of PyTorch in float32, near to them in int8, pruned or not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from test_images import RED, encoded, plain
from test_two_towers import END, KINDS, VECTOR, batch, logits_of, params_of, write_tiny_clip
from test_two_towers import SHAPE as SHAPE_OF_NEW

from flows.app.limits import TEXTS as ASKED
from flows.app.served import open_served
from stages.backends.onnxruntime_int8 import quantizer
from stages.backends.onnxruntime_int8.runner import open_runner
from stages.backends.pytorch.runner import open_runner as open_exact
from stages.backends.runners import image_at
from stages.backends.runners import open_runner as open_clean
from stages.compression.structured import cut_layers
from stages.core.contracts import Image, Outputs
from stages.core.model_folder import seal
from stages.core.params.file import load_params
from stages.models.two_towers import FAMILY
from stages.tasks.image_text_matching.answers import ANSWERS
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")
IMAGES = {"size": 16, "fit": "pad", "background": [255, 255, 255], "min_side": 2, "max_side": 4096,
          "max_pixels": 4_000_000, "max_bytes": 200_000}  # fmt: skip
TEXTS = ["ship wave", "owl moss tree forest", "bread", "the sailor with a ship near the harbor"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> dict[str, Path]:
    """Folders of a CLIP, and of a new tower beside an encoder, whole and without half of their heads and neurons."""
    clip, found = tmp_path_factory.mktemp("clip"), {}
    write_tiny_clip(clip, hidden_act="quick_gelu")
    for kind in KINDS:
        own = (clip, None) if kind == "clip" else (tiny_models("bert"), SHAPE_OF_NEW)
        torch.manual_seed(7)
        model: Any = FAMILY.build(own[0], params_of(*own), VECTOR).eval()
        for name, weight in model.named_parameters():
            if "norm" in name.lower() or "bias" in name:
                weight.data = weight.data + 0.1 * torch.randn_like(weight)
        found[kind] = written(model, tmp_path_factory.mktemp(kind), tiny_models("bert"))
        given = batch(end=END if kind == "clip" else 3)
        shares = {"heads": 0.5, "feed_forward": 0.5}
        cut_layers(model, FAMILY.units, shares, [given], lambda one, model=model: logits_of(model(*one)).sum())  # type: ignore[misc]
        found[f"pruned {kind}"] = written(model, tmp_path_factory.mktemp("pruned"), tiny_models("bert"))
    return found


def written(model: Any, folder: Path, tokenizer: Path) -> Path:
    FAMILY.write(model, folder)
    shutil.copyfile(tokenizer / "tokenizer.json", folder / "tokenizer.json")
    seal(folder, backend="pytorch", task="image_text_matching", space={}, family="two_towers", max_tokens=12, pad_id=0,
         images=IMAGES)  # fmt: skip
    return folder


def images(count: int) -> list[Image]:
    """Smooth images, each with a name of its own."""
    draw, found = np.random.default_rng(3), []
    for number in range(count):
        rough = draw.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        found.append(Image(f"image {number}", np.kron(rough, np.ones((4, 4, 1), dtype=np.uint8))))
    return found


def graphs(source: Path, folder: Path, kept: bool, activations: str = "dynamic") -> Any:
    """The graphs of the model in `source`; with `kept` all matrices are in float32."""
    params = PARAMS.quantize.model_copy(update={"activations": activations})
    made = quantizer.prepare(source, params, list(zip(images(8), TEXTS * 2, strict=True)))
    for name in ("tokenizer.json", "model.json"):
        shutil.copyfile(source / name, folder / name)
    made.write(folder, made.matrices if kept else ())
    return made


@pytest.mark.parametrize("kind", [*KINDS, *(f"pruned {kind}" for kind in KINDS)])
def test_the_graphs_have_the_vectors_of_pytorch(folders: dict[str, Path], tmp_path: Path, kind: str) -> None:
    made = graphs(folders[kind], tmp_path, kept=True)
    assert sorted({name.partition(".")[0] for name in made.matrices}) == ["image", "text"]
    exact, found = open_exact(folders[kind], 1), open_runner(tmp_path, 1)
    if "clip" in kind:  # the tokenizer here is not its own, so it is given numbers of tokens
        ids = [[48, 5, 9, END], [48, 7, 3, 12, 9, END]]
        for one in ids:
            array = np.array([one], dtype=np.int64)
            given = FAMILY.open(folders[kind])(torch.from_numpy(array), torch.ones(1, len(one), dtype=torch.int64))
            import onnxruntime

            session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
            vector = session.run(["logits"], {"input_ids": array, "attention_mask": np.ones_like(array)})[0]
            assert np.allclose(vector, given.detach().numpy(), atol=2e-5)
    else:
        assert np.allclose(found.predict(TEXTS).values, exact.predict(TEXTS).values, atol=2e-5)
    some = images(5)
    assert np.allclose(found.predict(some).values, exact.predict(some).values, atol=2e-5)


@pytest.mark.parametrize("activations", ["dynamic", "static"])
@pytest.mark.parametrize("kind", ["composed", "pruned composed"])
def test_int8_is_near_to_them(folders: dict[str, Path], tmp_path: Path, kind: str, activations: str) -> None:
    made = graphs(folders[kind], tmp_path, kept=False, activations=activations)
    assert made.activations == activations
    exact, found = open_exact(folders[kind], 1), open_runner(tmp_path, 1)
    asked: list[Any] = list(zip(images(4), TEXTS, strict=True))
    one, other = exact.predict(asked), found.predict(asked)
    assert one.values.shape == other.values.shape == (4, 2, 20)
    assert 0 < ANSWERS.divergence(one, other) < 0.02
    assert (tmp_path / "model.onnx").stat().st_size < (folders[kind] / "model.safetensors").stat().st_size
    first = [(tmp_path / name).read_bytes() for name in ("model.onnx", "images.onnx")]
    made.write(tmp_path, ())
    assert [(tmp_path / name).read_bytes() for name in ("model.onnx", "images.onnx")] == first


def test_pairs_texts_and_images_have_the_same_vectors_and_each_is_read_once(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    runner, (one, other) = open_exact(folders["composed"], 1), images(2)
    pairs: list[Any] = [(one, "ship"), (other, "owl"), (one, "owl")]
    found = runner.predict(pairs)
    assert found.numbers is not None
    assert found.numbers[:, 0].tolist() == [found.numbers[0, 0], found.numbers[1, 0], found.numbers[0, 0]]
    mixed = runner.predict(["owl", one, "ship", other]).values
    alone = [found.values[1, 1], found.values[0, 0], found.values[0, 1], found.values[1, 0]]
    assert np.allclose(mixed, alone, atol=1e-6)
    assert runner.predict([]).values.shape[0] == 0
    record = ANSWERS.record(Outputs(mixed), 0, "owl", {})
    assert np.linalg.norm(record["vector"]) == pytest.approx(1, abs=1e-4)


def test_no_runner_reads_a_file_that_a_text_names_but_who_loads_a_model_may(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, path = folders["composed"], tmp_path / "red.png"
    path.write_bytes(encoded(plain(RED)))
    pairs: list[Any] = [(str(path), "ship")]
    with pytest.raises(ValueError, match=r"pair number 1 begins with .* no image"):
        open_clean(folder, threads=1).predict(pairs)
    model = load(folder, threads=1)
    (record,) = model(pairs)
    assert record["similarity"] == pytest.approx(float(model.similarity([path], ["ship"])[0, 0]), abs=1e-5)
    assert open_served(folder, threads=1).takes == {ASKED}


def test_labels_that_are_said_only_when_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, colour in (("red", RED), ("white", (255, 255, 255))):
        (tmp_path / f"{name}.png").write_bytes(encoded(plain(colour)))
    paths, model = [tmp_path / "red.png", tmp_path / "white.png"], load(folders["composed"], threads=1)
    found = model.zero_shot(paths, ["ship", "owl", "bread"])
    cosines = model.similarity(paths, ["ship", "owl", "bread"])
    expected = np.exp(cosines / 0.07)  # the first scale of a new tower
    assert np.allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-4)
    several = model.zero_shot(paths, ["ship", "owl"], templates=["the {}", "some {} near"])
    assert np.allclose(several.sum(1), 1, atol=1e-5)
    assert not np.allclose(several[:, 0], model.zero_shot(paths, ["ship", "owl"])[:, 0], atol=1e-4)
    assert np.allclose(np.linalg.norm(model.texts(["ship"]), axis=1), 1, atol=1e-5)
    with pytest.raises(ValueError, match=r"the template 'the' has no \{\}"):
        model.zero_shot(paths, ["ship"], templates=["the"])
    with pytest.raises(ValueError, match=r"none\.png: the image none\.png cannot be read"):
        model.images([tmp_path / "none.png"])


def test_an_image_of_a_file_is_read_as_the_model_says_and_a_bad_one_named(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(encoded(plain(RED)))
    image = image_at(tmp_path / "red.png", {"images": IMAGES})
    assert image.pixels.shape == (16, 16, 3)
    assert tuple(image.pixels[8, 8]) == RED
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.png: its bytes are those of no image"):
        image_at(tmp_path / "bad.png", {"images": IMAGES})
