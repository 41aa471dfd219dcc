"""What a change of domain costs, and what unlabelled text of the new one wins back: `python benchmarks/shift.py`.

After `make repro PROJECT=ratings`, whose models learned from sentences of film reviews. Each of the other domains,
whose rows are set aside, is cut into halves, by review or article:

    one half    without its ratings: the teacher answers its texts, and the student learns from these answers too
                (clean.unlabelled: transfer does that to data of one's own)
    the other   judges: baseline, teacher, the student of films alone, and the one that has read the new domain

Of each domain there is also the drift from the films that `validate` would find, with params.yaml's limits. Pearson's
correlations have intervals by review or article; so has what the unlabelled half won, on the same rows. A student a
domain and seed is trained: some minutes each on two cores. Writes shift.json beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import record
from ratings import domains

from flows.experiments.seeds import of_differences
from stages.cache_logits import cache_logits
from stages.core.params.file import Params, load_params
from stages.core.paths import TRANSFER, Paths
from stages.distill import distill
from stages.measures.counted import Counted, counted
from stages.measures.opened import opened
from stages.measures.paired import difference_interval, interval
from stages.reading.clean_rows import GROUP, texts_of
from stages.sources.human_ratings import LEARNED
from stages.tasks.contract import Measure
from stages.tasks.regression.data import DATA
from stages.tasks.regression.measures import MEASURES
from stages.tokenize import tokenize
from stages.validation.profiles import drift, profile, word_counts

ROOT = Path(__file__).resolve().parents[1]
FILMS_ALONE, ADAPTED = "student", "adapted student"
MODELS = ("baseline", "teacher", FILMS_ALONE)
LINKED = ("models/teacher", "models/co_teachers")
LIMITS = {"labels": "max_label_drift", "lengths": "max_length_drift", "words": "max_word_drift"}


def halves(rows: pa.Table, seed: int) -> tuple[pa.Table, pa.Table]:
    """The rows to read without their ratings, and those that judge; no review or article is in both."""
    units, of_rows = np.unique(np.asarray(rows[GROUP].to_pylist(), dtype=str), return_inverse=True)
    first_U = np.random.default_rng(seed).permutation(len(units)) < len(units) // 2
    reads_N = first_U[of_rows.ravel()]
    return rows.filter(pa.array(reads_N)), rows.filter(pa.array(~reads_N))


def with_transfer(clean: pa.Table, more: pa.Table) -> pa.Table:
    """The clean rows, and the texts of others as rows of the split `transfer`, without a label; sorted as `clean` does.

    A text that is in a split already is left out.
    """
    known = {*clean["text"].to_pylist()}
    rows = [row for row in more.to_pylist() if row["text"] not in known]
    empty = dict.fromkeys(clean.column_names)
    added = [empty | {"row_id": row["row_id"], "text": row["text"], "split": TRANSFER} for row in rows]
    table = pa.concat_tables([clean, pa.Table.from_pylist(added, clean.schema)])
    return table.sort_by([("split", "ascending"), ("row_id", "ascending")])


@contextlib.contextmanager
def workplace(root: Path, clean: pa.Table) -> Iterator[Paths]:
    """A folder with these rows and the teacher of the project at `root`, in which a student can be made."""
    with tempfile.TemporaryDirectory(prefix="winnow-shift-") as scratch:
        paths = Paths(Path(scratch))
        for name in LINKED:
            link = Path(scratch) / "artifacts" / name
            if (source := root / "artifacts" / name).exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(source.resolve(strict=True))
        paths.clean.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(clean, paths.clean)
        report = paths.training("teacher")
        report.parent.mkdir(parents=True)
        report.write_bytes(Paths(root).training("teacher").read_bytes())
        yield paths


def adapted(params: Params, paths: Paths, seeds: Sequence[int], texts: Sequence[Any]) -> list[list[str]]:
    """The answers of a student of each seed that has learned the teacher's answers to the transfer rows too."""
    tokenize(params, paths)
    cache_logits(params, paths)
    found = []
    for seed in seeds:
        distill(params.model_copy(update={"seed": seed}), paths)
        found.append(list(opened(paths.model("student")).ask(texts).answers))
    return found


def drifted(films: pa.Table, rows: pa.Table, params: Params) -> dict[str, Any]:
    """The drift of the rows from the films, and which limits of `validate` it exceeds."""
    before, now = (table.select(["text", "label"]).to_pandas() for table in (films, rows))
    found = drift(profile(before, DATA), profile(now, DATA), word_counts(now["text"]))
    limits = {name: getattr(params.validate_, limit) for name, limit in LIMITS.items()}
    values = {name: getattr(found, name) for name in LIMITS}
    beyond = [LIMITS[name] for name, limit in limits.items() if limit is not None and values[name] > limit]
    return {**values, "beyond": beyond, "words_of_it": found.changes["word_drift"]}


def judged(
    answers: Mapping[str, Sequence[str]], others: Sequence[Sequence[str]], rows: pa.Table, params: Params
) -> dict[str, Any]:
    """Pearson's correlation of each model, and what the adapted students (`others`, one a seed) won over the first."""
    drawn: Any = {
        "confidence": params.evaluate.confidence, "resamples": params.evaluate.resamples, "seed": params.data_seed
    }  # fmt: skip
    truths, units = rows["label"].to_pylist(), rows[GROUP].to_pylist()
    measure = next(one for one in MEASURES.of(truths) if one.name == "pearson")

    def of(given: Sequence[str]) -> Counted:
        return counted(MEASURES, measure, truths, given, units)

    found: dict[str, Any] = {name: _ends(of(given), measure, drawn) for name, given in answers.items()}
    each = [_ends(of(given), measure, drawn) for given in others]
    found[ADAPTED] = {key: round(statistics.mean(one[key] for one in each), 6) for key in each[0]}
    apart = [difference_interval(of(answers[FILMS_ALONE]), of(given), measure, **drawn) for given in others]
    differences = [{"difference": one.estimate, "low": one.low, "high": one.high} for one in apart]
    return {"rows": len(rows), "models": found, "won": of_differences(differences, params.evaluate.confidence)}


def _ends(rows: Counted, measure: Measure, drawn: Mapping[str, Any]) -> dict[str, float]:
    ends = interval(rows, measure, **drawn)
    return {"value": round(ends.estimate, 6), "low": round(ends.low, 6), "high": round(ends.high, 6)}


def as_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    names = (*MODELS, ADAPTED)
    lines = [f"| domain | rows | {' | '.join(names)} | won |", f"| --- | ---: |{' ---: |' * (len(names) + 1)}"]
    for domain, of in found.items():
        each = [of["models"][name] for name in names]
        cells = [f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for one in each]
        won = f"{of['won']['mean']:+.3f} ({of['won']['low']:+.3f} to {of['won']['high']:+.3f})"
        lines.append(f"| {domain} | {of['rows']:,} | {' | '.join(cells)} | {won} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?", default=ROOT / "projects/ratings")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks/shift.json")
    chosen = parser.parse_args()
    params, paths = load_params(chosen.project / "params.yaml"), Paths(chosen.project)
    clean = pq.read_table(paths.clean)
    seeds, found = range(params.seed, params.seed + chosen.seeds), {}
    for domain, rows in domains(paths):
        if domain == LEARNED:
            continue
        read, judging = halves(rows, params.data_seed)
        print(f"{domain}: {len(read):,} rows read, {len(judging):,} judge", flush=True)
        texts = texts_of(judging)
        answers = {name: list(opened(paths.model(name)).ask(texts).answers) for name in MODELS}
        with workplace(chosen.project, with_transfer(clean, read)) as here:
            others = adapted(params, here, seeds, texts)
        found[domain] = {
            "drift": drifted(clean, rows, params), "read": len(read), **judged(answers, others, judging, params)
        }  # fmt: skip
    record.write(chosen.output, {"learned": LEARNED, "seeds": list(seeds), "domains": found})
    print(as_table(found))


if __name__ == "__main__":
    main()
