"""The results of a run as artifacts at Prefect: the graph, the stages, the models, the review."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

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


PAGES_VARIABLE = "WINNOW_PAGES_URL"  # the address at which others reach what is in artifacts/review


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
    create_table_artifact(models, key="models", description=masked(described))
    publish_parameters(root)


def publish_review(found: Review, page: Path, description: str) -> None:
    """Publish the review as an artifact of this run, with where its `page` is: a link, where the pages have an address.

    Without one it names the file, as browsers follow no links to files.
    """
    from flows.review.page.page import render
    from flows.review.pull_request import as_markdown

    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(masked(render(found)), encoding="utf-8")
    shown = f"{masked(as_markdown(found))}\n\n{masked(where_it_is(page))}\n"
    create_markdown_artifact(shown, key="review", description=description)


def where_it_is(page: Path) -> str:
    """A line of Markdown that leads to the review's page, from any machine where WINNOW_PAGES_URL is set."""
    address = os.environ.get(PAGES_VARIABLE, "").strip()
    if not address:
        return (
            f"The same with charts, on the machine that made it: `{page}`. Where that folder is served,"
            f" {PAGES_VARIABLE} makes this a link."
        )
    if urlsplit(address).scheme not in ("http", "https") or any(sign in address for sign in " <>()`\n"):
        return (
            f"The same with charts, on the machine that made it: `{page}`. {PAGES_VARIABLE} is not an address. Allowed:"
            " http:// or https://, and the path that others reach artifacts/review by."
        )
    return f"[The same with charts]({address.rstrip('/')}/{quote(page.name)})"


def _word(state: State) -> str:
    return (state.name or state.type.value) if state.is_final() else "not run"
