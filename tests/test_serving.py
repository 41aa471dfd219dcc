"""flows/serving against real Prefect servers, runners and flow processes."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
import pytest
from flow_fixtures import ROOT, environment, eventually, runs
from prefect import flow
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, SignatureMismatchError
from prefect.states import Completed, Crashed, Failed, Pending
from serving_fixtures import Server, client_of, ends_as, free_port

from flows.retrain import retrain
from flows.serving import passwords, schedules
from flows.serving import server as server_of_prefect
from flows.serving.automations import install_alerts, install_automations
from flows.serving.server import _what_to_start, may_be_found, start_server

STALE_AFTER = timedelta(seconds=45)

# A flow that says in a file when it starts and ends.
SERVED = """
import os, signal, sys, time
from pathlib import Path

from flows.serving import runner, schedules
from prefect import flow
from prefect.states import Completed

@flow(name=sys.argv[1], persist_result=False)
def work(seconds: float = 0):
    if os.environ.get("DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if reason := schedules.superseded():
        return Completed(name="Skipped", message=reason)
    with Path("started").open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\\n")
    time.sleep(seconds)
    with Path("ended").open("a") as file:
        file.write(f"{time.time()}\\n")

if __name__ == "__main__":
    seconds = float(sys.argv[2])
    schedule = schedules.schedule_of(sys.argv[3] or None)
    runner.serve(work, name="test", schedule=schedule, parameters={"seconds": seconds})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder / "store", folder / "log", free_port(), folder / "home")
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Iterator[Any]:
    """A client of the server; flows and functions called in this process use the server, too."""
    with client_of(server, tmp_path) as client:
        yield client


@dataclass
class Served:
    """A deployment of a flow that sleeps; `run` serves it in a process of its own."""

    server: Server
    folder: Path
    client: Any
    flow: str
    seconds: float = 0
    deaf: bool = False  # the flow does not end at SIGTERM
    processes: list[psutil.Popen] = field(default_factory=list)

    def run(self, cron: str = "") -> psutil.Popen:
        (self.folder / "served.py").write_text(SERVED)
        process = psutil.Popen(
            [sys.executable, "served.py", self.flow, str(self.seconds), cron],
            cwd=self.folder,
            env=environment(
                PREFECT_API_URL=self.server.url,
                HOME=str(self.server.home),
                PREFECT_SERVER_API_AUTH_STRING="",
                PREFECT_API_AUTH_STRING="",
                PREFECT_HOME=str(self.folder / "home"),
                PREFECT_RUNNER_POLL_FREQUENCY="1",
                DEAF="1" * self.deaf,
            ),
            stdout=(self.folder / f"log-{len(self.processes)}").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        number = len(self.processes) - 1
        eventually(lambda: self.deployment() is not None or process.poll() is not None)
        assert process.poll() is None, (self.folder / f"log-{number}").read_text()
        return process

    def deployment(self) -> Any:
        try:
            return self.client.read_deployment_by_name(f"{self.flow}/test")
        except ObjectNotFound:
            return None

    def trigger(self) -> UUID:
        parameters = {"seconds": self.seconds}
        return self.client.create_flow_run_from_deployment(self.deployment().id, parameters=parameters).id

    def miss(self, first: int, last: int) -> None:
        """Have the server schedule the runs of some days ago, as if nobody had been there."""
        now = datetime.now(UTC)
        body = {
            "start_time": (now - timedelta(days=first)).isoformat(),
            "end_time": (now - timedelta(days=last)).isoformat(),
            "min_runs": first - last,
        }
        path = {"id": self.deployment().id}
        self.client.request("POST", "/deployments/{id}/schedule", path_params=path, json=body)

    def due(self) -> list[FlowRun]:
        """The runs whose time has come, the oldest first."""
        of_this = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[self.deployment().id]))
        found = sorted(self.client.read_flow_runs(flow_run_filter=of_this), key=lambda run: run.expected_start_time)
        return [run for run in found if run.expected_start_time <= datetime.now(UTC)]

    def states(self) -> list[str | None]:
        return [run.state_name for run in self.due()]

    def pids(self) -> list[int]:
        path = self.folder / "started"
        return [int(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []

    def times(self, name: str) -> list[float]:
        path = self.folder / name
        return [float(line.split()[0]) for line in path.read_text().splitlines()] if path.exists() else []

    def slots_taken(self) -> int:
        return self.client.read_global_concurrency_limit_by_name(f"deployment:{self.deployment().id}").active_slots

    def end(self) -> None:
        for process in self.processes:
            for one in [*(process.children(recursive=True) if process.is_running() else []), process]:
                if one.is_running():
                    one.kill()
        for pid in self.pids():
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def served(server: Server, client: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(server, tmp_path, client, flow=request.node.name[:100].replace("[", "-").rstrip("]"))
    try:
        yield served
    finally:
        served.end()


def child(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A fresh process in which `serving` is called; what goes wrong is its last line."""
    command = [sys.executable, "-c", f"from flows.serving import server\n{code}"]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, check=False, timeout=120)


def test_the_server_keeps_its_database_in_the_folder_that_only_the_user_opens(server: Server):
    assert (server.folder / "prefect.db").exists()
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_the_server_says_its_address_in_a_line(server: Server):
    said = f"Prefect's server answers at http://127.0.0.1:{server.port}. Ctrl-C ends it."
    assert server.log.read_text().splitlines().count(said) == 1


def test_the_address_is_said_once_it_answers():
    code = (
        "import asyncio, sys, uvicorn; from flows.serving.prefect_server import Server\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        await receive(); await asyncio.sleep(0.5); await send({'type': 'lifespan.startup.complete'})\n"
        "        await receive(); await send({'type': 'lifespan.shutdown.complete'})\n"
        "    else:\n"
        "        await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
        "        await send({'type': 'http.response.body'})\n"
        "Server(uvicorn.Config(app, port=int(sys.argv[1]), log_level='error')).run()"
    )
    command = [sys.executable, "-c", code, str(free_port())]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().partition(" at ")[2].partition(". ")[0]
            assert httpx.get(address).status_code == 204
        finally:
            process.terminate()


def test_the_server_listens_on_loopback_only(server: Server):
    family = [server.process, *server.process.children(recursive=True)]
    listening = [
        place.laddr for one in family for place in one.net_connections("inet") if place.status == psutil.CONN_LISTEN
    ]
    assert [tuple(address) for address in listening] == [("127.0.0.1", server.port)]


def test_the_server_asks_for_a_password_that_it_has_made_at_random(server: Server):
    address, (user, password) = f"{server.url}/admin/version", server.auth.split(":")
    assert (user, len(password)) == ("winnow", 32)
    assert httpx.get(address).status_code == 401
    assert httpx.get(address, auth=(user, "wrong")).status_code == 401
    assert httpx.get(address, auth=(user, password)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:4200"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "127.0.0.1/evil.example"},
        {"Host": "evil@127.0.0.1"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
    ],
)
def test_no_request_by_another_name_or_from_another_page_gets_further_whoever_makes_it(
    server: Server, headers: dict[str, str]
):
    for method, path in (
        ("GET", "/csrf-token?client=x"),
        ("POST", "/flows/filter"),
        ("GET", "/health"),
        ("GET", "/.."),
    ):
        answer = httpx.request(
            method, f"{server.url}{path}", auth=httpx.BasicAuth(*server.auth.split(":")), json={}, headers=headers
        )
        assert answer.status_code == 403
        assert answer.text.startswith("Refused: ")
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", [None, "http://evil.example"])
def test_another_page_gets_no_web_socket(server: Server, origin: str | None):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    address = f"{server.url.replace('http', 'ws')}/events/in"
    if origin is None:
        connect(address, subprotocols=["prefect"], proxy=None).close()  # type: ignore[list-item]
    else:
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, subprotocols=["prefect"], origin=origin, proxy=None)  # type: ignore[list-item, arg-type]


def test_its_own_pages_and_a_tunnel_to_it_are_served(server: Server):
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", "127.0.0.1:5000"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert httpx.get(f"http://127.0.0.1:{server.port}/", headers=headers, follow_redirects=False).status_code < 400
        assert httpx.get(f"{server.url}/health", headers=headers).is_success


def test_the_password_is_in_one_file_that_the_user_alone_reads_and_nowhere_else(server: Server):
    user, password = server.auth.split(":")
    httpx.get(f"{server.url}/admin/version", auth=(user, password))
    assert server.password_file.stat().st_mode & 0o777 == 0o600
    assert server.password_file.parent.stat().st_mode & 0o777 == 0o700
    assert password not in " ".join(server.process.cmdline())
    files = [server.log, *(path for path in server.folder.rglob("*") if path.is_file())]
    assert [path for path in files if password.encode() in path.read_bytes()] == []
    assert f"Its pages ask for what is in {server.password_file};" in server.log.read_text()


def test_a_password_of_the_users_own_is_taken_and_written_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[dict[str, str]] = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "execve", lambda _path, _command, environment: seen.append(environment))
    for given in ("me:mine", ""):
        monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", given)
        start_server(tmp_path / "store", port := free_port())
        assert passwords.password_file(port).exists() == (not given)
    assert seen[0]["PREFECT_SERVER_API_AUTH_STRING"] == "me:mine"
    assert seen[1]["PREFECT_SERVER_API_AUTH_STRING"] == passwords.made(port), "it stays the same from then on"


@pytest.mark.parametrize("url", ["http://prefect.example.org:4200/api", "http://127.0.0.1.evil.example:4200/api", "x"])
def test_the_password_is_for_no_other_machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    passwords.made(4200)
    assert passwords.kept("http://127.0.0.1:4200/api") == passwords.kept("http://localhost:4200/api") is not None
    assert passwords.kept(url) is None


def test_a_password_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    passwords.made(4200)
    passwords.password_file(4200).chmod(0o644)
    with pytest.raises(PermissionError, match=r"password-4200 can be opened by others.*Remove it"):
        passwords.kept("http://127.0.0.1:4200/api")


def test_whoever_starts_a_run_cannot_say_of_which_clone_it_is():
    assert sorted(retrain.parameters.properties) == ["accept_drift", "approve", "base"]
    with pytest.raises(SignatureMismatchError, match="root"):  # as the process of a run does with what it is given
        retrain.validate_parameters({"base": "main", "root": "/elsewhere"})


def test_a_port_in_use_is_one_line_that_names_it(server: Server, tmp_path: Path):
    with pytest.raises(ValueError, match=f"^port {server.port} of 127.0.0.1 is in use.*or choose another port.$"):
        start_server(tmp_path / "store", server.port)
    assert not (tmp_path / "store").exists()


def test_a_password_without_a_user_is_refused_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "hunter2")
    with pytest.raises(ValueError, match="user:password") as caught:
        start_server(tmp_path, free_port())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("early", "given"), [("", False), ("", True), ("import prefect.main", False)])
def test_connect_makes_flows_here_and_in_children_use_the_server(
    server: Server, tmp_path: Path, early: str, given: bool
):
    done = child(
        f"{early}\nprint(server.connect())\n"
        "from prefect.client.orchestration import get_client\n"
        "with get_client(sync_client=True) as client: print(client.api_url); client.read_flows()\n"
        "import os; print(os.environ['PREFECT_API_URL'], os.environ['PREFECT_API_AUTH_STRING'])",
        PREFECT_API_URL=server.url,
        HOME=str(server.home),
        PREFECT_SERVER_API_AUTH_STRING=server.auth if given else "",
        PREFECT_API_AUTH_STRING="",
        PREFECT_HOME=str(tmp_path),
    )
    assert done.stdout.splitlines() == [server.url, f"{server.url}/", f"{server.url} {server.auth}"], done.stderr


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("", "Start one: winnow server"),
        (
            "http://127.0.0.1:9/api",
            "which PREFECT_API_URL names. Unset it: unset PREFECT_API_URL; or start one there: winnow server --port 9",
        ),
    ],
)
def test_connect_says_in_one_line_that_no_server_answers(tmp_path: Path, given: str, remedy: str):
    code = f"server.PORT = {free_port()}\nserver.connect()"
    done = child(code, PREFECT_API_URL=given, PREFECT_HOME=str(tmp_path))
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ConnectionError: no Prefect server answers at http://127.0.0.1:")
    assert last.endswith(remedy)


def test_a_server_may_be_found_where_anything_names_one_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(server_of_prefect, "PORT", free_port())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "reviews"\n')
    monkeypatch.setenv("PREFECT_API_URL", "")
    assert not may_be_found()
    for name, value in (("PREFECT_API_URL", "http://127.0.0.1:9/api"), ("prefect_profile", "local")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            assert may_be_found()
    for file in ("home/profiles.toml", "prefect.toml", "pyproject.toml", ".env"):
        path = tmp_path / file
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_text("PREFECT_API_URL=x  # or [tool.prefect.api]\n")
        assert may_be_found(), file
        path.unlink() if before is None else path.write_bytes(before)
    with socket.socket() as listening:
        listening.bind((server_of_prefect.HOST, server_of_prefect.PORT))
        listening.listen()
        assert may_be_found()
    monkeypatch.setenv("PREFECT_HOME", "x" * 300)  # no system has such a file: an OSError
    assert may_be_found()


def test_a_profile_whose_server_is_gone_is_named_with_a_remedy_that_helps(tmp_path: Path):
    port, profiles = free_port(), tmp_path / "profiles.toml"
    profiles.write_text(f'active = "old"\n\n[profiles.old]\nPREFECT_API_URL = "http://127.0.0.1:{port}/api"\n')
    more = {"PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path)}
    last = child("server.connect()", **more).stderr.splitlines()[-1]
    assert last == (
        f"ConnectionError: no Prefect server answers at http://127.0.0.1:{port}/api, "
        f"which Prefect's profile 'old' names ({profiles}). Take it out: prefect config unset --yes PREFECT_API_URL; "
        f"or start one there: winnow server --port {port}"
    )
    remedy = [sys.executable, "-m", "prefect", *last.partition("prefect ")[2].partition(";")[0].split()]
    subprocess.run(remedy, env=environment(**more), check=True, capture_output=True)
    assert profiles.read_text().split() == ["active", "=", '"old"', "[profiles.old]"]


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("http://127.0.0.1:4200/api", "one there: winnow server"),
        ("http://localhost:4300/api", "one there: winnow server --port 4300"),
        ("https://prefect.example.org/api", "that server"),
        ("http://127.0.0.1:none/api", "that server"),
    ],
)
def test_a_server_of_this_command_is_proposed_where_it_would_answer(url: str, start: str):
    assert _what_to_start(url) == start


def test_connect_says_in_one_line_that_the_password_is_wrong(server: Server, tmp_path: Path):
    more = {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": "a:wrong", "PREFECT_HOME": str(tmp_path)}
    last = child("server.connect()", **more).stderr.splitlines()[-1]
    assert last.startswith("flows.serving.server.OtherPasswordError")
    assert "PREFECT_API_AUTH_STRING" in last
    assert "a:wrong" not in last


class Strangers(BaseHTTPRequestHandler):
    """A Prefect server that somebody else of this machine started, so that nobody else knows its password."""

    def do_POST(self) -> None:
        self.send_error(401)

    do_GET = do_POST

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize("given", [False, True])
def test_a_strangers_server_where_ones_own_would_be_keeps_no_run_from_a_temporary_one(tmp_path: Path, given: bool):
    with HTTPServer(("127.0.0.1", 0), Strangers) as strangers:
        threading.Thread(target=strangers.serve_forever, daemon=True).start()
        code = (
            f"import os\nfrom flows.cli import project\nserver.PORT = {strangers.server_port}\nproject.use_server()\n"
            "print(os.environ.get('PREFECT_API_URL'), 'PREFECT_SERVER_API_AUTH_STRING' in os.environ)"
        )
        own = {"PREFECT_API_AUTH_STRING": "me:what-I-chose" if given else "", "PREFECT_SERVER_API_AUTH_STRING": ""}
        done = child(code, PREFECT_API_URL="", PREFECT_HOME=str(tmp_path), HOME=str(tmp_path), **own)
        strangers.shutdown()
    if given:  # somebody meant a server
        assert done.stderr.splitlines()[-1].startswith(
            "flows.serving.server.OtherPasswordError: the Prefect server at http://"
        )
    else:
        assert done.stdout.splitlines() == ["None True"], done.stderr
        assert "wants another password" in done.stderr
        assert done.stderr.splitlines()[-1].endswith("Until then a temporary server is used.")


@pytest.mark.parametrize("cron", ["", "at three", "0 3 * *", "61 3 * * *", "* * * * * *", "H 3 * * *"])
def test_a_wrong_cron_is_refused_with_an_example(cron: str):
    with pytest.raises(ValueError) as caught:
        schedules.schedule_of(cron)
    assert f"cron is '{cron}'" in str(caught.value)
    assert "'0 3 * * *'" in str(caught.value)


@pytest.mark.parametrize("name", ["R&D", "50% <sure>", "reviews"])
def test_a_projects_folder_may_have_any_name(name: str, tmp_path: Path):
    from prefect.types.names import WITHOUT_BANNED_CHARACTERS

    from flows.running.described import deployment_of

    assert re.search(WITHOUT_BANNED_CHARACTERS, deployment_of(tmp_path / name))
    assert deployment_of(tmp_path / name) != deployment_of(tmp_path / "other" / name)


def test_a_wrong_timezone_is_refused():
    with pytest.raises(ValueError, match=r"timezone is 'Mars'\. Allowed: .*'Europe/Berlin'"):
        schedules.schedule_of("0 3 * * *", timezone="Mars")


def test_superseded_is_harmless_outside_a_deployment(client: Any):
    assert schedules.superseded() is None
    assert flow(name="alone", persist_result=False)(schedules.superseded)() is None


def test_missed_schedules_make_one_run_the_newest_at_the_start_and_after_a_long_run(served: Served):
    served.seconds = 4
    end(served.run(cron="0 3 * * *"))
    assert served.deployment().schedules[0].active, "also when nobody serves it"
    served.miss(9, 4)
    assert served.states() == ["Scheduled"] * 5

    served.run(cron="0 3 * * *")
    eventually(served.pids)
    assert served.states() == ["Skipped"] * 4 + ["Running"]
    by_hand = served.trigger()
    served.miss(4, 0)
    eventually(lambda: served.states().count("Completed") == 3, seconds=90)
    assert served.states() == ["Skipped"] * 4 + ["Completed"] + ["Skipped"] * 3 + ["Completed"] * 2
    assert served.client.read_flow_run(by_hand).state.name == "Completed", "made by hand, it is never skipped"
    assert len(served.pids()) == 3, "what is skipped starts no flow"


def test_an_older_schedule_that_is_started_nevertheless_ends_itself(served: Served):
    end(served.run(cron="0 3 * * *"))
    served.miss(2, 0)
    older, newer = served.due()
    served.client.set_flow_run_state(newer.id, Pending(), force=True)  # as another runner would, a moment before
    served.run(cron="0 3 * * *")
    eventually(lambda: served.states() == ["Skipped", "Pending"])
    assert served.client.read_flow_run(older.id).state.message == schedules.MISSED
    assert not served.pids()


def test_two_serve_processes_never_run_two_at_once_and_lose_none(served: Served):
    served.seconds = 2
    served.run()
    served.run()
    for _ in range(3):
        served.trigger()
    eventually(lambda: served.states() == ["Completed"] * 3, seconds=120)
    starts, ends = served.times("started"), served.times("ended")
    assert len(starts) == 3, "none ran twice"
    assert all(end <= start for end, start in itertools.pairwise(sorted([*starts, *ends])))
    assert [end < start for end, start in zip(ends, starts[1:], strict=False)] == [True, True]


def test_a_flow_killed_with_9_is_crashed_and_its_slot_is_free_for_the_next(served: Served):
    served.seconds = 300
    served.run()
    served.trigger()
    eventually(served.pids)
    assert served.slots_taken() == 1
    os.kill(served.pids()[0], signal.SIGKILL)
    eventually(lambda: served.states() == ["Crashed"], seconds=15)
    assert served.slots_taken() == 0
    served.trigger()
    eventually(lambda: served.states() == ["Crashed", "Running"])
    eventually(lambda: len(served.pids()) == 2)


@pytest.mark.parametrize(
    ("number", "deaf"),
    [
        (signal.SIGTERM, False),
        pytest.param(signal.SIGINT, False, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),  # it is killed after 30 s
    ],
)
def test_a_signal_to_serve_ends_the_flow_and_leaves_no_process(served: Served, number: signal.Signals, deaf: bool):
    served.seconds, served.deaf = 300, deaf
    process = served.run()
    served.trigger()
    eventually(served.pids)
    started = process.children(recursive=True)
    assert served.pids()[0] in {one.pid for one in started}
    process.send_signal(number)
    assert process.wait(timeout=90) == 0
    eventually(lambda: not any(runs(one.pid) for one in started), seconds=5)
    assert served.states() == ["Cancelled"], (served.folder / "log-0").read_text()
    assert served.slots_taken() == 0


@pytest.mark.slow
def test_runner_and_flow_killed_with_9_are_marked_crashed_and_the_next_run_works(served: Served):
    names = install_automations(stale_after=STALE_AFTER, flows=[served.flow])
    before = automations(served.client)
    assert install_automations(stale_after=STALE_AFTER, flows=[served.flow]) == names
    assert automations(served.client) == before, "installed again, nothing changes"
    ended = ends_as(served.flow, Failed(name="Blocked", message="the gate says fail"))

    served.seconds = 300
    runner = served.run()
    served.trigger()
    eventually(served.pids)
    family = [*runner.children(recursive=True), runner]
    for one in family:
        one.kill()
    runner.wait()
    assert (served.states(), served.slots_taken()) == (["Running"], 1)
    eventually(lambda: served.states() == ["Crashed"], seconds=STALE_AFTER.total_seconds() + 30)
    assert served.slots_taken() == 0

    served.seconds = STALE_AFTER.total_seconds() + 20
    served.run()
    served.trigger()
    eventually(lambda: served.states() == ["Crashed", "Completed"], seconds=served.seconds + 60)
    assert served.client.read_flow_run(ended).state.name == "Blocked", "what has ended is left alone"


@pytest.mark.parametrize("seconds", [0, 30])
def test_an_automation_that_would_crash_living_runs_is_refused(seconds: int):
    with pytest.raises(ValueError, match=f"stale_after is {seconds} s. Allowed: more than 30 s"):
        install_automations(stale_after=timedelta(seconds=seconds))


def test_alerts_are_posted_for_every_way_to_fail_and_for_nothing_else(server: Server, client: Any):
    part = "s3cr3t-9a1c"
    with receiver() as (address, received):
        for _ in range(2):
            assert install_alerts(f"{address}/{part}", flows=["alerting"]) == ["winnow: alerts"]
        assert len(automations(client)["winnow: alerts"]) == 1
        ends_as("alerting", Completed())
        ends_as("other", Failed(message="not ours"))
        run = client.read_flow_run(ends_as("alerting", Failed(message='2 rows "bad" <\n')))
        ends_as("alerting", Failed(name="Blocked", message="the gate says fail"))
        ends_as("alerting", Failed(name="TimedOut"))
        ends_as("alerting", Crashed(message="out of memory"))
        eventually(lambda: len(received) == 4)

    assert {path for path, _ in received} == {f"/{part}"}
    posted = {body["state"]: body for _, body in received}
    assert posted.keys() == {"Failed", "Blocked", "TimedOut", "Crashed"}
    assert posted["Failed"] == {
        "text": f'alerting {run.name}: Failed. 2 rows "bad" <\n',
        "flow": "alerting",
        "run": run.name,
        "state": "Failed",
        "message": '2 rows "bad" <\n',
        "url": f"http://127.0.0.1:{server.port}/runs/flow-run/{run.id}",
    }
    files = [server.log, *(path for path in server.folder.rglob("*") if path.is_file())]
    assert [path for path in files if part.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("url", ["", "hooks.example.org", "ftp://a/s3cret", "http:///s3cret", "http://a:b/s3cret"])
def test_a_wrong_address_for_alerts_is_one_line_without_the_address(url: str):
    with pytest.raises(ValueError, match=r"^the address for alerts is not one\. Allowed: http") as caught:
        install_alerts(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.slow
def test_a_flow_and_serve_outlive_a_server_that_is_away_and_a_signal_still_ends_both(
    tmp_path: Path, request: pytest.FixtureRequest
):
    server = Server(tmp_path / "store", tmp_path / "server-log", free_port(), tmp_path / "home")
    request.addfinalizer(server.end)
    server.start()
    with client_of(server, tmp_path) as client:
        served = Served(server, tmp_path, client, flow="lost", seconds=25)
        request.addfinalizer(served.end)
        process = served.run()
        served.trigger()
        eventually(served.pids)
        server.end()
        time.sleep(5)
        server.start()
        eventually(lambda: served.states() == ["Completed"], seconds=60)

        served.seconds = 300
        served.trigger()
        eventually(lambda: len(served.pids()) == 2)

        server.end()
        time.sleep(8)
        process.terminate()
        eventually(lambda: not runs(served.pids()[1]), seconds=45)
        assert process.wait(timeout=150) == 0, "slow, for Prefect's client asks the server again and again"


@pytest.mark.slow
def test_prefect_yaml_deploys_to_a_work_pool_whose_worker_runs_the_flow(server: Server, client: Any, tmp_path: Path):
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/retrain.py").write_text(RETRAIN)
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    prefect(server, tmp_path, "work-pool", "create", "winnow", "--type", "process")
    prefect(server, tmp_path, "deploy", "--all")
    deployment = client.read_deployment_by_name("retrain/nightly")
    assert deployment.schedules[0].schedule.cron == "0 3 * * *"
    assert deployment.global_concurrency_limit.limit == 1
    run = client.create_flow_run_from_deployment(deployment.id)
    prefect(server, tmp_path, "worker", "start", "--pool", "winnow", "--run-once")
    eventually(lambda: client.read_flow_run(run.id).state.is_final())
    assert client.read_flow_run(run.id).state.message == "by hand, beat 30"
    assert str(ROOT) not in (ROOT / "prefect.yaml").read_text()


RETRAIN = """
import os
from typing import Literal

from prefect import flow
from prefect.states import Completed, State

@flow(persist_result=False)
def retrain(
    base: str | None = None,
    approve: Literal["by hand", "when the gate passes"] = "by hand",
) -> State:
    return Completed(message=f"{approve}, beat {os.environ['PREFECT_FLOWS_HEARTBEAT_FREQUENCY']}")
"""


def prefect(server: Server, folder: Path, *arguments: str) -> None:
    more = {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": server.auth, "PREFECT_HOME": str(folder / "home")}
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_of_the_docs_asks_the_server_in_spite_of_its_guard_against_forged_requests(
    server: Server, client: Any, tmp_path: Path
):
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs/scheduling.md").read_text(), re.DOTALL)
    (program,) = (text for text in programs if "csrf-token" in text)
    run = client.create_flow_run(flow(name="documented")(lambda: None), name="reviews main 1a2b3c4", tags=["winnow"])
    client.set_flow_run_state(run.id, Completed(name="Proposed"), force=True)
    more = {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": server.auth}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment(**more), capture_output=True, text=True, check=True)
    assert "reviews main 1a2b3c4: Proposed" in done.stdout.splitlines()
    without = httpx.post(f"{server.url}/flow_runs/filter", auth=httpx.BasicAuth(*server.auth.split(":")), json={})
    assert (without.status_code, without.json()) == (403, {"detail": "Missing CSRF token."})


def automations(client: Any) -> dict[str, list[UUID]]:
    """The ids of the automations, by name."""
    found: dict[str, list[UUID]] = {}
    for automation in client.read_automations():
        found.setdefault(automation.name, []).append(automation.id)
    return found


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """An HTTP server on loopback: its address, and what has been posted to it (path, JSON)."""
    received: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}", received
        finally:
            httpd.shutdown()
            thread.join()


def end(process: psutil.Popen) -> None:
    process.terminate()
    assert process.wait(timeout=60) == 0
