"""flows.dvc against a real DVC project: what it reads, what it runs, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import flow_fixtures
import pytest
import yaml
from conftest import REPOSITORY
from dvc.utils.serialize import _yaml
from flow_fixtures import change, dvc, environment, eventually, reproduce, runs

from flows.dvc import loaded, planning, reproducing
from flows.dvc.command import DvcError
from flows.dvc.reproducing import Ready
from flows.running import forked
from flows.running.processes import Children, EndedError, end_group

project, finished = flow_fixtures.project, flow_fixtures.finished
PROJECTS = sorted(path.parent.name for path in REPOSITORY.glob("projects/*/dvc.lock"))
ORDER = ("ingest", "clean", "evaluate@teacher", "evaluate@student")


needs_forks = pytest.mark.skipif(not forked.CAN_FORK, reason="forks are not safe on this system")


def ignore(line: str) -> None:
    """Take no notice of what a stage prints."""


TEARS = """
if name == "clean" and value == 7:
    import signal
    Path("clean.txt").write_text("half a li")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_graph_is_in_topological_order_and_has_the_stage_without_edges(finished: Path):
    graph = planning.graph(finished)
    assert list(graph) == [*ORDER, "alone"]
    assert graph["clean"] == ("ingest",)
    assert graph["evaluate@student"] == ("clean",)
    assert graph["alone"] == ()


def test_the_plan_is_empty_when_everything_is_up_to_date(finished: Path):
    assert planning.plan(finished).reasons == {}


def test_plan_of_a_new_project_has_every_stage_in_order(project: Path):
    assert planning.plan(project).reasons == {
        "ingest": ("it has never run",),
        "clean": ("it has never run", "after ingest"),
        "evaluate@teacher": ("it has never run", "after clean"),
        "evaluate@student": ("it has never run", "after clean"),
        "alone": ("it has never run",),
    }


def test_plan_names_what_changed_and_what_follows(finished: Path):
    change(finished, clean__min_chars=11, clean__near_duplicate_jaccard=0.00002 + 0.5)
    (finished / "evaluate_student.txt").unlink()
    (finished / "stage.py").write_text((finished / "stage.py").read_text() + "# more\n")
    definition = finished / "dvc.yaml"
    definition.write_text(definition.read_text().replace("stage.py alone", "stage.py  alone"))
    assert planning.plan(finished).reasons == {
        "ingest": ("stage.py changed",),
        "clean": (
            "clean.min_chars: 2 -> 11",
            "clean.near_duplicate_jaccard: 0.8 -> 0.50002",
            "after ingest",
        ),
        "evaluate@teacher": ("after clean",),
        "evaluate@student": ("evaluate_student.txt is missing", "after clean"),
        "alone": ("its command changed (it was: python stage.py alone)",),
    }


def test_a_parameter_with_an_exponent_counts_as_the_number_that_it_is(project: Path):
    change(project, clean__min_chars=0.00002)
    for stage in ("ingest", "clean"):
        reproduce(project, stage, ignore)
    change(project, clean__max_chars=3000)
    assert planning.plan(project).reasons["clean"] == ("clean.max_chars: 2000 -> 3000",)


def test_outcome_is_ran_then_unchanged_then_restored(project: Path):
    lines: list[str] = []
    states = [reproduce(project, "ingest", lines.append).state for _ in range(2)]
    (project / "ingest.txt").unlink()
    states.append(reproduce(project, "ingest", lines.append).state)
    assert states == ["ran", "unchanged", "restored"]
    assert (project / "ingest.txt").read_text() == "20 "
    assert "ingest reads 0 files" in lines
    assert "100%" in lines
    assert not any("50%" in line for line in lines), "of a progress bar only the last state goes on"


def test_a_failing_stage_raises_its_own_message_and_that_of_dvc(project: Path):
    (project / "ingest.fails").touch()
    with pytest.raises(DvcError) as raised:
        reproduce(project, "ingest", ignore)
    assert str(raised.value).splitlines() == [
        "ingest: the rows are bad. Mend them.",
        "failed to reproduce 'ingest': failed to run: python stage.py ingest, exited with 1",
    ]


def test_a_stage_that_does_not_exist_is_dvcs_error(project: Path):
    with pytest.raises(DvcError, match=r"Stage 'ingset' not found inside 'dvc\.yaml' file"):
        reproduce(project, "ingset", ignore)


def test_params_that_are_not_yaml_are_an_error_that_names_the_file(project: Path):
    (project / "params.yaml").write_text("seed: [")
    with pytest.raises(DvcError, match=r"params\.yaml"):
        planning.plan(project)


def test_children_that_were_ended_start_no_other(project: Path):
    children = Children()
    children.end()
    with Ready(project, children, wanted=True) as ready, pytest.raises(EndedError, match="being ended"):
        ready.take()
    assert not (project / "ingest.txt").exists()


@needs_forks
def test_one_loaded_dvc_does_stage_after_stage_in_groups_of_their_own_and_ends_with_the_run(project: Path):
    said: list[str] = []
    with Children() as children, Ready(project, children, wanted=True) as ready:
        loaded = ready._loaded
        assert loaded is not None
        for stage in ("ingest", "clean"):
            assert reproducing.reproduce(ready, stage, said.append).state == "ran"
        assert ready._loaded is loaded
        with children.until_left(ready.take()) as waiting:
            assert os.getsid(waiting.pid) == os.getpgid(waiting.pid) == waiting.pid
            assert waiting.poll() is None, "it has no order yet"
        assert waiting.poll() == -signal.SIGINT
        pid = loaded._process.pid
        assert runs(pid)
    assert [line for line in said if "reads" in line] == ["ingest reads 0 files", "clean reads 1 files"]
    assert not runs(pid)


@needs_forks
@pytest.mark.parametrize("when", ["idle", "while a stage runs"])
def test_a_loaded_dvc_that_was_killed_is_loaded_again(project: Path, when: str):
    with Children() as children, Ready(project, children, wanted=True) as ready:

        def kill(line: str = "Running stage") -> None:
            assert ready._loaded is not None
            if "Running stage" in line:
                ready._loaded._process.kill()
                ready._loaded._process.wait()

        if when == "idle":
            kill()
        assert reproducing.reproduce(ready, "ingest", ignore if when == "idle" else kill).state == "ran"
        killed = ready._loaded
        assert reproducing.reproduce(ready, "alone", ignore).state == "ran"
        assert (ready._loaded is killed) == (when == "idle")


@needs_forks
def test_a_dvc_that_cannot_be_loaded_says_why(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n")
    monkeypatch.setattr(reproducing, "LOADED", broken)
    named = pytest.raises(DvcError, match="No module named 'no_such_module'")
    with Children() as children, Ready(project, children, wanted=True) as ready, named:
        ready.take()


@needs_forks
def test_a_run_that_is_ended_while_dvc_is_loaded_does_not_wait_for_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(300)\n")
    monkeypatch.setattr(reproducing, "LOADED", slow)
    with Children() as children, Ready(project, children, wanted=True) as ready, ThreadPoolExecutor() as threads:
        taken = threads.submit(ready.take)
        with pytest.raises(TimeoutError):
            taken.result(timeout=1)
        children.end()
        with pytest.raises(EndedError, match="being ended"):
            taken.result(timeout=30)


def test_where_forks_are_not_safe_each_stage_has_a_dvc_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forked, "CAN_FORK", False)
    said: list[str] = []
    with Children() as children, Ready(project, children, wanted=True) as ready:
        for stage in ("ingest", "clean"):
            assert reproducing.reproduce(ready, stage, said.append).state == "ran"
        assert ready._loaded is None
        waiting = ready._next
        assert waiting is not None
    assert waiting.poll() is not None, "what has no order ends with the run"
    assert [line for line in said if "reads" in line] == ["ingest reads 0 files", "clean reads 1 files"]


def test_a_stage_whose_dvc_was_killed_fails_by_itself(project: Path):
    (project / "ingest.sleeps").touch()
    with Children() as children, Ready(project, children, wanted=True) as ready:

        def kill(line: str) -> None:
            if "Running stage" in line:
                locks = (project / ".dvc/tmp/rwlock").read_text()
                assert '"cmd": "dvc --wait-for-lock repro' in locks
                (process,) = children._alive
                os.kill(process, signal.SIGKILL)

        with pytest.raises(DvcError, match="exit code -9"):
            reproducing.reproduce(ready, "ingest", kill)
        assert reproducing.reproduce(ready, "alone", ignore).state == "ran"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_parent_leaves_no_child_alive_and_the_stage_can_run_again(
    project: Path,
    number: signal.Signals,
):
    (project / "ingest.sleeps").touch()
    code = (
        # Under nohup, or in a shell's background, these are ignored from the start, and rightly.
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from pathlib import Path; from flows.running.processes import Children;"
        "from flows.dvc.reproducing import Ready, reproduce\n"
        "with Children() as children, Ready(Path(), children, wanted=True) as ready: reproduce(ready, 'ingest', print)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=project, env=environment(), stderr=subprocess.DEVNULL)
    try:
        pids = project / "ingest.pids"
        eventually(lambda: pids.exists() and pids.read_text().count(" "))
        stage, helper = map(int, pids.read_text().split())
        assert runs(stage)
        assert runs(helper)
        parent.send_signal(number)
        assert parent.wait(timeout=30) != 0
        # Killed, the parent cannot wait: its guard ends what it had started.
        eventually(lambda: not runs(stage) and not runs(helper), seconds=20 if number == signal.SIGKILL else 0.1)
    finally:
        parent.kill()
        parent.wait()
    (project / "ingest.sleeps").unlink()
    assert reproduce(project, "ingest", ignore).state == "ran"


def test_what_ignores_every_polite_signal_is_killed_after_the_grace_period(tmp_path: Path):
    ready = tmp_path / "ready"
    code = (
        "import pathlib, signal, sys, time;"
        "signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN);"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(300)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(ready)], start_new_session=True)
    eventually(ready.exists)
    end_group(process.pid, grace=0.4)
    assert process.wait(timeout=60) == -signal.SIGKILL


def test_a_descendant_that_left_the_group_and_lost_its_parent_is_ended_too(tmp_path: Path):
    pid = tmp_path / "pid"
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(300)"
    parent = (
        "import pathlib, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[2]], start_new_session=True, stdout=-1);"
        "child.stdout.readline(); pathlib.Path(sys.argv[1]).write_text(f'{child.pid} '); time.sleep(300)"
    )
    leader = subprocess.Popen(
        ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-c", parent, str(pid), stubborn], start_new_session=True
    )
    eventually(lambda: pid.exists() and pid.read_text().endswith(" "))
    end_group(leader.pid, grace=1)
    leader.wait(timeout=60)
    assert not runs(int(pid.read_text()))


def test_a_torn_rwlock_is_removed_and_the_stage_runs(project: Path):
    rwlock = project / ".dvc/tmp/rwlock"
    rwlock.parent.mkdir(exist_ok=True)
    rwlock.write_text("")
    assert reproduce(project, "ingest", ignore).state == "ran"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_torn_dvc_lock_loses_no_stage(finished: Path, share: float):
    lock = finished / "dvc.lock"
    whole = lock.read_bytes()
    torn = whole[: int(share * len(whole))]
    lock.write_bytes(torn)
    (finished / "clean.sleeps").touch()  # a stage that ran anew would never end
    missing = planning.plan(finished).reasons
    assert "alone" in missing
    if not torn.endswith(b"\n"):  # else it is a whole file of fewer stages
        assert (finished / ".dvc/tmp/winnow/dvc.lock.torn").read_bytes() == torn
    assert {reproduce(finished, stage, ignore).state for stage in missing} == {"restored"}
    assert hashes(lock.read_bytes()) == hashes(whole)


def hashes(lock: bytes) -> set[tuple[str, str, str]]:
    """Every out with its stage and hash. Of a file that was cut between two lines, a size may be gone."""
    stages = yaml.safe_load(lock)["stages"].items()
    return {(stage, out["path"], out["md5"]) for stage, entry in stages for out in entry["outs"]}


def test_a_merge_conflict_in_dvc_lock_is_left_to_a_person(finished: Path):
    lock = finished / "dvc.lock"
    text = lock.read_text().replace("  clean:\n", "<<<<<<< HEAD\n  clean:\n=======\n  clear:\n>>>>>>> other\n")
    lock.write_text(text)
    with pytest.raises(ValueError, match="merge conflict"):
        planning.plan(finished)
    assert lock.read_text() == text


def test_a_stage_killed_while_it_writes_runs_again_alone_and_what_was_before_can_be_restored(finished: Path):
    before = (finished / "clean.txt").read_bytes()
    change(finished, clean__min_chars=7)
    script = finished / "stage.py"
    text = script.read_text()
    script.write_text(text + "\n" + TEARS)
    dvc(finished, "commit", "--force", "--quiet", "ingest")  # that the script changed is not the point
    with pytest.raises(DvcError, match=r"exited with (-9|137) \(killed; out of memory, perhaps\)"):
        reproduce(finished, "clean", ignore)
    assert (finished / "clean.txt").read_bytes() == b"half a li"
    assert set(planning.plan(finished).reasons) == {"clean", "evaluate@teacher", "evaluate@student"}

    (finished / "params.yaml").write_bytes((flow_fixtures.ROOT / "params.yaml").read_bytes())
    assert reproduce(finished, "clean", ignore).state == "restored"
    assert (finished / "clean.txt").read_bytes() == before

    change(finished, clean__min_chars=7)
    assert reproduce(finished, "ingest", ignore).state == "unchanged"
    script.write_text(script.read_text().replace("os.kill", "# os.kill"))
    dvc(finished, "commit", "--force", "--quiet", "ingest")
    assert reproduce(finished, "clean", ignore).state == "ran"


NASTY = {
    "floats": [1e-05, 3.0e-4, 1e16, -0.0, 1.0, float("inf")], "others": [None, True, 0, -7, 10**20],
    "texts": ["yes", "null", "1.0", "0o7", "1e5", "", " a ", "2020-01-01", "a: b", "é\n", "'", '"', "x" * 200, "- a"],
    "keys": {"on": 1, "1": 2, "": 3}, "empty": [{}, []],
}  # fmt: skip


@pytest.mark.parametrize("given", ["dvc.lock", *(f"projects/{name}/dvc.lock" for name in PROJECTS), "nasty"])
def test_a_lock_that_is_read_quickly_is_written_as_one_that_is_read_as_ever(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = _yaml.dumps_yaml(NASTY) if given == "nasty" else (REPOSITORY / given).read_text(encoding="utf-8")
    as_ever = _yaml.parse_yaml_for_update
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", as_ever)  # taken back after the test
    loaded.read_locks_quickly()
    lock, other = tmp_path / "dvc.lock", tmp_path / "dvc.yaml"
    for file in (lock, other):
        file.write_text(text, encoding="utf-8")
        with _yaml.modify_yaml(file) as data:
            assert (type(data) is dict) == (file is lock), "read quickly, or with what keeps comments"
            data["more"] = {"md5": "0e12", "size": 5}
    assert lock.read_text(encoding="utf-8") == other.read_text(encoding="utf-8")


def test_a_comment_in_a_lock_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", _yaml.parse_yaml_for_update)
    loaded.read_locks_quickly()
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'  # mine\n", encoding="utf-8")
    with _yaml.modify_yaml(lock) as data:
        data["stages"] = {}
    assert lock.read_text(encoding="utf-8") == "schema: '2.0'  # mine\nstages: {}\n"
