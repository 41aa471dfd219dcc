"""Entities by this pipeline: `python benchmarks/entities.py [FOLDER] [--seeds 3]`.

Without a folder the corpus is that of the source `docstring_roles`. FOLDER holds train.conll and test.conll, a word and
its tag on each line, such as GUM's (Zeldes 2017, doi:10.1007/s10579-016-9343-x) or WNUT17's. The last commit is
reproduced in a checkout of its own with PARAMETERS, once a seed; DVC's cache keeps what has run, so that an interrupted
run goes on. Writes entities.json beside this file, under the corpus's name: the quality on the test rows by seed, size
and speed with the first, and entity F1 by seqeval, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import shutil
import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import record
from other_data import OTHER_DATA

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.dvc.worktrees import worktree
from flows.running.locks import lock_file, one_at_a_time
from flows.running.processes import Children
from stages.core.files import read_json
from stages.core.params.file import load_params
from stages.core.paths import MODELS, Paths
from stages.reading.clean_rows import read_split
from stages.tasks.shared.spans import from_text, tags_of
from stages.tasks.token_classification.baseline import words_of
from stages.tasks.token_classification.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DATA = "data/entities"
MEASURES = ("entity_f1", "type_f1", "bounds_f1", "exact_match", "precision", "recall")
PARAMETERS: dict[str, Any] = {
    "task.name": "token_classification",
    "task.measure": "entity_f1",
    **SETTINGS.starts,
    **OTHER_DATA,
}
COLUMNS: dict[str, Any] = {
    "ingest.source": "files",
    "ingest.path": DATA,
    # The sentences as they are, but for those that are the same as another or as one of the test.
    "clean.near_duplicate_jaccard": 1.0,
    "clean.conflicting_labels": "keep",
    "clean.min_chars": 1,
    "clean.validation_fraction": 0.1,
    "tokenize.max_tokens": 128,
    # By GUM's validation rows: with 1,000 common words and no copies its pruned student has an entity F1 of 48.8 there;
    # with copies 52.4 with 20,000 and 52.2 with all words. Names are rare words.
    "cache_logits.augmented_copies": 2,
    "prune.vocabulary": "all",
}


def reproduce(
    folder: Path, values: dict[str, Any], seed: int, *, timed: bool, children: Children
) -> dict[str, dict[str, Any]]:
    """What metrics/ says of each model, with those values and that seed; of its size and speed where `timed`."""
    set_values(folder / "params.yaml", {**values, "seed": seed})
    targets = [*(f"evaluate@{model}" for model in MODELS), *(["profile"] if timed else [])]

    def on_line(line: str) -> None:
        if line.startswith(("Running stage", "epoch")):
            print(f"  {line}", flush=True)

    reproducing.stream(folder, ["repro", *targets], on_line, children)
    return {model: figures(folder, model, timed=timed) for model in MODELS}


def figures(folder: Path, model: str, *, timed: bool) -> dict[str, Any]:
    quality = read_json(folder / f"metrics/quality/{model}.json")
    found = {name: quality[name] for name in MEASURES}
    found["interval"] = [quality["intervals"]["entity_f1"][end] for end in ("low", "high")]
    if importlib.util.find_spec("seqeval"):
        found["seqeval_f1"] = seqeval_f1(folder, model)
    if timed:
        cost = read_json(folder / f"metrics/profile/{model}.json")
        found |= {name: cost[name] for name in ("size_mb", "latency_p50_ms", "throughput_rows_per_s", "processor")}
    return found


def seqeval_f1(folder: Path, model: str) -> float:
    """F1 of the same answers by seqeval's strict mode, with a tag for each word, or for each part that a span cuts."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    paths = Paths(folder)
    rows = pq.read_table(paths.predictions(model), columns=["row_id", "truth", "answer"]).to_pylist()
    test = read_split(paths.clean, "test")
    texts = dict(zip(test["row_id"].to_pylist(), test["text"].to_pylist(), strict=True))
    truths, answers = [], []
    for row in rows:
        spans = [from_text(row[column]) for column in ("truth", "answer")]
        cuts = {edge for own in spans for span in own for edge in span[:2]}
        parts = [part for word in words_of(texts[row["row_id"]]) for part in cut(word, cuts)]
        truth, answer = (tags_of(own, parts) for own in spans)
        truths.append(truth)
        answers.append(answer)
    return round(float(f1_score(truths, answers, mode="strict", scheme=IOB2)), 6)


def cut(word: tuple[int, int], cuts: set[int]) -> list[tuple[int, int]]:
    """The parts of a word between the places at which it is cut."""
    edges = [word[0], *sorted(at for at in cuts if word[0] < at < word[1]), word[1]]
    return list(itertools.pairwise(edges))


def as_table(runs: dict[int, dict[str, dict[str, Any]]], measure: str = "entity_f1") -> str:
    """The models' measure by seed, and their size and speed with the first."""
    first = next(iter(runs.values()))
    lines = [f"| model | {measure} % | of the seeds | size MB | p50 ms |", "| --- | ---: | ---: | ---: | ---: |"]
    for model, cost in first.items():
        each = [100 * run[model][measure] for run in runs.values()]
        seeds = ", ".join(f"{value:.2f}" for value in each)
        speed = f"{cost['size_mb']:.1f} | {cost['latency_p50_ms']:.2f}"
        lines.append(f"| {model} | {statistics.mean(each):.2f} | {seeds} | {speed} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="where train.conll and test.conll lie; none: docstrings")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/entities.json")
    chosen = parser.parse_args()
    first = load_params(ROOT / "params.yaml").seed
    values = {**PARAMETERS, **(SETTINGS.corpus if chosen.folder is None else COLUMNS)}
    corpus = "docstring_roles" if chosen.folder is None else chosen.folder.resolve().name
    runs: dict[int, dict[str, dict[str, Any]]] = {}
    with (
        one_at_a_time(lock_file(ROOT, "retrain"), print, wait=False),  # who makes worktrees removes those of others
        worktree(ROOT, "HEAD") as folder,
        Children() as children,
        one_at_a_time(lock_file(ROOT, "reproduce"), print),
    ):
        if chosen.folder is not None:
            (folder / DATA).mkdir(parents=True)
            for name in ("train.conll", "test.conll"):
                shutil.copyfile(chosen.folder / name, folder / DATA / name)
        for seed in range(first, first + chosen.seeds):
            print(f"seed {seed}", flush=True)
            runs[seed] = reproduce(folder, values, seed, timed=seed == first, children=children)
            rows = read_json(folder / "metrics/training/teacher.json")["train_rows"]
            record.write_beside(chosen.output, corpus, {"parameters": values, "train_rows": rows, "seeds": runs})
    print(as_table(runs))


if __name__ == "__main__":
    main()
