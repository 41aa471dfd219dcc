"""flows.review.metrics and flows.review.readme: the tables, by hand-checked numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, init_repository, run
from flow_fixtures import winnow

from flows.dvc import freshness
from flows.review import metrics, readme


def write(root: Path, kind: str, name: str, **values: float | str) -> None:
    path = root / "metrics" / kind / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


MACHINE = "Latency is of one text at a time; every model was given 2 threads of AMD EPYC, 2 cores, on 2026-11-28."


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    write(tmp_path, "quality", "teacher", accuracy=0.8, macro_f1=0.75, rows=1000)
    write(tmp_path, "quality", "quantized", accuracy=0.7, macro_f1=0.6, rows=1000)
    speed: dict[str, float | str] = {
        "latency_p99_ms": 12.5,
        "throughput_rows_per_s": 1234.5,
        "peak_rss_mb": 300.0,
        "threads": 2,
    }
    speed |= {"processor": "AMD EPYC, 2 cores", "date": "2026-11-28"}
    write(tmp_path, "profile", "teacher", latency_p50_ms=10.0, size_mb=90.0, **speed)
    write(tmp_path, "profile", "quantized", latency_p50_ms=2.5, size_mb=20.0, **speed)
    return tmp_path


def test_ratios_are_against_the_teacher(measured: Path):
    row = {row.model: row for row in metrics.rows(measured)}["quantized"]
    assert row.of_teacher == pytest.approx(0.8)
    assert row.faster == 4
    assert row.smaller == 4.5


def test_a_ratio_is_shown_only_where_the_two_are_known_to_differ(measured: Path):
    comparison = measured / "metrics/comparison.json"
    quality = {row.model: row for row in metrics.rows(measured)}["quantized"]
    assert (quality.of_teacher, quality.against_teacher) == (pytest.approx(0.8), None)
    for low, high, shown in ((-0.2, -0.1, "80.0%"), (-0.2, 0.1, "no difference shown"), (0.01, 0.1, "80.0%")):
        comparison.write_text(json.dumps({"quantized_and_teacher": {"macro_f1": {"low": low, "high": high}}}))
        assert {row.model: row for row in metrics.rows(measured)}["quantized"].against_teacher == shown


def test_text_is_aligned_and_has_dashes_for_what_is_not_measured(measured: Path):
    assert metrics.as_text(metrics.rows(measured)).splitlines() == [
        "model      accuracy  macro-F1  interval  of teacher  p50 ms  p99 ms  rows/s  size MB  faster  smaller",
        "baseline          -         -         -           -       -       -       -        -       -        -",
        "static            -         -         -           -       -       -       -        -       -        -",
        "probe             -         -         -           -       -       -       -        -       -        -",
        "teacher       80.0%     75.0%         -      100.0%   10.00   12.50   1,234     90.0    1.0x     1.0x",
        "student           -         -         -           -       -       -       -        -       -        -",
        "pruned            -         -         -           -       -       -       -        -       -        -",
        "quantized     70.0%     60.0%         -           -    2.50   12.50   1,234     20.0    4.0x     4.5x",
        "",
        MACHINE,
    ]


def test_what_is_to_be_said_of_the_figures_stands_below_both_tables(measured: Path):
    table = metrics.rows(measured)
    assert metrics.as_text(table, ["Of one seed."]).splitlines()[-2:] == [MACHINE, "Of one seed."]
    assert metrics.as_markdown(table, ["Of one seed."]).splitlines()[-1] == f"Of one seed. {MACHINE}"


def test_markdown_has_the_same_cells_and_says_how_speed_was_measured(measured: Path):
    lines = metrics.as_markdown(metrics.rows(measured)).splitlines()
    assert lines[0].startswith("| model | accuracy | macro-F1 |")
    assert lines[-3] == "| quantized | 70.0% | 60.0% | - | - | 2.50 | 12.50 | 1,234 | 20.0 | 4.0x | 4.5x |"
    assert lines[-1] == MACHINE


def test_speeds_of_two_runs_are_never_shown_as_of_one(measured: Path):
    write(measured, "profile", "student", latency_p50_ms=4.0, threads=2, processor="Xeon, 2 cores", date="2026-11-29")
    assert metrics.machine(metrics.rows(measured)) == (
        "Speeds are not of one run, and their ratios mean nothing: teacher, quantized: 2 threads of AMD EPYC, 2 cores, "
        "on 2026-11-28; student: 2 threads of Xeon, 2 cores, on 2026-11-29. "
        "`dvc repro --force --single-item profile` measures all here."
    )


def test_speeds_of_another_machine_are_said_to_be(measured: Path):
    table = metrics.rows(measured)
    assert metrics.elsewhere(table, "AMD EPYC, 2 cores") is None
    assert metrics.elsewhere(table, "Xeon, 8 cores") == (
        "speed was measured on AMD EPYC, 2 cores, and this is Xeon, 8 cores: "
        "`dvc repro --force --single-item profile` measures it here."
    )
    for name in ("teacher", "quantized"):
        write(measured, "profile", name, latency_p50_ms=1.0, threads=2, processor="Nobody's, 3 cores")
    (measured / "dvc.yaml").write_text("stages: {}\n")
    assert "winnow: speed was measured on Nobody's, 3 cores, and this is " in winnow(measured, "metrics").stderr


def test_nothing_measured_gives_rows_of_dashes(tmp_path: Path):
    rows = metrics.rows(tmp_path)
    assert not any(row.measured for row in rows)
    assert set(metrics.cells(rows)[0][1:]) == {"-"}


def test_a_metrics_file_that_is_not_json_is_named(tmp_path: Path):
    write(tmp_path, "quality", "student")
    (tmp_path / "metrics/quality/student.json").write_text('{"accuracy": ')
    with pytest.raises(ValueError, match=r"student\.json: not JSON"):
        metrics.rows(tmp_path)


def test_flowchart_leaves_out_edges_that_a_longer_way_implies():
    chart = readme.flowchart({"a": (), "b": ("a",), "end": ("a", "b")})
    assert "stage_a --> stage_b" in chart
    assert "stage_b --> stage_end" in chart
    assert "stage_a --> stage_end" not in chart
    assert 'stage_end["end"]' in chart


def test_stage_table_takes_descriptions_of_plain_and_foreach_stages():
    definitions = {"a": {"desc": "one | two"}, "b": {"foreach": [1, 2], "do": {"desc": "each"}}, "c": {}}
    assert readme.stage_table({"a": (), "b": (), "c": ()}, definitions).splitlines()[2:] == [
        r"| `a` | one \| two |",
        "| `b` | each |",
        "| `c` | - |",
    ]


def test_renewing_writes_only_between_the_markers_and_is_stable():
    text = "# Title\n<!-- begin: stages -->old<!-- end: stages -->\nafter\n"
    renewed, stale = readme.renewed(text, {"stages": "new"})
    assert renewed == "# Title\n<!-- begin: stages -->\nnew\n<!-- end: stages -->\nafter\n"
    assert stale == ["stages"]
    assert readme.renewed(renewed, {"stages": "new"}) == (renewed, [])


def test_missing_markers_are_named():
    with pytest.raises(ValueError, match="begin: graph"):
        readme.renewed("# Title\n", {"graph": "x"})


# whether the figures are of what is here

GRAPH = """
stages:
  train:
    cmd: python train.py
    deps: [train.py, stages/backends/one]
    params: [rate, layers]
    outs: [artifacts/model.txt]
  evaluate:
    foreach: [teacher]
    do:
      cmd: cp artifacts/model.txt metrics/quality/${item}.json
      deps: [artifacts/model.txt]
      metrics: ["metrics/quality/${item}.json": {cache: false}]
  report:
    cmd: cp artifacts/model.txt metrics/report.json
    deps: [artifacts/model.txt]
    params: [style]
    metrics: [metrics/report.json: {cache: false}]
"""
TRAIN = "import pathlib; pathlib.Path('artifacts/model.txt').write_text('{\"accuracy\": 0.5}')\n"
PARAMS = "rate: 5e-05\nlayers: [0, 2]\nstyle: plain\n"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduced")
    init_repository(folder)
    shutil.copy(REPOSITORY / ".dvcignore", folder)
    files = {"dvc.yaml": GRAPH, "train.py": TRAIN, "params.yaml": PARAMS, "metrics/quality/.keep": ""}
    files |= {
        "stages/backends/one/runner.py": "",
        "stages/backends/one/__pycache__/runner.pyc": "",
        "artifacts/.keep": "",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    run(folder, "dvc", "repro", "-q")
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    """A project whose table DVC has just made."""
    return shutil.copytree(reproduced, tmp_path / "project")


def test_fresh_figures_are_shown_without_a_word(project: Path):
    done = winnow(project, "metrics")
    assert (done.returncode, done.stderr) == (0, "")
    assert "50.0%" in done.stdout


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("params.yaml", PARAMS.replace("5e-05", "0.25"), "rate: 5e-05 -> 0.25."),
        ("params.yaml", PARAMS.replace("[0, 2]", "[0]"), "layers: [0, 2] -> [0]."),
        ("params.yaml", PARAMS.replace("5e-05", "0.00005"), ""),
        ("params.yaml", PARAMS.replace("plain", "rich"), ""),  # of the report, which the table does not come from
        ("train.py", f"{TRAIN}# later\n", "train.py changed."),
        ("stages/backends/one/runner.py", "more\n", "stages/backends/one changed."),
        ("stages/backends/one/__pycache__/other.pyc", "compiled", ""),
    ],
)
def test_figures_of_other_parameters_or_code_are_shown_with_a_word(project: Path, name: str, content: str, told: str):
    (project / name).write_text(content)
    said = freshness.notice(project)
    assert (said or "").partition("before a change: ")[2].partition(" `winnow plan`")[0].replace('"', "") == told


def test_the_word_is_on_stderr_so_that_the_table_stays_readable_by_machines(project: Path):
    (project / "params.yaml").write_text(PARAMS.replace("5e-05", "0.1"))
    (project / "train.py").unlink()
    done = winnow(project, "metrics", "--json")
    assert {row["model"]: row["accuracy"] for row in json.loads(done.stdout)}["teacher"] == 0.5
    assert done.stderr.startswith("winnow: these figures were measured before a change: rate: ")
    assert "train.py is missing. `winnow plan` says" in done.stderr


def test_a_stage_that_is_no_more_in_dvc_yaml_makes_no_figure_stale(project: Path):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    for gone in ("train@teacher", "time"):
        outs = [{"path": f"metrics/profile/{gone}.json"}]
        lock["stages"][gone] = {"cmd": "true", "deps": [{"path": "gone.py", "md5": "0"}], "outs": outs}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert freshness.notice(project) is None


@pytest.mark.parametrize("name", ["dvc.lock", "params.yaml"])
def test_a_merge_conflict_is_told_and_the_table_is_shown(project: Path, name: str):
    path = project / name
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\nother: 1\n>>>>>>> other\n")
    done = winnow(project, "metrics")
    assert (done.returncode, "50.0%" in done.stdout) == (0, True)
    assert "cannot be told: " + name + ", line 1: a merge conflict" in done.stderr


def test_without_a_lock_nothing_is_claimed(project: Path):
    (project / "dvc.lock").unlink()
    assert freshness.notice(project) is None


def test_models_that_write_have_their_tokens_a_second_and_what_is_better_is_said(measured: Path):
    (measured / "params.yaml").write_text(
        (REPOSITORY / "params.yaml").read_text()
        .replace("text_classification", "text_generation", 1).replace("measure: macro_f1", "measure: bits_per_byte")
    )  # fmt: skip
    write(measured, "quality", "teacher", bits_per_byte=2.0, word_perplexity=500.0)
    write(measured, "quality", "quantized", bits_per_byte=2.5, word_perplexity=700.0)
    write(measured, "profile", "quantized", latency_p50_ms=2.5, tokens_per_s=1234.5, threads=2)
    table = metrics.rows(measured)
    quantized = dict(zip(metrics.header(table), metrics.cells(table)[-1], strict=True))
    assert (quantized["bits per byte"], quantized["tokens/s"], quantized["model"]) == ("2.5", "1,234", "quantized")
    assert {row.model: row for row in table}["quantized"].of_teacher == pytest.approx(0.8)
    assert "Lower is better: perplexity of a word, bits per byte." in metrics.as_text(table).splitlines()
    assert metrics.as_markdown(table).splitlines()[-1].startswith("Lower is better: perplexity of a word, bits per ")


def test_a_table_of_one_run_says_what_is_timed_of_a_model_that_writes(measured: Path):
    table = [metrics.Row("student", (), tokens_per_s=10.0, threads=2)]
    assert metrics.machine(table).endswith(metrics.OF_WRITING)
    assert metrics.OF_WRITING not in metrics.machine(metrics.rows(measured))
