"""Write the generated parts of README.md and the cards: `python -m flows.review.readme`; --check reports stale ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.dvc import planning
from flows.dvc.charts import flowchart
from flows.dvc.command import DvcError
from flows.dvc.locked import definitions
from flows.dvc.planning import Graph
from flows.review import metrics, worked
from flows.review.cards import cards_of
from flows.running.root import find_root


def generated(root: Path) -> dict[str, str]:
    """The text of each generated part, by the name in its markers."""
    stages = _collapsed(planning.graph(root))
    return {
        "stages": stage_table(stages, definitions(root)),
        "graph": flowchart(stages),
        "models": metrics.as_markdown(metrics.rows(root), metrics.notes(root)),
        "projects": worked.as_markdown(root),
    }


def _collapsed(graph: Graph) -> Graph:
    """The graph with every foreach stage as one node."""
    collapsed: dict[str, dict[str, None]] = {}
    for stage, upstream in graph.items():
        name = stage.partition("@")[0]
        ups = (up.partition("@")[0] for up in upstream)
        collapsed.setdefault(name, {}).update((up, None) for up in ups if up != name)
    return {name: tuple(ups) for name, ups in collapsed.items()}


def stage_table(stages: Graph, definitions: dict[str, Any]) -> str:
    """A Markdown table of what each stage does, from the `desc:` in dvc.yaml."""
    lines = ["| stage | what it does |", "| --- | --- |"]
    for stage in stages:
        definition = definitions.get(stage, {})
        text = definition.get("desc") or definition.get("do", {}).get("desc") or "-"
        lines.append(f"| `{stage}` | {' '.join(text.split()).replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def renewed(readme: str, parts: dict[str, str]) -> tuple[str, list[str]]:
    """`readme` with its parts written again, and the names of those that were stale.

    Raises ValueError where a part's markers are missing.
    """
    stale = []
    for name, text in parts.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        before, found_begin, rest = readme.partition(begin)
        old, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"README.md: no part between '{begin}' and '{end}'. Put these two lines where it belongs.")
        new = f"\n{text}\n"
        if old != new:
            stale.append(name)
        readme = f"{before}{begin}{new}{end}{after}"
    return readme, stale


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 where README.md is stale.")
def main(check: bool) -> None:
    """Write the generated parts of README.md and the cards again, from dvc.yaml, params.yaml and metrics/."""
    try:
        root = find_root(Path.cwd())
        path = root / "README.md"
        text, stale = renewed(path.read_text(encoding="utf-8"), generated(root))
        made = cards_of(root)
    except (ValueError, OSError, DvcError) as error:
        raise click.ClickException(str(error)) from None
    cards = {card: new for card, new in made.items() if not card.is_file() or card.read_text(encoding="utf-8") != new}
    if (cards or stale) and check:
        raise click.ClickException(f"stale: {', '.join([*stale, *(card.name for card in cards)])}. Run `make readme`.")
    for card, new in cards.items():
        card.parent.mkdir(exist_ok=True)
        card.write_text(new, encoding="utf-8")
    if stale:
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
