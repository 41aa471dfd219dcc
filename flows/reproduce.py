"""Flow `reproduce`: the graph of dvc.yaml, each stage a Prefect task. DVC is the only cache.

Without a server (PREFECT_API_URL) Prefect starts a temporary one, which ends with this process.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from flows.dvc import planning, reproducing
from flows.dvc.charts import flowchart, picture
from flows.dvc.command import DvcError
from flows.dvc.locked import cores_wanted
from flows.dvc.planning import Plan
from flows.dvc.reproducing import Ready
from flows.review import metrics
from flows.running.budget import Budget
from flows.running.described import publish_parameters, run_name, tag_run
from flows.running.locks import lock_file, one_at_a_time
from flows.running.masking import masked
from flows.running.processes import Children, EndedError, ending_signals_raise
from stages.core.machine import cores

if TYPE_CHECKING:
    from flows.review.evidence import Review

WATCH_SECONDS = 2.0  # between two looks at whether somebody cancelled
BAR_SECONDS = 2.0  # between two updates of a progress artifact
LINE_SECONDS = 30.0  # between two lines of the log that say how far a stage is
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


@task(task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
def run_stage(stage: str, run: Run, why: str | None, wanted: int | None, force: bool) -> State:
    """Run one DVC stage; its state is Cached where DVC had nothing to run, and a failure has the stage's message."""
    if why is None:  # DVC was asked about all of them at once: another look would only cost its start
        return Completed(name="Cached", message="nothing that it depends on has changed")
    log = get_run_logger()
    bar = Bar(stage, log.info)
    try:
        with run.budget.taking(wanted):
            outcome = reproducing.reproduce(run.ready, stage, log.info, force=force, on_bar=bar.show)
    except (DvcError, EndedError) as error:
        return Failed(message=str(error))
    bar.finish()
    if outcome.state == "ran":
        return Completed(message=why)
    return Completed(name="Cached", message=outcome.reason)


class Bar:
    """A stage's progress bar: an artifact of its task run, made at the first state, and some lines of the log."""

    def __init__(self, stage: str, on_line: Callable[[str], object]) -> None:
        self._stage, self._on_line = stage, on_line
        self._said = time.monotonic()
        self._key = "progress-" + re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")
        self._artifact: Any = None
        self._shown = 0.0

    def show(self, line: str) -> None:
        """Show one state, such as "epoch 2:  40%|####      | 12/30"."""
        found = re.match(r"(.*?):?\s*(\d+)%\|[^|]*\|\s*(.*)", line)
        if found is None or time.monotonic() - self._shown < BAR_SECONDS:
            return
        self._put(float(found[2]), f"{found[1]}: {found[3]}")
        if self._shown - self._said >= LINE_SECONDS:
            self._said = self._shown
            self._on_line(f"{self._stage}: {found[1]}: {found[2]}% {found[3]}")

    def finish(self) -> None:
        """Complete the bar: the stage has succeeded."""
        if self._artifact is not None:
            self._put(100.0, "done")

    def _put(self, percent: float, description: str) -> None:
        self._shown = time.monotonic()
        with contextlib.suppress(Exception):  # a server that is away must not end the stage
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, key=self._key, description=description)
            else:
                update_progress_artifact(self._artifact, percent, description=description)


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
            one_at_a_time(lock_file(root, "reproduce"), on_wait),
            Children() as children,
            ended_when_cancelled(children) as cancelled,
        ):
            plan = planned.result() if planned else None
            states = run_stages(root, children, stages=stages, force=force, plan=plan)
            if cancelled():
                return Cancelled(message="cancelled; what had run is in DVC's cache")
            state = conclude(states)
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
    wanted = cores_wanted(root)
    runs: dict[str, PrefectFuture[State]] = {}
    done = {stage: state for stage, state in (known or {}).items() if stage in plan.graph and stage not in plan.reasons}
    with Ready(root, children, uses=len(whys)) as ready:
        run = Run(Budget(cores()), ready)
        for stage, upstream in plan.graph.items():
            if stage in done:
                continue
            first = [runs[up] for up in upstream if up in runs]
            runs[stage] = run_stage.submit(
                stage, run, whys.get(stage), wanted.get(stage), stage in forced, wait_for=first, return_state=False
            )
        for future in runs.values():
            future.wait()
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


def publish(root: Path, plan: Plan, states: Mapping[str, State]) -> None:
    """Publish the artifacts of the run: the graph with its states, the stages, the models."""
    words = {stage: _word(state) for stage, state in states.items()}
    rows = [{"stage": stage, "state": words[stage], "why": state.message or ""} for stage, state in states.items()]
    drawn = f"![the graph, by state]({picture(plan.graph, words)})\n\nAs Mermaid:\n\n{flowchart(plan.graph, words)}"
    create_markdown_artifact(drawn, key="graph", description="The graph, by state.")
    create_table_artifact(rows, key="stages", description="What became of each stage.")
    table = metrics.rows(root)
    models = [dict(zip(metrics.HEADER, metrics.cells(row), strict=True)) for row in table]
    described = " ".join(["Quality, speed and size of each model.", *metrics.notes(root), metrics.machine(table)])
    create_table_artifact(models, key="models", description=described)
    publish_parameters(root)


def _show_differences(root: Path, stages: Collection[str], log: Callable[[str], object]) -> None:
    """Publish the review against the branch point, where models were judged; its rows may have to be fetched first."""
    if not any(stage.partition("@")[0] == JUDGES for stage in stages):
        log("no review: none of these stages judges a model. `winnow review` makes one all the same")
        return
    from flows.review.comparison import gather  # charts and statistics take a second to load

    page = root / "artifacts/review/review.html"
    log(f"writing the review of what changed: {page}")
    try:
        publish_review(gather(root), page, "What the working tree changes.")
    except (ValueError, OSError, DvcError) as error:  # no git, say: the results are there all the same
        log(f"no review: {error}")


def publish_review(found: Review, page: Path, description: str) -> None:
    """Publish the review as an artifact of this run that names the file `page`: browsers follow no links to files."""
    from flows.review.page.page import render
    from flows.review.pull_request import as_markdown

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(masked(render(found)), encoding="utf-8")
    shown = f"{masked(as_markdown(found))}\n\nThe same with charts, on the machine that made it: `{page}`\n"
    create_markdown_artifact(shown, key="review", description=description)


def conclude(states: Mapping[str, State]) -> State:
    """Summarise the outcome of all stages in one state and message."""
    failed = {stage: state for stage, state in states.items() if state.is_failed() or state.is_crashed()}
    if failed:
        skipped = [stage for stage, state in states.items() if not state.is_final()]
        message = "\n".join(state.message or f"{stage} failed" for stage, state in failed.items())
        return Failed(message=message + (f"\nNot run: {', '.join(skipped)}" if skipped else ""))
    ran = [stage for stage, state in states.items() if state.name != "Cached"]
    return Completed(message=f"ran {', '.join(ran)}" if ran else "every stage was up to date")


def _word(state: State) -> str:
    return (state.name or state.type.value) if state.is_final() else "not run"


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


def run(root: Path, stages: Sequence[str] = (), *, force: bool = False, plan: Future[Plan] | None = None) -> str | None:
    """Run the flow in this process. Returns None where all went well, else the message of the failure.

    `plan`: a plan of the same stages that is made while Prefect is loading.
    """
    token = _planned.set(plan)
    try:
        with ending_signals_raise(), _beating(not force and plan is not None and _nothing_to_do(plan)):
            start_server_deaf_to_ctrl_c()
            state: State = reproduce(root, stages, force, return_state=True)
    except KeyboardInterrupt:
        how = "`winnow reproduce` goes on, a training from its last checkpoint"
        raise KeyboardInterrupt(f"stopped. What had ended is kept; {how}.") from None
    finally:
        _planned.reset(token)
    return None if state.is_completed() else masked(state.message or f"the flow ended as {state.name}")


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


def _nothing_to_do(plan: Future[Plan]) -> bool:
    return plan.exception() is None and not plan.result().reasons


def _beating(over_at_once: bool) -> contextlib.AbstractContextManager[object]:
    """Context without Prefect's heartbeats for a flow that is over at once: their thread delays its end by a second."""
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) if over_at_once else contextlib.nullcontext()
