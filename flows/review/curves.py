"""The learning curves of both sides, as DVCLive wrote them."""

from __future__ import annotations

import csv
import io

from flows.review.evidence import Curves
from flows.review.side import Side
from flows.review.unrun import Unrun
from stages.core.paths import MODELS, Paths

METRICS = "plots/metrics/"  # of DVCLive's folder


def trained(side: Side, stale: Unrun) -> list[str]:
    """The models whose curves on this side are of its parameters and code."""
    paths = Paths(side.root)
    return [model for model in MODELS if not stale.of(paths.curves(model).relative_to(paths.root).as_posix())]


def trained_otherwise(before: Side, after: Side, stale: Unrun) -> list[str]:
    """Those of `trained` that the other side has curves of, and others."""
    folders = {model: Paths(after.root).curves(model) for model in trained(after, stale)}
    return [model for model, path in folders.items() if before.hash_of(path) not in (None, after.hash_of(path))]


def curves(side: Side, models: list[str]) -> Curves:
    """Curve -> (model, step, value), from DVCLive's tables."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    for model in models:
        for path, content in sorted(_tables_of_curves(side, model).items()):
            name = path.removesuffix(".tsv")
            for row in csv.DictReader(io.StringIO(content), delimiter="\t"):
                found.setdefault(name, []).append((model, float(row["step"]), float(row[name.rpartition("/")[2]])))
    return found


def _tables_of_curves(side: Side, model: str) -> dict[str, str]:
    """The tables by their paths below METRICS; of the working tree those that lie there."""
    folder = Paths(side.root).curves(model)
    if side.commit is None:
        own = folder / METRICS
        return {path.relative_to(own).as_posix(): path.read_text(encoding="utf-8") for path in own.rglob("*.tsv")}
    return {
        name.removeprefix(METRICS): content.decode("utf-8")
        for name, content in side.folder(folder).items()
        if name.startswith(METRICS) and name.endswith(".tsv")
    }
