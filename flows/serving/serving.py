"""Prefect on one machine: its server, a flow served on a schedule, crash detection and alerts.

The server listens on loopback alone and keeps everything in one folder. `serve` runs one flow run at a time,
across processes. Missed schedules make one run, the newest. Source of the details: Prefect 3.8.8.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import urlsplit
from uuid import UUID

from flows import HEARTBEAT_SECONDS
from flows.serving import passwords

# Prefect is imported inside the functions: `connect` decides about its settings.
if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.events.schemas.automations import AutomationCore, EventTrigger
    from prefect.runner import Runner
    from prefect.schedules import Schedule

HOST = "127.0.0.1"
PORT = 4200
FLOWS = ("reproduce", "retrain")  # the flows that automations and alerts are about
STALE_AFTER = timedelta(seconds=90)  # of silence, until a run counts as dead: three heartbeats
NEVER_STARTED_AFTER = timedelta(minutes=4)  # less than a lease of a slot lasts (5 minutes), so that none is freed twice
BLOCK = "winnow-alerts"
MISSED = "missed: a newer schedule runs instead"
RETRY_SECONDS = 5
GRACE_SECONDS = 30.0  # as the runner's own
PAGE = 200  # Prefect's largest answer

log = logging.getLogger(__name__)


def start_server(folder: Path, port: int = PORT) -> NoReturn:
    """Become Prefect's server, on loopback alone; database, leases and all else in `folder`, which is created.

    The process is replaced, so that a signal reaches the server itself and nothing is left behind; it says its address
    when it answers. It asks for the "user:password" of PREFECT_SERVER_API_AUTH_STRING, or else for one made at random
    and kept (see `passwords`). Raises ValueError where the port is taken or the password has no user.
    """
    password = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
    if password and ":" not in password:
        raise ValueError("PREFECT_SERVER_API_AUTH_STRING has no colon. Allowed: user:password.")
    _check_port(port)
    secret = {} if password else {
        "PREFECT_SERVER_API_AUTH_STRING": passwords.made(port),
        passwords.FILE_VARIABLE: str(passwords.password_file(port)),
    }  # fmt: skip
    folder = folder.expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "flows.serving.prefect_server", HOST, str(port)]
    sys.stdout.flush()
    os.execve(sys.executable, command, _server_environment(folder, port) | secret)  # noqa: S606


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise ValueError(
                f"port {port} of {HOST} is in use, perhaps by a Prefect server that runs already. "
                "Stop that one, or choose another port."
            ) from None


def _server_environment(folder: Path, port: int) -> dict[str, str]:
    """The environment of the server: the caller's, less what would take it elsewhere."""
    here = f"http://{HOST}:{port}"
    elsewhere = {"PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE", "PREFECT_API_DATABASE_CONNECTION_URL"}
    mine = {name: value for name, value in os.environ.items() if name not in {*elsewhere, passwords.FILE_VARIABLE}}
    return {
        **mine,
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        # In memory they would be lost when the server ends, and slots of dead runs never be freed.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # A page in the user's browser can reach loopback; it must not start runs.
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": here,
        "PREFECT_UI_URL": here,
        "PREFECT_SERVER_UI_API_URL": f"{here}/api",
    }


class OtherPasswordError(PermissionError):
    """A Prefect server answers, and not to us: somebody else's, perhaps."""


def connect() -> str:
    """The address of the API: PREFECT_API_URL (or Prefect's profile), else the server on this machine.

    Prefect's clients use it from here on, in this process and its children; without a password of the environment's or
    the profile's, with the one that `winnow server` has made.
    Raises ConnectionError where none answers there, OtherPasswordError where it wants another password.
    """
    # Prefect takes an empty address for one; the user means none.
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        if not os.environ.get(name):
            os.environ.pop(name, None)
    if password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        os.environ.setdefault("PREFECT_API_AUTH_STRING", password)
    from prefect.context import refresh_global_settings_context
    from prefect.settings import get_current_settings

    refresh_global_settings_context()
    chosen = get_current_settings().api.url
    named_by = _named_by() if chosen else None
    url = chosen or f"http://{HOST}:{PORT}/api"
    set_here = {} if chosen else {"PREFECT_API_URL": url}
    if get_current_settings().api.auth_string is None and (password := passwords.kept(url)):
        set_here["PREFECT_API_AUTH_STRING"] = password
    os.environ.update({**set_here, "PREFECT_API_URL": url})
    refresh_global_settings_context()
    try:
        _call(url, named_by)
    except (ConnectionError, OtherPasswordError):
        for name in set_here:  # a later call must look anew
            del os.environ[name]
        refresh_global_settings_context()
        raise
    return url


def guard_temporary_server() -> None:
    """Have the server that Prefect starts for one run ask for a password, which this process and its children know."""
    from prefect.context import refresh_global_settings_context

    password = passwords.at_random()
    os.environ.update({"PREFECT_SERVER_API_AUTH_STRING": password, "PREFECT_API_AUTH_STRING": password})
    refresh_global_settings_context()


def _named_by() -> str:
    """Where the address of the API is set, and how it is taken out there."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL

    if os.environ.get("PREFECT_API_URL"):
        return "which PREFECT_API_URL names. Unset it: unset PREFECT_API_URL"
    profile = get_settings_context().profile
    if PREFECT_API_URL in profile.settings:
        found = f"which Prefect's profile '{profile.name}' names ({profile.source})"
        return f"{found}. Take it out: prefect config unset --yes PREFECT_API_URL"
    return "which Prefect's settings name. See which: prefect config view --show-sources"


def _call(url: str, named_by: str | None) -> None:
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            client.read_flows(limit=1)
    except (httpx.HTTPStatusError, PrefectHTTPStatusError) as error:
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            raise OtherPasswordError(
                f"the Prefect server at {url} wants another password. Set PREFECT_API_AUTH_STRING to its user:password."
            ) from None
        raise ConnectionError(_no_server(url, named_by)) from error
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError, ValueError) as error:
        raise ConnectionError(_no_server(url, named_by)) from error


def _no_server(url: str, named_by: str | None) -> str:
    if named_by is None:
        return f"no Prefect server answers at {url}. Start one: winnow server"
    return f"no Prefect server answers at {url}, {named_by}; or start {_what_to_start(url)}"


def _what_to_start(url: str) -> str:
    """What would answer at the address: a server of this command, where it is of this machine."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host not in (HOST, "localhost") or port is None:
        return "that server"
    return "one there: winnow server" + (f" --port {port}" if port != PORT else "")


def serve(
    flow: Flow[..., Any],
    *,
    name: str,
    parameters: dict[str, Any],
    schedule: Schedule | None,
) -> None:
    """Run the flow on this machine whenever it is due, one run at a time, until a signal ends this process.

    Without a schedule, only runs made by hand. It stays active when this ends. The server keeps the limit of one, so
    that a second `serve` of the same name waits its turn. A run in progress ends as Cancelled with this process. Where
    the server is lost, this waits until it is back. Raises ConnectionError, PermissionError as `connect`.
    """
    connect()
    while _served(flow, name, schedule, parameters):
        _wait_for_server()


def _served(flow: Flow[..., Any], name: str, schedule: Schedule | None, parameters: dict[str, Any]) -> bool:
    """Serve until a signal (False) or until the server is lost (True)."""
    import httpx

    try:
        return asyncio.run(_serve(flow, name, schedule, parameters))
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


def schedule_of(cron: str | None, every: timedelta | None = None, timezone: str = "UTC") -> Schedule | None:
    """By five fields of cron in `timezone`, or `every` so often. Raises ValueError for a wrong cron or timezone."""
    from prefect.schedules import Interval

    if cron is not None:
        return _cron(cron, timezone)
    return Interval(every) if every else None


def _cron(cron: str, timezone: str) -> Schedule:
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.schedules import Cron
    from pydantic import ValidationError

    # Prefect takes six and seven fields too, where a forgotten space makes a run a second.
    fields = cron.split()
    try:
        if len(fields) != 5:
            raise ValueError
        CronSchedule(cron=cron)
    except (ValidationError, ValueError):
        raise ValueError(
            f"cron is '{cron}'. Allowed: five fields (minute, hour, day of month, month, day of week), "
            "for example '0 3 * * *' for 3:00 each night."
        ) from None
    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError:
        raise ValueError(f"timezone is '{timezone}'. Allowed: an IANA name, for example 'Europe/Berlin'.") from None
    return Cron(cron, timezone=timezone)


async def _serve(flow: Flow[..., Any], name: str, schedule: Schedule | None, parameters: dict[str, Any]) -> bool:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    runner = Runner(name=name, limit=1, pause_on_shutdown=False, heartbeat_seconds=HEARTBEAT_SECONDS)
    ended = _ended_by_signal(runner)
    deployment_id = await runner.aadd_flow(
        flow,
        name=name,
        schedules=[schedule] if schedule else [],
        parameters=parameters,
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

    A runner that has lost its server lets a flow run in progress come to its end first.
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
    _, stubborn = await asyncio.wait({running}, timeout=GRACE_SECONDS / 3)
    if stubborn:
        for process in multiprocessing.active_children():
            process.kill()
        running.cancel()


async def _keep_settling(deployment_id: UUID, seconds: float) -> None:
    """While a run is in progress schedules pile up: of those, too, only the newest is to run."""
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


def settle_missed(deployment_id: UUID) -> int:
    """End, as Skipped, the schedules of a deployment that are due and not started, save the newest.

    Runs made by hand are never ended. Returns how many were ended.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Completed

    with get_client(sync_client=True) as client:
        missed = [run for run in _due(client, deployment_id)[1:] if run.run_count == 0 and _is_waiting(run)]
        for run in missed:
            client.set_flow_run_state(run.id, Completed(name="Skipped", message=MISSED))
    return len(missed)


def superseded() -> str | None:
    """Why the flow run that calls this should not go on: a newer schedule is due. None where it should.

    None, too, outside a deployment, for a run made by hand, and for a run that is run again.
    """
    from prefect.client.orchestration import get_client
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or not run.auto_scheduled or run.run_count > 1:
        return None
    with get_client(sync_client=True) as client:
        due = _due(client, run.deployment_id)
    return MISSED if due and due[0].id != run.id else None


def _due(client: SyncPrefectClient, deployment_id: UUID) -> list[FlowRun]:
    """The schedules of a deployment whose time has come, whatever became of them, the newest first."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    runs = client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment_id]),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),  # type: ignore[arg-type]
            # A run that somebody cancelled must not stand in for an older one.
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(not_any_=[StateType.CANCELLED])),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=PAGE,
    )
    return [run for run in runs if run.auto_scheduled]


def _is_waiting(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_scheduled()


def install_automations(*, stale_after: timedelta, flows: Sequence[str] = FLOWS) -> list[str]:
    """Have the server mark dead runs of `flows` as Crashed, which frees their slots. Returns the automations' names.

    A run is dead where it beats no more for `stale_after`, or is handed to a process and never starts. Best between
    two heartbeats and the 5 minutes that Prefect keeps the slot of a dead run. Repeating it changes nothing.
    Raises ValueError where `stale_after` is not longer than a heartbeat.
    """
    if stale_after <= timedelta(seconds=HEARTBEAT_SECONDS):
        raise ValueError(
            f"stale_after is {stale_after.total_seconds():.0f} s. Allowed: more than {HEARTBEAT_SECONDS} s, "
            "the time between two heartbeats; 90 s suits most."
        )
    never = f"it was handed to a process and did not start within {NEVER_STARTED_AFTER.total_seconds():.0f} s"
    silent = f"it gave no heartbeat for {stale_after.total_seconds():.0f} s"
    starts = _events("Pending", "Submitting", "InfrastructurePending")
    crashes = [
        # From Running on: a process may be killed before its first heartbeat has left it.
        _crash("winnow: runs without a heartbeat", _events("Running", "heartbeat"), stale_after, flows, silent),
        _crash("winnow: runs that never start", starts, NEVER_STARTED_AFTER, flows, never),
    ]
    return _install(crashes)


def _events(*names: str) -> set[str]:
    return {f"prefect.flow-run.{name}" for name in names}


def _crash(name: str, after: set[str], within: timedelta, flows: Sequence[str], why: str) -> AutomationCore:
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, Posture

    # Any event of the run counts as life: its end may have a name of ours, such as Blocked, and Prefect would let a
    # finished run become Crashed.
    trigger = _trigger(flows, after=after, posture=Posture.Proactive, within=within)
    action = ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, message=f"crashed: {why}", force=False)
    return AutomationCore(name=name, trigger=trigger, actions=[action])


def _trigger(flows: Sequence[str], **more: Any) -> EventTrigger:
    from prefect.events.schemas.automations import EventTrigger

    return EventTrigger(
        **{
            "expect": {"prefect.flow-run.*"},
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)},
            "for_each": {"prefect.resource.id"},
            "threshold": 1,
            **more,
        }
    )


def _install(automations: Sequence[AutomationCore]) -> list[str]:
    """Create what is not there and change what differs: a change makes the server forget what it waits for."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for automation in automations:
            there = client.read_automations_by_name(automation.name)
            if not there:
                client.create_automation(automation)
            elif _essence(there[0]) != _essence(automation):
                client.update_automation(there[0].id, automation)
            for double in there[1:]:
                client.delete_automation(double.id)
    return [automation.name for automation in automations]


def _essence(automation: AutomationCore) -> dict[str, Any]:
    from prefect.events.schemas.automations import AutomationCore

    essence = automation.model_dump(include=set(AutomationCore.model_fields))
    essence["trigger"].pop("id", None)
    return essence


def install_alerts(url: str, flows: Sequence[str] = FLOWS) -> list[str]:
    """Have the server post JSON to `url` when a run of `flows` fails, crashes, times out or ends Blocked.

    The JSON holds text (one line, as chat programs show it), flow, run, state, message, url. The server keeps the
    address encrypted; its own machine's and private addresses are allowed. Returns the automations' names.
    Raises ValueError, without the address, where it is not one of http or https.
    """
    _check_url(url)
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook
    from prefect.events.schemas.automations import AutomationCore, Posture
    from prefect.types import SecretDict
    from pydantic import SecretStr

    headers = SecretDict({"Content-Type": "application/json"})
    block_id = cast(UUID, Webhook(url=SecretStr(url), headers=headers).save(BLOCK, overwrite=True))
    trigger = _trigger(
        flows,
        # By type, not by name: whatever a failed state is called.
        match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": ["FAILED", "CRASHED"]},
        posture=Posture.Reactive,
        within=timedelta(0),
    )
    action = CallWebhook(block_document_id=block_id, payload=PAYLOAD)
    return _install([AutomationCore(name="winnow: alerts", trigger=trigger, actions=[action])])


# From the event, not from the run: the run's state may be another by the time that this is sent.
PAYLOAD = """\
{% set state = event.resource["prefect.state-name"] %}
{% set message = event.resource["prefect.state-message"] %}
{
  "text": {{ (flow.name ~ " " ~ flow_run.name ~ ": " ~ state ~ ". " ~ message) | tojson }},
  "flow": {{ flow.name | tojson }},
  "run": {{ flow_run.name | tojson }},
  "state": {{ state | tojson }},
  "message": {{ message | tojson }},
  "url": {{ flow_run | ui_url | tojson }}
}"""


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        right = False
    if not right or any(character.isspace() for character in url):
        raise ValueError(
            "the address for alerts is not one. Allowed: http:// or https://, a host and a path, "
            "for example https://hooks.example.org/winnow."
        )
