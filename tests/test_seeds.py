"""`winnow seeds`: its arithmetic, what the tables make of its record, and (slow) all of it on the tiny corpus."""

from __future__ import annotations

import copy
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import flow_fixtures
import pytest
import yaml
from conftest import TOPICS, edit_params, make_project, run

from flows.experiments import seed_record, seeds
from flows.experiments.checkout import checkout
from flows.review import metrics
from flows.running.locks import lock_file, one_at_a_time
from flows.running.root import worktrees_folder
from stages.core.paths import MODELS

LOCK: dict[str, Any] = {
    "clean": {
        "deps": [{"path": "stages/clean.py", "md5": "1"}],
        "params": {"params.yaml": {"data_seed": 20}},
        "outs": [{"path": "artifacts/data/clean.parquet", "md5": "2"}],
    },
    "finetune": {
        "deps": [{"path": "artifacts/data/clean.parquet", "md5": "2"}, {"path": "stages/finetune.py", "md5": "3"}],
        "params": {"params.yaml": {"seed": 20}},
        "outs": [{"path": "artifacts/models/teacher", "md5": "4.dir"}],
    },
    "evaluate@teacher": {
        "deps": [{"path": "artifacts/models/teacher", "md5": "4.dir"}, {"path": "stages/evaluate.py", "md5": "5"}],
        "outs": [{"path": "metrics/quality/teacher.json", "md5": "6"}],
    },
    "profile": {
        "deps": [{"path": "stages/profile.py", "md5": "7"}],
        "outs": [{"path": "metrics/profile/teacher.json"}],
    },
}


EVERY_MODEL = """
stages:
  ingest: {cmd: python stage.py ingest, deps: [stage.py], outs: [ingest.txt]}
  evaluate:
    foreach: [MODELS]
    do: {cmd: "python stage.py evaluate_${item} ingest.txt", deps: [ingest.txt], outs: ["evaluate_${item}.txt"]}
  compare: {cmd: python stage.py compare ingest.txt, deps: [ingest.txt], outs: [compare.txt]}
"""


def test_a_measurement_that_is_stopped_says_in_a_line_how_to_go_on_and_leaves_git_clean(tmp_path: Path):
    project = flow_fixtures.make_project(tmp_path / "project")
    (project / "dvc.yaml").write_text(EVERY_MODEL.replace("MODELS", ", ".join(MODELS)))
    (project / ".gitignore").write_text("/.winnow\n")
    (project / "ingest.sleeps").touch()
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "sleeps"]):
        run(project, "git", *command)
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "seeds"], cwd=project, env=flow_fixtures.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    worktrees = worktrees_folder(project)
    try:
        flow_fixtures.eventually(lambda: [*worktrees.glob("*/ingest.pids")] or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=180)
    finally:
        process.kill()
    assert process.returncode == 130, said
    how = "stopped. What had ended is in DVC's cache; `winnow seeds` takes it from there and runs the rest."
    assert [line for line in said.splitlines() if line.startswith("winnow: ")] == [f"winnow: {how}"]
    assert "Traceback" not in said
    assert run(project, "git", "status", "--porcelain").stdout == ""
    assert not worktrees.exists()


def write_lock(root: Path, stages: dict[str, Any]) -> Path:
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    defined: dict[str, Any] = {name.partition("@")[0]: {"do": {}} if "@" in name else {} for name in LOCK}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": defined}))
    return root


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    lock = copy.deepcopy(LOCK)
    part: Any = lock
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = to
    return lock


@pytest.mark.parametrize(
    ("lock", "same"),
    [
        (LOCK, True),
        (changed("finetune", "params", "params.yaml", "seed", to=21), False),
        (changed("finetune", "deps", 0, "md5", to="other rows"), False),
        (changed("finetune", "deps", 1, "md5", to="other code"), False),
        (changed("evaluate@teacher", "deps", 1, "md5", to="other code"), False),
        (changed("clean", "deps", 0, "md5", to="other code that makes the same rows"), True),
        (changed("evaluate@teacher", "deps", 0, "md5", to="the bytes of another machine"), True),
        (changed("profile", "deps", 0, "md5", to="other code"), True),
        ({**LOCK, "judge": {**LOCK["evaluate@teacher"], "params": {"params.yaml": {"seed": 1}}}}, True),  # is no more
    ],
)
def test_a_record_is_of_the_rows_parameters_and_code_of_quality_and_not_of_a_machines_bytes(
    tmp_path: Path, lock: dict[str, Any], same: bool
) -> None:
    one, two = (tmp_path / name for name in ("one", "two"))
    for folder, stages in ((one, LOCK), (two, lock)):
        folder.mkdir()
        write_lock(folder, stages)
    assert (seed_record.fingerprint(one) == seed_record.fingerprint(two)) is same


def test_the_interval_of_a_mean_difference_counts_rows_and_seeds() -> None:
    one = {"difference": 0.01, "low": -0.01, "high": 0.02}
    found = seeds.of_differences([one], 0.95)
    assert (found["mean"], found["std"], found["low"], found["high"]) == (0.01, 0.0, -0.01, 0.02)
    three = [{"difference": d, "low": d - 0.02, "high": d + 0.02} for d in (-0.01, 0.0, 0.01)]
    found = seeds.of_differences(three, 0.95)
    # Student's t with 2 degrees of freedom is 4.302653; the standard error 0.01 / sqrt(3): 0.024842 for the seeds, and
    # 0.02 for the rows: sqrt(0.024842^2 + 0.02^2) = 0.031892
    assert (found["mean"], found["std"]) == (0.0, 0.01)
    assert (found["low"], found["high"]) == (-0.031892, 0.031892)
    assert found["seeds"] == [-0.01, 0.0, 0.01]


def around(difference: float) -> dict[str, float]:
    return {"difference": difference, "low": difference - 0.01, "high": difference + 0.01}


def a_record(root: Path, **changes: Any) -> dict[str, Any]:
    """Of two seeds: every model as good as the teacher, but for the baseline; 40 rows set aside."""
    both = ("accuracy", "macro_f1")
    ends = {name: {"low": 0.4, "high": 0.6} for name in both}
    quality = [{"rows": 900, **dict.fromkeys(both, value), "intervals": ends} for value in (0.5, 0.54)]
    worse = [one | dict.fromkeys(both, 0.4) for one in quality]
    alike, apart = ([{name: around(d) for name in both}] * 2 for d in (0.001, -0.12))
    of_one = {"value": 0.45, "low": 0.3, "high": 0.6}
    judged = {**dict.fromkeys(both, of_one), "against_teacher": dict.fromkeys(both, around(0.0))}
    of_rows = {"rows": 40, "models": dict.fromkeys(MODELS, judged)}
    aside = {"classes": ["a", "b"], "held_out": of_rows, "test_rows_of_these_classes": {**of_rows, "rows": 60}}
    record = {
        "of": seed_record.fingerprint(root), "commit": "abcdef1234", "date": "2026-11-28", "processor": "a processor",
        "seeds": [20, 21], "rows": 900, "confidence": 0.95,
        "models": {model: seeds._of_model(worse if model == "baseline" else quality) for model in MODELS},
        "against_teacher": {
            model: seeds._of_differences(apart if model == "baseline" else alike, 0.95)
            for model in MODELS if model != "teacher"
        },
        "held_out": seeds._of_rows_set_aside([aside, aside], 0.95),
    }  # fmt: skip
    return record | changes


def write_metrics(root: Path) -> None:
    for model in MODELS:
        path = root / f"metrics/quality/{model}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"accuracy": 0.5, "macro_f1": 0.501 if model == "quantized" else 0.5,
                                    "intervals": {"macro_f1": {"low": 0.4, "high": 0.6}}}))  # fmt: skip
    alike = {"macro_f1": {"difference": 0.001, "low": -0.01, "high": 0.02}}
    (root / "metrics/comparison.json").write_text(json.dumps({"quantized_and_teacher": alike}))


def test_the_table_has_means_spreads_and_an_interval_and_no_ratio_where_no_difference_is_shown(tmp_path: Path) -> None:
    write_metrics(write_lock(tmp_path, LOCK))
    seeds.write(a_record(tmp_path), tmp_path / "metrics/seeds.json")
    shown = metrics.as_markdown(metrics.rows(tmp_path), metrics.notes(tmp_path))
    assert "| quantized | 52.0% ± 2.8 | 52.0% ± 2.8 | 40.0% to 60.0% | no difference shown |" in shown
    assert "| baseline | 40.0% ± 0.0 | 40.0% ± 0.0 | 40.0% to 60.0% | 76.9% |" in shown
    assert "mean ± standard deviation over 2 seeds of training (20, 21), on the same 900 test rows" in shown
    assert (
        "Of 40 rows set aside, which no choice has seen (2 of the labels), the quantized model has 45.0% right" in shown
    )
    assert "45.0% right (one run: 30.0% to 60.0%), and " in shown
    assert "of the 60 test rows with these labels 45.0%" in shown
    assert "from the teacher there is +0.0 points of accuracy (between -1.0 and +1.0 points)" in shown


def test_a_record_of_something_else_is_not_mixed_in_and_the_table_says_so(tmp_path: Path) -> None:
    write_metrics(write_lock(tmp_path, LOCK))
    record = a_record(tmp_path)
    write_lock(tmp_path, changed("finetune", "params", "params.yaml", "epochs", to=4))
    seeds.write(record, tmp_path / "metrics/seeds.json")
    shown = metrics.as_markdown(metrics.rows(tmp_path), metrics.notes(tmp_path))
    assert "| quantized | 50.0% | 50.1% | 40.0% to 60.0% | no difference shown |" in shown
    assert "±" not in shown
    assert "set aside" not in shown
    assert "metrics/seeds.json is of other parameters, rows or code (commit abcdef1, 2026-11-28)" in shown
    assert "`winnow seeds` makes it again" in shown


def test_without_a_record_the_table_says_that_it_is_of_one_seed(tmp_path: Path) -> None:
    write_metrics(write_lock(tmp_path, LOCK))
    assert metrics.notes(tmp_path) == ("Of one seed; `winnow seeds` shows the spread.",)
    row = {row.model: row for row in metrics.rows(tmp_path)}["quantized"]
    assert (row.of_teacher, row.differs, row.against_teacher) == (1.002, False, "no difference shown")


def test_the_same_figures_made_again_at_a_later_commit_leave_the_record_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "seeds.json"
    record = a_record(write_lock(tmp_path, LOCK))
    seeds.write(record, path)
    before = path.read_bytes()
    seeds.write({**record, "commit": "f" * 40, "date": "2027-01-01", "processor": "another"}, path)
    assert path.read_bytes() == before
    seeds.write({**record, "rows": 901}, path)
    assert path.read_bytes() != before


def test_a_record_with_a_merge_conflict_is_written_anew(tmp_path: Path) -> None:
    record = a_record(write_lock(tmp_path, LOCK))
    path = tmp_path / "metrics/seeds.json"
    path.parent.mkdir()
    path.write_text("<<<<<<< HEAD\n{}\n=======\n[]\n>>>>>>> other\n")
    with pytest.raises(ValueError, match=r"not JSON.*Make it again: `winnow seeds`"):
        seed_record.read(tmp_path)
    seeds.write(record, path)
    assert json.loads(path.read_text()) == record


def test_a_second_measurement_says_what_it_cannot_run_beside(tmp_path: Path) -> None:
    run(tmp_path, "git", "init", "-q")
    (tmp_path / ".dvc").mkdir()
    told = r"^process \d+ retrains or measures in this clone\. Run this again when it is done\.$"
    with (
        one_at_a_time(lock_file(tmp_path, "retrain"), str),
        pytest.raises(BlockingIOError, match=told),
        checkout(tmp_path, str, name="seeds"),
    ):
        pass


def project_with_rows_set_aside(folder: Path) -> Path:
    """The tiny project, with 24 rows more in a file of their own that are set aside."""
    project = make_project(folder)
    draw = random.Random(3)
    lines = [
        f'"{" ".join(draw.sample(words, 4))} {draw.randrange(1000)}",{label}'
        for label, words in TOPICS.items()
        for _ in range(8)
    ]
    (project / "data/final.csv").write_text("\n".join(["text,topic", *lines, ""]))
    edit_params(
        project, ingest__path="data", ingest__splits__held_out="final", finetune__epochs=3, distill__epochs=1,
        prune__epochs=1,
    )  # fmt: skip
    run(project, "git", "add", "--force", "data/final.csv", "params.yaml")
    run(project, "git", "commit", "-q", "-m", "rows set aside")
    return project


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_seeds_train_anew_on_the_same_rows_and_are_made_again_from_the_cache(tmp_path: Path) -> None:
    project = project_with_rows_set_aside(tmp_path / "winnow")
    first = run(project, "winnow", "seeds", "--seeds", "2")
    assert first.stderr.count("'finetune'") == 2
    assert first.stderr.count("'clean'") == 1, "the second seed has the rows of the first"
    record = json.loads((project / "metrics/seeds.json").read_text())
    assert record["seeds"] == [20, 21]
    assert record["models"].keys() == set(MODELS)
    assert record["held_out"]["held_out"]["rows"] > 10
    assert record["commit"] == run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert run(project, "git", "status", "--porcelain", "params.yaml", "dvc.lock").stdout == ""
    before = (project / "metrics/seeds.json").read_bytes()
    again = run(project, "winnow", "seeds", "--seeds", "2")
    assert "'finetune'" not in again.stderr
    assert (project / "metrics/seeds.json").read_bytes() == before
    run(project, "dvc", "repro", "evaluate@quantized", "evaluate@teacher", "compare")
    assert "± " in run(project, "winnow", "metrics").stdout, "the project itself comes to the same fingerprint"
