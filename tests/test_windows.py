"""Long texts as windows: where they begin and end, whose they are, and that a text's answer is the mean of theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from test_backends import make_student
from test_tokenize import ROWS, params, write_clean
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from stages.backends import batching, runners
from stages.backends.batching import calibration_inputs, open_reader, outputs
from stages.core import model_folder
from stages.core.paths import Paths
from stages.models.encoder import FAMILY
from stages.tasks.shared.probabilities import softmax
from stages.tasks.text_classification.encoding import ENCODING
from stages.tasks.text_classification.learning import LEARNING
from stages.tokenize import tokenize
from stages.tokens.encoded import encoded
from stages.training.inference import predict_logits, scores_of
from stages.training.rows import TokenRows, open_training_data, read_tokens, rows_of

WINDOWS = {"long_texts": "windows", "stride": 1}
TEXTS = ["ship bread tree moss owl", "ship", "", "owl owl bread ship tree moss bear river"]


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Callable[[str], Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny_models("bert"), local_files_only=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Paths:
    paths = write_clean(tmp_path_factory.mktemp("windows") / "project", ROWS)
    tokenize(params(tiny_models("bert"), 6, **WINDOWS), paths)
    return paths


def in_windows(rows: dict[str, list[str]], tokenizer: PreTrainedTokenizerFast, *, stride: int) -> dict[str, Any]:
    space = {"labels": ["a", "b", "c"]}
    engine = tokenizer.backend_tokenizer
    return encoded(rows, task=ENCODING, tokenizer=engine, space=space, max_tokens=5, stride=stride)


def test_windows_share_the_stride_and_repeat_row_and_label(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = {"row_id": ["r1", "r2"], "text": ["ship bread tree moss owl bear", "owl"], "label": ["b", "a"]}
    found = in_windows(rows, tokenizer, stride=1)
    assert [" ".join(tokenizer.convert_ids_to_tokens(ids)[1:-1]) for ids in found["input_ids"]] == [
        "ship bread tree", "tree moss owl", "owl bear", "owl",
    ]  # fmt: skip
    assert found["row_id"] == ["r1", "r1", "r1", "r2"]
    assert found["label"] == [1, 1, 1, 0]
    assert found["full_length"] == [8, 0, 0, 3]


def test_a_text_that_just_fits_is_one_window(tokenizer: PreTrainedTokenizerFast) -> None:
    found = in_windows({"row_id": ["r1"], "text": ["ship bread tree"], "label": ["a"]}, tokenizer, stride=2)
    assert (len(found["input_ids"]), found["full_length"]) == (1, [5])


def test_the_tokens_on_disk_are_windows_with_the_ids_of_their_rows(written: Paths) -> None:
    train = datasets.load_from_disk(str(written.tokens / "train"))
    assert train["row_id"][:] == ["t1", "t2", "t3", "t3"]  # 7 words, 4 a window of which 1 is shared
    assert train["label"][:] == [1, 0, 0, 0]
    assert json.loads((written.tokens / "space.json").read_text())["stride"] == 1


def test_the_report_counts_rows_of_which_none_is_cut(written: Paths) -> None:
    report = json.loads(written.token_report.read_text())["train"]
    assert report == {
        "rows": 3, "mean_tokens": 6.0, "p95_tokens": 8.6, "truncated_share": 0.0, "truncated_rows": [],
        "lost_token_share": 0.0, "windows_per_row": 1.333, "unknown_share": 0.0, "unread_rows": 0,
        "unknown_rows": [], "unknown_words": [],
    }  # fmt: skip


def test_models_are_told_how_to_read_as_they_were_trained(written: Paths) -> None:
    assert open_training_data(written).reading == {
        "max_tokens": 6, "pad_id": 0, "long_texts": "windows", "stride": 1,
    }  # fmt: skip


@pytest.mark.parametrize("stride", [4, 5])
def test_windows_that_would_not_go_on_are_refused(
    stride: int, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    paths = write_clean(tmp_path / "project", ROWS)
    with pytest.raises(ValueError, match=rf"tokenize\.stride is {stride}\. Allowed: less than 4"):
        tokenize(params(tiny_models("bert"), 6, long_texts="windows", stride=stride), paths)


def test_the_answer_to_a_text_is_the_mean_of_its_windows() -> None:
    rows = TokenRows(["a", "b", "b", "c"], np.array([0, 1, 1, 0]), np.arange(5), np.arange(4))
    logits = np.array([[1, 2], [3, 0], [0, 1], [5, 4]], dtype=np.float32)
    assert rows.by_text(logits).tolist() == [[1.0, 2.0], [1.5, 0.5], [5.0, 4.0]]
    assert rows.by_text(logits).dtype == np.float32
    assert rows.answered(logits)[0] == [0, 1, 0]


def test_a_window_counts_by_its_tokens() -> None:
    rows = TokenRows(["a", "a", "b"], np.array([0, 0, 1]), np.array([0, 6, 8, 9]), np.arange(9))
    assert rows.by_text(np.array([[1.0], [5.0], [3.0]])).tolist() == [[2.0], [3.0]]  # (6 * 1 + 2 * 5) / 8


def test_the_mean_over_windows_is_that_over_all_their_tokens(tiny_models: Callable[[str], Path]) -> None:
    model: Any = FAMILY.open(make_student(tiny_models("bert"), tiny_models("bert").parent / "mean-pooled"))
    rows = rows_of({"row_id": ["a", "a"], "label": [0, 0], "input_ids": [[2, 50, 51, 52, 3], [2, 53, 3]]})
    logits = predict_logits(model, rows, pad_id=0, precision="fp32", title="")
    with torch.inference_mode():
        tokens = [
            model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
            for ids in (torch.tensor([rows[number]["input_ids"].tolist()]) for number in range(2))
        ]
        expected = model.head(torch.cat(tokens).mean(0)).numpy()
    np.testing.assert_allclose(rows.by_text(logits)[0], expected, atol=1e-3)


def test_a_text_counts_once_in_the_score_however_many_windows_it_has() -> None:
    rows = TokenRows(["a", "b", "b", "b"], np.array([0, 1, 1, 1]), np.arange(5), np.arange(4))
    logits = np.array([[1, 0], [0, 9], [1, 0], [1, 0]], dtype=np.float32)  # of b's windows, two say 0, the mean 1
    assert scores_of(logits, rows, LEARNING.score)["accuracy"] == 1.0


@pytest.mark.parametrize("stride", [None, 1])
def test_a_text_of_which_a_tokenizer_makes_nothing_has_one_token_and_an_answer(stride: int | None) -> None:
    letters = Tokenizer(BPE({"[PAD]": 0, "o": 1, "w": 2}, []))  # no special tokens, and none for unknown letters
    texts = ["owo", "zebra", ""]
    columns = {"row_id": list("abc"), "text": texts, "label": ["a", "b", "b"]}
    found = encoded(
        columns, task=ENCODING, tokenizer=letters, space={"labels": ["a", "b"]}, max_tokens=2, stride=stride
    )
    assert found["input_ids"][-2:] == [[0], [0]]
    assert found["full_length"][-2:] == [1, 1]
    rows = rows_of(found)
    assert rows.by_text(rows.lengths[:, None].astype(np.float32)).tolist() == [[2.0], [1.0], [1.0]]

    def run(input_ids: np.ndarray, _attention_mask: np.ndarray) -> np.ndarray:
        return input_ids.sum(1, keepdims=True).astype(np.float32)

    of_texts = outputs(texts, batching.Reader(letters, 2, stride, characters=False), run, size=1).values
    assert of_texts.tolist() == [[3.0], [0.0], [0.0]]
    of_tokens = outputs(texts, batching.Reader(letters, 2, stride, characters=True), _ids, size=1)
    assert of_tokens.offsets is not None
    assert np.diff(of_tokens.offsets).tolist() == [3 if stride else 2, 0, 0], "it stands for no place in the text"


def _ids(input_ids: np.ndarray, _attention_mask: np.ndarray) -> np.ndarray:
    return input_ids[:, :, None].astype(np.float32)


def test_without_windows_nothing_is_averaged() -> None:
    lengths = np.arange(1, 400)
    rows = TokenRows([str(n) for n in lengths], lengths, np.cumsum([0, *lengths]), np.zeros(lengths.sum()))
    logits = np.random.default_rng(0).normal(size=(len(lengths), 9)).astype(np.float32)
    assert rows.by_text(logits).tobytes() == logits.tobytes()


@pytest.fixture(scope="module")
def student(tiny_models: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_student(tiny_models("bert"), tmp_path_factory.mktemp("student") / "student")
    model_folder.seal(folder, **{**model_folder.describe(folder), "max_tokens": 5, **WINDOWS})
    return folder


def test_a_runner_averages_the_logits_of_a_texts_windows(student: Path) -> None:
    word = {"ship": 1.0, "tree": 4.0, "bear": 0.0}
    opened = open_reader(student, model_folder.describe(student))
    numbers = {opened.tokenizer.token_to_id(name): value for name, value in word.items()}

    def run(input_ids: np.ndarray, _attention_mask: np.ndarray) -> np.ndarray:
        return np.array([[numbers[int(row[1])], 0.0] for row in input_ids], dtype=np.float32)

    found = outputs(["ship bread tree moss", "bear"], opened, run, size=2).values
    mean = (5 * 1.0 + 4 * 4.0) / 9  # the second window is one token shorter, and counts so much less
    np.testing.assert_allclose(found, [[mean, 0.0], [0.0, 0.0]], rtol=1e-6)


def test_the_folder_alone_answers_as_training_scored(
    student: Path, tokenizer: PreTrainedTokenizerFast
) -> None:  # fmt: skip
    columns = {"row_id": list("abcd"), "text": TEXTS, "label": ["a"] * 4}
    rows = rows_of(in_windows(columns, tokenizer, stride=1))
    logits = predict_logits(FAMILY.open(student), rows, pad_id=0, precision="fp32", title="")
    assert len(logits) > len(TEXTS)
    found = runners.open_runner(student, threads=1).predict(TEXTS).values
    np.testing.assert_allclose(np.log(found), np.log(softmax(rows.by_text(logits))), atol=1e-3)


def test_alone_or_among_others_a_long_text_gets_the_same_answer(student: Path) -> None:
    runner = runners.open_runner(student, threads=1)
    together = runner.predict(TEXTS).values
    for number, text in enumerate(TEXTS):
        np.testing.assert_allclose(np.log(runner.predict([text]).values[0]), np.log(together[number]), atol=1e-3)


def test_what_stands_behind_the_first_window_changes_the_answer(student: Path) -> None:
    runner = runners.open_runner(student, threads=1)
    beginning = "ship bread tree"
    one, other = runner.predict([beginning, beginning + " owl bear storm"]).values
    assert np.abs(np.log(one / other)).max() > 0.1


def test_ranges_are_learned_from_all_windows(student: Path) -> None:
    found = calibration_inputs([TEXTS[0], "ship"], student, model_folder.describe(student))
    assert [inputs["input_ids"].shape for inputs in found] == [(1, 5), (1, 5), (1, 3)]


def test_of_a_text_without_end_a_bounded_part_is_read(student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WINDOWED_CHARACTERS", 15)
    opened = open_reader(student, model_folder.describe(student))
    assert opened.read(["ship bread tree moss owl"]).at == [0]


def test_validation_rows_may_have_more_windows_after_the_vocabulary_was_cut(
    written: Paths, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:  # fmt: skip
    from stages.compression.vocabulary import tokens_to_keep, with_vocabulary
    from stages.prune import renumbered

    data: Any = open_training_data(written)
    original = json.loads((written.tokenizer / "tokenizer.json").read_text())
    kept = tokens_to_keep(original, [0, *data.train.used_tokens()], common=0)
    (tmp_path / "tokenizer.json").write_text(json.dumps(with_vocabulary(original, kept)))
    text = "squirrel anchor"  # the first is no word of the training rows: s ##q ##u ##i ##r ##r ##e ##l
    paths = write_clean(tmp_path / "project", [("v1", text, "sea", "validation")])
    found = renumbered(data, tmp_path / "tokenizer.json", kept, paths, ENCODING)
    assert len(data.validation) == 1
    assert found.validation.row_ids == ["v1"] * 3  # 9 tokens, 4 a window of which 1 is shared
    assert found.validation.targets.tolist() == [1, 1, 1]
    assert found.stride == 1
    assert len(read_tokens(written.tokens / "train")) == len(found.train)


@pytest.mark.parametrize("stride", [None, 1, 2])
def test_each_token_has_one_output_and_its_place_however_many_windows_hold_it(
    student: Path, stride: int | None
) -> None:
    about = {**model_folder.describe(student), "max_tokens": 6}
    about |= {} if stride is None else {"stride": stride}
    reader = open_reader(student, about if stride else {**about, "long_texts": "truncate"}, characters=True)

    def run(input_ids: np.ndarray, _attention_mask: np.ndarray) -> np.ndarray:
        places = np.arange(input_ids.shape[1], dtype=np.float32)
        return np.stack([input_ids, np.broadcast_to(places, input_ids.shape)], axis=-1).astype(np.float32)

    texts = ["ship bread tree moss owl bear river", "owl", ""]
    found = outputs(texts, reader, run, size=2)
    words = [text.split() if stride else text.split()[:4] for text in texts]
    assert found.offsets is not None
    assert found.characters is not None
    assert np.diff(found.offsets).tolist() == [len(own) for own in words]
    ids = [reader.tokenizer.token_to_id(word) for own in words for word in own]
    assert found.values[:, 0].astype(int).tolist() == ids
    read = [texts[0][start:end] for start, end in found.characters[: len(words[0])]]
    assert read == words[0]
    if stride == 2:  # ship bread tree moss | tree moss owl bear | owl bear river: of two that are shared each gives one
        assert found.values[:7, 1].tolist() == [1, 2, 3, 2, 3, 2, 3]
    assert outputs([], reader, run, size=2).values.shape == (0, 2)
