"""Flow `reproduce`: the graph of dvc.yaml, a Prefect task a stage. DVC is the only cache.

Without a server (PREFECT_API_URL) Prefect starts a temporary one, which ends with this process.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows import dvc_project, metrics
from flows.dvc_project import Children, DvcError


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, root: Path, children: Children, why: str) -> State:
    """One DVC stage: shown as Cached where DVC had nothing to run; a failure has the stage's own message."""
    log = get_run_logger()
    try:
        outcome = dvc_project.reproduce(root, stage, log.info, children=children)
    except DvcError as error:
        return Failed(message=str(error))
    if outcome.state == "ran":
        return Completed(message=why or outcome.reason)
    return Completed(name="Cached", message=outcome.reason)


# One worker: two heavy stages at once are slower than one after the other.
@flow(
    name="reproduce",
    task_runner=ThreadPoolTaskRunner(max_workers=1),  # type: ignore[arg-type]  # Prefect's types are invariant
    persist_result=False,
)
def reproduce(root: Path) -> State:
    """Bring every stage of the project at `root` up to date; a failure stops only what depends on it."""
    children = Children()
    try:
        plan = dvc_project.plan(root)
        runs: dict[str, PrefectFuture[State]] = {}
        for stage, upstream in plan.graph.items():
            why = "; ".join(plan.reasons.get(stage, ()))
            first = [runs[up] for up in upstream]
            runs[stage] = run_stage.submit(stage, root, children, why, wait_for=first, return_state=False)
        for run in runs.values():
            run.wait()
        return _conclude(root, {stage: run.state for stage, run in runs.items()})
    except (DvcError, ValueError) as error:
        return Failed(message=str(error))
    finally:
        # Where the flow is cancelled or killed this ends what runs, and lets no queued stage start.
        children.end()


def _conclude(root: Path, states: dict[str, State]) -> State:
    """Publish the tables, and say in one message how the run went."""
    create_table_artifact(
        key="models",
        table=[dict(zip(metrics.HEADER, metrics.cells(row), strict=True)) for row in metrics.rows(root)],
        description="Quality, speed and size of each model.",
    )
    create_table_artifact(
        key="stages",
        table=[{"stage": stage, "state": _word(state), "why": state.message or ""} for stage, state in states.items()],
        description="What became of each stage.",
    )
    failed = {stage: state for stage, state in states.items() if state.is_failed() or state.is_crashed()}
    if failed:
        skipped = [stage for stage, state in states.items() if not state.is_final()]
        message = "\n".join(state.message or f"{stage} failed" for stage, state in failed.items())
        return Failed(message=message + (f"\nNot run: {', '.join(skipped)}" if skipped else ""))
    ran = [stage for stage, state in states.items() if state.name != "Cached"]
    return Completed(message=f"ran {', '.join(ran)}" if ran else "every stage was up to date")


def _word(state: State) -> str:
    return (state.name or state.type.value) if state.is_final() else "not run"


def run(root: Path) -> str | None:
    """Run the flow in this process. Returns None where all went well, else the message of what failed."""
    with dvc_project.ending_signals_raise():
        state: State = reproduce(root, return_state=True)
    return None if state.is_completed() else state.message or f"the flow ended as {state.name}"
