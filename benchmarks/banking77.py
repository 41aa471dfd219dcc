"""Banking77 by this pipeline, params.yaml alone changed: `python benchmarks/banking77.py FOLDER [--seeds 3]`.

FOLDER holds the authors' train.csv and test.csv (Casanueva et al. 2020, arXiv:2003.04807; columns text and category).
The last commit is reproduced in a checkout of its own with PARAMETERS, once a seed; DVC's cache keeps what has run, so
that an interrupted run goes on. On two cores a seed takes the better part of an hour. Writes banking77.json beside this
file: quality on the official test split by seed, size and speed with the first.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import record
from other_data import OTHER_DATA

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.dvc.worktrees import worktree
from flows.running.locks import lock_file, one_at_a_time
from flows.running.processes import Children
from stages.backends.runners import open_runner
from stages.core.files import read_json
from stages.core.params.file import load_params
from stages.core.paths import MODELS, Paths
from stages.reading.clean_rows import read_split

ROOT = Path(__file__).resolve().parent.parent
DATA = "data/banking77"
PARAMETERS: dict[str, Any] = {
    "ingest.source": "files",
    "ingest.path": DATA,
    "ingest.columns.label": "category",
    # The official rows as they are, but for those that are the same text as another, or as a test row, in letters and
    # digits: some fifty.
    "clean.near_duplicate_jaccard": 1.0,
    "clean.conflicting_labels": "keep",
    "clean.min_chars": 1,
    "clean.validation_fraction": 0.03,
    "validate.min_rows_per_label": 1,
    **OTHER_DATA,
    # Ten thousand short rows of 77 labels: longer, all weights, less faith in each label.
    "model.encoder_dropout": 0.1,
    "finetune.teachers": 3,
    "finetune.epochs": 10,
    "finetune.layer_decay": 0.85,
    "finetune.freeze_embeddings": False,
    "finetune.label_smoothing": 0.1,
    "finetune.select_by": "last",
    # A student costs a tenth of its teachers, so it may learn for longer.
    "cache_logits.augmented_copies": 1,
    "distill.teacher_layers": [0, 2, 5],
    "distill.epochs": 20,
    "prune.feed_forward_kept": 1.0,
    "prune.epochs": 10,
}
STEP = PARAMETERS["finetune.teachers"]  # each teacher has a seed of its own
# Accuracy in %, trained on all rows: table 2 of the paper.
PAPER = {"BERT-FIXED": 87.19, "BERT-TUNED": 93.66, "USE": 92.81, "ConveRT": 93.01, "USE+ConveRT": 93.36}


def reproduce(folder: Path, seed: int, *, timed: bool, children: Children) -> dict[str, dict[str, Any]]:
    """What metrics/ says of each model, with that seed; of its size and speed where `timed`."""
    set_values(folder / "params.yaml", {**PARAMETERS, "seed": seed})
    targets = [*(f"evaluate@{model}" for model in MODELS), *(["profile"] if timed else [])]

    def on_line(line: str) -> None:
        if line.startswith(("Running stage", "epoch")):
            print(f"  {line}", flush=True)

    reproducing.stream(folder, ["repro", *targets], on_line, children)
    return {model: figures(folder, model, timed=timed) for model in MODELS}


def accuracy_of_teachers(folder: Path) -> dict[str, Any]:
    """The accuracy on the test rows of each teacher, and of the mean of their logits, from which the student learns."""
    rows = read_split(Paths(folder).clean, "test")
    others = sorted(path for path in Paths(folder).co_teachers.iterdir() if path.is_dir())
    runners = [open_runner(path, threads=2) for path in (Paths(folder).model("teacher"), *others)]
    labels = runners[0].space["labels"]
    truth = np.array([labels.index(label) for label in rows["label"].to_pylist()])
    answers = [np.log(runner.predict(rows["text"].to_pylist()).values) for runner in runners]
    each = [round(float((one.argmax(1) == truth).mean()), 6) for one in answers]
    return {"each": each, "together": round(float((np.mean(answers, 0).argmax(1) == truth).mean()), 6)}


def figures(folder: Path, model: str, *, timed: bool) -> dict[str, Any]:
    quality = read_json(folder / f"metrics/quality/{model}.json")
    found = {name: quality[name] for name in ("accuracy", "macro_f1")}
    found["interval"] = [quality["intervals"]["accuracy"][end] for end in ("low", "high")]
    if timed:
        cost = read_json(folder / f"metrics/profile/{model}.json")
        found |= {name: cost[name] for name in ("size_mb", "latency_p50_ms", "throughput_rows_per_s", "processor")}
    return found


def as_table(runs: dict[int, dict[str, dict[str, Any]]]) -> str:
    first = next(iter(runs.values()))
    lines = ["| model | accuracy % | of the seeds | size MB | p50 ms |", "| --- | ---: | ---: | ---: | ---: |"]
    for model, cost in first.items():
        each = [100 * run[model]["accuracy"] for run in runs.values()]
        seeds = ", ".join(f"{value:.2f}" for value in each)
        speed = f"{cost['size_mb']:.1f} | {cost['latency_p50_ms']:.2f}"
        lines.append(f"| {model} | {statistics.mean(each):.2f} | {seeds} | {speed} |")
    return "\n".join([*lines, *(f"| {name}, the paper's | {value} | | | |" for name, value in PAPER.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.csv and test.csv lie")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/banking77.json")
    chosen = parser.parse_args()
    first = load_params(ROOT / "params.yaml").seed
    runs: dict[int, dict[str, dict[str, Any]]] = {}
    teachers: dict[int, dict[str, Any]] = {}
    with (
        one_at_a_time(lock_file(ROOT, "retrain"), print, wait=False),  # who makes worktrees removes those of others
        worktree(ROOT, "HEAD") as folder,
        Children() as children,
        one_at_a_time(lock_file(ROOT, "reproduce"), print),
    ):
        (folder / DATA).mkdir(parents=True)
        for name in ("train.csv", "test.csv"):
            shutil.copyfile(chosen.folder / name, folder / DATA / name)
        for seed in range(first, first + chosen.seeds * STEP, STEP):
            print(f"seed {seed}", flush=True)
            runs[seed] = reproduce(folder, seed, timed=seed == first, children=children)
            rows = read_json(folder / "metrics/training/teacher.json")["train_rows"]
            teachers[seed] = accuracy_of_teachers(folder)
            found = {"parameters": PARAMETERS, "paper": PAPER, "train_rows": rows, "seeds": runs, "teachers": teachers}
            record.write(chosen.output, found)
    print(as_table(runs))
    print(f"teachers: {teachers}")


if __name__ == "__main__":
    main()
