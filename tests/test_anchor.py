"""Which release is the gate's anchor, and whose answers of it are believed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY, run

from flows.gate.anchor import Answers, anchor_of
from flows.review import comparison
from flows.review.evidence import Anchor, Results
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
