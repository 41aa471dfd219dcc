"""Flow `reproduce` against a real DVC project and a real Prefect server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import flow_fixtures
import psutil
import pytest
import yaml
from flow_fixtures import environment, eventually, make_project, runs
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import TaskRun
from prefect.states import State

from flows import dvc_project

project, prefect_server = flow_fixtures.project, flow_fixtures.prefect_server
pytestmark = pytest.mark.usefixtures("prefect_server")
STAGES = {"ingest", "clean", "evaluate@teacher", "evaluate@student", "alone"}


def run_flow(root: Path) -> State:
    from flows.reproduce import reproduce

    return reproduce(root, return_state=True)


def task_runs(state: State) -> dict[str, TaskRun]:
    """The task runs of the flow run that ended in `state`, by stage, as Prefect's API has them.

    Their states reach the API as events, a moment later.
    """
    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id(state)]))
    found: dict[str, TaskRun] = {}

    def settled() -> bool:
        with get_client(sync_client=True) as client:
            found.update({run.name: run for run in client.read_task_runs(flow_run_filter=flow_run)})
        states = [run.state for run in found.values()]
        return len(found) == len(STAGES) and all(s and (s.is_final() or s.name == "NotReady") for s in states)

    eventually(settled)
    return found


def state_names(state: State) -> dict[str, str | None]:
    return {stage: run.state_name for stage, run in task_runs(state).items()}


def flow_run_id(state: State) -> UUID:
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def log_lines(state: State) -> list[str]:
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id(state)])))
    return [log.message for log in logs]


def artifact(key: str) -> list[dict[str, str]]:
    with get_client(sync_client=True) as client:
        found = client.request("GET", "/artifacts/{key}/latest", path_params={"key": key})
    return json.loads(found.json()["data"])


def test_the_flow_runs_everything_once_and_shows_what_is_cached_afterwards(project: Path, tmp_path: Path):
    first = run_flow(project)
    assert first.is_completed(), first.message
    assert state_names(first) == dict.fromkeys(STAGES, "Completed")
    assert task_runs(first)["clean"].state.message == "it has never run; after ingest"
    eventually(lambda: "clean reads 1 files" in log_lines(first))
    assert dvc_project.status(project) == {}

    second = run_flow(project)
    assert second.message == "every stage was up to date"
    assert state_names(second) == dict.fromkeys(STAGES, "Cached")
    assert [row["state"] for row in artifact("stages")] == ["Cached"] * len(STAGES)
    assert {row["model"] for row in artifact("models")} == {"baseline", "teacher", "student", "quantized"}

    by_hand = make_project(tmp_path / "by_hand", finished=True)
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load((by_hand / "dvc.lock").read_text())


def test_a_failed_stage_fails_the_flow_and_stops_only_its_dependents(project: Path):
    (project / "clean.fails").touch()
    state = run_flow(project)
    assert state.is_failed()
    assert state.message is not None
    assert state.message.splitlines() == [
        "clean: the rows are bad. Mend them.",
        "failed to reproduce 'clean': failed to run: python stage.py clean ingest.txt, exited with 1",
        "Not run: evaluate@teacher, evaluate@student",
    ]
    assert state_names(state) == {
        "ingest": "Completed",
        "clean": "Failed",
        "evaluate@teacher": "NotReady",
        "evaluate@student": "NotReady",
        "alone": "Completed",
    }
    assert not any("Traceback" in line for line in log_lines(state))
    assert (project / "alone.txt").exists()
    assert not (project / "evaluate_teacher.txt").exists()

    (project / "clean.fails").unlink()
    mended = run_flow(project)
    assert mended.is_completed()
    assert state_names(mended)["ingest"] == "Cached"
    assert state_names(mended)["evaluate@teacher"] == "Completed"


def test_params_that_dvc_cannot_read_fail_the_flow_with_one_message(project: Path):
    (project / "params.yaml").write_text("seed: [")
    state = run_flow(project)
    assert state.is_failed()
    assert "params.yaml" in (state.message or "")


def test_a_terminated_flow_leaves_no_process_of_its_stages_and_can_run_again(project: Path, prefect_server: str):
    dead, code = interrupt(project, signal.SIGTERM, PREFECT_API_URL=prefect_server)
    assert code == 143
    assert len(dead) >= 3, "DVC, the stage and its helper"
    assert not any(runs(pid) for pid in dead)
    assert not (project / "alone.txt").exists(), "no queued stage starts once the flow is being ended"
    (project / "ingest.sleeps").unlink()
    assert dvc_project.reproduce(project, "ingest", print).state == "ran"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_without_a_server_the_temporary_one_ends_with_the_flow(
    project: Path, tmp_path: Path, number: signal.Signals, expected: int
):
    dead, code = interrupt(project, number, PREFECT_HOME=str(tmp_path / "prefect"), PREFECT_API_URL="")
    assert code == expected
    assert len(dead) >= 4, "the server, DVC, the stage and its helper"
    eventually(lambda: not any(runs(pid) for pid in dead), seconds=10)


def interrupt(root: Path, number: signal.Signals, **more: str) -> tuple[set[int], int]:
    """Signal `winnow reproduce` amid a stage. Returns what it had started by then, and its exit code."""
    (root / "ingest.sleeps").touch()
    parent = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "reproduce"],
        cwd=root,
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        pids = root / "ingest.pids"
        eventually(lambda: parent.poll() is not None or (pids.exists() and pids.read_text().count(" ")), seconds=120)
        started = {child.pid for child in psutil.Process(parent.pid).children(recursive=True)}
        assert started >= {int(pid) for pid in pids.read_text().split()}
        time.sleep(0.2)
        parent.send_signal(number)
        _, stderr = parent.communicate(timeout=60)
        assert str(flow_fixtures.ROOT / "flows") not in stderr, "no traceback through Winnow's own code"
    finally:
        parent.kill()
        parent.wait()
    return started, parent.returncode
