"""Token classification: targets as data has them, tags of tokens, losses, and the answers of outputs, by hand."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from stages.core.contracts import NO_LABEL, Head, Outputs, RawRow, RejectedRow
from stages.core.params.file import load_params
from stages.tasks.contract import TargetError
from stages.tasks.shared.features import words_of
from stages.tasks.shared.tagging import decoded
from stages.tasks.token_classification.answers import ANSWERS
from stages.tasks.token_classification.baseline import BASELINE, features_of
from stages.tasks.token_classification.data import DATA
from stages.tasks.token_classification.encoding import ENCODING
from stages.tasks.token_classification.learning import LEARNING
from stages.tasks.token_classification.measures import MEASURES
from stages.tasks.token_classification.settings import SETTINGS
from stages.tokens.windows import windows_of

SPACE = {"tags": ["O", "B-person", "I-person", "B-place", "I-place"]}
ADA = '[[0,12,"person"],[22,29,"person"]]'

# the targets of the data


def read(text: str | None, label: str | None) -> RawRow | RejectedRow:
    (row,) = DATA.read([RawRow(text, label, "a:1", "test", "a")])
    return row


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('["Ada", "Lovelace", "wrote", "to", "Babbage"]', '["B-person", "I-person", "O", "O", "B-person"]'),
        ('["Ada", "Lovelace", "wrote", "to", "Babbage"]', '["B-person", "E-person", "O", "O", "S-person"]'),
        ('["Ada", "Lovelace", "wrote", "to", "Babbage"]', '["B-person", "L-person", "O", "O", "U-person"]'),
        ('["Ada", "Lovelace", "wrote", "to", "Babbage"]', '["person", "person", "O", "O", "person"]'),
        ("Ada Lovelace wrote to Babbage", '[[22, 29, "person"], [0, 12, "person"]]'),
        ("Ada Lovelace wrote to Babbage", '[[0, 13, "person"], [21, 29, " person"]]'),
        (
            "Ada Lovelace wrote to Babbage",
            '[{"start": 0, "end": 12, "label": "person", "id": 7}, {"start": 22, "end": 29, "type": "person"}]',
        ),
    ],
    ids=["BIO", "BIOES", "BILOU", "IO", "lists", "blanks at the ends", "objects"],
)
def test_every_form_of_labelled_spans_becomes_one(text: str, label: str) -> None:
    assert read(text, label) == RawRow("Ada Lovelace wrote to Babbage", ADA, "a:1", "test", "a")


def test_a_text_may_have_no_span_and_a_row_no_target() -> None:
    assert read("Nothing here.", "[]") == RawRow("Nothing here.", "[]", "a:1", "test", "a")
    assert read("Nothing here.", None) == RawRow("Nothing here.", None, "a:1", "test", "a")
    assert read('["Not", "labelled"]', None) == RawRow("Not labelled", None, "a:1", "test", "a")
    assert read(None, '["O"]') == RawRow(None, '["O"]', "a:1", "test", "a")


@pytest.mark.parametrize(
    ("text", "label", "detail"),
    [
        ('["Ada", "wrote"]', '["B-person"]', "2 words have 1 tags. Give each word one tag"),
        ("Ada", "person", "the target 'person' is no JSON. Allowed: a list of tags"),
        ("Ada", '{"start": 0}', "is no list. Allowed: a list of tags"),
        ("Ada", '["B-person"]', "1 tag is that of a word, and the text is no list of texts. Allowed: a list of tags"),
        ("Ada", '[[0, 3]]', "[0, 3] is no span"),
        ("Ada", '[[0, true, "person"]]', '[0, true, "person"] is no span'),
        ("Ada", '[{"start": 0, "end": 3}]', "is no span"),
        ("Ada", '[[0, 4, "person"]]', "the span [0, 4, 'person'] is outside the text, which has 3 characters. Mend it"),
        ("Ada", '[[1, 1, "person"]]', "[1, 1, 'person'] is empty"),
        ("Ada", '[[0, 3, " "]]', "[0, 3, ''] has no type"),
        ("Ada L", '[[0, 3, "person"], [2, 5, "place"]]', "[0, 3, 'person'] and [2, 5, 'place'] overlap"),
        ('["Ada", ""]', '["O", "B-person"]', "is empty"),
    ],
)  # fmt: skip
def test_spans_that_cannot_be_right_are_told(text: str, label: str, detail: str) -> None:
    found = read(text, label)
    assert isinstance(found, RejectedRow)
    assert (found.origin, found.reason, found.excerpt) == ("a:1", "bad_target", text)
    assert detail in found.detail


def test_what_a_source_could_not_read_stays_as_it_is() -> None:
    row = RejectedRow("a:1", "not_json", "", "")
    assert list(DATA.read([row])) == [row]


def test_a_target_has_its_types_once_and_is_carried_through_cleaning() -> None:
    assert DATA.kinds(ADA) == ("person",)
    assert DATA.kinds("[]") == ()
    assert DATA.carried(ADA, "Ada Lovelace wrote to Babbage", "Ada  Lovelace wrote to Babbage") == (
        '[[0,13,"person"],[23,30,"person"]]'
    )
    assert DATA.carried(ADA, "Ada Lovelace wrote to Babbage", "Ada Lovelace wrote to") is None
    assert not DATA.exclusive


# the settings


def test_parameters_under_which_words_would_change_are_refused_with_what_to_set() -> None:
    params = load_params(REPOSITORY / "params.yaml")
    assert list(SETTINGS.faults(params)) == []
    clean = params.clean.model_copy(update={"rules": ["white_space", "mask_urls", "classic"], "rare_labels": "merge"})
    columns = params.ingest.columns.model_copy(update={"text_pair": "second"})
    changed = params.model_copy(
        update={
            "clean": clean,
            "ingest": params.ingest.model_copy(update={"columns": columns}),
            "finetune": params.finetune.model_copy(update={"class_weights": "balanced"}),
            "evaluate": params.evaluate.model_copy(update={"slices": ["length", "label"]}),
        }
    )
    windows = params.tokenize.model_copy(update={"long_texts": "windows", "stride": 1})
    (stride,) = SETTINGS.faults(params.model_copy(update={"tokenize": windows}))
    assert "tokenize.stride is 1, and an entity that goes on in the next window would be two" in stride
    rules, rare, pair, weights, slices = SETTINGS.faults(changed)
    assert rules.startswith("params.yaml: clean.rules has mask_urls, classic, which change words")
    assert rare.startswith("params.yaml: clean.rare_labels is 'merge'")
    assert rare.endswith("Allowed for entities: keep.")
    assert pair.startswith("params.yaml: ingest.columns.text_pair is 'second'")
    assert weights.startswith("params.yaml: finetune.class_weights is 'balanced'")
    assert slices.startswith("params.yaml: evaluate.slices has label")


def test_every_part_knows_the_same_measures() -> None:
    names = list(SETTINGS.measures)
    assert [one.name for one in MEASURES.measures] == names
    assert list(ANSWERS.score([ADA], [ADA], SPACE)) == names
    assert list(LEARNING.score([np.array([1])], [np.eye(5)[[1]]])) == names


# the encoding


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Pieces of words, [CLS] before and [SEP] behind."""
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "ada", "love", "##lace", "wrote", "to", "bab", "##bage", "."]
    found = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer()
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return found


def test_the_space_is_o_and_two_tags_of_each_type() -> None:
    assert ENCODING.space(['[[0,3,"place"]]', "[]", ADA]) == SPACE
    with pytest.raises(ValueError, match="no training row has a span"):
        ENCODING.space(["[]"])


def test_every_sub_word_of_a_span_has_a_tag_and_special_tokens_none(tokenizer: Tokenizer) -> None:
    texts = ["Ada Lovelace wrote to Babbage", "Ada wrote.", "Ada."]
    windows = windows_of(texts, tokenizer, max_tokens=20, stride=None, characters=True)
    assert windows.encodings[0].tokens[1:4] == ["ada", "love", "##lace"]
    found = ENCODING.targets([ADA, "[]", None], windows.encodings, windows.at, SPACE)
    assert found == [[-1, 1, 2, 2, 0, 0, 1, 2, -1], [-1, 0, 0, 0, -1], [NO_LABEL] * 4]


def test_each_window_has_the_tags_of_its_own_tokens(tokenizer: Tokenizer) -> None:
    windows = windows_of(["Ada Lovelace wrote"], tokenizer, max_tokens=4, stride=0, characters=True)
    assert [encoding.tokens[1:-1] for encoding in windows.encodings] == [["ada", "love"], ["##lace", "wrote"]]
    assert ENCODING.targets(['[[0,12,"person"]]'], windows.encodings, windows.at, SPACE) == [
        [-1, 1, 2, -1],
        [-1, 1, 0, -1],
    ]


def test_a_type_without_training_rows_is_named_with_its_row(tokenizer: Tokenizer) -> None:
    windows = windows_of(["Ada", "Ada"], tokenizer, max_tokens=8, stride=None, characters=True)
    with pytest.raises(
        TargetError, match=r"the type 'event', which no training row has\. Allowed: person, place"
    ) as told:
        ENCODING.targets(["[]", '[[0,3,"event"]]'], windows.encodings, windows.at, SPACE)
    assert told.value.row == 1


# the learning


def test_an_examples_loss_is_the_mean_over_its_tokens_with_a_tag() -> None:
    logits = torch.zeros(3, 3, 2, dtype=torch.bfloat16)
    logits[0, 1, 0] = math.log(3)
    tags = torch.tensor([[-1, 0, 1], [1, -1, -1], [-1, -1, -1]])
    loss = LEARNING.loss(logits, tags)
    assert loss.dtype == torch.float32
    assert loss.tolist() == pytest.approx([(math.log(4 / 3) + math.log(2)) / 2, math.log(2), 0], abs=2e-3)
    smooth = LEARNING.loss(logits.float(), tags, label_smoothing=0.5)
    assert smooth[1].item() == pytest.approx(math.log(2))
    assert LEARNING.loss(logits, tags, class_weights_C=torch.tensor([1.0, 3.0]))[1].item() == pytest.approx(
        3 * math.log(2)
    )


def test_distillation_is_the_divergence_of_the_real_tokens_times_the_square_of_the_temperature() -> None:
    teacher, student = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    teacher[0, 0, 0] = 2 * math.log(3)  # softened by 2: 3/4 and 1/4
    student[0, 1, 0] = 50.0  # padding
    found = LEARNING.distilled(student, teacher, torch.tensor([[1, 0]]), temperature=2.0)
    assert found.tolist() == pytest.approx([4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))])
    assert LEARNING.distilled(teacher, teacher, torch.tensor([[1, 1]]), temperature=2.0).tolist() == [0.0]


def test_an_epoch_is_scored_by_the_spans_of_its_tokens_and_rows_without_a_tag_are_passed_by() -> None:
    targets = [np.array([-1, 1, 2, 0, 3, -1]), np.array([-1, -1])]
    logits = [np.eye(5)[[4, 1, 2, 0, 1, 4]], np.eye(5)[[1, 2]]]
    found = LEARNING.score(targets, logits)
    # of a person and a place the person is found, and the place is given as a person
    assert found == {"entity_f1": 0.5, "type_f1": pytest.approx((2 / 3) / 2), "bounds_f1": 1.0, "exact_match": 0.0}


def test_the_head_has_a_number_for_each_tag_of_each_token() -> None:
    assert LEARNING.head(SPACE) == Head("token", 5)
    assert LEARNING.guess(SPACE) == pytest.approx(math.log(5))


# the decoding


def test_an_inside_that_has_no_begin_is_never_given_and_a_span_is_not_cut_for_it() -> None:
    scores = np.array([[0.6, 0.4, 0.0], [0.2, 0.1, 0.7]])  # alone: O, I; B, I adds up to more than O, O
    assert decoded(scores).tolist() == [1, 2]
    assert decoded(np.array([[3.0, 0.4, 0.0], [0.2, 0.1, 0.7]])).tolist() == [0, 0]
    assert decoded(np.array([[0.0, 0.1, 5.0]])).tolist() == [1]


def can_be(path: tuple[int, ...]) -> bool:
    """Whether each I stands behind B or I of its type."""
    return all(tag == 0 or tag % 2 or before in (tag, tag - 1) for before, tag in itertools.pairwise((0, *path)))


def test_the_tags_have_the_largest_sum_of_all_that_can_be() -> None:
    draw = np.random.default_rng(5)
    for length in (1, 2, 3, 4) * 10:
        scores = draw.normal(size=(length, 5))
        paths = [path for path in itertools.product(range(5), repeat=length) if can_be(path)]
        best = max(paths, key=lambda path: sum(scores[at, tag] for at, tag in enumerate(path)))
        assert tuple(decoded(scores)) == best


# the answers


def outputs(*rows: list[tuple[int, int, int, float]]) -> Outputs:
    """Of each token its start, its end, its likeliest tag and that tag's probability; the others share the rest."""
    tokens = [token for row in rows for token in row]
    values = np.array([[sure if at == tag else (1 - sure) / 4 for at in range(5)] for *_, tag, sure in tokens])
    characters = np.array([token[:2] for token in tokens], dtype=np.int64).reshape(-1, 2)
    return Outputs(values.reshape(-1, 5).astype(np.float32), np.cumsum([0, *map(len, rows)]), characters)


FOUND = outputs(
    [(0, 0, 4, 0.9), (0, 3, 1, 0.8), (4, 8, 2, 0.9), (8, 12, 2, 0.7), (13, 18, 0, 0.99), (0, 0, 3, 0.9)],
    [],
    [(0, 4, 0, 0.6)],
)
ANSWERED = ['[[0,12,"person"]]', "[]", "[]"]


def test_sub_words_and_special_tokens_make_the_spans_of_their_characters() -> None:
    assert ANSWERS.answers(FOUND, SPACE) == ANSWERED
    assert ANSWERS.size(SPACE) == 5


def test_an_answer_is_as_sure_as_its_weakest_tag() -> None:
    assert ANSWERS.confidence is not None
    assert ANSWERS.confidence(FOUND, ANSWERED, SPACE).tolist() == pytest.approx([0.7, 1.0, 0.6])
    assert ANSWERS.confidence(FOUND, ["[]", "[]", "[]"], SPACE)[0] == pytest.approx((1 - 0.9) / 4)


def test_the_loss_of_a_row_is_the_mean_over_its_tokens() -> None:
    found = ANSWERS.losses(['[[0,12,"person"]]', "[]", '[[0,4,"place"]]'], FOUND, SPACE)
    sure = [0.8, 0.9, 0.7, 0.99]
    assert found.tolist() == pytest.approx([-sum(map(math.log, sure)) / 4, 0.0, -math.log(0.1)], rel=1e-5)
    with pytest.raises(ValueError, match="a row has a span of the type 'event', which no training row has"):
        ANSWERS.losses(['[[0,3,"event"]]', "[]", "[]"], FOUND, SPACE)


def test_outputs_that_are_equal_do_not_diverge() -> None:
    assert ANSWERS.divergence(FOUND, FOUND) == 0.0
    assert ANSWERS.divergence(outputs([]), outputs([])) == 0.0
    one, other = Outputs(np.array([[0.5, 0.5]])), Outputs(np.array([[0.25, 0.75]]))
    assert ANSWERS.divergence(one, other) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))


def test_a_user_gets_each_span_with_its_text_and_probability() -> None:
    record = ANSWERS.record(FOUND, 0, "Ada Lovelace wrote", SPACE)
    assert record == {
        "spans": [{"start": 0, "end": 12, "type": "person", "text": "Ada Lovelace", "probability": pytest.approx(0.7)}]
    }
    assert json.loads(json.dumps(record)) == record
    assert ANSWERS.shown(record) == "person: Ada Lovelace (0.7000)"
    assert ANSWERS.shown(ANSWERS.record(FOUND, 1, "", SPACE)) == "-"
    assert ANSWERS.shown(ANSWERS.nothing) == "null"


# the baseline


def test_words_and_their_shapes_are_what_the_baseline_sees() -> None:
    assert words_of("fit_2d(Ada) 東京") == [(0, 6), (6, 7), (7, 10), (10, 11), (12, 13), (13, 14)]
    assert words_of("हिन्दी में") == [(0, 6), (7, 10)]
    first, *_ = features_of("fit_2d (", [(0, 6), (7, 8)])
    assert {"w=fit_2d", "s=x_dx", "w+1=(", "w-1=<edge>", "e2=2d"} <= {*first}


def test_the_baseline_learns_what_stands_before_a_name_and_is_the_same_when_opened_again() -> None:
    params = SimpleNamespace(baseline=SimpleNamespace(inverse_regularization=10.0), seed=3)
    names = ["Ada", "Bo", "Cy", "Di", "Ed", "Flo"]
    rows = [(f"Dear {name}, hello", f'[[5,{5 + len(name)},"person"]]') for name in names]
    rows += [(f"Off to {name} now", f'[[7,{7 + len(name)},"place"]]') for name in names]
    texts, targets = zip(*rows, strict=True)
    model = BASELINE.fit(texts, targets, SPACE, params.baseline, params.seed)
    assert model.weights["coefficients"].shape == (5, len(model.features))
    found = BASELINE.opened(model)(["Dear Gus, hello", "", "Off to Gus now"])
    assert ANSWERS.answers(found, SPACE) == ['[[5,8,"person"]]', "[]", '[[7,10,"place"]]']
    assert found.values.sum(1) == pytest.approx(1.0)
    assert found.values[:, [2, 4]].max() == 0  # no name has a second word, so none can be inside
    again = BASELINE.fit(texts, targets, SPACE, params.baseline, params.seed)
    assert again.features == model.features
    assert np.array_equal(again.weights["coefficients"], model.weights["coefficients"])


def test_spans_stand_in_the_text_as_it_was_asked() -> None:
    asked, clean = "by <b>Ada\u200b</b> &amp; Bo", "by Ada & Bo"
    found = {"spans": [{"start": 3, "end": 6, "type": "person", "text": "Ada", "probability": 0.9}]}
    (span,) = ANSWERS.placed(found, clean, asked)["spans"]
    assert (span["start"], span["end"]) == (6, 9)
    assert asked[span["start"] : span["end"]] == span["text"] == "Ada"
    assert ANSWERS.placed(found, clean, clean) == found
    (lost,) = ANSWERS.placed(found, clean, "quite another text")["spans"]
    assert (lost["start"], lost["end"], lost["text"]) == (None, None, "Ada")


def test_words_without_a_span_and_words_with_spans_make_one_text() -> None:
    words = '["Ada", "Lovelace", "wrote", "to", "Babbage"]'
    assert read(words, "[]") == RawRow("Ada Lovelace wrote to Babbage", "[]", "a:1", "test", "a")
    assert read(words, ADA) == RawRow("Ada Lovelace wrote to Babbage", ADA, "a:1", "test", "a")
