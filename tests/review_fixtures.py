"""A review with made-up but likely numbers, for the tests of what shows it."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from flows.gate.rules import Rules
from flows.review.evidence import (
    Check,
    Decision,
    Flip,
    MetricChange,
    ModelView,
    Paired,
    ParamChange,
    PartChange,
    Recorded,
    Results,
    Review,
    Revision,
    StageChange,
)
from flows.review.marks import marked
from flows.review.task import task_measures
from stages.core.params.promotion import PromotionParams

MEASURES = task_measures("text_classification")
Spans = Sequence[tuple[int, int, str]]
MODELS = ("baseline", "teacher", "student", "quantized")
LIBRARIES = (
    "aiohttp", "altair", "apprise", "asyncssh", "celery", "daft", "datasets", "deepspeed", "dulwich", "fsspec", "git",
    "great_expectations", "griffe", "huggingface_hub", "jinja2", "kombu", "networkx", "numpy", "onnxruntime", "pandas",
    "prefect", "pydantic", "pygments", "redis", "rich", "scipy", "sentence_transformers", "sklearn", "sqlalchemy",
    "sympy", "torch", "transformers",
)  # fmt: skip
SCORES = {"baseline": 0.508, "teacher": 0.583, "student": 0.561, "quantized": 0.557}
COSTS = {  # p50 ms, size MB, rows a second, memory MB, start-up ms
    "baseline": (2.88, 8.78, 8003.5, 289.8, 610.0),
    "teacher": (11.4, 90.9, 141.0, 1190.2, 2380.0),
    "student": (4.61, 62.3, 388.0, 940.7, 1920.0),
    "quantized": (1.37, 16.2, 1460.0, 402.4, 350.0),
}
TITLES = {one.name: one.title for one in MEASURES.measures} | {one.key: one.title for one in MEASURES.figures}
HOSTILE = (
    "</script><script>window.__pwned = 1</script>",
    '<img src=x onerror="window.__pwned = 2">',
    "Tom & \"Jerry\" 'quote' \u2028 <!-- <script> \u202egnp.exe",
    "{{ 7 * 7 }} ]]> &lt;b&gt; javascript:window.__pwned=3",
)
TEXTS = (
    "Return the elements of the array that satisfy a condition, flattened into one dimension.",
    "Open a session that keeps cookies and connections between requests, until it is closed.",
    "Compute the gradient of the current tensor with respect to the leaves of its graph.",
    "Render a table with rounded borders into the console, as wide as its longest cell.",
    "Yield batches of rows as record batches, without copying where the memory allows it.",
)


def answered(
    truths: Sequence[str] | np.ndarray,
    answers: Sequence[str] | np.ndarray,
    row_ids: Sequence[Any] | np.ndarray | None = None,
    **more: Any,
) -> Results:
    """A classifier's answers to rows that are independent; without ids, numbered from 0."""
    ids = np.array([str(i) for i in range(len(truths))]) if row_ids is None else np.asarray(row_ids)
    more = {"units": ids, "scores_N": MEASURES.scores(list(truths), list(answers))} | more
    return Results(row_ids=ids, truths=np.asarray(truths), answers=np.asarray(answers), **more)


def rules(limits: PromotionParams, measure: str = "accuracy") -> Rules:
    """Of a classifier."""
    return Rules(limits, MEASURES, MEASURES.measure(measure))


def label_names(count: int) -> tuple[str, ...]:
    return LIBRARIES[:count] if count <= len(LIBRARIES) else tuple(f"intent_{i:02}_of_{count}" for i in range(count))


def confusion(labels: Sequence[str], accuracy: float, seed: int) -> list[tuple[str, str, int]]:
    """Pairs that occur, of 45 rows a label or so; neighbours in the list are taken for each other most."""
    draw = random.Random(seed)
    found = []
    for i, actual in enumerate(labels):
        rows, right = draw.randint(33, 52), accuracy + draw.uniform(-0.2, 0.2)
        wrong = rows - round(rows * min(max(right, 0.1), 0.97))
        found.append((actual, actual, rows - wrong))
        taken: dict[str, int] = {}
        for _ in range(wrong):
            near = (i + (1 if draw.random() < 0.5 else draw.randint(1, len(labels) - 1))) % len(labels)
            taken[labels[near]] = taken.get(labels[near], 0) + 1
        found += [(actual, guess, count) for guess, count in sorted(taken.items())]
    return found


def reliability(temperature: float, centre: float) -> list[dict[str, float]]:
    def bin_of(i: int) -> dict[str, float]:
        middle = (i + 0.5) / 15
        accuracy = min(max(middle**temperature + 0.03 * math.sin(7 * i), 0), 1)
        rows = 20.0 + round(240 * math.exp(-((middle - centre) ** 2) / 0.07))
        return {"low": i / 15, "high": (i + 1) / 15, "rows": rows, "confidence": middle, "score": accuracy}

    return [bin_of(i) for i in range(1, 15)]


def quality(score: float, shift: float) -> dict[str, Any]:
    def share(accuracy: float, rows: int) -> dict[str, float]:
        return {
            "rows": rows,
            "score": accuracy + shift,
            "low": accuracy + shift - 0.04,
            "high": accuracy + shift + 0.04,
        }

    return {
        "accuracy": score + 0.004 + shift,
        "macro_f1": score + shift,
        "rows": 1546,
        "slices": {"length": {"short": share(0.47, 515), "middle": share(0.55, 516), "long": share(0.66, 515)}},
        "worst_slice": {"name": "length: short", "rows": 515, "score": 0.47 + shift},
        "robustness": {
            "typos": {"rows": 300, "flip_rate": 0.163 + shift, "score": 0.51},
            "upper_case": {"rows": 300, "flip_rate": 0.0, "score": 0.56},
            "zero_width": {"rows": 0, "flip_rate": None, "score": None},
        },
        "fairness": {
            "identity_swaps": {"rows": 41, "flip_rate": 0.024, "mean_change": 0.013},
            "groups": {
                "rates": {"class": {"rows": 700, "score": 0.58 + shift}, "method": {"rows": 846, "score": 0.55}},
                "score_gap": 0.03 + shift, "selection_gap": 0.02, "recall_gap": 0.11,
            },
        },
    }  # fmt: skip


def profile(name: str, factor: float) -> dict[str, Any]:
    p50, size, throughput, memory, start_up = COSTS[name]
    return {
        "latency_p50_ms": p50 * factor, "latency_p99_ms": p50 * factor * 1.9, "size_mb": size,
        "throughput_rows_per_s": throughput / factor, "peak_rss_mb": memory, "start_up_ms": start_up, "threads": 2,
    }  # fmt: skip


def view(name: str, labels: Sequence[str], shift: float, factor: float, seed: int) -> ModelView:
    score = SCORES[name]
    return ModelView(
        name,
        quality(score, shift),
        profile(name, factor),
        confusion(labels, score + shift, seed),
        reliability(1.0 + 0.15 * MODELS.index(name) * factor, 0.3 + 0.12 * MODELS.index(name) * factor),
    )


def changes(name: str, shift: float, factor: float) -> list[MetricChange]:
    score, (p50, size, throughput, memory, start_up) = SCORES[name], COSTS[name]
    noise = 0.1 * p50 / factor

    def paired(metric: str, unit: Any, better: Any, before: float, after: float, half: float) -> MetricChange:
        return MetricChange(
            name, metric, unit, better, before, after, after - before - half, after - before + half, 0.95,
            title=TITLES[metric],
        )  # fmt: skip

    return [
        paired("accuracy", "share", "higher", score + 0.004, score + 0.004 + shift, 0.012),
        paired("macro_f1", "share", "higher", score, score + shift, 0.0125),
        paired("log_loss", "nats", "lower", 1.7492, 1.7492 - 4 * shift, 0.03),
        paired("ece", "share", "lower", 0.031, 0.031 + shift / 2, 0.011),
        MetricChange(name, "latency_p50_ms", "ms", "lower", p50 / factor, p50, p50 - p50 / factor - noise,
                     p50 - p50 / factor + noise),
        MetricChange(name, "throughput_rows_per_s", "rows/s", "higher", throughput * 1.02, throughput, -900.0, 900.0),
        MetricChange(name, "start_up_ms", "ms", "lower", None, start_up),
        MetricChange(name, "peak_rss_mb", "MB", "lower", memory, memory),
        MetricChange(name, "size_mb", "MB", "lower", size * 1.18, size),
    ]  # fmt: skip


def flips(labels: Sequence[str], count: int) -> list[Flip]:
    draw = random.Random(5)
    found = []
    for i in range(count):
        label, other, third = draw.sample(list(labels), 3) if len(labels) > 2 else (*labels, labels[1])
        before, after = ((label, other), (other, label), (other, third))[i % 3]
        text = HOSTILE[i] if i < len(HOSTILE) else draw.choice(TEXTS)
        scores: dict[str, Any] = {"score_before": float(before == label), "score_after": float(after == label)}
        sure: dict[str, Any] = {"sure_before": 0.35 + i % 60 / 100, "sure_after": 0.4 + i % 50 / 100}
        found.append(
            Flip(("quantized", "student")[i % 5 == 4], f"row-{i:04}", text, label, before, after, **scores, **sure)
        )
    return found


def part_changes(labels: Sequence[str]) -> tuple[PartChange, ...]:
    """Of 45 rows each; the first label got clearly worse, the last better, the others and a slice within chance."""
    moved = {labels[0]: (1, 19, "worse"), labels[-1]: (21, 1, "better")}
    still: tuple[int, int, Any] = (3, 2, "no clear change")
    names = [*(("label", label) for label in labels), ("length", "short")]
    return tuple(_part_change(by, name, *moved.get(name, still)) for by, name in names)


def _part_change(by: str, name: str, better: int, worse: int, verdict: Any) -> PartChange:
    change = (better - worse) / 45
    return PartChange(
        "quantized", by, name, "accuracy", 45, better, worse, 0.5, 0.5 + change, change - 0.1, change + 0.1, verdict
    )


def recorded(commit: str, value: float | None, **more: Any) -> Recorded:
    """A revision of one data set and one machine, unless said otherwise."""
    known: dict[str, Any] = {
        "date": "2026-11-01", "subject": f"change {commit}", "tags": (), "task": "text_classification",
        "measure": MEASURES.measures[0], "value": value, "low": None, "high": None, "rows": 600, "data": "a" * 32,
        "p50_ms": 2.0, "size_mb": 16.0, "machine": "2 threads of one", "measured": "2026-11-01",
    }  # fmt: skip
    return Recorded(commit, **{**known, **more})


def curves() -> dict[str, list[tuple[str, float, float]]]:
    steps = [float(step) for step in range(0, 600, 20)]
    losses, tops = {"teacher": 160, "student": 220}, {"teacher": 0.59, "student": 0.56}
    return {
        "train/loss": [(name, s, 3.4 * math.exp(-s / rate) + 0.5) for name, rate in losses.items() for s in steps],
        "validation/macro_f1": [
            (name, s, top * (1 - math.exp(-s / 150))) for name, top in tops.items() for s in (200.0, 400.0, 600.0)
        ],
        "train/learning_rate": [("teacher", s, 3e-4 * (1 - s / 600)) for s in steps],
    }


def decision() -> Decision:
    return Decision(
        "pass",
        (
            Check("quality", "pass", "macro-F1 lost at most 0.9 points with 95% confidence; 2.0 are accepted."),
            Check("slices", "pass", "No slice of 30 rows or more lost over 5.0 points for sure; worst: length: short."),
            Check("calibration", "pass", "The calibration error is 3.4%; at most 10.0% is accepted."),
            Check("identity terms", "inconclusive", "41 rows hold an identity word; too few to show 5% or less."),
            Check("latency", "pass", "p50 is 1.37 ms; at most 20 ms is accepted."),
            Check("size", "pass", "16.2 MB; at most 50 MB is accepted."),
        ),
    )


def example_review(labels: int = 32, *, flipped: int = 60) -> Review:
    """All that a page can hold, texts that attack it included; `labels` classes, `flipped` rows."""
    names = label_names(labels)
    shifts = {"baseline": 0.0, "teacher": 0.013, "student": 0.019, "quantized": 0.006}
    return Review(
        base=Revision("main", "4f1c2a9", "Distil from logits cached once"),
        head=Revision("softer-targets", "b70de31", "Soften the teacher's answers more & keep layer 3"),
        params=(
            ParamChange("distill.temperature", 3.0, 4.0),
            ParamChange("distill.teacher_layers", [0, 5], [0, 3, 5]),
            ParamChange("quantize.temperature_scaling", None, True),
        ),
        metrics=tuple(c for name in MODELS for c in changes(name, shifts[name], 0.82 if name == "quantized" else 1.0)),
        stages=(
            StageChange("distill", ("distill.temperature: 3.0 -> 4.0", "stages/distill.py changed")),
            StageChange("quantize", ("after distill", "quantize.temperature_scaling: None -> True")),
            *(StageChange(f"{kind}@{name}", (f"artifacts/{name} changed",))
              for kind in ("evaluate", "profile") for name in ("student", "quantized")),
            StageChange("select", ("metrics/quality/quantized.json changed",)),
        ),
        paired=(
            Paired("student", 1546, 61, 90, 0.0223, rows_before=1546, rows_after=1546),
            Paired("quantized", 1546, 47, 56, 0.431, rows_before=1546, rows_after=1546),
        ),
        flips=tuple(flips(names, flipped)),
        decision=decision(),
        candidate="quantized",
        before=tuple(view(name, names, 0.0, 1.22 if name == "quantized" else 1.0, i) for i, name in enumerate(MODELS)),
        after=tuple(view(name, names, shifts[name], 1.0, 9 + i) for i, name in enumerate(MODELS)),
        curves=curves(),
        parts=part_changes(names),
        measures=MEASURES.measures,
        score_title=MEASURES.score_title,
        kind=MEASURES.kind,
        head_params="seed: 20  # every random choice\ndistill:\n  temperature: 4.0  # </script><b>\n",
        notes=(
            "teacher: times are of two machines and cannot be compared: Xeon 8481C and EPYC 9R14.",
            "artifacts/curves of 4f1c2a9 cannot be had: </script><script>window.__pwned = 4</script>.",
        ),
    )  # fmt: skip


def entity_flip(text: str, truth: Spans, before: Spans, after: Spans, row_id: str = "row-0", **more: Any) -> Flip:
    """A row of an entity tagger: its text, true spans, and those answered before and after."""
    of_truth, of_before, of_after = (json.dumps(side) for side in (truth, before, after))
    found = marked(task_measures("token_classification").marks, of_truth, of_before, of_after)
    scores: dict[str, Any] = {"score_before": 0.0, "score_after": 1.0} | more
    return Flip("quantized", row_id, text, of_truth, of_before, of_after, marked=found, **scores)


def entity_review(*flips: Flip) -> Review:
    """The review of an entity tagger with these rows."""
    return dataclasses.replace(empty_review(), flips=flips, candidate="quantized", kind="type")


BEFORE, AFTER = "A dog runs over the green grass.", "A dog walks over the grass."


def written_flip(before: str = BEFORE, after: str = AFTER) -> Flip:
    """A row for which a model writes: what it wrote before and after."""
    return Flip("quantized", "row-0", "Ein <b>Hund</b> läuft.", "A dog runs.", before, after, 0.5, 0.4, written=True)


def written_review(*flips: Flip) -> Review:
    """The review of a model that writes, with these rows."""
    return dataclasses.replace(empty_review(), flips=flips, candidate="quantized", kind="text")


def empty_review() -> Review:
    """Nothing but two revisions."""
    return Review(
        base=Revision("HEAD~1", "0000000"), head=Revision("the working tree", None), params=(), metrics=(), stages=(),
        paired=(), flips=(), decision=None, candidate="", before=(), after=(), curves={}, head_params="",
    )  # fmt: skip
