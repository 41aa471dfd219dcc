"""Narrower students: which directions and heads are kept, what is left of the model, and what cannot be narrowed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY
from safetensors.torch import load_file
from test_distillation import ALL, answers, one_batch
from test_models import IDS, MASK, assert_transformers_opens, build
from torch import nn
from transformers import AutoModel, BertConfig, ElectraConfig

from stages.backends.onnxruntime_int8 import graph
from stages.compression.refusals import faults_of_folder, refuse_unprunable
from stages.compression.width import directions, importance_of_heads, moments, narrowed
from stages.core.contracts import Units
from stages.core.params.file import Params, load_params
from stages.models.encoder import FAMILY, EncoderWithHead
from stages.tasks.text_classification.learning import LEARNING
from stages.training.distillation import distillation_loss, relation_heads
from stages.training.vectors import vector_names

NARROW = ("bert", "distilbert", "roberta")  # of the kinds of tiny models


def linear(weight: list[list[float]]) -> nn.Linear:
    made = nn.Linear(len(weight[0]), len(weight))
    made.weight.data = torch.tensor(weight)
    return made


def batches() -> list[dict[str, torch.Tensor]]:
    """Two, of random tokens; a third of the second's are padding of the number 0."""
    drawn = torch.Generator().manual_seed(5)
    ids = [torch.randint(4, 120, (6, 9), generator=drawn) for _ in range(2)]
    masks = [torch.ones(6, 9, dtype=torch.int64) for _ in range(2)]
    ids[1][:, 6:], masks[1][:, 6:] = 0, 0
    labels = torch.zeros(6, dtype=torch.int64)
    return [{"input_ids": i, "attention_mask": m, "labels": labels} for i, m in zip(ids, masks, strict=True)]


def test_the_directions_that_vectors_mostly_have_are_kept_and_so_is_that_of_their_mean() -> None:
    root = 2**-0.5
    often, seldom = torch.tensor([[root, -root, 0.0, 0.0], [0.0, 0.0, root, -root]], dtype=torch.float64)
    found = directions(3 * torch.outer(often, often) + torch.outer(seldom, seldom), 2)
    assert torch.allclose(found.T @ found, torch.eye(2, dtype=torch.float64))
    # what has one number everywhere has one number everywhere; the other way is the same length across that
    assert torch.allclose(found.T @ torch.full((4,), 0.5).double(), torch.tensor([root, root]).double())
    assert torch.allclose((found.T @ often).abs(), torch.tensor([root, root]).double())
    assert torch.allclose(found.T @ seldom, torch.zeros(2).double())


def test_directions_are_orthonormal_where_vectors_have_fewer_of_them() -> None:
    found = directions(torch.zeros(6, 6, dtype=torch.float64), 4)
    assert torch.allclose(found.T @ found, torch.eye(4, dtype=torch.float64))
    assert torch.allclose(found.T @ torch.ones(6).double(), torch.full((4,), (6 / 4) ** 0.5).double())


def test_moments_are_of_real_tokens_and_without_the_vectors_means(tiny_models: Callable[[str], Path]) -> None:
    model = build(tiny_models("bert"))
    read, given = moments(model, FAMILY.readers(model), batches())
    assert len(read) == len(given) == 2 * 3 + 1
    vectors = []
    with torch.inference_mode():
        for batch in batches():
            ids, mask = batch["input_ids"], batch["attention_mask"]
            vectors.append(model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()].double())
    x = torch.cat(vectors)
    x -= x.mean(1, keepdim=True)
    assert torch.allclose(read[-1], x.T @ x / x.square().sum(), atol=1e-7)
    assert given[0].trace().item() == pytest.approx(1)


def test_the_importance_of_a_head_is_the_size_of_what_it_makes_of_the_values() -> None:
    queries, values, output = linear([[9.0], [0.0]]), linear([[1.0], [-2.0]]), linear([[1.0, 3.0], [0.0, 4.0]])
    # heads of one: |(1, 0)| * |1|, |(3, 4)| * |-2|
    assert importance_of_heads(Units((queries, queries, values), output, 1)).tolist() == pytest.approx([1.0, 10.0])
    # a head of two: the matrix [1 3; 0 4] @ [1; -2] is [-5; -8]
    assert importance_of_heads(Units((queries, queries, values), output, 2)).tolist() == [pytest.approx(math.sqrt(89))]


def of_half_as_many_directions(model: EncoderWithHead) -> EncoderWithHead:
    """Each even dimension is a copy of the odd one behind it; of the four heads the first and the third are silent.

    Norms scale all dimensions alike, else what is copied would not be a matter of directions alone.
    """
    odd, even = slice(1, None, 2), slice(0, None, 2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.weight[:, even] = module.weight[:, odd]
            if isinstance(module, nn.LayerNorm):
                module.weight.fill_(1.3)
                module.bias.copy_(torch.randn(16).repeat_interleave(2) * 0.1)
        for units in (*FAMILY.units(model)["heads"], *FAMILY.units(model)["feed_forward"]):
            for reader in units.producers:
                reader.weight.mul_(5)  # else the layers hardly do anything
            units.consumer.weight.mul_(5)
            units.consumer.weight[even], units.consumer.bias[even] = (
                units.consumer.weight[odd],
                units.consumer.bias[odd],
            )
        for heads in FAMILY.units(model)["heads"]:
            for silent in (0, 2):
                heads.consumer.weight[:, silent * 8 : silent * 8 + 8] = 0
    return model


@pytest.mark.parametrize("kind", NARROW)
def test_without_directions_that_no_vector_has_and_heads_that_are_silent_a_model_says_the_same(
    tiny_models: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    model = of_half_as_many_directions(build(tiny_models(kind)))
    narrow = narrowed(model, FAMILY, 16, batches).eval()
    config = narrow.encoder.config
    assert (config.hidden_size, config.num_attention_heads, model.encoder.config.hidden_size) == (16, 2, 32)
    FAMILY.write(narrow, tmp_path)
    with torch.inference_mode():
        expected = model(IDS, MASK)
        assert float(expected.std()) > 0.1
        assert torch.allclose(narrow(IDS, MASK), expected, atol=1e-4)
        assert torch.equal(FAMILY.open(tmp_path)(IDS, MASK), narrow(IDS, MASK))


def test_what_is_kept_does_not_hang_on_the_number_of_threads(tiny_models: Callable[[str], Path]) -> None:
    model, before, found = build(tiny_models("bert")), torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(narrowed(model, FAMILY, 24, batches).state_dict())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(weights, found[1][name]) for name, weights in found[0].items())


@pytest.mark.parametrize("kind", NARROW)
def test_a_narrower_model_opens_in_transformers(tiny_models: Callable[[str], Path], kind: str, tmp_path: Path) -> None:
    narrow = narrowed(FAMILY.student(build(tiny_models(kind)), [0, 2]), FAMILY, 24, batches).eval()
    FAMILY.write(narrow, tmp_path)
    assert narrow.encoder.get_input_embeddings().weight.shape[1] == 24
    assert_transformers_opens(tmp_path, narrow)


def test_a_student_of_its_teachers_width_has_the_very_same_weights(tiny_models: Callable[[str], Path]) -> None:
    for kind, hidden_size in (("albert", None), ("bert", None), ("bert", 32)):
        student = FAMILY.student(build(tiny_models(kind)), [0, 2])
        assert narrowed(student, FAMILY, hidden_size, batches) is student


def test_a_width_that_heads_do_not_add_up_to_is_refused_with_those_that_they_do(
    tiny_models: Callable[[str], Path],
) -> None:
    model = build(tiny_models("bert"))
    for hidden_size in (12, 40):
        with pytest.raises(ValueError, match=rf"hidden_size is {hidden_size}\. Allowed: null, .*: 8, 16, 24, 32\.$"):
            narrowed(model, FAMILY, hidden_size, batches)


@pytest.mark.parametrize("kind", ["albert", "mpnet"])
def test_models_whose_layers_are_not_known_are_not_made_narrower(tiny_models: Callable[[str], Path], kind: str) -> None:
    with pytest.raises(ValueError, match=f"layers of a {kind} model cannot be made narrower.*distill.hidden_size null"):
        narrowed(build(tiny_models(kind)), FAMILY, 16, batches)


@pytest.mark.parametrize(("embedding_size", "said"), [(16, "word_embeddings of this electra"), (32, None)])
def test_an_embedding_table_of_another_width_than_the_layers_is_refused(
    tmp_path: Path, embedding_size: int, said: str | None
) -> None:
    config = ElectraConfig(
        vocab_size=120, embedding_size=embedding_size, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        intermediate_size=64,
    )  # fmt: skip
    AutoModel.from_config(config).save_pretrained(tmp_path)
    model = build(tmp_path)
    if said:
        with pytest.raises(ValueError, match=said):
            narrowed(model, FAMILY, 16, batches)
    else:
        FAMILY.write(narrowed(model, FAMILY, 16, batches), tmp_path / "narrow")
        assert FAMILY.open(tmp_path / "narrow")(IDS, MASK).shape == (2, 3)


@pytest.mark.parametrize(
    ("teacher", "student", "heads"),
    [((12, 32), (12, 32), 12), ((12, 32), (8, 32), 8), ((4, 8), (3, 8), 4), ((3, 8), (2, 8), 2)],
)
def test_relations_take_the_vectors_of_both_apart_into_as_many_heads_as_go_into_both_widths(
    teacher: tuple[int, int], student: tuple[int, int], heads: int
) -> None:
    sides = [Units((), nn.Linear(count * size, 1), size) for count, size in (teacher, student)]
    assert relation_heads(*sides) == heads


@pytest.mark.parametrize("name", ["attention_relations", "value_relations"])
def test_a_narrower_student_comes_nearer_to_its_teachers_relations(
    tiny_models: Callable[[str], Path], name: str
) -> None:
    teacher = build(tiny_models("bert"))
    with torch.no_grad():
        for units in FAMILY.units(teacher)["heads"]:
            for producer in units.producers:
                producer.weight.mul_(20)  # else all tokens relate to all others alike
    kept = answers(teacher, vector_names(ALL, [2]))
    student = narrowed(FAMILY.student(teacher, [0, 2]), FAMILY, 16, batches).train()
    batch, rows = one_batch([0, 1, 2]), np.array([0, 1, 2])
    steps = torch.optim.Adam(student.parameters(), lr=3e-3)
    found = []
    with distillation_loss(
        {name: 1.0}, temperature=1.0, task=LEARNING, answers=kept, taps=lambda: FAMILY.taps(student),
        teacher_layers=[0, 2], heads=lambda: relation_heads(*(FAMILY.units(m)["heads"][0] for m in (teacher, student))),
    ) as loss:  # fmt: skip
        for _ in range(20):
            steps.zero_grad()
            now = loss(student(batch["input_ids"], batch["attention_mask"]), batch, rows)
            now.backward()
            steps.step()
            found.append(now.item())
    assert found[0] > 1e-3
    assert found[-1] < 0.5 * found[0]


def with_width(hidden_size: int) -> Params:
    whole = load_params(REPOSITORY / "params.yaml")
    pruned = {"vocabulary": "all", "heads_kept": 1.0, "feed_forward_kept": 1.0}
    changes = {
        "distill": whole.distill.model_copy(update={"hidden_size": hidden_size}),
        "prune": whole.prune.model_copy(update=pruned),
    }
    return whole.model_copy(update=changes)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "bert", "hidden_size": 384, "num_attention_heads": 12}, None),
        ({"model_type": "bert", "hidden_size": 768, "num_attention_heads": 12}, None),
        ({"model_type": "bert", "hidden_size": 1024, "num_attention_heads": 2}, "Allowed: null, .*: 512, 1024"),
        ({"model_type": "distilbert", "dim": 120, "n_heads": 3}, "hidden_size is 256. Allowed: null, .*: 40, 80, 120"),
        ({"model_type": "mpnet", "hidden_size": 768, "num_attention_heads": 12}, "Set distill.hidden_size: null"),
        (
            {"model_type": "electra", "hidden_size": 512, "num_attention_heads": 4, "embedding_size": 128},
            "embeddings are 128 wide and its layers 512, so it cannot be made narrower",
        ),
        ({"model_type": "new"}, None),
    ],
)  # fmt: skip
def test_a_look_at_a_models_folder_says_which_widths_it_can_have(
    tmp_path: Path, config: dict[str, Any], said: str | None
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = list(faults_of_folder(tmp_path, with_width(256)))
    assert len(found) == (said is not None)
    assert said is None or re.search(said, found[0])


def test_before_training_the_model_itself_is_asked(tiny_models: Callable[[str], Path]) -> None:
    def ask(kind: str, hidden_size: int) -> None:
        model = build(tiny_models(kind))
        refuse_unprunable(
            with_width(hidden_size), tiny_models(kind) / "tokenizer.json", units=lambda: FAMILY.units(model),
            taps=list, readers=lambda: FAMILY.readers(model),
        )  # fmt: skip

    ask("bert", 16)
    with pytest.raises(ValueError, match=r"hidden_size is 256\. Allowed: null"):
        ask("bert", 256)
    with pytest.raises(ValueError, match="mpnet model cannot be made narrower"):
        ask("mpnet", 16)


@pytest.mark.parametrize("width", [96, 192, 256])
def test_int8_takes_widths_that_the_blocks_of_the_embeddings_do_not_go_into(tmp_path: Path, width: int) -> None:
    config = BertConfig(
        vocab_size=120, hidden_size=384, num_hidden_layers=1, num_attention_heads=12, intermediate_size=64,
        max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(3)
    AutoModel.from_config(config).save_pretrained(tmp_path / "wide")
    narrow = narrowed(build(tmp_path / "wide"), FAMILY, width, batches).eval()
    FAMILY.write(narrow, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = {name: tensor.numpy() for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    assert graph.understands(weights, config)
    made = graph.build(weights, config, graph.Precision((), None, per_channel=True), max_tokens=12)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()})
    with torch.inference_mode():
        expected = narrow(IDS, MASK).numpy()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(expected))
