"""Values of params.yaml chosen again, on validation rows: `python benchmarks/choices.py` (after `make repro`).

No test row is looked at. Students and pruned models are trained from the artifacts of this clone, with several seeds
and the one teacher that is there; their answers to the validation rows are kept. Three choices are judged by them:

- `select_by`: the validation rows are cut into halves, many times at random; one half chooses the epoch, the other
  tells what the chosen one and the last one are worth. (Half of the rows choose worse than all of them would.)
- `prune.feed_forward_kept`: the shares of KEPT_SHARES. How much a neuron matters is measured on the first half of the
  validation rows; the second half has seen nothing of a model, and all rows together say it with less noise.
- windows: a student that reads so few tokens at once answers for texts that are longer, in each of WAYS.

Each share and way has its difference from what params.yaml and the code do, with an interval over rows and seeds. On
two cores a seed takes five to eight minutes. Writes choices.json beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import record
from sklearn.metrics import f1_score
from tokenizers import Tokenizer

from flows.experiments.seeds import of_differences, of_values
from stages.core import plugins
from stages.core.contracts import Family
from stages.core.files import read_json
from stages.core.model_folder import plugin_of
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.distill import distill
from stages.measures.counted import counted
from stages.measures.paired import difference_interval, measured
from stages.models import FAMILIES
from stages.prune import prune
from stages.reading.clean_rows import TEXT_PAIR, read_split
from stages.tasks import TASKS
from stages.tasks.contract import TaskEncoding, TaskMeasures
from stages.tokens.encoded import encoded
from stages.training import loop
from stages.training.inference import predict_logits
from stages.training.rows import TokenRows, rows_of

ROOT = Path(__file__).resolve().parents[1]
HALVES = 200
KEPT_SHARES = (0.5, 0.62, 0.75, 1.0)
WINDOWS = ((16, 0), (16, 4), (24, 6))  # tokens at once, and those that neighbours share
READ = ("data", "logits.safetensors", "models/teacher")
OURS = "mean logit by tokens"  # what `windows` does


class Answers(NamedTuple):
    """What the model of each epoch says of the validation rows."""

    given_EN: np.ndarray
    truth_N: np.ndarray


@contextlib.contextmanager
def workplace(root: Path) -> Iterator[Paths]:
    """A folder to train in, with the artifacts of the project at `root` that students are made of."""
    with tempfile.TemporaryDirectory(prefix="winnow-choices-") as scratch:
        for name in READ:
            link = Path(scratch) / "artifacts" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((root / "artifacts" / name).resolve(strict=True))
        yield Paths(Path(scratch))


def answers_by_epoch(stage: Callable[[Params, Paths], None], params: Params, paths: Paths) -> Answers:
    """Run the stage, and keep the answers of each epoch; its model stays where the stage writes it."""
    found: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    scores_of = loop.scores_of

    def kept(logits: np.ndarray, rows: TokenRows, score: Any) -> dict[str, float]:
        found.append(rows.by_text(logits).argmax(1))
        truth.append(rows.targets[rows.first_of_texts])
        return scores_of(logits, rows, score)

    loop.scores_of = kept
    try:
        stage(params, paths)
    finally:
        loop.scores_of = scores_of
    return Answers(np.array(found), truth[0])


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


def with_share(params: Params, share: float, importance_rows: int) -> Params:
    changes = {"feed_forward_kept": share, "importance_rows": importance_rows}
    return params.model_copy(update={"prune": params.prune.model_copy(update=changes)})


def judged(
    answers: Mapping[str, Sequence[np.ndarray]], truth_N: np.ndarray, ours: str, name: str, params: Params
) -> dict[str, Any]:
    """The measure of each candidate's answers, (N,) a seed, and its difference from those of `ours`."""
    task: TaskMeasures = plugins.part(TASKS, params.task.name, "measures", key="task.name")
    measure, rows = task.measure(name), list(map(str, range(len(truth_N))))
    settings: Any = {
        "confidence": params.evaluate.confidence, "resamples": params.evaluate.resamples,
        "seed": params.data_seed,
    }  # fmt: skip
    found: dict[str, Any] = {"measure": name, "rows": len(truth_N), "ours": ours, "candidates": {}}
    truths = truth_N.astype(str).tolist()
    known = {
        way: [counted(task, measure, truths, given_N.astype(str).tolist(), rows) for given_N in of_seeds]
        for way, of_seeds in answers.items()
    }
    for way, of_seeds in known.items():
        values = [round(measured(given, measure), 6) for given in of_seeds]
        apart = [
            difference_interval(own, given, measure, **settings)
            for own, given in zip(known[ours], of_seeds, strict=True)
        ]
        differences = [{"difference": round(d.estimate, 6), "low": d.low, "high": d.high} for d in apart]
        found["candidates"][way] = {
            **of_values(values),
            "against_ours": of_differences(differences, params.evaluate.confidence),
        }
    return found


def of_windows(logits_WC: np.ndarray, rows: TokenRows) -> dict[str, np.ndarray]:
    """The answer to each of N texts, (N,), by each way to make one of its windows' logits; W windows in all."""
    begins = np.flatnonzero([at == 0 or rows.row_ids[at] != rows.row_ids[at - 1] for at in range(len(rows))])
    counts_N = np.diff([*begins, len(rows)])
    shifted = np.exp(logits_WC - logits_WC.max(1, keepdims=True))
    chances_WC = shifted / shifted.sum(1, keepdims=True)
    votes_WC = np.eye(logits_WC.shape[1])[logits_WC.argmax(1)]
    return {
        "first window": logits_WC[begins].argmax(1),
        "vote": np.add.reduceat(votes_WC, begins).argmax(1),
        "highest logit": np.maximum.reduceat(logits_WC, begins).argmax(1),
        "mean probability": (np.add.reduceat(chances_WC, begins) / counts_N[:, None]).argmax(1),
        "mean logit": (np.add.reduceat(logits_WC, begins) / counts_N[:, None]).argmax(1),
        OURS: rows.by_text(logits_WC).argmax(1),
    }


def read_in_windows(params: Params, paths: Paths) -> dict[tuple[int, int], tuple[dict[str, np.ndarray], np.ndarray]]:
    """By tokens at once and shared: each way's answers to the validation texts that are longer, and the true ones.

    Nothing for pairs, which are not read so.
    """
    encoding: TaskEncoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    columns = read_split(paths.clean, "validation").to_pydict()
    if TEXT_PAIR in columns:
        return {}
    described = read_json(paths.tokens / "space.json")
    folder = paths.model("student")
    family: Family = plugin_of(folder, "family", FAMILIES)
    model = family.open(folder)
    encode = functools.partial(
        encoded, columns, task=encoding, space=described["space"],
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
    )  # fmt: skip
    found = {}
    for at_once, shared in WINDOWS:
        rows = rows_of(encode(max_tokens=at_once, stride=shared))
        logits = predict_logits(
            model, rows, pad_id=described["pad_id"], precision="fp32", title=f"windows of {at_once}"
        )
        _, counts = np.unique(rows.row_ids, return_counts=True)
        longer = set(np.unique(rows.row_ids)[counts > 1])
        texts = np.array([row_id in longer for row_id in dict.fromkeys(rows.row_ids)])
        truth = rows.targets[rows.first_of_texts][texts]
        if len(truth):
            found[at_once, shared] = ({way: of[texts] for way, of in of_windows(logits, rows).items()}, truth)
    return found


def measure(root: Path, seeds: int) -> dict[str, Any]:
    """What each choice is worth on the validation rows of the project at `root`."""
    given = load_params(root / "params.yaml")
    current = given.prune.feed_forward_kept
    shares = sorted({*KEPT_SHARES, current})
    half = len(read_split(Paths(root).clean, "validation")) // 2
    lost: dict[str, list[float]] = {"distill": [], "prune": []}
    pruned: dict[str, list[np.ndarray]] = {str(share): [] for share in shares}
    windows: dict[tuple[int, int], list[dict[str, np.ndarray]]] = {}
    truths: dict[Any, np.ndarray] = {}
    for seed in range(given.seed, given.seed + seeds):
        params = given.model_copy(update={"seed": seed})
        with workplace(root) as paths:
            student = answers_by_epoch(distill, params, paths)
            lost["distill"].append(round(lost_by_choosing(*student, seed), 3))
            for sizes, (ways, truth_N) in read_in_windows(params, paths).items():
                windows.setdefault(sizes, []).append(ways)
                truths[sizes] = truth_N
            for share in shares:
                print(f"seed {seed}: feed_forward_kept {share}", flush=True)
                found = answers_by_epoch(prune, with_share(params, share, half), paths)
                pruned[str(share)].append(found.given_EN[-1])
                truths["pruned"] = found.truth_N
                if share == current:
                    lost["prune"].append(round(lost_by_choosing(*found, seed), 3))
    unseen = {name: [given_N[half:] for given_N in of] for name, of in pruned.items()}
    truth_N = truths["pruned"]
    return {
        "select_by": {name: {"seeds": of, "mean": round(statistics.mean(of), 3)} for name, of in lost.items()},
        "feed_forward_kept": {
            "unseen_half": judged(unseen, truth_N[half:], str(current), "macro_f1", given),
            "all_rows": judged(pruned, truth_N, str(current), "macro_f1", given),
        },
        "windows": {
            f"{at_once}, {shared}": judged(
                {way: [ways[way] for ways in of] for way in of[0]}, truths[at_once, shared], OURS, "accuracy", given
            )
            for (at_once, shared), of in windows.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--root", type=Path, default=ROOT, help="another project than this one")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/choices.json")
    chosen = parser.parse_args()
    found = measure(chosen.root.resolve(), chosen.seeds)
    record.write(chosen.output, {"seeds": chosen.seeds, **found})


if __name__ == "__main__":
    main()
