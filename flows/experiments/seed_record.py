"""metrics/seeds.json, written by `winnow seeds`: each model's figures over several seeds, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc.freshness import is_code, upstream
from flows.dvc.locked import locked_stages
from stages.core.paths import Paths

ROWS = ("artifacts/data/clean.parquet", "artifacts/data/tokens", "artifacts/data/tokenizer")
QUALITY = "metrics/quality/"
SMALLEST = "quantized"
COMMAND = "`winnow seeds`"


@dataclass(frozen=True)
class Seeds:
    """The record, and whether it belongs to the parameters, rows and code of this project's own figures."""

    content: Mapping[str, Any]
    current: bool

    @property
    def count(self) -> int:
        return len(self.content["seeds"])

    def notes(self) -> tuple[str, ...]:
        """Notes to show beside the figures: the number of seeds, and the quality on the rows set aside."""
        aside = self.content.get("held_out") if self.current else None
        return (self._of_seeds(), *((_on_rows_set_aside(aside),) if aside else ()))

    def _of_seeds(self) -> str:
        """A sentence on the seeds behind the figures shown, or on why the record is not shown."""
        if not self.current:
            return (
                f"Of one seed. metrics/seeds.json is of other parameters, rows or code (commit"
                f" {self.content['commit'][:7]}, {self.content['date']}), so nothing of it is shown; {COMMAND} makes it"
                " again."
            )
        seeds = ", ".join(map(str, self.content["seeds"]))
        return (
            f"Accuracy and macro-F1 are the mean ± standard deviation over {self.count} seeds of training ({seeds}), on"
            f" the same {self.content['rows']:,} test rows. The interval is that of the macro-F1 of one run, of seed"
            f" {self.content['seeds'][0]}."
        )


def _on_rows_set_aside(aside: Mapping[str, Any]) -> str:
    """A sentence on the quantized model on the rows set aside, beside the test rows of the same labels."""
    unseen, like_them = aside["held_out"], aside["test_rows_of_these_labels"]
    of = unseen["models"][SMALLEST]
    apart = of["against_teacher"]
    compared = (
        f", and of the {like_them['rows']:,} test rows with these labels"
        f" {like_them['models'][SMALLEST]['accuracy']['mean']:.1%}"
        if like_them
        else ""
    )
    return (
        f"Of {unseen['rows']:,} rows set aside, which no choice has seen ({len(aside['labels'])} of the labels), the"
        f" {SMALLEST} model has {of['accuracy']['mean']:.1%} right (one run: {of['one_run']['low']:.1%} to"
        f" {of['one_run']['high']:.1%}){compared}; its difference from the teacher there is"
        f" {100 * apart['mean']:+.1f} points of accuracy ({100 * apart['low']:+.1f} to {100 * apart['high']:+.1f})."
    )


def read(root: Path) -> Seeds | None:
    """The record of the project at `root`; None where there is none. Raises ValueError where it is no JSON."""
    path = Paths(root).seeds
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}. Make it again: {COMMAND}.") from None
    return Seeds(content, content["of"] == fingerprint(root))


def fingerprint(root: Path) -> str:
    """Fingerprint of the inputs of the figures in metrics/quality, according to dvc.lock at `root`.

    It is a hash of the rows and the tokens, and of the parameters and the code of all stages that make models of them
    and measure these. The models' own bytes are left out, as they differ from machine to machine.
    """
    return hashlib.sha256(json.dumps(dict(_made_of(root)), sort_keys=True).encode()).hexdigest()


def _made_of(root: Path) -> Iterator[tuple[str, Any]]:
    for name, stage in upstream(locked_stages(root), (QUALITY,)).items():
        if not any(out["path"].startswith("artifacts/data/") for out in stage.get("outs") or []):
            deps = [dep for dep in stage.get("deps") or [] if is_code(dep["path"]) or dep["path"] in ROWS]
            yield name, {"deps": {dep["path"]: dep.get("md5") for dep in deps}, "params": stage.get("params") or {}}
