"""The changes between two revisions, gathered from git and from DVC's cache; nothing is computed twice.

The base is a commit; the other side is the working tree. Missing evidence becomes a note of the review, and never ends
it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flows.dvc.command import DvcError
from flows.gate.anchor import Answers, anchor_of
from flows.gate.promotion import decide
from flows.gate.rules import Rules, rules_of
from flows.releases.model import model_of
from flows.review import changes
from flows.review.curves import curves, trained, trained_otherwise
from flows.review.evidence import (
    KINDS,
    Anchor,
    Decision,
    Flip,
    MetricChange,
    ModelView,
    Paired,
    PartChange,
    Results,
    Review,
)
from flows.review.history import history
from flows.review.marks import marked
from flows.review.model_results import clean_texts, confusion, on_common_rows, reliability, results, tables
from flows.review.parts import parts
from flows.review.revisions import base_of, behind, default_base, head_of
from flows.review.row_images import Rows, images_of
from flows.review.side import Side
from flows.review.task import judged_first
from flows.review.unrun import Unrun, unrun
from flows.running import git
from stages.core.params.file import Params, load_params
from stages.core.paths import MODELS, Paths
from stages.measures.counted import codes
from stages.measures.paired import turned
from stages.tasks.contract import TaskMeasures


def gather(
    root: Path,
    base: str | None = None,
    *,
    released: Callable[[Results], Results | None] | None = None,
    again: Answers | None = None,
) -> Review:
    """The review of the working tree at `root` against `base` (see `default_base`).

    The gate compares with the base's model, or with the result of `released`, which is called with the candidate's
    results. The anchor's answers are those of its release, or, with `again`, the result of that function. Raises
    ValueError for a revision that git does not know, and for parameters that are wrong.
    """
    params = load_params(root / "params.yaml")
    rules = rules_of(params)
    name, candidate = base or default_base(root), params.promotion.model
    before, after = Side(root, git.commit_of(root, name, short=True)), Side(root, None)
    notes = list(behind(root, name))
    stale, not_told = _unrun(root)
    models = _models(before, after, stale, candidate, notes)
    texts, clean = clean_texts(after) if models.pairs else {}, Paths(root).clean
    rows = Rows(texts, images_of(after, texts))
    same_data = before.hash_of(clean) == after.hash_of(clean)
    found = Review(
        base=base_of(root, name, str(before.commit), asked=base is not None),
        head=head_of(root),
        params=tuple(changes.params(before.yaml(root / "params.yaml"), after.yaml(root / "params.yaml"))),
        metrics=tuple(_metrics(models, rules, params, notes, same_data=same_data)),
        stages=tuple(changes.stages(before.lock, after.lock)),
        paired=tuple(models.paired(rules, params)),
        flips=tuple(flip for model, pair in models.pairs.items() for flip in _flips(model, *pair, rows, rules.task)),
        decision=_decision(
            released or (lambda _: models.old[candidate] if _is_measured(models.old[candidate]) else None),
            models.new[candidate],
            rules,
            lambda old: _anchor(root, models.new[candidate], params, _knowing(again, root, name, old), notes),
            notes,
            not_run=bool(models.not_run[candidate]),
        ),
        candidate=candidate,
        folder=git.prefix(root).removesuffix("/"),
        measures=judged_first(rules.task, rules.measure.name),
        score_title=rules.task.score_title,
        kind=rules.task.kind,
        before=(),
        after=(),
        curves=curves(after, trained(after, stale)),
        curves_before=curves(before, trained_otherwise(before, after, stale)) if models.same_task(candidate) else {},
        history=history(root, candidate),
        same_data=same_data,
        confidence=params.evaluate.confidence,
        head_params=after.text(root / "params.yaml") or "",
        data=_data(after),
        data_before=_data(before),
        not_run=stale.stages,
        not_told=not_told,
        not_run_models=frozenset(model for model, outdated in models.not_run.items() if outdated),
        only_costs_not_run=frozenset(model for model, outdated in models.not_run.items() if outdated == {"cost"}),
    )
    return dataclasses.replace(
        found,
        before=tuple(_view(before, model, models.old[model], models.common(model, found.apart), 0) for model in MODELS),
        after=tuple(_view(after, model, models.new[model], models.common(model, found.apart), 1) for model in MODELS),
        parts=tuple(_parts(models, found, rules, params)),
        notes=tuple(dict.fromkeys((*([not_told] if not_told else []), *before.notes, *after.notes, *notes))),
    )


@dataclasses.dataclass(frozen=True)
class _Models:
    """Every model's results before and after, and, for those that have some, on the rows of both."""

    old: Mapping[str, Results]
    new: Mapping[str, Results]
    not_run: Mapping[str, frozenset[str]]
    """Model -> the outdated parts of its figures: "quality", "cost"."""
    pairs: Mapping[str, tuple[Results, Results]]

    def common(self, model: str, apart: frozenset[str]) -> tuple[Results, Results] | None:
        """A model's results on the rows of both sides; None where there are none, or they cannot be compared."""
        return None if model in apart else self.pairs.get(model)

    def paired(self, rules: Rules, params: Params) -> Iterator[Paired]:
        """Each model on the rows of both sides, with how many rows each side has."""
        for model, pair in self.pairs.items():
            old, new = self.old[model], self.new[model]
            found = dataclasses.replace(
                _paired(model, *pair), rows_before=len(old.row_ids), rows_after=len(new.row_ids)
            )
            is_judged = model == params.promotion.model and found.has_other_rows
            if is_judged and not changes.apart(old, new, rules.task, same_data=True):
                judged = changes.judged_on_both(model, *pair, rules, params.evaluate)
                found = dataclasses.replace(found, judged=judged)
            yield found

    def same_task(self, model: str) -> bool:
        return self.old[model].task == self.new[model].task


def _models(before: Side, after: Side, stale: Unrun, candidate: str, notes: list[str]) -> _Models:
    names = sorted(MODELS, key=lambda model: model != candidate)  # what a remote has is asked of it first
    not_run = {model: _not_run(stale, Paths(after.root), model) for model in names}
    old = {model: results(before, model) for model in names}
    new = {model: results(after, model, not_run=not_run[model]) for model in names}
    pairs = {model: pair for model in MODELS if (pair := on_common_rows(model, old[model], new[model], notes))}
    return _Models(old, new, not_run, pairs)


def _metrics(
    models: _Models, rules: Rules, params: Params, notes: list[str], *, same_data: bool
) -> Iterator[MetricChange]:
    for model in MODELS:
        yield from changes.metrics(
            model,
            models.old[model],
            models.new[model],
            rules,
            params.evaluate,
            notes,
            same_data=same_data,
            not_run=models.not_run[model],
        )


def _parts(models: _Models, found: Review, rules: Rules, params: Params) -> Iterator[PartChange]:
    """The changes of the candidate by class and by slice, where both sides have such rows and the same classes."""
    if found.candidate in models.pairs and found.candidate not in found.apart:
        yield from parts(found.candidate, *models.pairs[found.candidate], rules.task, params.evaluate)


def _unrun(root: Path) -> tuple[Unrun, str]:
    """The stages that would run, and, where that cannot be determined, the reason."""
    try:
        return unrun(root), ""
    except (DvcError, ValueError, OSError) as error:
        return Unrun((), {}), f"Whether dvc.lock is of this code and these parameters cannot be told: {error}"


def _not_run(stale: Unrun, paths: Paths, model: str) -> frozenset[str]:
    """The outdated parts of a model's figures: "quality", "cost"."""
    files = {"quality": (paths.quality(model), paths.predictions(model)), "cost": (paths.profile(model),)}
    return frozenset(
        part for part, own in files.items() if any(stale.of(path.relative_to(paths.root).as_posix()) for path in own)
    )


def _data(side: Side) -> dict[str, Any]:
    """The data report; empty where a side has none, as in versions before it existed."""
    path = Paths(side.root).data_report
    return side.json(path) if side.text(path) is not None else {}


def _paired(model: str, old: Results, new: Results) -> Paired:
    return Paired(model, len(new.row_ids), *turned(old.scores_N, new.scores_N, codes(new.units)))


def _flips(model: str, old: Results, new: Results, rows: Rows, task: TaskMeasures) -> Iterator[Flip]:
    """The rows whose answer differs, those that got worse first."""
    changed = np.flatnonzero(old.answers != new.answers)
    sure = [side.confidence_N for side in (old, new)]
    flips = [
        Flip(
            model,
            row_id=str(new.row_ids[i]),
            text=rows.of(str(new.row_ids[i]))[0],
            truth=str(new.truths[i]),
            before=str(old.answers[i]),
            after=str(new.answers[i]),
            score_before=float(old.scores_N[i]),
            score_after=float(new.scores_N[i]),
            sure_before=None if sure[0] is None else float(sure[0][i]),
            sure_after=None if sure[1] is None else float(sure[1][i]),
            marked=marked(task.marks, str(new.truths[i]), str(old.answers[i]), str(new.answers[i])),
            written=task.alike is not None,
            image=rows.of(str(new.row_ids[i]))[1],
        )
        for i in changed
    ]
    yield from sorted(flips, key=lambda flip: KINDS.index(flip.kind))


def _decision(
    released: Callable[[Results], Results | None],
    new: Results,
    rules: Rules,
    anchor: Callable[[Results | None], Anchor | None],
    notes: list[str],
    *,
    not_run: bool,
) -> Decision | None:
    if not_run:
        return None
    if not len(new.row_ids):
        notes.append(f"No verdict: there are no predictions of {rules.limits.model} to judge.")
        return None
    try:
        old = released(new)
    except ValueError as error:  # anything else, as of a network, may pass: the next run judges
        reason = f"the released model cannot answer these rows: {error}"
        return decide(new, reason, rules, anchor(None))
    if old is not None and not _is_measured(old):  # a release of which nothing is known is not treated as none
        return decide(new, "the released model has neither answers nor metrics to compare with.", rules, anchor(None))
    return decide(new, old, rules, anchor(old))


def _is_measured(found: Results) -> bool:
    """Whether there is something to compare with: predictions, or at least what was measured of them."""
    return bool(len(found.row_ids) or found.quality)


def _knowing(again: Answers | None, root: Path, base: str, old: Results | None) -> Answers | None:
    """The same function, which returns results that the base already has without asking again."""
    if again is None or old is None:
        return again
    commit = git.commit_of(root, base)
    return lambda revision: (lambda _: old) if revision == commit else again(revision)


def _anchor(root: Path, new: Results, params: Params, again: Answers | None, notes: list[str]) -> Anchor | None:
    if params.promotion.anchor is None:
        return None

    def as_released(revision: str) -> Callable[[Results], Results]:
        def of_then(_: Results) -> Results:
            side = Side(root, git.commit_of(root, revision, short=True))
            found = results(side, model_of(side.yaml(root / "params.yaml"), revision))
            notes.extend(side.notes)
            return found

        return of_then

    return anchor_of(root, params.promotion.anchor, new, [again, as_released] if again else [as_released], notes)


def _view(side: Side, model: str, results: Results, common: tuple[Results, Results] | None, number: int) -> ModelView:
    """The data for the charts of a model on side `number`, 0 or 1; its confusions of the rows of both, if there are."""
    found = tables(side, model) if len(results.row_ids) else {}
    confusions = confusion(found)
    if confusions and common:
        counts = Counter(zip(common[number].truths.tolist(), common[number].answers.tolist(), strict=True))
        confusions = [(*pair, rows) for pair, rows in sorted(counts.items())]
    return ModelView(model, results.quality, results.profile, confusion=confusions, reliability=reliability(found))
