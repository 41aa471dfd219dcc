"""Few labels: pairs of rows, an encoder that learns from them, and the head that is fitted to it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import edit_params, tiny_params
from safetensors.numpy import load_file
from test_floors import prepared
from test_tokenize import contents

from stages.backends.runners import open_runner
from stages.cache_logits import cache_logits
from stages.compression.recipe import taught as taught_in_words
from stages.core import plugins
from stages.core.files import read_json
from stages.core.params.file import Params, load_params
from stages.core.params.task import faults_of_task
from stages.core.paths import Paths
from stages.distill import distill
from stages.finetune import finetune
from stages.reading.clean_rows import read_split
from stages.tasks import TASKS
from stages.tokenize import tokenize
from stages.training.contrastive import Relations, as_pairs, contrastive_loss, pairs_of
from stages.training.prototypes import head_of_cosines
from stages.training.rows import TokenRows, open_training_data

FEW: dict[str, Any] = dict(  # noqa: C408
    finetune__method="contrastive",
    finetune__contrastive={"pairs_per_row": 8, "temperature": 0.05, "inverse_regularizations": [0.01, 1.0]},
    finetune__epochs=2, finetune__batch_size=16, finetune__encoder_learning_rate=2.0e-3, finetune__precision="fp32",
    finetune__freeze_embeddings=False, distill__teacher_layers=[0, 2], distill__epochs=1, distill__precision="fp32",
)  # fmt: skip


def of_labels(*labels: int) -> np.ndarray:
    """(N, C) bool."""
    return np.array(labels)[:, None] == np.arange(max(labels) + 1)


def drawn(holds_NC: np.ndarray, per_row: int, *, seed: int = 3, texts: list[int] | None = None) -> np.ndarray:
    return pairs_of(related(holds_NC, texts), per_row=per_row, seed=seed)


def related(holds_NC: np.ndarray, texts: list[int] | None = None) -> Relations:
    return Relations(holds_NC, np.arange(len(holds_NC)) if texts is None else np.array(texts))


def test_a_rows_partners_share_its_label() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    first, second = drawn(of_labels(*labels), 3).T
    assert (labels[first] == labels[second]).all()
    assert (first != second).all()
    assert np.bincount(first).tolist() == [3] * 8


def test_no_partner_comes_again_before_all_have_come() -> None:
    pairs_P2 = drawn(of_labels(0, 0, 0, 1, 1), 4)  # row 0 has two partners
    assert sorted(pairs_P2[pairs_P2[:, 0] == 0][:, 1].tolist()) == [1, 1, 2, 2]


def test_the_seed_decides_on_the_pairs() -> None:
    holds_NC = of_labels(*[0, 1, 2] * 5)
    one, again, other = (drawn(holds_NC, 2, seed=seed).tolist() for seed in (1, 1, 2))
    assert one == again != other


def test_windows_of_one_text_are_no_pair() -> None:
    pairs_P2 = drawn(of_labels(0, 0, 0, 1, 1, 1), 4, texts=[1, 1, 2, 3, 3, 4])
    assert {(*map(int, pair),) for pair in pairs_P2} == {
        (0, 2), (1, 2), (2, 0), (2, 1), (3, 5), (4, 5), (5, 3), (5, 4),
    }  # fmt: skip


def test_sets_of_labels_are_partners_where_they_share_one_and_a_row_without_any_is_its_own() -> None:
    holds_NC = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    found = {(*map(int, pair),) for pair in drawn(holds_NC, 5)}
    assert found == {(0, 1), (1, 0), (2, 2), (3, 3), (4, 4)}


@pytest.mark.parametrize(("labels", "words"), [((0, 1, 2), "share a label"), ((0, 0, 0), "differ in their labels")])
def test_rows_that_have_nothing_to_be_told_apart_from_or_near_to_are_refused(
    labels: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=f"no two training rows {words}. Label more rows"):
        drawn(of_labels(*labels), 4)


def test_a_pair_has_the_tokens_and_the_numbers_of_both_rows() -> None:
    rows = TokenRows(["a", "b"], np.array([0, 1]), np.array([0, 2, 5]), np.array([7, 8, 4, 5, 6], dtype=np.int32))
    pairs = as_pairs(rows, np.array([[1, 0], [0, 0]]))
    assert pairs[0]["input_ids"].tolist() == [4, 5, 6, 7, 8]
    assert pairs[1]["input_ids"].tolist() == [7, 8, 7, 8]
    assert [pairs[at]["second"] for at in (0, 1)] == [3, 2]
    assert pairs.targets.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert pairs.apart


def loss_of(vectors: list[list[list[float]]], labels: list[list[int]], temperature: float = 1.0) -> list[float]:
    """The loss of pairs, each row with one label and of a text of its own."""
    held = torch.nn.functional.one_hot(torch.tensor(labels)).bool()
    texts = torch.arange(2 * len(labels)).view(-1, 2)
    found: list[float] = contrastive_loss(torch.tensor(vectors), held, texts, temperature=temperature).tolist()
    return found


RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


@pytest.mark.parametrize(
    ("vectors", "labels", "temperature", "expected"),
    [
        # The partner's cosine is 1, the two others' are 0: -ln(e / (e + 2)).
        ([[RIGHT, RIGHT], [UP, UP]], [[0, 0], [1, 1]], 1.0, [math.log(1 + 2 / math.e)] * 2),
        ([[RIGHT, RIGHT], [UP, UP]], [[0, 0], [1, 1]], 0.5, [math.log(1 + 2 / math.e**2)] * 2),
        # All share the label, and are equally near: nothing is left to learn.
        ([[RIGHT, RIGHT], [RIGHT, RIGHT]], [[0, 0], [0, 0]], 1.0, [0.0, 0.0]),
        # Of three others that share the label one is near, e of e + 2: the mean of -ln of the shares, less ln 3.
        ([[RIGHT, RIGHT], [UP, UP]], [[0, 0], [0, 0]], 1.0, [math.log(math.e + 2) - 1 / 3 - math.log(3)] * 2),
        # The partner is far and the others are near: -ln(1 / (1 + 2 e)) of one vector, -ln(1 / 3) of the other.
        (
            [[RIGHT, UP], [RIGHT, RIGHT]], [[0, 0], [1, 1]], 1.0,
            [(math.log(1 + 2 * math.e) + math.log(3)) / 2, math.log(2 + 1 / math.e)],
        ),
    ],
)  # fmt: skip
def test_the_loss_is_what_a_person_works_out(
    vectors: list[list[list[float]]], labels: list[list[int]], temperature: float, expected: list[float]
) -> None:
    np.testing.assert_allclose(loss_of(vectors, labels, temperature), expected, atol=1e-6)


def by_hand(vectors: np.ndarray, known: Relations, rows_B2: np.ndarray, temperature: float) -> list[float]:
    """The loss of each pair, one vector and one other after the other."""
    flat, numbers = vectors.reshape(-1, vectors.shape[2]), rows_B2.ravel()
    own = []
    for i, row in enumerate(numbers):
        near: list[float] = []
        far: list[float] = []
        for j, other in enumerate(numbers):
            shared = bool((known.holds_NC[row] & known.holds_NC[other]).any())
            neither = not known.holds_NC[row].any() and not known.holds_NC[other].any()
            likeness = float(np.exp(flat[i] @ flat[j] / temperature))
            if j == i ^ 1:
                near.append(likeness)
            elif j != i and known.text_N[row] != known.text_N[other] and not neither:
                (near if shared else far).append(likeness)
        even = 1 / len(near)
        own.append(sum(even * np.log(even * (sum(near) + sum(far)) / one) for one in near))
    return [(own[at] + own[at + 1]) / 2 for at in range(0, len(own), 2)]


def test_the_loss_is_of_what_shares_a_label_among_the_batch() -> None:
    holds_NC = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    known = related(holds_NC, [0, 1, 2, 3, 3, 4, 5])
    rows_B2 = np.array([[0, 1], [2, 0], [3, 3], [4, 4], [5, 5], [6, 6]])
    vectors = np.random.default_rng(1).standard_normal((6, 2, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    holds, texts = (torch.from_numpy(one[rows_B2]) for one in known)
    given = torch.from_numpy(vectors).requires_grad_()
    found = contrastive_loss(given, holds, texts, temperature=0.5)
    np.testing.assert_allclose(found.detach().numpy(), by_hand(vectors, known, rows_B2, 0.5), rtol=1e-5)
    found.sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()


def test_one_pair_alone_has_nothing_to_be_told_apart_from() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(1, 2, 4), dim=2)
    held = torch.ones(1, 2, 1, dtype=torch.bool)
    assert contrastive_loss(vectors, held, torch.tensor([[0, 1]]), temperature=0.05).tolist() == [0.0]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> tuple[Params, Paths]:
    """A project whose teacher learned from pairs of its sixty rows."""
    params, paths = prepared(
        tmp_path_factory.mktemp("few") / "project", tiny_models("bert"), "text_classification", **FEW
    )
    finetune(params, paths)
    return params, paths


def right(paths: Paths, name: str) -> float:
    """The share of the test rows that the model answers rightly."""
    rows = read_split(paths.clean, "test")
    runner = open_runner(paths.model(name), threads=1)
    labels = runner.space["labels"]
    answers = [labels[at] for at in runner.predict(rows["text"].to_pylist()).values.argmax(1)]
    return float(np.mean([answer == truth for answer, truth in zip(answers, rows["label"].to_pylist(), strict=True)]))


def test_pairs_bring_vectors_of_one_label_together_and_apart_from_others(taught: tuple[Params, Paths]) -> None:
    _, paths = taught
    report = read_json(paths.training("teacher"))
    assert (report["train_rows"], report["pairs"]) == (60, 480)
    losses = [epoch["train_loss"] for epoch in report["history"]]
    assert losses[-1] < losses[0] / 2
    assert report["validation_accuracy"] == pytest.approx(1.0)
    assert right(paths, "teacher") == 1.0


def test_the_report_says_which_head_was_chosen_and_by_what(taught: tuple[Params, Paths]) -> None:
    report = read_json(taught[1].training("teacher"))
    scores = report["chosen"]["validation_accuracy"]
    assert scores.keys() == {"0.01", "1"}
    assert report["validation_accuracy"] == max(scores.values())
    assert report["chosen"]["inverse_regularization"] in (0.01, 1.0)


def test_the_teacher_is_a_folder_like_any_other_and_a_student_learns_from_it(taught: tuple[Params, Paths]) -> None:
    params, paths = taught
    cache_logits(params, paths)
    distill(params, paths)
    assert load_file(paths.model("teacher") / "model.safetensors")["head.weight"].shape == (2, 32)
    assert right(paths, "student") >= 0.9


def test_the_same_run_gives_the_same_bytes_and_one_that_was_cut_off_too(
    taught: tuple[Params, Paths], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    params, paths = taught
    monkeypatch.setenv("WINNOW_CHECKPOINT_SECONDS", "0.001")
    again, calls = copied(paths, tmp_path), 0

    def cut_off(*arguments: torch.Tensor, temperature: float) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 45:  # of sixty steps: in the second epoch
            raise ValueError("cut off")
        return contrastive_loss(*arguments, temperature=temperature)

    monkeypatch.setattr("stages.training.contrastive.contrastive_loss", cut_off)
    with pytest.raises(ValueError, match="cut off"):
        finetune(params, again)
    caplog.set_level("INFO", logger="winnow")
    finetune(params, again)
    assert "goes on after step 40, in epoch 2" in caplog.text
    assert contents(again.model("teacher")) == contents(paths.model("teacher"))
    assert again.training("teacher").read_bytes() == paths.training("teacher").read_bytes()


def test_another_seed_gives_another_teacher(taught: tuple[Params, Paths], tmp_path: Path) -> None:
    params, paths = taught
    other = copied(paths, tmp_path)
    finetune(params.model_copy(update={"seed": params.seed + 1}), other)
    name = "model.safetensors"
    assert (other.model("teacher") / name).read_bytes() != (paths.model("teacher") / name).read_bytes()


def test_the_head_is_fitted_by_the_loss_that_params_say(taught: tuple[Params, Paths], tmp_path: Path) -> None:
    """The encoder learns from pairs, so that smoothed labels change the head alone, which is less sure of them."""
    params, paths = taught
    found = []
    for smoothing in (0.0, 0.2):
        changed = params.finetune.model_copy(update={"label_smoothing": smoothing, "epochs": 1})
        own = copied(paths, tmp_path / f"{smoothing}")
        finetune(params.model_copy(update={"finetune": changed}), own)
        found.append(load_file(own.model("teacher") / "model.safetensors"))
    plain, smooth = found
    changed_weights = {name for name in plain if not np.array_equal(plain[name], smooth[name])}
    assert changed_weights == {"head.weight", "head.bias"}
    assert np.linalg.norm(smooth["head.weight"]) < np.linalg.norm(plain["head.weight"])


def copied(paths: Paths, folder: Path) -> Paths:
    """What `finetune` reads of the project, elsewhere."""
    for name in (paths.tokens, paths.tokenizer):
        shutil.copytree(name, folder / name.relative_to(paths.root))
    return Paths(folder)


def test_a_text_in_windows_counts_once(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    params, paths = prepared(
        tmp_path / "project", tiny_models("bert"), "text_classification",
        **(FEW | {"finetune__epochs": 1, "tokenize__max_tokens": 5, "tokenize__long_texts": "windows"}),
        tokenize__stride=1,
    )  # fmt: skip
    finetune(params, paths)
    report = read_json(paths.training("teacher"))
    assert len(open_training_data(paths).train) > 60
    assert report["train_rows"] == 60


def test_sets_of_labels_get_thresholds(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    _, paths = prepared(tmp_path / "project", tiny_models("bert"), "text_classification", **FEW)
    rows = pd.read_parquet(paths.clean)
    rows["label"] = [
        json.dumps(["old", label] if " old" in text else [label]) for text, label in rows[["text", "label"]].to_numpy()
    ]
    rows.to_parquet(paths.clean)
    edit_params(paths.root, task={"name": "multilabel_classification", "measure": "micro_f1"})
    of_sets = load_params(paths.params)
    tokenize(of_sets, paths)
    finetune(of_sets, paths)
    assert read_json(paths.training("teacher"))["validation_micro_f1"] > 0.7
    assert read_json(paths.model("teacher") / "model.json")["space"]["thresholds"].keys() == {"kitchen", "old", "sea"}


SEA, KITCHEN = "ship harbour wave sailor anchor", "bread oven butter pepper knife"


def test_each_label_is_as_near_to_a_text_as_the_cosine_of_its_description() -> None:
    head_CK = head_of_cosines(np.array([[3.0, 4.0], [0.0, 5.0]], dtype=np.float32))
    np.testing.assert_allclose(head_CK @ np.array([0.0, 5.0]), [20 * 0.8, 20.0], rtol=1e-6)
    np.testing.assert_allclose(head_CK @ np.array([5.0, 0.0]), [20 * 0.6, 0.0], atol=1e-6)


def zero_shot(root: Path, tiny: Path, **changes: Any) -> tuple[Params, Paths]:
    values = {"finetune__method": "zero_shot", "finetune__descriptions": {"sea": SEA, "kitchen": KITCHEN}}
    return prepared(root, tiny, "text_classification", **FEW | values | changes)


def test_what_labels_mean_in_words_is_the_head_and_no_label_of_a_row_is_looked_at(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    params, paths = zero_shot(tmp_path / "project", tiny_models("bert"))
    finetune(params, paths)
    report = read_json(paths.training("teacher"))
    assert (report["train_rows"], report["updates"]) == (0, 0)
    runner = open_runner(paths.model("teacher"), threads=1)
    found = [runner.space["labels"][at] for at in runner.predict([SEA, KITCHEN]).values.argmax(1)]
    assert found == ["sea", "kitchen"]
    swapped = Paths(tmp_path / "swapped")
    shutil.copytree(paths.root / "artifacts/data", swapped.root / "artifacts/data")
    rows = pd.read_parquet(paths.clean)
    other, is_train = {"sea": "kitchen", "kitchen": "sea"}, rows["split"] == "train"
    rows["label"] = rows["label"].map(other).where(is_train, rows["label"])
    rows.to_parquet(swapped.clean)
    tokenize(params, swapped)
    finetune(params, swapped)
    assert contents(swapped.model("teacher")) == contents(paths.model("teacher"))


def test_descriptions_are_cleaned_as_texts_are(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    said = {"sea": f"<b>{SEA}</b>  ", "kitchen": KITCHEN}
    plain, marked = (
        zero_shot(tmp_path / name, tiny_models("bert"), **changes)
        for name, changes in (("plain", {}), ("marked", {"finetune__descriptions": said}))
    )
    for params, paths in (plain, marked):
        finetune(params, paths)
    first, second = (contents(paths.model("teacher"))["model.safetensors"] for _, paths in (plain, marked))
    assert first == second


def test_a_student_learns_from_what_labels_mean(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    params, paths = zero_shot(tmp_path / "project", tiny_models("bert"), finetune__descriptions={"sea": SEA})
    finetune(params, paths)
    cache_logits(params, paths)
    distill(params, paths)
    assert read_json(paths.training("student"))["epochs_run"] == 1
    assert open_runner(paths.model("student"), threads=1).predict(["the old oven"]).values.shape == (1, 2)


def test_a_description_of_no_label_is_refused(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    params, paths = zero_shot(tmp_path / "project", tiny_models("bert"), finetune__descriptions={"see": SEA})
    with pytest.raises(ValueError, match=r"has 'see', a label that no training row has\. Allowed: k"):
        finetune(params, paths)


def faults(tmp_path: Path, tiny: Path, **changes: Any) -> list[str]:
    return list(faults_of_task(tiny_params(Paths(tmp_path), tiny, **changes)))


def test_tasks_without_labels_and_pairs_of_texts_are_refused(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    tiny, columns = tiny_models("bert"), {"text": "text", "text_pair": "other", "label": "label"}
    entities = {"name": "token_classification", "measure": "entity_f1"}
    sets = {"name": "multilabel_classification", "measure": "micro_f1"}
    of_pairs, without = ({"finetune__method": method} for method in ("contrastive", "zero_shot"))
    for accepted in (of_pairs, without, of_pairs | {"task": sets}):
        assert faults(tmp_path, tiny, **accepted) == []
    assert faults(tmp_path, tiny, **of_pairs, task=entities) == [
        "params.yaml: finetune.method is 'contrastive'. Allowed for task 'token_classification', whose rows have no"
        " labels: supervised."
    ]
    assert faults(tmp_path, tiny, **without, task=sets) == [
        "params.yaml: finetune.method is 'zero_shot'. Allowed for task 'multilabel_classification', whose rows have"
        " several labels each: supervised, contrastive."
    ]
    assert faults(tmp_path, tiny, **of_pairs, ingest__source="files", ingest__columns=columns) == [
        "params.yaml: finetune.method is 'contrastive', which is for single texts, and ingest.columns.text_pair is"
        " 'other'. Allowed for pairs of texts: supervised."
    ]
    assert faults(tmp_path, tiny, **without, finetune__teachers=2) == [
        "params.yaml: finetune.teachers is 2, and finetune.method 'zero_shot', of which each seed makes the same"
        " teacher. Allowed with it: 1."
    ]


def test_the_cards_say_how_the_teacher_was_made(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    def said(**changes: Any) -> str:
        return taught_in_words(tiny_params(Paths(tmp_path), tiny_models("bert"), **changes))

    assert said() == "fine-tuned"
    assert said(finetune__method="zero_shot") == "with a head of what its labels mean in words"
    several = said(finetune__method="contrastive", finetune__teachers=3)
    assert several == "fine-tuned on pairs of rows, 3 models whose answers are averaged"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_says_it_has_classes_says_which_a_row_has_and_their_names(name: str) -> None:
    settings, learning = (plugins.part(TASKS, name, part, key="task.name") for part in ("settings", "learning"))
    assert (settings.classes is not None) == (learning.holds is not None) == (learning.names is not None)
