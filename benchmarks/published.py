"""Published corpora by this pipeline: `python benchmarks/published.py CORPUS FOLDER [--work DIR] [--seeds 3]`.

CORPUS is one of CORPORA, FOLDER holds its files as they are published:

    stsb        train.csv, dev.csv, test.csv: two sentences and a score from 0 to 5, no header (Cer et al. 2017); read
                apart, a vector each
    stsb-pairs  the same, read together: the score is a number of both
    policyqa    dev.json.gz, test.json.gz: SQuAD's JSON (Ahmad et al. 2020), trained on dev
    xquad       xquad.en.json: SQuAD's JSON (Artetxe et al. 2020), split by passage
    goemotions  train.tsv.gz, dev.tsv.gz, test.tsv.gz: text, numbers of labels, id; labels.txt (Demszky et al. 2020)

A project is started in DIR, as `winnow init` does, with the values of the corpus; it is reproduced once a seed. With
the same DIR an interrupted run goes on. Writes published.json beside this file, under the corpus's name: the quality
on the test rows by seed, size and speed with the first. The values are first guesses, but for what was chosen by
validation rows: of stsb, `prune.vocabulary` (Spearman's correlation of the pruned student 87.1 with the tokens of the
training rows and 4,000 words, 87.5 with 12,000, 88.0 with all; how many neurons are kept made a difference of 0.2).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import record
from entities import as_table

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.projects.starting import start
from flows.running.processes import Children
from stages.core.files import read_json
from stages.core.params.file import load_params
from stages.core.paths import MODELS

ROOT = Path(__file__).resolve().parent.parent
# The rows as they are published; no drift, as nothing was released before.
AS_PUBLISHED: Mapping[str, Any] = {
    "clean.near_duplicate_jaccard": 1.0,
    "clean.conflicting_labels": "keep",
    "clean.min_chars": 1,
    "validate.min_median_chars": 1,
}


def of_sentences(given: Path, data: Path) -> None:
    """The three files with the names of their columns in front."""
    for split in ("train", "dev", "test"):
        with (given / f"{split}.csv").open(encoding="utf-8", newline="") as rows:
            found = list(csv.reader(rows))
        with (data / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("sentence1", "sentence2", "score"), *found])


def of_questions(given: Path, data: Path) -> None:
    """dev for training, test for the test."""
    for split, name in (("train", "dev"), ("test", "test")):
        shutil.copyfile(given / f"{name}.json.gz", data / f"{split}.json.gz")


def of_passages(given: Path, data: Path) -> None:
    """The only file."""
    shutil.copyfile(given / "xquad.en.json", data / "xquad.en.json")


def of_emotions(given: Path, data: Path) -> None:
    """The names of the labels in the place of their numbers."""
    names = (given / "labels.txt").read_text(encoding="utf-8").split()
    for split in ("train", "dev", "test"):
        with (
            gzip.open(given / f"{split}.tsv.gz", "rt", encoding="utf-8", newline="") as rows,
            (data / f"{split}.jsonl").open("w", encoding="utf-8") as file,
        ):
            for row in rows:
                text, numbers, _ = row.rstrip("\r\n").split("\t")
                tags = [names[int(number)] for number in numbers.split(",")]
                file.write(json.dumps({"text": text, "label": tags}, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class Corpus:
    """A corpus: its task, how its files become the project's, and the values that it wants."""

    task: str
    measure: str
    files: Callable[[Path, Path], None]
    """files(given, data): write those of the project's data folder."""
    figures: tuple[str, ...] = ()
    """Of metrics/quality, beside the measure and its interval."""
    values: Mapping[str, Any] = field(default_factory=dict)


OF_SENTENCES: Mapping[str, Any] = {
    "ingest.columns.text": "sentence1",
    "ingest.columns.text_pair": "sentence2",
    "ingest.columns.label": "score",
    "ingest.splits.validation": "dev",
    "validate.max_duplicate_share": None,
}
CORPORA = {
    "stsb": Corpus(
        "sentence_similarity", "spearman", of_sentences,
        values={
            **OF_SENTENCES,
            "finetune.freeze_embeddings": False,
            "finetune.encoder_learning_rate": 1.0e-4,
            "distill.teacher_layers": [0, 2, 3, 5],
            "distill.epochs": 8,
            "prune.vocabulary": "all",
        },
    ),
    "stsb-pairs": Corpus(
        "regression", "spearman", of_sentences, ("pearson", "mae"),
        values={
            **OF_SENTENCES,
            "finetune.epochs": 4,
            "finetune.freeze_embeddings": False,
            "distill.teacher_layers": [0, 2, 3, 5],
            "distill.epochs": 8,
        },
    ),
    "policyqa": Corpus(
        "question_answering", "token_f1", of_questions, ("exact_match",),
        values={
            "clean.validation_fraction": 0.1,
            "validate.min_labels": 1,
            "validate.max_label_share": None,
            "finetune.epochs": 8,
            "finetune.patience": 8,
            "distill.teacher_layers": [0, 2, 5],
        },
    ),
    "xquad": Corpus(
        "question_answering", "token_f1", of_passages, ("exact_match",),
        values={"validate.min_labels": 1, "validate.max_label_share": None},
    ),
    "goemotions": Corpus(
        "multilabel_classification", "macro_f1", of_emotions, ("micro_f1", "subset_accuracy"),
        values={
            "ingest.splits.validation": "dev",
            "finetune.epochs": 4,
            "finetune.freeze_embeddings": False,
            "finetune.encoder_learning_rate": 1.0e-4,
            "distill.teacher_layers": [0, 3, 5],
        },
    ),
}  # fmt: skip


def project(work: Path, name: str, given: Path) -> Path:
    """The project of the corpus within `work`, which is started where it is not there."""
    corpus, folder = CORPORA[name], work / name
    if not (folder / "params.yaml").is_file():
        data = folder / "data" / name
        data.mkdir(parents=True, exist_ok=True)
        corpus.files(given, data)
        start(folder, corpus.task, data, None)
    set_values(folder / "params.yaml", {**AS_PUBLISHED, **corpus.values, "task.measure": corpus.measure})
    return folder


def reproduce(folder: Path, corpus: Corpus, seed: int, *, timed: bool, children: Children) -> dict[str, Any]:
    """The figures of each model with that seed; those of its size and speed where `timed`."""
    set_values(folder / "params.yaml", {"seed": seed})
    targets = [*(f"evaluate@{model}" for model in MODELS), *(["profile"] if timed else [])]

    def on_line(line: str) -> None:
        if line.startswith(("Running stage", "epoch")):
            print(f"  {line}", flush=True)

    reproducing.stream(folder, ["repro", *targets], on_line, children)
    return {model: figures(folder, corpus, model, timed=timed) for model in MODELS}


def figures(folder: Path, corpus: Corpus, model: str, *, timed: bool) -> dict[str, Any]:
    """Of one model: the measure, its interval, and what else the corpus reports."""
    quality = read_json(folder / f"metrics/quality/{model}.json")
    found = {name: quality[name] for name in (corpus.measure, *corpus.figures)}
    found["interval"] = [quality["intervals"][corpus.measure][end] for end in ("low", "high")]
    if timed:
        cost = read_json(folder / f"metrics/profile/{model}.json")
        found |= {name: cost[name] for name in ("size_mb", "latency_p50_ms", "throughput_rows_per_s", "processor")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("folder", type=Path, help="where the corpus's files lie")
    parser.add_argument("--work", type=Path, help="where the project is made; by default a folder that is taken away")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/published.json")
    chosen = parser.parse_args()
    corpus = CORPORA[chosen.corpus]
    with tempfile.TemporaryDirectory() as scratch, Children() as children:
        folder = project(chosen.work or Path(scratch), chosen.corpus, chosen.folder)
        first = load_params(ROOT / "params.yaml").seed
        runs: dict[int, dict[str, Any]] = {}
        for seed in range(first, first + chosen.seeds):
            print(f"seed {seed}", flush=True)
            runs[seed] = reproduce(folder, corpus, seed, timed=seed == first, children=children)
            values = {"task.name": corpus.task, **AS_PUBLISHED, **corpus.values}
            record.write_beside(chosen.output, chosen.corpus, {"parameters": values, "seeds": runs})
    print(as_table(runs, corpus.measure))


if __name__ == "__main__":
    main()
