"""flows.review.verdicts: what is said below the table of models that are no better than simpler answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.review import metrics
from flows.review.shown_measures import Shown
from flows.review.verdicts import verdicts
from stages.core.paths import MODELS

PARAMS = """
task: {name: text_classification, measure: macro_f1}
ingest: {source: files, columns: {text: message, label: agent}}
"""


def write(root: Path, name: str, content: object) -> None:
    path = root / "metrics" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def of_labels(accuracy: float, macro_f1: float, rows: dict[str, int], width: float = 0.03) -> dict[str, Any]:
    found = {"accuracy": accuracy, "macro_f1": macro_f1}
    ends = {name: {"low": own - width, "high": own + width} for name, own in found.items()}
    return {**found, "intervals": ends, "per_label": {label: {"rows": count} for label, count in rows.items()}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path


def test_models_at_chance_level_are_said_to_be_with_what_to_check(project: Path):
    rows = {f"agent{number}": 55 for number in range(7)} | {"nobody has it": 0}
    for name in MODELS:
        write(project, f"quality/{name}.json", of_labels(0.127273, 0.123292, rows))
    told = metrics.as_text(metrics.rows(project), metrics.notes(project)).splitlines()
    assert told[-2:] == [
        "WARNING: quantized is not shown to be better than always giving the commonest label, 'agent0': accuracy 12.7%"
        " (9.7% to 15.7%), and that has 14.3%. No other model is shown to be, either, so nothing was learned from these"
        " rows. Check ingest.columns.label in params.yaml: can 'agent' be told from 'message' (ingest.columns.text)?"
        " `winnow errors` shows rows.",
        "Of one seed; `winnow seeds` shows the spread.",
    ]
    write(project, "quality/teacher.json", of_labels(0.9, 0.9, rows))
    first, *_ = metrics.notes(project)
    assert first.endswith("and that has 14.3%. Of the other models these are better: teacher.")


def test_labels_of_the_data_do_no_harm_and_a_model_that_is_left_out_is_not_better(project: Path):
    write(project, "quality/quantized.json", of_labels(0.5, 0.3, {"a|b<i>\x1b[31m": 50, "c": 40}))
    write(project, "quality/static.json", {"left_out": "there are no token vectors"})
    first, *_ = metrics.notes(project)
    assert r"'a\|b&lt;i&gt; \[31m'" in first
    assert "No other model is shown to be, either" in first


def test_where_one_label_is_nearly_all_rows_a_model_that_finds_the_other_has_learned(project: Path):
    rows = {"ham": 95, "spam": 5}
    write(project, "quality/quantized.json", of_labels(0.955, 0.8, rows))
    assert metrics.notes(project) == ("Of one seed; `winnow seeds` shows the spread.",)
    write(project, "quality/quantized.json", of_labels(0.95, 0.487, rows))
    assert "always giving the commonest label, 'ham': accuracy 95.0% (92.0% to 98.0%)" in metrics.notes(project)[0]


def test_rows_of_a_source_without_columns_are_to_be_looked_at(project: Path):
    (project / "params.yaml").write_text(PARAMS.replace("source: files", "source: docstrings"))
    write(project, "quality/quantized.json", of_labels(0.5, 0.5, {"a": 50, "b": 50}))
    assert metrics.notes(project)[0].endswith("Look at texts and targets: `winnow data`, `winnow errors`.")


def told_of(task: str, measure: str, project: Path, quality: dict[str, Any]) -> tuple[str, ...]:
    (project / "params.yaml").write_text(PARAMS.replace("text_classification", task).replace("macro_f1", measure))
    write(project, "quality/quantized.json", quality)
    return metrics.notes(project)[:-1]


def test_numbers_and_quotes_have_answers_that_read_nothing_too(project: Path):
    numbers = {"r2": 0.01, "pearson": 0.1, "intervals": {"r2": {"low": -0.1, "high": 0.1}}}
    [told] = told_of("regression", "pearson", project, numbers)
    assert "than always giving the mean of the test rows: R squared 0.01 (-0.1 to 0.1), and that has 0." in told
    numbers["intervals"]["pearson"] = {"low": 0.05, "high": 0.2}  # type: ignore[index]
    assert told_of("regression", "pearson", project, numbers) == ()

    quotes = {"token_f1": 0.3, "rows": 200, "unanswerable": 50, "intervals": {"token_f1": {"low": 0.24, "high": 0.36}}}
    [told] = told_of("question_answering", "token_f1", project, quotes)
    assert "than always saying that there is no answer: token F1 30.0% (24.0% to 36.0%), and that has 25.0%." in told
    quotes["intervals"]["token_f1"]["low"] = 0.26  # type: ignore[index]
    assert told_of("question_answering", "token_f1", project, quotes) == ()


ROWS = {"a": 50, "b": 50}
ALIKE = "no difference shown on the same test rows (the difference is between -2.8 and +5.6 points)."


def compared(project: Path, **ends: float) -> None:
    write(project, "comparison.json", {"quantized_and_baseline": {"macro_f1": ends}})


def test_a_model_that_is_not_shown_to_beat_the_baseline_is_said_to_be_so_with_both_sizes(project: Path):
    write(project, "quality/baseline.json", of_labels(0.923, 0.916, ROWS))
    write(project, "quality/quantized.json", of_labels(0.923, 0.93, ROWS))
    for name, size in (("baseline", 0.82), ("quantized", 5.52)):
        write(project, f"profile/{name}.json", {"size_mb": size})
    compared(project, difference=0.014, low=-0.028, high=0.056)
    assert metrics.notes(project)[0] == f"macro-F1: baseline 91.6%, 0.8 MB; quantized 93.0%, 5.5 MB: {ALIKE}"
    compared(project, difference=0.014, low=0.001, high=0.03)
    assert len(metrics.notes(project)) == 1, "it is shown to be better"
    compared(project, difference=0.2, low=-0.1, high=0.3)
    assert len(metrics.notes(project)) == 1, "the comparison is of another run than the figures"


def test_where_the_baseline_is_better_that_is_said_also_of_measures_of_which_less_is_better(project: Path):
    write(project, "quality/baseline.json", of_labels(0.95, 0.95, ROWS))
    write(project, "quality/quantized.json", of_labels(0.8, 0.8, ROWS))
    compared(project, difference=-0.15, low=-0.2, high=-0.1)
    assert "quantized 80.0%: the baseline is better on the same test rows" in metrics.notes(project)[0]

    bits = {"baseline": {"bits_per_byte": 2.0}, "quantized": {"bits_per_byte": 2.5}}
    shown = Shown("bits_per_byte", "bits per byte", "", "lower", False)
    for low, high, words in ((0.4, 0.6, "the baseline is better"), (-0.1, 1.1, "no difference shown")):
        pair = {"quantized_and_baseline": {"bits_per_byte": {"difference": 0.5, "low": low, "high": high}}}
        [told] = verdicts(bits, pair, {}, [shown], {})
        assert told.startswith(f"bits per byte: baseline 2; quantized 2.5: {words} on the same")
    bits["quantized"]["bits_per_byte"] = 1.5
    pair = {"quantized_and_baseline": {"bits_per_byte": {"difference": -0.5, "low": -0.6, "high": -0.4}}}
    assert list(verdicts(bits, pair, {}, [shown], {})) == []
