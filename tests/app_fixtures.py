"""`winnow app` as a process of its own, and requests to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flow_fixtures import ROOT, environment

from flows.app import server
from flows.app.application import application
from flows.app.ending import Ending
from flows.app.limits import Limits
from flows.app.served import Served


class Told(NamedTuple):
    """An answer of the server."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class App:
    """A server that runs, and what it said on stderr so far."""

    def __init__(self, process: subprocess.Popen[str], port: int, said: str) -> None:
        self.process, self.port, self.said = process, port, said

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Told:
        """One request; of a body that is no text and no bytes its JSON."""
        sent = body if isinstance(body, bytes | str | None) else json.dumps(body)
        kind = {"Content-Type": "application/json"} if method == "POST" else {}
        connection = self.connect()
        connection.request(method, path, sent, {**kind, **{n.replace("_", "-"): v for n, v in headers.items()}})
        return told(connection)

    def predict(self, **asked: Any) -> Told:
        return self.ask("POST", "/predict", asked)

    def metric(self, line: str) -> float:
        """The value of a line of /metrics; 0 where there is none yet."""
        found = re.search(rf"^{re.escape(line)} ([\d.e+-]+)$", self.ask("GET", "/metrics").content.decode(), re.M)
        return float(found[1]) if found else 0.0

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process.stderr is not None
        self.said += self.process.stderr.read()
        return self.process.wait(timeout=30)


def told(connection: http.client.HTTPConnection) -> Told:
    response = connection.getresponse()
    found = Told(response.status, response.headers, response.read())
    connection.close()
    return found


@contextmanager
def in_thread(served: Served, limits: Limits, ending: Ending) -> Iterator[socket.socket]:
    """Where a server of this model listens, in a thread of its own; after a signal it must end by itself."""
    opened = server.listening("127.0.0.1", 0)
    app = application(served, limits, ending, gather=0)
    told = {"seconds": limits.seconds, "log": False}
    thread = threading.Thread(target=server.serve, args=(app, opened, ending), kwargs=told)
    thread.start()
    try:
        yield opened
    finally:
        ending.signal()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[App]:
    """`winnow app FOLDER` on a free port, until the end of the block."""
    command = [sys.executable, "-m", "flows.cli", "app", str(folder), "--port", "0", "--threads", "1", *options]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            yield started(process)
        finally:
            if process.poll() is None:
                process.kill()


def started(process: subprocess.Popen[str]) -> App:
    assert process.stderr is not None
    said: Sequence[str] = []
    while line := process.stderr.readline():
        said = [*said, line]
        if found := re.search(r"at http://[^/]*:(\d+)/", line):
            return App(process, int(found[1]), "".join(said))
    raise AssertionError("".join(said))
