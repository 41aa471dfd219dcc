"""Measures of written texts: hand-counted, and held against sacrebleu and rouge-score to the last digit."""

from __future__ import annotations

import ast
import math
import random
import unicodedata
from collections.abc import Sequence

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from stages.measures.counted import counted
from stages.measures.paired import bootstrap, measured
from stages.tasks.shared import overlap, rouge
from stages.tasks.shared.written import canonical, copied, in_a_line, repetition
from stages.tasks.text2text_generation.measures import MEASURES
from stages.tasks.text2text_generation.scores import score

TEXT = "the a cat sat on mat Hund Katze läuft über . , ! ? 12 3.5 日本語 x don't U.S. (oh)"
WORDS = TEXT.split()
ROUGE = ("rouge1", "rouge2", "rougeL")


def text(draw: random.Random, most: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(0, most)))


def corpora(count: int, most: int) -> list[tuple[list[str], list[str]]]:
    draw = random.Random(7)
    sizes = [draw.randint(1, 6) for _ in range(count)]
    return [tuple([text(draw, most) for _ in range(size)] for _ in range(2)) for size in sizes]  # type: ignore[misc]


@pytest.mark.parametrize("most", [2, 6, 20])
def test_bleu_and_chrf_of_summed_counts_are_those_of_sacrebleu(most: int) -> None:
    for truths, answers in corpora(100, most):
        sums = overlap.counts(truths, answers).sum(0)[None]
        assert 100 * overlap.bleu(sums)[0] == pytest.approx(BLEU().corpus_score(answers, [truths]).score, abs=1e-10)
        assert 100 * overlap.chrf(sums)[0] == pytest.approx(CHRF().corpus_score(answers, [truths]).score, abs=1e-10)


def test_rouge_is_that_of_rouge_score_to_the_last_digit() -> None:
    scorer = RougeScorer(list(ROUGE), use_stemmer=False)
    for truths, answers in corpora(150, 25):
        for truth, answer in zip(truths, answers, strict=True):
            theirs = scorer.score(truth, answer)
            assert rouge.rouge(truth, answer) == tuple(theirs[name].fmeasure for name in ROUGE)


def test_measures_of_a_resample_are_those_of_the_rows_drawn() -> None:
    truths, answers = corpora(1, 12)[0]
    truths, answers = truths * 3, answers * 2 + truths
    drawn = [0, 0, len(truths) - 1]
    times_N = np.bincount(drawn, minlength=len(truths))
    sums = (times_N @ MEASURES.counts(truths, answers).toarray())[None]
    alone = score([truths[i] for i in drawn], [answers[i] for i in drawn])
    assert {one.name: float(one.value(sums)[0]) for one in MEASURES.measures} == pytest.approx(alone, abs=1e-12)


def test_the_measures_of_a_hand_counted_example() -> None:
    found = score(["the cat sat", "a dog"], ["the cat", "a dog"])
    # ROUGE-1: precision 1, recall 2/3, so 0.8; and 1. ROUGE-2: precision 1, recall 1/2, so 2/3; and 1.
    assert found["rouge1"] == pytest.approx(0.9)
    assert found["rouge2"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["rouge_l"] == pytest.approx(0.9)
    assert found["exact_match"] == 0.5
    # 4 of 4 words, 2 of 2 pairs, no longer n-grams: BLEU is 0 where an order cannot be counted.
    assert found["bleu"] == 0.0
    assert score(["a b c d e"], ["a b c d"])["bleu"] == pytest.approx(math.exp(1 - 5 / 4))


def test_the_signatures_name_the_settings_and_versions() -> None:
    found = overlap.signatures()
    assert found["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert found["chrf"].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert found["rouge"] == "rouge-score:0.1.2|f1|stemmer:no|mean of rows"


def test_an_interval_by_documents_is_wider_than_one_by_rows_where_documents_differ() -> None:
    truths = [f"row {i} of a document with words" for i in range(60)]
    answers = [truth if i < 30 else "nothing of it" for i, truth in enumerate(truths)]
    widths = []
    for units in ([str(i) for i in range(60)], [str(i // 15) for i in range(60)]):
        rows = counted(MEASURES, MEASURES.measure("chrf"), truths, answers, units)
        ends = bootstrap(rows, MEASURES.measure("chrf"), confidence=0.95, resamples=300, seed=1)
        assert ends.low < measured(rows, MEASURES.measure("chrf")) < ends.high
        widths.append(ends.high - ends.low)
    assert widths[1] > 1.5 * widths[0]


def test_rouge_is_left_out_where_it_sees_no_words() -> None:
    japanese, english = ["日本語です。", "猫がいる。"], ["a cat", "a dog"]
    assert [one.name for one in MEASURES.of(japanese)] == ["chrf", "bleu", "exact_match"]
    assert [one.name for one in MEASURES.of(english)] == ["chrf", "bleu", "rouge1", "rouge2", "rouge_l", "exact_match"]


@pytest.mark.parametrize(
    ("found", "share"),
    [("", 0.0), ("a b c", 0.0), ("a b c d e", 0.0), ("a b c d a b c d", 1 / 5), ("no no no no no no", 2 / 3)],
)
def test_repetition_is_the_share_of_runs_of_four_words_that_came_before(found: str, share: float) -> None:
    assert repetition(found) == pytest.approx(share)


@pytest.mark.parametrize(
    ("source", "found", "share"),
    [
        ("The cat sat.", "the cat ran", 2 / 3),
        ("x", "", 0.0),
        ("", "a b", 0.0),
        ("a b", "B a!", 1.0),
        ("किताब नई है", "कातिब नाई", 0.0),
    ],
)
def test_copied_is_the_share_of_words_that_the_source_has(source: str, found: str, share: float) -> None:
    assert copied(source, found) == pytest.approx(share)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("  a  b \r\n c\t\n", "a  b\n c"), ("e\u0301", "é"), ("\n \n", ""), ("a\rb", "a\nb")],
)
def test_the_canonical_form_keeps_what_is_inside_and_nothing_at_the_ends(given: str, kept: str) -> None:
    assert canonical(given) == kept
    assert canonical(kept) == kept


def test_a_text_in_a_line_can_be_read_back() -> None:
    assert in_a_line("a\tb\nc\\n") == "a\\tb\\nc\\\\n"
    odd = "".join(map(chr, range(0x3000))) + "ß 🙂"
    (line,) = in_a_line(odd).splitlines()
    assert not any(unicodedata.category(char) == "Cc" for char in line)
    assert ast.literal_eval("'" + line.replace("'", "\\'") + "'") == odd


def test_the_longest_common_subsequence_is_that_of_the_table() -> None:
    def table(one: Sequence[str], other: Sequence[str]) -> int:
        rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
        for i, word in enumerate(one):
            for j, its in enumerate(other):
                rows[i + 1][j + 1] = rows[i][j] + 1 if word == its else max(rows[i][j + 1], rows[i + 1][j])
        return rows[-1][-1]

    draw = random.Random(3)
    for _ in range(200):
        one, other = ([draw.choice("abcd") for _ in range(draw.randint(0, 90))] for _ in range(2))
        assert rouge.longest_common(one, other) == table(one, other)
