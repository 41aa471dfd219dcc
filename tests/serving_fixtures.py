"""A real Prefect server, as `winnow server` starts it, and its clients, for the tests of flows/serving."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from flow_fixtures import environment, eventually
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.states import State


@dataclass
class Server:
    """The Prefect server of `winnow server`, with its files in a folder and a home of its own."""

    folder: Path
    log: Path
    port: int
    home: Path
    more: dict[str, str] = field(default_factory=dict)
    """Variables of its environment besides the usual."""
    process: psutil.Popen = field(init=False)

    @property
    def password_file(self) -> Path:
        return self.home / f".winnow/password-{self.port}"

    @property
    def auth(self) -> str:
        """The user:password that it has made."""
        return self.password_file.read_text().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        script = "import sys; from pathlib import Path; from flows.serving.server import start_server; "
        script += "start_server(Path(sys.argv[1]), int(sys.argv[2]))"
        more = {
            "HOME": str(self.home),
            "PREFECT_SERVER_API_AUTH_STRING": "",
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
            **self.more,
        }
        with self.log.open("ab") as output:
            self.process = psutil.Popen(
                [sys.executable, "-c", script, str(self.folder), str(self.port)],
                env=environment(**more),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self.answers, seconds=120)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.HTTPError:
            return False

    def end(self) -> None:
        """End it as a supervisor does; nothing may remain."""
        if not self.process.is_running():
            return
        started = [self.process, *self.process.children(recursive=True)]
        self.process.terminate()
        _, alive = psutil.wait_procs(started, timeout=20)
        for process in alive:
            process.kill()
        assert not alive


@contextmanager
def client_of(server: Server, folder: Path) -> Iterator[Any]:
    settings: dict[Any, Any] = {PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: server.auth}
    settings |= {PREFECT_HOME: folder / "home", PREFECT_LOGGING_TO_API_ENABLED: False}
    EventsWorker.drain_all(at_exit=False)  # it keeps to the server that it began with, whatever the settings say
    try:
        with temporary_settings(settings), get_client(sync_client=True) as client:
            yield client
    finally:
        EventsWorker.drain_all(at_exit=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ends_as(name: str, state: State) -> UUID:
    """Run a flow of that name, here, that ends in the state. Returns the flow run's id."""
    ended = flow(name=name, persist_result=False)(lambda: state)(return_state=True)
    assert ended.name == state.name
    assert ended.state_details.flow_run_id is not None
    return ended.state_details.flow_run_id
