"""The student that is a bidirectional LSTM: built, distilled, pruned, quantized, and refused where it must be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import REPOSITORY, TOPICS, tiny_params
from safetensors.numpy import load_file
from test_models import IDS, MASK, assert_opens_as_written, build
from test_tokenize import write_clean

from stages.backends import QUANTIZERS
from stages.backends.onnxruntime_int8 import recurrent
from stages.backends.onnxruntime_int8 import runner as onnxruntime_int8_runner
from stages.backends.runners import open_runner
from stages.cache_logits import cache_logits
from stages.compression.refusals import faults_of_folder, faults_of_student
from stages.core import plugins
from stages.core.contracts import Head, Outputs, QuantizationRows
from stages.core.files import read_json, write_json
from stages.core.model_folder import describe
from stages.core.params.distill import DistillParams
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.finetune import finetune
from stages.models import encoder
from stages.models.bilstm import FAMILY
from stages.prune import prune
from stages.quantize import quantize
from stages.tokenize import tokenize
from stages.training.groups import freeze, parameter_groups
from stages.training.meter import cost_of_rows
from winnow import load

POOLINGS = ("max", "mean", "last")
ROWS = [
    (f"{split}-{label}-{at}", " ".join(words[at : at + 3]), label, split)
    for split, count in (("train", 8), ("validation", 3), ("test", 1))
    for label, words in TOPICS.items()
    for at in range(count)
]
TEXTS = [row[1] for row in ROWS]


def distill_params(**changes: Any) -> DistillParams:
    whole = load_params(REPOSITORY / "params.yaml").distill
    own = {name: changes.pop(name) for name in list(changes) if name in type(whole.bilstm).model_fields}
    return whole.model_copy(update={"bilstm": whole.bilstm.model_copy(update=own), **changes})


def begun(teacher: Any, **changes: Any) -> Any:
    """A student with weights so large that rows get clearly different answers."""
    torch.manual_seed(0)
    assert FAMILY.begin is not None
    student: Any = FAMILY.begin(
        encoder.FAMILY.parts(teacher), distill_params(hidden_units=8, **changes), Head("row", 3)
    )
    with torch.no_grad():
        for name, weights in student.named_parameters():
            if "embeddings" not in name:
                weights.add_(torch.randn_like(weights) * 0.5)
    return student.eval()


@pytest.fixture(scope="module")
def teacher(tiny_models: Callable[[str], Path]) -> Any:
    return build(tiny_models("bert"))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_change_the_logits(teacher: Any, pooling: str) -> None:
    student = begun(teacher, pooling=pooling, layers=2)
    behind = IDS.clone()
    behind[1, 3:] = 77
    with torch.inference_mode():
        together, alone = student(IDS, MASK), student(IDS[1:, :3], MASK[1:, :3])
        assert torch.equal(student(behind, MASK), together)
    assert float((together[0] - together[1]).abs().max()) > 0.01
    assert torch.allclose(together[1], alone[0], atol=1e-5)


def test_a_token_head_puts_out_numbers_for_the_state_of_each_token(teacher: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert FAMILY.begin is not None
    params = distill_params(hidden_units=8, layers=2)
    student: Any = FAMILY.begin(encoder.FAMILY.parts(teacher), params, Head("token", 4)).eval()
    with torch.inference_mode():
        together, alone = student(IDS, MASK), student(IDS[1:, :3], MASK[1:, :3])
        of_each = student.head(student.encoder(IDS[1:, :3], torch.tensor([3]))[0])
    assert together.shape == (2, 5, 4)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-5)
    assert torch.allclose(alone, of_each, atol=1e-5)
    assert_opens_as_written(FAMILY, student, tmp_path)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_head_that_is_a_vector_puts_out_pooled_states_with_length_1_and_so_does_the_written_graph(
    teacher: Any, tmp_path: Path, pooling: str
) -> None:
    torch.manual_seed(0)
    assert FAMILY.begin is not None
    params = distill_params(hidden_units=8, layers=2, pooling=pooling)
    student: Any = FAMILY.begin(encoder.FAMILY.parts(teacher), params, Head("vector", 0)).eval()
    with torch.inference_mode():
        found = student(IDS, MASK)
    assert found.shape == (2, 16)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)
    assert_opens_as_written(FAMILY, student, tmp_path)
    weights = {name: tensor.detach().numpy() for name, tensor in student.state_dict().items()}
    config = read_json(tmp_path / "one/config.json")
    exact = ["embeddings", "layer.0", "layer.1"]
    made = recurrent.build(weights, config, exact, per_channel=True).SerializeToString()
    written = onnxruntime.InferenceSession(made, providers=["CPUExecutionProvider"])
    feeds = {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()}
    np.testing.assert_allclose(written.run(["logits"], feeds)[0], found.numpy(), atol=1e-5)


def test_a_student_of_an_earlier_version_has_a_head_of_rows(teacher: Any, tmp_path: Path) -> None:
    student = begun(teacher)
    FAMILY.write(student, tmp_path)
    config = read_json(tmp_path / "config.json")
    assert config.pop("head") == {"kind": "row", "size": 3}
    write_json(tmp_path / "config.json", {**config, "n_labels": 3})
    with torch.inference_mode():
        assert torch.equal(FAMILY.open(tmp_path)(IDS, MASK), student(IDS, MASK))


def test_types_of_the_tokens_of_pairs_are_passed_by(teacher: Any) -> None:
    student = begun(teacher)
    with torch.inference_mode():
        assert torch.equal(student(IDS, MASK, torch.ones_like(IDS)), student(IDS, MASK))


def test_states_are_pooled_by_their_maximum_their_mean_or_where_each_direction_ends(teacher: Any) -> None:
    ids = IDS[:1]
    for pooling in POOLINGS:
        student = begun(teacher, pooling=pooling)
        with torch.inference_mode():
            embedded_TE = student.encoder.norm(student.encoder.embeddings(ids[0]))
            states_TX, _ = student.encoder.layers[0](embedded_TE)
            pooled_X = {
                "max": states_TX.max(0).values,
                "mean": states_TX.mean(0),
                "last": torch.cat([states_TX[-1, :8], states_TX[0, 8:]]),
            }[pooling]
            assert torch.allclose(student(ids, MASK[:1])[0], student.head(pooled_X), atol=1e-5)


@pytest.mark.parametrize(("kind", "width"), [("bert", 32), ("albert", 16)])
def test_a_student_begins_with_a_copy_of_its_teachers_token_embeddings(
    tiny_models: Callable[[str], Path], kind: str, width: int
) -> None:
    teacher: Any = build(tiny_models(kind))
    own = begun(teacher).encoder.embeddings.weight
    theirs = teacher.encoder.get_input_embeddings().weight
    assert own.shape[1] == width
    assert torch.equal(own, theirs)
    with torch.no_grad():
        own.zero_()
    assert theirs.abs().sum() > 0


def test_a_student_survives_writing_in_the_same_bytes(teacher: Any, tmp_path: Path) -> None:
    assert_opens_as_written(FAMILY, begun(teacher, layers=2, pooling="mean"), tmp_path)


def test_without_tokens_that_do_not_occur_a_student_says_the_same(teacher: Any) -> None:
    student = begun(teacher)
    kept = sorted(set(IDS.flatten().tolist()))
    cut: Any = FAMILY.cut_vocabulary(student, kept, 12)
    renumbered = torch.tensor([[kept.index(int(token)) for token in row] for row in IDS])
    with torch.inference_mode():
        assert torch.equal(cut(renumbered, MASK), student(IDS, MASK))
    assert cut.shape.vocabulary_size == len(cut.encoder.embeddings.weight) == len(kept)
    assert student.shape.vocabulary_size > len(kept)


def test_lower_layers_learn_slower_and_can_be_frozen(teacher: Any) -> None:
    student = begun(teacher, layers=2)
    params = distill_params(layer_decay=0.5, encoder_learning_rate=0.4, head_learning_rate=9.0, freeze_embeddings=False)
    rates = [group["peak"] for group in parameter_groups(FAMILY.parts(student), params)]
    assert sorted(set(rates)) == [0.1, 0.2, 0.4, 9.0]  # embeddings, the lower layer, the upper one, the head
    freeze(FAMILY.parts(student), distill_params(freeze_layers=1))
    assert [one.weight_ih_l0.requires_grad for one in student.encoder.layers] == [False, True]
    with pytest.raises(ValueError, match=r"freeze_layers is 3\. Allowed: 0 to 2"):
        freeze(FAMILY.parts(student), distill_params(freeze_layers=3))


def test_what_a_row_costs_is_counted(teacher: Any) -> None:
    student = begun(teacher)
    # both directions, four gates, 8 units, products with 32 inputs and 8 states; twice as many operations back
    token = 2 * 4 * 8 * (32 + 8) * 2 * 3
    head = 16 * 3 * 2 * 3
    assert cost_of_rows(student, 12)(np.array([12])) == pytest.approx(12 * token + head, rel=0.1)


def run_graph(folder: Path, ids: torch.Tensor, mask: torch.Tensor, kept: list[str], **changes: Any) -> np.ndarray:
    weights, config = load_file(folder / "model.safetensors"), read_json(folder / "config.json")
    model = recurrent.build(weights, config, kept, per_channel=changes.get("per_channel", True))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_graph_in_float32_gives_torchs_logits_and_in_int8_nearly(
    teacher: Any, tmp_path: Path, pooling: str
) -> None:
    student = begun(teacher, pooling=pooling, layers=2)
    FAMILY.write(student, tmp_path)
    with torch.inference_mode():
        exact = student(IDS, MASK).numpy()
    everything = ["embeddings", "layer.0", "layer.1"]
    np.testing.assert_allclose(run_graph(tmp_path, IDS, MASK, everything), exact, atol=2e-5)
    for per_channel in (True, False):
        int8 = run_graph(tmp_path, IDS, MASK, [], per_channel=per_channel)
        assert 1e-5 < np.abs(int8 - exact).max() < 0.1 * np.ptp(exact)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_stands_behind_the_mask_changes_nothing_in_int8(teacher: Any, tmp_path: Path, pooling: str) -> None:
    FAMILY.write(begun(teacher, pooling=pooling), tmp_path)
    short = run_graph(tmp_path, IDS[1:, :3], MASK[1:, :3], [])
    for padding in (0, 77):
        padded = torch.cat([IDS[1:, :3], torch.full((1, 4), padding)], dim=1)
        mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
        np.testing.assert_allclose(run_graph(tmp_path, padded, mask, []), short, atol=1e-5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> tuple[Params, Paths]:
    """A project, and all that its stages make when the student is an LSTM."""
    paths = write_clean(tmp_path_factory.mktemp("bilstm") / "project", ROWS)
    tiny = tiny_models("bert")
    params = tiny_params(
        paths, tiny, finetune__epochs=6, finetune__batch_size=6, finetune__encoder_learning_rate=5.0e-3,
        finetune__head_learning_rate=2.0e-2, finetune__freeze_embeddings=False, finetune__precision="fp32",
        distill__family="bilstm", distill__epochs=12, distill__batch_size=6,
        distill__bilstm={"hidden_units": 16, "layers": 1, "dropout": 0.0, "pooling": "max"},
        distill__encoder_learning_rate=2.0e-2, distill__head_learning_rate=2.0e-2, distill__precision="fp32",
        distill__patience=20, distill__losses__labels=0.0, distill__temperature=1.0, prune__common_words=2,
        prune__feed_forward_kept=1.0, prune__epochs=1,
    )  # fmt: skip
    for stage in (tokenize, finetune, cache_logits, distill, prune, quantize):
        stage(params, paths)
    return params, paths


def predicted(paths: Paths, name: str) -> np.ndarray:
    return open_runner(paths.model(name), threads=1).predict(TEXTS).values


def test_a_student_learns_what_its_teacher_answers(made: tuple[Params, Paths]) -> None:
    _, paths = made
    losses = [epoch["train_loss"] for epoch in read_json(paths.training("student"))["history"]]
    assert losses[-1] < 0.3 * losses[0]
    train = [at for at, row in enumerate(ROWS) if row[3] == "train"]
    answers = [predicted(paths, name)[train].argmax(1) for name in ("teacher", "student")]
    assert len(set(answers[0])) == len(TOPICS)
    assert (answers[0] == answers[1]).mean() > 0.9


def test_each_folder_says_what_family_opens_it(made: tuple[Params, Paths]) -> None:
    _, paths = made
    found = {name: describe(paths.model(name))["family"] for name in ("teacher", "student", "pruned", "quantized")}
    assert found == {"teacher": "encoder", "student": "bilstm", "pruned": "bilstm", "quantized": "bilstm"}


def test_tokens_are_pruned_and_nothing_else(made: tuple[Params, Paths]) -> None:
    _, paths = made
    report = read_json(paths.pruning_report)
    assert report.keys() == {"parameters", "tokens"}
    assert report["tokens"][1] < report["tokens"][0]
    assert report["parameters"][0] - report["parameters"][1] == 32 * (report["tokens"][0] - report["tokens"][1])


def test_int8_gives_the_same_answers_without_torch_and_its_card_says_what_it_is(made: tuple[Params, Paths]) -> None:
    _, paths = made
    answers = load(paths.model("quantized"), threads=1)(TEXTS)
    labels = load(paths.model("pruned"), threads=1)(TEXTS)
    assert np.mean([one.label == other.label for one, other in zip(answers, labels, strict=True)]) > 0.9
    found = read_json(paths.quantization)
    assert (found["activations"], found["matrices"], found["kept"]) == ("dynamic", 2, [])
    card = (paths.model("quantized") / "README.md").read_text(encoding="utf-8")
    assert "distilled to a bidirectional LSTM (1 x 16 units a direction), pruned to" in card


def test_int8_answers_of_a_batch_do_not_hang_on_the_number_of_threads(
    made: tuple[Params, Paths], teacher: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "large"  # threads share the rows of a batch only where there is enough to do
    shutil.copytree(made[1].model("quantized"), folder)
    assert FAMILY.begin is not None
    student: Any = FAMILY.begin(encoder.FAMILY.parts(teacher), distill_params(hidden_units=64), Head("row", 3))
    weights = {name: tensor.detach().numpy() for name, tensor in student.state_dict().items()}
    onnx.save(recurrent.build(weights, student.shape.as_config(), [], per_channel=True), folder / "model.onnx")
    words = [word for topic in TOPICS.values() for word in topic]
    texts = [" ".join([*words[at:], *words[:at]]) for at in range(32)]  # of as many tokens as the model takes, all
    one, four = (
        onnxruntime_int8_runner.open_runner(folder, threads=threads).predict(texts).values for threads in (1, 4)
    )
    np.testing.assert_array_equal(one, four)


@pytest.mark.parametrize("changes", [{"zero_stage": 3}, pytest.param({"precision": "bf16"}, marks=pytest.mark.slow)])
def test_a_student_can_be_made_under_zero_3_and_in_bf16(
    made: tuple[Params, Paths], tmp_path: Path, changes: dict[str, Any]
) -> None:
    params, paths = made
    shutil.copytree(paths.root, tmp_path / "other")
    other = Paths(tmp_path / "other")
    distill(params.model_copy(update={"distill": params.distill.model_copy(update={"epochs": 2, **changes})}), other)
    losses = [epoch["train_loss"] for epoch in read_json(other.training("student"))["history"]]
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"activation_checkpointing": True}, r"distill\.activation_checkpointing is true, .*\. Allowed for it: false"),
        ({"freeze_layers": 2}, "freeze_layers is 2. Allowed: 0 to 1"),
        ({"family": "lstm"}, r"distill\.family is 'lstm'. Allowed: bilstm, decoder, encoder"),
    ],
)
def test_what_a_student_cannot_do_is_refused_before_it_trains(
    made: tuple[Params, Paths], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    params, paths = made
    shutil.copytree(paths.root, tmp_path / "other")
    shutil.rmtree(tmp_path / "other/artifacts/step_logs")
    with pytest.raises(ValueError, match=said):
        distill(
            params.model_copy(update={"distill": params.distill.model_copy(update=change)}), Paths(tmp_path / "other")
        )
    assert not Paths(tmp_path / "other").step_log("student").exists()


def test_heads_and_neurons_to_prune_stop_finetune_before_it_trains(made: tuple[Params, Paths]) -> None:
    params, paths = made
    cut = params.model_copy(update={"prune": params.prune.model_copy(update={"heads_kept": 0.5})})
    before = paths.step_log("teacher").stat().st_mtime_ns
    with pytest.raises(ValueError, match=r"heads nor feed-forward neurons\. Set prune\.heads_kept: 1\.0\.$"):
        finetune(cut, paths)
    assert paths.step_log("teacher").stat().st_mtime_ns == before


def test_heads_and_neurons_to_prune_stop_distill_before_it_trains(made: tuple[Params, Paths], tmp_path: Path) -> None:
    params, paths = made
    shutil.copytree(paths.root, tmp_path / "other")
    shutil.rmtree(tmp_path / "other/artifacts/step_logs")
    cut = params.model_copy(update={"prune": params.prune.model_copy(update={"heads_kept": 0.5})})
    with pytest.raises(ValueError, match="neither attention heads nor feed-forward neurons"):
        distill(cut, Paths(tmp_path / "other"))
    assert not Paths(tmp_path / "other").step_log("student").exists()


def test_heads_and_neurons_to_prune_stop_prune_too(made: tuple[Params, Paths]) -> None:
    params, paths = made
    cut = params.model_copy(update={"prune": params.prune.model_copy(update={"heads_kept": 0.5})})
    with pytest.raises(ValueError, match="neither attention heads nor feed-forward neurons"):
        prune(cut, paths)


def test_an_lstm_is_no_teacher(made: tuple[Params, Paths]) -> None:
    params, paths = made
    with pytest.raises(ValueError, match=r"model\.family is 'bilstm', which has no pretrained weights"):
        finetune(params.model_copy(update={"model": params.model.model_copy(update={"family": "bilstm"})}), paths)


@pytest.mark.parametrize(("package", "backend"), [("nncf", "openvino_int8"), ("torchao", "torchao_int8")])
def test_a_backend_without_an_operator_for_it_refuses_an_lstm(
    made: tuple[Params, Paths], tmp_path: Path, package: str, backend: str
) -> None:
    pytest.importorskip(package)
    quantizer = plugins.load(QUANTIZERS, backend, key="quantize.backend")
    params, paths = made
    exact = Outputs(np.zeros((len(TEXTS), 3)))
    rows = QuantizationRows(TEXTS, TEXTS, exact, "score", lambda _: 0.0, lambda *_: 1.0, lambda *_: 0.0)
    with pytest.raises(
        ValueError, match=rf"'{backend}', and distill\.family 'bilstm'. Allowed for it: auto, onnxruntime_int8"
    ):
        quantizer(paths.model("pruned"), tmp_path, params.quantize, rows)


def test_a_teacher_whose_layers_are_not_known_may_have_an_lstm_for_student(
    made: tuple[Params, Paths], tmp_path: Path
) -> None:
    params, _ = made
    write_json(tmp_path / "config.json", {"model_type": "mpnet"})
    assert [*faults_of_folder(tmp_path, params), *faults_of_student(params)] == []
