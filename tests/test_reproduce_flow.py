"""Flow `reproduce` against a real DVC project and a real Prefect server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from uuid import UUID

import flow_fixtures
import psutil
import pytest
import yaml
from flow_fixtures import change, environment, eventually, make_project, runs
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.states import State
from serving_fixtures import free_port

from flows import reproduce
from flows.cli import graph
from flows.dvc import planning
from flows.dvc.command import DvcError
from flows.review import published
from flows.running import described, git
from flows.running.locks import lock_file, one_at_a_time
from stages.core.machine import cores
from stages.core.paths import MODELS

finished = flow_fixtures.finished
project, prefect_server = flow_fixtures.project, flow_fixtures.prefect_server
pytestmark = pytest.mark.usefixtures("prefect_server")
STAGES = {"ingest", "clean", "evaluate@teacher", "evaluate@student", "alone"}


def run_flow(root: Path, *stages: str, force: bool = False) -> State:
    from flows.reproduce import reproduce

    return reproduce(root, stages, force, return_state=True)


def task_runs(state: State, stages: int = len(STAGES)) -> dict[str, TaskRun]:
    """The task runs of the flow run that ended in `state`, by stage, as Prefect's API has them.

    Their states reach the API as events, a moment later.
    """
    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id(state)]))
    found: dict[str, TaskRun] = {}

    def settled() -> bool:
        with get_client(sync_client=True) as client:
            found.update({run.name: run for run in client.read_task_runs(flow_run_filter=flow_run)})
        states = [run.state for run in found.values()]
        return len(found) == stages and all(s and (s.is_final() or s.name == "NotReady") for s in states)

    eventually(settled)
    return found


def state_names(state: State, stages: int = len(STAGES)) -> dict[str, str | None]:
    return {stage: run.state_name for stage, run in task_runs(state, stages).items()}


def flow_run_id(state: State) -> UUID:
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def log_lines(state: State) -> list[str]:
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id(state)])))
    return [log.message for log in logs]


def artifact_text(key: str) -> str:
    with get_client(sync_client=True) as client:
        return client.request("GET", "/artifacts/{key}/latest", path_params={"key": key}).json()["data"]


def artifact(key: str) -> list[dict[str, str]]:
    return json.loads(artifact_text(key))


def test_the_flow_runs_everything_once_and_shows_what_is_cached_afterwards(project: Path, tmp_path: Path):
    first = run_flow(project)
    assert first.is_completed(), first.message
    ran = r"ran 5 of 5 stages in [0-9.]+ (s|min): ingest, clean, evaluate@teacher, evaluate@student, alone"
    assert re.fullmatch(ran, first.message or "")
    assert state_names(first) == dict.fromkeys(STAGES, "Completed")
    assert task_runs(first)["clean"].state.message == "it has never run; after ingest"
    eventually(lambda: "clean reads 1 files" in log_lines(first))
    begun = [re.split(r" begins(?:; )?", line) for line in log_lines(first) if " begins" in line]
    assert {where.partition(": ")[2] for where, *_ in begun} == {f"stage {number} of 5" for number in range(1, 6)}
    assert sorted(left for *_, left in begun if left) == ["time left unknown, as nothing of it has run here"]
    assert planning.plan(project).reasons == {}
    page = project / "artifacts/review/review.html"
    assert page.is_file()
    assert f"`{page}`" in artifact_text("review")
    assert "file://" not in artifact_text("review"), "no browser follows such a link"

    second = run_flow(project)
    assert second.message == "every stage was up to date"
    assert state_names(second) == dict.fromkeys(STAGES, "Cached")
    assert [row["state"] for row in artifact("stages")] == ["Cached"] * len(STAGES)
    assert {row["model"] for row in artifact("models")} == set(MODELS)

    by_hand = make_project(tmp_path / "by_hand", finished=True)
    assert yaml.safe_load((project / "dvc.lock").read_text()) == yaml.safe_load((by_hand / "dvc.lock").read_text())


def test_a_run_is_found_by_its_name_its_tags_and_its_parameters(project: Path):
    (project / "params.yaml").write_text((project / "params.yaml").read_text() + "# by somebody else\n")
    state = run_flow(project, "clean")
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id(state))
    branch = git.branch(project)
    assert re.fullmatch(rf"project {branch} [0-9a-f]{{7,}}-dirty clean: first run", run.name)
    assert set(run.tags) == {"winnow", "project", f"branch:{branch}"}
    # Prefect asks the server for each tag of a task whether it is limited, and waits where it is asked too much.
    assert {name: run.tags for name, run in task_runs(state, 2).items()} == {"ingest": [], "clean": []}
    assert described._what({"stages": (), "force": True}) == "all stages by force"
    assert described._what({"root": None, "base": "main", "approve": "by hand"}) == "newest data"
    assert {"parameter": "clean.min_chars", "value": "2"} in artifact("parameters")
    # No model is judged: nothing is looked for in remotes, and the log says so.
    eventually(lambda: any(line.startswith("no review: ") for line in log_lines(state)))


def test_a_run_is_named_by_what_changed_and_tells_what_was_cached(finished: Path):
    change(finished, clean__min_chars=3)
    state = run_flow(finished)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id(state))
    assert run.name.endswith("-dirty all stages: clean.min_chars 2 -> 3")
    said = r"ran 3 of 5 stages in [0-9.]+ (s|min): clean, evaluate@teacher, evaluate@student; 2 cached"
    assert re.fullmatch(said, state.message or "")
    again = [line for line in log_lines(state) if "runs again" in line]
    assert again == ["clean runs again: clean.min_chars: 2 -> 3"]


SAYS_WHAT_IS_LOADED = """
import atexit, sys
from flows.cli import main
from flows.serving import server
server.PORT = int(sys.argv.pop())
atexit.register(lambda: print("prefect" in sys.modules, file=sys.stderr))
main()
"""


def test_with_nothing_to_do_a_server_has_the_run_and_without_one_prefect_is_not_loaded(
    finished: Path, prefect_server: str, tmp_path: Path
):
    def reproduced(**more: str) -> tuple[str, str]:
        command = [sys.executable, "-c", SAYS_WHAT_IS_LOADED, "reproduce", str(free_port())]
        more = {"PREFECT_HOME": str(tmp_path / "prefect"), **more}
        done = subprocess.run(
            command, cwd=finished, env=environment(**more), capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    before = flow_runs()
    unseen, said = reproduced(PREFECT_API_URL="")
    assert unseen.splitlines()[:2] == ["every stage was up to date", ""]
    assert said == "False\n"
    assert not (tmp_path / "prefect").exists(), "no server was started"
    assert flow_runs() == before
    seen, said = reproduced(PREFECT_API_URL=prefect_server)
    assert seen == unseen
    assert said.endswith("True\n")
    [run] = flow_runs() - before
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run)
    assert found.name.endswith("all stages: nothing changed")
    assert found.state is not None
    assert (found.state_name, found.state.message) == ("Completed", "every stage was up to date")


def flow_runs() -> set[UUID]:
    with get_client(sync_client=True) as client:
        return {run.id for run in client.read_flow_runs(limit=200)}


def test_only_an_empty_plan_that_no_other_run_can_change_needs_no_flow(finished: Path):
    def done(plan: planning.Plan | Exception) -> Future[planning.Plan]:
        made: Future[planning.Plan] = Future()
        (made.set_exception if isinstance(plan, Exception) else made.set_result)(plan)  # type: ignore[arg-type]
        return made

    nothing = done(planning.Plan({"clean": ()}, {}))
    assert graph._nothing_to_do(finished, nothing)
    assert not graph._nothing_to_do(finished, done(planning.Plan({"clean": ()}, {"clean": ("seed: 1 -> 2",)})))
    assert not graph._nothing_to_do(finished, done(DvcError("dvc.yaml has no stage 'claen'")))
    with one_at_a_time(lock_file(finished, "reproduce"), print):
        assert not graph._nothing_to_do(finished, nothing)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (None, "on the machine that made it: `/p/review.html`. Where that folder is served, WINNOW_PAGES_URL makes"),
        ("https://ci.example.org/reviews/", "[The same with charts](https://ci.example.org/reviews/review.html)"),
        ("reviews on the server", "`/p/review.html`. WINNOW_PAGES_URL is not an address. Allowed: http:// or https://"),
    ],
)
def test_the_review_is_linked_where_its_pages_have_an_address(
    address: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("WINNOW_PAGES_URL", raising=False)
    if address is not None:
        monkeypatch.setenv("WINNOW_PAGES_URL", address)
    assert shown in published.where_it_is(Path("/p/review.html"))


QUANTIZES = """
stages:
  quantize:
    cmd: mkdir -p artifacts/models/quantized && cp model.json artifacts/models/quantized
    outs: [artifacts/models/quantized]
  profile:
    cmd: cp artifacts/models/quantized/model.json profile.json
    deps: [artifacts/models/quantized]
    outs: [profile.json]
"""


def test_once_the_model_is_ready_that_is_said_and_at_the_end_what_to_do_next(project: Path, prefect_server: str):
    (project / "dvc.yaml").write_text(QUANTIZES)
    (project / "model.json").write_text(json.dumps({"task": "text_classification", "pairs": True}))
    git.read(project, "update-ref", "-d", "HEAD")  # as in a new project

    def reproduced(*more: str) -> tuple[str, str]:
        command = [sys.executable, "-m", "flows.cli", "reproduce", *more]
        env = environment(PREFECT_API_URL=prefect_server)
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    stdout, stderr = reproduced()
    ready = (
        "the model is ready: `winnow predict TEXT --pair TEXT` answers with it. What is left of this run measures it"
    )
    assert ready in stderr
    assert stderr.index(ready) < stderr.index("profile: stage 2 of 2 begins")
    assert "Finished in state" not in stderr
    added = ".gitignore .dvc .dvcignore params.yaml dvc.yaml dvc.lock"
    assert stdout.partition("\nnext: ")[2].splitlines() == [
        "`winnow predict TEXT --pair TEXT` answers; `winnow app` serves the model, with a page to try it on",
        "      `winnow errors` lists the test rows that it answers wrongly",
        f"      `git add {added} && git commit -m start` keeps this run: later ones are compared with it",
    ]
    assert "next:" not in reproduced()[0], "nothing ran"
    (project / "model.json").write_text(json.dumps({"task": "text_classification", "pairs": False}))
    stdout, stderr = reproduced("--stage", "quantize", "--force")
    assert "the model is ready" not in stderr, "nothing is left of this run"
    assert stdout.partition("\nnext: ")[2].startswith("`git add ")


def test_data_that_dvc_keeps_is_not_counted_as_a_stage():
    ran, cached = State(type=StateType.COMPLETED), State(type=StateType.COMPLETED, name="Cached")
    states = {"data/rows.csv.dvc": cached, "ingest": ran, "clean": cached}
    assert reproduce.summed(states) == "ran 1 of 2 stages: ingest; 1 cached"
    assert reproduce.summed({**states, "ingest": cached}) == "every stage was up to date"
    assert reproduce.summed({"data/rows.csv.dvc": ran}) == "ran 1 of 1 stages: data/rows.csv.dvc"


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
    summary = r"ran 2 of 5 stages in [0-9.]+ (s|min): ingest, alone; 1 failed; 2 not run"
    eventually(lambda: any(re.fullmatch(summary, line) for line in log_lines(state)))
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


def test_named_stages_run_with_all_before_them_and_no_others(project: Path):
    state = run_flow(project, "clean")
    assert state_names(state, 2) == {"ingest": "Completed", "clean": "Completed"}
    assert not (project / "alone.txt").exists()
    unknown = run_flow(project, "claen")
    assert unknown.is_failed()
    assert unknown.message == (
        "dvc.yaml has no stage 'claen'. Allowed: ingest, clean, evaluate@teacher, evaluate@student, alone. "
        "Did you mean 'clean'?"
    )


def test_by_force_the_named_stage_runs_and_what_follows_only_where_it_came_out_otherwise(finished: Path):
    assert state_names(run_flow(finished, "clean", force=True), 2) == {"ingest": "Cached", "clean": "Completed"}
    forced = run_flow(finished, force=True)
    assert state_names(forced) == dict.fromkeys(STAGES, "Completed")
    assert planning.plan(finished).reasons == {}


TWO_STAGES = """
stages:
  first: {cmd: "python pair.py first %(patience)s", outs: [first.json]%(meta)s}
  second: {cmd: "python pair.py second %(patience)s", outs: [second.json]%(meta)s}
"""
PAIR_SCRIPT = """
import json, sys, time
from pathlib import Path
name, patience = sys.argv[1], float(sys.argv[2])
began = time.monotonic()
Path(f"{name}.began").touch()
while len(list(Path().glob("*.began"))) < 2 and time.monotonic() < began + patience:
    time.sleep(0.05)
Path(f"{name}.json").write_text(json.dumps([began, time.monotonic()]))
"""


@pytest.mark.parametrize("light", [True, False])
def test_light_stages_run_together_and_heavy_ones_never_share_cores(project: Path, light: bool):
    if cores() < 2:
        pytest.skip("one core: nothing can run together here")
    meta = ", meta: {cores: 1}" if light else ""
    patience = 60 if light else 6  # that each waits for the other: what is to be together may be slow to start
    (project / "dvc.yaml").write_text(TWO_STAGES % {"meta": meta, "patience": patience})
    (project / "pair.py").write_text(PAIR_SCRIPT)
    assert run_flow(project).is_completed()
    first, second = (json.loads((project / f"{name}.json").read_text()) for name in ("first", "second"))
    together = first[0] < second[1] and second[0] < first[1]
    assert together == light


def test_a_second_flow_in_the_same_clone_says_for_whom_it_waits_and_then_finds_all_done(
    project: Path, prefect_server: str
):
    (project / "alone.sleeps").touch()
    first = start(project, PREFECT_API_URL=prefect_server)
    second = None
    try:
        eventually((project / "alone.pids").exists)
        second = start(project, PREFECT_API_URL=prefect_server)
        assert second.stderr is not None
        said = next(line for line in second.stderr if "waiting: " in line)
        assert f"waiting: process {first.pid} reproduces here" in said
        assert second.poll() is None
        (project / "alone.sleeps").unlink()
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 143
        _, rest = second.communicate(timeout=120)
        assert second.returncode == 0, rest
        assert planning.plan(project).reasons == {}
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()


def test_cancelled_at_the_server_it_ends_its_stages_and_is_shown_as_cancelled(project: Path, prefect_server: str):
    (project / "ingest.sleeps").touch()
    before = running_flows()
    process = start(project, PREFECT_API_URL=prefect_server)
    try:
        started = amid_a_stage(process, project)
        [run] = running_flows() - before
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, State(type=StateType.CANCELLING))
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert "winnow: cancelled; what had run is in DVC's cache" in stderr
    assert not any(runs(pid) for pid in started)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).state_name == "Cancelled"


def test_killed_with_9_it_leaves_no_process_and_the_next_one_goes_on(project: Path, prefect_server: str):
    (project / "ingest.sleeps").touch()
    process = start(project, PREFECT_API_URL=prefect_server)
    try:
        started = amid_a_stage(process, project)
    finally:
        process.kill()
        process.communicate()
    eventually(lambda: not any(runs(pid) for pid in started), seconds=30)
    (project / "ingest.sleeps").unlink()
    assert run_flow(project).is_completed()


def running_flows() -> set[UUID]:
    """Those that the server takes for running; other tests may have left some that were killed."""
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
    with get_client(sync_client=True) as client:
        return {run.id for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=running))}


def test_params_that_dvc_cannot_read_fail_the_flow_with_one_message(project: Path):
    (project / "params.yaml").write_text("seed: [")
    state = run_flow(project)
    assert state.is_failed()
    assert "params.yaml" in (state.message or "")


def test_a_terminated_flow_leaves_no_process_of_its_stages_and_can_run_again(project: Path, prefect_server: str):
    (project / "alone.sleeps").touch()  # either of the two that depend on nothing may come first; the other is queued
    dead, code = interrupt(project, signal.SIGTERM, PREFECT_API_URL=prefect_server)
    assert code == 143
    assert len(dead) >= 3, "DVC, the stage and its helper"
    assert not any(runs(pid) for pid in dead)
    assert len(begun(project)) == 1, "no queued stage starts once the flow is being ended"
    for stage in ("ingest", "alone"):
        (project / f"{stage}.sleeps").unlink()
        assert flow_fixtures.reproduce(project, stage).state == "ran"


def test_ctrl_c_is_one_line_and_leaves_git_as_it_was(project: Path, prefect_server: str):
    _, code = interrupt(project, signal.SIGINT, to_group=True, PREFECT_API_URL=prefect_server)
    assert code == 130
    assert git.read(project, "status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to_group", "expected"),
    [
        (signal.SIGTERM, False, 143),
        (signal.SIGTERM, True, 143),  # as who ends a job, or a container, sends it
        (signal.SIGINT, True, 130),  # as a terminal sends it
        (signal.SIGKILL, True, -9),
    ],
)
def test_without_a_server_the_temporary_one_ends_with_the_flow(
    project: Path, tmp_path: Path, number: signal.Signals, to_group: bool, expected: int
):
    """Within seconds, and with one line: the flow is not left alone to ask a server that is gone."""
    more = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": ""}
    dead, code = interrupt(project, number, to_group=to_group, seconds=30, **more)
    assert code == expected
    assert len(dead) >= 4, "the server, DVC, the stage and its helper"
    eventually(lambda: not any(runs(pid) for pid in dead), seconds=10)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ended_while_it_looks_at_what_is_to_run_it_says_how_to_go_on(
    project: Path, number: signal.Signals, expected: int
):
    code = (
        "import time; from flows.cli.commands import main; from flows.dvc import planning\n"
        "def plan(*_): print('looks', flush=True); time.sleep(3)\n"
        "planning.plan = plan; main(['reproduce'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=environment(PREFECT_API_URL=""), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "looks\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == expected
    assert said.splitlines()[-1].startswith("winnow: stopped. What had ended is kept; `winnow reproduce` goes on")


def interrupt(
    root: Path, number: signal.Signals, *, to_group: bool = False, seconds: float = 60, **more: str
) -> tuple[set[int], int]:
    """Signal `winnow reproduce`, or its group, amid a stage. Returns what it had started by then, and its exit code."""
    (root / "ingest.sleeps").touch()
    parent = start(root, **more)
    try:
        started = amid_a_stage(parent, root)
        (os.killpg if to_group else os.kill)(parent.pid, number)
        _, stderr = parent.communicate(timeout=seconds)
        assert str(flow_fixtures.ROOT / "flows") not in stderr, "no traceback through Winnow's own code"
        lines = [line for line in stderr.splitlines() if line.startswith("winnow: ")]
        how = "`winnow reproduce` goes on, a training from its last checkpoint"
        assert lines == ([] if number == signal.SIGKILL else [f"winnow: stopped. What had ended is kept; {how}."])
        assert "Traceback" not in stderr
        noise = r"ERROR|NoneType|Upstream|Crash|Finished in state|docs\.prefect\.io"
        assert number == signal.SIGKILL or not re.search(noise, stderr), stderr
    finally:
        parent.kill()
        parent.wait()
    return started, parent.returncode


def start(root: Path, **more: str) -> subprocess.Popen[str]:
    """`winnow reproduce`, as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "reproduce"],
        cwd=root,
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def amid_a_stage(process: subprocess.Popen[str], root: Path) -> set[int]:
    """Wait until a stage that sleeps, and its helper, run. Returns all that the process has started."""
    eventually(lambda: process.poll() is not None or any(len(pids) == 2 for pids in begun(root)), seconds=120)
    assert process.poll() is None, "it ended before a stage slept"
    started = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert started >= set().union(*begun(root))
    time.sleep(0.2)
    return started


def begun(root: Path) -> list[set[int]]:
    """Of each stage that slept: its process, and its helper where that was written by now."""
    return [{int(pid) for pid in file.read_text().split()} for file in root.glob("*.pids")]
