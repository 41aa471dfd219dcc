"""Similar texts: how they are read, learned, answered, ranked and measured, by hand and against scipy; and to int8."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import warm_python
from conftest import REPOSITORY
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch.nn import functional

from flows.cli.commands import main
from flows.gate.promotion import decide
from flows.gate.rules import Rules
from flows.review import changes
from flows.review.evidence import Anchor, Results
from flows.review.model_results import on_common_rows
from stages.core.contracts import Head, Outputs, RawRow, RejectedRow
from stages.core.files import read_json
from stages.core.params.file import load_params
from stages.core.paths import MODELS, Paths
from stages.measures.counted import counted
from stages.measures.paired import difference_interval, interval, measured
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks.contract import Judged, TargetError
from stages.tasks.sentence_similarity import scores
from stages.tasks.sentence_similarity.answers import ANSWERS
from stages.tasks.sentence_similarity.baseline import BASELINE, K1, B
from stages.tasks.sentence_similarity.data import DATA
from stages.tasks.sentence_similarity.encoding import ENCODING
from stages.tasks.sentence_similarity.learning import LEARNING, SCALE
from stages.tasks.sentence_similarity.measures import MEASURES
from stages.tasks.sentence_similarity.settings import SETTINGS
from stages.tasks.shared.matched_texts import Found, from_text, pair_of
from stages.tasks.shared.ranking import ranks
from stages.training.rows import read_tokens
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")
NUMBERS, PAIRS = {"targets": "numbers", "low": 0.0, "high": 5.0}, {"targets": "pairs"}


# the targets of the data


def test_a_number_stays_one_and_any_other_text_says_that_the_two_belong_together() -> None:
    cells = [("3.50", "b"), ("b", "b"), (" b ", "b"), ("42", "42"), ("doc-17", "b"), (None, "b")]
    rows = list(DATA.read(RawRow("a", cell, "a:1", text_pair=second) for cell, second in cells))
    targets = [row.label for row in rows if isinstance(row, RawRow)]
    assert targets == ["3.5", pair_of("b"), pair_of("b"), pair_of("42"), pair_of("doc-17"), None]


@pytest.mark.parametrize("cell", ["nan", "inf"])
def test_a_number_that_is_none_is_told_with_its_place(cell: str) -> None:
    (row,) = DATA.read([RawRow("a", cell, "a:1", text_pair="b")])
    assert isinstance(row, RejectedRow)
    assert (row.origin, row.reason) == ("a:1", "bad_target")


def test_rows_of_one_query_are_a_group_where_the_source_has_none() -> None:
    given = (("q", None), ("q ", None), ("r", None), ("q", "own"), (None, None))
    rows = DATA.read(RawRow(text, "1", "a:1", group=group, text_pair="b") for text, group in given)
    one, again, other, own, nothing = (row.group for row in rows if isinstance(row, RawRow))
    assert one == again != other
    assert (own, nothing) == ("own", None)


def test_parameters_that_similarities_do_not_allow_are_named() -> None:
    columns = PARAMS.ingest.columns.model_copy(update={"text_pair": "other", "label": "other"})
    changed = {
        "ingest": PARAMS.ingest.model_copy(update={"columns": columns}),
        "task": PARAMS.task.model_copy(update={"name": "sentence_similarity", "measure": "spearman"}),
        "finetune": PARAMS.finetune.model_copy(update={"class_weights": "balanced", "teachers": 2}),
    }
    told = [line.removeprefix("params.yaml: ") for line in SETTINGS.faults(PARAMS.model_copy(update=changed))]
    assert [line.partition(" is ")[0] for line in told] == [
        "task.measure", "finetune.class_weights", "finetune.teachers", "validate.min_labels", "promotion.max_ece"
    ]  # fmt: skip
    assert "Allowed for them: ndcg_at_10, mrr, recall_at_1, recall_at_10." in told[0]
    assert "ingest.columns.text_pair is null" in next(iter(SETTINGS.faults(PARAMS)))


# the encoding


class Encoded:
    def __init__(self, *ids: int) -> None:
        self.ids = list(ids)


def test_numbers_are_scaled_by_the_training_rows_and_pairs_are_numbered() -> None:
    assert ENCODING.space(["1", "5", "3"]) == {"targets": "numbers", "low": 1.0, "high": 5.0}
    encodings = [(Encoded(1), Encoded(3)), (Encoded(2), Encoded(3))]
    found = ENCODING.targets(["3", None], encodings, [0, 1], {"targets": "numbers", "low": 1, "high": 5})
    assert found[0] == [0.5]
    assert math.isnan(found[1][0])
    assert ENCODING.space([pair_of("a")] * 2) == {"targets": "pairs"}
    # The names of the second texts say that there are three; their tokens that there are two.
    pairs = [(Encoded(5, 6), Encoded(1)), (Encoded(5, 6), Encoded(2)), (Encoded(7), Encoded(1))]
    one, same, other = ENCODING.targets([pair_of("a"), pair_of("b"), pair_of("c")], pairs, [0, 1, 2], PAIRS)
    assert (one[0] == same[0], one[1] == other[1]) == (True, True)
    assert (one[0] == other[0], one[1] == same[1]) == (False, False)
    assert all(float(np.float32(number)) == number for number in (*one, *same, *other))


def test_targets_of_two_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 training rows have a number, and 1 a text"):
        ENCODING.space(["1", "2", pair_of("a")])
    with pytest.raises(ValueError, match="all training rows have the number 7: there is nothing to learn"):
        ENCODING.space(["7", "7"])
    for target, space in ((pair_of("a"), NUMBERS), ("3", PAIRS)):
        with pytest.raises(TargetError, match="unlike the training rows'"):
            ENCODING.targets([target], [(Encoded(1), Encoded(2))], [0], space)
        with pytest.raises(ValueError, match=r"1 rows have (numbers|texts) as targets, and training rows had none"):
            ANSWERS.losses([target], Outputs(np.zeros((1, 2, 3))), space)


# the training


def vectors(*angles: tuple[float, float]) -> torch.Tensor:
    """(B, 2, 2): of each row two vectors of length 1, by their angles in degrees."""
    turned = torch.deg2rad(torch.tensor(angles))
    return torch.stack([turned.cos(), turned.sin()], dim=-1)


def test_numbers_are_learned_as_cosines_and_rows_without_one_add_nothing() -> None:
    found = LEARNING.loss(vectors((0, 60), (0, 90), (10, 10)), torch.tensor([[0.0], [1.0], [math.nan]]))
    assert found.tolist() == pytest.approx([0.25, 1.0, 0.0], abs=1e-6)
    assert LEARNING.head(NUMBERS) == Head("vector", 0)
    with pytest.raises(ValueError, match=r"Allowed for vectors: 0\.0, none"):
        LEARNING.loss(vectors((0, 0)), torch.tensor([[1.0]]), label_smoothing=0.1)


def test_a_query_finds_its_text_among_those_of_the_batch_in_both_directions() -> None:
    batch = vectors((0, 30), (90, 75), (200, 180))
    found = LEARNING.loss(batch, torch.tensor([[1.0, 7.0], [2.0, 8.0], [3.0, 9.0]]))
    cosines = SCALE * batch[:, 0] @ batch[:, 1].T
    own = torch.arange(3)
    expected = (functional.cross_entropy(cosines, own, reduction="none")
                + functional.cross_entropy(cosines.T, own, reduction="none")) / 2  # fmt: skip
    assert torch.allclose(found, expected, atol=1e-6)


def test_texts_that_belong_together_do_not_compete_and_a_repeated_one_counts_once() -> None:
    batch = vectors((0, 30), (90, 75), (200, 180))
    nan = math.nan
    alone = LEARNING.loss(batch[:2], torch.tensor([[1.0, 7.0], [2.0, 8.0]]))
    same_query = torch.cat([batch, batch[:1]])
    same_query[3, 1] = vectors((0, 100))[0, 1]
    # A fourth row has the first one's query and another text; the third has no target.
    found = LEARNING.loss(same_query, torch.tensor([[1.0, 7.0], [2.0, 8.0], [nan, nan], [1.0, 9.0]]))
    first = -(SCALE * batch[:1, 0] @ batch[:2, 1].T).log_softmax(1)[0, 0]
    back = -(SCALE * batch[:1, 1] @ same_query[[0, 1], 0].T).log_softmax(1)[0, 0]
    assert found[0].item() == pytest.approx(float(first + back) / 2, abs=1e-5)
    assert found[2].item() == 0
    twice = LEARNING.loss(torch.cat([batch[:2], batch[1:2]]), torch.tensor([[1.0, 7.0], [2.0, 8.0], [2.0, 8.0]]))
    assert torch.allclose(twice[:2], alone, atol=1e-6)


def test_a_student_with_its_teachers_cosines_loses_nothing_whatever_its_width() -> None:
    teacher, mask = vectors((0, 30), (90, 75), (200, 180)), torch.ones(6, 4)
    wider = functional.pad(teacher, (1, 3))
    assert LEARNING.distilled(wider, teacher, mask, temperature=4.0).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert (LEARNING.distilled(wider.flip(0), teacher, mask, temperature=4.0)[:2] > 0.01).all()


def test_several_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    script = str(REPOSITORY / "tests/whole_batch_run.py")
    forked = f"{warm_python.bin_folder()}/forked"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHON_EXEC": forked}
    elastic = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    for name, more in (("one", []), ("three", elastic)):
        done = subprocess.run(
            [forked, *more, script, str(tmp_path / name)], cwd=REPOSITORY, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    one, three = (load_file(tmp_path / name) for name in ("one", "three"))
    assert all(one[f"{of}.{name}"].abs().max() > 0.01 for of in ("texts", "images") for name in ("gradient", "length"))
    for name, tensor in one.items():
        assert torch.allclose(three[name], tensor, atol=1e-5), name


def test_an_epoch_is_scored_by_the_measure_that_its_targets_have() -> None:
    found = LEARNING.score([[0.1], [0.9], [0.5], [math.nan]], list(vectors((0, 80), (0, 10), (0, 45), (0, 0)).numpy()))
    assert found == {"spearman": pytest.approx(1.0)}
    ranked = LEARNING.score([[1.0, 7.0], [2.0, 8.0]], list(vectors((0, 90), (40, 0)).numpy()))
    assert ranked["mrr"] == pytest.approx((1 / 2 + 1) / 2)
    with pytest.raises(ValueError, match=r"task\.measure is 'spearman'\. Allowed with these targets: ndcg_at_10, mrr"):
        ranked["spearman"]


def test_every_part_knows_the_same_measures() -> None:
    names = [one.name for one in MEASURES.measures]
    assert list(SETTINGS.measures) == names == ["spearman", *scores.MEASURED_RANKS]
    assert [one.name for one in MEASURES.of(["3"])] == ["spearman"]
    assert [one.name for one in MEASURES.of([pair_of("a")])] == list(scores.MEASURED_RANKS)
    assert MEASURES.of([]) == MEASURES.measures


# the answers


def outputs(*angles: tuple[float, float]) -> Outputs:
    """Of pairs of texts whose vectors have those angles; those of the same angle are the same text."""
    numbers = np.array(angles, dtype=np.int64).reshape(-1, 2)
    return Outputs(vectors(*angles).numpy().astype(np.float32), numbers=numbers)


def test_an_answer_is_the_cosine_and_among_pairs_the_rank() -> None:
    asked = outputs((0, 60), (0, 90), (0, 0))
    assert ANSWERS.answers(asked, NUMBERS) == ["0.5", "0", "1"]
    # One query, whose texts do not compete; then three queries, of which the first finds its text behind two others.
    assert [from_text(one).rank for one in ANSWERS.answers(asked, PAIRS)] == [1, 1, 1]
    found = ANSWERS.answers(outputs((0, 60), (1, 40), (2, 20)), PAIRS)
    assert found == ["0.5, rank 3", "0.78, rank 2", "0.95, rank 1"]
    assert ANSWERS.losses(["5", "0", "2.5"], asked, NUMBERS).tolist() == pytest.approx([0.25, 0.0, 0.25], abs=1e-6)
    assert ANSWERS.losses([pair_of("a")] * 3, asked, PAIRS).tolist() == pytest.approx([0.5, 1.0, 0.0], abs=1e-6)
    assert ANSWERS.answers(Outputs(np.empty((0, 1, 2))), PAIRS) == []


def test_a_model_to_which_all_texts_are_the_same_finds_none() -> None:
    numbers = np.arange(100).reshape(50, 2)
    collapsed = Outputs(np.full((50, 2, 1), 1.0, dtype=np.float32), numbers=numbers)
    assert {from_text(one).rank for one in ANSWERS.answers(collapsed, PAIRS)} == {26}
    assert {from_text(one).rank for one in ANSWERS.answers(collapsed.of_rows([3, 7, 9]), PAIRS)} == {2}


def test_a_pair_is_answered_with_its_similarity_and_a_text_with_its_vector() -> None:
    pair = ANSWERS.record(outputs((0, 60)), 0, "text", NUMBERS)
    assert pair == {"similarity": 0.5}
    text = ANSWERS.record(Outputs(np.array([[0.6, -0.8]], dtype=np.float32)), 0, "text", NUMBERS)
    assert text == {"vector": [0.6, -0.8]}
    assert [ANSWERS.shown(one) for one in (pair, text, ANSWERS.nothing)] == ["0.5000", "0.6 -0.8", "null"]


def test_vectors_diverge_by_what_their_cosine_lacks() -> None:
    assert ANSWERS.divergence(outputs((0, 0)), outputs((0, 60))) == pytest.approx(0.25)
    assert ANSWERS.divergence(outputs((0, 9)), outputs((0, 9))) == 0
    assert ANSWERS.agreement is not None
    assert ANSWERS.agreement(outputs((0, 60), (0, 60)), outputs((0, 62), (0, 70))) == 0.5


# the ranks and the measures


def test_ranks_are_among_distinct_texts_and_ties_are_split() -> None:
    first = np.array([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    second = np.array([[0.5, 0], [0.9, 0], [0.9, 0], [0, 0.2]])
    # The first two rows are of one query; the third row's text is the second's, so it counts once.
    assert ranks(first, second, np.array([0, 0, 1, 2]), np.array([5, 6, 6, 7])).tolist() == [1, 1, 3, 1]
    apart = ranks(first, second, np.array([0, 3, 1, 2]), np.array([5, 6, 6, 7]))
    assert apart.tolist() == [2, 1, 3, 1]  # to the third row one other text is nearer than its own, and one as far
    equal = ranks(np.ones((4, 1)), np.ones((4, 1)), np.arange(4), np.arange(4))
    assert equal.tolist() == [3, 3, 3, 3]
    broken = ranks(np.full((4, 1), np.nan), np.ones((4, 1)), np.arange(4), np.arange(4))
    assert broken.tolist() == [4, 4, 4, 4]  # what is no number is near to nothing


def test_the_measures_of_ranks_by_hand() -> None:
    truths, answers = [pair_of(name) for name in "abcd"], [Found(0.5, rank).as_text() for rank in (1, 3, 10, 11)]
    gain = [1.0, 0.5, 1 / math.log2(11), 0.0]
    assert MEASURES.scores(truths, answers) == pytest.approx(gain)
    expected = {
        "ndcg_at_10": sum(gain) / 4,
        "mrr": (1 + 1 / 3 + 0.1 + 1 / 11) / 4,
        "recall_at_1": 0.25,
        "recall_at_10": 0.75,
    }
    assert ANSWERS.score(truths, answers, PAIRS) == pytest.approx(expected)
    for name, value in expected.items():
        measure = MEASURES.measure(name)
        rows = counted(MEASURES, measure, truths, answers, list("abcd"))
        assert measured(rows, measure) == pytest.approx(value)
    of = judged(truths, answers)
    assert MEASURES.report(of) == {"median_rank": 6.5}
    assert MEASURES.per_row(of)["rank"].tolist() == [1, 3, 10, 11]
    assert MEASURES.tables(of)["recall"].rows[:3] == [[1, 0.25], [2, 0.25], [3, 0.5]]


def judged(truths: list[str], answers: list[str]) -> Judged:
    rows = len(truths)
    return Judged(
        texts=[("", "")] * rows, truths=truths, answers=answers, outputs=Outputs(np.zeros((rows, 1, 2))),
        confidence_N=None, losses_N=np.zeros(rows), scores_N=MEASURES.scores(truths, answers), units=[""] * rows,
        space=PAIRS, seed=0,
    )  # fmt: skip


def graded(rows: int = 200) -> tuple[list[str], list[str]]:
    """Numbers with many ties, and similarities that go with them."""
    draw = np.random.default_rng(0)
    truths = draw.integers(0, 6, rows)
    given = np.round(truths / 5 + draw.normal(scale=0.3, size=rows), 1)
    return [str(number) for number in truths], [Found(float(number)).as_text() for number in given]


def test_spearman_is_that_of_scipy_also_of_resampled_rows() -> None:
    truths, answers = graded()
    x, y = np.array(truths, dtype=float), np.array(answers, dtype=float)
    measure = MEASURES.measure("spearman")
    rows = counted(MEASURES, measure, truths, answers, [str(row) for row in range(200)])
    assert measured(rows, measure) == pytest.approx(spearmanr(x, y).statistic)
    assert ANSWERS.score(truths, answers, NUMBERS)["spearman"] == pytest.approx(spearmanr(x, y).statistic)
    draw = np.random.default_rng(1)
    drawn = draw.integers(0, 200, size=(20, 200))
    sums = np.stack([np.asarray(rows.counts[some].sum(0)).ravel() for some in drawn])
    expected = [spearmanr(x[some], y[some]).statistic for some in drawn]
    assert measure.value(sums).tolist() == pytest.approx(expected)


def test_the_interval_of_spearman_is_that_of_rows_drawn_again() -> None:
    truths, answers = graded()
    x, y = np.array(truths, dtype=float), np.array(answers, dtype=float)
    measure = MEASURES.measure("spearman")
    units = [str(row) for row in range(200)]
    rows = counted(MEASURES, measure, truths, answers, units)
    found = interval(rows, measure, confidence=0.9, resamples=1000, seed=0)
    draw = np.random.default_rng(2)
    values = [spearmanr(x[some], y[some]).statistic for some in draw.integers(0, 200, size=(1000, 200))]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, (0.05, 0.95))), abs=0.01)
    same = difference_interval(rows, rows, measure, confidence=0.95, resamples=100, seed=0)
    assert same.low < 0 == same.estimate < same.high


def test_a_side_that_is_constant_has_no_correlation() -> None:
    assert ANSWERS.score(["1", "2"], ["0.5", "0.5"], NUMBERS)["spearman"] == 0
    assert MEASURES.scores(["1", "2", "3"], ["0.1", "0.2", "0.3"]).tolist() == [1, 1, 1]
    assert MEASURES.scores(["1", "3"], ["0.3", "0.1"]).tolist() == [0, 0]


# the floor


def test_the_floor_is_bm25() -> None:
    pairs = [("the cat", "a cat sat on the mat"), ("the dog", "the dog dug"), ("bird", "birds fly over the sea")]
    params = PARAMS.baseline.model_copy(update={"max_ngram": 1})
    model = BASELINE.fit(pairs, [], PAIRS, params, 0)
    assert model.settings["analyzer"] == "word"
    mean = (5 + 3 + 5) / 3  # words of two letters and more
    assert model.settings["mean_length"] == pytest.approx(mean, abs=1e-6)

    def score(query: list[str], text: list[str]) -> float:
        total = 0.0
        for word in query:
            known = sum(word in other.split() for _, other in pairs)
            idf = math.log(1 + (3 - known + 0.5) / (known + 0.5))
            times = text.count(word)
            total += idf * times * (K1 + 1) / (times + K1 * (1 - B + B * len(text) / mean))
        return total

    found = BASELINE.opened(model)([*pairs, ("the cat", "cat cat dog")]).values
    assert found.shape == (4, 1, 2)
    own, itself = score(["the", "cat"], ["cat", "sat", "on", "the", "mat"]), score(["the", "cat"], ["the", "cat"])
    assert found[0, 0, 0] == pytest.approx(own / itself, abs=1e-5)
    assert found[:, 0, 1].tolist() == [1, 1, 3, 1]  # nothing of "bird" is found: one of the other three, and a half
    assert BASELINE.opened(model)([]).values.shape == (0, 1, 2)


def test_texts_without_a_word_are_similar_to_nothing() -> None:
    model = BASELINE.fit([("the cat", "a cat sat on the mat")], [], PAIRS, PARAMS.baseline, 0)
    found = BASELINE.opened(model)([("", "?"), ("!", "-")]).values
    assert found[:, 0].tolist() == [[0, 2], [0, 2]]


# through the stages


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Paths]:
    """ran(kind): what the stages made of `numbers`, or of `pairs` (tests/similarity_run.py), once."""
    done: dict[str, Paths] = {}

    def get(kind: str) -> Paths:
        if kind not in done:
            root = tmp_path_factory.mktemp(kind)
            path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
            ended = subprocess.run(
                [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/similarity_run.py"), str(root), kind],
                cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
            done[kind] = Paths(root)
        return done[kind]

    return get


MEASURES_OF = {"numbers": ["spearman"], "pairs": [*scores.MEASURED_RANKS]}
FIRST = {kind: names[0] for kind, names in MEASURES_OF.items()}


@pytest.mark.parametrize("kind", FIRST)
def test_the_two_texts_of_a_row_are_two_sequences(ran: Callable[[str], Paths], kind: str) -> None:
    paths = ran(kind)
    assert read_json(paths.cleaning_report)["dropped_by_reason"]["missing_text"] == 1
    rows = read_tokens(paths.tokens / "train")
    assert rows.apart
    assert rows.targets.shape == (len(rows), 1 if kind == "numbers" else 2)
    tokenizer = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    texts = dict(zip((table := read_split(paths.clean, "train"))["row_id"].to_pylist(), texts_of(table), strict=True))
    first, second = texts[rows.row_ids[0]]
    row = rows[0]
    assert row["input_ids"].tolist() == tokenizer.encode(first).ids + tokenizer.encode(second).ids
    assert row["second"] == len(tokenizer.encode(first).ids)


@pytest.mark.parametrize("kind", FIRST)
def test_every_model_is_measured_and_the_int8_one_has_learned(ran: Callable[[str], Paths], kind: str) -> None:
    paths, name = ran(kind), FIRST[kind]
    found = {model: read_json(paths.quality(model)) for model in MODELS}
    assert all(set(quality["intervals"]) == set(MEASURES_OF[kind]) for quality in found.values())
    assert found["quantized"][name] > 0.5, {model: quality[name] for model, quality in found.items()}
    assert abs(found["quantized"][name] - found["pruned"][name]) < 0.1
    assert found["baseline"][name] > 0.3
    tables = {"numbers": "similarities.csv", "pairs": "recall.csv"}
    assert [path.name for path in paths.tables("quantized").iterdir()] == [tables[kind]]
    assert name in read_json(paths.comparison)["quantized_and_teacher"]


def test_the_int8_folder_gives_vectors_and_similarities_alone(ran: Callable[[str], Paths]) -> None:
    folder = ran("pairs").model("quantized")
    assert read_json(folder / "model.json")["apart"] is True
    model = load(folder, threads=1)
    pairs = [("ship wave bread oven", "the oven bread wave ship"), ("owl moss tree path", "a knife near the sugar")]
    one, other = (np.array([record["vector"] for record in model([pair[at] for pair in pairs])]) for at in (0, 1))
    assert np.linalg.norm(one, axis=1) == pytest.approx(np.ones(2), abs=1e-4)
    similar = [record["similarity"] for record in model(pairs)]
    assert similar == pytest.approx((one * other).sum(1).tolist(), abs=1e-4)
    assert similar[0] > similar[1]
    with pytest.raises(ValueError, match=r"text number 2 is a single text, and the first is none\. Ask for them apart"):
        model([pairs[0], "ship"])


def test_the_predictions_are_ranks_among_all_test_rows(ran: Callable[[str], Paths]) -> None:
    paths = ran("pairs")
    table = pq.read_table(paths.predictions("quantized"))
    test = read_split(paths.clean, "test")
    model = load(paths.model("quantized"), threads=1)
    first, second = (np.array([record["vector"] for record in model(side)])
                     for side in zip(*texts_of(test), strict=True))  # fmt: skip
    products = first @ second.T
    nearer = (products > np.diagonal(products)[:, None] + 1e-5).sum(1)
    near = np.abs(table["rank"].to_numpy() - 1 - nearer) <= 1  # vectors that are rounded
    assert near.mean() > 0.9
    assert len(set(table["unit"].to_pylist())) == len(test)


def test_the_command_answers_texts_with_vectors_and_pairs_with_similarities(
    ran: Callable[[str], Paths], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(ran("numbers").model("quantized"))

    def said(*arguments: str) -> list[dict[str, Any]]:
        with pytest.raises(SystemExit):
            main(["predict", "--model", folder, "--threads", "1", "--json", *arguments])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    (text,) = said("ship near the wave")
    assert text.keys() == {"text", "vector"}
    (pair,) = said("ship near the wave", "--pair", "a sailor")
    assert pair.keys() == {"text", "text_pair", "similarity"}
    (tmp_path / "rows.csv").write_text("one,other\nship,sailor\nbread,oven\n")
    file = ["--file", str(tmp_path / "rows.csv"), "--text-column", "one"]
    assert [row.keys() for row in said(*file)] == [{"text", "vector"}] * 2
    assert [row.keys() for row in said(*file, "--text-pair-column", "other")] == [pair.keys()] * 2


def test_the_int8_folder_opens_without_torch(ran: Callable[[str], Paths]) -> None:
    folder = ran("numbers").model("quantized")
    code = (
        "import sys; from winnow import load;"
        f"print(len(load({str(folder)!r}, threads=1)(['ship anchor'])[0]['vector']));"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "32\n"), done.stderr


def test_similarities_on_both_sides_of_zero_are_no_flip() -> None:
    assert MEASURES.gist("0.001") == MEASURES.gist("-0.001") == "0.0"
    assert MEASURES.gist("-0.06") == "-0.1"


def ranked(rows: int, among: int) -> Results:
    """The first rows of `among`, each with a rank that is the farther down the more there are."""
    ids = np.array([f"{at:04}" for at in range(rows)])
    answers = [Found(0.5, 1 + at % 5 * among // 500).as_text() for at in range(rows)]
    truths = [pair_of(one) for one in ids]
    return Results(
        ids, ids, np.array(truths), np.array(answers), MEASURES.scores(truths, answers), task="sentence_similarity"
    )


def test_ranks_among_other_rows_are_not_compared() -> None:
    before, after = ranked(500, 500), ranked(1000, 1000)
    rules = Rules(PARAMS.promotion, MEASURES, MEASURES.measure("ndcg_at_10"))
    told = {check.name: check for check in decide(after, before, rules, Anchor("v1.0.0", before)).checks}
    reason = "the test rows are ranked among each other, and are not the same: 500 before, 1,000 now."
    assert told["quality"].outcome == told["anchor"].outcome == "inconclusive"
    assert told["quality"].reason.startswith(reason)
    assert told["anchor"].reason.startswith(f"since v1.0.0, {reason}")
    notes: list[str] = []
    assert on_common_rows("quantized", before, after, notes) is None
    assert changes.apart(before, after, MEASURES, same_data=False) == reason.removesuffix(".")
    gone = dataclasses.replace(before, row_ids=before.row_ids[:0], quality={"ndcg_at_10": 0.7})
    known = dataclasses.replace(after, quality={"ndcg_at_10": 0.3})
    anchor = {check.name: check for check in decide(known, None, rules, Anchor("v1.0.0", gone)).checks}["anchor"]
    assert anchor.outcome == "inconclusive"
    assert "which they were then is not known" in anchor.reason
    same = decide(before, before, rules, Anchor("v1.0.0", before))
    assert {check.outcome for check in same.checks if check.name in ("quality", "anchor")} == {"pass"}


def test_numbers_are_compared_on_the_rows_that_both_have() -> None:
    truths, answers = graded(300)
    ids = np.array([f"{at:04}" for at in range(300)])
    every = Results(ids, ids, np.array(truths), np.array(answers), MEASURES.scores(truths, answers),
                    task="sentence_similarity")  # fmt: skip
    rules = Rules(PARAMS.promotion, MEASURES, MEASURES.measure("spearman"))
    told = {check.name: check for check in decide(every, every.of_rows(np.arange(200)), rules).checks}
    assert "200 rows of 300, the others are new" in told["quality"].reason
