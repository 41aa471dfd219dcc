"""Which release is the gate's anchor, and whose answers of it are believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY, run
from review_fixtures import answered, rules

from flows.dvc.command import DvcError
from flows.gate.anchor import Answers, anchor_of
from flows.review import comparison
from flows.review.evidence import Anchor, Decision, Results
from stages.core.contracts import UnwritableError
from stages.core.params.file import load_params

NOTHING = Results()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """v1.0.0 and v1.1.0 were released, in this order, and v1.0.0 once more."""
    run(tmp_path, "git", "init", "-q", "-b", "main")
    run(tmp_path, "git", "config", "user.email", "tests@localhost")
    run(tmp_path, "git", "config", "user.name", "tests")
    for version in ("v1.0.0", "v1.1.0"):
        run(tmp_path, "git", "commit", "-q", "--allow-empty", "-m", version)
        run(tmp_path, "git", "tag", "-a", f"model@{version}", "-m", version)
    for number, version in enumerate(("v1.0.0", "v1.1.0", "v1.0.0"), start=1):
        run(tmp_path, "git", "tag", "-a", f"model#production#{number}", "-m", "x", f"model@{version}^{{commit}}")
    return tmp_path


def of(quality: str) -> Answers:
    """A way to answer that marks its results with the subject of the revision."""
    return lambda revision: lambda _: Results(quality={quality: revision})


def fails(_: str) -> object:
    raise RuntimeError("the model is in no cache")


def _anchor(project: Path, name: str, *ways: Answers) -> tuple[Anchor | None, list[str]]:
    notes: list[str] = []
    return anchor_of(project, name, NOTHING, list(ways), notes), notes


@pytest.mark.parametrize(("name", "version"), [("first", "v1.0.0"), ("v1.0.0", "v1.0.0"), ("v1.1.0", "v1.1.0")])
def test_the_anchor_is_the_release_that_is_named(project: Path, name: str, version: str) -> None:
    found, notes = _anchor(project, name, of("again"), of("then"))
    commit = run(project, "git", "rev-parse", f"model@{version}^{{commit}}").stdout.strip()
    assert found is not None
    assert found.results is not None
    assert (found.version, found.results.quality) == (version, {"again": commit})
    assert notes == []


def test_where_its_model_cannot_answer_its_own_figures_stand_and_a_note_says_so(project: Path) -> None:
    found, notes = _anchor(project, "v1.1.0", fails, of("then"))  # type: ignore[arg-type]
    assert found is not None
    assert found.results is not None
    assert "then" in found.results.quality
    assert notes == ["v1.1.0, the anchor of the gate, cannot answer the new rows: the model is in no cache"]


def test_a_version_that_was_never_released_is_told_with_those_that_were(project: Path) -> None:
    assert _anchor(project, "v7.0.0", of("then"))[0] == Anchor(
        "v7.0.0",
        None,
        "params.yaml: promotion.anchor is 'v7.0.0', which was never released. Allowed: first, v1.0.0, v1.1.0; or null.",
    )


def test_without_a_release_there_is_no_anchor(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    assert _anchor(tmp_path, "first", of("then")) == (None, [])


def test_what_keeps_a_released_models_answers_from_being_read_is_a_note(project: Path) -> None:
    """Of a release that was tagged by hand, before it had parameters; and of one without its results."""
    params = load_params(REPOSITORY / "params.yaml")
    notes: list[str] = []
    found = comparison._anchor(project, NOTHING, params, None, notes)
    assert found is not None
    assert found.results is None
    assert notes[0].startswith("v1.0.0, the anchor of the gate, cannot answer the new rows: params.yaml of ")
    (project / "params.yaml").write_text("promotion: {model: quantized}\n")
    run(project, "git", "add", "params.yaml")
    run(project, "git", "commit", "-q", "-m", "v1.2.0")
    run(project, "git", "tag", "-a", "model@v1.2.0", "-m", "x")
    run(project, "git", "tag", "-a", "model#production#4", "-m", "x")
    notes.clear()
    named = params.model_copy(update={"promotion": params.promotion.model_copy(update={"anchor": "v1.2.0"})})
    found = comparison._anchor(project, NOTHING, named, None, notes)
    assert found is not None
    assert found.results is not None
    at = run(project, "git", "rev-parse", "--short", "HEAD").stdout.strip()
    assert notes == [
        f"metrics/quality/quantized.json, metrics/profile/quantized.json of {at} are missing.",
        f"artifacts/predictions/quantized.parquet of {at} cannot be had: dvc.lock does not know it.",
    ]


@pytest.mark.parametrize("error", [ValueError("the images are made otherwise"), UnwritableError({0: "is empty"})])
def test_a_released_model_that_cannot_answer_makes_the_gate_inconclusive(error: ValueError) -> None:
    decision = decided(error)
    assert decision.outcome == "inconclusive"
    assert decision.checks[0].reason == f"the released model cannot answer these rows: {error}"


@pytest.mark.parametrize("error", [DvcError("503 Slow Down"), OSError("no space left"), RuntimeError("out of memory")])
def test_what_may_pass_is_no_verdict(error: Exception) -> None:
    """A retraining that fails so is tried again; one with a verdict is not."""
    with pytest.raises(type(error), match=str(error)):
        decided(error)


def decided(error: Exception) -> Decision:
    def released(_: Results) -> Results:
        raise error

    of_labels = rules(load_params(REPOSITORY / "params.yaml").promotion)
    found = comparison._decision(
        released, answered(["a", "b"], ["a", "a"]), of_labels, lambda _: None, [], not_run=False
    )
    assert found is not None
    return found
