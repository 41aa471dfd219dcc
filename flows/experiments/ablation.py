"""The worth of each part of the recipe: the project's corpus and parameters, part by part, over several seeds.

Every variant is the graph of dvc.yaml with some parameters changed; each seed draws the rows anew too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.experiments.checkout import Log, checkout, seeds_of, spread
from flows.gate.rules import rules_of
from flows.review.markdown import capital, value
from flows.review.metrics import of_teacher
from stages.core.lacks import LACKS
from stages.core.params.distill import HEAD_LOSSES, SAME_WIDTH_LOSSES
from stages.core.params.file import Params
from stages.tasks.contract import Measure

LABELS_ALONE = "student, labels alone"
TEACHER = "teacher"
WITH_VECTORS = ["embeddings", "hidden", "queries", "keys", "values"]

Scores = Mapping[str, Sequence[float]]  # of each variant, a number a seed


@dataclass(frozen=True)
class Variant:
    """A row of the table: the model `model` of the graph, made with these parameters."""

    name: str
    model: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def _losses(**weights: float) -> dict[str, Any]:
    return {f"distill.losses.{name}": weight for name, weight in weights.items()}


def variants(params: Params) -> tuple[Variant, ...]:
    """The rows of the table for a project with these parameters, from the plainest on.

    Left out is what the student's family has not, and what would come to the same as params.yaml: losses on vectors
    inside a recurrent student, and inside models that write, of which an answer is a token; ranges of activations of
    both, which int8 always takes as they come; and pruning alone where params.yaml prunes nothing.
    """
    layers = list(params.distill.teacher_layers)  # the teacher's, that the student starts from
    vectors = {"cache_logits.vectors": WITH_VECTORS, "cache_logits.layers": layers}
    unpruned = {"prune.heads_kept": 1.0, "prune.feed_forward_kept": 1.0}
    every = (
        Variant("baseline", "baseline"),
        Variant("static embeddings", "static"),
        Variant("probe of the pretrained encoder", "probe"),
        Variant(TEACHER, "teacher"),
        Variant(LABELS_ALONE, "student", _losses(logits=0.0, labels=1.0)),
        Variant("student, logits alone", "student", _losses(logits=1.0, labels=0.0)),
        Variant("student, logits and labels (params.yaml)", "student"),
        Variant("the same and hidden vectors", "student", vectors | _losses(hidden=1.0)),
        Variant("the same and embeddings", "student", vectors | _losses(embeddings=1.0)),
        Variant("the same and relations", "student", vectors | _losses(attention_relations=1.0, value_relations=1.0)),
        Variant("pruned, vocabulary alone", "pruned", unpruned),
        Variant("pruned (params.yaml)", "pruned"),
        Variant("int8, dynamic", "quantized", {"quantize.activations": "dynamic"}),
        Variant("int8 (params.yaml)", "quantized"),
    )
    left_out = _left_out(params)
    return tuple(variant for variant in every if not left_out & variant.changes.keys())


def _left_out(params: Params) -> set[str]:
    """The parameters that no variant of this project changes."""
    lacks = LACKS[params.distill.family]
    inner = {f"distill.losses.{name}" for name in type(params.distill.losses).model_fields if name not in HEAD_LOSSES}
    found: set[str] = set()
    if "vectors" in lacks or "writing" not in lacks:
        found |= inner
    if params.distill.hidden_size is not None:
        found |= {f"distill.losses.{name}" for name in SAME_WIDTH_LOSSES}
    if "units" in lacks or params.prune.heads_kept == params.prune.feed_forward_kept == 1.0:
        found.add("prune.heads_kept")
    if "units" in lacks or "writing" not in lacks:  # an LSTM's are always dynamic, and those of models that write
        found.add("quantize.activations")
    return found


@dataclass(frozen=True)
class Found:
    """The measurements: the judged measure by variant and seed; speed and size by variant, with the first seed.

    Variants of models that the task has not are in none of them. `students`: those that are a student as distilled.
    """

    seeds: tuple[int, ...]
    measure: Measure
    scores: Scores
    students: tuple[str, ...]
    profile: Mapping[str, Mapping[str, float]]
    processor: str


def ablate(root: Path, seeds: int, log: Log) -> Found:
    """Reproduce every variant of the last commit, once for each of `seeds` seeds.

    The seeds are that of params.yaml and the next ones that no teacher has.
    Raises DvcError where a stage fails, BlockingIOError where a retraining or another ablation is under way.
    """
    with checkout(root, log, name="ablation") as here:
        params = here.params
        measure = rules_of(params).measure
        table = variants(params)
        every = seeds_of(params, seeds)
        if "writing" not in LACKS[params.distill.family]:  # all that write are timed as this one does
            log(f"seed {every[0]}: the int8 model, which says how texts are written")
            here.reproduce({"seed": every[0]}, ["quantize"])
        scores: dict[str, list[float]] = {}
        profile: dict[str, Mapping[str, Any]] = {}
        for turn, (seed, variant) in enumerate(((s, v) for s in every for v in table), start=1):
            log(f"[{turn}/{len(every) * len(table)}] seed {seed}: {variant.name}")
            drawn_anew = {"seed": seed, "data_seed": params.data_seed + seed - params.seed}
            here.reproduce({**variant.changes, **drawn_anew}, [f"evaluate@{variant.model}"])
            quality = here.measured(f"quality/{variant.model}")
            if "left_out" in quality:
                continue
            scores.setdefault(variant.name, []).append(quality[measure.name])
            if seed == every[0]:  # not DVC's stage, which times all models: of a variant the others are not made
                here.run("stages.profile", [variant.model])
                profile[variant.name] = here.measured(f"profile/{variant.model}")
    students = tuple(variant.name for variant in table if variant.model == "student")
    return Found(every, measure, scores, students, profile, str(next(iter(profile.values()))["processor"]))


def as_markdown(found: Found) -> str:
    """The page: the table, and what it says of distillation."""
    count, measure, named = len(found.seeds), found.measure, capital(found.measure.title)
    lines = [
        "# What each part of the recipe is worth",
        "",
        f"The corpus and the parameters of params.yaml, with {count} seeds ({', '.join(map(str, found.seeds))}).",
        f"Each draws splits, heads and batches anew. {named} on the test rows ({measure.better} is better): the mean,",
        "and the standard deviation over the seeds. Of teacher: the mean share of what that of the same seed has.",
        f"Speed and size: of the first seed, on {found.processor}. This page is made by `winnow ablation`.",
        "",
        f"| model | {measure.title} | of teacher | p50 ms | rows/s | size MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, scores in found.scores.items():
        pairs = zip(scores, found.scores[TEACHER], strict=True)
        shares = [of for own, best in pairs if (of := of_teacher(measure, own, best)) is not None]
        speed = found.profile[name]
        cells = (
            name,
            value(statistics.mean(scores), measure.unit)
            + (f" ± {_digits(spread(scores), measure)}" if count > 1 else ""),
            f"{statistics.mean(shares):.1%}" if shares else "-",
            f"{speed['latency_p50_ms']:.2f}",
            f"{speed['throughput_rows_per_s']:,.0f}",
            f"{speed['size_mb']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "## Against the labels alone", "", *_against_labels(found), ""])


def _against_labels(found: Found) -> list[str]:
    """One line for each distilled student: its gain over the same student trained on labels alone, seed by seed."""
    measure, alone = found.measure, found.scores[LABELS_ALONE]
    kind = "points of " if measure.unit == "share" else ""
    upward = 1 if measure.better == "higher" else -1
    lines = [f"What the same student gains, seed by seed, in {kind}{measure.title}:", ""]
    for name in (name for name in found.students if name != LABELS_ALONE):
        gains = [upward * (own - other) for own, other in zip(found.scores[name], alone, strict=True)]
        mean, of_seeds = statistics.mean(gains), spread(gains)
        told = f" ± {_digits(of_seeds, measure)}, {_verdict(mean, of_seeds)} than the spread of the seeds"
        lines.append(f"- {name}: {_digits(mean, measure, signed=True)}{told if len(gains) > 1 else ', of one seed'}")
    return lines


def _verdict(gain: float, of_seeds: float) -> str:
    if gain < -of_seeds:
        return "a loss of more"
    return "more" if gain > of_seeds else "no more"


def _digits(number: float, measure: Measure, *, signed: bool = False) -> str:
    """A difference of the measure without its unit, of shares in points."""
    sign = "+" if signed else ""
    return f"{100 * number:{sign}.1f}" if measure.unit == "share" else f"{number:{sign}.3f}"


def as_record(found: Found) -> dict[str, Any]:
    """The figures for JSON."""
    kept = ("latency_p50_ms", "throughput_rows_per_s", "size_mb")
    return {
        "seeds": list(found.seeds),
        "processor": found.processor,
        found.measure.name: {name: list(scores) for name, scores in found.scores.items()},
        "profile": {name: {key: values[key] for key in kept} for name, values in found.profile.items()},
    }
