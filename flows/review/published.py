"""The results of a run as artifacts at Prefect: the graph, the stages, the models, the review."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prefect.artifacts import (
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.states import State

from flows.dvc.charts import flowchart, picture
from flows.dvc.planning import Plan
from flows.review import metrics
from flows.running.described import publish_parameters
from flows.running.masking import masked

if TYPE_CHECKING:
    from flows.review.evidence import Review


def publish(root: Path, plan: Plan, states: Mapping[str, State]) -> None:
    """Publish the artifacts of the run: the graph with its states, the stages, the models."""
    words = {stage: _word(state) for stage, state in states.items()}
    rows = [{"stage": stage, "state": words[stage], "why": state.message or ""} for stage, state in states.items()]
    drawn = f"![the graph, by state]({picture(plan.graph, words)})\n\nAs Mermaid:\n\n{flowchart(plan.graph, words)}"
    create_markdown_artifact(drawn, key="graph", description="The graph, by state.")
    create_table_artifact(rows, key="stages", description="What became of each stage.")
    table = metrics.rows(root)
    models = [dict(zip(metrics.header(table), row, strict=True)) for row in metrics.cells(table)]
    described = " ".join(["Quality, speed and size of each model.", *metrics.notes(root), metrics.machine(table)])
    create_table_artifact(models, key="models", description=described)
    publish_parameters(root)


def publish_review(found: Review, page: Path, description: str) -> None:
    """Publish the review as an artifact of this run that names the file `page`: browsers follow no links to files."""
    from flows.review.page.page import render
    from flows.review.pull_request import as_markdown

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(masked(render(found)), encoding="utf-8")
    shown = f"{masked(as_markdown(found))}\n\nThe same with charts, on the machine that made it: `{page}`\n"
    create_markdown_artifact(shown, key="review", description=description)


def _word(state: State) -> str:
    return (state.name or state.type.value) if state.is_final() else "not run"
