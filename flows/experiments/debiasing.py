"""What each way to mend unequal treatment gains, and what it costs: the graph run again with each, over several seeds.

debias.method: none --------.
               counterfactual+--> tokenize, train, compress --> the same test rows --> gaps, quality
               reweighing ... '                              (seed, and the next ones)
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from scipy.stats import t

from flows.experiments.checkout import Log, checkout, seeds_of, spread
from flows.gate.rules import rules_of
from flows.review.evidence import mapping
from flows.review.markdown import capital, table, value
from stages.core.params.debias import ALONE, DebiasParams, Method, faults_of_debias
from stages.core.params.file import Params
from stages.core.plugins import part
from stages.tasks import TASKS
from stages.tasks.contract import Measure, TaskEncoding

NONE = "none"
MODELS = ("teacher", "quantized")


class Gap(NamedTuple):
    """A figure of metrics/quality that says how unequal the treatment is, and where its interval stands."""

    title: str
    path: tuple[str, ...]
    key: str
    ends: tuple[str, ...]


GAPS = (
    Gap("answers that a swap changes", ("identity_swaps",), "flip_rate", ("identity_swaps",)),
    Gap("sentences that a swap changes", ("templates",), "flip_rate", ("templates",)),
    Gap("gap between groups", ("groups",), "score_gap", ("groups", "intervals", "score_gap")),
    Gap("worst group", ("groups", "worst_group"), "score", ("groups", "worst_group")),
    Gap("gap in errors", ("groups",), "odds_gap", ("groups", "intervals", "odds_gap")),
)


@dataclass(frozen=True)
class Found:
    """The measurements: of each method, seed by seed, metrics/quality of each of MODELS."""

    seeds: tuple[int, ...]
    measure: Measure
    confidence: float
    quality: Mapping[str, Sequence[Mapping[str, Mapping[str, Any]]]]


def methods_of(params: Params) -> list[str]:
    """The methods that go with the project, the first `none`; without a column for groups those that need none."""
    encoding: TaskEncoding = part(TASKS, params.task.name, "encoding", key="task.name")
    grouped = params.debias.group_column is not None
    every = [name for name in get_args(Method) if grouped or name in ALONE]
    return [name for name in every if _goes(params, name, encoding)]


def _goes(params: Params, method: str, encoding: TaskEncoding) -> bool:
    try:
        changed = DebiasParams.model_validate({**params.debias.model_dump(), "method": method})
    except ValueError:  # such as words to swap, of which there are none
        return False
    return not list(faults_of_debias(params.model_copy(update={"debias": changed}), encoding))


def compare(root: Path, seeds: int, log: Log) -> Found:
    """Reproduce the last commit with each method, once for each of `seeds` seeds, on the same rows.

    The seeds are that of params.yaml and the next ones that no teacher has. Raises DvcError where a stage fails,
    BlockingIOError where a retraining or another measurement is under way, ValueError where no method goes with the
    project.
    """
    with checkout(root, log, name="debias") as here:
        methods, every = methods_of(here.params), seeds_of(here.params, seeds)
        if len(methods) == 1:
            raise ValueError(
                f"params.yaml: no method of debias goes with task '{here.params.task.name}' and debias.group_column"
                f" '{here.params.debias.group_column}'. Name a column; docs/bias.md says what each needs."
            )
        for method in methods:  # what cannot be made of the rows is told before the first training
            here.reproduce({"debias.method": method, "seed": every[0]}, ["tokenize"])
        quality: dict[str, list[Mapping[str, Mapping[str, Any]]]] = {method: [] for method in methods}
        for turn, (seed, method) in enumerate(((s, m) for s in every for m in methods), start=1):
            log(f"[{turn}/{len(every) * len(methods)}] seed {seed}: {method}")
            here.reproduce({"debias.method": method, "seed": seed}, [f"evaluate@{model}" for model in MODELS])
            quality[method].append({model: here.measured(f"quality/{model}") for model in MODELS})
        return Found(every, rules_of(here.params).measure, here.params.evaluate.confidence, quality)


def as_markdown(found: Found) -> str:
    """The page: a table for each model."""
    count, title = len(found.seeds), found.measure.title
    lines = [
        "# What each way to mend unequal treatment gains and costs",
        "",
        f"The corpus and the parameters of params.yaml, with {count} seed{'s' if count > 1 else ''} of training"
        f" ({', '.join(map(str, found.seeds))}),",
        "on the same test rows. A figure is the mean over the seeds; in brackets stand the ends of its interval by the",
        "rows, likewise. A change is that from `none` with the same seed, of shares in points,"
        f" {'with its interval by the seeds' if count > 1 else 'of one seed, so that chance is not told apart'}.",
        "This page is made by `winnow debias`.",
    ]
    for model in MODELS:
        gaps = [gap for gap in GAPS if any(_known(found, model, method, gap) for method in found.quality)]
        rows = [_row(found, model, method, gaps) for method in found.quality]
        heads = ("method", capital(title), f"change in {title}", *(head for gap in gaps for head in _heads(gap)))
        lines += ["", f"## {capital(model)}", "", table(heads, rows)]
    return "\n".join([*lines, ""])


def _heads(gap: Gap) -> Iterator[str]:
    yield gap.title
    yield "change"


def _known(found: Found, model: str, method: str, gap: Gap) -> list[float]:
    """The figure of each seed; empty where there is none."""
    values = [mapping(one[model], "fairness", *gap.path).get(gap.key) for one in found.quality[method]]
    return [value for value in values if value is not None] if None not in values else []


def _row(found: Found, model: str, method: str, gaps: Sequence[Gap]) -> tuple[str, ...]:
    name, unit = found.measure.name, found.measure.unit
    scores = {of: [one[model][name] for one in found.quality[of]] for of in (method, NONE)}
    cells = [value(statistics.mean(scores[method]), unit), _change(found, scores[method], scores[NONE], method, unit)]
    for gap in gaps:
        own, plain = (_known(found, model, of, gap) for of in (method, NONE))
        cells += [_figure(found, model, method, gap, own), _change(found, own, plain, method, "share")]
    return (method, *cells)


def _figure(found: Found, model: str, method: str, gap: Gap, values: Sequence[float]) -> str:
    if not values:
        return "-"
    ends = [mapping(one[model], "fairness", *gap.ends) for one in found.quality[method]]
    low, high = (statistics.mean(one[end] for one in ends) for end in ("low", "high"))
    return f"{value(statistics.mean(values), 'share')} ({value(low, 'share')} to {value(high, 'share')})"


def _change(found: Found, own: Sequence[float], plain: Sequence[float], method: str, unit: str) -> str:
    """The mean change, of shares in points, and the reach of Student's interval by the seeds."""
    if method == NONE or not own or not plain:
        return "-"
    scale, form = (100, ".1f") if unit == "share" else (1, ".3f")
    changes = [scale * (one - other) for one, other in zip(own, plain, strict=True)]
    mean, count = statistics.mean(changes), len(changes)
    if count == 1:
        return f"{mean:+{form}}"
    reach = float(t.ppf((1 + found.confidence) / 2, count - 1)) * spread(changes) / count**0.5
    return f"{mean:+{form}} ± {reach:{form}}"


def as_record(found: Found) -> dict[str, Any]:
    """The figures for JSON: of each method and model, seed by seed, the measure and `fairness`."""
    kept = (found.measure.name, "fairness")
    return {
        "seeds": list(found.seeds),
        "methods": {
            method: [{model: {key: one[model].get(key) for key in kept} for model in MODELS} for one in runs]
            for method, runs in found.quality.items()
        },
    }
