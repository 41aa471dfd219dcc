"""Sets of labels: how they are read, learned, answered and measured, by hand and against scikit-learn; and to int8."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import subprocess
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import warm_python
from conftest import REPOSITORY, TOPICS
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, jaccard_score, log_loss
from source_fixtures import settings

from stages.core.contracts import Head, Outputs, RawRow, RejectedRow
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.core.params.file import load_params
from stages.core.paths import MODELS, Paths
from stages.measures.calibration import fit_temperature
from stages.measures.counted import counted
from stages.measures.paired import difference_interval, interval, measured
from stages.reading.clean_rows import read_split, texts_of
from stages.sources import files, hub
from stages.tasks.contract import Judged, TargetError
from stages.tasks.multilabel_classification.answers import ANSWERS
from stages.tasks.multilabel_classification.baseline import BASELINE
from stages.tasks.multilabel_classification.data import DATA
from stages.tasks.multilabel_classification.encoding import ENCODING
from stages.tasks.multilabel_classification.learning import LEARNING
from stages.tasks.multilabel_classification.measures import MEASURES
from stages.tasks.multilabel_classification.settings import SETTINGS
from stages.tasks.shared.label_sets import as_text, from_text
from stages.tasks.shared.probabilities import log_odds, sigmoid
from stages.training.rows import read_tokens
from winnow import load

PARAMS = load_params(REPOSITORY / "params.yaml")
SPACE = {"labels": ["a", "b", "c"]}
TRUTHS, GIVEN = ['["a","b"]', "[]", '["c"]'], ['["a"]', "[]", '["b"]']


# the targets of the data


@pytest.mark.parametrize(
    ("cell", "target"),
    [
        ('["sports", "politics"]', '["politics","sports"]'),
        ('["a", " a ", "a\\u200b"]', '["a"]'),  # labels that look the same are one
        ("sports; politics", '["politics","sports"]'),
        ("sports|politics;", '["politics","sports"]'),
        ("law, tax and trade", '["law, tax and trade"]'),  # a comma may belong to a label
        ("[]", "[]"),
        (None, None),
    ],
)
def test_every_form_of_a_set_becomes_one(cell: str | None, target: str | None) -> None:
    (row,) = DATA.read([RawRow("text", cell, "a:1", "test", "g")])
    assert row == RawRow("text", target, "a:1", "test", "g")


@pytest.mark.parametrize(
    ("cell", "detail"),
    [
        ('["a", 1]', "1 in the target is no label"),
        ('["a", null]', "null in the target is no label"),
        ('["a", " "]', '" " in the target is no label'),
        ('[["a"]]', '["a"] in the target is no label'),
        ('{"a": true}', "is no list"),
        ("[a, b]", "is no JSON"),
        (" ; ", "has no label between its separators"),
    ],
)
def test_what_is_no_set_of_labels_is_told_with_its_place(cell: str, detail: str) -> None:
    (row,) = DATA.read([RawRow("text", cell, "a:1")])
    assert isinstance(row, RejectedRow)
    assert (row.origin, row.reason, row.excerpt) == ("a:1", "bad_target", "text")
    assert detail in row.detail
    assert "Allowed: a list of texts" in row.detail


def test_a_set_is_one_text_whatever_its_order() -> None:
    assert as_text(["ö", "a", "ö"]) == '["a","ö"]'
    assert from_text('["b", "a", "b"]') == ("a", "b")
    with pytest.raises(ValueError, match=r"""'\["a",1\]' is no list of labels\. Allowed: a JSON list of texts"""):
        from_text('["a",1]')


def test_lists_of_files_and_of_the_hubs_class_labels_are_sets(tmp_path: Path) -> None:
    topics = datasets.List(datasets.ClassLabel(names=["sea", "forest"]))
    features = datasets.Features(text=datasets.Value("string"), label=topics)
    rows = datasets.Dataset.from_dict({"text": ["ship", "moss"], "label": [[1, 0], []]}, features=features)
    rows.to_parquet(tmp_path / "train.parquet")
    (tmp_path / "rows.csv").write_text("text,label\nship,sea;forest\nmoss,[]\n")
    sets = ['["forest","sea"]', "[]"]
    of_hub = hub.read(settings(tmp_path, source="hub"), 0, structured=DATA.structured)
    of_csv = files.read(settings(tmp_path / "rows.csv"), 0, structured=DATA.structured)
    for found in (of_hub, of_csv):
        assert [row.label for row in DATA.read(found) if isinstance(row, RawRow)] == sets


def test_slices_by_label_are_refused_and_nothing_else_of_params_yaml() -> None:
    assert list(SETTINGS.faults(PARAMS)) == []
    evaluate = PARAMS.evaluate.model_copy(update={"slices": ["label"]})
    (told,) = SETTINGS.faults(PARAMS.model_copy(update={"evaluate": evaluate}))
    assert told.startswith("params.yaml: evaluate.slices has label, and a text has several, or none.")


# the encoding and the training


def test_a_target_is_a_number_for_each_label() -> None:
    assert ENCODING.space(['["b"]', "[]", '["a","b"]']) == {"labels": ["a", "b"]}
    found = ENCODING.targets(['["c","a"]', None, "[]"], [], [0, 0, 1, 2], SPACE)
    assert found[:2] + found[3:] == [[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert np.isnan(found[2]).tolist() == [True, True, True]
    assert LEARNING.head(SPACE) == Head("row", 3)


def test_a_label_without_training_rows_is_named_and_so_is_data_without_any() -> None:
    with pytest.raises(TargetError, match=r"no training row has the label 'z'\. Allowed: a, b, c\.") as told:
        ENCODING.targets(["[]", '["a","z"]'], [], [0, 1], SPACE)
    assert told.value.row == 1
    with pytest.raises(ValueError, match="no training row has a label: there is nothing to learn"):
        ENCODING.space(["[]", "[]"])


def test_the_loss_is_the_mean_over_the_labels_and_rows_without_a_target_add_nothing() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [5.0, 5.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0], [math.nan, math.nan]])
    assert LEARNING.loss(logits, targets).tolist() == pytest.approx([(math.log(4 / 3) + math.log(2)) / 2, 0.0])
    # half of a target's certainty goes: 1 is 0.75, and 0 is 0.25
    smooth = (0.75 * math.log(4 / 3) + 0.25 * math.log(4) + math.log(2)) / 2
    assert LEARNING.loss(logits, targets, label_smoothing=0.5).tolist() == pytest.approx([smooth, 0.0])
    assert LEARNING.guess(SPACE) == pytest.approx(math.log(2))


def test_balanced_weights_let_the_rows_with_a_label_count_as_much_as_those_without() -> None:
    assert LEARNING.class_weights is not None
    targets = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 1]], dtype=np.float32)
    weights = LEARNING.class_weights(targets, SPACE)
    assert weights.tolist() == [3.0, 0.25, 3.0]
    logits, wanted = torch.zeros(1, 3), torch.tensor([[1.0, 1.0, 0.0]])
    found = LEARNING.loss(logits, wanted, class_weights_C=torch.tensor(weights))
    assert found.item() == pytest.approx((3 + 0.25 + 1) * math.log(2) / 3)


def test_distillation_is_the_divergence_of_each_labels_two_choices_times_the_square_of_the_temperature() -> None:
    teacher, student, mask = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2), torch.ones(1, 4)
    of_first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # softened by 2 it is 3 : 1
    found = LEARNING.distilled(student, teacher, mask, temperature=2.0)
    assert found.tolist() == pytest.approx([4 * of_first / 2])
    assert LEARNING.distilled(teacher, teacher, mask, temperature=2.0).tolist() == [0.0]


def test_an_epoch_is_scored_by_logits_above_0_and_rows_without_a_target_are_passed_by() -> None:
    targets = [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [math.nan] * 3]
    logits = [np.array(row) for row in ([2.0, -1.0, -1.0], [-1.0, -2.0, 0.0], [-1.0, 1.0, -3.0], [9.0, 9.0, 9.0])]
    assert LEARNING.score(targets, logits) == ANSWERS.score(TRUTHS, GIVEN, SPACE)


def test_every_part_knows_the_same_measures() -> None:
    names = list(SETTINGS.measures)
    assert [one.name for one in MEASURES.measures] == names
    assert list(ANSWERS.score(TRUTHS, GIVEN, SPACE)) == names
    assert list(LEARNING.score([[1.0, 0.0, 0.0]], [np.zeros(3)])) == names


# the answers

OUTPUTS = Outputs(np.array([[0.75, 0.5, 0.875], [0.25, 0.5, 0.125]], dtype=np.float32))


def test_a_label_is_given_where_it_is_likelier_to_hold_than_not_unless_thresholds_are_fitted() -> None:
    assert ANSWERS.answers(OUTPUTS, SPACE) == ['["a","c"]', "[]"]
    assert ANSWERS.size(SPACE) == 3
    assert ANSWERS.columns(OUTPUTS, SPACE)["p_c"].tolist() == [0.875, 0.125]


def test_logits_become_probabilities_and_again_logits_however_large_they_are() -> None:
    logits = np.array([-1000.0, -2.0, 0.0, math.log(3), 1000.0], dtype=np.float32)
    found = sigmoid(logits)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx([0, 1 / (1 + math.exp(2)), 0.5, 0.75, 1])
    assert log_odds(found)[1:4].tolist() == pytest.approx([-2.0, 0.0, math.log(3)], abs=1e-6)
    assert np.isfinite(log_odds(found)).all()


def test_the_confidence_is_the_expected_share_of_labels_in_both_sets() -> None:
    found = ANSWERS.confidence
    assert found is not None
    # a and c are given: 0.75 + 0.875 in both, 2 in either, or 3 with b; of none the chance that none holds
    assert found(OUTPUTS, ['["a","c"]', "[]"], SPACE).tolist() == pytest.approx(
        [1.625 * (0.5 / 2 + 0.5 / 3), 0.75 * 0.5 * 0.875]
    )
    # c is given, and none, one or both of the others hold
    of_one = 0.125 * (0.75 * 0.5 + (0.25 * 0.5 + 0.75 * 0.5) / 2 + 0.25 * 0.5 / 3)
    assert found(OUTPUTS, ['["a","b","c"]', '["c"]'], SPACE).tolist() == pytest.approx([2.125 / 3, of_one])


def test_the_confidence_is_the_mean_score_over_every_set_that_could_be_true() -> None:
    values = np.random.default_rng(3).random(6).astype(np.float32)
    space, given = {"labels": list("abcdef")}, as_text("be")
    sets = list(itertools.product((False, True), repeat=6))
    chances = [np.where(holds, values, 1 - values).prod(dtype=np.float64) for holds in sets]
    truths = [as_text("abcdef"[at] for at in np.flatnonzero(holds)) for holds in sets]
    assert ANSWERS.confidence is not None
    (found,) = ANSWERS.confidence(Outputs(values[None]), [given], space)
    assert found == pytest.approx(np.dot(chances, MEASURES.scores(truths, [given] * len(truths))), abs=1e-6)


def test_a_confident_model_is_as_right_as_it_says() -> None:
    draw = np.random.default_rng(1)
    values = draw.beta(0.5, 1.0, size=(4000, 4)).astype(np.float32)
    outputs, space = Outputs(values), {"labels": list("abcd")}
    truths = [as_text("abcd"[at] for at in np.flatnonzero(row)) for row in draw.random(values.shape) < values]
    answers = ANSWERS.answers(outputs, space)
    assert ANSWERS.confidence is not None
    sure_N, right_N = ANSWERS.confidence(outputs, answers, space), MEASURES.scores(truths, answers)
    for low, high in ((0.3, 0.5), (0.5, 0.7), (0.7, 0.9)):
        some = (low < sure_N) & (sure_N <= high)
        assert sure_N[some].mean() == pytest.approx(right_N[some].mean(), abs=0.05)


def test_the_loss_of_a_row_is_that_of_scikit_learn_for_each_label() -> None:
    of_first = [log_loss([holds], [[1 - p, p]], labels=[0, 1]) for holds, p in ((1, 0.75), (1, 0.5), (0, 0.875))]
    assert ANSWERS.losses(['["a","b"]', "[]"], OUTPUTS, SPACE).tolist() == pytest.approx(
        [np.mean(of_first), -np.mean(np.log([0.75, 0.5, 0.875]))]
    )
    with pytest.raises(ValueError, match=r"rows have labels that no training row has: x, z\. Add rows of them"):
        ANSWERS.losses(['["z"]', '["a","x"]'], OUTPUTS, SPACE)


def test_outputs_diverge_by_the_sum_of_their_labels_divergences() -> None:
    other = Outputs(OUTPUTS.values[:, [0, 1, 0]])
    of_row = [p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)) for p, q in ((0.875, 0.75), (0.125, 0.25))]
    assert ANSWERS.divergence(OUTPUTS, other) == pytest.approx(sum(of_row) / 2)
    assert ANSWERS.divergence(OUTPUTS, OUTPUTS) == 0


def test_one_temperature_makes_probabilities_softer_and_changes_no_answer() -> None:
    draw = np.random.default_rng(2)
    logits = draw.normal(size=(2000, 3))
    truths = [as_text("abc"[at] for at in np.flatnonzero(row)) for row in draw.random(logits.shape) < sigmoid(logits)]
    too_sure = Outputs(sigmoid(3 * logits).astype(np.float32))
    assert fit_temperature(ANSWERS, truths, too_sure, SPACE) == pytest.approx(3.0, abs=0.3)

    def loss(temperature: float) -> float:
        return log_loss(
            np.array([[label in from_text(truth) for label in "abc"] for truth in truths]).ravel(),
            sigmoid(3 * logits / temperature).ravel(),
        )

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded").x
    assert fit_temperature(ANSWERS, truths, too_sure, SPACE) == pytest.approx(best, abs=0.05)  # one row more is for 1
    softer = Outputs(ANSWERS.activate(logits / 5))
    assert ANSWERS.answers(softer, SPACE) == ANSWERS.answers(too_sure, SPACE)


def test_a_user_gets_the_likeliest_label_first_and_the_probability_of_every_label() -> None:
    found = ANSWERS.record(OUTPUTS, 0, "text", SPACE)
    assert found == {
        "labels": [{"label": "c", "probability": 0.875}, {"label": "a", "probability": 0.75}],
        "probabilities": {"a": 0.75, "b": 0.5, "c": 0.875},
    }
    assert ANSWERS.shown(found) == "c; a\t0.8750; 0.7500"
    assert ANSWERS.shown(ANSWERS.record(OUTPUTS, 1, "text", SPACE)) == "-\t-"
    assert ANSWERS.shown(ANSWERS.nothing) == "null\tnull"


# the measures


def test_the_counts_of_each_row_add_up() -> None:
    # found, given and true of a, b and c; then the right rows, and all
    assert MEASURES.counts(TRUTHS, GIVEN).toarray().tolist() == [
        [1, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1], [0] * 9 + [1, 1], [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1],
    ]  # fmt: skip
    assert ANSWERS.score(TRUTHS, GIVEN, SPACE) == {
        "micro_f1": pytest.approx(2 * 1 / (2 + 3)), "macro_f1": pytest.approx((1 + 0 + 0) / 3),
        "subset_accuracy": pytest.approx(1 / 3),
    }  # fmt: skip
    assert set(ANSWERS.score(["[]"], ["[]"], SPACE).values()) == {0.0, 1.0}, "F1 of nothing is 0, and it is all right"


def test_a_rows_score_is_the_share_of_labels_in_both_sets() -> None:
    assert MEASURES.scores([*TRUTHS, '["a","b"]'], [*GIVEN, '["b","c"]']).tolist() == [0.5, 1.0, 0.0, 1 / 3]


def test_the_measures_of_random_sets_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    truths_NC = draw.random((300, 5)) < [0.5, 0.3, 0.2, 0.1, 0.02]
    given_NC = truths_NC ^ (draw.random((300, 5)) < 0.1)
    truths, answers = ([as_text("abcde"[at] for at in np.flatnonzero(row)) for row in side]
                       for side in (truths_NC, given_NC))  # fmt: skip
    units = [str(row // 3) for row in range(300)]
    exact = {
        "micro_f1": f1_score(truths_NC, given_NC, average="micro"),
        "macro_f1": f1_score(truths_NC, given_NC, average="macro"),
        "subset_accuracy": accuracy_score(truths_NC, given_NC),
    }
    assert ANSWERS.score(truths, answers, {"labels": list("abcde")}) == pytest.approx(exact)
    for name, value in exact.items():
        measure = MEASURES.measure(name)
        rows = counted(MEASURES, measure, truths, answers, units)
        assert measured(rows, measure) == pytest.approx(value)
        low, high, estimate = interval(rows, measure, confidence=0.95, resamples=300, seed=0)
        assert low < estimate < high
        same = difference_interval(rows, rows, measure, confidence=0.95, resamples=100, seed=0)
        assert same.low < 0 == same.estimate < same.high
    of_rows = jaccard_score(truths_NC, given_NC, average="samples", zero_division=1.0)
    assert MEASURES.scores(truths, answers).mean() == pytest.approx(of_rows)
    found = MEASURES.report(judged(truths, answers, list("abcde")))
    assert found["hamming_loss"] == pytest.approx(hamming_loss(truths_NC, given_NC), abs=1e-6)
    by_label = f1_score(truths_NC, given_NC, average=None)
    assert [of["f1"] for of in found["per_label"].values()] == pytest.approx(by_label.tolist(), abs=1e-6)


def judged(truths: list[str], answers: list[str], labels: list[str]) -> Judged:
    rows = len(truths)
    return Judged(
        texts=[""] * rows, truths=truths, answers=answers, outputs=Outputs(np.zeros((rows, len(labels)))),
        confidence_N=None, losses_N=np.full(rows, 0.25), scores_N=MEASURES.scores(truths, answers),
        units=[""] * rows, space={"labels": labels}, seed=0,
    )  # fmt: skip


def test_the_report_and_the_table_have_the_figures_of_each_label() -> None:
    of = judged(TRUTHS, GIVEN, ["a", "b", "c", "d"])
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "true": 1, "ece": 0.333333}
    all_right = {"precision": 1.0, "recall": 1.0, "f1": 1.0, "true": 1, "ece": 0.333333}
    assert MEASURES.report(of) == {
        "precision": 0.5, "recall": 0.333333, "hamming_loss": 0.25, "log_loss": 0.25,
        "per_label": {"a": all_right, "b": nothing, "c": nothing},
    }  # fmt: skip
    assert MEASURES.per_row(of)["hamming_loss"].tolist() == [0.25, 0.0, 0.5]
    table = MEASURES.tables(of)["labels"]
    assert table.columns == (
        "label", "precision", "recall", "f1", "found", "given", "true", "expected", "ece", "threshold"
    )  # fmt: skip
    assert [row[:7] for row in table.rows] == [
        ["a", 1.0, 1.0, 1.0, 1, 1, 1], ["b", 0.0, 0.0, 0.0, 0, 1, 1], ["c", 0.0, 0.0, 0.0, 0, 0, 1]
    ]  # fmt: skip
    assert [row[7:] for row in table.rows] == [[0.0, 0.333333, 0.5]] * 3
    assert (MEASURES.kinds('["a","b"]'), MEASURES.classes(["p_a", "score"])) == (("a", "b"), frozenset({"a"}))


def test_the_calibration_of_a_label_is_how_far_its_probabilities_are_from_the_shares_that_have_it() -> None:
    values_N = [0.9, 0.95, 0.92, 0.15, 0.2, 0.11]
    truths = ['["a"]', "[]", '["a"]', "[]", '["a"]', "[]"]
    of = judged(truths, ["[]"] * 6, ["a", "b"])
    values = np.column_stack([values_N, np.zeros(6)])
    of = dataclasses.replace(of, outputs=Outputs(values), space={"labels": ["a", "b"], "thresholds": {"a": 0.25}})
    # 0.9 is in the bin below: it is closed above
    away = abs(0.9 - 1) + abs(0.95 + 0.92 - 1) + abs(0.15 + 0.2 + 0.11 - 1)
    (row,) = MEASURES.tables(of)["labels"].rows
    assert row[7:] == [pytest.approx(sum(values_N), abs=0.051), pytest.approx(away / 6, abs=1e-6), 0.25]
    assert MEASURES.report(of)["per_label"]["a"]["ece"] == row[8]


# the floor


def test_the_floor_learns_the_words_of_each_label_and_a_label_of_every_row_by_its_share() -> None:
    words = [TOPICS["sea"][at : at + 3] for at in range(7)] + [TOPICS["forest"][at : at + 3] for at in range(7)]
    texts = [" ".join(some) for some in words] + [" ".join(words[at] + words[7 + at]) for at in range(7)]
    targets = [*['["all","sea"]'] * 7, *['["all","forest"]'] * 7, *['["all","forest","sea"]'] * 7]
    space = ENCODING.space(targets)
    model = BASELINE.fit(texts, targets, space, PARAMS.baseline, PARAMS.seed)
    found = BASELINE.opened(model)(["ship harbour wave", "owl moss", "ship wave owl moss tree"])
    assert ANSWERS.answers(found, space) == ['["all","sea"]', '["all","forest"]', '["all","forest","sea"]']
    assert found.values[:, 0] == pytest.approx([21.5 / 22] * 3)


# through the stages


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """What the stages made of texts with any of three topics (tests/multilabel_run.py)."""
    root = tmp_path_factory.mktemp("sets")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
    done = subprocess.run(
        [f"{warm_python.bin_folder()}/forked", str(REPOSITORY / "tests/multilabel_run.py"), str(root)],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Paths(root)


def test_a_row_that_is_no_set_is_set_aside_and_labels_are_counted_by_themselves(ran: Paths) -> None:
    assert read_json(ran.ingest_report)["quarantined_by_reason"]["bad_target"] == 1
    report = read_json(ran.cleaning_report)
    assert (report["read"], report["kept"], report["dropped_by_reason"]["missing_label"]) == (241, 240, 1)
    assert report["label_shares"] == {"forest": 0.5, "kitchen": 0.5, "sea": 0.5}


def test_each_window_has_the_vector_of_its_text(ran: Paths) -> None:
    rows = read_tokens(ran.tokens / "train")
    assert (rows.targets.dtype, rows.targets.shape) == (np.float32, (len(rows), 3))
    assert len(rows) > len(rows.first_of_texts)
    at = next(at for at in range(1, len(rows)) if rows.row_ids[at] == rows.row_ids[at - 1])
    assert rows.targets[at].tolist() == rows.targets[at - 1].tolist()
    assert rows.has_target.all()


def assert_every_model_answers_by_thresholds_of_its_own(ran: Paths) -> None:
    spaces = {name: describe(ran.model(name))["space"] for name in MODELS if (ran.model(name) / "model.json").is_file()}
    assert spaces.keys() >= {"baseline", "teacher", "student", "pruned", "quantized"}
    for name, space in spaces.items():
        assert list(space["thresholds"]) == space["labels"], name
    assert "thresholds" not in read_json(ran.tokens / "space.json")["space"]
    card = (ran.model("quantized") / "README.md").read_text()
    shown = ", ".join(f"{label} {of}" for label, of in spaces["quantized"]["thresholds"].items())
    assert f"- Thresholds: {shown}\n" in card


def test_the_int8_model_learned_the_topics_and_its_folder_answers_alone(ran: Paths) -> None:
    quality = {name: read_json(ran.quality(name)) for name in ("baseline", "quantized")}
    assert min(of["micro_f1"] for of in quality.values()) > 0.9
    assert sorted(path.name for path in ran.tables("quantized").iterdir()) == ["labels.csv", "reliability.csv"]
    assert_every_model_answers_by_thresholds_of_its_own(ran)
    test = read_split(ran.clean, "test")
    answers = load(ran.model("quantized"))(texts_of(test))
    assert [as_text(one["label"] for one in answer["labels"]) for answer in answers] == pq.read_table(
        ran.predictions("quantized")
    )["answer"].to_pylist()
    assert {"[]", '["forest","kitchen","sea"]'} < set(test["label"].to_pylist())
