"""The worth of each part of the recipe: the project's corpus and parameters, part by part, over several seeds.

Every variant is the graph of dvc.yaml with some parameters changed; each seed draws the rows anew too.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.experiments.checkout import Log, checkout, seeds_of, spread
from flows.gate.rules import rules_of
from flows.review.markdown import capital
from stages.core.params.distill import SAME_WIDTH_LOSSES
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


def variants(layers: Sequence[int], *, narrower: bool = False) -> tuple[Variant, ...]:
    """The rows of the table, from the plainest on; `layers`: the teacher's layers that the student starts from.

    With `narrower`, losses are left out that a student narrower than its teacher cannot have.
    """
    vectors = {"cache_logits.vectors": WITH_VECTORS, "cache_logits.layers": list(layers)}
    unpruned = {"prune.heads_kept": 1.0, "prune.feed_forward_kept": 1.0}
    every = (
        Variant("TF-IDF and logistic regression", "baseline"),
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
    left_out = {f"distill.losses.{name}" for name in SAME_WIDTH_LOSSES if narrower}
    return tuple(variant for variant in every if not left_out & variant.changes.keys())


@dataclass(frozen=True)
class Found:
    """The measurements: the judged measure by variant and seed; speed and size by variant, with the first seed."""

    seeds: tuple[int, ...]
    measure: Measure
    scores: Scores
    profile: Mapping[str, Mapping[str, float]]
    processor: str


def ablate(root: Path, seeds: int, log: Log) -> Found:
    """Reproduce every variant of the last commit, once for each of `seeds` seeds.

    The seeds are that of params.yaml and the next ones that no teacher has.
    Raises DvcError where a stage fails, BlockingIOError where a retraining or another ablation is under way, ValueError
    where the student is not made of the teacher's layers.
    """
    with checkout(root, log, name="ablation") as here:
        params = here.params
        if params.distill.family != "encoder":
            raise ValueError(
                f"params.yaml: distill.family is '{params.distill.family}'. Allowed for the ablation: encoder, as most"
                " of what it compares are losses on inner vectors and parts of layers."
            )
        measure = rules_of(params).measure
        table = variants(params.distill.teacher_layers, narrower=params.distill.hidden_size is not None)
        every = seeds_of(params, seeds)
        scores: dict[str, list[float]] = {variant.name: [] for variant in table}
        profile: dict[str, Mapping[str, Any]] = {}
        for turn, (seed, variant) in enumerate(((s, v) for s in every for v in table), start=1):
            log(f"[{turn}/{len(every) * len(table)}] seed {seed}: {variant.name}")
            drawn_anew = {"seed": seed, "data_seed": params.data_seed + seed - params.seed}
            here.reproduce({**variant.changes, **drawn_anew}, [f"evaluate@{variant.model}"])
            scores[variant.name].append(here.measured(f"quality/{variant.model}")[measure.name])
            if seed == every[0]:  # not DVC's stage, which times all models: of a variant the others are not made
                here.run("stages.profile", [variant.model])
                profile[variant.name] = here.measured(f"profile/{variant.model}")
    return Found(every, measure, scores, profile, str(next(iter(profile.values()))["processor"]))


def as_markdown(found: Found) -> str:
    """The page: the table, and what it says of distillation."""
    count, title, named = len(found.seeds), found.measure.title, capital(found.measure.title)
    lines = [
        "# What each part of the recipe is worth",
        "",
        f"The corpus and the parameters of params.yaml, with {count} seeds ({', '.join(map(str, found.seeds))}).",
        f"Each draws splits, heads and batches anew. {named} on the test rows: the mean over the seeds, and their",
        f"standard deviation; of teacher: the mean share of the {title} of the teacher with the same seed.",
        f"Speed and size: of the first seed, on {found.processor}. This page is made by `winnow ablation`.",
        "",
        f"| model | {title} | of teacher | p50 ms | rows/s | size MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, scores in found.scores.items():
        pairs = [(own, best) for own, best in zip(scores, found.scores[TEACHER], strict=True) if best > 0]
        share = statistics.mean(own / best for own, best in pairs) if pairs else math.nan
        speed = found.profile[name]
        cells = (
            name,
            f"{statistics.mean(scores):.1%}" + (f" ± {100 * spread(scores):.1f}" if count > 1 else ""),
            f"{share:.1%}",
            f"{speed['latency_p50_ms']:.2f}",
            f"{speed['throughput_rows_per_s']:,.0f}",
            f"{speed['size_mb']:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "## Against the labels alone", "", *_against_labels(found.scores, title), ""])


def _against_labels(scores: Scores, title: str) -> list[str]:
    """One line for each distilled student: its gain over the same student trained on labels alone, seed by seed."""
    alone = scores[LABELS_ALONE]
    lines = [f"The same student, seed by seed, in points of {title}:", ""]
    for variant in variants(()):
        if variant.model == "student" and variant.name in scores.keys() - {LABELS_ALONE}:
            gains = [100 * (own - other) for own, other in zip(scores[variant.name], alone, strict=True)]
            mean, of_seeds = statistics.mean(gains), spread(gains)
            verdict = f" ± {of_seeds:.1f}, {'more' if mean > of_seeds else 'no more'} than the spread of the seeds"
            lines.append(f"- {variant.name}: {mean:+.1f}{verdict if len(gains) > 1 else ', of one seed'}")
    return lines


def as_record(found: Found) -> dict[str, Any]:
    """The figures for JSON."""
    kept = ("latency_p50_ms", "throughput_rows_per_s", "size_mb")
    return {
        "seeds": list(found.seeds),
        "processor": found.processor,
        found.measure.name: {name: list(scores) for name, scores in found.scores.items()},
        "profile": {name: {key: values[key] for key in kept} for name, values in found.profile.items()},
    }
