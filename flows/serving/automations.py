"""Automations of the Prefect server: mark crashed runs, and notify a webhook of failed and blocked ones.

Source of the details: Prefect 3.8.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from flows import HEARTBEAT_SECONDS

# Prefect is imported inside the functions: `connect` decides about its settings.
if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

FLOWS = ("reproduce", "retrain")  # the flows that automations and alerts are about
STALE_AFTER = timedelta(seconds=90)  # of silence, until a run counts as dead: three heartbeats
NEVER_STARTED_AFTER = timedelta(minutes=4)  # less than a lease of a slot lasts (5 minutes), so that none is freed twice
BLOCK = "winnow-alerts"


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
    """Create missing automations and update those that differ; an update makes the server forget pending events."""
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
