"""How many planted wrong labels `winnow label errors` finds: `python benchmarks/label_errors.py`.

After `make repro`. Of the training and of the validation rows of the default project SHARE are given another of its
labels, drawn at random, once a seed; the rows are tokenized and the probe is fitted anew. Measured is the share of the
changed training rows among the first SHARE, and twice SHARE, of all training rows, as they are listed: by the baseline
alone and with the probe, each with models that did not learn from the row, or from any row of its file. The way to list
them was chosen with the seeds 0 and 1 of another draw. Writes label_errors.json beside this file.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import record

from flows.labelling.doubting import Settings, doubted_rows
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.probe import probe
from stages.tokenize import tokenize

ROOT = Path(__file__).resolve().parents[1]
SHARE = 0.05
APARTS: tuple[Literal["row", "group"], ...] = ("row", "group")
FOLDS, MOST = 5, 20_000
FIRST_SEED = 2


def flipped(clean: pa.Table, seed: int) -> tuple[pa.Table, set[str]]:
    """The rows with other labels for SHARE of those of two splits, and the ids of those of the training split."""
    draw, targets, wrong = np.random.default_rng(seed), clean["label"].to_pylist(), {}
    of_splits = clean["split"].to_pylist()
    labels = sorted({target for target, split in zip(targets, of_splits, strict=True) if split == "train"})
    for name in ("train", "validation"):
        own = [at for at, split in enumerate(of_splits) if split == name]
        wrong[name] = draw.choice(own, round(SHARE * len(own)), replace=False)
        for at in wrong[name]:
            targets[at] = str(draw.choice([label for label in labels if label != targets[at]]))
    place = clean.column_names.index("label")
    changed = clean.set_column(place, "label", pa.array(targets, clean.schema.field("label").type))
    return changed, set(clean["row_id"].take(pa.array(wrong["train"])).to_pylist())


def found_of(paths: Paths, params: Params, wrong: set[str], apart: Literal["row", "group"]) -> dict[str, float]:
    """Of the wrong rows the share among the first SHARE of all, and twice as many, as they are listed."""
    listed = doubted_rows(
        paths, params, Settings(10**9, 0, FOLDS, MOST, apart), settled=(), on_fold=lambda: None
    )  # fmt: skip
    order = [one.row.row_id for one in listed.rows]
    of = {"first": SHARE, "first_twice": 2 * SHARE}
    return {name: len(wrong & {*order[: round(part * listed.of)]}) / len(wrong) for name, part in of.items()}


def measured(root: Path, seed: int) -> dict[str, Any]:
    """With and without the probe, by what is kept apart, what is found of the labels that are changed by that seed."""
    with tempfile.TemporaryDirectory(prefix="winnow-label-errors-") as scratch:
        paths = Paths(Path(scratch))
        paths.clean.parent.mkdir(parents=True)
        shutil.copyfile(root / "params.yaml", paths.params)
        changed, wrong = flipped(pq.read_table(Paths(root).clean), seed)
        pq.write_table(changed, paths.clean)
        params = load_params(paths.params)
        found: dict[str, Any] = {"baseline": {apart: found_of(paths, params, wrong, apart) for apart in APARTS}}
        tokenize(params, paths)
        probe(params, paths)
        return found | {"with_probe": {apart: found_of(paths, params, wrong, apart) for apart in APARTS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/label_errors.json")
    chosen = parser.parse_args()
    runs = {}
    for seed in range(FIRST_SEED, FIRST_SEED + chosen.seeds):
        runs[str(seed)] = measured(ROOT, seed)
        print(seed, runs[str(seed)], flush=True)
        summary = {
            f"{models}, {apart} apart": {
                name: {
                    "mean": round(statistics.mean(run[models][apart][name] for run in runs.values()), 4),
                    "lowest": round(min(run[models][apart][name] for run in runs.values()), 4),
                    "highest": round(max(run[models][apart][name] for run in runs.values()), 4),
                }
                for name in ("first", "first_twice")
            }
            for models in ("baseline", "with_probe")
            for apart in APARTS
        }
        record.write(chosen.output, {"share": SHARE, "folds": FOLDS, "summary": summary, "seeds": runs})
    for name, figures in summary.items():
        print(f"{name}: " + ", ".join(f"{key} {100 * one['mean']:.1f}%" for key, one in figures.items()))


if __name__ == "__main__":
    main()
