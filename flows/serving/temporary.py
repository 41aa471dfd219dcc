"""The temporary server that Prefect starts for one run, without a server of the machine."""

from __future__ import annotations

import contextlib

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


def start_temporary_server() -> None:
    """Start Prefect's temporary server, unless another is used; it ends with this process, as the last thing.

    No signal to this process's group reaches it. Raises Prefect's errors where it cannot be started.
    """
    if PREFECT_API_URL.value():
        return
    from flows.serving.own_session import OwnSession  # it takes seconds to load

    OwnSession()  # Prefect keeps one server a port, and so finds this one
    with get_client(sync_client=True):
        pass


def beating(over_at_once: bool) -> contextlib.AbstractContextManager[object]:
    """Context without Prefect's heartbeats for a flow that is over at once: their thread delays its end by a second."""
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) if over_at_once else contextlib.nullcontext()
