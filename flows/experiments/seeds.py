"""How much of a figure is the luck of a seed: the graph with several seeds, on the same rows.

seed of params.yaml ---.
the next ones ---------+--> train, compress --> the same test rows ---> mean, spread, each seed's value
data_seed (one) -------+                    '-> the rows set aside (that no choice has seen)
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t

from flows.experiments.checkout import Checkout, Log, checkout, seeds_of, spread
from flows.experiments.seed_record import fingerprint
from flows.running import git
from stages.core import machine
from stages.core.paths import HELD_OUT, MODELS, Paths

TEACHER = "teacher"
DIGITS = 6
MADE_ON = ("commit", "date", "processor")  # may differ where all that is measured is the same


def measure(root: Path, seeds: int, log: Log) -> dict[str, Any]:
    """Measure every model of the last commit with `seeds` seeds: that of params.yaml and the next that no teacher has.

    Raises DvcError where a stage fails, BlockingIOError where a retraining or another measurement is under way.
    """
    with checkout(root, log, name="seeds") as here:
        every = seeds_of(here.params, seeds)
        quality: dict[str, list[Any]] = {model: [] for model in MODELS}
        against: dict[str, list[Any]] = {model: [] for model in MODELS if model != TEACHER}
        aside: list[Any] = []
        made_of = ""
        for turn, seed in enumerate(every, start=1):
            log(f"[{turn}/{len(every)}] seed {seed}")
            here.reproduce({"seed": seed}, [*(f"evaluate@{model}" for model in MODELS), "compare"])
            made_of = made_of or fingerprint(here.folder)
            comparison = here.measured("comparison")
            for model in quality:
                quality[model].append(here.measured(f"quality/{model}"))
            for model in against:
                against[model] += [comparison[name] for name in [f"{model}_and_{TEACHER}"] if name in comparison]
            if here.measured("data/cleaning")["rows"].get(HELD_OUT):
                aside.append(_on_rows_set_aside(here))
        confidence = here.params.evaluate.confidence
        return {
            "of": made_of,
            "commit": git.commit_of(here.folder, "HEAD"),
            "date": git.read(here.folder, "show", "--no-patch", "--format=%cs", "HEAD"),
            "processor": machine.processor(),
            "seeds": list(every),
            "rows": quality[TEACHER][0]["rows"],
            "confidence": confidence,
            "models": {model: _of_model(found) for model, found in quality.items() if "left_out" not in found[0]},
            "against_teacher": {model: _of_differences(found, confidence) for model, found in against.items() if found},
            "held_out": _of_rows_set_aside(aside, confidence) if aside else None,
        }


def _on_rows_set_aside(here: Checkout) -> Any:
    here.run("stages.programs.held_out")
    return json.loads(Paths(here.folder).held_out_report.read_text(encoding="utf-8"))


def _of_model(quality: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each measure the mean, the standard deviation, each seed's value, and the interval of the first run."""
    return {
        name: {**of_values([one[name] for one in quality]), "one_run": quality[0]["intervals"][name]}
        for name in quality[0]["intervals"]
    }


def _of_differences(found: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """Of each measure of metrics/comparison.json."""
    measures = [name for name, value in found[0].items() if isinstance(value, Mapping)]
    return {name: of_differences([one[name] for one in found], confidence) for name in measures}


def _of_rows_set_aside(aside: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    """The figures on the rows set aside, and on the test rows that have their classes; None where there are no rows."""
    kinds = ("held_out", "test_rows_of_these_classes")
    return {"classes": aside[0]["classes"]} | {
        kind: _judged([one[kind] for one in aside], confidence) if aside[0][kind] else None for kind in kinds
    }


def _judged(found: Sequence[Mapping[str, Any]], confidence: float) -> dict[str, Any]:
    models = {
        model: {
            **{
                name: {
                    **of_values([one["models"][model][name]["value"] for one in found]),
                    "one_run": {end: found[0]["models"][model][name][end] for end in ("low", "high")},
                }
                for name in found[0]["models"][model]["against_teacher"]
            },
            "against_teacher": _of_differences([one["models"][model]["against_teacher"] for one in found], confidence),
        }
        for model in found[0]["models"]
    }
    return {"rows": found[0]["rows"], "models": models}


def of_values(values: Sequence[float]) -> dict[str, Any]:
    """Mean and standard deviation of the values of all seeds, and the values themselves."""
    return {
        "mean": round(statistics.mean(values), DIGITS),
        "std": round(spread(values), DIGITS),
        "seeds": list(values),
    }


def of_differences(found: Sequence[Mapping[str, float]], confidence: float) -> dict[str, Any]:
    """The mean of differences with intervals (difference, low, high), one a seed, and an interval of that mean.

    It combines two independent sources: the rows (how far a run's own interval reaches, on average) and the seeds
    (Student's t of their mean). Such widths add up as squares. With one seed it is that run's own interval.
    """
    values = [one["difference"] for one in found]
    mean = statistics.mean(values)
    below = statistics.mean(one["difference"] - one["low"] for one in found)
    above = statistics.mean(one["high"] - one["difference"] for one in found)
    count = len(values)
    of_seeds = t.ppf((1 + confidence) / 2, count - 1) * spread(values) / math.sqrt(count) if count > 1 else 0.0
    return {
        **of_values(values),
        "low": round(mean - math.hypot(below, of_seeds), DIGITS),
        "high": round(mean + math.hypot(above, of_seeds), DIGITS),
    }


def write(found: Mapping[str, Any], path: Path) -> None:
    """Write the record, unless the file has the same figures already: then it keeps the commit of those."""
    with contextlib.suppress(ValueError):  # one with a merge conflict, say, is what this is to mend
        if path.is_file() and _figures(json.loads(path.read_text(encoding="utf-8"))) == _figures(found):
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(found, indent=2, sort_keys=True)}\n", encoding="utf-8")


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in MADE_ON}
