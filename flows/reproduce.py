"""Flow `reproduce`: the graph of dvc.yaml, each stage a Prefect task. DVC is the only cache.

Without a server (PREFECT_API_URL) Prefect starts a temporary one, which ends with this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.answering.how import asked
from flows.dvc import planning, reproducing
from flows.dvc.command import DvcError
from flows.dvc.locked import cores_wanted
from flows.dvc.planning import Plan
from flows.dvc.reproducing import Ready
from flows.review.published import publish, publish_review
from flows.review.revisions import default_base
from flows.running.bars import Bar, read_bar
from flows.running.budget import Budget
from flows.running.cancelling import ended_when_cancelled
from flows.running.console import plain
from flows.running.described import name_run, run_name, tag_run
from flows.running.locks import lock_file, one_at_a_time
from flows.running.masking import masked
from flows.running.overview import Overview
from flows.running.processes import Children, EndedError, ended_says, ends_quietly
from flows.running.root import clone_of
from flows.running.times import about, keep_seconds, last_seconds
from flows.serving.temporary import beating, start_temporary_server
from stages.core.machine import cores

ANSWERS = "quantize"  # the stage behind which `winnow predict` has its model
JUDGES = "evaluate"  # the stage whose results a review is about
# Threads that only wait, for their child or for cores: how many run at once is the budget's affair.
STAGE_RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=32)
# No parameter of the flow: Prefect keeps those.
_planned: ContextVar[Future[Plan] | None] = ContextVar("planned", default=None)


@dataclass(frozen=True)
class Run:
    """The resources that the stages of one run share."""

    budget: Budget
    ready: Ready
    overview: Overview
    again: Mapping[str, str]
    """Why stages run again, as far as that is no consequence of others."""


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, run: Run, why: str | None, wanted: int | None, force: bool) -> State:
    """Run one DVC stage; its state is Cached where DVC had nothing to run, and a failure has the stage's message."""
    if why is None:  # DVC was asked about all of them at once: another look would only cost its start
        return Completed(name="Cached", message="nothing that it depends on has changed")
    log = get_run_logger()
    bar = Bar(stage)

    def tell(line: str) -> None:
        if line == f"Running stage '{stage}':" and stage in run.again:
            log.info(f"{stage} runs again: {run.again[stage]}")
        log.info(line)

    try:
        with run.budget.taking(wanted), run.overview.running(stage, log.info) as take:

            def show(line: str) -> None:
                if shown := read_bar(line):
                    bar.show(shown)
                    take(shown)

            outcome = reproducing.reproduce(run.ready, stage, tell, force=force, on_bar=show)
    except (DvcError, EndedError) as error:
        return Failed(message=str(error))
    bar.finish()
    if stage == ANSWERS and outcome.state != "unchanged" and run.overview.goes_on:
        _tell_ready(run.ready.root, log.info)
    if outcome.state == "ran":
        return Completed(message=why)
    return Completed(name="Cached", message=outcome.reason)


def _tell_ready(root: Path, log: Callable[[str], object]) -> None:
    """Say how the model is asked, unless it is a candidate in a checkout of a retraining."""
    if clone_of(root) == root and (command := asked(root)):
        log(f"the model is ready: `{command}` answers with it. What is left of this run measures it")


@flow(name="reproduce", flow_run_name=run_name, task_runner=STAGE_RUNNER, persist_result=False)  # type: ignore[arg-type]  # invariant
def reproduce(root: Path, stages: Sequence[str] = (), force: bool = False) -> State:
    """Bring the project at `root` up to date: `stages` with all before them, or every stage.

    A failure stops only the stages that depend on it. With `force` the named stages run in any case; without names,
    all. A second run in the same clone waits for the first.
    """
    log, planned = get_run_logger(), _planned.get()
    tag_run()

    def on_wait(holder: str) -> None:
        nonlocal planned
        planned = None  # another run changes what there is to do
        log.info("waiting: %s reproduces here", holder)

    try:
        with (
            ends_quietly(),
            one_at_a_time(lock_file(root, "reproduce"), on_wait),
            Children() as children,
            ended_when_cancelled(children) as cancelled,
        ):
            began = time.monotonic()
            plan = planned.result() if planned else planning.plan(root, stages)
            name_run(planning.in_short(plan))
            states = run_stages(root, children, stages=stages, force=force, plan=plan)
            if cancelled():
                return Cancelled(message="cancelled; what had run is in DVC's cache")
            seconds = time.monotonic() - began
            state = conclude(states, seconds)
            if state.is_failed():
                log.info(summed(states, seconds))
            if state.is_completed() and any(state.name != "Cached" for state in states.values()):
                _show_differences(root, states, log.info)
            return state
    except EndedError as error:
        return Cancelled(message=str(error))
    except (DvcError, ValueError) as error:
        return Failed(message=str(error))


def run_stages(
    root: Path,
    children: Children,
    *,
    stages: Sequence[str] = (),
    force: bool = False,
    known: Mapping[str, State] | None = None,
    plan: Plan | None = None,
) -> dict[str, State]:
    """Run, as tasks of this flow, the outdated ones of `stages` and of all before them (none named: of all stages).

    Stages that are `known`, from an earlier call, get no task unless they must run again. A `plan` made before is used.
    Returns every stage's state; one that is not final was not run. Raises DvcError for a stage that does not exist.
    """
    plan = plan or planning.plan(root, stages)
    forced = planning.forced(plan.graph, stages) if force else set()
    whys = _whys(plan, forced)
    wanted, seconds = cores_wanted(root), last_seconds(root, whys)
    to_run = {stage: plan.graph[stage] for stage in whys}
    runs: dict[str, PrefectFuture[State]] = {}
    done = {stage: state for stage, state in (known or {}).items() if stage in plan.graph and stage not in plan.reasons}
    with Ready(root, children, wanted=bool(whys)) as ready, Overview(to_run, seconds, wanted, cores()) as overview:
        run = Run(Budget(cores()), ready, overview, _again(plan))
        for stage, upstream in plan.graph.items():
            if stage in done:
                continue
            first = [runs[up] for up in upstream if up in runs]
            runs[stage] = run_stage.submit(
                stage, run, whys.get(stage), wanted.get(stage), stage in forced, wait_for=first, return_state=False
            )
        for future in runs.values():
            future.wait()
    keep_seconds(root)
    states = {stage: done[stage] if stage in done else runs[stage].state for stage in plan.graph}
    publish(root, plan, states)
    return states


def _whys(plan: Plan, forced: set[str]) -> dict[str, str]:
    """The reasons of each stage that is to run; other stages have none."""
    whys: dict[str, str] = {}
    for stage, upstream in plan.graph.items():
        if stage in plan.reasons:
            whys[stage] = masked("; ".join(plan.reasons[stage]))
        elif stage in forced:
            whys[stage] = "by force"
        elif any(up in whys for up in upstream):
            whys[stage] = "what it follows runs by force"
    return whys


def _again(plan: Plan) -> dict[str, str]:
    """What changed for each stage that ran before, as far as that does not follow from others."""
    changes = {stage: planning.changes(why) for stage, why in plan.reasons.items()}
    return {stage: masked("; ".join(changed)) for stage, changed in changes.items() if changed}


def _show_differences(root: Path, stages: Collection[str], log: Callable[[str], object]) -> None:
    """Publish the review against the branch point, where models were judged; its rows may have to be fetched first."""
    if not any(stage.partition("@")[0] == JUDGES for stage in stages):
        log("no review: none of these stages judges a model. `winnow review` makes one all the same")
        return
    page = root / "artifacts/review/review.html"
    try:
        default_base(root)
        log(f"writing the review of what changed: {page}")
        from flows.review.comparison import gather  # charts and statistics take a second to load

        publish_review(gather(root), page, "What the working tree changes.")
    except (ValueError, OSError, DvcError) as error:  # no git, say: the results are there all the same
        log(f"no review: {error}")


def conclude(states: Mapping[str, State], seconds: float | None = None) -> State:
    """Summarise the outcome of all stages, which took `seconds`, in one state and message."""
    failed = {stage: state for stage, state in states.items() if _has_failed(state)}
    if failed:
        skipped = [stage for stage, state in states.items() if not state.is_final()]
        message = "\n".join(state.message or f"{stage} failed" for stage, state in failed.items())
        return Failed(message=message + (f"\nNot run: {', '.join(skipped)}" if skipped else ""))
    return Completed(message=summed(states, seconds))


def summed(states: Mapping[str, State], seconds: float | None = None) -> str:
    """What became of the stages, in a line: "ran 2 of 22 stages in 3 min: prune, quantize; 20 cached".

    Data that DVC keeps is in the graph, but no stage, and is not counted.
    """
    stages = {stage: state for stage, state in states.items() if not planning.is_data(stage)} or states
    ran = [stage for stage, state in stages.items() if state.is_completed() and state.name != "Cached"]
    cached = sum(state.name == "Cached" for state in stages.values())
    if cached == len(stages):
        return planning.UP_TO_DATE
    time_taken = "" if seconds is None else f" in {about(seconds)}"
    parts = [f"ran {len(ran)} of {len(stages)} stages{time_taken}" + (f": {', '.join(ran)}" if ran else "")]
    counts = {
        "cached": cached,
        "failed": sum(map(_has_failed, stages.values())),
        "not run": sum(not state.is_final() for state in stages.values()),
    }
    return "; ".join([*parts, *(f"{count} {what}" for what, count in counts.items() if count)])


def _has_failed(state: State) -> bool:
    return state.is_failed() or state.is_crashed()


def run(
    root: Path, stages: Sequence[str] = (), *, force: bool = False, plan: Future[Plan] | None = None
) -> tuple[bool, str]:
    """Run the flow in this process. Returns whether all went well, and what ran, or the message of the failure.

    `plan`: a plan of the same stages that is made while Prefect is loading.
    """
    token = _planned.set(plan)
    try:
        plain()
        with ended_says(planning.STOPPED), beating(not force and plan is not None and _nothing_to_do(plan)):
            start_temporary_server()
            state: State = reproduce(root, stages, force, return_state=True)
    finally:
        _planned.reset(token)
    return state.is_completed(), masked(state.message or f"the flow ended as {state.name}")


def _nothing_to_do(plan: Future[Plan]) -> bool:
    return plan.exception() is None and not plan.result().reasons
