"""`winnow label errors`: planted wrong labels are found first, by models that did not learn from their rows."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import REPOSITORY, TOPICS
from labelling_fixtures import labelled, rows_of, write_project, write_rows
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from test_floors import prepared

from flows.dvc import reproducing
from flows.labelling import doubting
from flows.labelling.doubting import Doubted, DoubtedRows, Settings, doubted_rows
from flows.labelling.doubts_page import render
from flows.labelling.listed import Listed, listed
from flows.labelling.out_of_fold import Fold, OutOfFold, by_baseline, folds_of, has_probe, with_probe
from flows.labelling.parts import doubts_of
from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.contracts import Outputs
from stages.core.files import read_json
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.probe import probe
from stages.programs.probed import left_out_logits, vectors_of
from stages.tasks import TASKS
from stages.tasks.multilabel_classification.learning import LEARNING as OF_SETS
from stages.tasks.shared.labelling import Doubts, TaskDoubts, by_label
from stages.tasks.text_classification.learning import LEARNING
from stages.tokenize import tokenize
from stages.training.linear_head import Examples, best_head

pytest.importorskip("cleanlab", reason="cleanlab is not installed: no label is doubted")

ROWS, WRONG = 400, 20
USUAL = Settings(limit=500, neighbours=2, folds=5, most=20_000)


def corpus() -> tuple[list[tuple[str, str]], set[int]]:
    """Texts of three topics that share words, and the places of those (5%) that were given another label."""
    draw = random.Random(11)
    rows = []
    for at in range(ROWS):
        label = tuple(TOPICS)[at % 3]
        other = draw.choice([topic for topic in TOPICS if topic != label])
        words = [
            *draw.sample(TOPICS[label], 3),
            draw.choice(TOPICS[other]),
            *draw.sample(["the", "old", "near", "a"], 2),
        ]
        draw.shuffle(words)
        rows.append((" ".join(words), label))
    flipped = set(draw.sample(range(ROWS), WRONG))
    wrong = {at: draw.choice([topic for topic in TOPICS if topic != rows[at][1]]) for at in sorted(flipped)}
    return [(text, wrong.get(at, label)) for at, (text, label) in enumerate(rows)], flipped


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, set[int]]:
    rows, places = corpus()
    return write_project(tmp_path_factory.mktemp("flipped") / "project", rows, ()), places


def doubted(paths: Paths, settings: Settings = USUAL, settled: Sequence[str] = ()) -> DoubtedRows:
    return doubted_rows(paths, load_params(paths.params), settings, settled=settled, on_fold=lambda: None)


@pytest.fixture(scope="module")
def found(flipped: tuple[Paths, set[int]]) -> DoubtedRows:
    return doubted(flipped[0])


def test_of_planted_errors_at_least_seven_in_ten_are_among_the_first_twentieth(
    flipped: tuple[Paths, set[int]], found: DoubtedRows
) -> None:
    planted = {f"r{at}" for at in flipped[1]}
    first = [one.row.row_id for one in found.rows[:WRONG]]
    assert len(planted & set(first)) >= 0.7 * WRONG
    assert found.of == ROWS
    assert found.unjudged == 0


def test_those_of_the_least_quality_come_first_flagged_or_not_and_beyond_the_digits_that_are_shown(
    tmp_path: Path, found: DoubtedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = [one.quality for one in found.rows]
    assert order == sorted(order)
    paths = write_project(tmp_path / "three", (("bread", "a"), ("ship", "a"), ("moss", "a"), ("tide", "b")), ())
    said = OutOfFold(np.arange(3), Outputs(np.full((3, 2), [0.1, 0.9], dtype=np.float32)), {"labels": ["a", "b"]})
    monkeypatch.setattr(doubting, "by_baseline", lambda *_, **__: said)
    by_task = TaskDoubts(by_label, lambda *_: Doubts(np.array([3e-6, 2e-6, 1e-6]), np.array([True, False, False])))
    monkeypatch.setattr(doubting, "doubts_of", lambda _: by_task)
    rows = doubted(paths, USUAL._replace(neighbours=0)).rows
    assert [(one.row.row_id, one.flagged) for one in rows] == [("r2", False), ("r1", False), ("r0", True)]
    assert found.flagged == sum(one.flagged for one in found.rows) > 0
    assert all(one.row.given != one.row.suggestion for one in found.rows)


def test_the_reason_says_what_the_model_and_the_nearest_rows_say(found: DoubtedRows) -> None:
    first = found.rows[0]
    assert first.reason.startswith(f"a model that did not learn from it says {first.row.suggestion} (0.")
    assert "of the 2 nearest rows" in first.reason
    assert first.reason.endswith("confident learning flags it")
    assert all(near.row_id != one.row.row_id for one in found.rows for near in one.near)


def test_rows_that_were_looked_at_are_left_out_and_counted(flipped: tuple[Paths, set[int]], found: DoubtedRows) -> None:
    less = doubted(flipped[0], USUAL._replace(limit=3, neighbours=0), [found.rows[0].row.row_id])
    assert [one.row.row_id for one in less.rows] == [one.row.row_id for one in found.rows[1:4]]
    assert (less.settled, less.doubted) == (1, found.doubted - 1)
    assert less.rows[0].near == ()


class _Seen:
    """What a baseline learned from, fold by fold."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from stages.tasks.text_classification import baseline

        self.texts: list[list[str]] = []
        fit = baseline.BASELINE.fit

        def watched(texts: Sequence[str], *others: object) -> object:
            self.texts.append(list(texts))
            return fit(texts, *others)  # type: ignore[arg-type]

        kind = type(baseline.BASELINE)
        monkeypatch.setattr(baseline, "BASELINE", kind(fit=watched, opened=baseline.BASELINE.opened))  # type: ignore[arg-type]


def settings_of(tmp_path: Path) -> Params:
    return load_params(write_project(tmp_path / "project", (("a b", "x"),), ()).params)


def test_no_model_judges_a_row_whose_group_it_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, params = _Seen(monkeypatch), settings_of(tmp_path)
    texts = [f"{word} number{at}" for at in range(12) for word in ("bread", "ship")]
    targets, groups = ["kitchen", "sea"] * 12, [str(at // 4) for at in range(24)]
    told: list[str] = []
    folds = folds_of(targets, groups, params.task.name, folds=3, most=100, seed=0)
    made = by_baseline(
        texts, targets, folds, params, doubts_of("text_classification"), on_fold=lambda: told.append("a model")
    )
    assert made.at.tolist() == list(range(24))
    assert len(told) == 3
    for learned in seen.texts:
        of = {groups[texts.index(text)] for text in learned}
        assert len(learned) == sum(group in of for group in groups)  # groups are whole
    assert made.outputs.values.shape == (24, 2)
    assert made.outputs.values.sum(1) == pytest.approx(np.ones(24), abs=1e-5)


def test_each_model_learns_from_no_more_rows_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, params = _Seen(monkeypatch), settings_of(tmp_path)
    texts, targets = [f"{word} number{at}" for at in range(30) for word in ("bread", "ship")], ["kitchen", "sea"] * 30
    folds = folds_of(targets, None, params.task.name, folds=2, most=20, seed=0)
    by_baseline(texts, targets, folds, params, doubts_of("text_classification"), on_fold=lambda: None)
    assert [len(learned) for learned in seen.texts] == [20, 20]
    for fold in folds:
        assert not {*fold.learned} & {*fold.judged}
        assert [targets[at] for at in fold.judged].count("sea") == 15, "rows of a target are spread evenly"


def test_a_label_that_no_other_group_has_is_not_judged(tmp_path: Path) -> None:
    texts = ["bread one", "bread two", "ship one", "ship two", "moss", "moss again"]
    targets, groups = ["kitchen", "kitchen", "sea", "sea", "forest", "forest"], list("abcdee")
    params, doubts = settings_of(tmp_path), doubts_of("text_classification")
    folds = folds_of(targets, groups, params.task.name, folds=5, most=10, seed=0)
    made = by_baseline(texts, targets, folds, params, doubts, on_fold=lambda: None)
    assert made.at.tolist() == [0, 1, 2, 3]
    assert made.space == {"labels": ["forest", "kitchen", "sea"]}
    assert made.outputs.values.shape == (4, 3)
    with pytest.raises(ValueError, match="all training rows are of one group"):
        folds_of(targets, ["a"] * 6, params.task.name, folds=5, most=10, seed=0)
    with pytest.raises(ValueError, match="there are fewer than two training rows"):
        folds_of(targets[:1], None, params.task.name, folds=5, most=10, seed=0)
    with pytest.raises(ValueError, match="so none can be judged"):
        folds_of(["a", "b", "c"], None, params.task.name, folds=5, most=10, seed=0)


def test_a_head_on_the_encoder_learns_from_no_row_that_it_judges() -> None:
    """Each row has a feature of its own: a head that has not learned from it says the same of all such rows."""
    labels, parts = torch.tensor([0, 1, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2, 2])
    folds = [
        {"learned": np.flatnonzero(parts != part).tolist(), "judged": np.flatnonzero(parts == part).tolist()}
        for part in range(3)
    ]
    folds[2] = {"learned": [0, 1, 2], "judged": [4, 5]}
    found = left_out_logits(np.eye(6, dtype=np.float32), labels, folds, LEARNING, 2, strength=10.0)
    assert found.shape == (6, 2)
    for part in range(3):
        first, second = found[parts == part]
        assert first == pytest.approx(second, abs=1e-5), part
    assert found[0] != pytest.approx(found[4], abs=0.1), "of three rows that are learned two have label 0"
    leaking = [{"learned": [0, 1], "judged": [0, 1]}]
    own = left_out_logits(np.eye(6, dtype=np.float32), labels, leaking, LEARNING, 2, strength=10.0)
    assert own[:2].argmax(1).tolist() == [0, 1]
    assert not own[2:].any()


def test_a_head_that_doubts_sets_is_regularized_as_the_probes_own() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(60, 8)).astype(np.float32)
    targets = torch.from_numpy((vectors[:, :5] + draw.normal(size=(60, 5)) > 0).astype(np.float32))
    every = list(range(60))
    found = left_out_logits(vectors, targets, [{"learned": every, "judged": every}], OF_SETS, 5, strength=0.01)
    examples = Examples(vectors, targets, per_token=False)
    own = best_head(examples, OF_SETS, lambda _: 0.0, size=5, inverse_regularizations=[0.01]).head.outputs(vectors)
    assert found.tolist() == own.tolist()
    scaled = StandardScaler().fit_transform(vectors.astype(np.float64))
    theirs = LogisticRegression(C=0.01, tol=1e-8, max_iter=1000).fit(scaled, targets[:, 0].numpy())
    assert found[:, 0] == pytest.approx(theirs.decision_function(scaled), abs=1e-2)


def test_what_the_probe_says_stands_beside_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five rows the second is of a label of its own, and is not judged."""
    folds = [Fold(np.array([2, 4]), np.array([0, 3])), Fold(np.array([0, 3]), np.array([2, 4]))]
    said = np.arange(10, dtype=np.float32).reshape(5, 2)

    def run(_root: object, _module: object, arguments: Sequence[str], *_: object) -> None:
        assert read_json(Path(arguments[0])) == [
            {"learned": [2, 4], "judged": [0, 3]}, {"learned": [0, 3], "judged": [2, 4]},
        ]  # fmt: skip
        save_file({"values": said}, arguments[1])

    monkeypatch.setattr(reproducing, "run_module", run)
    found = OutOfFold(np.array([0, 2, 3, 4]), Outputs(np.zeros((4, 2), dtype=np.float32)), {"labels": ["a", "b"]})
    both = with_probe(found, Paths(tmp_path), folds, on_fold=lambda: None)
    assert both.outputs.values.tolist() == [[0, 0.5], [2, 2.5], [3, 3.5], [4, 4.5]]


@pytest.mark.parametrize("task", ["text_classification", "regression"])
def test_the_vectors_are_those_that_the_probe_s_own_head_reads_and_windows_are_put_together(
    tmp_path: Path, tiny_models: Callable[[str], Path], task: str
) -> None:
    params, paths = prepared(
        tmp_path, tiny_models("bert"), task, tokenize__long_texts="windows", tokenize__max_tokens=6, tokenize__stride=1
    )
    probe(params, paths)
    folder, texts = paths.model("probe"), ["ship anchor", "the old harbour near ship and anchor under the tide", "pan"]
    head = load_file(folder / "model.safetensors")
    logits = vectors_of(folder, texts) @ head["head.weight"].T + head["head.bias"]
    activate = plugins.part(TASKS, task, "answers", key="task").activate
    assert activate(logits) == pytest.approx(open_runner(folder, threads=1).predict(texts).values, abs=1e-5)


@pytest.fixture
def with_a_probe(tmp_path: Path, tiny_models: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A project of two topics with its probe, in which this process works; the first training row is wrong."""
    params, paths = prepared(tmp_path, tiny_models("bert"), "text_classification")
    rows = pq.read_table(paths.clean).to_pandas()
    first = rows.index[rows["split"] == "train"][0]
    rows.loc[first, "label"] = "kitchen"
    rows.to_parquet(paths.clean)
    tokenize(params, paths)
    probe(params, paths)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return paths


def test_where_the_probe_is_made_its_encoder_is_asked_too(
    with_a_probe: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = with_a_probe
    assert has_probe(paths)
    both = doubted(paths, USUAL._replace(neighbours=0))
    assert (both.probed, both.unjudged) == (True, 0)
    assert both.rows[0].row.row_id == "train000"
    assert both.rows[0].reason.startswith("the mean of two models that did not learn from it says sea (0.")
    assert "than the one that simple models think likelier" in render(both, "text_classification")
    for arguments in (("--apart", "group"), ("--no-probe",)):
        said = labelled(capsys, "errors", *arguments, "--neighbours", "0")
        assert said.code == 0
        assert "the baseline alone judged" not in "".join(said.err), "it was asked for"
    shutil.rmtree(paths.model("probe"))
    alone = doubted(paths, USUAL._replace(neighbours=0))
    assert not alone.probed
    assert [one.quality for one in alone.rows] != [one.quality for one in both.rows]
    assert "the baseline alone judged. With the probe more is found" in "".join(labelled(capsys, "errors").err)


def test_labels_that_have_changed_since_the_probe_was_made_are_learned_as_they_are_now(with_a_probe: Paths) -> None:
    rows = pq.read_table(with_a_probe.clean).to_pandas()
    first = rows.index[rows["split"] == "train"][0]
    rows.loc[first, "label"] = "sea"
    rows.to_parquet(with_a_probe.clean)
    assert "train000" not in {one.row.row_id for one in doubted(with_a_probe, USUAL._replace(neighbours=0)).rows}


def test_a_model_that_knows_fewer_labels_gives_the_others_none() -> None:
    own, space = {"labels": ["a", "c"]}, {"labels": ["a", "b", "c"]}
    outputs = Outputs(np.array([[0.25, 0.75]], dtype=np.float32))
    for task in ("text_classification", "multilabel_classification"):
        assert doubts_of(task).aligned(outputs, own, space).values.tolist() == [[0.25, 0, 0.75]]
    numbers = doubts_of("regression").aligned(
        Outputs(np.array([[1.0]], dtype=np.float32)), {"mean": 2, "deviation": 3}, {"mean": 1, "deviation": 2}
    )
    assert numbers.values.tolist() == [[2.0]]  # 2 + 1 x 3 = 1 + 2 x 2


def test_wrong_sets_and_wrong_numbers_have_the_least_quality() -> None:
    values = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]] * 10, dtype=np.float32)
    targets = ['["a"]', '["a"]', '["b"]', '["b"]'] * 10
    targets[6] = '["a"]'
    said = doubts_of("multilabel_classification").doubts(targets, Outputs(values), {"labels": ["a", "b"]})
    assert int(said.quality_N.argmin()) == 6
    assert said.flagged_N[6]
    numbers = doubts_of("regression").doubts(
        ["1", "2", "9"], Outputs(np.array([[1], [2], [3]], dtype=np.float32)), {"mean": 0, "deviation": 1}
    )
    assert numbers.quality_N == pytest.approx([1, 1, np.exp(-6)])
    assert not numbers.flagged_N.any()


def test_a_label_that_every_row_has_is_in_no_doubt() -> None:
    doubts, draw = doubts_of("multilabel_classification").doubts, np.random.default_rng(1)
    values = np.array([[1.0, 0.9], [1.0, 0.1]] * 10, dtype=np.float32)
    targets = ['["all", "kitchen"]', '["all"]'] * 10
    targets[4] = '["all"]'
    said = doubts(targets, Outputs(values), {"labels": ["all", "kitchen"]})
    assert int(said.quality_N.argmin()) == 4
    assert said.flagged_N.tolist() == [at == 4 for at in range(20)]
    for one in ('["all"]', "[]"):
        said = doubts([one] * 5, Outputs(draw.random((5, 1))), {"labels": ["all"]})
        assert (said.quality_N == 1).all()
        assert not said.flagged_N.any()


def test_sets_and_numbers_are_doubted_from_end_to_end(tmp_path: Path) -> None:
    rows, places = corpus()
    sets = write_project(
        tmp_path / "sets", [(text, f'["{label}"]') for text, label in rows], (),
        task__name="multilabel_classification", task__measure="micro_f1",
    )  # fmt: skip
    amounts = {topic: str(at) for at, topic in enumerate(TOPICS)}
    numbers = write_project(
        tmp_path / "numbers", [(text, amounts[label]) for text, label in rows], (),
        task__name="regression", task__measure="pearson", validate__min_labels=1, validate__max_label_share=None,
        promotion__max_ece=None,
    )  # fmt: skip
    planted = {f"r{at}" for at in places}
    for paths in (sets, numbers):
        found = doubted(paths)
        assert len(planted & {one.row.row_id for one in found.rows[:WRONG]}) >= WRONG // 2, paths.root
    assert found.rows[0].probability is None
    assert found.rows[0].reason.startswith("a model that did not learn from it says ")


def test_the_page_shows_hostile_texts_as_text() -> None:
    row = Listed("r1", "<i>soup</i>", origin="a.csv:2", given="sea", suggestion="kitchen")
    page = render(DoubtedRows([Doubted(row, 0.1, 0.9, 0.1, flagged=True)], 7, 1, 10, 0, 0), "text_classification")
    assert "&lt;i&gt;soup&lt;/i&gt;" in page
    assert "<i>soup" not in page
    assert "This page holds the 1 that are likeliest to be wrong." in page


def test_the_command_lists_doubted_rows_and_what_is_said_of_them_is_not_asked_again(
    flipped: tuple[Paths, set[int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, _ = flipped
    monkeypatch.chdir(paths.root)
    said = labelled(capsys, "errors", "--limit", "5", "-o", "doubts.csv", "-o", "doubts.html", "--neighbours", "1")
    assert said.code == 0
    rows = rows_of(Path("doubts.csv"))
    assert list(rows[0]) == [
        "row_id", "text", "given", "likely", "quality", "probability", "flagged", "reason", "label", "drop",
    ]  # fmt: skip
    assert {row.row_id: row.given for row in listed(paths)} == {row["row_id"]: row["given"] for row in rows}
    assert "<title>Winnow: doubted labels</title>" in Path("doubts.html").read_text()
    assert [line for line in said.err if " training rows are doubted, " in line]
    write_rows(Path("doubts.csv"), [{**rows[0], "label": rows[0]["likely"]}])
    pq.write_table(pq.read_table(paths.clean, columns=["row_id", "text", "label"]), paths.raw)
    assert labelled(capsys, "take", "doubts.csv").code == 0
    again = labelled(capsys, "errors", "--neighbours", "0")
    assert "winnow: 1 more stand in corrections.csv already." in again.err
    assert again.lines[0].split("\t")[1:3] == [rows[1]["given"], f"likelier {rows[1]['likely']}"]
