"""The schedule of a served flow; of the runs that were missed, only the newest takes place.

Source of the details: Prefect 3.8.8.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

# Prefect is imported inside the functions: `connect` decides about its settings.
if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.schedules import Schedule

MISSED = "missed: a newer schedule runs instead"
PAGE = 200  # Prefect's largest answer


def schedule_of(cron: str | None, every: timedelta | None = None, timezone: str = "UTC") -> Schedule | None:
    """A schedule by cron's five fields in `timezone`, or by `every`. Raises ValueError for a wrong cron or timezone."""
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
    """Why the calling flow run should not go on: a newer scheduled one is due. None where it should.

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
    """The scheduled runs of a deployment whose time has come, whatever their state, the newest first."""
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
