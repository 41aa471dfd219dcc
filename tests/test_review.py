"""The review, on a scratch repository with branches and a real DVC remote, and its pure parts by hand."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, edit_params, run
from review_fixtures import MEASURES, answered, empty_review, example_review
from review_project import change, make_review_project, review
from sklearn.metrics import f1_score

from flows.dvc import planning, storage
from flows.gate.rules import rules_of
from flows.review import changes, comment
from flows.review.comparison import _unrun, gather
from flows.review.evidence import (
    Decision,
    Flip,
    MetricChange,
    ParamChange,
    Results,
    Sources,
    StageChange,
    without_texts,
)
from flows.review.markdown import between, code, escape, value
from flows.review.model_results import in_both, on_common_rows
from flows.review.model_results import results as results_of
from flows.review.page.charts import charts_of
from flows.review.page.page import render
from flows.review.pull_request import as_markdown, mark, stopped
from flows.review.revisions import base_of
from flows.review.side import Side
from flows.review.unrun import unrun
from stages.core.params.file import load_params

MARK = mark("")


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository on whose branch `worse` the quantized model has 40 rows of 600 wrong, and a parameter is another."""
    project = make_review_project(tmp_path_factory.mktemp("review") / "project")
    run(project, "git", "checkout", "-qb", "worse")
    edit_params(project, evaluate__resamples=500)
    change(project, "40 rows worse", worse={"quantized": 40})
    return project


@pytest.fixture
def project(reviewed: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "project"
    shutil.copytree(reviewed, copied, symlinks=True)
    return copied


def test_the_five_questions_come_first_and_are_answered(reviewed: Path) -> None:
    text = review(reviewed, "--base", "main").stdout
    first = text.partition("<details>")[0]
    assert text.startswith(MARK)
    assert len(first.splitlines()) < 20
    assert "`evaluate.resamples` `1000` → `500`" in first
    assert re.search(r"macro-F1 9\d\.\d% → 8\d\.\d% \(-\d\.\d points\)", first)
    assert re.search(r"\| Is that real\? \| yes; .* 0 became better, \d\d worse", first)
    assert "latency p50 2 ms → 2 ms" in first
    assert "❌ fail" in first
    for stage in ("`clean`", "`evaluate@quantized`"):
        assert stage in text


def test_every_number_is_that_of_the_files_of_both_revisions(reviewed: Path) -> None:
    found = gather(reviewed, "main")
    before = json.loads(run(reviewed, "git", "show", "main:metrics/quality/quantized.json").stdout)
    after = json.loads((reviewed / "metrics/quality/quantized.json").read_text())
    accuracy = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "accuracy"))
    assert (accuracy.before, accuracy.after) == (before["accuracy"], after["accuracy"])
    assert accuracy.verdict == "worse"
    assert accuracy.low < accuracy.difference < accuracy.high < 0
    teacher = next(c for c in found.metrics if (c.model, c.metric) == ("teacher", "accuracy"))
    assert teacher.verdict == "unchanged"
    flips = [flip for flip in found.flips if flip.model == "quantized"]
    lost = round((before["accuracy"] - after["accuracy"]) * 600)
    pair = next(pair for pair in found.paired if pair.model == "quantized")
    assert pair.worse - pair.better == lost == sum(flip.kind == "worse" for flip in flips)
    assert (flips[0].sure_before, flips[0].sure_after) == (0.8, 0.8)
    labels = [part for part in found.parts if part.by == "label"]
    assert sum(part.worse - part.better for part in labels) == lost
    assert {part.name for part in found.parts if part.by == "length"} == {"short", "long"}
    assert all(part.low < part.after - part.before < part.high < 0 for part in labels if part.verdict == "worse")
    assert (found.curves["train/loss"][0], found.curves_before) == (("baseline", 1.0, 2.0), {})
    assert [entry.subject for entry in found.history] == ["40 rows worse", "first results"]
    assert flips[0].text.startswith(f"text {flips[0].row_id} about {flips[0].truth}")
    assert found.base.subject == "first results"
    assert found.head.name == "worse"
    assert found.notes == ()


def test_the_same_revision_changes_nothing_and_passes(reviewed: Path) -> None:
    found = gather(reviewed, "HEAD")
    assert found.params == found.stages == found.flips == found.not_run == ()
    assert {c.verdict for c in found.metrics} == {"unchanged"}
    assert found.decision is not None
    assert found.decision.outcome == "pass"


def test_in_a_clone_the_branch_left_the_main_branch_of_its_remote(tmp_path: Path) -> None:
    for command in (
        ["git", "init", "-qb", "trunk", "source"],
        ["git", "-C", "source", "commit", "-q", "--allow-empty", "-m", "one"],
        ["git", "clone", "-q", "source", "clone"],
        ["git", "-C", "clone", "switch", "-qc", "mine"],
    ):
        run(tmp_path, *command)
    whole = run(tmp_path / "clone", "git", "rev-parse", "HEAD").stdout.strip()
    assert base_of(tmp_path / "clone", whole, whole[:7], asked=False).place == "where it left origin/trunk"


def test_without_a_base_it_is_where_the_branch_left_main(reviewed: Path) -> None:
    base = gather(reviewed).base
    assert base.commit == base.name == run(reviewed, "git", "rev-parse", "--short", "main").stdout.strip()
    assert base.place == "where it left main"


def test_a_fresh_clone_gets_what_it_needs_from_the_remote_and_make_review_says_it_matches(
    reviewed: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "a clone"
    run(tmp_path, "git", "clone", "-q", "--branch", "worse", str(reviewed), str(clone))
    (clone / ".venv").mkdir()
    (clone / ".venv/bin").symlink_to(Path(sys.executable).parent)
    done = run(clone, "make", "-o", ".venv/.ready", "review", BASE="origin/main")
    assert " worse, " in done.stdout
    assert "- Note:" not in done.stdout
    assert (clone / "artifacts/review/review.html").stat().st_size > 100_000
    assert (clone / "artifacts/review/review.md").read_text() in done.stdout
    edit_params(clone, evaluate__resamples=700)
    done = run(clone, "make", "-o", ".venv/.ready", "review", BASE="origin/main", check=False)
    assert done.returncode != 0
    assert "dvc.lock does not match" in done.stderr
    assert "evaluate@quantized would run" in done.stderr
    assert (clone / "artifacts/review/review.md").read_text().startswith(f"{MARK}\n\n## Winnow review: ❌ not run\n")


def test_without_the_data_a_lock_that_matches_is_no_fault(reviewed: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", "--branch", "worse", str(reviewed), str(clone))
    assert run(clone, "winnow", "plan", "--check").stdout == ""


def test_an_altered_object_of_the_cache_is_not_believed(project: Path) -> None:
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    digest = lock["stages"]["evaluate@quantized"]["outs"][0]["md5"]
    kept = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(b"PAR1 something else")
    found = gather(project, "main")
    assert found.notes == ()  # the working tree's own copy has the right bytes
    assert found.decision is not None
    assert found.decision.outcome == "fail"


def test_a_base_without_metrics_is_a_first_release(project: Path) -> None:
    root = run(project, "git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    text = review(project, "--base", root).stdout
    assert re.search(r"- Note: metrics/quality/quantized\.json, .* and 11 more of \w+ are missing", text)
    assert "Is that real? | not known" in text


def test_a_model_that_the_base_did_not_make_is_new_there_and_nothing_of_it_is_missed(project: Path) -> None:
    graph = (project / "dvc.yaml").read_text()
    run(project, "git", "checkout", "-q", "-b", "earlier", "main")
    (project / "dvc.yaml").write_text(graph.replace("static, probe, ", ""))
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    for model in ("static", "probe"):
        del lock["stages"][f"evaluate@{model}"]
        run(project, "git", "rm", "-q", f"metrics/quality/{model}.json", f"metrics/profile/{model}.json")
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    run(project, "git", "commit", "-qam", "two models less")
    run(project, "git", "checkout", "-q", "worse")
    run(project, "dvc", "checkout", "-q")
    found = gather(project, "earlier")
    assert [note.partition(";")[0] for note in found.notes] == ["earlier has 1 commit that this branch lacks"]
    verdicts = {c.model: (c.before, c.verdict) for c in found.metrics if c.metric == "macro_f1"}
    assert verdicts["static"] == (None, "unknown")
    assert verdicts["teacher"][1] == "unchanged"


def test_other_test_rows_and_labels_are_said_and_the_review_still_comes_out(project: Path) -> None:
    change(project, "more", rows=900, first=300, labels=["sea", "kitchen", "desert"], processor="two", loss=4)
    found = gather(project, "main")
    notes = " ".join(found.notes)
    assert "600 before, 900 now, 300 in both" in notes
    assert "now without forest and with desert" in notes
    assert "another true label than before" in notes
    pair = next(pair for pair in found.paired if pair.model == "quantized")
    assert 0 < pair.rows < 300  # those whose label stayed
    assert "times are of two machines" in notes
    verdicts = {c.metric: c.verdict for c in found.metrics if c.model == "quantized"}
    assert verdicts["latency_p50_ms"] == "other machine"
    assert verdicts["size_mb"] == "unchanged"
    assert {verdicts[name] for name in ("accuracy", "macro_f1", "log_loss", "brier", "ece")} == {"not comparable"}
    assert found.parts == ()
    assert found.curves_before["train/loss"][:2] == [("baseline", 1.0, 2.0), ("baseline", 2.0, 1.0)]
    assert found.curves["train/loss"][0] == ("baseline", 1.0, 4.0)
    page = render(found)
    assert "It learned from other data" in page
    assert "Without what was before, as it cannot be compared: " in page
    assert not dict(charts_of(found))["scatter"]["datasets"].get("before")
    assert [entry.same_test(before) for entry, before in itertools.pairwise(found.history)] == [False, True]
    first = as_markdown(found).partition("<details>")[0]
    assert re.search(r"quantized: not comparable: macro-F1 \d\d\.\d% before, \d\d\.\d% now", first)
    assert re.search(r"Is that real\? \| not comparable: other labels, 3 before and 3 now, 2 in both", first)


def test_of_other_test_rows_those_of_both_are_judged_on_top(project: Path) -> None:
    answers = project / "artifacts/predictions/quantized.parquet"
    run(project, "git", "checkout", "-q", "main")
    run(project, "dvc", "checkout", "-q")
    before = pd.read_parquet(answers).set_index("row_id")
    run(project, "git", "checkout", "-qb", "more")
    change(project, "300 rows more", rows=900, worse={"quantized": 60})
    after = pd.read_parquet(answers).set_index("row_id").loc[before.index]
    f1_before, f1_after = (f1_score(side["truth"], side["answer"], average="macro") for side in (before, after))
    found = gather(project, "main")
    pair = found.of_candidate
    assert pair is not None
    assert pair.rows == 600
    assert pair.judged is not None
    assert (pair.judged.before, pair.judged.after) == (pytest.approx(f1_before), pytest.approx(f1_after))
    assert pair.judged.verdict == "worse"
    told = f"on the 600 test rows of both, macro-F1 {f1_before:.1%} → {f1_after:.1%} ("
    assert f"quantized: {told}" in render(found)
    first = as_markdown(found).partition("<details>")[0]
    own = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "macro_f1"))
    assert f"quantized: {told}" in first
    assert f"; on each side's own, macro-F1 {own.before:.1%} → {own.after:.1%} (" in first
    low, high = (f"{100 * end:+.1f}" for end in (pair.judged.low, pair.judged.high) if end is not None)
    assert re.search(rf"Is that real\? \| yes; the difference is between {re.escape(low)} and {re.escape(high)}", first)
    assert gather(project, "HEAD").of_candidate.judged is None


def test_three_test_rows_are_too_few_to_tell(project: Path) -> None:
    run(project, "git", "checkout", "-q", "main")
    change(project, "tiny", rows=3)
    run(project, "git", "commit", "--allow-empty", "-qm", "nothing")
    text = review(project, "--base", "HEAD~1").stdout
    assert "❔ inconclusive" in text
    assert re.search(r"Too few rows to tell: an equal model shows it with about \d[\d,]+", text)


def test_a_test_set_of_one_row_makes_nothing_real(project: Path) -> None:
    change(project, "one", rows=1)
    found = gather(project, "main")
    accuracy = next(c for c in found.metrics if (c.model, c.metric) == ("quantized", "accuracy"))
    assert accuracy.verdict in ("no clear change", "unchanged")
    assert found.decision is not None
    assert found.decision.outcome != "pass"


def test_a_parameter_that_changed_and_nothing_that_ran_is_not_run_and_no_difference_is_claimed(project: Path) -> None:
    edit_params(project, evaluate__resamples=700)
    done = review(project, "--base", "main", "--check", check=False)
    first = done.stdout.partition("<details>")[0]
    assert first.startswith(
        f"{MARK}\n\n## Winnow review: ❌ not run\n\n**the working tree, on worse** against **main ("
    )
    assert "\n\n> [!CAUTION]\n> **Not run.** 7 stages would run" in first
    assert "> - `evaluate@quantized`: evaluate.resamples: 500 → 700" in first
    assert "no difference" not in first
    assert "points" not in first
    assert "| May it ship? | **❌ no**: quantized was not run with this change |" in first
    assert done.returncode == 1
    assert "not run" in done.stderr
    page = (project / "artifacts/review/review.html").read_text()
    assert re.search(r'class="gate not-run".*?Not run</h2>\s*<p class="summary">7 stages would run', page, re.DOTALL)


def test_models_whose_stages_are_as_they_were_keep_their_verdicts(project: Path) -> None:
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    # Of one model alone, another entry: its figures are of parameters that are here no more.
    lock["stages"]["evaluate@student"]["params"]["params.yaml"]["evaluate"]["resamples"] = 700
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    found = gather(project, "main")
    assert [change.stage for change in found.not_run] == ["evaluate@student"]
    assert found.not_run_models == {"student"}
    verdicts = {c.model: c.verdict for c in found.metrics if c.metric == "macro_f1"}
    assert (verdicts["student"], verdicts["teacher"], verdicts["quantized"]) == ("not run", "unchanged", "worse")
    assert found.decision is not None


def test_what_follows_a_stage_that_would_run_is_of_before_too(project: Path) -> None:
    (project / "make.py").write_text((project / "make.py").read_text() + "# another line\n")
    found = unrun(project)
    assert found.stages[0].stage == "clean"
    reasons = {change.stage: change.reasons for change in found.stages}
    assert reasons["evaluate@teacher"] == ("make.py changed", "after clean")
    assert found.of("metrics/quality/teacher.json")


def test_what_cannot_be_had_is_one_note_and_nothing_is_asked_where_there_is_no_remote(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "artifacts/tables")
    asked: list[str] = []
    get = storage.get
    monkeypatch.setattr(
        storage, "get", lambda root, path, *more, **named: asked.append(path) or get(root, path, *more, **named)
    )
    run(project, "dvc", "remote", "modify", "store", "url", str(project / "nowhere"))
    found = gather(project, "main")
    assert asked == ["artifacts/predictions/quantized.parquet", "artifacts/tables/baseline"]  # one a revision
    run(project, "dvc", "remote", "remove", "store")
    found = gather(project, "main")
    assert len(asked) == 2
    notes = [note for note in found.notes if "cannot be had" in note]
    assert [note.partition(" of ")[2].partition(" cannot")[0] for note in notes] == [
        found.base.commit,
        "the working tree",
    ]
    assert all("no DVC remote" in note for note in notes)
    assert re.match(r"artifacts/predictions/quantized.parquet, artifacts/tables/.* and \d more of ", notes[0])


def test_an_unknown_revision_is_a_line(reviewed: Path) -> None:
    for name in ("nowhere", "--output=/tmp/x"):
        done = review(reviewed, f"--base={name}", check=False)
        assert done.returncode == 1
        assert f"git knows no revision '{name}'" in done.stderr
        assert "Traceback" not in done.stderr


# the pure parts


PARAMS = load_params(REPOSITORY / "params.yaml")
RULES = rules_of(PARAMS)


def results(truths: list[str], answers: list[str], names: tuple[str, ...] = ("a", "b"), **more: Any) -> Results:
    """A classifier that is 80% sure of each answer."""
    own = {f"p_{name}": np.array([0.8 if name == answer else 0.2 for answer in answers]) for name in names}
    right = np.array(truths) == np.array(answers)
    own |= {"log_loss": np.where(right, 0.22, 1.61), "brier": np.where(right, 0.08, 1.28)}
    return answered(truths, answers, own=own, confidence_N=np.full(len(truths), 0.8), **more)


def compared(old: Results, new: Results, notes: list[str] | None = None) -> dict[str, MetricChange]:
    found = changes.metrics("teacher", old, new, RULES, PARAMS.evaluate, [] if notes is None else notes)
    return {change.metric: change for change in found}


def test_differences_of_another_test_set_get_the_interval_of_two_samples() -> None:
    ends = {"accuracy": {"low": 0.7, "high": 0.9}}
    old = results(["a", "b"], ["a", "b"], quality={"accuracy": 0.8, "intervals": ends})
    new = results(
        ["a", "b", "a"],
        ["a", "b", "a"],
        quality={"accuracy": 0.9, "intervals": {"accuracy": {"low": 0.85, "high": 0.93}}},
    )
    change = compared(old, new)["accuracy"]
    assert change.low == pytest.approx(0.1 - np.hypot(0.05, 0.1))
    assert change.high == pytest.approx(0.1 + np.hypot(0.03, 0.1))


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (("c", "d"), "other labels, 2 before and 2 now, 0 in both"),
        (("a", "b", "c"), "other labels, 2 before and 3 now, 2 in both"),
        (("a", "b"), "other test rows, none in both"),
    ],
)
def test_two_data_sets_or_label_sets_are_never_better_or_worse(new: tuple[str, ...], why: str) -> None:
    ends = {"accuracy": {"low": 0.5, "high": 0.6}, "macro_f1": {"low": 0.5, "high": 0.6}}
    old = results(["a", "b"], ["a", "a"], quality={"accuracy": 0.564, "macro_f1": 0.564, "intervals": ends})
    sure = {"accuracy": {"low": 0.9, "high": 0.91}, "macro_f1": {"low": 0.9, "high": 0.91}}
    other = results([*new], [*new], new, quality={"accuracy": 0.902, "macro_f1": 0.902, "intervals": sure})
    other = dataclasses.replace(other, row_ids=np.array([f"other {name}" for name in new]))
    notes: list[str] = []
    found = compared(old, other, notes)
    assert (found["macro_f1"].verdict, found["macro_f1"].why) == ("not comparable", why)
    assert (found["macro_f1"].before, found["macro_f1"].after, found["macro_f1"].difference) == (0.564, 0.902, None)
    assert notes == [f"teacher: its quality before and now cannot be compared: {why}."]


def of_source(found: Results, texts: list[str], md5: str) -> Results:
    """The same, of rows whose source has these texts; none where it cannot be had."""
    known = dict(zip(found.row_ids.tolist(), texts, strict=True)) if texts else {}
    asked = lambda row_ids: [known.get(row_id) for row_id in row_ids.tolist()] if known else []  # noqa: E731
    return dataclasses.replace(found, sources=Sources(md5, asked))


def test_a_row_in_the_place_of_another_is_not_the_same_row() -> None:
    """A file with a row more on top: each id is that of the row before, most with its label too."""
    texts = [f"text {at}" for at in range(8)]
    old, new = (results(["a"] * 6 + ["b"] * 2, ["a"] * 8) for _ in range(2))
    old, moved = of_source(old, texts, "1"), of_source(new, ["new", *texts[:7]], "2")
    notes: list[str] = []
    assert on_common_rows("teacher", old, moved, notes) is None
    assert notes[0].startswith("teacher: the test rows are not the same: 8 before, 8 now, 0 in both.")
    assert changes.apart(old, moved, MEASURES, same_data=False) == "other test rows, none in both"
    some = of_source(new, [*texts[:3], "new", *texts[3:7]], "2")
    common = on_common_rows("teacher", old, some, notes)
    assert common is not None
    assert common[0].row_ids.tolist() == ["0", "1", "2"]
    unknown = of_source(new, [], "2")
    assert len(in_both(old, unknown)[0]) == 8  # then an id is all there is


def test_the_texts_of_a_revision_are_those_of_its_source(project: Path) -> None:
    made = project / "made.yaml"
    made.write_text(f"{made.read_text()}topmost: 1\n")
    run(project, "dvc", "repro", "-q", "clean")
    then, now = (results_of(Side(project, commit), "quantized") for commit in ("main", None))
    assert len(then.row_ids) == 600
    assert [len(at) for at in in_both(then, now)] == [0, 0]
    assert now.sources is not None
    assert now.sources.texts(now.row_ids[:1]) == ["text 000001"]


def test_without_predictions_figures_are_compared_only_where_the_data_is_the_same() -> None:
    one, two = (Results(quality={"per_label": {"a": {}}, "accuracy": score}) for score in (0.5, 0.9))
    assert changes.apart(one, two, MEASURES, same_data=True) == ""
    assert "not known" in changes.apart(one, two, MEASURES, same_data=False)
    other = dataclasses.replace(two, quality={"per_label": {"z": {}}})
    assert changes.apart(one, other, MEASURES, same_data=True).startswith("other labels")
    entities = dataclasses.replace(two, task="token_classification")
    told = "another task, text_classification before and token_classification now"
    assert changes.apart(one, entities, MEASURES, same_data=True) == told


def test_losses_of_the_same_rows_get_a_paired_interval() -> None:
    draw = np.random.default_rng(0)
    truth = draw.choice(["a", "b"], 400).tolist()
    old = [label if draw.random() < 0.6 else "a" for label in truth]
    known = {"log_loss": 1.0, "brier": 0.5, "ece": 0.2}
    found = compared(
        results(truth, old, quality=known), results(truth, truth, quality=known | {"brier": 0.08, "log_loss": 0.2})
    )
    assert found["brier"].high < 0
    assert found["log_loss"].verdict == "better"
    assert found["ece"].confidence == 0.95


def test_a_stage_that_dvc_yaml_has_no_more_neither_would_run_nor_made_what_another_makes_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after five stages became one: DVC leaves the five in dvc.lock."""
    code = {"path": "stages/backends", "md5": "0.dir"}
    own = {"deps": [{"path": "artifacts/models/teacher"}, code], "outs": [{"path": "metrics/profile/teacher.json"}]}
    stages = {"finetune": {"outs": [{"path": "artifacts/models/teacher"}]}, "profile": own, "profile@teacher": own}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"finetune": {}, "profile": {}}}))
    (tmp_path / "stages/backends").mkdir(parents=True)
    monkeypatch.setattr(planning, "stale", lambda _: ("finetune",))
    found = unrun(tmp_path)
    assert [change.stage for change in found.stages] == ["finetune", "profile"]
    assert found.stages[1].reasons == ("stages/backends changed", "after finetune")
    assert found.makers["metrics/profile/teacher.json"] == "profile"


def test_a_stage_is_listed_with_what_changed_in_its_lock() -> None:
    old = {
        "stages": {
            "distill": {
                "cmd": "x",
                "deps": [{"path": "a", "md5": "1"}],
                "params": {"params.yaml": {"distill": {"t": 4}}},
            },
            "gone": {},
        }
    }
    new = {
        "stages": {
            "distill": {
                "cmd": "x",
                "deps": [{"path": "a", "md5": "2"}],
                "params": {"params.yaml": {"distill": {"t": 3}}},
            },
            "new": {},
        }
    }
    found = {change.stage: change.reasons for change in changes.stages(old, new)}
    assert found == {"distill": ("distill.t: 4 → 3", "a changed"), "new": ("it is new",), "gone": ("it is gone",)}


def test_verdicts_need_an_interval_that_leaves_out_zero() -> None:
    def verdict(low: float | None, high: float | None, after: float = 0.6) -> str:
        return MetricChange("m", "accuracy", "share", "higher", 0.5, after, low, high).verdict

    assert verdict(0.01, 0.2) == "better"
    assert verdict(-0.01, 0.2) == "no clear change"
    assert verdict(None, None, after=0.5) == "unchanged"
    assert MetricChange("m", "size_mb", "MB", "lower", 16.0, 17.0).verdict == "worse"
    assert MetricChange("m", "size_mb", "MB", "lower", None, 17.0).verdict == "unknown"


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.5612, "share", "56.1%"),
        (1.0382, "ms", "1.04 ms"),
        (8004.2, "rows/s", "8,004 rows/s"),
        (None, "ms", "-"),
        (float("inf"), "ms", "-"),
    ],
)
def test_values_are_shown_as_people_read_them(number: float | None, unit: str, text: str) -> None:
    assert value(number, unit) == text


def test_the_ends_of_a_difference_have_one_unit() -> None:
    assert between(-0.007, 0.022, "share") == "-0.7 and +2.2 points"
    assert between(float("-inf"), 0.022, "share") == "-"


def test_texts_of_rows_are_no_markup_in_the_comment() -> None:
    hostile = "a | b\n<img src=x> `code` [link](http://x) @someone **bold**"
    safe = escape(hostile)
    assert "\n" not in safe
    assert not re.search(r"(?<!\\)[|`*\[]|<|@s|http://", safe)
    assert escape("www.example.org, GH-12 and gh-3") == "www\u2060.example.org, GH-\u206012 and gh-\u20603"
    assert escape("awww. and GH-x") == "awww. and GH-x"
    assert escape("see !12 and $x$") == r"see \!12 and \$x\$"  # of GitLab a merge request, of GitHub a formula


def test_values_of_parameters_are_code_and_nothing_ends_it() -> None:
    assert code("[0, 3, 5]") == "`[0, 3, 5]`"
    assert code("a`b``c | d\n@someone") == "```a`b``c | d @someone```"
    assert code("`x`") == "`` `x` ``"


def test_a_bar_in_a_parameter_is_a_bar_in_the_heading_and_ends_no_cell_of_the_table() -> None:
    change = ParamChange("ingest.pattern", None, "a|b*.csv")
    text = as_markdown(dataclasses.replace(example_review(), params=(change,)))
    assert "`ingest.pattern` `none` → `a|b*.csv`" in text
    assert "| `ingest.pattern` | `none` | `a\\|b*.csv` |" in text


def test_a_model_of_which_only_the_costs_are_of_before_is_not_said_to_be_not_run() -> None:
    """The one stage `profile` would run where any model is another: of the others the quality stands."""
    review = dataclasses.replace(
        example_review(), decision=None, not_run=(StageChange("distill", ("seed: 1 -> 2",)),),
        not_run_models=frozenset({"teacher", "student", "quantized"}),
        only_costs_not_run=frozenset({"teacher", "quantized"}),
    )  # fmt: skip
    text = as_markdown(review)
    assert "There are no figures of this change for student, and no costs for teacher, quantized." in text
    assert "| May it ship? | **❌ no**: quantized was not timed with this change |" in text
    alone = dataclasses.replace(review, not_run_models=review.only_costs_not_run)
    assert "There are no costs of this change for teacher, quantized." in as_markdown(alone)


def test_where_it_cannot_be_told_what_would_run_the_check_fails_too(tmp_path: Path) -> None:
    stale, why = _unrun(tmp_path)
    assert stale.stages == ()
    assert why.startswith("Whether dvc.lock is of this code and these parameters cannot be told: ")
    passed = example_review()
    assert stopped(passed) is None
    assert stopped(dataclasses.replace(passed, not_told=why)) == why
    assert stopped(dataclasses.replace(passed, not_run=(StageChange("clean", ()),))) is not None
    assert stopped(dataclasses.replace(passed, decision=Decision("fail", ()))) is not None


# the comment


class Comments(BaseHTTPRequestHandler):
    """GitHub's interface to the comments of an issue, as far as the workflow needs it."""

    kept: dict[int, dict[str, Any]]
    tokens: set[str]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def given(self) -> dict[str, Any]:
        self.tokens.add(str(self.headers["Authorization"]))
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        found = re.search(r"[?&]page=(\d+)", self.path)
        assert found
        page = int(found[1])
        self.answer(list(self.kept.values())[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        number = len(self.kept) + 1
        self.kept[number] = {"id": number, **self.given(), "user": {"type": "Bot"}, "html_url": f"comment {number}"}
        self.answer(self.kept[number], 201)

    def do_PATCH(self) -> None:
        number = int(self.path.rpartition("/")[2])
        self.kept[number] |= self.given()
        self.answer(self.kept[number])


@pytest.fixture
def comments() -> Iterator[tuple[str, type[Comments]]]:
    handler = type("Handler", (Comments,), {"kept": {}, "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()


def test_the_comment_is_written_once_and_then_updated(tmp_path: Path, comments: tuple[str, type[Comments]]) -> None:
    address, handler = comments
    talk = {n: {"id": n, "body": "talk", "user": {"type": "User"}} for n in range(1, 131)}
    handler.kept |= talk | {131: {"id": 131, "body": f"{MARK} mine, says somebody", "user": {"type": "User"}}}
    file = tmp_path / "review.md"
    environment = {
        "GITHUB_API_URL": address,
        "GITHUB_REPOSITORY": "a/b",
        "GITHUB_TOKEN": "the-token",
        "PULL_REQUEST": "7",
    }
    for text in ("first", "second"):
        file.write_text(f"{MARK}\n{text}")
        command = [sys.executable, "-m", "flows.review.comment", str(file)]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "comment 132"
        assert "the-token" not in done.stdout + done.stderr
    assert len(handler.kept) == 132
    assert handler.kept[132]["body"] == f"{MARK}\nsecond"
    file.unlink()  # the review of a later commit failed: what was said of an earlier one must not stand
    subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=True)
    assert handler.kept[132]["body"] == MARK + comment.NO_REVIEW
    assert handler.tokens == {"Bearer the-token"}


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ValueError, match="GITHUB_TOKEN is not set"):
        comment.upsert("text", {"GITHUB_REPOSITORY": "a/b", "PULL_REQUEST": "7"})


def test_the_workflow_fails_where_a_stage_would_run_and_comments_all_the_same() -> None:
    """The review's file is written before the check of it fails: see the test of `make review` in a fresh clone."""
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/review.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["review"]["steps"]
    runs = [step.get("run", "") for step in steps]
    review, projects = (runs.index(f"make {target}") for target in ("review", "review-projects"))
    commenting = [place for place, run in enumerate(runs) if "flows.review.comment" in run]
    assert review < projects < min(commenting)
    assert len(commenting) == 2  # of the repository itself, and of each of projects/
    assert not any("continue-on-error" in step for step in steps)
    assert all("!cancelled()" in steps[place]["if"] for place in (projects, *commenting))


def test_workflows_pin_their_actions_and_ask_for_no_more_than_they_need() -> None:
    for path in (REPOSITORY / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert all(re.search(r"@[0-9a-f]{40} #", line) for line in text.splitlines() if "uses:" in line), path
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}, path
        assert "pull_request_target" not in text, path
        jobs = yaml.safe_load(text)["jobs"].values()
        whole = {name: value for name, value in yaml.safe_load(text).items() if name != "jobs"}
        beside_steps = [{name: value for name, value in job.items() if name != "steps"} for job in jobs]
        assert "secrets." not in str((whole, beside_steps)), path  # each is for the one step that needs it
        runs = re.findall(r"run: (.+)", text)
        assert not any("${{" in command for command in runs), path  # nothing of a pull request becomes shell


def test_a_review_without_texts_shows_rows_by_their_ids():
    shown, hidden = example_review(), without_texts(example_review())
    text = max((flip.text for flip in shown.flips), key=len)[:20]
    assert text in render(shown)
    assert not any(flip.text for flip in hidden.flips)
    assert text not in render(hidden)
    assert text in as_markdown(shown)
    assert text not in as_markdown(hidden)
    assert f"row {hidden.flips[0].row_id}" in render(hidden)


def test_a_review_without_texts_shows_no_written_truth_or_answer_and_no_image():
    own: dict[str, dict[str, Any]] = {
        "written": {"truth": "SECRET truth", "before": "SECRET one", "after": "SECRET other", "written": True},
        "image": {"truth": "a pair", "before": "rank 2", "after": "rank 1", "image": "data:image/webp;base64,SECRET"},
    }
    flips = [Flip("quantized", row, "SECRET text", score_before=0.1, score_after=0.9, **of) for row, of in own.items()]
    shown = dataclasses.replace(empty_review(), flips=tuple(flips), candidate="quantized")
    hidden = without_texts(shown)
    assert render(shown).count("SECRET") >= 5
    for page in (render(hidden), as_markdown(hidden)):
        assert "SECRET" not in page
        assert "row written" in page
        assert "rank 1" in page
