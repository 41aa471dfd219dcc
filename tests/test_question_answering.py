"""Questions: how answers are read, learned, given and measured, by hand and by SQuAD's own rules; and to int8."""

from __future__ import annotations

import json
import math
import os
import random
import re
import string
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import warm_python
from conftest import REPOSITORY, TOPICS
from source_fixtures import settings
from transformers import PreTrainedTokenizerFast

from flows.cli.commands import main
from flows.cli.mistakes import mistakes
from stages.backends.batching import Reader
from stages.backends.batching import outputs as outputs_of
from stages.core import model_folder
from stages.core.contracts import NO_LABEL, Head, Outputs, RawRow, RejectedRow
from stages.core.files import read_json
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.measures.counted import counted
from stages.measures.paired import interval, measured
from stages.reading.clean_rows import read_split, texts_of
from stages.sources import files, hub
from stages.tasks.contract import Judged, TargetError
from stages.tasks.question_answering.answers import ANSWERS
from stages.tasks.question_answering.baseline import BASELINE
from stages.tasks.question_answering.data import DATA
from stages.tasks.question_answering.encoding import ENCODING
from stages.tasks.question_answering.learning import LEARNING
from stages.tasks.question_answering.measures import MEASURES
from stages.tasks.question_answering.scores import relative
from stages.tasks.question_answering.settings import SETTINGS
from stages.tasks.shared import places, quotes
from stages.tasks.shared.beside_question import asked, features_of
from stages.tasks.shared.features import words_of
from stages.tasks.shared.probabilities import SMALLEST
from stages.tasks.shared.quotes import Quote
from stages.tasks.text_classification.encoding import ENCODING as OF_LABELS
from stages.tokens.encoded import encoded
from stages.training.rows import read_tokens, rows_of
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")
TEXT = "Ada wrote to Babbage"
COLUMNS = {"text": "context", "text_pair": "question", "label": "answers"}


# the answers of the data


@pytest.mark.parametrize(
    ("cell", "target"),
    [
        ('{"text": ["Ada", "Ada wrote"], "answer_start": [0, 0]}', '[[0,"Ada"],[0,"Ada wrote"]]'),
        ('{"text": [], "answer_start": []}', "[]"),
        ('{"text": "Ada", "answer_start": 0}', '[[0,"Ada"]]'),
        ('[{"text": "Babbage", "answer_start": 13}, {"text": "Babbage", "answer_start": 13}]', '[[13,"Babbage"]]'),
        ('[[13, "Babbage"], [0, "Ada"]]', '[[13,"Babbage"],[0,"Ada"]]'),  # the first is learned: their order stays
        ('[[3, " wrote "]]', '[[4,"wrote"]]'),
        ("[]", "[]"),
        (None, None),
    ],
)
def test_every_form_of_answers_becomes_one(cell: str | None, target: str | None) -> None:
    (row,) = DATA.read([RawRow(TEXT, cell, "a:1", "test", "g", text_pair="who?")])
    assert row == RawRow(TEXT, target, "a:1", "test", "g", text_pair="who?")


@pytest.mark.parametrize(
    ("text", "cell", "detail"),
    [
        ("Grüße an Ada", '[[10, "Ada"]]', "at character 10 of the text, where 'da' stands; the nearest such place is"),
        ("a \U0001f3c8 Ada", '[[5, "Ada"]]', "the nearest such place is 4. Count characters from 0"),
        (TEXT, '[["Ada", 0]]', '["Ada", 0] is no answer'),
        (TEXT, "Ada", "the answers 'Ada' are no JSON"),
        (TEXT, '"Ada"', 'the answers are "Ada". Allowed'),
        (TEXT, '[null]', "null is no answer"),
    ],
)  # fmt: skip
def test_what_is_no_quote_is_told_with_its_place(text: str, cell: str, detail: str) -> None:
    (row,) = DATA.read([RawRow(text, cell, "a:1", text_pair="who?")])
    assert isinstance(row, RejectedRow)
    assert (row.origin, row.reason, row.excerpt) == ("a:1", "bad_target", "who?")
    assert detail in row.detail


def test_questions_about_one_text_are_a_group_unless_the_source_has_its_own() -> None:
    rows = [RawRow(text, None, f"a:{at}", text_pair="who?") for at, text in enumerate((TEXT, TEXT, "another"))]
    one, same, other = (row.group for row in DATA.read(rows) if isinstance(row, RawRow))
    assert one == same != other
    (row,) = DATA.read([rows[0]._replace(group="mine")])
    assert isinstance(row, RawRow)
    assert row.group == "mine"


def test_json_lines_and_the_hubs_layout_hold_the_same_rows(tmp_path: Path) -> None:
    answers = [{"text": ["Ada"], "answer_start": [0]}, {"text": [], "answer_start": []}]
    rows = [{"context": TEXT, "question": f"q{at}", "answers": one} for at, one in enumerate(answers)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    layout = {"text": datasets.List(datasets.Value("string")), "answer_start": datasets.List(datasets.Value("int32"))}
    text = datasets.Value("string")
    features = datasets.Features(context=text, question=text, answers=layout)
    (tmp_path / "hub").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "hub/train.parquet")
    of_lines = files.read(settings(tmp_path / "rows.jsonl", columns=COLUMNS), 0, structured=DATA.structured)
    of_hub = hub.read(settings(tmp_path / "hub", source="hub", columns=COLUMNS), 0, structured=DATA.structured)
    for found in (of_lines, of_hub):
        read = [(row.text, row.text_pair, row.label) for row in DATA.read(found) if isinstance(row, RawRow)]
        assert read == [(TEXT, "q0", '[[0,"Ada"]]'), (TEXT, "q1", "[]")]


def test_answers_are_carried_through_a_cleaned_text_and_one_that_is_lost_leaves_the_others() -> None:
    before, after = "<b>Ada</b>  wrote &amp; read", "Ada wrote & read"
    assert DATA.carried('[[3,"Ada"],[12,"wrote"]]', before, after) == '[[0,"Ada"],[4,"wrote"]]'
    cut = "Ada wrote"
    assert DATA.carried('[[24,"read"],[3,"Ada"]]', before, cut) == '[[0,"Ada"]]'
    assert DATA.carried('[[24,"read"]]', before, cut) is None
    assert DATA.carried("[]", before, cut) == "[]"


def test_mistakes_of_answers_are_counted_by_kind() -> None:
    assert DATA.flaws is not None
    assert DATA.flaws.columns == ("answers_outside", "answers_empty", "answers_altered")
    assert DATA.flaws.count(TEXT, '[[0,"Ada"],[1,"Ada"],[18,"Babbage"],[2," "],[-1,"x"]]') == (2, 1, 1)
    assert (DATA.kinds("[]"), DATA.kinds('[[0,"Ada"]]')) == (("unanswerable",), ("answerable",))
    for wrong in ("{}", "[7]", '[["0","Ada"]]', "Ada"):
        with pytest.raises(ValueError, match=r"is no (list of quotes|quote)\. Allowed: "):
            quotes.from_text(wrong)


def changed(**sections: dict[str, Any]) -> Params:
    values = PARAMS.model_dump(by_alias=True)
    return Params.model_validate(values | {name: values[name] | own for name, own in sections.items()})


OF_QUESTIONS = {"columns": {"text": "context", "text_pair": "question", "label": "answers"}, "source": "files"}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({}, ["ingest.columns.text_pair is null", "such as question"]),
        ({"ingest": OF_QUESTIONS, "clean": {"rules": ["unicode_nfc", "lower_case"]}}, ["clean.rules has lower_case"]),
        ({"ingest": OF_QUESTIONS, "clean": {"rare_labels": "drop"}}, ["clean.rare_labels is 'drop'"]),
        ({"ingest": OF_QUESTIONS, "finetune": {"class_weights": "balanced"}}, ["finetune.class_weights is 'balanced'"]),
        ({"ingest": OF_QUESTIONS, "evaluate": {"slices": ["label"]}}, ["evaluate.slices has label", "table questions"]),
    ],
)
def test_parameters_that_do_not_go_with_questions_are_refused(sections: dict[str, Any], says: list[str]) -> None:
    assert list(SETTINGS.faults(changed(ingest=OF_QUESTIONS))) == []
    (told,) = SETTINGS.faults(changed(**sections))
    assert [part for part in says if part not in told] == []
    assert "Allowed for questions: " in told


def test_pairs_in_windows_are_for_questions_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    told = "ingest.columns.text_pair gives pairs of texts. Allowed for pairs: truncate"
    windows, cut = {"long_texts": "windows"}, {"rules": ["unicode_nfc"]}
    of_questions = {"name": "question_answering", "measure": "token_f1"}
    for task, count in ((PARAMS.task.model_dump(), 1), (of_questions, 0)):
        params = changed(ingest=OF_QUESTIONS, tokenize=windows, task=task, clean=cut)
        assert sum(told in line for line in mistakes(REPOSITORY, params)) == count
    rows = {"row_id": ["a"], "text": ["ship"], "text_pair": ["wave"], "label": ["a"]}
    with pytest.raises(ValueError, match="Allowed for pairs: truncate"):
        encoded(
            rows, task=OF_LABELS, tokenizer=tokenizer.backend_tokenizer, space={"labels": ["a"]}, max_tokens=8, stride=1
        )


# the encoding

CONTEXT = "ship bread tree moss owl"  # at 0, 5, 11, 16 and 21
SPACE = {"longest": 9, "unanswerable": True}


@pytest.fixture(scope="module")
def tokenizer(tiny_models: Callable[[str], Path]) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(tiny_models("bert"), local_files_only=True)


def in_windows(
    tokenizer: PreTrainedTokenizerFast, *targets: str | None, question: str = "the wave", stride: int | None = 1
) -> dict[str, Any]:
    """The windows of CONTEXT, of eight tokens, for a question with each of these targets."""
    rows = {
        "row_id": [f"r{at}" for at in range(len(targets))], "text": [CONTEXT] * len(targets),
        "text_pair": [question] * len(targets), "label": targets,
    }  # fmt: skip
    engine = tokenizer.backend_tokenizer
    return encoded(rows, task=ENCODING, tokenizer=engine, space=SPACE, max_tokens=8, stride=stride)


def test_the_space_is_the_longest_answer_and_whether_there_may_be_none() -> None:
    assert ENCODING.space(['[[0,"Ada"],[0,"Ada wrote"]]', '[[4,"wrote"]]']) == {"longest": 9, "unanswerable": False}
    assert ENCODING.space(['[[0,"Ada"]]', "[]"]) == {"longest": 3, "unanswerable": True}
    with pytest.raises(ValueError, match="no training row has an answer: there is nothing to learn"):
        ENCODING.space(["[]"])
    assert LEARNING.head(SPACE) == Head("token", 2)
    assert ANSWERS.size(SPACE) == 2


def test_the_text_is_read_in_windows_and_the_question_stands_in_each(tokenizer: PreTrainedTokenizerFast) -> None:
    found = in_windows(tokenizer, '[[16,"moss owl"]]')
    assert [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in found["input_ids"]] == [
        "[CLS] ship bread tree [SEP] the wave [SEP]", "[CLS] tree moss owl [SEP] the wave [SEP]",
    ]  # fmt: skip
    assert found["labels"] == [[3, 0, 0, 0, 8, 8, 8, 8], [4, 0, 1, 2, 8, 8, 8, 8]]
    assert (found["row_id"], found["boundary"], found["full_length"]) == (["r0", "r0"], [5, 5], [10, 0])


def test_of_several_answers_the_first_is_learned_in_each_window_that_has_it(tokenizer: PreTrainedTokenizerFast) -> None:
    found = in_windows(tokenizer, '[[11,"tree"],[0,"ship"]]', "[]", None)
    assert found["labels"] == [
        [0, 0, 0, 3, 8, 8, 8, 8], [4, 3, 0, 0, 8, 8, 8, 8],
        [3, 0, 0, 0, 8, 8, 8, 8], [7, 0, 0, 0, 8, 8, 8, 8],
        [NO_LABEL] * 8, [NO_LABEL] * 8,
    ]  # fmt: skip


def test_an_answer_that_no_window_has_whole_is_passed_by(tokenizer: PreTrainedTokenizerFast) -> None:
    assert in_windows(tokenizer, '[[5,"bread tree moss"]]')["labels"] == [[NO_LABEL] * 8] * 2
    cut = in_windows(tokenizer, '[[16,"moss"]]', '[[0,"ship"]]', stride=None)
    assert cut["full_length"] == [10, 10]
    assert cut["labels"] == [[NO_LABEL] * 8, [0, 3, 0, 0, 8, 8, 8, 8]]


def test_a_part_of_a_token_is_answered_by_the_whole_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert in_windows(tokenizer, '[[6,"rea"]]')["labels"][0] == [0, 0, 3, 0, 8, 8, 8, 8]


def test_a_question_takes_half_of_a_windows_room_at_most(tokenizer: PreTrainedTokenizerFast) -> None:
    found = in_windows(tokenizer, "[]", question="the wave near some island under a storm")
    assert [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in found["input_ids"]] == [
        "[CLS] ship bread tree [SEP] the wave [SEP]", "[CLS] tree moss owl [SEP] the wave [SEP]",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"tokenize\.stride is 3, .* may take 2\. Allowed: up to 2\. Raise"):
        in_windows(tokenizer, "[]", stride=3)


def test_a_row_without_an_answer_is_told_where_no_training_row_is_such() -> None:
    with pytest.raises(TargetError, match="has no answer, and every training row has one") as told:
        ENCODING.targets(['[[0,"Ada"]]', "[]"], [], [], {"longest": 3, "unanswerable": False})
    assert told.value.row == 1


def test_a_model_whose_texts_begin_with_no_special_token_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    engine = tokenizer.backend_tokenizer
    encodings = engine.encode_batch([("ship", "wave")], add_special_tokens=False)
    with pytest.raises(ValueError, match=r"model\.name: its tokenizer puts no special token before a text"):
        ENCODING.targets(["[]"], encodings, [0], SPACE)


def test_windows_are_put_together_by_their_odds_against_no_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    """A window's first token has the logits (10, 20) or (30, 40), and each other one the number of its place more."""

    def run(input_ids: np.ndarray, _mask: np.ndarray, _types: np.ndarray) -> np.ndarray:
        nothing = {"ship": (10, 20), "tree": (30, 40)}
        begins = [nothing[str(tokenizer.convert_ids_to_tokens(int(row[1])))] for row in input_ids]
        return np.array([[[one + at, other + at] for at in range(8)] for one, other in begins], dtype=np.float32)

    reader = Reader(tokenizer.backend_tokenizer, 8, 1, characters=True)
    found = outputs_of([(CONTEXT, "the wave")] * 2, reader, run, size=2, window=relative)
    # ship and bread of the first window, the other three of the second, which has tree as its first
    assert found.values.tolist() == [[1, 1], [2, 2], [1, 1], [2, 2], [3, 3]] * 2
    assert (found.offsets is not None, found.texts) == (True, [CONTEXT] * 2)
    assert found.characters is not None
    assert [CONTEXT[start:end] for start, end in found.characters[:5]] == CONTEXT.split()
    assert found.of_rows([1]).texts == [CONTEXT]


# the training


def test_the_loss_is_the_cross_entropy_of_both_ends_over_the_tokens_of_a_window() -> None:
    logits = torch.tensor([[[0, 0], [math.log(2), 0], [0, math.log(3)], [9, 9]], [[5, 5]] * 4], dtype=torch.float64)
    numbers = torch.tensor([[0, 1, 2, NO_LABEL], [NO_LABEL] * 4])
    found = LEARNING.loss(logits, numbers)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([(math.log(2) + math.log(5 / 3)) / 2, 0.0])
    # a half of the certainty is spread over the three tokens
    of_all = ((2 * math.log(4) + math.log(2)) / 3 + (2 * math.log(5) + math.log(5 / 3)) / 3) / 2
    smooth = (math.log(2) + math.log(5 / 3)) / 4 + of_all / 2
    assert LEARNING.loss(logits, numbers, label_smoothing=0.5).tolist() == pytest.approx([smooth, 0.0])


def test_padding_changes_no_loss_and_gets_no_gradient() -> None:
    logits = torch.zeros(1, 5, 2, requires_grad=True)
    numbers = torch.tensor([[3, 0, 8, NO_LABEL, NO_LABEL]])
    loss = LEARNING.loss(logits, numbers).sum()
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3))
    assert logits.grad is not None
    assert logits.grad[0, 3:].abs().max() == 0
    assert logits.grad[0, 0, 0] == pytest.approx((1 / 3 - 1) / 2)


def test_distillation_is_the_divergence_of_places_times_the_square_of_the_temperature() -> None:
    teacher = torch.tensor([[[2 * math.log(3), 0.0], [0.0, 0.0], [99.0, -99.0]]])
    student, mask = torch.zeros(1, 3, 2), torch.tensor([[1, 1, 0]])
    of_starts = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # softened by 2 it is 3 : 1
    assert LEARNING.distilled(student, teacher, mask, temperature=2.0).tolist() == pytest.approx([4 * of_starts / 2])
    assert LEARNING.distilled(teacher, teacher, mask, temperature=2.0).tolist() == [0.0]


def test_an_epoch_is_scored_by_texts_whose_answer_is_the_likeliest_of_all_their_windows() -> None:
    def logits(*values: float) -> np.ndarray:
        return np.array([[value, value] for value in values])

    windows = [
        ([0, 1, 2, 0, 8], logits(0, 3, -9, 0, 9)),  # one of the answer's two tokens: F1 2/3
        ([3, 0, 0, 8], logits(5, 4, 4, 9)),  # no answer, and none is given
        ([NO_LABEL] * 3, logits(0, 9, 9)),  # passed by
        ([3, 0, 0, 8], logits(0, 1, 0, 9)),  # a text of two windows, of which the second has the answer
        ([4, 3, 0, 8], logits(-5, 0, -2, 9)),  # its odds are 5 + 5 against none, the other's 1 + 1
    ]
    found = LEARNING.score([np.array(numbers) for numbers, _ in windows], [values for _, values in windows])
    assert found == {"token_f1": pytest.approx((2 / 3 + 1 + 1) / 3), "exact_match": pytest.approx(2 / 3)}
    # where every text has an answer, one is given, however unlikely
    assert LEARNING.score([np.array([0, 3, 8])], [logits(9, 0, 0)]) == {"token_f1": 1.0, "exact_match": 1.0}
    assert LEARNING.score([], []) == {"token_f1": 0.0, "exact_match": 0.0}
    # the odds of the texts' answers are 6, -2 and 10: zero keeps the right ones; one more at 2 is wrong, so it is 4
    assert LEARNING.fitted is not None
    sure = [*windows, ([3, 0, 0, 8], logits(0, 1, 1, 9))]
    for some, threshold in ((windows, 0.0), (sure, 4.0)):
        given = [np.array(numbers) for numbers, _ in some], [values for _, values in some]
        for measure in SETTINGS.measures:
            assert LEARNING.fitted(*given, SPACE, measure) == {**SPACE, "threshold": threshold}
        assert LEARNING.fitted(*given, ALL_HAVE_ONE, "token_f1") == ALL_HAVE_ONE


def test_every_part_knows_the_same_measures() -> None:
    names = list(SETTINGS.measures)
    assert [one.name for one in MEASURES.measures] == names
    assert list(ANSWERS.score(["[]"], ["[]"], SPACE)) == names
    assert list(LEARNING.score([np.array([3, 0])], [np.zeros((2, 2))])) == names


# the answers


def outputs(*rows: tuple[str, list[float], list[float]]) -> Outputs:
    """Of each row the odds, against none, of the text's words as beginnings and as ends."""
    words = [words_of(text) for text, _, _ in rows]
    values = [np.log(np.array([begins, ends])).T for _, begins, ends in rows]
    characters = np.array([place for own in words for place in own]).reshape(-1, 2)
    return Outputs(
        np.concatenate(values).astype(np.float32), np.cumsum([0, *map(len, words)]), characters,
        [text for text, _, _ in rows],
    )  # fmt: skip


# The odds of Ada, Ada wrote, wrote, wrote to, to, Babbage: 2, 6, 3, 1, 1, 1; of no answer 1; "to Babbage" is too long.
FOUND = outputs((TEXT, [2, 1, 1, 1], [1, 3, 1, 1]))
ALL_HAVE_ONE = {"longest": 9, "unanswerable": False}


def test_the_likeliest_passage_is_answered_up_to_the_length_of_the_longest_answer() -> None:
    assert ANSWERS.answers(FOUND, SPACE) == ['[[0,"Ada wrote"]]']
    assert ANSWERS.answers(FOUND, {**SPACE, "longest": 5}) == ['[[4,"wrote"]]']
    assert ANSWERS.answers(FOUND, {**SPACE, "longest": 1}) == ['[[4,"wrote"]]'], "a word can always be one"


def test_no_answer_is_given_where_it_is_likelier_or_under_the_threshold() -> None:
    unlikely = outputs((TEXT, [0.5] * 4, [0.5, 1.5, 0.5, 0.5]))
    assert ANSWERS.answers(unlikely, SPACE) == ["[]"]
    assert ANSWERS.answers(unlikely, {**SPACE, "threshold": -0.5}) == ['[[0,"Ada wrote"]]']
    assert ANSWERS.answers(FOUND, {**SPACE, "threshold": 1.8}) == ["[]"], "the logarithm of 6 is less"
    assert ANSWERS.answers(unlikely, ALL_HAVE_ONE) == ['[[0,"Ada wrote"]]']
    nothing = Outputs(np.empty((0, 2), np.float32), np.array([0, 0]), np.empty((0, 2), np.int64), [""])
    for space in (SPACE, ALL_HAVE_ONE):
        assert ANSWERS.answers(nothing, space) == ["[]"]
        assert ANSWERS.confidence is not None
        assert ANSWERS.confidence(nothing, ["[]"], space).tolist() == [1.0]


def test_the_confidence_is_the_f1_that_is_to_be_expected() -> None:
    assert ANSWERS.confidence is not None
    # of "Ada wrote": itself 6, each of its words 2/3 of 2 and 3, "wrote to" 1/2, all of 15
    whole = (6 + 2 / 3 * 2 + 2 / 3 * 3 + 1 / 2 * 1) / 15
    both = FOUND.of_rows([0, 0, 0])
    answers = ['[[0,"Ada wrote"]]', "[]", '[[99,"x"]]']
    assert ANSWERS.confidence(both, answers, SPACE).tolist() == pytest.approx([whole, 1 / 15, 0.0])
    assert ANSWERS.confidence(FOUND, ["[]"], ALL_HAVE_ONE).tolist() == [0.0]


def test_a_confident_model_is_as_right_as_it_says() -> None:
    draw, text = np.random.default_rng(1), "one two three four five six"
    rows = outputs(*((text, list(np.exp(a)), list(np.exp(b))) for a, b in draw.normal(0, 2, size=(2000, 2, 6))))
    space, words = {"longest": 100, "unanswerable": True}, words_of(text)
    truths = []
    for row in range(2000):
        start, end = rows.values[6 * row : 6 * row + 6].astype(np.float64).T
        spans = [(i, j) for i in range(6) for j in range(i, 6)]
        odds = np.array([*(np.exp(start[i] + end[j]) for i, j in spans), 1.0])
        at = draw.choice(len(odds), p=odds / odds.sum())
        drawn = [quotes.quoted(text, words[spans[at][0]][0], words[spans[at][1]][1])] if at < len(spans) else []
        truths.append(quotes.as_text(drawn))
    answers = ANSWERS.answers(rows, space)
    assert ANSWERS.confidence is not None
    sure_N, right_N = ANSWERS.confidence(rows, answers, space), MEASURES.scores(truths, answers)
    for low, high in ((0.3, 0.6), (0.6, 0.9), (0.9, 1.0)):
        some = (low < sure_N) & (sure_N <= high)
        assert sure_N[some].mean() == pytest.approx(right_N[some].mean(), abs=0.05)


def test_the_loss_of_a_row_is_that_of_all_accepted_answers_together() -> None:
    truths = ['[[0,"Ada"],[0,"Ada wrote"]]', "[]", '[[0,"Ada wrote to"]]']
    found = ANSWERS.losses(truths, FOUND.of_rows([0, 0, 0]), SPACE)
    assert found.tolist() == pytest.approx([math.log(15 / 8), math.log(15), -math.log(SMALLEST)])
    assert ANSWERS.losses(truths[:1], FOUND, ALL_HAVE_ONE).tolist() == pytest.approx([math.log(14 / 8)])
    with pytest.raises(ValueError, match="rows have no answer, and every training row has one"):
        ANSWERS.losses(["[]"], FOUND, ALL_HAVE_ONE)


def test_outputs_diverge_by_the_mean_of_both_ends_divergences() -> None:
    other = outputs((TEXT, [4, 1, 1, 1], [1, 3, 1, 1]))
    before, after = np.array([1, 2, 1, 1, 1]) / 6, np.array([1, 4, 1, 1, 1]) / 8
    assert ANSWERS.divergence(FOUND, other) == pytest.approx((before * np.log(before / after)).sum() / 2, abs=1e-6)
    assert ANSWERS.divergence(FOUND, FOUND) == 0
    flat = Outputs(np.zeros((2, 2), np.float32)), Outputs(np.array([[0, 2], [0, 0]], np.float32))
    assert ANSWERS.divergence(*flat) == pytest.approx(4 / 4 / 2)


def test_a_user_gets_the_answer_with_its_place_and_its_probability() -> None:
    found = ANSWERS.record(FOUND, 0, TEXT, SPACE)
    assert found == {
        "answers": [{"start": 0, "end": 9, "text": "Ada wrote", "probability": pytest.approx(0.4)}],
        "unanswerable": pytest.approx(1 / 15),
    }
    assert ANSWERS.shown(found) == "Ada wrote\t0.4000"
    none = ANSWERS.record(FOUND, 0, TEXT, {**SPACE, "threshold": 9.0})
    assert (none["answers"], ANSWERS.shown(none)) == ([], "-\t0.0667")
    assert ANSWERS.shown(ANSWERS.nothing) == "null\tnull"
    assert ANSWERS.columns(FOUND, SPACE)["p_unanswerable"].tolist() == pytest.approx([1 / 15])
    assert dict(ANSWERS.columns(FOUND, ALL_HAVE_ONE)) == {}


def test_an_answer_is_placed_in_the_text_as_it_was_asked() -> None:
    record = {"answers": [{"start": 0, "end": 9, "text": "Ada wrote", "probability": 0.5}], "unanswerable": 0.25}
    moved = ANSWERS.placed(record, TEXT, "<p>Ada  wrote to Babbage")
    assert moved["answers"] == [{"start": 3, "end": 13, "text": "Ada  wrote", "probability": 0.5}]
    assert ANSWERS.placed(record, TEXT, TEXT) == record
    lost = ANSWERS.placed(record, TEXT, "quite another text")
    assert lost["answers"] == [{"start": None, "end": None, "text": "Ada wrote", "probability": 0.5}]
    assert lost["unanswerable"] == 0.25


def one_word(*odds: float) -> Outputs:
    """Rows of the text "Ada", whose only passage has a logarithm of odds each."""
    return outputs(*(("Ada", [math.exp(value)], [1.0]) for value in odds))


@pytest.mark.parametrize(
    ("odds", "right", "threshold"),
    [
        ([3, 1, -1, -2], [True, False, True, False], -1.5),  # as good as 2, and nearer to 0
        ([3, 1, -1, -2], [True, True, False, False], 0.0),  # nothing is better than 0
        ([3, 1], [False, False], 4.0),  # never answered
        ([-3, -1], [True, True], -4.0),  # always answered
        ([-1, -1, 2], [True, False, True], 0.0),  # equal odds stay together
        ([-1, -1, -1, 2], [True, True, False, True], -2.0),
    ],
)
def test_the_threshold_is_where_the_f1_of_the_validation_rows_is_best(
    odds: list[float], right: list[bool], threshold: float
) -> None:
    assert ANSWERS.fitted is not None
    truths = ['[[0,"Ada"]]' if one else "[]" for one in right]
    found = ANSWERS.fitted(truths, one_word(*odds), SPACE, "token_f1")
    assert found == {**SPACE, "threshold": pytest.approx(threshold, abs=1e-4)}
    assert ANSWERS.fitted(truths, one_word(*odds), ALL_HAVE_ONE, "token_f1") == ALL_HAVE_ONE
    assert ANSWERS.fitted([], one_word(1.0).of_rows([]), SPACE, "token_f1")["threshold"] == 0.0


# the measures


def by_the_rules(accepted: list[str], given: str) -> tuple[float, float]:
    """F1 and exact match as the evaluation script of SQuAD 2.0 is described, step by step."""

    def normalised(text: str) -> str:
        text = "".join(character for character in text.lower() if character not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())

    def f1(gold: str, guess: str) -> float:
        gold_words, guess_words = normalised(gold).split(), normalised(guess).split()
        common = sum((Counter(gold_words) & Counter(guess_words)).values())
        if not gold_words or not guess_words:
            return float(gold_words == guess_words)
        if common == 0:
            return 0.0
        precision, recall = common / len(guess_words), common / len(gold_words)
        return 2 * precision * recall / (precision + recall)

    golds = [text for text in accepted if normalised(text)] or [""]
    return max(f1(gold, given) for gold in golds), float(any(normalised(gold) == normalised(given) for gold in golds))


@pytest.mark.parametrize(
    ("truth", "answer", "f1", "exact"),
    [
        ('[[0,"The U.S. Army"]]', '[[0,"us army"]]', 1.0, 1.0),  # case, articles and punctuation do not count
        ('[[0,"Ada Lovelace"]]', '[[4,"Lovelace"]]', 2 / 3, 0.0),
        ('[[0,"Ada"],[0,"Ada Lovelace"]]', '[[0,"Ada Lovelace"]]', 1.0, 1.0),  # the best of those accepted
        ('[[0,"a a b"]]', '[[0,"b b"]]', 2 * 0.5 / 1.5, 0.0),  # as often as in both
        ("[]", "[]", 1.0, 1.0),
        ("[]", '[[0,"Ada"]]', 0.0, 0.0),
        ('[[0,"Ada"]]', "[]", 0.0, 0.0),
        ('[[0,"the"]]', "[]", 1.0, 1.0),  # nothing is left of it, so nothing is right
        ('[[0,"10,000"]]', '[[0,"10000"]]', 1.0, 1.0),
        ('[[0,"10–20"]]', '[[0,"10-20"]]', 0.0, 0.0),  # a dash is no punctuation of ASCII
    ],
)
def test_f1_and_exact_match_by_hand(truth: str, answer: str, f1: float, exact: float) -> None:
    assert ANSWERS.score([truth], [answer], SPACE) == {
        "token_f1": pytest.approx(f1), "exact_match": pytest.approx(exact),
    }  # fmt: skip
    assert MEASURES.scores([truth], [answer]).tolist() == pytest.approx([f1])


def test_the_measures_of_random_answers_are_those_of_squads_rules() -> None:
    draw = random.Random(5)
    words = ["The", "the", "a", "An", "Ada", "ada's", "U.S.", "10,000", "—", "...", "Ünï", "and", "theatre", "b-a"]
    rows = []
    for _ in range(3000):
        accepted = [" ".join(draw.choices(words, k=draw.randint(1, 4))) for _ in range(draw.randint(0, 3))]
        given = draw.choice([*accepted, " ".join(draw.choices(words, k=draw.randint(1, 4))), None])
        rows.append((accepted, given))
    truths = [quotes.as_text(Quote(0, text) for text in accepted) for accepted, _ in rows]
    answers = [quotes.as_text([] if given is None else [Quote(0, given)]) for _, given in rows]
    wanted = np.array([by_the_rules(accepted, given or "") for accepted, given in rows])
    assert MEASURES.scores(truths, answers) == pytest.approx(wanted[:, 0])
    found = ANSWERS.score(truths, answers, SPACE)
    assert found == {"token_f1": pytest.approx(wanted[:, 0].mean()), "exact_match": pytest.approx(wanted[:, 1].mean())}
    assert 0.2 < found["exact_match"] < found["token_f1"] < 0.8
    units = [str(row // 3) for row in range(len(rows))]
    for name in SETTINGS.measures:
        measure = MEASURES.measure(name)
        counts = counted(MEASURES, measure, truths, answers, units)
        assert measured(counts, measure) == pytest.approx(found[name])
        low, high, estimate = interval(counts, measure, confidence=0.95, resamples=300, seed=0)
        assert low < estimate < high


TRUTHS = ['[[0,"Ada"]]', "[]", '[[0,"Ada wrote"]]', "[]"]
GIVEN = ['[[0,"Ada"]]', "[]", '[[0,"Ada"]]', '[[0,"Ada"]]']


def judged(texts: list[tuple[str, str]], rows: list[int]) -> Judged:
    truths, answers = [TRUTHS[row] for row in rows], [GIVEN[row] for row in rows]
    return Judged(
        texts=texts, truths=truths, answers=answers, outputs=FOUND, confidence_N=None,
        losses_N=np.full(len(rows), 0.25), scores_N=MEASURES.scores(truths, answers), units=[""] * len(rows),
        space=SPACE, seed=0,
    )  # fmt: skip


def test_the_report_has_figures_of_questions_with_an_answer_and_without() -> None:
    asked_of = [(TEXT, question) for question in ("Who wrote?", "who read?", "What did Ada do?", "¿?")]
    found = judged(asked_of, [0, 1, 2, 3])
    assert MEASURES.report(found) == {
        "answerable_f1": 0.833333, "answerable_exact_match": 0.5, "unanswerable_accuracy": 0.5,
        "answerable": 2, "unanswerable": 2, "log_loss": 0.25,
    }  # fmt: skip
    table = MEASURES.tables(found)["questions"]
    assert table.columns == ("first_word", "rows", "token_f1", "exact_match")
    assert table.rows == [["who", 2, 1.0, 1.0], ["-", 1, 0.0, 0.0], ["what", 1, 0.666667, 0.0]]
    assert MEASURES.report(judged(asked_of[:1], [0])) == {
        "answerable_f1": 1.0, "answerable_exact_match": 1.0, "answerable": 1, "unanswerable": 0, "log_loss": 0.25,
    }  # fmt: skip


def test_many_first_words_are_put_together() -> None:
    asked_of = [(TEXT, f"w{chr(97 + at)} is it?") for at in range(25)]
    rows = MEASURES.tables(judged(asked_of, [0] * 25))["questions"].rows
    assert (len(rows), rows[-1]) == (21, ["(others)", 5, 1.0, 1.0])


def test_a_page_can_mark_answers_and_a_changed_text_keeps_their_words() -> None:
    assert MEASURES.marks is not None
    assert MEASURES.marks('[[0,"Ada"],[13,"Babbage"]]') == [(0, 3, "answer"), (13, 20, "answer")]
    assert (MEASURES.gist('[[4,"The Ada."]]'), MEASURES.gist("[]")) == ("ada", "")


# the shared places


def test_passages_are_scored_by_their_ends_and_no_longer_than_they_may_be() -> None:
    """The example of stages/tasks/shared/places.py."""
    start, end = np.array([0.1, 2.0, 0.3]), np.array([0.0, 0.5, 1.0])
    found = places.scores(start, end, np.array([3, 2, 1]))
    assert found[np.isfinite(found)].tolist() == pytest.approx([0.1, 0.6, 1.1, 2.5, 3.0, 1.3])
    assert places.best(found) == (pytest.approx(3.0), (1, 2))
    assert places.total(found, 0.0) == pytest.approx(math.log(sum(map(math.exp, (0, 0.1, 0.6, 1.1, 2.5, 3, 1.3)))))
    assert places.best(np.zeros((2, 2))) == (0.0, (0, 0))
    assert places.best(places.scores(np.empty(0), np.empty(0), np.empty(0, dtype=int))) is None
    assert places.total(np.empty((0, 0))) == -math.inf


def test_tokens_of_a_place_are_those_that_share_a_character_with_it() -> None:
    characters = np.array([[0, 3], [4, 9], [10, 12], [13, 20]])
    assert places.within(characters, 2, 5) == (0, 1)
    assert places.within(characters, 3, 4) is None
    assert places.most_tokens(characters, 9).tolist() == [2, 2, 1, 1]
    whole = places.Passage(0, 1)
    assert places.overlap(whole, places.Passage(1, 1)) == pytest.approx(2 / 3)
    assert (places.overlap(whole, places.Passage(2, 3)), places.overlap(whole, whole)) == (0.0, 1.0)


# the floor


def test_the_floor_sees_the_kind_of_the_question_and_how_near_its_words_are() -> None:
    assert asked("In what year did the Broncos win 24 games?") == (
        "what", "what year", frozenset({"year", "bronc", "24", "games"}),
    )  # fmt: skip
    assert asked("The broncos?").kind == "<edge>"
    text = "The Broncos won. It was 1999."
    found = list(features_of(text, words_of(text), "When did the Broncos win?"))
    assert {"asked=1", "w=broncos", "w-1=the", "k,s=when,Xx", "near=1", "sentence=0"} <= {*found[1]}
    year = found[6]
    assert {"asked=0", "s=d", "a,s=when did,d", "before=3", "behind=4", "sentence=1"} <= {*year}
    assert list(features_of(text, words_of(text), "When did the Broncos win?", [6])) == [year]


def floor_rows(count: int) -> tuple[list[tuple[str, str]], list[str]]:
    """Who? is answered by the name behind "by", how many? by the number; a third of the texts have neither."""
    draw, texts, targets = random.Random(2), [], []
    for at in range(count):
        words = draw.choices(TOPICS["kitchen"], k=8)
        name, number = draw.choice(["Ada", "Alan", "Grace", "Edsger", "Donald"]), str(draw.randint(10, 99))
        text = " ".join([*words[:3], "by", name, *words[3:6], "of", number, *words[6:]] if at % 3 else words)
        answer, question = (name, "who made it?") if at % 2 else (number, "how many are there?")
        texts.append((text, question))
        targets.append(quotes.as_text([Quote(text.index(answer), answer)] if at % 3 else []))
    return texts, targets


def test_the_floor_learns_what_is_asked_for_and_when_there_is_no_answer() -> None:
    texts, targets = floor_rows(240)
    space = ENCODING.space(targets[:180])
    model = BASELINE.fit(texts[:180], targets[:180], space, PARAMS.baseline, PARAMS.seed)
    assert ANSWERS.fitted is not None
    again = BASELINE.fit(texts[:180], targets[:180], space, PARAMS.baseline, PARAMS.seed)
    assert model.weights["coefficients"].tobytes() == again.weights["coefficients"].tobytes()
    space = ANSWERS.fitted(targets[:180], BASELINE.opened(model)(texts[:180]), space, "token_f1")
    found = BASELINE.opened(model)(texts[180:])
    assert ANSWERS.score(targets[180:], ANSWERS.answers(found, space), space)["token_f1"] > 0.9
    answered = [at for at, target in enumerate(targets) if target != "[]"]
    some, own = [texts[at] for at in answered], [targets[at] for at in answered]
    without = ENCODING.space(own)
    model = BASELINE.fit(some, own, without, PARAMS.baseline, PARAMS.seed)
    assert "[]" not in ANSWERS.answers(BASELINE.opened(model)(texts[180:]), without)
    assert ANSWERS.answers(BASELINE.opened(model)([("", "who?")]), without) == ["[]"]


def test_the_floor_needs_words_that_are_no_answers() -> None:
    with pytest.raises(ValueError, match="of the training rows' words none, or each, begins or ends an answer"):
        BASELINE.fit([("Ada", "who?")], ['[[0,"Ada"]]'], ALL_HAVE_ONE, PARAMS.baseline, 1)


# through the stages


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """What the stages made of questions about passages (tests/question_run.py)."""
    root = tmp_path_factory.mktemp("questions")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/question_run.py"), str(root)],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Paths(root)


def test_the_counts_add_up_and_a_passages_questions_stay_together(ran: Paths) -> None:
    report = read_json(ran.ingest_report)
    assert (report["read"], report["kept"], report["quarantined_by_reason"]["bad_target"]) == (301, 300, 1)
    (wrong,) = pq.read_table(ran.unreadable).to_pylist()
    assert "the answer 'bread' is said to begin at character 1" in wrong["detail"]
    rows = pd.read_parquet(ran.clean)
    assert rows.groupby("text")["group"].nunique().eq(1).all()
    assert rows.groupby("group")["split"].nunique().eq(1).all()
    assert rows["group"].nunique() <= 150 < len(rows)
    shares = read_json(ran.cleaning_report)["label_shares"]
    assert shares == pytest.approx({"answerable": 2 / 3, "unanswerable": 1 / 3}, abs=0.02)


def test_each_window_has_its_question_and_each_answer_is_in_a_window(ran: Paths) -> None:
    rows = read_tokens(ran.tokens / "train")
    assert rows.per_token
    assert len(rows) > len(rows.first_of_texts)
    assert rows.boundaries is not None
    at = next(at for at in range(1, len(rows)) if rows.row_ids[at] == rows.row_ids[at - 1])
    questions = [rows[place]["input_ids"][rows[place]["boundary"] :].tolist() for place in (at - 1, at)]
    assert questions[0] == questions[1]
    assert rows[at]["target"][0] & 4
    assert rows.has_target.mean() > 0.95, "an answer that is on both sides of a window's end is passed by"


def test_every_model_learned_what_answers_and_when_nothing_does(ran: Paths) -> None:
    quality = {name: read_json(ran.quality(name)) for name in ("baseline", "static", "quantized")}
    assert min(quality[name]["token_f1"] for name in ("baseline", "quantized")) > 0.9, quality
    assert quality["static"]["token_f1"] > 0.7, quality
    assert quality["quantized"]["unanswerable_accuracy"] > 0.8
    assert sorted(path.name for path in ran.tables("quantized").iterdir()) == ["questions.csv", "reliability.csv"]
    chosen = read_json(ran.model("probe") / "model.json")["chosen"]
    assert max(chosen["validation_token_f1"].values()) > 0.3


def test_the_int8_folder_has_its_threshold_and_answers_alone(ran: Paths) -> None:
    described = model_folder.describe(ran.model("quantized"))
    assert described["space"].keys() == {"longest", "unanswerable", "threshold"}
    for name in ("baseline", "static", "probe", "teacher", "student", "pruned"):
        assert "threshold" in model_folder.describe(ran.model(name))["space"], name
    assert "threshold" not in read_json(ran.tokens / "space.json")["space"]
    test = read_split(ran.clean, "test")
    records = load(ran.model("quantized"))(texts_of(test))
    given = [quotes.as_text(Quote(one["start"], one["text"]) for one in record["answers"]) for record in records]
    predictions = pq.read_table(ran.predictions("quantized"))
    assert given == predictions["answer"].to_pylist()
    assert all(0 <= record["unanswerable"] <= 1 for record in records)
    assert "p_unanswerable" in predictions.column_names
    assert predictions["unit"].to_pylist() == pd.read_parquet(ran.clean).query("split == 'test'")["group"].tolist()
    for text, record in zip(test["text"].to_pylist(), records, strict=True):
        assert all(text[one["start"] : one["end"]] == one["text"] for one in record["answers"])


def test_the_command_answers_a_question_about_a_text(ran: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    text = "bread near the oven &amp; ship captain under a tree with some moss"
    for option in ("--json", "--threads=1"):
        with pytest.raises(SystemExit) as ended:
            main(["predict", "--model", str(ran.model("quantized")), option, text, "--pair", "the sailor"])
        assert not ended.value.code
    as_json, as_line = capsys.readouterr().out.splitlines()
    (answer,) = json.loads(as_json)["answers"]
    assert (text[answer["start"] : answer["end"]], answer["text"]) == ("ship captain", "ship captain")
    assert as_line.split("\t")[0] == "ship captain"
    assert as_line.split("\t")[2:] == [text, "the sailor"]


def test_rows_of_a_split_are_as_the_runner_reads_them(ran: Paths, tokenizer: PreTrainedTokenizerFast) -> None:
    test = read_split(ran.clean, "test").to_pydict()
    engine, space = tokenizer.backend_tokenizer, read_json(ran.tokens / "space.json")["space"]
    again = rows_of(encoded(test, task=ENCODING, tokenizer=engine, space=space, max_tokens=24, stride=6))
    written = read_tokens(ran.tokens / "test")
    assert (again.targets.tolist(), again.row_ids) == (written.targets.tolist(), written.row_ids)
