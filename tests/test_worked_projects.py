"""The worked projects in projects/: their table in the README, by hand-checked numbers; and that each is well kept."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY

from flows.cli.mistakes import mistakes
from flows.dvc import planning
from flows.projects.starting import is_current
from flows.review import worked
from flows.running.code import link_code
from stages.core import plugins
from stages.core.params.file import load_params
from stages.tasks import TASKS

# the table


def project(root: Path, params: str, **measured: dict[str, dict[str, Any]]) -> Path:
    """A folder with a params.yaml and metrics: `quality={"teacher": {...}}`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(params)
    (root / "dvc.yaml").write_text("stages: {}\n")
    for kind, models in measured.items():
        for model, values in models.items():
            path = root / f"metrics/{kind}/{model}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
    return root


LABELS = "task: {name: text_classification, measure: macro_f1}\ningest: {source: docstrings, path: x.txt}\n"
NUMBERS = "task: {name: regression, measure: pearson}\ningest: {source: files, path: data/house_prices.csv.gz}\n"
SPEED = {"threads": 2, "processor": "AMD EPYC, 2 cores", "date": "2026-11-28"}
INTERVAL = {"intervals": {"macro_f1": {"low": 0.55, "high": 0.651}}}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return project(
        tmp_path,
        LABELS,
        quality={
            "baseline": {"macro_f1": 0.5},
            "teacher": {"macro_f1": 0.75},
            "quantized": {"macro_f1": 0.6, **INTERVAL},
        },
        profile={"quantized": {"latency_p50_ms": 0.463, "size_mb": 7.21, **SPEED}},
    )


OWN_LINE = (
    "| [default](params.yaml) | `text_classification` | docstrings | macro-F1 | 1 | 50.0% | 75.0% | 60.0% | "
    "55.0% to 65.1% | 7.2 | 0.46 |"
)


def test_without_measured_projects_the_table_has_the_repositorys_own_line_alone(repository: Path) -> None:
    project(repository / "projects/planned", NUMBERS, data={"ingest": {"rows": 3}})
    lines = worked.as_markdown(repository).splitlines()
    assert lines[2:] == [
        OWN_LINE, "", "p50 is the median of single rows: 2 threads of AMD EPYC, 2 cores, on 2026-11-28."
    ]  # fmt: skip


def test_each_measured_project_is_a_line_with_its_own_measure_linked_to_its_folder(repository: Path) -> None:
    quality = {"baseline": {"pearson": 0.5}, "quantized": {"pearson": 0.625}}
    project(repository / "projects/prices", NUMBERS, quality=quality)
    lines = worked.as_markdown(repository).splitlines()
    assert lines[2:4] == [
        OWN_LINE,
        "| [prices](projects/prices) | `regression` | house_prices | Pearson correlation | 1 |"
        " 0.5 | - | 0.625 | - | - | - |",
    ]


def test_p50s_of_two_days_are_told_apart(repository: Path) -> None:
    profile = {"quantized": {"latency_p50_ms": 1.0, **SPEED, "date": "2026-11-29"}}
    project(repository / "projects/prices", NUMBERS, quality={"quantized": {"pearson": 0.6}}, profile=profile)
    assert worked.as_markdown(repository).splitlines()[-1] == (
        "p50 is the median of single rows: default: 2 threads of AMD EPYC, 2 cores, on 2026-11-28; "
        "prices: 2 threads of AMD EPYC, 2 cores, on 2026-11-29."
    )


def test_nothing_measured_is_a_line_of_dashes(tmp_path: Path) -> None:
    lines = worked.as_markdown(project(tmp_path, LABELS)).splitlines()
    assert lines[2] == f"| [default](params.yaml) | `text_classification` | docstrings | macro-F1 |{' - |' * 7}"
    assert lines[-1] == "Speed and size have not been measured yet."


@pytest.mark.parametrize(
    ("ingest", "corpus"),
    [
        ("{source: docstring_roles, path: constraints.txt}", "docstring roles"),
        ("{source: files, path: data/reviews}", "reviews"),
        ("{source: hub, path: x.txt, hub: {dataset: PolyAI/banking77}}", "PolyAI/banking77"),
        ("{source: hub, path: data/banking77, hub: {dataset: null}}", "banking77"),
    ],
)
def test_the_corpus_is_named_by_where_the_rows_come_from(ingest: str, corpus: str, tmp_path: Path) -> None:
    project(tmp_path, f"{LABELS.splitlines()[0]}\ningest: {ingest}\n")
    assert worked.as_markdown(tmp_path).splitlines()[2].split(" | ")[2] == corpus


# what is in projects/

each_project = pytest.mark.parametrize(
    "folder",
    [REPOSITORY, *worked.folders(REPOSITORY)],  # this repository is a project, too
    ids=lambda folder: folder.relative_to(REPOSITORY).as_posix(),
)


@each_project
def test_a_worked_project_says_in_its_readme_what_it_is(folder: Path) -> None:
    lines = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert any(line and not line.startswith("#") for line in lines)


@each_project
def test_a_worked_project_has_the_graph_of_this_code_and_parameters_without_mistakes(folder: Path) -> None:
    link_code(folder)
    params = load_params(folder / "params.yaml")
    assert is_current(folder, plugins.part(TASKS, params.task.name, "settings", key="task.name"))
    assert list(mistakes(folder, params)) == []


@each_project
def test_a_worked_project_with_metrics_has_the_lock_that_says_of_what_they_are(folder: Path) -> None:
    assert (folder / "dvc.lock").is_file() or not worked.has_metrics(folder)


@pytest.mark.slow  # as it fails wherever a stage was changed, until all projects are reproduced
@each_project
def test_the_lock_of_a_worked_project_is_of_this_code_and_its_parameters(folder: Path) -> None:
    """As `winnow plan --check`: where a stage would run, `make repro PROJECT=NAME` and commit dvc.lock and metrics/."""
    if (folder / "dvc.lock").is_file():
        link_code(folder)
        assert planning.stale(folder) == ()


# what make does with them


def told_by_make(folder: Path, *arguments: str) -> str:
    """What `make` would call."""
    for name in ("a", "b"):
        (folder / f"projects/{name}").mkdir(parents=True, exist_ok=True)
        (folder / f"projects/{name}/dvc.yaml").touch()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    command = ["make", "-n", "-o", ".venv/.ready", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [((), "."), (("PROJECT=a",), "projects/a"), (("PROJECT=projects/b",), "projects/b"), (("PROJECT=/x",), "/x")],
)
@pytest.mark.parametrize(
    ("target", "called"), [("repro", "winnow fetch && winnow check && dvc repro"), ("review", "winnow review")]
)
def test_make_reproduces_and_reviews_the_project_that_is_named(
    target: str, called: str, arguments: tuple[str, ...], folder: str, tmp_path: Path
) -> None:
    assert f'cd "{folder}" && {called}' in told_by_make(tmp_path, target, *arguments)


def test_make_reproduces_all_worked_projects_one_after_the_other(tmp_path: Path) -> None:
    told = told_by_make(tmp_path, "projects")
    places = [told.index(f'cd "projects/{name}" && winnow fetch && winnow check && dvc repro') for name in ("a", "b")]
    assert places == sorted(places)


@pytest.mark.parametrize("file", sorted(REPOSITORY.glob("projects/*/params.yaml")), ids=lambda path: path.parent.name)
def test_what_may_stand_in_a_projects_parameters_is_said_as_in_those_of_winnow(file: Path) -> None:
    """New tasks and sources come; `winnow init --renew` leaves comments as they are."""

    def said(path: Path) -> list[str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.partition("# ")[2] for line in lines if re.match("  (name|source|path): ", line)][:3]

    assert said(file) == said(REPOSITORY / "params.yaml")
