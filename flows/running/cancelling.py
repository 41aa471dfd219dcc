"""Cancelling at the server, carried out here: the children of the run end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from flows.running.processes import Children

WATCH_SECONDS = 2.0  # between two looks at whether somebody cancelled


@contextlib.contextmanager
def ended_when_cancelled(children: Children) -> Iterator[Callable[[], bool]]:
    """End `children` when this flow run is cancelled at the server; gives a function that tells whether it was."""
    context = FlowRunContext.get()
    over, cancelled = threading.Event(), threading.Event()

    def watch(flow_run: UUID) -> None:
        with get_client(sync_client=True) as client:
            while not over.wait(WATCH_SECONDS):
                with contextlib.suppress(Exception):  # the server may be away for a while
                    state = client.read_flow_run(flow_run).state
                    if state and (state.is_cancelling() or state.is_cancelled()):
                        cancelled.set()
                        children.end()
                        return

    watcher = None
    if context is not None and context.flow_run is not None:
        watcher = threading.Thread(target=watch, args=(context.flow_run.id,), daemon=True, name="watch for cancelling")
        watcher.start()
    try:
        yield cancelled.is_set
    finally:
        over.set()
        if watcher is not None:
            watcher.join()
