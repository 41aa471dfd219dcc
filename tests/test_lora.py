"""LoRA: adapters alone are trained, on the same engine, and are part of the weights in the end."""

from __future__ import annotations

import ast
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file
from test_engine import ONE, TOLERANCE, Lab, furthest, report, weights
from test_packing import changed
from test_training import params
from test_two_towers import params_of, write_tiny_clip
from test_writing_engine import WritingLab, lab_fixtures, write_rows
from tokenizers import Tokenizer, models
from torch import nn
from training_run import Subject, classifier, writer

from flows.cli.mistakes import mistakes
from stages.compression import refusals
from stages.core.contracts import Head
from stages.core.files import sha256
from stages.core.model_folder import verify
from stages.core.params.file import Params, load_params
from stages.core.params.model import ScratchParams
from stages.core.params.training import LoraParams
from stages.core.paths import Paths
from stages.finetune import finetune

pytest.importorskip("peft", reason="peft is not installed: no adapters are trained")

from stages.models.two_towers import FAMILY as TWO_TOWERS
from stages.training.adapters import adapt, merged

KINDS = ("gpt2", "t5")
LORA: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.0, "targets": None}
ADAPTED: dict[str, Any] = {**ONE, "lora": LORA, "freeze_embeddings": True}
DROPPING: dict[str, Any] = {**ADAPTED, "epochs": 2, "lora": {**LORA, "dropout": 0.2}}
ALONE: dict[str, dict[str, Any]] = {
    "plain": {"plain": True, "changes": ADAPTED},
    "engine": {"changes": ADAPTED},
    "sharded": {"changes": {**ADAPTED, "zero_stage": 2}},
    "straight": {"dropout": 0.3, "changes": DROPPING},
}
TWO: dict[str, dict[str, Any]] = {"two sharded": {"changes": {**ADAPTED, "zero_stage": 3}}}
# Of each layer of width 16 and 32 inside: GPT-2's matrices are 16 x 48, 16 x 16, 16 x 32, 32 x 16; T5's attentions have
# four of 16 x 16, of which its decoder has two a layer, and its feed-forward part three.
TRAINED = {"gpt2": 2 * 4 * (64 + 32 + 48 + 48), "t5": 2 * 4 * (4 * 32 + 3 * 48) + 2 * 4 * (8 * 32 + 3 * 48)}


lab, alone, two = lab_fixtures(KINDS, ALONE, TWO)


def adapted(kind: str, **more: Any) -> tuple[nn.Module, Subject, dict[str, int]]:
    """A tiny model that writes, with adapters, and what the report says of them."""
    torch.manual_seed(0)
    model, subject = writer(kind, {})
    own = params(**{**ADAPTED, **more})
    assert own.lora is not None
    return model, subject, adapt(subject.family.parts(model), own, own.lora)


def inputs_of(kind: str) -> list[torch.Tensor]:
    torch.manual_seed(3)
    ids = torch.randint(4, 40, (3, 9))
    return [ids, torch.ones_like(ids), *([ids] if kind == "t5" else [])]


def is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def test_merged_the_model_has_the_logits_and_the_names_that_it_had(lab: WritingLab, alone: Path):
    model, _, _ = adapted(lab.kind)
    model.load_state_dict(weights(alone / "engine"))
    model.eval()
    torch.manual_seed(0)
    plain = writer(lab.kind, {})[0].eval()
    one = merged(copy.deepcopy(model))
    before, after, pretrained = (each(*inputs_of(lab.kind)) for each in (model, one, plain))
    assert (after - before).abs().max() < 1e-5
    assert (after - pretrained).abs().max() > 1e-2, "it learned something"
    assert one.state_dict().keys() == plain.state_dict().keys()


def test_all_but_the_adapters_stays_as_it_is_to_the_byte(lab: WritingLab, alone: Path):
    torch.manual_seed(0)
    pretrained = writer(lab.kind, {})[0].state_dict()
    found = weights(alone / "engine")
    frozen = {name.replace(".base_layer", ""): tensor for name, tensor in found.items() if not is_adapter(name)}
    assert frozen.keys() == pretrained.keys()
    for name, tensor in frozen.items():
        assert torch.equal(tensor, pretrained[name]), name
    begun = adapted(lab.kind)[0].state_dict()
    still = [name for name, tensor in found.items() if is_adapter(name) and torch.equal(tensor, begun[name])]
    assert not still


def test_adapters_learn_on_the_engine_what_they_learn_in_a_plain_torch_loop(alone: Path, two: Path):
    for out in (alone / "engine", alone / "sharded", two / "two sharded"):
        assert furthest(weights(out), weights(alone / "plain"))[0] < TOLERANCE
    losses = report(alone / "plain")["losses"]
    mean = sum(loss * targets for loss, targets in losses) / sum(targets for _, targets in losses)
    assert report(alone / "engine")["history"][0]["train_loss"] == pytest.approx(mean, abs=1e-5)


def test_a_run_of_adapters_killed_with_9_goes_on_to_the_same_bytes(lab: WritingLab, alone: Path, tmp_path: Path):
    kept = tmp_path / "kept"
    options: dict[str, Any] = {**ALONE["straight"], "checkpoints": str(kept)}
    lab.run("cut", **options, kill_at=7, expect=-9)
    trained = load_file(max(kept.glob("step-*")) / "trained.safetensors")
    assert all(is_adapter(name) for name in trained), "of frozen weights nothing is kept, and no moments"
    out = lab.run("cut", **options)
    assert "goes on after step" in lab.said
    assert (out / "weights.safetensors").read_bytes() == (alone / "straight/weights.safetensors").read_bytes()
    assert report(out) == report(alone / "straight")


@pytest.mark.parametrize("kind", KINDS)
def test_trained_numbers_are_those_of_the_adapters(kind: str):
    torch.manual_seed(0)
    whole = sum(weight.numel() for weight in writer(kind, {})[0].parameters())
    assert adapted(kind)[2] == {"trainable_parameters": TRAINED[kind], "parameters": whole}


def test_frozen_layers_have_adapters_that_are_not_trained_and_a_table_may_be_trained_besides():
    _, subject, found = adapted("gpt2", freeze_layers=1)
    assert found["trainable_parameters"] == TRAINED["gpt2"] // 2
    model, subject, found = adapted("gpt2", freeze_embeddings=False)
    assert found["trainable_parameters"] == TRAINED["gpt2"] + 40 * 16
    assert subject.family.parts(model).embeddings.weight.requires_grad
    named = {**LORA, "targets": ["c_attn"]}
    model, _, found = adapted("gpt2", lora=named)
    assert found["trainable_parameters"] == 2 * 4 * 64
    assert all(".c_attn." in name for name, weight in model.named_parameters() if weight.requires_grad)


def test_the_head_of_an_encoder_is_trained_besides(tmp_path: Path):
    model, subject = classifier({"model": Lab(tmp_path).model})
    own = params(**ADAPTED)
    parts = subject.family.parts(model)
    adapt(parts, own, LoraParams(**LORA))
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert {name for name in trained if not is_adapter(name)} == {"head.weight", "head.bias"}
    assert len(trained) > 2


def test_both_towers_of_a_clip_have_adapters(tmp_path: Path):
    write_tiny_clip(tmp_path)
    model = TWO_TOWERS.build(tmp_path, params_of(tmp_path, None), Head("vector", 0))
    found = adapt(TWO_TOWERS.parts(model), params(**ADAPTED), LoraParams(**LORA))
    trained = {name.partition(".layers")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    assert found["trainable_parameters"] < found["parameters"] / 2, trained
    adapters = [name for name, weight in model.named_parameters() if is_adapter(name) and weight.requires_grad]
    assert {"text", "image"} <= {part for name in adapters for part in name.split(".")}, adapters


def test_names_and_ranks_that_no_matrix_has_are_refused():
    with pytest.raises(ValueError, match=r"lora.targets has 'query'. Allowed: null, .*: c_attn, c_fc, c_proj\."):
        adapted("gpt2", lora={**LORA, "targets": ["c_attn", "query"]})
    with pytest.raises(ValueError, match=r"finetune.lora.rank is 17. Allowed: 1 to 16"):
        adapted("gpt2", lora={**LORA, "rank": 17})


def pretrained_project(root: Path, kind: str, **lora: Any) -> Params:
    """A project with token rows and a pretrained model of this kind, to be trained by adapters."""
    write_rows(root, kind)
    torch.manual_seed(0)
    model, subject = writer(kind, {})
    subject.family.write(model, root / "pretrained")
    (root / "artifacts/data/tokenizer").mkdir()
    Tokenizer(models.BPE()).save(str(root / "artifacts/data/tokenizer/tokenizer.json"))
    values = load_params(REPOSITORY / "params.yaml").model_dump(by_alias=True)
    family = "encoder_decoder" if kind == "t5" else "decoder"
    own: dict[str, dict[str, Any]] = {
        "task": {"name": "text2text_generation", "measure": "chrf"},
        "model": {"family": family, "name": str(root / "pretrained"), "revision": None, "encoder_dropout": 0.0,
                  "sha256": sha256(root / "pretrained/model.safetensors")},
        "finetune": params(**{**ADAPTED, "lora": {**LORA, **lora}}).model_dump(),
        "distill": {"family": family, "teacher_layers": [0]},
        "prune": {"vocabulary": "all", "heads_kept": 1.0, "feed_forward_kept": 1.0},
    }  # fmt: skip
    return Params.model_validate(values | {name: values[name] | changes for name, changes in own.items()})


@pytest.mark.parametrize("kind", KINDS)
def test_finetune_writes_a_plain_model_and_how_many_numbers_were_trained(kind: str, tmp_path: Path):
    values, paths = pretrained_project(tmp_path, kind), Paths(tmp_path)
    finetune(values, paths)
    teacher = paths.model("teacher")
    verify(teacher)
    begun, found = load_file(tmp_path / "pretrained/model.safetensors"), load_file(teacher / "model.safetensors")
    assert found.keys() == begun.keys()
    moved = {name for name in found if not torch.equal(found[name], begun[name])}
    untouched = ("wte", "wpe", "ln_", ".bias", "shared", "layer_norm", "relative_attention_bias")
    assert moved == {name for name in found if not any(part in name for part in untouched)}
    told = json.loads(paths.training("teacher").read_text())
    assert told["trainable_parameters"] == TRAINED[kind]
    assert told["parameters"] == sum(tensor.numel() for tensor in found.values())
    assert not {"trainable_parameters", "parameters"} & json.loads(paths.training_speed("teacher").read_text()).keys()


def test_what_cannot_be_adapted_is_refused_before_training(monkeypatch: pytest.MonkeyPatch):
    shape = ScratchParams(kind="gpt2", layers=1, width=8, heads=1, feed_forward=8, positions=8)
    scratch = changed(model={"name": "scratch", "scratch": shape}, finetune={"lora": LoraParams(**LORA)})
    (line,) = refusals.faults_of_lora(scratch)
    assert line == (
        "params.yaml: model.name is 'scratch', whose weights are random, and finetune.lora would leave them so. Allowed"
        " for it: null."
    )
    monkeypatch.setattr(refusals, "ADAPTERS", "no_such_package")
    wanted = changed(finetune={"lora": LoraParams(**LORA)})
    (line,) = [one for one in mistakes(REPOSITORY, wanted) if "lora" in one]
    assert line.startswith("params.yaml: finetune.lora needs the package 'no_such_package': it is not installed.")
    assert line.endswith("--editable '.[lora]'")
    with pytest.raises(ValueError, match=r"finetune.lora needs the package"):
        finetune(wanted, Paths(REPOSITORY / "nowhere"))


def test_only_a_run_with_adapters_imports_their_package():
    """One file imports it, and how a teacher is taught that file, where it wants adapters."""
    users: dict[str, set[bool]] = {}
    for path in sorted((REPOSITORY / "stages").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        above = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module and (module.partition(".")[0] == "peft" or module == "stages.training.adapters"):
                users.setdefault(path.name, set()).add(id(node) in above)
    assert users == {"adapters.py": {True}, "teaching.py": {False}}
