"""English captions to German by this pipeline, from scratch: `python benchmarks/multi30k.py FOLDER [--seeds 1]`.

FOLDER holds the lines of Multi30k (Elliott et al. 2016, arXiv:1605.00459): train, val and test_2016_flickr, each as .en
and .de, gzipped or not. The last commit is reproduced in a checkout of its own with PARAMETERS, once a seed, up to the
int8 model; DVC's cache keeps what has run, so that an interrupted run goes on, and its minutes are then not the whole.
Writes multi30k.json beside this file: sacreBLEU and chrF of all 1,000 test lines as they stand in the files, by model,
with copies and a dictionary beside them; the minutes of each stage; size and speed. PARAMETERS are what is usual for
small corpora, but for the teacher's rate and batch: of 0.02 and 0.05 with 32 and 64 lines those had the lowest loss on
the validation lines after two minutes of a loop without the graph. Nothing was tried on test lines.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import record
from other_data import OTHER_DATA
from sacrebleu.metrics import BLEU, CHRF

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.dvc.worktrees import worktree
from flows.running.locks import lock_file, one_at_a_time
from flows.running.processes import Children
from stages.backends.runners import open_runner
from stages.core.contracts import Runner
from stages.core.files import read_json
from stages.core.machine import cores
from stages.core.model_folder import describe, generation_of
from stages.core.params.file import load_params
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks.shared import dictionary
from stages.tasks.text2text_generation.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DATA = "data/multi30k"
SOURCE, TARGET, TEST = "en", "de", "test_2016_flickr"
MODELS = ("teacher", "student", "quantized")
STAGES = ("ingest", "clean", "validate", "tokenize", "finetune", "cache_logits", "distill", "prune", "quantize")
BEAMS = (1, 4)
PARAMETERS: dict[str, Any] = {
    "task.name": "text2text_generation",
    "task.measure": "bleu",
    **SETTINGS.starts,
    "ingest.source": "parallel",
    "ingest.path": DATA,
    "ingest.columns.text": SOURCE,
    "ingest.columns.label": TARGET,
    "ingest.splits.validation": "val",
    "ingest.splits.test": TEST,
    # The lines as they are, but for those whose English is also that of another line, or of a test line.
    "clean.near_duplicate_jaccard": 1.0,
    "clean.min_chars": 1,
    **OTHER_DATA,
    # A line has some 14 words. Small and for long, as is usual for so few lines: Wu et al. 2021, arXiv:2105.14462.
    "model.scratch": {"kind": "t5", "layers": 3, "width": 192, "heads": 4, "feed_forward": 384, "positions": 128},
    "model.encoder_dropout": 0.1,
    "tokenize.vocabulary_size": 6000,
    "tokenize.max_tokens": 64,
    "tokenize.max_target_tokens": 96,
    "generate.max_new_tokens": 96,
    "finetune.epochs": 15,
    "finetune.batch_size": 32,
    "finetune.encoder_learning_rate": 5.0e-2,
    "finetune.head_learning_rate": 5.0e-2,
    "finetune.weight_decay": 0.0,  # it goes by the rate, which is large
    "finetune.label_smoothing": 0.1,
    "finetune.select_by": "last",
    "distill.teacher_layers": [0, 2],
    "distill.epochs": 5,
    "distill.batch_size": 32,
    "distill.scaled_rates": True,
    "distill.encoder_learning_rate": 2.0e-2,
    "distill.head_learning_rate": 2.0e-2,
    "distill.weight_decay": 0.0,
    "distill.temperature": 1.0,
    "prune.feed_forward_kept": 1.0,
    # A row takes as long as its words: fewer are timed.
    "profile.rounds": 1,
    "profile.single_rows": 20,
    "profile.throughput_rows": 64,
    "profile.batch_sizes": [32],
    "profile.thread_counts": [2],
}

Write = Callable[[Sequence[str]], list[str]]


def lines(folder: Path, name: str) -> list[str]:
    """The lines of NAME or NAME.gz, as they stand there."""
    path = folder / name
    content = path.read_bytes() if path.exists() else gzip.decompress((folder / f"{name}.gz").read_bytes())
    return content.decode("utf-8").removesuffix("\n").split("\n")


def reproduce(folder: Path, seed: int, children: Children) -> dict[str, float]:
    """The minutes of each stage up to the int8 model, with that seed."""
    set_values(folder / "params.yaml", {**PARAMETERS, "seed": seed})
    minutes: dict[str, float] = {}

    def on_line(line: str) -> None:
        if line.startswith(("Running stage", "epoch")):
            print(f"  {line}", flush=True)

    for stage in (*STAGES, "profile"):
        started = time.perf_counter()
        reproducing.stream(folder, ["repro", stage], on_line, children)
        minutes[stage] = round((time.perf_counter() - started) / 60, 2)
    return minutes


def judged(write: Write, sources: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF of what is written for the sources, in percent, and the seconds that it took."""
    started = time.perf_counter()
    written = write(sources)
    seconds = time.perf_counter() - started
    found = {
        name: round(float(measure.corpus_score(written, [references]).score), 2) for name, measure in measures().items()
    }
    return {**found, "seconds": round(seconds, 1)}


def measures() -> dict[str, Any]:
    return {"bleu": BLEU(), "chrf": CHRF()}


def signatures(sources: Sequence[str], references: Sequence[str]) -> dict[str, str]:
    """How sacrebleu counts."""
    found = measures()
    for measure in found.values():
        measure.corpus_score(sources, [references])
    return {name: str(measure.get_signature()) for name, measure in found.items()}


def writer(folder: Path, *, beams: int) -> Write:
    """What a model in the folder writes, on all cores, with so many beams."""
    runner: Runner = open_runner(folder, threads=cores())
    usual = generation_of(describe(folder))
    assert usual is not None
    assert runner.write is not None
    write = runner.write
    return lambda sources: write(sources, usual._replace(beams=beams))


def of_models(folder: Path, data: Path) -> dict[str, Any]:
    """By model and beams, and by baseline, how well the test lines are translated."""
    sources, references = lines(data, f"{TEST}.{SOURCE}"), lines(data, f"{TEST}.{TARGET}")
    train = read_split(Paths(folder).clean, "train")
    words = dictionary.learned([str(text) for text in texts_of(train)], train["label"].to_pylist())
    found: dict[str, Any] = {
        "copy": judged(list, sources, references),
        "dictionary": judged(lambda asked: [dictionary.translated(text, words) for text in asked], sources, references),
    }
    for model in MODELS:
        place = Paths(folder).model(model)
        found[model] = {f"beams_{beams}": judged(writer(place, beams=beams), sources, references) for beams in BEAMS}
        cost = read_json(folder / f"metrics/profile/{model}.json")
        found[model] |= {name: cost[name] for name in ("size_mb", "latency_p50_ms", "tokens_per_s", "processor")}
    return found


def as_table(runs: dict[int, dict[str, Any]]) -> str:
    heads = [f"beams {beams}" for beams in BEAMS]
    lines = [f"| model | {' | '.join(f'BLEU, {head}' for head in heads)} | size MB |", "| --- | ---: | ---: | ---: |"]
    for name in next(iter(runs.values()))["models"]:
        each = [run["models"][name] for run in runs.values()]
        by_beams = [statistics.mean(one.get(f"beams_{beams}", one)["bleu"] for one in each) for beams in BEAMS]
        size = f"{each[0]['size_mb']:.1f}" if "size_mb" in each[0] else "-"
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in by_beams)} | {size} |")
    return "\n".join(lines)


def copied(source: Path, target: Path) -> None:
    """The files of the corpus, and nothing else that lies beside them."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        if path.name.removesuffix(".gz").rpartition(".")[2] in (SOURCE, TARGET):
            shutil.copyfile(path, target / path.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.en, train.de and the others lie")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/multi30k.json")
    chosen = parser.parse_args()
    first = load_params(ROOT / "params.yaml").seed
    runs: dict[int, dict[str, Any]] = {}
    sources, references = (lines(chosen.folder, f"{TEST}.{column}") for column in (SOURCE, TARGET))
    with (
        one_at_a_time(lock_file(ROOT, "retrain"), print, wait=False),  # who makes worktrees removes those of others
        worktree(ROOT, "HEAD") as folder,
        Children() as children,
        one_at_a_time(lock_file(ROOT, "reproduce"), print),
    ):
        copied(chosen.folder, folder / DATA)
        for seed in range(first, first + chosen.seeds):
            print(f"seed {seed}", flush=True)
            minutes = reproduce(folder, seed, children)
            runs[seed] = {"minutes": minutes, "models": of_models(folder, chosen.folder)}
            rows = read_json(folder / "metrics/training/teacher.json")["train_rows"]
            found = {
                "parameters": PARAMETERS, "signatures": signatures(sources, references), "train_rows": rows,
                "seeds": runs,
            }  # fmt: skip
            record.write(chosen.output, found)
    print(as_table(runs))


if __name__ == "__main__":
    main()
