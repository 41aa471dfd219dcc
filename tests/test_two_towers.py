"""Two towers: CLIP as transformers has it, a new image tower beside an encoder, and what is done with both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from stages.compression.structured import cut_layers
from stages.core.contracts import Head
from stages.core.files import sha256
from stages.core.params.file import Params, load_params
from stages.core.params.model import ImageTowerParams, ModelParams
from stages.models.augmentation import changed
from stages.models.model_files import faults
from stages.models.pretrained import faults_of_model, locate
from stages.models.text_space import whitening
from stages.models.towers import FIRST_SCALE, OF_CLIP
from stages.models.two_towers import FAMILY
from stages.training.groups import freeze
from stages.training.meter import cost_of_rows

PARAMS = load_params(REPOSITORY / "params.yaml")
VECTOR = Head("vector", 0)
SHAPE = ImageTowerParams(size=16, patch=4, depths=[1, 2], widths=[16, 24], projection=20)
END = 49  # of a text, by the tokenizer that the tiny CLIP would have


def write_tiny_clip(folder: Path, *, end: int = 2, **more: Any) -> CLIPModel:
    """A random CLIP; with `end` 2 its configuration is as those of the first ones are."""
    text = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "eos_token_id": end,
            "num_attention_heads": 4, "max_position_embeddings": 12, "bos_token_id": 48}  # fmt: skip
    vision = {"hidden_size": 24, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 16, "patch_size": 8}  # fmt: skip
    torch.manual_seed(3)
    model = CLIPModel(CLIPConfig(text_config=text | more, vision_config=vision, projection_dim=20))
    for name, weight in model.named_parameters():
        if "norm" in name:  # of which the first ones are 1 and 0
            weight.data = weight.data + 0.1 * torch.randn_like(weight)
    model.eval().save_pretrained(folder)
    return model


def params_of(folder: Path, image: ImageTowerParams | None) -> ModelParams:
    changes = {"family": "two_towers", "name": str(folder), "revision": None, "image": image,
               "sha256": sha256(folder / "model.safetensors")}  # fmt: skip
    return PARAMS.model.model_copy(update=changes)


def batch(rows: int = 4, *, end: int = END, pixels: int = 16) -> tuple[torch.Tensor, ...]:
    """Ids and mask of texts of several lengths, and pixels."""
    made = torch.Generator().manual_seed(5)
    ids = torch.randint(4, 40, (rows, 7), generator=made)
    mask = torch.ones_like(ids)
    for row in range(min(rows, 6)):
        ids[row, 6 - row], mask[row, 7 - row :] = end, 0
        ids[row, 7 - row :] = 0
    return ids, mask, torch.randint(0, 256, (rows, pixels, pixels, 3), generator=made, dtype=torch.uint8)


def logits_of(vectors_B2P: torch.Tensor) -> torch.Tensor:
    return vectors_B2P[:, 0] @ vectors_B2P[:, 1].T


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in OF_CLIP)
    return (pixels.permute(0, 3, 1, 2) / 255 - mean) / deviation


@pytest.mark.parametrize("end", [2, END])
def test_clip_of_transformers_has_the_same_logits(tmp_path: Path, end: int) -> None:
    theirs = write_tiny_clip(tmp_path, end=end)
    ours = FAMILY.build(locate(params_of(tmp_path, None)), params_of(tmp_path, None), VECTOR).eval()
    ids, mask, pixels = batch()
    with torch.inference_mode():
        found = logits_of(ours(ids, mask, pixels))
        expected = theirs(input_ids=ids, attention_mask=mask, pixel_values=normalised(pixels)).logits_per_image
    assert expected.std() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.slow  # 151 million weights, 605 MB
def test_a_model_of_the_very_shapes_of_clip_vit_base_patch32_has_the_same_logits(tmp_path: Path) -> None:
    """As openai/clip-vit-base-patch32 lies on the Hub, whose files name a wrong token and hold numbers of places."""
    torch.manual_seed(11)
    theirs = CLIPModel(CLIPConfig(text_config={"eos_token_id": 2, "bos_token_id": 0})).eval()
    theirs.save_pretrained(tmp_path)
    assert sum(weight.numel() for weight in theirs.parameters()) == 151_277_313
    weights = load_file(tmp_path / "model.safetensors")
    places = {"text_model": 77, "vision_model": 50}
    numbers = {f"{tower}.embeddings.position_ids": torch.arange(count)[None] for tower, count in places.items()}
    save_file({**weights, **numbers}, tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": OF_CLIP[0], "image_std": OF_CLIP[1]}))
    ours = FAMILY.build(tmp_path, params_of(tmp_path, None), VECTOR).eval()
    ids, mask, pixels = batch(end=49407, pixels=224)
    with torch.inference_mode():
        found = logits_of(ours(ids, mask, pixels))
        expected = theirs(input_ids=ids, attention_mask=mask, pixel_values=normalised(pixels)).logits_per_image
    assert expected.std() > 0.01
    assert torch.allclose(found, expected, atol=1e-5)
    assert len(FAMILY.parts(ours).layers) == 24


def test_pixels_are_scaled_as_the_model_says(tmp_path: Path) -> None:
    theirs = write_tiny_clip(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    ours = FAMILY.build(tmp_path, params_of(tmp_path, None), VECTOR).eval()
    ids, mask, pixels = batch()
    with torch.inference_mode():
        given = (pixels.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
        expected = theirs(input_ids=ids, attention_mask=mask, pixel_values=given).logits_per_image
        assert torch.allclose(logits_of(ours(ids, mask, pixels)), expected, atol=1e-5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Callable[[str], Any]:
    folder = tmp_path_factory.mktemp("clip")
    write_tiny_clip(folder)

    def made(kind: str) -> Any:
        torch.manual_seed(7)
        own = (folder, None) if kind == "clip" else (tiny_models("bert"), SHAPE)
        return FAMILY.build(own[0], params_of(*own), VECTOR).eval()

    return made


KINDS = ("clip", "composed")


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_as_long_as_the_learned_scale_says_and_it_has_a_limit(
    models: Callable[[str], Any], kind: str
) -> None:
    model, given = models(kind), batch(end=3 if kind == "composed" else END)
    with torch.inference_mode():
        if kind == "composed":
            assert float(model.head.logit_scale) == pytest.approx(FIRST_SCALE)
        squares = model(*given).square().sum(-1)
        assert torch.allclose(squares, model.head.logit_scale.exp().expand(4, 2), rtol=1e-5)
        assert torch.allclose(model(*given[:2]), model(*given)[:, 1], atol=1e-6)
        assert torch.allclose(model.of_images(given[2]), model(*given)[:, 0], atol=1e-6)
        model.head.logit_scale.fill_(9.0)
        assert torch.allclose(model(*given).square().sum(-1), torch.tensor(100.0), rtol=1e-5)
    logits_of(model(*given)).sum().backward()
    assert model.head.logit_scale.grad.abs() > 0, "it can come back from beyond its limit"


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(models: Callable[[str], Any], kind: str) -> None:
    model, (ids, mask, pixels) = models(kind), batch(end=3 if kind == "composed" else END)
    with torch.inference_mode():
        alone = model(ids[3:, :4], mask[3:, :4], pixels[3:])
        assert torch.allclose(model(ids, mask, pixels)[3:], alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_model_opens_to_the_same_vectors_and_bytes(
    models: Callable[[str], Any], tmp_path: Path, kind: str
) -> None:
    model, given = models(kind), batch(end=3 if kind == "composed" else END)
    FAMILY.write(model, tmp_path / "one")
    opened = FAMILY.open(tmp_path / "one")
    FAMILY.write(opened, tmp_path / "two")
    with torch.inference_mode():
        assert torch.equal(opened(*given), model(*given))
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


COUNTS = {
    "clip": {"heads": [[4, 2], [2, 1]], "feed_forward": [[64, 32], [64, 32]]},
    "composed": {"heads": [[4, 2]], "feed_forward": [[64, 32], [64, 32], [96, 64], [96, 64]]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pruned_student_with_fewer_tokens_opens_again(
    models: Callable[[str], Any], tmp_path: Path, kind: str
) -> None:
    model, (ids, mask, pixels) = models(kind), batch(end=3 if kind == "composed" else END)
    small: Any = FAMILY.student(model, [1])
    kept = sorted({0, *ids.flatten().tolist(), *([1, 2, 3] if kind == "composed" else [])})
    with torch.inference_mode():
        before = small(ids, mask, pixels)
    cut: Any = FAMILY.cut_vocabulary(small, kept, 8)
    new_ids = torch.tensor([[kept.index(token) for token in row] for row in ids.tolist()])
    with torch.inference_mode():
        assert torch.allclose(cut(new_ids, mask, pixels), before, atol=1e-6)
    shares = {"heads": 0.5, "feed_forward": 0.5}
    counts = cut_layers(cut, FAMILY.units, shares, [(new_ids, mask, pixels)], lambda one: logits_of(cut(*one)).sum())
    assert counts == COUNTS[kind]
    FAMILY.write(cut, tmp_path)
    opened = FAMILY.open(tmp_path)
    with torch.inference_mode():
        assert torch.equal(opened(new_ids, mask, pixels), cut(new_ids, mask, pixels))
    with pytest.raises(ValueError, match=r"distill\.teacher_layers has 7\. Allowed: 0 to"):
        FAMILY.student(model, [7])


def test_texts_alone_can_be_frozen_and_what_is_new_has_the_heads_rate(models: Callable[[str], Any]) -> None:
    of_new = FAMILY.parts(models("composed"))
    inside = {id(weight) for weight in of_new.encoder.parameters()}
    assert len(of_new.layers) == 3
    assert all(id(weight) in inside for layer in of_new.layers for weight in layer.parameters())
    model = models("composed")
    parts = FAMILY.parts(model)
    both = [*parts.encoder.parameters(), *parts.head.parameters()]
    assert sorted(map(id, both)) == sorted(map(id, model.parameters()))
    assert len(FAMILY.parts(models("clip")).layers) == 5
    clip = models("clip")
    whole = [*FAMILY.parts(clip).encoder.parameters(), *FAMILY.parts(clip).head.parameters()]
    assert sorted(map(id, whole)) == sorted(map(id, clip.parameters()))


def test_texts_are_whitened_beside_a_new_image_tower_and_their_space_is_not_learned(
    models: Callable[[str], Any],
) -> None:
    model, clip = models("composed"), models("clip")
    ids, mask, pixels = batch(48, end=3)
    known = clip.state_dict()
    texts = [
        {"input_ids": ids[start : start + 16], "attention_mask": mask[start : start + 16]} for start in (0, 16, 32)
    ]
    assert FAMILY.first_values is not None
    for each in (model, clip):
        FAMILY.first_values(each, iter(texts))
    assert all(torch.equal(tensor, known[name]) for name, tensor in clip.state_dict().items())
    assert all(weight.requires_grad for weight in clip.parameters())
    assert [name for name, weight in model.named_parameters() if not weight.requires_grad] == [
        "head.logit_scale", "head.text.weight"
    ]  # fmt: skip
    with torch.inference_mode():
        found = model(ids, mask)
        assert torch.allclose(found.square().sum(-1), torch.tensor(10.0), rtol=1e-5)
        spread = torch.linalg.eigvalsh(found.T @ found)
        raw = model.text(ids, mask)
        before = torch.linalg.eigvalsh(raw.T @ raw)[-len(spread) :]
    assert before[-1] / before.sum() > 0.8, "the vectors of a sentence encoder are near each other"
    assert spread[-1] / spread.sum() < 0.3
    logits_of(model(ids, mask, pixels)).sum().backward()
    assert model.head.text.weight.grad is None
    freeze(FAMILY.parts(model), PARAMS.finetune.model_copy(update={"freeze_embeddings": True, "freeze_layers": 3}))
    assert not any(weight.requires_grad for weight in model.text.parameters()), "positions and norms too"
    assert cost_of_rows(model, 12, image_size=16)(np.array([5, 7])) > 0


def test_texts_that_a_frozen_tower_reads_are_read_once_and_give_what_they_gave(
    models: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = models("composed").train(), batch(end=3)
    model.image.augmentation = 0.0
    expected = model(*given)
    assert not model.known.vectors, "of a tower that learns nothing can be known"
    freeze(FAMILY.parts(model), PARAMS.finetune.model_copy(update={"freeze_embeddings": True, "freeze_layers": 3}))
    first = model(*given)
    assert torch.allclose(first, expected, atol=1e-5)
    assert len(model.known.vectors) == 4
    monkeypatch.setattr(type(model.text), "forward", None)  # it is not asked again
    assert torch.equal(model(given[0].flip(0), given[1].flip(0), given[2].flip(0)), first.flip(0))
    assert not FAMILY.student(model, [0, 1]).known.vectors, "a student reads them anew"


def test_whitening_is_the_same_whatever_the_signs_of_what_is_found_and_of_few_texts() -> None:
    made = torch.Generator().manual_seed(1)
    vectors = torch.nn.functional.normalize(
        torch.randn(200, 6, generator=made) * torch.tensor([9, 4, 2, 1, 1, 0.1]), dim=1
    )
    layer = whitening(vectors, 4)
    assert layer.shape == (4, 6)
    assert torch.equal(layer.sign().gather(1, layer.abs().max(1, keepdim=True).indices), torch.ones(4, 1))
    assert torch.allclose(whitening(vectors.flip(0), 4), layer, atol=1e-5)
    reach = (vectors.double().T @ vectors.double() / 200).trace().div(6).sqrt()
    seen = (vectors @ layer.T).square().mean(0).sqrt()
    own = torch.linalg.svdvals(vectors.double())[:4] / 200**0.5
    assert torch.allclose(seen.double(), own / (own + reach), atol=1e-5)
    assert not whitening(vectors, 9)[6:].any()
    of_two = whitening(vectors[:2], 5)
    assert of_two[:2].any(1).all()
    assert not of_two[2:].any(), "directions that no text has say nothing"


def test_an_image_tower_too_many_or_none_is_told(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    write_tiny_clip(tmp_path)
    for folder, image in ((tmp_path, SHAPE), (tiny_models("bert"), None)):
        with pytest.raises(ValueError, match=r"model\.image is (null|a shape)\. Allowed: null with a CLIP"):
            FAMILY.build(folder, params_of(folder, image), VECTOR)
    with pytest.raises(ValueError, match="Allowed with it: tasks of images and texts"):
        FAMILY.build(tmp_path, params_of(tmp_path, None), Head("row", 3))
    with pytest.raises(ValueError, match=r"size is 16\. Allowed: a multiple of 10, as patches of 5 pixels a side"):
        ImageTowerParams.model_validate(SHAPE.model_dump() | {"patch": 5})
    with pytest.raises(ValueError, match=r"widths has 1 numbers and depths 2\. Allowed: one of each"):
        ImageTowerParams.model_validate(SHAPE.model_dump() | {"widths": [16]})


def test_images_are_changed_as_they_are_learned_and_never_else(tmp_path: Path) -> None:
    write_tiny_clip(tmp_path)
    params = params_of(tmp_path, None).model_copy(update={"image_augmentation": 0.5})
    model: Any = FAMILY.build(tmp_path, params, VECTOR).eval()
    plain = FAMILY.build(tmp_path, params_of(tmp_path, None), VECTOR).eval()
    pixels = batch()[2]
    with torch.no_grad():
        assert torch.equal(model.of_images(pixels), plain.of_images(pixels))
        assert torch.equal(plain.train().of_images(pixels), plain.eval().of_images(pixels))
        model.train()
        torch.manual_seed(1)
        first, second = model.of_images(pixels), model.of_images(pixels)
        torch.manual_seed(1)
        assert torch.equal(model.of_images(pixels), first)
        assert not torch.allclose(first, second, atol=1e-3)
        FAMILY.write(model, tmp_path / "written")
        opened: Any = FAMILY.open(tmp_path / "written")
        torch.manual_seed(1)
        assert torch.equal(opened.train().of_images(pixels), first), "a student goes on with it"


def test_a_change_of_images_leaves_them_images_and_differs_from_one_to_the_next() -> None:
    white = torch.ones(2, 3, 16, 16)
    drawing = white.clone()
    drawing[:, :, 4:12, 4:12] = torch.tensor([0.8, 0.3, 0.1])[:, None, None]
    torch.manual_seed(0)
    found = changed(drawing, 0.5)
    assert found.shape == drawing.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.allclose(found[0], found[1], atol=0.01)
    corners = torch.stack([changed(drawing, 0.3)[:, :, x, y] for _ in range(20) for x, y in ((0, 0), (15, 15))])
    assert (corners > 0.6).float().mean() > 0.95, "what is moved in is white, but for its brightness"


def test_the_files_of_a_clip_are_looked_at_without_torch(tmp_path: Path) -> None:
    write_tiny_clip(tmp_path)
    (told,) = faults(tmp_path, 12, "two_towers")
    assert "it has no fast tokenizer" in told
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert any(
        "config.json says 4 layers, and model.safetensors has 3" in fault
        for fault in faults(tmp_path, 12, "two_towers")
    )
    values = PARAMS.model_dump(by_alias=True)
    values["model"] |= params_of(tmp_path, None).model_dump()
    values["ingest"]["images"] = {"size": 32, "fit": "crop", "background": [0, 0, 0], "min_side": 1, "max_side": 9,
                                  "max_pixels": 9, "max_bytes": 1000}  # fmt: skip
    told_of_size, *_ = faults_of_model(tmp_path, Params.model_validate(values))
    assert told_of_size == "params.yaml: ingest.images.size is 32. Allowed: 16, which is what the model takes."
    assert any("Allowed: at most 12" in fault for fault in faults(tmp_path, 13, "two_towers"))
    with pytest.raises(ValueError, match=r"it is a clip model.*Those of its kind are of model\.family 'two_towers'"):
        list(faults(tmp_path, 12, "encoder"))
