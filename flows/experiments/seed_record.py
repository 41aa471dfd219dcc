"""metrics/seeds.json, written by `winnow seeds`: each model's figures over several seeds, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.dvc.freshness import is_code
from flows.dvc.locked import locked_stages, upstream
from flows.review import earlier
from flows.review.markdown import between, capital, value
from stages.core.paths import Paths

if TYPE_CHECKING:
    from flows.review.shown_measures import Shown

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

    def notes(self, measures: Sequence[Shown], kinds: str) -> tuple[str, ...]:
        """Notes to show beside the measures: the number of seeds, and the quality on the rows set aside.

        The last of the measures is the one that is judged; `kinds`: what the classes are called, labels.
        """
        aside = self.content.get("held_out") if self.current else None
        return (self._of_seeds(measures), *((_on_rows_set_aside(aside, measures, kinds),) if aside else ()))

    def _of_seeds(self, measures: Sequence[Shown]) -> str:
        """A sentence on the seeds behind the figures shown, or on why the record is not shown."""
        if not self.current:
            return (
                f"Of one seed. metrics/seeds.json is of other parameters, rows or code (commit"
                f" {self.content['commit'][:7]}, {self.content['date']}), so nothing of it is shown; {COMMAND} makes it"
                " again."
            )
        seeds = ", ".join(map(str, self.content["seeds"]))
        *others, judged = (one.title for one in measures)
        named = f"{', '.join(others)} and {judged} are" if others else f"{judged} is"
        return (
            f"{capital(named)} the mean ± standard deviation over {self.count} seeds of training ({seeds}), on"
            f" the same {self.content['rows']:,} test rows. The interval is that of the {judged} of one run, of seed"
            f" {self.content['seeds'][0]}."
        )


def _on_rows_set_aside(aside: Mapping[str, Any], measures: Sequence[Shown], kinds: str) -> str:
    """A sentence on the quantized model on the rows set aside, beside the test rows of the same classes."""
    unseen, like_them = aside["held_out"], aside["test_rows_of_these_classes"]
    measure = next((one for one in measures if one.binary), measures[-1])
    own = unseen["models"][SMALLEST]
    of, apart = own[measure.name], own["against_teacher"][measure.name]
    ends = of["one_run"]
    difference = value(apart["mean"], measure.unit, signed=True)
    found, low, high = (value(known, measure.unit) for known in (of["mean"], ends["low"], ends["high"]))
    compared = (
        f", and of the {like_them['rows']:,} test rows with these {kinds}"
        f" {value(like_them['models'][SMALLEST][measure.name]['mean'], measure.unit)}"
        if like_them
        else ""
    )
    return (
        f"Of {unseen['rows']:,} rows set aside, which no choice has seen ({len(aside['classes'])} of the {kinds}), the"
        f" {SMALLEST} model has {f'{found} right' if measure.binary else f'{measure.title} {found}'} (one run:"
        f" {low} to {high}){compared}; its difference from the teacher there is {difference} of {measure.title}"
        f" (between {between(apart['low'], apart['high'], measure.unit)})."
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
    return Seeds(earlier.seeds(content), content["of"] == fingerprint(root))


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
