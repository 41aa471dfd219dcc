"""The temporary server that Prefect starts for one run, without a server of the machine."""

from __future__ import annotations

import contextlib
import signal
import threading
from contextvars import copy_context

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


def start_server_deaf_to_ctrl_c() -> None:
    """Start Prefect's temporary server so that it ignores Ctrl-C, which a terminal sends to all processes.

    Otherwise this process would wait for minutes, at its end, for the answers of a server that is gone. Raises
    Prefect's errors where it cannot be started.
    """
    errors: list[BaseException] = []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in this thread, whose children inherit it
        try:
            with get_client(sync_client=True):
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=copy_context().run, args=(start,), daemon=True, name="start Prefect's server")
    thread.start()
    thread.join()
    for error in errors:
        raise error


def beating(over_at_once: bool) -> contextlib.AbstractContextManager[object]:
    """Context without Prefect's heartbeats for a flow that is over at once: their thread delays its end by a second."""
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) if over_at_once else contextlib.nullcontext()
