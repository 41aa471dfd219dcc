"""Few labels: `python benchmarks/few_labels.py CORPUS FOLDER [--rows 8 16 64] [--draws 10] [--first 0]`.

CORPUS is one of CORPORA, FOLDER holds its files as they are published:

    banking77   train.csv, test.csv: 77 intents of customers (Casanueva et al. 2020)
    goemotions  train.tsv.gz, test.tsv.gz, labels.txt: of the comments those with one emotion alone, of the emotions
                those with LEAST such comments in train.tsv.gz (Demszky et al. 2020)

A draw takes so many rows a label from the training file, VALIDATION of them to validate; all that is chosen (epochs,
heads, what int8 keeps) is chosen by these. UNLABELLED others, at most, lose their labels, and are for distillation
alone. Judged is the accuracy on the official test rows, of each model of three reproductions of the last commit in a
checkout of its own: `finetune.method` supervised; contrastive, with transfer and int8; zero_shot. Each draw has a seed
of its own; DVC's cache keeps what has run, so that an interrupted run goes on. Writes few_labels.json beside this file
after each draw, and keeps the draws in it that were made with the same parameters, those below and the others of
params.yaml (`others_sha256`); the commit and the day are the last draw's. So clones can share the work, each on a core
of its own (`taskset`) and from another draw on (`--first`), as no figure here is of speed.

`--choose` helps to choose the values below, without a test row: of each of CANDIDATES the accuracy of the teacher on
DEVELOPMENT other rows of the training file, over draws that are not measured. It writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import record
import yaml
from other_data import OTHER_DATA

from flows.experiments.checkout import Checkout, checkout, spread
from stages.core.files import read_json

ROOT = Path(__file__).resolve().parent.parent
DATA = "data/few_labels"
VALIDATION = 2  # of the rows of a label
DEVELOPMENT = 2000
UNLABELLED = 10_000
LEAST = 100
UNMEASURED = 1000  # the first seed of draws that only choose
SHARED: dict[str, Any] = {
    "task.measure": "accuracy",
    "ingest.source": "files",
    "ingest.path": DATA,
    "ingest.columns.label": "category",
    "ingest.splits.transfer": "transfer",
    "clean.near_duplicate_jaccard": 1.0,
    "clean.conflicting_labels": "keep",
    "clean.min_chars": 1,
    "clean.unlabelled": "transfer",
    "validate.min_median_chars": 1,
    "validate.min_rows_per_label": 1,
    "validate.max_dropped_share": None,
    **OTHER_DATA,
}
SUPERVISED: dict[str, Any] = {
    "finetune.method": "supervised",
    "finetune.batch_size": 16,
    "finetune.freeze_embeddings": False,
}
CONTRASTIVE: dict[str, Any] = {
    "finetune.method": "contrastive",
    "finetune.contrastive.temperature": 0.05,
    "finetune.epochs": 1,
    "finetune.batch_size": 16,
    "finetune.freeze_embeddings": False,
    # A student of unlabelled text: three layers, and nothing is cut from them.
    "distill.teacher_layers": [0, 2, 5],
    "distill.epochs": 10,
    "prune.feed_forward_kept": 1.0,
}
PAIRS_PER_ROW = {8: 10, 16: 6, 64: 3}  # of 60, 84 and 186 pairs a label, as VALIDATION rows make none
OTHERS = (  # sections of params.yaml that can change a figure
    "clean", "model", "tokenize", "baseline", "static", "probe", "finetune", "cache_logits", "distill", "prune",
    "quantize",
)  # fmt: skip
METHODS = {"supervised": SUPERVISED, "contrastive": CONTRASTIVE, "zero_shot": {"finetune.method": "zero_shot"}}
MODELS = {
    "supervised": ("baseline", "static", "probe", "teacher"),
    "contrastive": ("teacher", "student", "pruned", "quantized"),
    "zero_shot": ("teacher",),  # by the names of the labels
}
CHOSEN: dict[str, dict[str, dict[str, Any]]] = {  # of CANDIDATES, by `--choose --rows 8 --draws 1`; for more rows too
    "banking77": {
        "supervised": {"finetune.encoder_learning_rate": 1.0e-5, "finetune.epochs": 30, "finetune.patience": 30},
        "contrastive": {"finetune.encoder_learning_rate": 1.0e-5},
        "zero_shot": {},
    },
    "goemotions": {
        "supervised": {"finetune.encoder_learning_rate": 3.0e-4, "finetune.epochs": 15, "finetune.patience": 15},
        "contrastive": {"finetune.encoder_learning_rate": 3.0e-4},
        "zero_shot": {},
    },
}
CANDIDATES: dict[str, list[dict[str, Any]]] = {
    "supervised": [
        {"finetune.encoder_learning_rate": rate, "finetune.epochs": epochs, "finetune.patience": epochs}
        for rate, epochs in (
            *((rate, epochs) for rate in (1.0e-5, 2.0e-5, 5.0e-5, 1.0e-4, 3.0e-4) for epochs in (15, 30)),
            (5.0e-6, 15),
            (5.0e-5, 8),
            (1.0e-3, 15),
        )
    ],
    "contrastive": [
        {"finetune.encoder_learning_rate": rate} for rate in (5.0e-6, 1.0e-5, 2.0e-5, 5.0e-5, 1.0e-4, 3.0e-4, 6.0e-4)
    ],
}


class Rows(NamedTuple):
    """The rows of a corpus, with the columns text and category."""

    train: pd.DataFrame
    test: pd.DataFrame


def of_banking77(given: Path) -> Rows:
    """Both files, as they are."""
    return Rows(*(pd.read_csv(given / f"{name}.csv", keep_default_na=False) for name in ("train", "test")))


def of_goemotions(given: Path) -> Rows:
    """The comments with one emotion alone; the last label, `neutral`, is none."""
    *names, _ = (given / "labels.txt").read_text(encoding="utf-8").split()
    emotion_of = {str(number): name for number, name in enumerate(names)}  # several labels are "3,7", and no key
    splits = []
    for split in ("train", "test"):
        with gzip.open(given / f"{split}.tsv.gz", "rt", encoding="utf-8", newline="") as file:
            found = [(text, labels) for text, labels, _ in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
        one = [(text, emotion_of[label]) for text, label in found if label in emotion_of]
        splits.append(pd.DataFrame(one, columns=["text", "category"]))
    counts = splits[0]["category"].value_counts()
    return Rows(*(rows[rows["category"].map(counts) >= LEAST] for rows in splits))


CORPORA: dict[str, Callable[[Path], Rows]] = {"banking77": of_banking77, "goemotions": of_goemotions}


def write_draw(corpus: Rows, target: Path, *, rows: int, seed: int, development: bool = False) -> None:
    """Write train.csv, validation.csv, test.csv and transfer.csv of one draw of `rows` rows a label.

    With `development` the test rows are DEVELOPMENT training rows that are not drawn.
    """
    order = corpus.train.sample(frac=1.0, random_state=seed)
    number = order.groupby("category").cumcount()
    others = order[number >= rows]
    unlabelled = others.iloc[DEVELOPMENT:] if development else others
    splits = {
        "validation": order[number < VALIDATION],
        "train": order[(number >= VALIDATION) & (number < rows)],
        "test": others.head(DEVELOPMENT) if development else corpus.test,
        "transfer": unlabelled[["text"]].head(UNLABELLED),
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, split in splits.items():
        split.to_csv(target / f"{name}.csv", index=False)


def values_of(corpus: str, method: str, rows: int, seed: int) -> dict[str, Any]:
    """The parameters of one reproduction."""
    pairs = {"finetune.contrastive.pairs_per_row": PAIRS_PER_ROW[rows]}
    return {**SHARED, **METHODS[method], **CHOSEN[corpus][method], **pairs, "seed": seed}


def measured(here: Checkout, name: str, corpus: Rows, rows: int, seed: int) -> dict[str, float]:
    """The accuracy of each model of one draw, in [0, 1], by its name."""
    write_draw(corpus, here.folder / DATA, rows=rows, seed=seed)
    found: dict[str, float] = {}
    for method, models in MODELS.items():
        here.reproduce(values_of(name, method, rows, seed), [f"evaluate@{model}" for model in models])
        for model in models:
            title = model if model in ("baseline", "static", "probe") else f"{method} {model}"
            found[title] = here.measured(f"quality/{model}")["accuracy"]
    return found


def about(corpus: str) -> dict[str, Any]:
    """What the figures of the corpus were made with; keys as JSON has them."""
    others = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    made_with = {
        "others_sha256": hashlib.sha256(json.dumps([others[section] for section in OTHERS]).encode()).hexdigest(),
        "validation_rows_of_these": VALIDATION,
        "unlabelled_rows": UNLABELLED,
        "pairs_per_row": PAIRS_PER_ROW,
        "parameters": {"shared": SHARED, **METHODS},
        "chosen": CHOSEN[corpus],
    }
    found: dict[str, Any] = json.loads(json.dumps(made_with))
    return found


def recorded(path: Path, corpus: str, rows: int, draw: int, found: Mapping[str, float]) -> dict[str, Any]:
    """The figures of the corpus in the file at `path`, as far as they are of these parameters, with one more draw."""
    old = read_json(path).get(corpus, {}) if path.exists() else {}
    is_same = all(old.get(name) == value for name, value in about(corpus).items())
    by_rows = dict(old["rows_a_label"]) if is_same else {}
    draws = {**by_rows.get(str(rows), {"draws": {}})["draws"], str(draw): dict(found)}
    ordered = {seed: draws[seed] for seed in sorted(draws, key=int)}
    by_rows[str(rows)] = {"summary": summary(ordered), "draws": ordered}
    return {**about(corpus), "rows_a_label": {number: by_rows[number] for number in sorted(by_rows, key=int)}}


def summary(draws: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Mean and deviation over the draws: of each model, of what pairs gain a draw, and of what int8 keeps of that.

    One draw has no deviation.
    """
    by_model = {name: [draw[name] for draw in draws.values()] for name in next(iter(draws.values()))}
    gains = [draw["contrastive teacher"] - draw["supervised teacher"] for draw in draws.values()]
    kept = [draw["contrastive quantized"] / draw["contrastive teacher"] for draw in draws.values()]
    told = {**by_model, "contrastive less supervised": gains, "kept by int8": kept}
    return {
        name: {
            "mean": round(statistics.mean(values), 4),
            "deviation": round(spread(values), 4) if len(values) > 1 else None,
        }
        for name, values in told.items()
    }


def choose(here: Checkout, name: str, corpus: Rows, rows: int, draws: int) -> None:
    """Print the accuracy on development rows of each of CANDIDATES, the mean over draws that are not measured."""
    for method, candidates in CANDIDATES.items():
        for changes in candidates:
            found = []
            for seed in range(UNMEASURED, UNMEASURED + draws):
                write_draw(corpus, here.folder / DATA, rows=rows, seed=seed, development=True)
                here.reproduce({**values_of(name, method, rows, seed), **changes}, ["evaluate@teacher"])
                found.append(here.measured("quality/teacher")["accuracy"])
            print(f"{rows} rows, {method} {changes}: {statistics.mean(found):.4f} ({spread(found):.4f})", flush=True)


def main() -> None:
    """Measure, or choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("folder", type=Path, help="where its files lie")
    parser.add_argument("--rows", type=int, nargs="+", choices=PAIRS_PER_ROW, default=[*PAIRS_PER_ROW], help="a label")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first draw's number, which is its seed")
    parser.add_argument("--choose", action="store_true", help="only choose values, on rows that are no test rows")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/few_labels.json")
    chosen = parser.parse_args()
    corpus = CORPORA[chosen.corpus](chosen.folder)
    with checkout(ROOT, print, name="few_labels") as here:
        for rows in chosen.rows:
            if chosen.choose:
                choose(here, chosen.corpus, corpus, rows, chosen.draws)
                continue
            for seed in range(chosen.first, chosen.first + chosen.draws):
                print(f"{chosen.corpus}, {rows} rows a label, draw {seed}", flush=True)
                found = measured(here, chosen.corpus, corpus, rows, seed)
                record.write_beside(
                    chosen.output, chosen.corpus, recorded(chosen.output, chosen.corpus, rows, seed, found)
                )


if __name__ == "__main__":
    main()
