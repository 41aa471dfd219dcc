"""Static embeddings and the probe: their features, how their heads are fitted and chosen, and that they open."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, TOPICS, tiny_params
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from tokenizers import Tokenizer
from transformers import AutoModel

from stages.backends.runners import open_runner
from stages.backends.static.features import Static, features
from stages.core.contracts import NO_LABEL
from stages.core.files import read_json
from stages.core.neighbours import around
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.probe import probe
from stages.static import each_alone, fewer_dimensions, rarities, read_alone, static
from stages.tasks.multilabel_classification.learning import LEARNING as OF_SETS
from stages.tasks.question_answering.learning import LEARNING as OF_PLACES
from stages.tasks.regression.learning import LEARNING as OF_NUMBERS
from stages.tasks.shared.probabilities import softmax
from stages.tasks.text_classification.learning import LEARNING
from stages.tasks.token_classification.learning import LEARNING as OF_TAGS
from stages.tokenize import tokenize
from stages.training.frozen import some_of
from stages.training.linear_head import Chosen, Examples, Featured, LinearHead, best_head, examples_of
from stages.training.neighbours import as_convolution, axes_of, features_around
from stages.training.rows import TokenRows

TASKS = {"text_classification": "accuracy", "regression": "pearson", "token_classification": "entity_f1"}


def target(task: str, topic: str, text: str) -> str:
    """The topic; a number that is larger for the sea; the words of the sea as spans."""
    if task == "text_classification":
        return topic
    if task == "regression":
        return str(2.0 if topic == "sea" else 0.5)
    starts = [(text.index(word), word) for word in text.split() if word in TOPICS["sea"]]
    return json.dumps([[start, start + len(word), "thing"] for start, word in sorted(starts)], separators=(",", ":"))


def prepared(root: Path, tiny: Path, task: str, **changes: Any) -> tuple[Params, Paths]:
    """Rows of two topics, tokenized, and parameters for the task, with `changes`."""
    paths, draw = Paths(root), random.Random(5)
    paths.clean.parent.mkdir(parents=True)
    rows = []
    for split, count in (("test", 10), ("train", 60), ("validation", 20)):
        for at in range(count):
            topic = ("sea", "kitchen")[at % 2]
            text = " ".join([*draw.sample(TOPICS[topic], 3), *draw.sample(["the", "near", "old", "under"], 2)])
            rows.append((f"{split}{at:03}", text, target(task, topic, text), f"a:{at}", split, f"{split}{at}"))
    columns = ["row_id", "text", "label", "origin", "split", "group"]
    pd.DataFrame(rows, columns=columns).to_parquet(paths.clean)
    params = tiny_params(
        paths, tiny, task={"name": task, "measure": TASKS[task]}, static__dimensions=16,
        static__inverse_regularizations=[0.01, 10.0], probe__inverse_regularizations=[0.01, 10.0], **changes,
    )  # fmt: skip
    tokenize(params, paths)
    return params, paths


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Callable[[str], Paths]:
    """made(task): the project in which both floors of the task were made, once."""
    done: dict[str, Paths] = {}

    def get(task: str) -> Paths:
        if task not in done:
            params, done[task] = prepared(tmp_path_factory.mktemp(task), tiny_models("bert"), task)
            static(params, done[task])
            probe(params, done[task])
        return done[task]

    return get


# the vectors of tokens


def test_a_token_s_vector_is_the_mean_of_what_the_encoder_says_to_it_between_the_special_ones(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    params, paths = prepared(tmp_path, tiny_models("bert"), "text_classification")
    tokenizer = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    found = read_alone(params, paths, tokenizer, pad_id=0)
    begin, ship, end = (tokenizer.token_to_id(token) for token in ("[CLS]", "ship", "[SEP]"))
    encoder = AutoModel.from_pretrained(tiny_models("bert")).eval()
    with torch.inference_mode():
        states = encoder(torch.tensor([[begin, ship, end]])).last_hidden_state
    assert found.shape == (tokenizer.get_vocab_size(), 32)
    assert found[ship] == pytest.approx(states[0].mean(0).numpy(), abs=1e-6)


def test_every_number_of_the_vocabulary_stands_alone_once(tiny_models: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_models("bert") / "tokenizer.json"))
    rows = each_alone(tokenizer)
    assert len(rows) == tokenizer.get_vocab_size()
    assert [rows[number]["input_ids"].tolist() for number in (0, 7, len(rows) - 1)] == [
        [2, 0, 3], [2, 7, 3], [2, len(rows) - 1, 3],
    ]  # fmt: skip


def test_fewer_dimensions_are_principal_axes_whose_largest_component_is_positive() -> None:
    """Along (3, -4) / 5: the axis is (-0.6, 0.8), so what lies at t is at -t. The special token has no part in it."""
    line = np.array([[0.6, -0.8]]) * np.array([[-1.0], [0.0], [1.0]])
    vectors = np.vstack([line, [[100.0, 100.0]]]).astype(np.float32)
    assert fewer_dimensions(vectors, 1, [3])[:, 0] == pytest.approx([1.0, 0.0, -1.0, 0.0], abs=1e-6)
    assert fewer_dimensions(-vectors, 1, [3])[:, 0] == pytest.approx([-1.0, 0.0, 1.0, 0.0], abs=1e-6)
    assert fewer_dimensions(vectors, 256, [3]).shape == (4, 2)


def test_the_last_digits_of_another_processor_stay_last_digits_in_fewer_dimensions() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(400, 64)) * np.geomspace(1, 0.5, 64) + 20).astype(np.float32)
    found = fewer_dimensions(vectors, 16, [])
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:16]
    axes *= np.sign(axes[np.arange(16), np.abs(axes).argmax(1)])[:, None]
    assert np.abs(found - centred @ axes.T).max() < 1e-6


def token_rows(*rows: list[int]) -> TokenRows:
    ids = np.array([number for row in rows for number in row], dtype=np.int32)
    names = [f"r{at}" for at in range(len(rows))]
    return TokenRows(names, np.zeros(len(rows), dtype=np.int32), np.cumsum([0, *map(len, rows)]), ids)


def test_a_common_token_counts_less_than_a_rare_one_and_a_special_one_not_at_all() -> None:
    """Of four tokens three are the number 2, one is 3; 0.25 / (0.25 + 0.75) and 0.25 / (0.25 + 0.25)."""
    found = rarities(token_rows([0, 2, 2, 1], [0, 2, 3, 1]), 5, 0.25, [0, 1])
    assert found.tolist() == [0.0, 0.0, 0.25, 0.5, 1.0]


# the features of rows

TABLE = Static(np.array([[0, 0], [3, 0], [0, 8], [9, 9]], np.float32), np.array([0, 1, 0.5, 1], np.float32))


def test_a_row_is_the_weighted_mean_of_its_tokens_with_length_1_and_padding_adds_nothing() -> None:
    """1 * (3, 0) + 0.5 * (0, 8) = (3, 4), of length 5; a row of special tokens alone is 0."""
    ids, mask = np.array([[0, 1, 2, 0, 3], [0, 0, 3, 3, 3]]), np.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]])
    assert features(TABLE, ids, mask, per_token=False) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_a_pair_is_its_first_text_its_second_and_their_product() -> None:
    ids, types = np.array([[0, 1, 2, 0, 2, 0]]), np.array([[0, 0, 0, 0, 1, 1]])
    found = features(TABLE, ids, np.ones_like(ids), types, per_token=False)
    assert found == pytest.approx(np.array([[0.6, 0.8, 0.0, 1.0, 0.0, 0.8]]))


def test_a_token_is_its_own_vector_between_those_of_two_neighbours_on_each_side() -> None:
    ids, mask = np.array([[1, 2, 3]]), np.array([[1, 1, 0]])
    found = features(TABLE, ids, mask, per_token=True)[0, :2].reshape(2, 7, 2)
    nothing, one, two = [0, 0], [3, 0], [0, 8]
    assert found[0].tolist() == [nothing, nothing, one, two, nothing, nothing, nothing]
    assert found[1].tolist() == [nothing, one, two, nothing, nothing, nothing, nothing]


def test_of_further_neighbours_a_token_has_the_mean_on_each_side() -> None:
    """The numbers 1 to 8: to the right of 1, 2 and 3 stand 4 to 7, with a mean of 5.5; to the left of 6 to 8 2 to 5."""
    found = around(np.arange(1.0, 9.0)[None, :, None])[0]
    assert found[0].tolist() == [0, 0, 1, 2, 3, 0, 5.5]
    assert found[7].tolist() == [6, 7, 8, 0, 0, 3.5, 0]


def test_a_convolution_of_states_puts_out_what_the_head_does_of_their_features() -> None:
    draw = np.random.default_rng(3)
    states, coefficients = (draw.normal(size=size).astype(np.float32) for size in ((20, 5), (2, 7 * 3)))
    rows = TokenRows(["a", "b"], np.zeros(20), np.array([0, 4, 20]), np.arange(20, dtype=np.int32), per_token=True)
    axes = axes_of(states, 3)
    kernel = torch.from_numpy(as_convolution(coefficients, axes))
    wanted = features_around(states, rows, axes) @ coefficients.T
    for own in (slice(0, 4), slice(4, 20)):
        found = torch.nn.functional.conv1d(torch.from_numpy(states[None, own].swapaxes(1, 2)), kernel, padding=6)
        assert found[0].T.numpy() == pytest.approx(wanted[own], abs=1e-4)


def test_axes_are_those_along_which_states_are_largest() -> None:
    """States along (3, 4) and, shorter, (-4, 3)."""
    states = np.array([[3, 4], [-6, -8], [0.4, -0.3]], np.float32)
    assert np.abs(axes_of(states, 1)[:, 0]) == pytest.approx([0.6, 0.8], abs=1e-5)
    assert axes_of(states, 9).shape == (2, 2)


# the head


def drawn(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Features of unlike scales, and three labels that they tell, but not always."""
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 3, rows)
    found = draw.normal(size=(rows, 4)) + np.eye(4)[labels]
    return (found * [1, 10, 0.1, 1] + [0, 5, 0, 0]).astype(np.float32), labels


def size_of(head: LinearHead) -> float:
    return float(np.abs(head.coefficients_KF).sum())


def test_the_head_of_labels_is_scikit_learn_s_logistic_regression_of_standardised_features() -> None:
    found, labels = drawn()
    examples = Examples(found, torch.from_numpy(labels), per_token=False)
    head = best_head(examples, LEARNING, lambda _: 0.0, size=3, inverse_regularizations=[0.1]).head
    scaled = StandardScaler().fit_transform(found.astype(np.float64))
    theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(scaled, labels)
    assert softmax(head.outputs(found)) == pytest.approx(theirs.predict_proba(scaled), abs=1e-3)


def test_the_head_of_sets_is_scikit_learn_s_logistic_regression_of_each_label() -> None:
    found, labels = drawn()
    targets = np.stack([labels == 0, labels > 0, found[:, 0] > 1], axis=1)
    examples = Examples(found, torch.from_numpy(targets.astype(np.float32)), per_token=False)
    head = best_head(examples, OF_SETS, lambda _: 0.0, size=3, inverse_regularizations=[0.01]).head
    scaled = StandardScaler().fit_transform(found.astype(np.float64))
    for at in range(3):
        theirs = LogisticRegression(C=0.01, tol=1e-8, max_iter=1000).fit(scaled, targets[:, at])
        ours = 1 / (1 + np.exp(-head.outputs(found)[:, at]))
        assert ours == pytest.approx(theirs.predict_proba(scaled)[:, 1], abs=1e-3)


def test_the_head_of_numbers_is_scikit_learn_s_ridge_of_standardised_features() -> None:
    found, labels = drawn()
    numbers = torch.from_numpy(labels.astype(np.float32) * 2.5)
    examples = Examples(found, numbers, per_token=False)
    head = best_head(examples, OF_NUMBERS, lambda _: 0.0, size=1, inverse_regularizations=[0.01]).head
    scaled = StandardScaler().fit_transform(found.astype(np.float64))
    theirs = Ridge(alpha=0.5 / 0.01).fit(scaled, numbers.numpy())  # the loss is the whole square, not its half
    assert head.outputs(found)[:, 0] == pytest.approx(theirs.predict(scaled), abs=1e-3)


def test_the_best_on_validation_is_kept_and_of_equals_the_most_regularized() -> None:
    found, labels = drawn()
    examples = Examples(found, torch.from_numpy(labels), per_token=False)
    grid = [1.0, 0.01, 0.1]
    largest = best_head(examples, LEARNING, size_of, size=3, inverse_regularizations=grid)
    smallest = best_head(examples, LEARNING, lambda head: -size_of(head), size=3, inverse_regularizations=grid)
    equal = best_head(examples, LEARNING, lambda _: 0.5, size=3, inverse_regularizations=grid)
    assert (largest.inverse_regularization, smallest.inverse_regularization) == (1.0, 0.01)
    assert equal.inverse_regularization == 0.01
    assert equal.scores == {0.01: 0.5, 0.1: 0.5, 1.0: 0.5}


def test_a_head_of_tokens_ends_where_scikit_learn_s_logistic_regression_does() -> None:
    found, labels = drawn()
    found = np.concatenate([found, found[:, :1] + 0.01 * found[:, 3:]], axis=1)  # two features that are nearly the same
    examples = Examples(found, torch.from_numpy(labels)[:, None], per_token=True)
    grid = [0.01, 1.0]
    head = best_head(examples, OF_TAGS, size_of, size=3, inverse_regularizations=grid).head
    scaled = StandardScaler().fit_transform(found.astype(np.float64))
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(scaled, labels)
    assert np.abs(softmax(head.outputs(found)) - theirs.predict_proba(scaled)).mean() < 0.02


def test_the_best_at_an_end_of_the_list_is_told_and_one_within_is_not() -> None:
    head = LinearHead(np.zeros((1, 1)), np.zeros(1))
    scores = {0.1: 0.2, 1.0: 0.5, 10.0: 0.4}
    ends = {best: Chosen(head, best, scores).described("score")["chosen"].get("edge") for best in scores}
    assert ends == {0.1: "least", 1.0: None, 10.0: "largest"}
    assert Chosen(head, 1.0, {1.0: 0.5}).edge is None


def test_a_feature_that_never_varies_makes_no_number_infinite() -> None:
    found, labels = drawn()
    found[:, 1] = 7.0
    examples = Examples(found, torch.from_numpy(labels), per_token=False)
    head = best_head(examples, LEARNING, lambda _: 0.0, size=3, inverse_regularizations=[1.0]).head
    assert np.isfinite(head.outputs(found)).all()
    assert head.coefficients_KF[:, 1].tolist() == [0.0] * 3


def test_tokens_without_a_target_are_no_examples() -> None:
    targets = np.array([NO_LABEL, 2, NO_LABEL, NO_LABEL, 1, 0, NO_LABEL])
    rows = TokenRows(["a", "b"], targets, np.array([0, 3, 7]), np.arange(7, dtype=np.int32), per_token=True)
    found = examples_of(Featured(rows, np.arange(7, dtype=np.float32)[:, None]))
    assert (found.features_RF[:, 0].tolist(), found.targets.tolist()) == ([1, 4, 5], [[2], [1], [0]])


def test_a_loss_over_whole_rows_sees_all_tokens_of_those_that_have_a_target() -> None:
    targets = np.array([NO_LABEL] * 2 + [3, 0, 8, 0, 3])
    rows = TokenRows(["a", "b", "c"], targets, np.array([0, 2, 5, 7]), np.arange(7, dtype=np.int32), per_token=True)
    found = examples_of(Featured(rows, np.arange(7, dtype=np.float32)[:, None]), whole_rows=True)
    assert found.features_RF[:, 0].tolist() == [2, 3, 4, 5, 6]
    assert found.targets.tolist() == [[3, 0, 8], [0, 3, NO_LABEL]]
    outputs = torch.arange(10.0).reshape(5, 2).requires_grad_()
    arranged = found.arranged(outputs)
    assert arranged.tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [0, 0]]]
    arranged.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.tolist() == [[1.0, 1.0]] * 5


def test_a_head_of_whole_rows_learns_the_place_that_a_feature_tells() -> None:
    draw = np.random.default_rng(3)
    found, places = draw.normal(size=(40, 6, 2)).astype(np.float32), draw.integers(1, 6, 40)
    found[np.arange(40), places, 0] += 6
    targets = np.where(np.arange(6) == places[:, None], 3, 0)
    examples = Examples(
        found.reshape(-1, 2), torch.from_numpy(targets), per_token=True, real_NT=torch.ones(40, 6, dtype=torch.bool)
    )
    head = best_head(examples, OF_PLACES, lambda _: 0.0, size=2, inverse_regularizations=[1.0]).head
    outputs = head.outputs(found.reshape(-1, 2)).reshape(40, 6, 2)
    assert (outputs.argmax(1) == places[:, None]).mean() > 0.95


def test_too_many_rows_are_thinned_evenly_and_few_are_all_taken() -> None:
    rows = token_rows([5], [6, 7], [8], [9, 9], [4])
    assert some_of(rows, 5) is rows
    thinned = some_of(rows, 3)
    assert thinned.row_ids == ["r0", "r2", "r4"]
    assert [thinned[number]["input_ids"].tolist() for number in range(3)] == [[5], [8], [4]]
    rows.row_ids[1] = "r0"  # a text in two windows
    assert some_of(rows, 3).row_ids == ["r0", "r0", "r3"]


# the models


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["static", "probe"])
def test_both_learn_words_of_a_topic_whatever_the_task(made: Callable[[str], Paths], name: str, task: str) -> None:
    folder = made(task).model(name)
    scores = read_json(folder / "model.json")["chosen"][f"validation_{TASKS[task]}"]
    assert scores.keys() == {"0.01", "10"}
    assert max(scores.values()) > 0.9
    outputs = open_runner(folder, threads=1).predict(["ship near anchor", "butter"])
    assert np.isfinite(outputs.values).all()
    assert len(outputs.values) == (4 if task == "token_classification" else 2)


def test_the_probe_opens_as_a_teacher_does_and_puts_out_its_encoder_s_pooled_states_times_the_head(
    made: Callable[[str], Paths], tiny_models: Callable[[str], Path]
) -> None:
    folder = made("text_classification").model("probe")
    assert read_json(folder / "model.json")["backend"] == "pytorch"
    weights = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoder = AutoModel.from_pretrained(tiny_models("bert")).eval()
    with torch.inference_mode():
        states = encoder(torch.tensor([tokenizer.encode("ship near anchor").ids])).last_hidden_state
    logits = states[0].mean(0).numpy() @ weights["head.weight"].T + weights["head.bias"]
    found = open_runner(folder, threads=1).predict(["ship near anchor"]).values
    assert found == pytest.approx(softmax(logits[None]), abs=1e-5)


@pytest.mark.parametrize("name", ["static", "probe"])
def test_a_token_is_answered_by_those_beside_it_and_not_by_what_fills_its_batch(
    made: Callable[[str], Paths], name: str
) -> None:
    predict = open_runner(made("token_classification").model(name), threads=1).predict
    alone, beside, filled = (
        predict(texts).values[0] for texts in (["ship"], ["ship anchor"], ["ship", "ship anchor near the old harbour"])
    )
    assert np.abs(alone - beside).max() > 1e-4
    assert filled == pytest.approx(alone, abs=1e-5)


def test_the_probe_reads_after_those_of_its_layers_that_validation_rows_choose(
    tmp_path: Path, tiny_models: Callable[[str], Path]
) -> None:
    params, paths = prepared(tmp_path, tiny_models("bert"), "token_classification", probe__depths=[0.5, 1.0])
    probe(params, paths)
    layers = read_json(tiny_models("bert") / "config.json")["num_hidden_layers"]
    depth = read_json(paths.model("probe") / "model.json")["chosen"]["depth"]
    kept = read_json(paths.model("probe") / "config.json")
    assert kept["num_hidden_layers"] == max(1, round(depth * layers))
    assert kept["winnow"]["head"] == {"kind": "token", "size": 3, "reach": 6}
    assert len(open_runner(paths.model("probe"), threads=1).predict(["ship near"]).values) == 2


def test_the_static_model_opens_without_torch(made: Callable[[str], Paths]) -> None:
    folder = made("text_classification").model("static")
    code = (
        "import sys; from pathlib import Path; from stages.backends.runners import open_runner;"
        f"print(open_runner(Path({str(folder)!r}), threads=1).predict(['ship anchor']).values.argmax());"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr  # labels: kitchen, sea


@pytest.mark.parametrize(("name", "stage"), [("static", static), ("probe", probe)])
def test_no_test_row_has_a_part_in_it_and_a_second_run_gives_the_same_bytes(
    made: Callable[[str], Paths], tmp_path: Path, tiny_models: Callable[[str], Path], name: str,
    stage: Callable[[Params, Paths], None],
) -> None:  # fmt: skip
    first = made("text_classification")
    params, paths = prepared(tmp_path, tiny_models("bert"), "text_classification")
    shutil.rmtree(paths.tokens / "test")
    paths.clean.unlink()
    stage(params, paths)
    assert read_json(paths.model(name) / "manifest.json") == read_json(first.model(name) / "manifest.json")


@pytest.mark.parametrize(("name", "stage"), [("static", static), ("probe", probe)])
def test_a_long_text_in_windows_has_the_mean_of_what_its_windows_say(
    tmp_path: Path, tiny_models: Callable[[str], Path], name: str, stage: Callable[[Params, Paths], None]
) -> None:
    """Windows of two words: those of the long text are the two short ones."""
    windows = {"tokenize__long_texts": "windows", "tokenize__stride": 0}
    params, paths = prepared(tmp_path, tiny_models("bert"), "regression", **windows)
    params = params.model_copy(update={"tokenize": params.tokenize.model_copy(update={"max_tokens": 4})})
    tokenize(params, paths)
    stage(params, paths)
    long, *short = (
        open_runner(paths.model(name), threads=1)
        .predict(["ship anchor butter oven", "ship anchor", "butter oven"])
        .values[:, 0]
    )
    assert long == pytest.approx(np.mean(short), abs=1e-5)
    assert short[0] > short[1] + 0.5


def test_a_family_without_pretrained_weights_is_refused(tmp_path: Path, tiny_models: Callable[[str], Path]) -> None:
    params, paths = prepared(tmp_path, tiny_models("bert"), "text_classification")
    recurrent = params.model_copy(update={"model": params.model.model_copy(update={"family": "bilstm"})})
    for stage in (static, probe):
        with pytest.raises(ValueError, match=r"model\.family is 'bilstm', which has no pretrained weights"):
            stage(recurrent, paths)
