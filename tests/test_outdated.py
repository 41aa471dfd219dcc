"""`winnow predict` in a project whose parameters have changed since its model was made: a line says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from flow_fixtures import environment, write_word_model

from flows.cli.commands import main
from flows.dvc import outdated
from stages.core.yaml_text import parse

MODEL = "artifacts/models/quantized"
GRAPH = "stages:\n  ingest:\n    cmd: a\n  quantize:\n    cmd: b\n  report:\n    cmd: c\n"
PARAMS = """\
ingest:  # of rows
  columns: {text: body, label: topic}
  weights: [1, 2]
  rate: 5e-05
report: {style: plain}
"""
LOCK = f"""\
schema: '2.0'
stages:
  ingest:
    cmd: a
    deps:
    - path: data
      hash: md5
      md5: '1'
      size: 1
    params:
      params.yaml:
        ingest.columns:
          text: body
          label: topic
        ingest.rate: 5e-05
        ingest.weights:
        - 1
        - 2
    outs:
    - path: rows
      hash: md5
      md5: '2'
  quantize:
    cmd: b
    deps:
    - path: rows
      hash: md5
      md5: '2'
    outs:
    - path: {MODEL}
      hash: md5
      md5: '3'
  report:
    cmd: c
    deps:
    - path: rows
    params:
      params.yaml:
        report.style: plain
    outs:
    - path: page
  gone:
    cmd: d
    params:
      params.yaml:
        ingest.old: 1
    outs:
    - path: {MODEL}/old
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in (("dvc.yaml", GRAPH), ("params.yaml", PARAMS), ("dvc.lock", LOCK)):
        (tmp_path / name).write_text(content)
    write_word_model(tmp_path / MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("topic", "category", 'ingest.columns.label: "topic" -> "category"'),
        ("[1, 2]", "[1]", "ingest.weights: [1, 2] -> [1]"),
        ("5e-05", "0.00005", None),
        ("plain", "rich", None),  # of the report, which no model comes from
    ],
)
def test_parameters_that_the_model_was_made_with_are_compared(
    project: Path, before: str, after: str, told: str | None
) -> None:
    (project / "params.yaml").write_text(PARAMS.replace(before, after))
    said = outdated.notice(project, MODEL)
    assert (said and said.partition("before a change: ")[2].partition(". `winnow plan`")[0]) == told


def test_the_command_says_so_on_stderr_and_answers_all_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(*arguments: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["predict", "bread", "--threads", "1", *arguments])
        assert not ended.value.code
        said = capsys.readouterr()
        return said.out, said.err

    assert asked() == ("kitchen\t0.9933\tbread\n", "")
    (project / "params.yaml").write_text(PARAMS.replace("topic", "category"))
    answer, told = asked()
    assert answer == "kitchen\t0.9933\tbread\n"
    assert told == (
        'winnow: this model was made before a change: ingest.columns.label: "topic" -> "category". `winnow plan` says'
        " what would run, `winnow reproduce` makes it again.\n"
    )
    assert asked("--model", MODEL)[1] == ""  # a folder of another project, for all that is known


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml"])
def test_what_cannot_be_compared_is_told(project: Path, name: str) -> None:
    path = project / name
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\nother: 1\n>>>>>>> other\n")
    told = f"whether this model is of what is here cannot be told: {name}, line 1: a merge conflict"
    assert (outdated.notice(project, MODEL) or "").startswith(told)


def test_without_a_lock_nothing_is_claimed(project: Path) -> None:
    (project / "dvc.lock").unlink()
    assert outdated.notice(project, MODEL) is None


@pytest.mark.parametrize("folder", [".", "projects/types"])
def test_the_lines_of_dvcs_own_lock_are_read_as_its_yaml(folder: str) -> None:
    text = (REPOSITORY / folder / "dvc.lock").read_text()
    expected = {
        name: (
            [dep["path"] for dep in stage.get("deps", [])],
            [out["path"] for out in stage["outs"]],
            stage.get("params", {}).get("params.yaml", {}),
        )
        for name, stage in parse(text, "dvc.lock")["stages"].items()
    }
    found = {}
    for name, stage in outdated._stages(text):
        values = [parse(f"        {section}", "a section") for section in stage["params"]]
        params = {key: value for section in values for key, value in section.items()}
        found[name] = ([dep["path"] for dep in stage["deps"]], [out["path"] for out in stage["outs"]], params)
    assert found == expected


def test_a_start_loads_nothing_for_it_that_takes_long(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("topic", "category"))
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from flows.dvc import outdated;"
         f" assert outdated.notice(__import__('pathlib').Path(), '{MODEL}'); print(*sys.modules)"],
        cwd=project, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not {"dvc", "configobj", "pydantic", "numpy", "flows.dvc.storage"} & {*done.stdout.split()}
