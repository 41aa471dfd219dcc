"""The ablation: its variants, its page, and (slow) all of it on the tiny corpus."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, make_project, run
from review_fixtures import MEASURES
from writing_run import ROWS, sections_of, write_sentences

from flows.dvc.edits import set_values
from flows.experiments import ablation
from stages.core.params.file import load_params
from stages.core.paths import MODELS
from stages.tasks.contract import Measure
from stages.tasks.text_generation.measures import MEASURES as BITS

TABLE = ablation.variants(load_params(REPOSITORY / "params.yaml"))
WITH_VECTORS = {"the same and hidden vectors", "the same and embeddings", "the same and relations"}
ENCODER: dict[str, Any] = {}
NARROWER = {"distill.hidden_size": 256}
RECURRENT = {
    "distill.family": "bilstm",
    "distill.freeze_layers": 0,
    "distill.layer_decay": 1.0,
    "prune.heads_kept": 1.0,
    "prune.feed_forward_kept": 1.0,
}
SUMMARIES = REPOSITORY / "projects/docstrings-summarize"
WRITES = REPOSITORY / "projects/docstrings-write"
PROJECTS = [
    (REPOSITORY, ENCODER), (REPOSITORY, NARROWER), (REPOSITORY, RECURRENT), (SUMMARIES, {}), (WRITES, {}),
]  # fmt: skip


def table_of(project: Path, changes: Mapping[str, Any], tmp_path: Path) -> tuple[ablation.Variant, ...]:
    copied = shutil.copyfile(project / "params.yaml", tmp_path / "params.yaml")
    set_values(copied, changes)
    return ablation.variants(load_params(copied))


@pytest.mark.parametrize(("project", "changes"), PROJECTS)
def test_every_variant_is_one_that_params_takes(project: Path, changes: dict[str, Any], tmp_path: Path) -> None:
    for variant in table_of(project, changes, tmp_path):
        copied = shutil.copyfile(project / "params.yaml", tmp_path / "params.yaml")
        set_values(copied, {**changes, **variant.changes, "seed": 21})
        assert load_params(copied).seed == 21
        assert variant.model in MODELS


@pytest.mark.parametrize(
    ("project", "changes", "left_out"),
    [
        (REPOSITORY, NARROWER, {"the same and hidden vectors", "the same and embeddings"}),
        (REPOSITORY, RECURRENT, {*WITH_VECTORS, "pruned, vocabulary alone", "int8, dynamic"}),
        (WRITES, {}, {*WITH_VECTORS, "pruned, vocabulary alone", "int8, dynamic"}),
    ],
)
def test_what_the_student_has_not_is_left_out(
    project: Path, changes: dict[str, Any], left_out: set[str], tmp_path: Path
) -> None:
    names = {variant.name for variant in table_of(project, changes, tmp_path)}
    assert {variant.name for variant in TABLE} - names == left_out
    assert names < {variant.name for variant in TABLE}


def test_no_two_variants_are_the_same() -> None:
    assert len({variant.name for variant in TABLE}) == len(TABLE)
    assert len({(variant.model, json.dumps(variant.changes)) for variant in TABLE}) == len(TABLE)


def test_a_parameter_that_is_not_there_is_named(tmp_path: Path) -> None:
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    with pytest.raises(ValueError, match=r"it has no parameter 'distill\.loses\.labels'"):
        set_values(copied, {"distill.loses.labels": 0.25})


MACRO_F1 = MEASURES.measure("macro_f1")


def found(scores: Mapping[str, list[float]], measure: Measure = MACRO_F1) -> ablation.Found:
    given = {variant.name: [0.6, 0.5] for variant in TABLE} | dict(scores)
    speed = {"latency_p50_ms": 1.234, "throughput_rows_per_s": 1234.5, "size_mb": 7.25, "processor": 0.0}
    students = tuple(variant.name for variant in TABLE if variant.model == "student")
    return ablation.Found((20, 21), measure, given, students, dict.fromkeys(given, speed), "a processor, 2 cores")


def test_the_page_has_means_and_spreads_over_the_seeds() -> None:
    page = ablation.as_markdown(found({"int8 (params.yaml)": [0.54, 0.48]}))
    assert "| int8 (params.yaml) | 51.0% ± 4.2 | 93.0% | 1.23 | 1,234 | 7.2 |" in page
    assert "2 seeds (20, 21)" in page
    assert page.count("\n| ") == len(TABLE) + 2


def test_what_distillation_gains_is_judged_by_the_spread_of_its_differences() -> None:
    page = ablation.as_markdown(
        found({ablation.LABELS_ALONE: [0.5, 0.4], "student, logits alone": [0.52, 0.43], "teacher": [0.6, 0.6]})
    )
    assert "in points of macro-F1:" in page
    assert "- student, logits alone: +2.5 ± 0.7, more than the spread of the seeds" in page
    page = ablation.as_markdown(found({ablation.LABELS_ALONE: [0.5, 0.5], "student, logits alone": [0.52, 0.48]}))
    assert "- student, logits alone: +0.0 ± 2.8, no more than the spread of the seeds" in page


def test_of_a_measure_that_is_better_where_it_is_lower_less_is_a_gain_and_its_share_turned() -> None:
    page = ablation.as_markdown(
        found(
            {ablation.LABELS_ALONE: [1.9, 2.0], "student, logits alone": [1.8, 1.84], "teacher": [1.6, 2.0]},
            BITS.measure("bits_per_byte"),
        )
    )
    assert "(lower is better)" in page
    assert "| student, labels alone | 1.95 ± 0.071 | 92.1% | 1.23 |" in page
    assert "in bits per byte:" in page
    assert "- student, logits alone: +0.130 ± 0.042, more than the spread of the seeds" in page


def test_a_loss_beyond_the_spread_is_told_from_no_gain() -> None:
    page = ablation.as_markdown(found({ablation.LABELS_ALONE: [0.5, 0.4], "student, logits alone": [0.47, 0.38]}))
    assert "- student, logits alone: -2.5 ± 0.7, a loss of more than the spread of the seeds" in page


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


@pytest.mark.slow
def test_an_ablation_of_a_model_that_writes_is_made_of_real_runs(tmp_path: Path) -> None:
    """A tiny T5 from random weights, by the loss a token: the floors that it has not are left out."""
    project = make_project(tmp_path / "winnow")
    write_sentences(project / ROWS)
    values: dict[str, Any] = {}
    for section, own in {**sections_of("text2text_generation", "t5"), "quantize": {"max_loss": 0.5}}.items():
        values |= {f"{section}.{name}": value for name, value in own.items() if name != "columns"}
    values |= {"ingest.columns.text": "source", "ingest.columns.label": "target", "baseline.max_bytes": 3}
    set_values(project / "params.yaml", values)
    run(project, "git", "add", "--force", ROWS)
    run(project, "git", "commit", "-q", "-a", "-m", "sentences")
    run(project, "winnow", "ablation", "--seeds", "1")
    record = json.loads((project / "docs/ablation.json").read_text())
    made = {variant.name for variant in ablation.variants(load_params(project / "params.yaml"))}
    floors = {"static embeddings", "probe of the pretrained encoder"}
    assert record["chrf"].keys() == made - floors
    assert record["profile"].keys() == record["chrf"].keys()
    assert "int8 (params.yaml)" in record["chrf"]
    page = (project / "docs/ablation.md").read_text()
    assert all(f"| {name} |" in page for name in record["chrf"])
