"""Families that write: their logits are transformers' own, whatever fills a batch; all that is cut is cut exactly."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from stages.compression.structured import cut
from stages.core import plugins
from stages.core.contracts import Family, Head
from stages.core.files import read_json, sha256, write_json
from stages.core.params.model import ModelParams, ScratchParams
from stages.models import FAMILIES
from stages.models.pretrained import locate

V, END = 61, 1
IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 0, 0], [15, 16, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
WRITTEN = torch.tensor([[0, 21, 22, 23], [0, 24, 25, 0], [0, 26, 0, 0]])
LENGTHS = [6, 4, 2]

GPT2: dict[str, Any] = {"vocab_size": V, "n_positions": 40, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 96}
LLAMA: dict[str, Any] = {
    "vocab_size": V, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "max_position_embeddings": 40,
}  # fmt: skip
T5: dict[str, Any] = {
    "vocab_size": V, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 96, "num_layers": 3, "num_decoder_layers": 3,
    "decoder_start_token_id": 0,
}  # fmt: skip
END_OF: dict[str, Any] = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": 0}
MADE: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2, **END_OF)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, **END_OF)),
    "llama-tied": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA, **END_OF, tie_word_embeddings=True)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "t5-gated": lambda: T5ForConditionalGeneration(T5Config(**T5, feed_forward_proj="gated-gelu")),
    "t5-untied": lambda: untied(T5ForConditionalGeneration(T5Config(**T5 | {"tie_word_embeddings": False}))),
}
TIED = [kind for kind in MADE if kind not in ("llama", "t5-untied")]


def untied(model: Any) -> Any:
    """The T5 with a layer of its own for logits: transformers 5 ties it, whatever its configuration says."""
    model.lm_head.weight = torch.nn.Parameter(torch.randn(V, 32))
    model.config.tie_word_embeddings = False
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """written(kind): the folder of a tiny random model, and transformers' own model, made once."""
    made: dict[str, tuple[Path, Any]] = {}

    def get(kind: str) -> tuple[Path, Any]:
        if kind not in made:
            torch.manual_seed(3)
            model = MADE[kind]().eval()
            for weight in model.parameters():  # biases and norms too, which begin as zeros and ones
                weight.data += 0.05 * torch.randn_like(weight)
            folder = tmp_path_factory.mktemp(kind)
            model.save_pretrained(folder)
            made[kind] = folder, model
        return made[kind]

    return get


def family_of(kind: str) -> Family:
    return plugins.load(FAMILIES, name_of(kind), key="model.family")


def name_of(kind: str) -> str:
    return "encoder_decoder" if kind.startswith("t5") else "decoder"


def params_of(kind: str, name: object, **changes: Any) -> ModelParams:
    values = {"family": name_of(kind), "name": str(name), "revision": None, "sha256": None, "pooling": "mean",
              "encoder_dropout": 0.0, "head_dropout": 0.0, "scratch": None, "image": None,
              "image_augmentation": 0.0}  # fmt: skip
    return ModelParams(**values | changes)


def build(kind: str, folder: Path) -> Any:
    return family_of(kind).build(folder, params_of(kind, folder), Head("vocabulary", 0)).eval()


def inputs_of(kind: str, rows: slice = slice(None), *, width: int = 6, length: int = 4) -> tuple[torch.Tensor, ...]:
    of_source = (IDS[rows, :width], MASK[rows, :width])
    return (*of_source, WRITTEN[rows, :length]) if kind.startswith("t5") else of_source


def named(kind: str) -> dict[str, torch.Tensor]:
    return dict(zip(("input_ids", "attention_mask", "decoder_input_ids"), inputs_of(kind), strict=False))


def logits_of(kind: str, model: Any) -> torch.Tensor:
    """Those of the real places."""
    with torch.inference_mode():
        found = model(*inputs_of(kind))
    return found if kind.startswith("t5") else found[MASK.bool()]


@pytest.mark.parametrize("kind", MADE)
def test_logits_are_those_of_transformers(kind: str, written: Callable[[str], tuple[Path, Any]]) -> None:
    folder, theirs = written(kind)
    ours = build(kind, folder)
    with torch.inference_mode():
        expected = theirs(**named(kind)).logits
    expected = expected if kind.startswith("t5") else expected[MASK.bool()]
    assert torch.allclose(logits_of(kind, ours), expected, rtol=1e-6, atol=1e-5)
    ours.language.set_attn_implementation("sdpa")  # as on a GPU
    assert torch.allclose(logits_of(kind, ours), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", MADE)
def test_each_row_of_a_batch_has_the_logits_that_it_has_alone(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    model = build(kind, written(kind)[0])
    with torch.inference_mode():
        together = model(*inputs_of(kind))
        for row, (width, length) in enumerate(zip(LENGTHS, (4, 3, 2), strict=True)):
            alone = model(*inputs_of(kind, slice(row, row + 1), width=width, length=length))[0]
            assert torch.allclose(together[row, : len(alone)], alone, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_padding_in_front_of_a_row_and_texts_packed_with_it_change_nothing(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    model = build(kind, written(kind)[0])
    one, two = IDS[:1, :6], IDS[1:2, :4]
    with torch.inference_mode():
        alone = [model(ids, torch.ones_like(ids)) for ids in (one, two)]
        in_front = model(torch.cat([torch.zeros(1, 5, dtype=torch.long), two], 1), torch.tensor([[0] * 5 + [1] * 4]))
        packed = model(torch.cat([one, two], 1), torch.tensor([[1] * 6 + [2] * 4]))
    assert torch.allclose(in_front[:, 5:], alone[1], atol=1e-5)
    assert torch.allclose(packed, torch.cat(alone, 1), atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_no_place_sees_a_later_one(kind: str, written: Callable[[str], tuple[Path, Any]]) -> None:
    model = build(kind, written(kind)[0])
    changed = IDS[:1].clone()
    changed[0, 3:] = 40
    with torch.inference_mode():
        before, after = model(IDS[:1], MASK[:1]), model(changed, MASK[:1])
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-2)


@pytest.mark.parametrize("kind", MADE)
def test_what_is_written_opens_as_it_was_to_the_last_byte(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    family.write(model, tmp_path / "one")
    opened: Any = family.open(tmp_path / "one")
    assert torch.equal(logits_of(kind, opened), logits_of(kind, model))
    family.write(opened, tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert read_json(tmp_path / "one/config.json")["winnow"] == {"head": {"kind": "vocabulary", "size": V}}
    replaced = {name: weight * 0 for name, weight in load_file(tmp_path / "one/model.safetensors").items()}
    assert not logits_of(kind, family.open(tmp_path / "one", replaced)).any()


@pytest.mark.parametrize("kind", MADE)
def test_weights_that_are_used_twice_are_there_once(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    family.write(model, tmp_path)
    file = load_file(tmp_path / "model.safetensors")
    assert len(file) == len(model.state_dict()) == len(list(model.named_parameters()))
    assert ("lm_head.weight" in file) == (kind not in TIED)
    assert sum(weight.shape == (V, 32) for weight in file.values()) == (1 if kind in TIED else 2)
    assert model.tied == (kind in TIED)


@pytest.mark.parametrize("kind", [*TIED, "llama"])
def test_transformers_opens_what_is_written(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    _, theirs = written(kind)
    family_of(kind).write(build(kind, written(kind)[0]), tmp_path)
    opened = type(theirs).from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        assert torch.allclose(opened(**named(kind)).logits, theirs(**named(kind)).logits, atol=1e-5)


@pytest.mark.parametrize("kind", MADE)
def test_transformers_generate_works_on_the_module_that_is_trained(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    folder, theirs = written(kind)
    ours = build(kind, folder).language
    for beams in (1, 4):
        asked = {"attention_mask": MASK[:1], "max_new_tokens": 8, "do_sample": False, "num_beams": beams}
        assert torch.equal(ours.generate(IDS[:1], **asked), theirs.generate(IDS[:1], **asked))


@pytest.mark.parametrize("kind", MADE)
def test_a_student_of_all_layers_is_its_teacher(kind: str, written: Callable[[str], tuple[Path, Any]]) -> None:
    model = build(kind, written(kind)[0])
    assert torch.equal(logits_of(kind, family_of(kind).student(model, [0, 1, 2])), logits_of(kind, model))


@pytest.mark.parametrize("kind", MADE)
def test_a_student_has_the_layers_that_are_named(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    student = family.student(model, [2, 0])
    family.write(student, tmp_path / "student")
    assert torch.equal(logits_of(kind, family.open(tmp_path / "student")), logits_of(kind, student))
    family.write(model, tmp_path / "model")
    old, new = (load_file(tmp_path / name / "model.safetensors") for name in ("model", "student"))
    stacks = ("encoder.block", "decoder.block") if kind.startswith("t5") else ("h", "layers")
    for name, weight in new.items():
        within = re.fullmatch(rf"(.*\b(?:{'|'.join(stacks)})\.)([01])(\..*)", name)
        moved = within and not name.endswith("relative_attention_bias.weight")  # the table stays in the first layer
        source = f"{within[1]}{'20'[int(within[2])]}{within[3]}" if within and moved else name
        assert torch.equal(weight, old[source]), name


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_layer_that_the_teacher_does_not_have_is_refused(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    with pytest.raises(ValueError, match=r"distill\.teacher_layers has 3\. Allowed: 0 to 2"):
        family_of(kind).student(build(kind, written(kind)[0]), [0, 3])


@pytest.mark.parametrize("kind", MADE)
def test_a_model_without_some_heads_is_the_model_in_which_they_say_nothing(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    pruned = build(kind, written(kind)[0])
    for number, (one, of_pruned) in enumerate(
        zip(family.units(model)["heads"], family.units(pruned)["heads"], strict=True)
    ):
        gone = number % len(one)
        one.consumer.weight.data[:, gone * one.size : (gone + 1) * one.size] = 0
        cut(of_pruned, np.array([unit for unit in range(len(one)) if unit != gone]))
    assert torch.allclose(logits_of(kind, pruned), logits_of(kind, model), rtol=1e-5, atol=1e-5)
    family.write(pruned, tmp_path)
    assert torch.equal(logits_of(kind, family.open(tmp_path)), logits_of(kind, pruned))
    assert_layers_survive(kind, family, pruned)


def assert_layers_survive(kind: str, family: Family, pruned: Any) -> None:
    """A student of all layers of a pruned model is that model."""
    assert torch.equal(logits_of(kind, family.student(pruned, [0, 1, 2])), logits_of(kind, pruned))


def test_llamas_heads_are_cut_with_the_keys_and_values_that_they_share(
    written: Callable[[str], tuple[Path, Any]],
) -> None:
    model = build("llama", written("llama")[0])
    (heads, *_) = family_of("llama").units(model)["heads"]
    assert (len(heads), heads.size, heads.sizes) == (2, 16, (16, 8, 8))
    cut(heads, np.array([1]))
    attention = model.language.model.layers[0].self_attn
    shapes = [tuple(attention.get_submodule(name).weight.shape) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    assert shapes == [(16, 32), (8, 32), (8, 32), (32, 16)]


@pytest.mark.parametrize("kind", MADE)
def test_a_model_without_some_neurons_is_the_model_in_which_they_say_nothing(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    pruned = build(kind, written(kind)[0])
    for one, of_pruned in zip(family.units(model)["feed_forward"], family.units(pruned)["feed_forward"], strict=True):
        one.consumer.weight.data[:, :32] = 0
        cut(of_pruned, np.arange(32, 96))
    assert torch.allclose(logits_of(kind, pruned), logits_of(kind, model), rtol=1e-5, atol=1e-5)
    family.write(pruned, tmp_path)
    assert torch.equal(logits_of(kind, family.open(tmp_path)), logits_of(kind, pruned))
    config = read_json(tmp_path / "config.json")
    assert 64 in (config.get("n_inner"), config.get("intermediate_size"), config.get("d_ff"))


@pytest.mark.parametrize("kind", MADE)
def test_a_cut_vocabulary_gives_the_tokens_that_are_kept_the_logits_that_they_had(
    kind: str, written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    family, model = family_of(kind), build(kind, written(kind)[0])
    kept = [0, 1, *range(5, 17), *range(20, 30)]
    smaller: Any = family.cut_vocabulary(model, kept, 10)
    number = {old: new for new, old in enumerate(kept)}
    renumbered = [
        ids.apply_(lambda old: number.get(old, 0)) if ids.max() > 1 else ids
        for ids in map(torch.clone, inputs_of(kind))
    ]
    with torch.inference_mode():
        assert torch.allclose(smaller(*renumbered), model(*inputs_of(kind))[..., kept], rtol=1e-6, atol=1e-5)
    assert smaller.config.eos_token_id == 1
    family.write(smaller, tmp_path)
    assert read_json(tmp_path / "config.json")["vocab_size"] == len(kept)
    with torch.inference_mode():
        assert torch.equal(family.open(tmp_path)(*renumbered), smaller(*renumbered))


@pytest.mark.parametrize("kind", MADE)
def test_a_new_vocabulary_has_the_means_of_its_pieces_and_of_none_random_numbers(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    model = build(kind, written(kind)[0])
    torch.manual_seed(1)
    new: Any = family_of(kind).new_vocabulary(model, [[4], [7, 9], []])
    table = model.table.weight
    assert torch.allclose(new.table.weight[:2], torch.stack([table[4], table[[7, 9]].mean(0)]))
    assert 0.2 < new.table.weight[2].std() / (1.0 if kind.startswith("t5") else 0.02) < 5
    assert new.tied == model.tied
    assert new.config.eos_token_id is None


@pytest.mark.parametrize("kind", MADE)
def test_gradients_are_the_same_where_activations_are_made_twice(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    def gradients(model: Any) -> list[torch.Tensor]:
        model.train()
        model(*inputs_of(kind)).square().mean().backward()
        return [weight.grad for weight in model.parameters()]

    once, twice = build(kind, written(kind)[0]), build(kind, written(kind)[0])
    encoder: Any = family_of(kind).parts(twice).encoder
    assert encoder.supports_gradient_checkpointing
    encoder.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for one, other in zip(gradients(once), gradients(twice), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", MADE)
def test_all_weights_are_trained_once_and_the_layers_stand_in_their_order(
    kind: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    model = build(kind, written(kind)[0])
    parts = family_of(kind).parts(model)
    assert list(parts.head.parameters()) == []
    assert {id(p) for p in parts.encoder.parameters()} == {id(p) for p in model.parameters()}
    assert len(parts.layers) == (6 if kind.startswith("t5") else 3)


def test_what_cannot_be_done_is_refused_with_what_to_set(written: Callable[[str], tuple[Path, Any]]) -> None:
    models = {kind: build(kind, written(kind)[0]) for kind in ("gpt2", "llama", "t5")}
    for kind, model in models.items():
        family = family_of(kind)
        for refused in (lambda f=family, m=model: f.readers(m), lambda f=family, m=model: f.narrower(m)):
            with pytest.raises(
                ValueError, match=r"cannot be made narrower\. Allowed for it: distill\.hidden_size null"
            ):
                refused()
        with pytest.raises(ValueError, match=r"inner vectors.*Allowed for it: cache_logits\.vectors \[\]"):
            family.taps(model)
    whole = LlamaForCausalLM(LlamaConfig(**{**LLAMA, "num_key_value_heads": 4}))
    taps = family_of("llama").taps(type(models["llama"])(whole))
    assert [len(of) for of in (taps.hidden, taps.queries, taps.keys, taps.values)] == [3, 3, 3, 3]


def refused(kind: str, folder: Path) -> str:
    with pytest.raises(ValueError) as caught:
        build(kind, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_that_lacks_weights_is_refused_in_a_line(
    written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    for kind, gone in (
        ("gpt2", "transformer.h.1.mlp.c_fc.weight"),
        ("t5", "decoder.block.2.layer.1.EncDecAttention.q.weight"),
    ):
        folder = tmp_path / kind
        config = read_json(written(kind)[0] / "config.json")
        weights = load_file(written(kind)[0] / "model.safetensors")
        del weights[gone]
        folder.mkdir()
        write_json(folder / "config.json", config)
        save_file(weights, folder / "model.safetensors")
        assert "1 of the" in refused(kind, folder)
    llama = load_file(written("llama")[0] / "model.safetensors")
    del llama["lm_head.weight"]
    save_file(llama, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", read_json(written("llama")[0] / "config.json"))
    assert "tie_word_embeddings: false, and model.safetensors has no lm_head.weight" in refused("llama", tmp_path)
    with pytest.raises(ValueError, match=r"whose models write, and the task wants a head of the kind row"):
        family_of("gpt2").build(tmp_path, params_of("gpt2", tmp_path), Head("row", 3))


def test_checkpoints_of_earlier_days_are_read_whatever_they_call_their_weights(
    written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    """GPT-2's own has no prefix, and masks among its weights; some of T5 name the table of tokens three times."""
    folder, theirs = written("gpt2")
    weights = load_file(folder / "model.safetensors")
    first = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    first |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 40, 40) for layer in range(3)}
    save_file(first, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", read_json(folder / "config.json"))
    with torch.inference_mode():
        expected = theirs(**named("gpt2")).logits[MASK.bool()]
    assert torch.allclose(logits_of("gpt2", build("gpt2", tmp_path)), expected, atol=1e-5)

    folder, theirs = written("t5")
    weights = load_file(folder / "model.safetensors")
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    weights |= {name: weights["shared.weight"].clone() for name in copies}
    weights["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 4)
    save_file(weights, tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", read_json(folder / "config.json"))
    model = build("t5", tmp_path)
    assert model.tied
    with torch.inference_mode():
        assert torch.allclose(logits_of("t5", model), theirs(**named("t5")).logits, atol=1e-5)


def test_t5s_scale_is_the_one_that_its_configuration_states_whatever_it_says_of_ties(
    written: Callable[[str], tuple[Path, Any]], tmp_path: Path
) -> None:
    """transformers 5 saves a model of version 1.1 with a tie, and with a scale that one without a tie has."""
    folder, _ = written("t5")
    config = read_json(folder / "config.json")
    found = {}
    for scaled in (True, False):
        write_json(tmp_path / "config.json", {**config, "tie_word_embeddings": True, "scale_decoder_outputs": scaled})
        save_file(load_file(folder / "model.safetensors"), tmp_path / "model.safetensors")
        model = build("t5", tmp_path)
        family_of("t5").write(model, tmp_path / "again")
        found[scaled] = logits_of("t5", model)
        assert torch.equal(logits_of("t5", family_of("t5").open(tmp_path / "again")), found[scaled])
    assert torch.allclose(found[True] * 32**0.5, found[False], rtol=1e-5, atol=1e-5)


SHAPES = {"layers": 2, "width": 32, "heads": 4, "feed_forward": 64, "positions": 48}


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_a_model_from_scratch_has_the_shape_and_the_tokens_that_are_asked_for(kind: Any, tmp_path: Path) -> None:
    params = params_of(kind, "scratch", scratch=ScratchParams(kind=kind, **SHAPES))
    family = family_of(kind)
    models = []
    for _ in range(2):
        torch.manual_seed(5)
        model = family.build(locate(params), params, Head("vocabulary", 0))
        models.append(family.new_vocabulary(model, [[]] * V).eval())
    assert torch.equal(*(logits_of(kind, model) for model in models))
    family.write(models[0], tmp_path)
    config = read_json(tmp_path / "config.json")
    assert config["vocab_size"] == V
    assert {config.get(name) for name in ("n_layer", "num_hidden_layers", "num_layers")} - {None} == {2}
    assert models[0].tied
    assert models[0].table.weight.std() > 0.01
    spread = torch.log_softmax(logits_of(kind, models[0]), -1).std()
    assert 0.001 < spread < 2  # it knows nothing, and no token is certain


def test_a_shape_that_is_none_is_refused_in_a_line() -> None:
    with pytest.raises(ValueError, match=r"width is 32\. Allowed: a multiple of heads, of which there are 5"):
        ScratchParams(kind="t5", **{**SHAPES, "heads": 5})
    with pytest.raises(ValueError, match=r"Allowed of kind llama: heads of an even width"):
        ScratchParams(kind="llama", **{**SHAPES, "width": 36})
    with pytest.raises(ValueError, match=r"name is 'scratch' and scratch null"):
        params_of("gpt2", "scratch")
    with pytest.raises(ValueError, match=r"Allowed with it: revision null, sha256 null"):
        params_of("gpt2", "scratch", scratch=ScratchParams(kind="gpt2", **SHAPES), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"it is a t5 model\. Allowed for model.family 'decoder': gpt2, llama"):
        locate(params_of("gpt2", "scratch", scratch=ScratchParams(kind="t5", **SHAPES)))


@pytest.mark.parametrize(("kind", "family"), itertools.product(("gpt2", "llama", "t5"), ("encoder", "decoder")))
def test_a_model_is_refused_in_another_family_with_the_one_that_takes_it(
    kind: str, family: str, written: Callable[[str], tuple[Path, Any]]
) -> None:
    folder = written(kind)[0]
    params = params_of(kind, folder, family=family, sha256=sha256(folder / "model.safetensors"))
    if family == name_of(kind):
        assert locate(params) == folder
    else:
        with pytest.raises(ValueError, match=rf"it is a {kind} model.*are of model\.family '{name_of(kind)}'"):
            locate(params)
