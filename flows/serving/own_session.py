"""Prefect's temporary server in a session of its own; importing it loads all of Prefect's server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import prefect
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from flows.running.processes import Children

APPLICATION = "prefect.server.api.server:create_app"


class OwnSession(SubprocessASGIServer):
    """Prefect's temporary server, in a session of its own.

    So no signal reaches it that ends all processes of this one's group, as Ctrl-C of a terminal does, or SIGTERM of
    whoever ends a job: it has to hear of the end from this process, which would otherwise ask a server that is gone,
    for minutes. It ends last, and where this process is killed, its guard ends it.
    """

    def __init__(self, port: int | None = None) -> None:
        if not hasattr(self, "_initialized"):  # Prefect keeps one server a port: it may be one that runs
            self._children = Children()
        super().__init__(port)

    def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
        """Start it as Prefect does."""
        own = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        program = [sys.executable, "-m", "uvicorn", "--app-dir", str(prefect.__module_path__.parent), "--factory"]
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "error", "--lifespan", "on"]
        return self._children.start(
            [*program, APPLICATION, *options], Path.cwd(), {**os.environ, **own, **settings}, output=None
        )

    def stop(self) -> None:
        """End it. Prefect calls this at this process's end, when all that is said to it has been said."""
        super().stop()
        self._children.end()
