"""What `winnow init` wins by having few rows learned more often: `python benchmarks/few_rows.py FOLDER [--draws 2]`.

FOLDER holds Banking77's train.csv (Casanueva et al. 2020), of which each draw takes SIZES: some labels, and some rows
of each. The others of its rows with these labels, DEVELOPMENT at most, are what the models are measured on; the
official test rows have no part in it. A project is started on the rows as a user would, and reproduced twice: with the
values that `init` gives it, and with the epochs and the patience of params.yaml. Writes few_rows.json beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import record

from flows.dvc import reproducing
from flows.dvc.edits import set_values
from flows.projects.guessing import guess
from flows.projects.sample import sample_of
from flows.projects.starting import start
from flows.running.processes import Children
from stages.core.files import read_json
from stages.core.params.file import Params, load_params

ROOT = Path(__file__).resolve().parent.parent
SIZES = {150: 10, 500: 20, 1000: 40}  # rows to learn and to choose from, and their labels
DEVELOPMENT = 900  # with more, `init` sees the first rows of a file alone
MODELS = ("baseline", "teacher", "quantized")
EPOCHS = ("finetune.epochs", "finetune.patience", "distill.epochs", "distill.patience", "prune.epochs")


def write_rows(source: Path, target: Path, *, rows: int, seed: int) -> None:
    """Write the drawn rows as `train` and the others as `test`, told apart by a column."""
    every = pd.read_csv(source / "train.csv", keep_default_na=False).sample(frac=1.0, random_state=seed)
    labels = pd.Series(sorted(every["category"].unique())).sample(SIZES[rows], random_state=seed)
    of_labels = every[every["category"].isin(labels)]
    drawn = of_labels[of_labels.groupby("category").cumcount() < rows // SIZES[rows]]
    others = of_labels.drop(drawn.index).head(DEVELOPMENT)
    pd.concat([drawn.assign(split="train"), others.assign(split="test")]).to_csv(target, index=False)


def values_of(params: Params) -> dict[str, Any]:
    """How often a project learns its rows."""
    return {name: getattr(getattr(params, name.split(".")[0]), name.split(".")[1]) for name in EPOCHS}


def reproduced(folder: Path, values: Mapping[str, Any], children: Children) -> dict[str, Any]:
    """Macro-F1 of each model with those values, and the minutes that the training and all behind it took."""
    set_values(folder / "params.yaml", values)
    started = time.perf_counter()
    targets = [f"evaluate@{model}" for model in MODELS]
    reproducing.stream(folder, ["repro", *targets], lambda _: None, children)
    minutes = (time.perf_counter() - started) / 60
    quality = {model: read_json(folder / f"metrics/quality/{model}.json")["macro_f1"] for model in MODELS}
    return {"values": dict(values), **quality, "minutes": round(minutes, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where train.csv lies")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/few_rows.json")
    chosen = parser.parse_args()
    usual = values_of(load_params(ROOT / "params.yaml"))
    draws: dict[str, dict[int, Any]] = {str(rows): {} for rows in SIZES}
    for seed in range(chosen.draws):
        for rows in SIZES:
            with tempfile.TemporaryDirectory() as scratch, Children() as children:
                folder, data = Path(scratch) / "project", Path(scratch) / "rows.csv"
                write_rows(chosen.folder, data, rows=rows, seed=seed)
                proposal = guess(sample_of(str(data)))
                start(folder, proposal.task, data, proposal)
                as_started = values_of(load_params(folder / "params.yaml"))
                reproducing.stream(folder, ["repro", "tokenize", "evaluate@baseline"], lambda _: None, children)
                found = {
                    "as_started": reproduced(folder, as_started, children),
                    "usual": reproduced(folder, usual, children),
                }
            draws[str(rows)][seed] = found
            print(rows, seed, found, flush=True)
            record.write(chosen.output, {"labels": SIZES, "summary": summary(draws), "draws": draws})


def summary(draws: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
    """Of each number of rows the means over the draws."""
    names = (*MODELS, "minutes")
    return {
        rows: {
            how: {name: round(statistics.mean(draw[how][name] for draw in of.values()), 4) for name in names}
            for how in ("as_started", "usual")
        }
        for rows, of in draws.items()
        if of
    }


if __name__ == "__main__":
    main()
