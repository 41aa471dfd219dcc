"""The README's table of worked projects: this repository's own, and each folder of projects/ that has metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flows.review import metrics
from flows.review.evidence import mapping
from flows.review.markdown import escape, table
from flows.review.metrics import TEACHER, UNMEASURED, Row
from flows.review.task import params_of, task_of
from stages.core.paths import Paths

FOLDER = "projects"
OWN = "default"  # what the repository's own project is called in the table
BASELINE, SMALL = "baseline", "quantized"
HEADER = (
    "project", "task", "corpus", "measure", "seeds", "baseline", "teacher (fine-tuned)", "int8", "interval of int8",
    "size MB", "p50 ms",
)  # fmt: skip
NUMBERS = 7  # of these columns, the last


class Worked(NamedTuple):
    """A project with the figures of the three models that the table shows."""

    name: str
    link: str  # from the README
    task: str
    corpus: str
    baseline: Row
    teacher: Row
    small: Row


def folders(root: Path) -> tuple[Path, ...]:
    """The worked projects of the repository at `root`, by name, whether or not they have metrics."""
    return tuple(sorted(path.parent for path in (root / FOLDER).glob("*/dvc.yaml")))


def has_metrics(folder: Path) -> bool:
    """Whether the int8 model of the project has been measured."""
    return Paths(folder).quality(SMALL).is_file()


def as_markdown(root: Path) -> str:
    """The table with a line below it on what speed was measured; the repository's own project comes first.

    Raises ValueError for a metrics file that is not an object of numbers.
    """
    measured = filter(has_metrics, folders(root))
    every = [
        _worked(root, OWN, "params.yaml"),
        *(_worked(folder, folder.name, f"{FOLDER}/{folder.name}") for folder in measured),
    ]
    return f"{table(HEADER, map(_cells, every), numbers=NUMBERS)}\n\n{_timed(every)}"


def _worked(root: Path, name: str, link: str) -> Worked:
    params = params_of(root)
    known = {row.model: row for row in metrics.rows(root)}
    return Worked(name, link, task_of(params), _corpus(params), known[BASELINE], known[TEACHER], known[SMALL])


def _corpus(params: Mapping[str, Any]) -> str:
    """The data set of the Hub, the file or folder of rows, or else the name of the source that needs none."""
    ingest = mapping(params, "ingest")
    source, path = str(ingest.get("source")), Path(str(ingest.get("path")))
    if source == "hub":
        return str(mapping(ingest, "hub").get("dataset") or path.name)
    return path.name.partition(".")[0] if source == "files" else source.replace("_", " ")


def _cells(worked: Worked) -> tuple[str, ...]:
    small = worked.small
    return (
        f"[{escape(worked.name)}]({worked.link})",
        f"`{worked.task}`",
        escape(worked.corpus),
        small.judged.measure.title,
        UNMEASURED if small.judged.value is None else str(small.seeds or 1),
        *(str(row.judged) for row in (worked.baseline, worked.teacher, small)),
        small.interval or UNMEASURED,
        *(UNMEASURED if known is None else form.format(known) for known, form in (
            (small.size_mb, "{:.1f}"), (small.p50_ms, "{:.2f}"),
        )),
    )  # fmt: skip


def _timed(every: list[Worked]) -> str:
    """A sentence on the circumstances of each p50, said once for those that share them."""
    places: dict[str, list[str]] = {}
    for worked in every:
        if worked.small.timed_on:
            places.setdefault(worked.small.timed_on, []).append(worked.name)
    if not places:
        return "Speed and size have not been measured yet."
    return f"p50 is the median of single rows: {'; '.join(_named(places))}."


def _named(places: Mapping[str, list[str]]) -> Iterator[str]:
    for where, names in places.items():
        yield where if len(places) == 1 else f"{', '.join(names)}: {where}"
