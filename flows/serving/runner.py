"""A flow served on a schedule: one run at a time across processes, until a signal ends it.

Source of the details: Prefect 3.8.8.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows import HEARTBEAT_SECONDS
from flows.serving.schedules import settle_missed
from flows.serving.server import connect

# Prefect is imported inside the functions: `connect` decides about its settings.
if TYPE_CHECKING:
    from prefect import Flow
    from prefect.runner import Runner
    from prefect.schedules import Schedule

log = logging.getLogger(__name__)

RETRY_SECONDS = 5
KILLED_AFTER_SECONDS = 30.0  # by the runner: a flow's process that has not ended until then
GRACE_SECONDS = KILLED_AFTER_SECONDS + 15  # so that it has the time to tell the server, too, how the run ended


def serve(
    flow: Flow[..., Any],
    *,
    name: str,
    parameters: dict[str, Any],
    schedule: Schedule | None,
    description: str | None = None,
    tags: Sequence[str] = (),
) -> None:
    """Run the flow on this machine whenever it is due, one run at a time, until a signal ends this process.

    Without a schedule, only runs made by hand. The deployment is shown with `description` (without it, the flow's) and
    `tags`, which its runs have too. It stays active when this ends. The server keeps the limit of one, so
    that a second `serve` of the same name waits its turn. A run in progress ends as Cancelled with this process. Where
    the server is lost, this waits until it is back. Raises ConnectionError, PermissionError as `connect`.
    """
    connect()
    deployed = {
        "name": name,
        "schedules": [schedule] if schedule else [],
        "parameters": parameters,
        "description": description,
        "tags": list(tags),
    }
    while _served(flow, deployed):
        _wait_for_server()


def _served(flow: Flow[..., Any], deployed: Mapping[str, Any]) -> bool:
    """Serve until a signal (False) or until the server is lost (True)."""
    import httpx

    try:
        return asyncio.run(_serve(flow, deployed))
    except httpx.TransportError as error:  # lost before the runner was under way
        log.warning("the Prefect server is lost (%r); waiting for it", error)
        return True


def _wait_for_server() -> None:
    while True:
        try:
            connect()
        except ConnectionError:
            time.sleep(RETRY_SECONDS)
        else:
            return


async def _serve(flow: Flow[..., Any], deployed: Mapping[str, Any]) -> bool:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    runner = Runner(name=deployed["name"], limit=1, pause_on_shutdown=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    ended = _ended_by_signal(runner)
    deployment_id = await runner.aadd_flow(
        flow,
        **deployed,
        # A run that finds the slot taken waits for it: CANCEL_NEW would lose runs made by hand.
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    await asyncio.to_thread(settle_missed, deployment_id)  # before the runner looks for what is due
    settling = asyncio.create_task(_keep_settling(deployment_id, runner.query_seconds))
    try:
        return await _run(runner, ended)
    finally:
        settling.cancel()


def _ended_by_signal(runner: Runner) -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set, in the place of the runner's own handler.

    That one blocks the event loop in which it has work done, and leaves Ctrl-C out.
    """
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # The runner sets this one when it starts; the loop's is called nevertheless.
    runner.handle_sigterm = lambda *_args, **_kwargs: None  # type: ignore[method-assign]
    return ended


async def _run(runner: Runner, ended: asyncio.Event) -> bool:
    """Run until `ended` (False) or until the runner gives up (True), with no flow run left in progress.

    A runner that has lost its server waits for a flow run in progress to end first.
    """
    running = asyncio.create_task(runner.start())
    while not (runner.started or running.done()):
        await asyncio.sleep(0.05)
    signalled = asyncio.create_task(ended.wait())
    await asyncio.wait({running, signalled}, return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    if ended.is_set():
        await _stop(runner, running)
    (error,) = await asyncio.gather(running, return_exceptions=True)
    if not ended.is_set():
        log.warning("the Prefect server is lost (%r); waiting for it", error)
    return not ended.is_set()


async def _stop(runner: Runner, running: asyncio.Task[None]) -> None:
    """End the runner and the flow run's process; without a server the runner is too slow to end one itself."""
    if runner.started:
        stopping = asyncio.create_task(runner.astop())
        await asyncio.wait({stopping}, timeout=GRACE_SECONDS)
        stopping.cancel()
    for process in multiprocessing.active_children():
        process.terminate()
    _, stubborn = await asyncio.wait({running}, timeout=KILLED_AFTER_SECONDS / 3)
    if stubborn:
        for process in multiprocessing.active_children():
            process.kill()
        running.cancel()


async def _keep_settling(deployment_id: UUID, seconds: float) -> None:
    """Settle missed schedules repeatedly: they pile up while a run is in progress, and only the newest is to run."""
    import httpx
    from prefect.exceptions import PrefectException

    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(settle_missed, deployment_id)
        except (
            httpx.HTTPError,
            PrefectException,
        ) as error:  # the runner, too, asks the server, and decides when it is lost
            log.debug("missed schedules were not looked at: %s", error)
