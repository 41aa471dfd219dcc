"""Whatever ends a stage, and whenever: its outs are as they were before, and one line says how to go on."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, init_repository, run

from stages.core import guard

# A stage with an out and a metric. It waits where a file says so: while its libraries load, or while it runs.
LIBRARY = """
import time
from pathlib import Path

def wait(where):
    if Path(f"wait.{where}").exists():
        Path(f"waits.{where}").touch()
        for _ in range(1200):  # a signal between the file and one long sleep would be heard after it
            time.sleep(0.05)

class Callback:
    def __del__(self):
        wait("callback")

wait("loading")
"""
STAGE = """
from pathlib import Path

import library
from stages.core import guard
from stages.core.entry import run_stage
from stages.core.files import write_json

guard.GRACE_SECONDS = 0.1

def toy(params, paths):
    text = (paths.root / "data.txt").read_text()
    (paths.root / "out.txt").write_text(text)
    write_json(paths.root / "metrics/toy.json", {"characters": len(text)})
    library.Callback()
    library.wait("running")
    if Path("fails").exists():
        raise ValueError("no such thing")

if __name__ == "__main__":
    run_stage(toy)
"""
DVC_YAML = {
    "stages": {
        "toy": {
            "cmd": "python -m stages.toy",
            "deps": ["data.txt"],
            "outs": ["out.txt"],
            "metrics": [{"metrics/toy.json": {"cache": False}}],
        }
    }
}
GOES_ON = "toy: stopped; `dvc repro` goes on, a training from its last checkpoint."
BY_HAND = "Not all of its outs are there; what is left: `dvc checkout toy` and `git restore metrics`."
LINE = f"{GOES_ON} Its outs are as before."


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stage has run on "old", committed; with "new" as its data since."""
    folder = tmp_path_factory.mktemp("stopping") / "project"
    for room in ("core", "tasks"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "stages" / room, folder / "stages" / room, ignore=ignored)
    shutil.copyfile(REPOSITORY / "stages/__init__.py", folder / "stages/__init__.py")
    (folder / "stages/toy.py").write_text(STAGE)
    (folder / "library.py").write_text(LIBRARY)
    shutil.copyfile(REPOSITORY / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text(yaml.safe_dump(DVC_YAML))
    (folder / "data.txt").write_text("old")
    init_repository(folder)
    (folder / ".gitignore").write_text("/out.txt\n/artifacts\n__pycache__\nwait*.*\nfails\n")
    run(folder, "dvc", "repro", PYTHONPATH="")
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-qm", "reproduced")
    (folder / "data.txt").write_text("new")
    run(folder, "git", "commit", "-qam", "new data")
    return folder


@pytest.fixture
def project(reproduced: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "project"
    shutil.copytree(reproduced, copied)
    return copied


def take_away_as_dvc_does(project: Path) -> None:
    (project / "out.txt").unlink()
    (project / "metrics/toy.json").unlink()


def assert_as_before(project: Path) -> None:
    assert (project / "out.txt").read_text() == "old"
    assert json.loads((project / "metrics/toy.json").read_text()) == {"characters": 3}
    assert run(project, "git", "status", "--porcelain").stdout == ""


def stop(project: Path, where: str, number: signal.Signals, *command: str, **more: str) -> tuple[int, str]:
    """Start a command, and signal its process group when the stage waits. Returns the exit code and stderr."""
    (project / f"wait.{where}").touch()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    pipe = subprocess.PIPE
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "", **more}
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (project / f"waits.{where}").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, number)
        if where == "callback":  # what this raises is lost
            time.sleep(0.3)
            os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)  # the stage, too, holds the pipes: it has ended
    finally:
        process.kill()
    return process.returncode, said


def stage(project: Path, where: str, number: signal.Signals, **more: str) -> tuple[int, str]:
    """As DVC starts it, without the time that DVC takes."""
    take_away_as_dvc_does(project)
    return stop(project, where, number, "python", "-m", "stages.toy", DVC_STAGE="toy", **more)


@pytest.mark.parametrize(
    ("where", "number"), [("loading", signal.SIGINT), ("running", signal.SIGINT), ("loading", signal.SIGTERM)]
)
def test_outs_are_back_in_one_line_when_dvc_repro_is_ended(project: Path, where: str, number: signal.Signals):
    code, said = stop(project, where, number, "dvc", "repro")
    assert code != 0
    assert [line for line in said.splitlines() if not line.startswith("ERROR: failed to reproduce 'toy'")] == [LINE]
    assert_as_before(project)


@pytest.mark.parametrize(("where", "number"), [("loading", signal.SIGHUP), ("running", signal.SIGTERM)])
def test_the_exit_code_of_a_stage_says_which_signal_ended_it(project: Path, where: str, number: signal.Signals):
    assert stage(project, where, number) == (128 + number, LINE + "\n")
    assert_as_before(project)


def test_a_signal_that_is_lost_in_a_callback_leaves_the_stage_open_to_the_next(project: Path):
    (project / "wait.running").touch()
    code, said = stage(project, "callback", signal.SIGTERM)
    assert code == 143
    assert said.splitlines()[-1] == LINE
    assert_as_before(project)


@pytest.mark.parametrize("where", ["loading", "running"])
def test_a_stage_that_nobody_hears_is_ended_all_the_same(project: Path, where: str):
    take_away_as_dvc_does(project)
    command = ("sh", "-c", "exec python -m stages.toy 2>&-")
    assert stop(project, where, signal.SIGINT, *command, DVC_STAGE="toy") == (130, "")
    assert_as_before(project)


def test_outs_are_put_back_by_the_projects_python_rather_than_by_anybodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/sh\necho "$3" > asked\n')
    (tmp_path / ".venv/bin/python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert guard.put_back("toy") is True
    assert (tmp_path / "asked").read_text() == "toy\n"


def test_a_python_that_is_too_old_is_not_asked_to_put_outs_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "OLDEST", (99, 0))
    assert guard._with_dvc() is None


def test_a_stage_that_fails_says_where_its_outs_cannot_be_put_back(project: Path):
    shutil.rmtree(project / ".dvc/cache")
    (project / "fails").touch()
    take_away_as_dvc_does(project)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = run(project, "python", "-m", "stages.toy", check=False, PATH=path, PYTHONPATH="", DVC_STAGE="toy")
    (project / "out.txt").unlink(missing_ok=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"toy: failed. {BY_HAND}", "toy: no such thing"]


def test_a_metric_of_another_commit_is_not_put_in_the_place_of_what_is_there(project: Path):
    (project / "metrics/toy.json").write_text("of another commit")
    run(project, "git", "commit", "-qam", "another")
    (project / "metrics/toy.json").write_text("what is there")
    for file in (project / ".dvc/cache/files").rglob("*"):
        if file.is_file() and file.read_text() != "old":
            file.unlink()
    assert put_back_in(project) is False
    assert (project / "metrics/toy.json").read_text() == "what is there"


def test_a_stage_started_by_hand_has_lost_nothing_and_says_only_that_it_stopped(project: Path):
    assert stop(project, "loading", signal.SIGINT, "python", "-m", "stages.toy") == (130, "toy: stopped.\n")
    assert stop(project, "running", signal.SIGINT, "sh", "-c", "rm wait.loading; exec python -m stages.toy") == (
        130,
        "toy: stopped.\n",
    )


def test_outs_are_back_also_from_a_cache_that_was_moved(project: Path):
    shutil.move(project / ".dvc/cache", project.parent / "shared cache")
    run(project, "dvc", "cache", "dir", "--local", str(project.parent / "shared cache"))
    run(project, "git", "rm", "-q", "--cached", "metrics/toy.json")  # so that only DVC has it
    stage(project, "running", signal.SIGTERM)
    assert (project / "out.txt").read_text() == "old"
    assert json.loads((project / "metrics/toy.json").read_text()) == {"characters": 3}


def test_metrics_are_back_from_git_in_a_clone_without_dvcs_cache(project: Path):
    shutil.rmtree(project / ".dvc/cache")
    code, said = stage(project, "loading", signal.SIGINT)
    assert (code, said) == (130, f"{GOES_ON} {BY_HAND}\n")
    assert run(project, "git", "status", "--porcelain").stdout == ""


def test_outs_of_a_stage_that_runs_elsewhere_are_left_to_it(project: Path):
    import fcntl

    lock = project / "artifacts/.locks/toy.lock"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert stage(project, "loading", signal.SIGINT) == (130, f"{GOES_ON}\n")
    assert not (project / "out.txt").exists()


def broken(project: Path, library: str, **more: str) -> str:
    """What `dvc repro` prints on stderr where `library` is what the stage imports first."""
    (project / "library.py").write_text(library)
    done = run(project, "dvc", "repro", check=False, PYTHONPATH="", **more)
    assert done.returncode != 0
    return done.stderr


def test_outs_are_back_where_an_import_fails_and_a_fault_of_the_code_has_its_traceback(project: Path):
    said = broken(project, "1 / 0\n")
    assert "ZeroDivisionError" in said
    assert (project / "out.txt").read_text() == "old"


def test_another_python_is_one_line_that_says_how_to_go_on_and_outs_are_back(project: Path):
    """One that, as a system's own, has not Winnow's packages."""
    bare = project.parent / "bin"
    bare.mkdir()
    (bare / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    (bare / "python").chmod(0o755)
    (project / ".venv").symlink_to(sys.prefix)
    path = os.pathsep.join([str(bare), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = run(project, str(Path(sys.executable).with_name("dvc")), "repro", check=False, PATH=path, PYTHONPATH="")
    first, *others = done.stderr.splitlines()
    assert "cannot run this: No module named " in first
    assert first.endswith("`source .venv/bin/activate`, or use `make repro`. Its outs are as before.")
    assert [line for line in others if not line.startswith("ERROR: failed to reproduce")] == []
    (project / ".venv").unlink()
    assert_as_before(project)


def test_a_folder_whose_files_are_gone_is_not_put_back_as_their_list(project: Path):
    """DVC's cache keeps a list of a folder's files under the folder's own hash."""
    definition = yaml.safe_load((project / "dvc.yaml").read_text())
    definition["stages"]["toy"]["metrics"] = [{"metrics": {"cache": False}}]
    (project / "dvc.yaml").write_text(yaml.safe_dump(definition))
    run(project, "dvc", "repro", PYTHONPATH="")
    run(project, "git", "rm", "-qr", "--cached", "metrics")
    for file in (project / ".dvc/cache/files").rglob("*"):
        if file.is_file() and file.suffix != ".dir":
            file.unlink()
    shutil.rmtree(project / "metrics")
    assert put_back_in(project) is False
    assert not (project / "metrics").exists()


def put_back_in(project: Path) -> bool:
    command = [sys.executable, "-P", str(project / "stages/core/guard.py"), "toy"]
    return subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "guarded"),
    [
        (["-m", "stages.told"], True),
        (["-P", "-m", "stages.told", "more"], True),
        (["-mstages.told"], True),
        (["-m", "service", "stages.told"], False),  # somebody's own, whose package imports this one
    ],
)
def test_only_a_process_that_is_to_run_a_stage_is_guarded(arguments: list[str], guarded: bool, tmp_path: Path) -> None:
    (tmp_path / "stages/core").mkdir(parents=True)
    for name in ("__init__", "core/__init__", "core/guard"):
        shutil.copyfile(REPOSITORY / f"stages/{name}.py", tmp_path / f"stages/{name}.py")
    (tmp_path / "stages/told.py").write_text("import sys\nprint(sys.excepthook.__module__)\n")
    (tmp_path / "service").mkdir()
    (tmp_path / "service/__init__.py").write_text("import stages.told\n")
    (tmp_path / "service/__main__.py").touch()
    done = run(tmp_path, sys.executable, *arguments, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == ("stages.core.guard" if guarded else "sys")


@pytest.mark.parametrize("name", ["__init__", "core/__init__", "core/guard"])
def test_what_another_python_meets_first_is_read_by_old_ones(name: str):
    ast.parse((REPOSITORY / f"stages/{name}.py").read_text(), feature_version=(3, 8))
