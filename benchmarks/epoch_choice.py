"""Which epoch of a student to keep: `python benchmarks/epoch_choice.py [--seeds 8]` (after `make repro`; ten minutes).

`distill` and `prune` run from the artifacts of this clone with several seeds, and the validation answers of every epoch
are kept. No test row is looked at: the validation rows are cut into halves, many times at random; one half chooses the
epoch, the other tells what the chosen one and the last one are worth. (Half of the rows choose worse than all of them
would.) `prune` starts from the one student that is there. Writes epoch_choice.json beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import record
from sklearn.metrics import f1_score

from stages.distill import distill
from stages.params import Params, load_params
from stages.paths import Paths
from stages.prune import prune
from stages.training import loop

ROOT = Path(__file__).resolve().parents[1]
HALVES = 200
READ = ("data", "logits.safetensors", "models/teacher", "models/student")


def answers_by_epoch(stage: Callable[[Params, Paths], None], params: Params) -> tuple[np.ndarray, np.ndarray]:
    """The labels that each epoch's model gives the validation rows, (E, N), and the true ones, (N,)."""
    found: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    scores_of = loop.scores_of

    def kept(logits: np.ndarray, rows: Any, score: Any) -> dict[str, float]:
        found.append(rows.by_text(logits).argmax(1))
        truth.append(rows.by_text(rows.labels))
        return scores_of(logits, rows, score)

    with tempfile.TemporaryDirectory() as scratch:
        for name in READ:
            link = Path(scratch) / "artifacts" / name
            if name == "models/student" and stage is distill:  # which it makes
                continue
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(ROOT / "artifacts" / name)
        loop.scores_of = kept
        try:
            stage(params, Paths(Path(scratch)))
        finally:
            loop.scores_of = scores_of
    return np.array(found), truth[0]


def lost_by_choosing(answers_EN: np.ndarray, truth_N: np.ndarray, seed: int) -> float:
    """What the last epoch has on one half over the epoch that the other half likes best: mean points of macro-F1."""
    generator = np.random.default_rng(seed)
    lost = []
    for _ in range(HALVES):
        order = generator.permutation(len(truth_N))
        for choose, judge in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            best = max(range(len(answers_EN)), key=lambda epoch: macro_f1(answers_EN[epoch], truth_N, choose))
            lost.append(macro_f1(answers_EN[-1], truth_N, judge) - macro_f1(answers_EN[best], truth_N, judge))
    return 100 * statistics.mean(lost)


def macro_f1(answers_N: np.ndarray, truth_N: np.ndarray, rows: np.ndarray) -> float:
    return float(f1_score(truth_N[rows], answers_N[rows], average="macro", zero_division=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/epoch_choice.json")
    chosen = parser.parse_args()
    given = load_params(ROOT / "params.yaml")
    lost: dict[str, list[float]] = {}
    for seed in range(given.seed, given.seed + chosen.seeds):
        for stage in (distill, prune):
            answers_EN, truth_N = answers_by_epoch(stage, given.model_copy(update={"seed": seed}))
            lost.setdefault(stage.__name__, []).append(round(lost_by_choosing(answers_EN, truth_N, seed), 3))
            print(f"seed {seed}, {stage.__name__}: {lost[stage.__name__][-1]:+.2f}", flush=True)
    found = {name: {"seeds": each, "mean": round(statistics.mean(each), 3)} for name, each in lost.items()}
    record.write(chosen.output, {"lost_by_choosing": found})


if __name__ == "__main__":
    main()
