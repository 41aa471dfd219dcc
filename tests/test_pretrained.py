"""Pretrained folders: names of weights, kinds of models, positions, tokens without embeddings, and broken files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file, save_file
from test_models import IDS, MASK, build, model_params
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import CONFIG_MAPPING, AutoModel, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from stages.compression.structured import cut
from stages.core.files import sha256
from stages.core.lacks import LACKS_OF_KINDS
from stages.core.params.file import Params, load_params
from stages.models.encoder import FAMILY
from stages.models.model_files import FROM_PADDING, KINDS, positions, refuse_kind
from stages.models.pretrained import faults_of_model, load_tokenizer, locate

PARAMS = load_params(REPOSITORY / "params.yaml")
# Sizes by every name that configurations have for them, so that any kind is tiny.
TINY: dict[str, Any] = {
    "vocab_size": 90, "hidden_size": 32, "dim": 32, "num_hidden_layers": 2, "n_layers": 2, "num_attention_heads": 4,
    "n_heads": 4, "intermediate_size": 64, "hidden_dim": 64, "max_position_embeddings": 20, "pad_token_id": 1,
    "bos_token_id": 2, "eos_token_id": 2, "cls_token_id": 2, "embedding_size": 32, "input_embedding_size": 16,
    "intra_bottleneck_size": 32, "true_hidden_size": 32, "entity_vocab_size": 4, "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
PREFIXES = (
    "module.", "_orig_mod.", "module._orig_mod.", "model.", "model.encoder.", "encoder.", "bert.", "0.auto_model.",
)  # fmt: skip


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def renamed(folder: Path, change: Callable[[str], str | None]) -> Path:
    """The folder with other names of its weights; those that become None are gone."""
    path = folder / "model.safetensors"
    names = {name: change(name) for name in load_file(path)}
    save_file({new: load_file(path)[old] for old, new in names.items() if new}, path)
    return folder


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def with_model(folder: Path, max_tokens: int = 16) -> Params:
    model = model_params(folder, sha256=sha256(folder / "model.safetensors"))
    tokenize = PARAMS.tokenize.model_copy(update={"max_tokens": max_tokens})
    return PARAMS.model_copy(update={"model": model, "tokenize": tokenize})


def told(folder: Path, max_tokens: int = 16) -> list[str]:
    """What `winnow check` says of the folder."""
    return list(faults_of_model(folder, with_model(folder, max_tokens)))


def only(lines: list[str]) -> str:
    assert len(lines) == 1, lines
    assert "\n" not in lines[0]
    return lines[0]


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS, MASK)


# Names of weights


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "albert"])
def test_weights_under_one_prefix_are_the_model(
    tiny_models: Callable[[str], Path], kind: str, prefix: str, tmp_path: Path
) -> None:
    folder = renamed(copy_of(tiny_models(kind), tmp_path / "model"), lambda name: prefix + name)
    assert torch.equal(logits(build(folder)), logits(build(tiny_models(kind))))
    assert told(folder) == []


def test_norms_of_old_names_compiled_layers_and_heads_beside_the_encoder_are_no_other_model(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    ends = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))

    def old(name: str) -> str:
        for new, before in ends:
            name = name.replace(new, before)
        return f"bert.{name}".replace("layer.1.", "layer.1._orig_mod.")

    weights = load_file(renamed(folder, old) / "model.safetensors")
    heads = {"cls.predictions.bias": torch.zeros(3), "classifier.weight": torch.zeros(2, 32)}
    old_buffer = {"bert.embeddings.position_ids": torch.arange(80)[None]}
    save_file({**weights, **heads, **old_buffer}, folder / "model.safetensors")
    assert torch.equal(logits(build(folder)), logits(build(tiny_models("bert"))))
    assert told(folder) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("encoder.layer.0.", "encoder._orig_mod.layer.0."),
        ("encoder.layer.", "encoder._fsdp_wrapped_module.layer."),
        ("embeddings.word", "embeddings._orig_mod.word"),
    ],
)
def test_wrappers_anywhere_in_the_names_are_no_fault_for_check_either(
    tiny_models: Callable[[str], Path], tmp_path: Path, before: str, after: str
) -> None:
    folder = renamed(copy_of(tiny_models("bert"), tmp_path / "model"), lambda name: name.replace(before, after))
    assert torch.equal(logits(build(folder)), logits(build(tiny_models("bert"))))
    assert told(folder) == []


@pytest.mark.parametrize("own", ["", "b_student."])
@pytest.mark.parametrize(
    "beside",
    [
        {"encoder.layer.7.output.dense.bias": (32,), "embeddings.word_embeddings.weight": (90, 32)},
        {"embeddings.word_embeddings.weight": (7, 5)},
        {"transformer.layer.9.bias": (3,)},
    ],
    ids=["more layers", "another width", "another kind"],
)
def test_what_is_beside_the_whole_model_is_no_fault(
    tiny_models: Callable[[str], Path], tmp_path: Path, own: str, beside: dict[str, tuple[int, ...]]
) -> None:
    folder = renamed(copy_of(tiny_models("bert"), tmp_path / "model"), lambda name: own + name)
    path = folder / "model.safetensors"
    others = {f"a_teacher.{name}": torch.zeros(shape) for name, shape in beside.items()}
    save_file({**load_file(path), **others}, path)
    assert torch.equal(logits(build(folder)), logits(build(tiny_models("bert"))))
    assert told(folder) == []


def test_a_weight_that_is_there_twice_is_told_by_check(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    path = folder / "model.safetensors"
    save_file({**load_file(path), "_orig_mod.embeddings.LayerNorm.beta": torch.zeros(32)}, path)
    said = r"it has embeddings\.LayerNorm\.bias twice"
    assert re.search(said, only(told(folder)))
    with pytest.raises(ValueError, match=said):
        build(folder)


def test_a_missing_pooler_is_fine_and_half_precision_is_read(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = renamed(copy_of(tiny_models("bert"), tmp_path / "model"), lambda name: None if "pooler" in name else name)
    weights = load_file(folder / "model.safetensors")
    for dtype in (torch.float16, torch.bfloat16):
        save_file({name: weight.to(dtype) for name, weight in weights.items()}, folder / "model.safetensors")
        words = build(folder).encoder.embeddings.word_embeddings.weight
        assert words.dtype == torch.float32
        assert torch.equal(words, weights["embeddings.word_embeddings.weight"].to(dtype).float())
    assert told(folder) == []


@pytest.mark.parametrize(
    ("change", "said", "in_check"),
    [
        (lambda name: name.replace("embeddings.", "embed."), r"5 of the 53 .* \(embeddings\..*has 5 others \(embed\.",
         "none of the 55 weights in model.safetensors is a table of words"),
        (lambda name: None if ".layer.1." in name else name, r"16 of the 53 .*layer\.1\..*, which has 0 others",
         "config.json says 3 layers, and model.safetensors has 2 (0, 2)"),
        (lambda name: name if "pooler" in name else None, "53 of the 53 weights",
         "none of the 2 weights in model.safetensors is a table of words"),
        (lambda name: f"a.{name}" if "layer.0" in name else f"b.{name}", r"16 of the 53 .*has 16 others \(a\.",
         "config.json says 3 layers, and model.safetensors has 2 (1, 2) under 'b.'"),
        (lambda name: name.replace("output.dense.bias", "output.dense.b"), r"6 of the 53 .*has 6 others", None),
    ],
    ids=["other names", "a layer missing", "a head alone", "two prefixes", "some names"],
)  # fmt: skip
def test_a_weight_that_is_missing_is_a_line_with_names_and_numbers(
    tiny_models: Callable[[str], Path], tmp_path: Path, change: Any, said: str, in_check: str | None
) -> None:
    folder = renamed(copy_of(tiny_models("bert"), tmp_path / "model"), change)
    with pytest.raises(ValueError, match=said) as raised:
        build(folder)
    assert only(str(raised.value).splitlines()).startswith("params.yaml: model.name is '")
    assert told(folder) == [] if in_check is None else in_check in only(told(folder))


def test_weights_beyond_what_config_json_has_place_for_are_not_left_out_in_silence(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    edited(folder / "config.json", num_hidden_layers=2)
    with pytest.raises(ValueError, match=r"16 weights in its layers that config.json leaves no place for.*layer\.2\."):
        build(folder)
    assert "config.json says 2 layers, and model.safetensors has 3 (0, 1, 2)" in only(told(folder))


def test_two_whole_models_in_a_file_are_not_chosen_between(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file({f"{side}.{n}": w.clone() for side in ("query", "passage") for n, w in weights.items()},
              folder / "model.safetensors")  # fmt: skip
    with pytest.raises(ValueError, match=r"2 whole models, under 'passage\.', 'query\.'"):
        build(folder)


def test_sizes_that_do_not_fit_are_a_line(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    edited(folder / "config.json", hidden_size=64, vocab_size=40)
    with pytest.raises(ValueError, match=r"has the shape \[.*, and by config\.json it is \[.*of 53 weights"):
        build(folder)
    assert any("has the shape" in line and "by config.json it is [40, 64]" in line for line in told(folder))


def test_shards_are_told_to_be_merged(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    params = with_model(folder)
    for number in (1, 2):
        shutil.copyfile(folder / "model.safetensors", folder / f"model-0000{number}-of-00002.safetensors")
    (folder / "model.safetensors").unlink()
    said = r"weights are in 2 files .*Merge them: AutoModel\.from_pretrained"
    assert re.search(said, only(list(faults_of_model(folder, params))))
    with pytest.raises(ValueError, match=said):
        locate(params.model)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_folder_without_weights_or_configuration_is_told_by_check_as_by_tokenize(
    tiny_models: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    params = with_model(folder)
    (folder / name).rename(folder / "pytorch_model.bin")
    said = f"params.yaml: model.name is '{folder}': it has no {name}. Allowed: safetensors models."
    assert only(list(faults_of_model(folder, params))) == said
    with pytest.raises(ValueError, match=re.escape(said)):
        load_tokenizer(params.model)


def test_a_folder_without_a_fast_tokenizer_is_told_by_check_as_by_tokenize(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    fault = only(told(folder))
    assert f"model.name is '{folder}': it has no fast tokenizer (tokenizer.json)" in fault
    with pytest.raises(ValueError, match=re.escape(fault)):
        load_tokenizer(with_model(folder).model)


# Kinds of models, and where they count positions from


def tiny(kind: str, folder: Path, **changes: Any) -> Path:
    config = CONFIG_MAPPING[kind]()
    for name, value in TINY.items():
        if hasattr(config, name) and (name != "embedding_size" or kind != "albert"):
            setattr(config, name, value)
    if kind == "modernbert":
        config.layer_types = ["full_attention", "sliding_attention"]
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(5)
    AutoModel.from_config(config).save_pretrained(folder)
    Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")).save(str(folder / "tokenizer.json"))
    return folder


def raises(work: Callable[[], object]) -> bool:
    try:
        work()
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_that_is_allowed_takes_as_many_tokens_as_is_said_and_can_what_the_tables_say(
    kind: str, tmp_path: Path
) -> None:
    model: Any = build(tiny(kind, tmp_path / "model"))
    allowed = positions(json.loads((tmp_path / "model/config.json").read_text()))
    assert allowed == (18 if kind in FROM_PADDING else 20)

    def run(tokens: int) -> torch.Tensor:
        ids = torch.full((1, tokens), 5)
        with torch.inference_mode():
            return model(ids, torch.ones_like(ids))

    assert run(allowed).isfinite().all()
    if kind != "modernbert":  # its positions are angles, and it was trained for so many
        with pytest.raises((IndexError, RuntimeError)):
            run(allowed + 1)
    ids, mask = torch.where(MASK == 1, IDS, 1), MASK  # token 1 pads
    with torch.no_grad():
        together = model(ids, mask)
        assert torch.allclose(together[1], model(ids[1:, :3], mask[1:, :3])[0], atol=1e-5)
        student = FAMILY.student(model, [0]).eval()
        FAMILY.write(student, tmp_path / "written")
        assert torch.equal(FAMILY.open(tmp_path / "written")(ids, mask), student(ids, mask))
    lacks = LACKS_OF_KINDS.get(kind, frozenset())
    if "units" in lacks:
        assert raises(lambda: FAMILY.units(model))
    else:
        for of_layer in FAMILY.units(student)["heads"]:
            cut(of_layer, np.arange(2))
        FAMILY.write(student, tmp_path / "pruned")
        with torch.no_grad():
            found = student(ids, mask)
            assert found.isfinite().all()
            assert torch.equal(FAMILY.open(tmp_path / "pruned")(ids, mask), found)
    assert raises(lambda: FAMILY.taps(model)) == ("vectors" in lacks)
    assert raises(lambda: FAMILY.readers(model)) == ("width" in lacks)
    assert (len(FAMILY.parts(model).layers) == 0) == ("layers" in lacks)
    assert model.encoder.supports_gradient_checkpointing == ("activation_checkpointing" not in lacks)
    assert raises(lambda: FAMILY.student(model, [1])) == ("first_layer" in lacks)
    assert told(tmp_path / "model") == []


@pytest.mark.parametrize("kind", sorted({*MODEL_FOR_MASKED_LM_MAPPING_NAMES, "gpt2", "t5", "new"} - {*KINDS}))
def test_each_other_kind_is_refused_at_once_with_those_that_are_allowed(kind: str) -> None:
    with pytest.raises(ValueError, match=rf"it is a {kind} model\. Allowed .*: albert, bert, .*xlm-roberta"):
        refuse_kind({"model_type": kind}, "encoder")


def test_a_kind_that_is_not_taken_is_refused_by_check_and_by_tokenize(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    edited(folder / "config.json", model_type="xlnet")
    assert "it is a xlnet model. Allowed for model.family 'encoder': albert, " in only(told(folder))
    with pytest.raises(ValueError, match=r"it is a xlnet model\. Allowed"):
        load_tokenizer(with_model(folder).model)


def test_modernberts_angles_and_windows_are_those_of_transformers(tmp_path: Path) -> None:
    folder = tiny("modernbert", tmp_path, local_attention=4)
    ids = torch.arange(3, 19)[None]
    theirs = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.inference_mode():
        expected = theirs(input_ids=ids).last_hidden_state
        found = build(folder).encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        assert torch.allclose(found, expected, atol=1e-6)
        edited(folder / "config.json", layer_types=["full_attention"] * 2)
        assert not torch.allclose(build(folder).encoder(input_ids=ids).last_hidden_state, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "allowed"),
    [
        ({"model_type": "bert", "max_position_embeddings": 66, "pad_token_id": 1}, 66),
        ({"model_type": "camembert", "max_position_embeddings": 66, "pad_token_id": 1}, 64),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 66}, 64),
        ({"model_type": "roberta", "max_position_embeddings": 66, "pad_token_id": 0}, 65),
        ({"model_type": "mpnet", "max_position_embeddings": 66, "pad_token_id": 0}, 64),  # which counts from 1 always
        ({"model_type": "bert"}, 10**9),
    ],
)
def test_positions_are_counted_from_behind_the_padding_where_the_model_does(
    config: dict[str, Any], allowed: int
) -> None:
    assert positions(config) == allowed


def test_a_padding_that_is_not_there_cannot_be_counted_from() -> None:
    with pytest.raises(ValueError, match="pad_token_id is None, and a camembert model counts positions from it"):
        positions({"model_type": "camembert", "max_position_embeddings": 66, "pad_token_id": None})


def test_more_tokens_than_positions_are_told_by_check(tiny_models: Callable[[str], Path]) -> None:
    folder = tiny_models("roberta")  # 80 positions, the padding is number 0
    assert told(folder, 79) == []
    assert only(told(folder, 80)) == (
        "params.yaml: tokenize.max_tokens is 80. Allowed: at most 79, which is what the model takes."
    )


@pytest.mark.parametrize("kind", ["camembert", "mpnet"])
def test_a_vocabulary_in_which_the_padding_moves_is_refused_where_positions_are_counted_from_it(
    kind: str, tmp_path: Path
) -> None:
    model = build(tiny(kind, tmp_path))
    said = r"positions from (token )?number 1"
    with pytest.raises(ValueError, match=said):
        FAMILY.new_vocabulary(model, [[0], [2], [1], [3]])
    with pytest.raises(ValueError, match=said):
        FAMILY.cut_vocabulary(model, [0, 2, 1, 3], 10)
    assert FAMILY.cut_vocabulary(model, [0, 1, 2, 3], 10).encoder.config.vocab_size == 4


# Tokens without embeddings


def test_a_tokenizer_with_larger_tokens_than_the_model_has_embeddings_is_refused_with_both_numbers(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["quokka", "sitar"])
    tokenizer.save_pretrained(folder)
    said = f"largest token is number {rows + 1}, and the model has embeddings for {rows} (0 to {rows - 1})"
    assert said in only(told(folder))
    with pytest.raises(ValueError, match=re.escape(said)):
        load_tokenizer(with_model(folder).model)


# Broken files


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{", "config.json: not JSON"),
        ("config.json", "[]", "config.json: a list, where a JSON object belongs"),
        ("config.json", "{}", "config.json names no model_type. Allowed for model.family 'encoder': albert"),
        ("config.json", '{"model_type": "brt"}', "it is a brt model. Allowed .* Did you mean 'bert'?"),
        ("tokenizer.json", "\xff", "tokenizer.json: not JSON"),
        ("tokenizer.json", "[]", "tokenizer.json: a list, where a JSON object belongs"),
        ("tokenizer.json", "{}", "tokenizer.json: it has no 'model', so it is no tokenizer"),
        ("tokenizer.json", '{"model": {"vocab": {"a": []}}, "added_tokens": [{}]}', "tokenizer.json"),
        ("tokenizer.json", '{"model": {"vocab": {"a": "x"}}}', "tokenizer.json: its tokens have no numbers"),
        ("tokenizer.json", '{"model": {"vocab": {"a": NaN}}}', "tokenizer.json: its tokens have no numbers"),
        ("tokenizer.json", '{"model": {"vocab": 5}}', "tokenizer.json: its tokens have no numbers"),
        ("tokenizer_config.json", '{"added_tokens_decoder": {"a": {}}}', r"config\.json: its tokens have no numbers"),
        ("tokenizer_config.json", '{"model_max_length": Infinity}', "tokenizer_config.json: model_max_length is inf"),
        ("tokenizer_config.json", '{"model_max_length": NaN}', "tokenizer_config.json: model_max_length is nan"),
        ("tokenizer_config.json", '{"model_max_length": [1]}', r"tokenizer_config.json: model_max_length is \[1\]"),
        ("tokenizer_config.json", '{"model_max_length": "abc"}', "tokenizer_config.json: model_max_length is 'abc'"),
        ("tokenizer_config.json", '{"model_max_length": true}', "tokenizer_config.json: model_max_length is True"),
        ("tokenizer_config.json", '{"model_max_length": 0}', "tokenizer_config.json: model_max_length is 0"),
        ("tokenizer_config.json", "[]", "tokenizer_config.json: a list, where a JSON object belongs"),
    ],
)
def test_a_broken_file_is_a_line_that_names_it_in_check_and_in_tokenize(
    tiny_models: Callable[[str], Path], tmp_path: Path, name: str, content: str, said: str
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    (folder / name).write_bytes(content.encode("latin-1"))
    assert re.search(said, only(told(folder)))
    with pytest.raises(ValueError, match=said) as raised:
        load_tokenizer(with_model(folder).model)
    assert "\n" not in str(raised.value)


def test_what_a_broken_tokenizer_raised_below_stays_the_cause(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    edited(folder / "tokenizer.json", normalizer={"type": "none such"})
    with pytest.raises(ValueError, match=r"params\.yaml: model\.name is") as raised:
        load_tokenizer(with_model(folder).model)
    assert raised.value.__cause__ is not None


def test_a_configuration_of_which_no_model_can_be_made_is_a_line(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    for changes in ({"hidden_size": "wide"}, {"num_attention_heads": 5}, {"hidden_act": "none"}, {"vocab_size": -3}):
        shutil.copyfile(tiny_models("bert") / "config.json", folder / "config.json")
        edited(folder / "config.json", **changes)
        with pytest.raises(ValueError, match=r"no model can be made of its config\.json") as raised:
            build(folder)
        assert "\n" not in str(raised.value)


def test_weights_that_are_cut_off_are_a_line(tiny_models: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copy_of(tiny_models("bert"), tmp_path / "model")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert re.search(r"model\.safetensors: not safetensors \(", only(told(folder)))
    with pytest.raises(ValueError, match=r"its model\.safetensors cannot be read \(.*\)\. Fetch or write it again"):
        build(folder)
