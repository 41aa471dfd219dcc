"""A language model asked by prompts: measured as a baseline, and as a teacher of rows without a label.

    prompt.yaml ──┬── measure ──> metrics/prompted/SPLIT.json
    training rows ┘── label ────> rows for `ingest`, as jsonl

Nothing of the graph depends on it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.dvc import reproducing
from flows.dvc.locked import locked_stages, saw_these_rows
from flows.experiments.checkout import Log
from flows.labelling.listed import Listed
from flows.review.markdown import value
from flows.running.processes import Children
from stages.core.contracts import Text
from stages.core.files import read_json
from stages.core.paths import MODELS, Paths
from stages.prompting.values import load_values
from stages.tasks.contract import Measure

PROGRAM = "stages.programs.prompted"
ROWS = "artifacts/data/clean.parquet"


def figures_of(root: Path, split: str) -> Path:
    """The file of the figures on the rows of a split."""
    return root / f"metrics/prompted/{split}.json"


def measure(root: Path, values: Path, split: str, log: Log) -> dict[str, Any]:
    """Measure the language model on the rows of `split`; write and return the figures.

    Raises FileNotFoundError or ValueError for the values, DvcError where the measurement fails.
    """
    _run(root, ["measure", str(values), split, str(figures_of(root, split))], values, log)
    found: dict[str, Any] = read_json(figures_of(root, split))
    return found


def label(root: Path, values: Path, asked: Sequence[Listed], out: Path, log: Log) -> list[dict[str, Any]]:
    """Write the rows with the language model's labels to `out`, a jsonl; returns the rows that are in it.

    Raises FileNotFoundError or ValueError for the values, DvcError where it fails.
    """
    with tempfile.TemporaryDirectory(prefix="winnow-prompt-") as folder:
        rows = Path(folder) / "rows.jsonl"
        lines = (json.dumps({"texts": [*_parts(row.asked)], "kept": {**row.kept}}) for row in asked)
        rows.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        _run(root, ["label", str(values), str(rows), str(out)], values, log)
    with out.open(encoding="utf-8") as written:
        return [json.loads(line) for line in written]


def _parts(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _run(root: Path, arguments: Sequence[str], values: Path, log: Log) -> None:
    """Run the program, once the values are right, which needs no model."""
    load_values(values)
    with Children() as children:
        reproducing.run_module(root, PROGRAM, arguments, log, children)


def shown(root: Path, found: dict[str, Any], measures: Sequence[Measure]) -> list[str]:
    """A line for each model that has figures on the same rows: its measures with their intervals, tabs between."""
    locked = locked_stages(root)
    judged = [name for name in MODELS if saw_these_rows(locked, f"evaluate@{name}")]
    others = {name: Paths(root).quality(name) for name in judged if found["split"] == "test"}
    every = {"prompted": found} | {name: read_json(path) for name, path in others.items() if path.is_file()}
    same = {name: own for name, own in every.items() if own.get("rows") == found["rows"]}
    return ["\t".join([name, *(_shown(own, one) for one in measures)]) for name, own in same.items()]


def _shown(found: dict[str, Any], measure: Measure) -> str:
    ends = (value(found["intervals"][measure.name][end], measure.unit) for end in ("low", "high"))
    return f"{measure.title} {value(found[measure.name], measure.unit)} ({' to '.join(ends)})"
