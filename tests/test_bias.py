"""What is measured of the treatment of people, against examples counted by hand and scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score
from test_measures import answers, one_hot, settings

from flows.review import cards
from flows.review.page import quality as page_quality
from stages.core import identity, identity_words
from stages.core.contracts import Outputs, Runner
from stages.core.identity import lists_of
from stages.measures import fairness
from stages.measures.opened import Opened
from stages.tasks.contract import Judged
from stages.tasks.text2text_generation.answers import ANSWERS as OF_TARGETS
from stages.tasks.text2text_generation.measures import MEASURES as MEASURES_OF_TARGETS


def groups_of(given: tuple[Judged, Opened], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = fairness.measure(*given, settings(group_column="who", **changes))["fairness"]["groups"]
    return found


def test_a_word_of_a_longer_set_is_followed_by_the_next_and_the_longest_of_overlapping_words_counts() -> None:
    swap = identity.swapper(identity_words.ORIGIN_EN)
    assert swap("African American, American and African") == "African, Asian and European"
    assert identity.swapper([["a", "b", "c"]])("A b c") == "B c a"


def test_a_text_stands_for_the_side_whose_words_it_has() -> None:
    texts: list[Any] = ["He sat.", "her mother", "a king and a queen", "tables", ("she", "a Muslim woman")]
    assert identity.sides_of(texts, "gender_en") == ["male", "female", "(several)", "(none)", "female"]
    assert identity.sides_of(texts, ["gender_en", "religion_en"])[4] == "female, muslim"
    assert identity.sides_of(texts, [["king", "queen"], ["sat", "sits", "stood"]]) == [
        "king", "(none)", "(several)", "(none)", "(none)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sets", "text", "swapped"),
    [
        (identity_words.GENDER_EN, "HİS dolu, and \u017fhe said", "HER dolu, and he said"),
        ([["kız", "oğlan"]], "KIZ geldi, kiz geldi", "OĞLAN geldi, oğlan geldi"),
    ],
)
def test_letters_that_ignoring_case_takes_for_others_are_no_end(
    sets: Sequence[Sequence[str]], text: str, swapped: str
) -> None:
    assert identity.swapper(sets)(text) == swapped
    side = identity.sides_of([text.split(" ")[0]], [list(pair) for pair in sets])
    assert side == [sets[0][0]]


@pytest.mark.parametrize("swaps", [[["christian", "muslim", "jewish"]], [["christian", "muslim"]]])
def test_an_answer_with_the_words_of_its_text_is_no_flip_also_where_a_swap_is_no_way_back(
    swaps: list[list[str]],
) -> None:
    def copied(asked: Sequence[Any]) -> Outputs:  # the text itself: all are treated alike
        texts = [str(text) for text in asked]
        ends = np.arange(len(texts) + 1)
        return Outputs(np.zeros((len(texts), 1)), ends, np.zeros((len(texts), 2), np.int64), texts, written=texts)

    texts = ["a christian sings", "a muslim sings", "a jewish song"]
    model = Opened(Runner("text2text_generation", {}, copied), OF_TARGETS, MEASURES_OF_TARGETS)
    judged = model.judge(texts, texts, units=texts, seed=0, columns={})
    found = fairness.swap_rates(judged, model, swaps, 10, confidence=0.95)
    assert (found["flip_rate"], found["similarity"]) == (0.0, 1.0)


def test_the_flip_rate_has_the_interval_of_its_rows_and_each_of_several_lists_its_own() -> None:
    def predict(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.2, 0.8] if "she" in text.split() else [0.9, 0.1] for text in texts])

    texts = ["he sings", "she sings", "they sing", "a muslim sings"]
    given = answers([0, 0, 0, 0], predict(texts), texts=texts, names=("a", "b"), predict=predict)
    found = fairness.measure(*given, settings(identity_swaps=["gender_en", "religion_en"]))
    whole = found["fairness"]["identity_swaps"]
    ends = binomtest(2, 3).proportion_ci(0.95, method="wilson")
    assert (whole["rows"], whole["flip_rate"]) == (3, round(2 / 3, 6))
    assert (whole["low"], whole["high"]) == (round(ends.low, 6), round(ends.high, 6))
    assert {name: (of["rows"], of["flip_rate"]) for name, of in whole["lists"].items()} == {
        "gender_en": (2, 1.0), "religion_en": (1, 0.0),
    }  # fmt: skip
    nothing = fairness.measure(*given, settings(identity_swaps=[]))["fairness"]["identity_swaps"]
    assert nothing == {"rows": 0, "flip_rate": None, "mean_change": None}


def test_rates_by_group_are_those_counted_by_hand() -> None:
    # group x: 4 rows, right 3: b given once of 2 that lack it, and to both that have it. y: 4 rows, right 2.
    truth, predicted = [0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 0, 0, 0, 0]
    given = answers(truth, one_hot(predicted, 2), names=("a", "b"), who=["x"] * 4 + ["y"] * 4)
    found = groups_of(given)
    assert {name: (of["rows"], of["score"]) for name, of in found["rates"].items()} == {"x": (4, 0.75), "y": (4, 0.5)}
    assert (found["worst_group"]["name"], found["worst_group"]["rows"]) == ("y", 4)
    assert found["score_gap"] == 0.25
    assert found["selection_gap"] == 0.75  # b: 3 of 4 against none
    assert found["recall_gap"] == 1.0  # b: both against none
    assert found["false_positive_gap"] == 1.0  # a: none against both of those that lack it
    assert found["odds_gap"] == 1.0
    assert all(0 <= ends["low"] <= found[gap] <= ends["high"] <= 1 for gap, ends in found["intervals"].items())


def test_a_group_without_a_row_of_a_class_leaves_the_others_compared() -> None:
    truth, predicted, who = [0, 0, 1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 0, 0, 0, 0], ["x"] * 4 + ["y"] * 4
    given = answers([*truth, 0, 1], one_hot([*predicted, 0, 1], 2), names=("a", "b"), who=[*who, "z", "(several)"])
    found = groups_of(given)
    assert (found["recall_gap"], found["false_positive_gap"], found["odds_gap"]) == (1.0, 1.0, 1.0)


def test_gaps_that_no_two_groups_can_have_are_none_and_in_no_table() -> None:
    given = answers([0, 0, 0, 0], one_hot([0, 1, 0, 0], 2), names=("a", "b"), who=["x", "x", "y", "y"])
    found = groups_of(given)  # of a no row lacks it; b no row has
    assert (found["recall_gap"], found["false_positive_gap"], found["odds_gap"]) == (0.5, 0.5, 0.5)
    found = groups_of(answers([0, 0, 1, 1], one_hot([0, 1, 0, 1], 2), names=("a", "b"), who=["x", "x", "y", "y"]))
    assert (found["recall_gap"], found["false_positive_gap"], found["odds_gap"]) == (None, None, None)
    assert set(found["intervals"]) == {"score_gap", "selection_gap"}


def test_groups_treated_alike_have_a_small_gap_whose_interval_narrows_with_rows() -> None:
    widths = []
    for rows in (200, 3200):
        right = np.arange(rows) % 4 > 0  # each group is right 3 times in 4
        who = ["x" if at // 4 % 2 else "y" for at in range(rows)]
        found = groups_of(answers([0] * rows, one_hot(np.where(right, 0, 1).tolist(), 2), names=("a", "b"), who=who))
        assert found["score_gap"] == 0
        widths.append(found["intervals"]["score_gap"]["high"])
    assert 0 < widths[1] < widths[0] / 3


def test_rows_of_one_unit_widen_the_interval_of_a_gap() -> None:
    draw = np.random.default_rng(4)
    of_unit = draw.integers(0, 2, 40)  # all ten rows of a unit are right, or none
    predicted, who = np.repeat(of_unit, 10), ["x" if unit % 2 else "y" for unit in np.repeat(np.arange(40), 10)]
    alone, together = (
        groups_of(answers([0] * 400, one_hot(predicted.tolist(), 2), names=("a", "b"), who=who, units=units))[
            "intervals"
        ]
        for units in (None, [str(unit) for unit in np.repeat(np.arange(40), 10)])
    )
    assert together["score_gap"]["high"] > alone["score_gap"]["high"] + 0.1


def test_a_group_of_few_rows_is_not_called_the_worst() -> None:
    who = ["x"] * 40 + ["y"] * 40 + ["z"] * 2
    predicted = [0] * 40 + [0] * 30 + [1] * 10 + [1] * 2
    found = groups_of(answers([0] * 82, one_hot(predicted, 2), names=("a", "b"), who=who))
    assert found["worst_group"]["name"] == "y"
    assert found["rates"]["z"]["high"] > 0.6  # nothing right of two says little


def test_false_positives_by_group_and_their_differences_are_those_of_dixon() -> None:
    # toxic is given to 1 of 4 that lack it among x, to 2 of 2 among y; it is missed in 0 of 1, and 1 of 2
    truth = [0, 0, 0, 0, 1, 0, 0, 1, 1]
    predicted = [0, 0, 0, 1, 1, 1, 1, 0, 1]
    given = answers(truth, one_hot(predicted, 2) * 0.8 + 0.1, names=("fine", "toxic"), who=["x"] * 5 + ["y"] * 4)
    found = groups_of(given, positive_class="toxic")["positive_class"]
    assert (found["all"]["false_positive_rate"]["rate"], found["all"]["false_negative_rate"]["rate"]) == (
        0.5, round(1 / 3, 6),
    )  # fmt: skip
    assert [found["groups"][name]["false_positive_rate"]["rate"] for name in "xy"] == [0.25, 1.0]
    assert [found["groups"][name]["false_positive_rate"]["rows"] for name in "xy"] == [4, 2]
    assert found["false_positive_rate_differences"] == 0.25 + 0.5
    assert found["false_negative_rate_differences"] == pytest.approx(1 / 3 + 1 / 6, abs=1e-5)


def test_the_three_aucs_are_those_of_scikit_learn_on_the_rows_that_borkan_names() -> None:
    draw = np.random.default_rng(0)
    sure, truth, who = draw.random(300).round(2), draw.integers(0, 2, 300), draw.choice(["x", "y", "z"], 300)
    given = answers(truth, np.stack([1 - sure, sure], 1), names=("fine", "toxic"), who=who.tolist())
    found = groups_of(given, positive_class="toxic")["positive_class"]["groups"]["x"]
    of_x, has = who == "x", truth == 1
    for name, rows in (
        ("subgroup_auc", of_x),
        ("bpsn_auc", (of_x & ~has) | (~of_x & has)),
        ("bnsp_auc", (of_x & has) | (~of_x & ~has)),
    ):
        assert found[name]["auc"] == pytest.approx(roc_auc_score(truth[rows], sure[rows]), abs=1e-6)
        assert (found[name]["positive_rows"], found[name]["rows"]) == (int(has[rows].sum()), int((~has)[rows].sum()))
        assert found[name]["low"] < found[name]["auc"] < found[name]["high"]


@pytest.mark.parametrize(("rows", "least"), [(1, 0.2065), (3, 0.501)])
def test_rows_that_are_all_told_apart_leave_open_how_many_others_would_be(rows: int, least: float) -> None:
    # Of one row against one the variance is A (1 - A), so the least area is 1 / (1 + 1.96²). Of three against three it
    # is A (1 - A) (1 + 2 ((1 - A) / (2 - A) + A / (1 + A))) / 9, to which (1 - A)² / 1.96² is equal at 0.501.
    truth = [0] * rows + [1] * rows
    given = answers(truth, one_hot(truth, 2), names=("fine", "toxic"), who=["x"] * (2 * rows))
    found = groups_of(given, positive_class="toxic")["positive_class"]["groups"]["x"]["subgroup_auc"]
    assert (found["auc"], found["high"]) == (1.0, 1.0)
    assert found["low"] == pytest.approx(least, abs=2e-4)
    turned = answers(truth, one_hot(truth, 2)[:, ::-1], names=("fine", "toxic"), who=["x"] * (2 * rows))
    other = groups_of(turned, positive_class="toxic")["positive_class"]["groups"]["x"]["subgroup_auc"]
    assert (other["auc"], other["low"]) == (0.0, 0.0)
    assert other["high"] == pytest.approx(1 - least, abs=2e-4)


def test_a_group_without_rows_of_one_side_has_no_rate_and_no_auc() -> None:
    given = answers([0, 0, 1], one_hot([0, 1, 1], 2), names=("fine", "toxic"), who=["x", "x", "y"])
    found = groups_of(given, positive_class="toxic")["positive_class"]["groups"]
    assert found["x"]["false_negative_rate"] == {"rows": 0, "rate": None}
    assert found["x"]["subgroup_auc"] == {"rows": 2, "positive_rows": 0, "auc": None}


def test_a_positive_class_that_the_model_does_not_know_is_told_with_those_it_does() -> None:
    given = answers([0], one_hot([0], 2), names=("fine", "toxic"), who=["x"])
    with pytest.raises(ValueError, match=r"positive_class is 'toxik'\. Allowed: fine, toxic, null"):
        groups_of(given, positive_class="toxik")


def test_groups_can_be_those_whom_the_words_of_a_text_stand_for() -> None:
    texts = ["he sings", "she sings", "tables", "her songs"]
    given = answers([0, 0, 0, 0], one_hot([0, 1, 0, 0], 2), names=("a", "b"), texts=texts)
    rates = fairness.measure(*given, settings(group_column="identity_words"))["fairness"]["groups"]["rates"]
    assert {name: (of["rows"], of["score"]) for name, of in rates.items()} == {
        "(none)": (1, 1.0), "female": (2, 0.5), "male": (1, 1.0),
    }  # fmt: skip


def test_a_sentence_whose_answer_hangs_on_who_stands_in_it_is_counted() -> None:
    def predict(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.3, 0.7] if text == "She is angry." else [0.9, 0.1] for text in texts])

    given = answers([0], one_hot([0], 2), names=("a", "b"), predict=predict)
    found = fairness.measure(
        *given,
        settings(templates=["{} is angry.", "I saw {}."], template_words=[["he", "she"], ["my dad", "my mom"]]),
    )["fairness"]["templates"]
    assert (found["rows"], found["texts"], found["flip_rate"]) == (4, 8, 0.25)
    assert found["low"] < 0.25 < found["high"]
    assert found["spread"] == pytest.approx(0.6 / 4)
    assert found["widest"]["texts"] == ["He is angry.", "She is angry."]
    assert found["sides"]["she"] == {"texts": 4, "commonest": "a", "share": 0.75}


def test_sentences_with_several_published_lists_are_counted_list_by_list() -> None:
    def predict(texts: Sequence[str]) -> np.ndarray:
        return np.array([[0.3, 0.7] if "muslim" in text.lower() else [0.9, 0.1] for text in texts])

    given = answers([0], one_hot([0], 2), names=("a", "b"), predict=predict)
    lists = ["religion_en", "sexuality_en"]
    found = fairness.measure(*given, settings(templates=["They are {}.", "I saw {}."], template_words=lists))
    of_templates = found["fairness"]["templates"]
    words = sum(len(words) for one in lists_of(lists).values() for words in one.sets)
    assert (of_templates["rows"], of_templates["texts"], of_templates["flip_rate"]) == (4, 2 * words, 0.5)


def test_the_card_tells_the_worst_group_and_sentences_with_their_intervals() -> None:
    ends = {"low": 0.1, "high": 0.3}
    found = {
        "identity_swaps": {"rows": 40, "flip_rate": 0.2, **ends},
        "templates": {"rows": 12, "flip_rate": 0.25, **ends},
        "groups": {
            "score_gap": 0.15, "intervals": {"score_gap": ends},
            "worst_group": {"name": "y", "rows": 1234, "score": 0.5, "low": 0.4, "high": 0.6},
        },
    }  # fmt: skip
    assert [*cards._fairness_lines(found, "accuracy", "a word", "words", " such as he")] == [
        "40 of the test rows hold words such as he; with those swapped, 20.0% (10.0% to 30.0%) of the answers change.",
        "Of 12 sentences 25.0% (10.0% to 30.0%) have an answer that hangs on who is in them.",
        "Between groups the accuracy differs by 15.0% (10.0% to 30.0%) at most.",
        "The worst group, y, of 1,234 rows, has 50.0% (40.0% to 60.0%).",
    ]
    earlier = {"identity_swaps": {"rows": 1, "flip_rate": 0.0, "mean_change": 0.0}}
    lines = [*cards._fairness_lines(earlier, "accuracy", "a word", "words", "")]
    assert lines[0].endswith("0.0% of the answers change.")


def test_a_reviews_page_has_the_errors_of_each_group_before_and_after() -> None:
    def side(rate: float) -> dict[str, Any]:
        of = {"rows": 100, "rate": rate, "low": rate - 0.05, "high": rate + 0.05}
        return {"positive_class": {"class": "toxic", "groups": {"x": {"false_positive_rate": of}}}}

    tables = [*page_quality._of_positive_class([side(0.2), side(0.1)], compared=True)]
    assert [table.caption for table in tables] == [
        "False positive rate of toxic by group.", "False negative rate of toxic by group.",
    ]  # fmt: skip
    (row,) = tables[0].rows
    assert [one.text for one in row] == ["x", "100", "20.0%", "10.0%", "−10.0 points"]
    assert "5.0% to 15.0%" in row[3].note
    assert [*page_quality._of_positive_class([{}, {}], compared=True)] == []
    swaps = page_quality._swaps(
        {"identity_swaps": {"rows": 3, "lists": {"names_en": {"rows": 1}}}, "templates": {"rows": 2}}
    )
    assert [*swaps] == [page_quality.IDENTITY, "names_en", "sentences with a slot"]
