"""The ablation: its variants, its page, and (slow) all of it on the tiny corpus."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY, init_repository, make_project, run
from review_fixtures import MEASURES

from flows.dvc.edits import set_values
from flows.experiments import ablation
from stages.core.params.file import load_params
from stages.core.paths import MODELS

TABLE = ablation.variants([0, 5])


@pytest.mark.parametrize("variant", TABLE, ids=[variant.name for variant in TABLE])
def test_every_variant_is_one_that_params_takes(variant: ablation.Variant, tmp_path: Path) -> None:
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    set_values(copied, {**variant.changes, "seed": 21})
    assert load_params(copied).seed == 21
    assert variant.model in MODELS


def test_a_recurrent_student_is_refused_before_anything_runs(tmp_path: Path) -> None:
    shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    set_values(tmp_path / "params.yaml", {"distill.family": "bilstm"})
    init_repository(tmp_path)
    run(tmp_path, "git", "add", "-A")
    run(tmp_path, "git", "commit", "-q", "-m", "start")
    with pytest.raises(ValueError, match=r"distill\.family is 'bilstm'\. Allowed for the ablation: encoder"):
        ablation.ablate(tmp_path, 1, print)


def test_a_narrower_student_has_no_variant_that_compares_vectors_of_its_teachers_width(tmp_path: Path) -> None:
    narrower = ablation.variants([0, 5], narrower=True)
    assert len(narrower) == len(TABLE) - 2
    for variant in narrower:
        copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
        set_values(copied, {**variant.changes, "distill.hidden_size": 256})
        assert load_params(copied).distill.hidden_size == 256
    scores = {variant.name: [0.5] for variant in narrower}
    assert len(ablation._against_labels(scores, "macro-F1")) == 2 + 3


def test_no_two_variants_are_the_same() -> None:
    assert len({variant.name for variant in TABLE}) == len(TABLE)
    assert len({(variant.model, json.dumps(variant.changes)) for variant in TABLE}) == len(TABLE)


def test_a_parameter_that_is_not_there_is_named(tmp_path: Path) -> None:
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(ValueError, match=r"it has no parameter 'distill\.loses\.labels'"):
        set_values(copied, {"distill.loses.labels": 0.25})


def found(**scores: list[float]) -> ablation.Found:
    given = {variant.name: [0.6, 0.5] for variant in TABLE} | scores
    speed = {"latency_p50_ms": 1.234, "throughput_rows_per_s": 1234.5, "size_mb": 7.25, "processor": 0.0}
    return ablation.Found(
        (20, 21), MEASURES.measure("macro_f1"), given, dict.fromkeys(given, speed), "a processor, 2 cores"
    )


def test_the_page_has_means_and_spreads_over_the_seeds() -> None:
    page = ablation.as_markdown(found(**{"int8 (params.yaml)": [0.54, 0.48]}))
    assert "| int8 (params.yaml) | 51.0% ± 4.2 | 93.0% | 1.23 | 1,234 | 7.2 |" in page
    assert "2 seeds (20, 21)" in page
    assert page.count("\n| ") == len(TABLE) + 2


def test_what_distillation_gains_is_judged_by_the_spread_of_its_differences() -> None:
    page = ablation.as_markdown(
        found(**{ablation.LABELS_ALONE: [0.5, 0.4], "student, logits alone": [0.52, 0.43], "teacher": [0.6, 0.6]})
    )
    assert "- student, logits alone: +2.5 ± 0.7, more than the spread of the seeds" in page
    page = ablation.as_markdown(found(**{ablation.LABELS_ALONE: [0.5, 0.5], "student, logits alone": [0.52, 0.48]}))
    assert "- student, logits alone: +0.0 ± 2.8, no more than the spread of the seeds" in page


@pytest.mark.slow
def test_the_page_is_made_of_real_runs_and_made_again_from_the_cache(tmp_path: Path) -> None:
    project = make_project(tmp_path / "winnow")
    first = run(project, "winnow", "ablation", "--seeds", "2")
    assert "'distill'" in first.stderr
    record = json.loads((project / "docs/ablation.json").read_text())
    assert record["macro_f1"].keys() == {variant.name for variant in TABLE}
    assert all(len(scores) == 2 and min(scores) > 0.3 for scores in record["macro_f1"].values())
    assert run(project, "git", "status", "--porcelain", "params.yaml", "dvc.lock").stdout == ""
    timed = {name: speed["latency_p50_ms"] for name, speed in record["profile"].items()}
    assert timed.keys() == record["macro_f1"].keys()
    again = run(project, "winnow", "ablation", "--seeds", "2")
    assert "'distill'" not in again.stderr
    assert json.loads((project / "docs/ablation.json").read_text())["macro_f1"] == record["macro_f1"]
