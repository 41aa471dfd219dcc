"""How fast rows are cleaned and tokenized, and how many duplicates are found: `python benchmarks/data.py`.

It makes a corpus in a temporary folder: docstrings of 100 to 400 characters, repeated, each time with half of the words
drawn anew from all of them; a tenth of the rows is then planted again: in capitals, with zero-width letters, with
punctuation, or with one word changed. `--rows 100000 500000 5000000` says how many. Each way is a process of its own,
whose time, processor time and peak memory count; the ways are compared in turns, all on the same rows:

- clean: the whole stage with params.yaml as it is;
- rules: its rules alone, from Parquet to Parquet; datasets_rules: the same through `datasets.map`, in one process;
  datasets_rules_all: in a process a core;
- datasketch_clean: rules, keys and MinHashes of as many permutations and bands by datasketch, through `datasets.map` in
  batches and in a process a core, its index of buckets, and splits; left out where it is not installed (`make peers`);
- exact: NFC, invisible characters, white space, and one row a key, from Parquet to Parquet; polars_exact: in Polars;
- tokenize: the stage's encoding and writing; encode_batch_fast: the raw call of `tokenizers`, in pieces
  of a thousand.

Recall is the share of the planted pairs of which a row is dropped; taken by mistake, that of the other rows, which are
in no planted pair, that are dropped as duplicates. Writes data.json beside this file, or to `--output`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import record
from tqdm import tqdm

from stages.core.machine import cores
from stages.core.params.file import Params, load_params
from stages.core.paths import Paths
from stages.ingest import SCHEMA

ROOT = Path(__file__).resolve().parents[1]
ROWS = (100_000, 500_000, 5_000_000)
PIECE = 50_000  # rows made at once
KINDS = ("case", "zero_width", "punctuation", "word")
PLANTED = 0.1
COMPARED_ROWS = 100_000  # the ways are compared on a corpus of so many rows at most
TOKENIZED_ROWS = 50_000
TURNS = 3
COSTS = ("microseconds_a_row", "processor_microseconds_a_row", "peak_gb")
DUPLICATES = ("exact_duplicate", "near_duplicate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="sizes of the corpora; each is cleaned once")
    parser.add_argument("--turns", type=int, default=TURNS, help="of the ways that are compared; the fastest counts")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    sizes = sorted(arguments.rows)
    compared = max([rows for rows in sizes if rows <= COMPARED_ROWS], default=sizes[0])
    base = docstrings()
    report: dict[str, Any] = {"rows_compared": compared}
    ways = [way for way in WAYS if way != "datasketch_clean" or find_spec("datasketch")]
    steps = tqdm(total=3 * len(sizes) + arguments.turns * len(ways), disable=None)
    with tempfile.TemporaryDirectory(prefix="winnow-data-") as scratch:
        report["clean"] = {str(rows): whole(base, rows, Path(scratch), steps, keep=rows == compared) for rows in sizes}
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for turn in range(arguments.turns):
            for way, times in found.items():
                steps.set_description(f"turn {turn + 1}: {way}")
                times.append(run(way, Path(scratch) / str(compared)))
                steps.update()
                steps.write(f"turn {turn + 1}: {way:20}{times[-1]['microseconds_a_row']:10.2f} us a row")
    steps.close()
    report |= summary(report["clean"], found)
    record.write(arguments.output, report)


def whole(
    base: list[tuple[list[str], str]], rows: int, scratch: Path, steps: tqdm[None], *, keep: bool
) -> dict[str, Any]:
    """What the whole stage costs and finds on a corpus of so many rows; `keep` leaves the corpus there."""
    paths = Paths(scratch / str(rows))
    steps.set_description(f"{rows} rows: make the corpus")
    write_corpus(paths, base, rows)
    steps.update()
    steps.set_description(f"{rows} rows: clean")
    cost = run("clean", paths.root)
    steps.update()
    outcome = cost | duplicates(paths)
    steps.update()
    steps.write(f"{rows} rows: {json.dumps(outcome)}")
    if not keep:
        shutil.rmtree(paths.root)
    return outcome


def summary(cleaned: dict[str, Any], found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The least cost of each way, and the ratios that are asked for."""
    least = {name: {way: min(time[name] for time in times) for way, times in found.items()} for name in COSTS}
    cost = least["microseconds_a_row"]
    per_row = [entry["microseconds_a_row"] for entry in cleaned.values()]
    return least | {
        "clean_faster_than_datasketch": ratio(cost, "datasketch_clean", "clean"),
        "clean_to_rules_of_datasets_map": round(cost["datasets_rules"] / cost["clean"], 2),
        "rules_faster_than_datasets_map": round(cost["datasets_rules"] / cost["rules"], 1),
        "rules_faster_than_datasets_map_on_all_cores": round(cost["datasets_rules_all"] / cost["rules"], 1),
        "exact_faster_than_polars": round(cost["polars_exact"] / cost["exact"], 2),
        "tokenize_to_encode_batch_fast": round(cost["encode_batch_fast"] / cost["tokenize"], 3),
        "cost_a_row_of_most_rows_to_fewest": round(per_row[-1] / per_row[0], 2),
        "cost_a_row_of_most_rows_to_those_before": round(per_row[-1] / per_row[-2], 2) if len(per_row) > 1 else None,
        "peak_gb_of_most_rows": list(cleaned.values())[-1]["peak_gb"],
    }


def ratio(cost: dict[str, float], slower: str, faster: str) -> float | None:
    """How many times as long the one takes; None where it did not take part."""
    return round(cost[slower] / cost[faster], 1) if slower in cost else None


def docstrings() -> list[tuple[list[str], str]]:
    """Words and label of each text that is repeated."""
    from stages.sources.docstrings import read

    params = load_params(ROOT / "params.yaml")
    wanted = {"min_chars": 100, "max_chars": 400, "rows_per_library": 2_000, "held_out_rows_per_library": 0}
    docstrings = params.ingest.docstrings.model_copy(update=wanted)
    rows = read(params.ingest.model_copy(update={"docstrings": docstrings}), params.data_seed)
    return [((row.text or "").split(), row.label or "") for row in rows]


def write_corpus(paths: Paths, base: list[tuple[list[str], str]], rows: int) -> None:
    """The raw table; `kept` says of what kind a row is. A planted one repeats the row before it."""
    paths.raw.parent.mkdir(parents=True)
    draw, words = np.random.default_rng(1), np.array([word for text, _ in base for word in text], dtype=object)
    with pq.ParquetWriter(paths.raw, SCHEMA) as writer:
        for start in range(0, rows, PIECE):
            made = edited(base, words, draw, min(PIECE, rows - start))
            ids = [f"{(start + at) * 0x9E3779B97F4A7C15 % 2**64:016x}" for at in range(len(made))]
            kept = [json.dumps({"kind": kind}) for _, _, kind in made]
            none = [None] * len(made)
            columns = [ids, [row[0] for row in made], [row[1] for row in made], ids, none, none, kept]
            writer.write_table(pa.table(columns, schema=SCHEMA))
    pq.write_table(pa.table({"origin": pa.array([], pa.large_string())}), paths.unreadable)


def edited(base: list[tuple[list[str], str]], words: np.ndarray, draw: np.random.Generator, rows: int) -> list[tuple]:
    """(text, label, kind) of so many rows; `words` are those of all texts of `base`, in order."""
    lengths = np.array([len(text) for text, _ in base])
    firsts = np.cumsum(lengths) - lengths
    chosen = draw.integers(len(base), size=rows)
    ends = np.cumsum(lengths[chosen])
    own = np.arange(ends[-1]) + np.repeat(firsts[chosen] - (ends - lengths[chosen]), lengths[chosen])
    new = draw.integers(len(words), size=len(own))
    mixed = words[np.where(draw.random(len(own)) < 0.5, own, new)].tolist()
    repeated = draw.random(rows) < PLANTED
    made: list[tuple] = []
    for at, (of, end) in enumerate(zip(chosen.tolist(), ends.tolist(), strict=True)):
        text, label = mixed[end - lengths[of] : end], base[of][1]
        made.append((" ".join(text), label, "rest"))
        if repeated[at]:
            kind = KINDS[draw.integers(len(KINDS))]
            made.append((" ".join(planted(kind, text, words, draw)), label, kind))
        if len(made) >= rows:
            break
    return made[:rows]


def planted(kind: str, text: list[str], words: np.ndarray, draw: np.random.Generator) -> list[str]:
    if kind == "case":
        return [word.upper() for word in text]
    if kind == "zero_width":
        return ["\u200b".join(word) for word in text]
    if kind == "punctuation":
        return [f"{word}," for word in text]
    at = int(draw.integers(len(text)))
    return [*text[:at], str(words[draw.integers(len(words))]), *text[at + 1 :]]


def duplicates(paths: Paths) -> dict[str, Any]:
    """Recall on what was planted, by kind, and the share of the rest that was taken by mistake."""
    raw = pq.read_table(paths.raw, columns=["row_id", "kept"])
    quarantine = pq.read_table(paths.quarantine, columns=["row_id", "reason"])
    reasons = pa.array(DUPLICATES, pa.large_string())
    repeats = quarantine.filter(pc.is_in(quarantine["reason"], value_set=reasons))
    dropped, taken = (
        pc.is_in(raw["row_id"], value_set=rows["row_id"].combine_chunks()).to_numpy() for rows in (quarantine, repeats)
    )
    kind = raw["kept"].combine_chunks().dictionary_encode()
    names = [json.loads(value)["kind"] for value in kind.dictionary.to_pylist()]
    kind = np.array(names)[kind.indices.to_numpy()]
    counted = (kind != "rest") & (~dropped | taken)  # one that is too short is no duplicate to be found
    found = taken | np.roll(taken, 1)  # of a pair, it or the row before
    alone = (kind == "rest") & ~np.roll(counted, -1)
    return {
        "recall": round(float(found[counted].mean()), 4),
        "recall_by_kind": {name: round(float(found[counted & (kind == name)].mean()), 4) for name in KINDS},
        "taken_by_mistake": round(float(taken[alone].mean()), 5),
    }


def run(way: str, folder: Path) -> dict[str, Any]:
    """Measure one way in a process of its own."""
    command = [sys.executable, __file__, way, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ})
    return json.loads(done.stdout.splitlines()[-1])


def measure(way: str, folder: Path) -> None:
    prepared, rows = WAYS[way](load_params(ROOT / "params.yaml"), Paths(folder))
    before, started = processor_seconds(), time.perf_counter()
    prepared()
    seconds, busy = time.perf_counter() - started, processor_seconds() - before
    print(
        json.dumps(dict(zip(COSTS, (round(1e6 * seconds / rows, 3), round(1e6 * busy / rows, 3), peak()), strict=True)))
    )


def processor_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    return sum(os.times()[:4])


def peak() -> float:
    """The most memory that this process held, in GB; Linux's `getrusage` would count its parent's too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return round(int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e6, 2)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9, 2)


Prepared = tuple[Callable[[], object], int]


def count(paths: Paths) -> int:
    return pq.read_metadata(paths.raw).num_rows


def clean(params: Params, paths: Paths) -> Prepared:
    from stages.clean import clean

    return lambda: clean(params, paths), count(paths)


def cleaning(params: Params, names: list[str] | None = None) -> Any:
    from stages.cleaning.rules import cleaning_of

    clean = params.clean
    return cleaning_of(names or clean.rules, clean.masks, clean.stop_word_language, clean.max_chars)


def rules(params: Params, paths: Paths) -> Prepared:
    import daft

    from stages.cleaning import batches, frames

    text = batches.cleaned(daft.col("text"), cleaning(params))["text"]
    out = str(paths.root / "rules")
    return (
        lambda: frames.read(paths.raw).with_column("text", text).write_parquet(out, write_mode="overwrite"),
        count(paths),
    )


def datasets_rules(params: Params, paths: Paths, processes: int | None = None) -> Prepared:
    import datasets

    from stages.cleaning.rules import cleaner

    datasets.disable_progress_bars()
    clean_text = cleaner(cleaning(params))
    cache = str(paths.root / "datasets")
    rows = datasets.Dataset.from_parquet(str(paths.raw), cache_dir=cache)

    def batch(texts: list[str]) -> dict[str, list[str]]:
        return {"text": [clean_text(text) for text in texts]}

    def work() -> None:
        changed = rows.map(batch, batched=True, input_columns=["text"], num_proc=processes, load_from_cache_file=False)
        changed.to_parquet(str(paths.root / "datasets.parquet"))

    return work, len(rows)


def datasets_rules_all(params: Params, paths: Paths) -> Prepared:
    return datasets_rules(params, paths, cores())


def datasketch_clean(params: Params, paths: Paths) -> Prepared:
    """What such scripts do: signatures in `map`, datasketch's index of buckets, pairs judged by their shingles."""
    import hashlib
    import re

    import datasets
    from datasketch import LeanMinHash, MinHash, MinHashLSH

    from stages.cleaning.duplicates import SHINGLE, banding
    from stages.cleaning.rules import cleaner

    datasets.disable_progress_bars()
    clean_text = cleaner(cleaning(params))
    rows = datasets.Dataset.from_parquet(str(paths.raw), cache_dir=str(paths.root / "datasets"))
    bands, width = banding(params.clean.near_duplicate_jaccard)

    def shingles(key: str) -> set[bytes]:
        return {key[at : at + SHINGLE].encode() for at in range(max(1, len(key) - SHINGLE + 1))}

    def batch(texts: list[str]) -> dict[str, list[Any]]:
        cleaned = [clean_text(text) for text in texts]
        keys = [re.sub(r"[\W_]+", " ", text.lower()).strip() for text in cleaned]
        hashes = MinHash.bulk([list(shingles(key)) for key in keys], num_perm=bands * width)
        return {"clean": cleaned, "key": keys, "signature": [found.hashvalues.tobytes() for found in hashes]}

    def work() -> None:
        signed = rows.map(
            batch, batched=True, input_columns=["text"], num_proc=cores(), load_from_cache_file=False
        )  # fmt: skip
        like = MinHash(num_perm=bands * width)
        index = MinHashLSH(params.clean.near_duplicate_jaccard, num_perm=bands * width, params=(bands, width))
        keys: list[str] = []
        kept = []
        for at, row in enumerate(signed.select_columns(["row_id", "key", "signature"])):
            keys.append(row["key"])
            values = np.frombuffer(row["signature"], dtype=like.hashvalues.dtype)
            signature = LeanMinHash(seed=like.seed, hashvalues=values, scheme=like.scheme)
            own = shingles(row["key"])
            near = (shingles(keys[other]) for other in index.query(signature))
            if not any(len(own & other) >= params.clean.near_duplicate_jaccard * len(own | other) for other in near):
                kept.append((hashlib.sha256(row["row_id"].encode()).digest(), at))
                index.insert(at, signature, check_duplication=False)
        signed.select([at for _, at in sorted(kept)]).to_parquet(str(paths.root / "datasets.parquet"))

    return work, len(rows)


def exact(params: Params, paths: Paths) -> Prepared:
    from daft import col

    from stages.cleaning import batches, frames
    from stages.cleaning.keys import comparison_key
    from stages.cleaning.tables import distinct, taken
    from stages.core.files import write_parquet

    plain = cleaning(params, ["unicode_nfc", "invisible_characters", "white_space"])

    columns = ("row_id", "clean", "origin", "kept", "label")

    def work() -> None:
        frame = frames.read(paths.raw).with_column("clean", batches.cleaned(col("text"), plain)["text"])
        frame = frame.select(*columns).with_column("key", comparison_key(col("clean")))
        table = frame.to_arrow()
        order = pc.sort_indices(table["row_id"]).to_numpy()
        keys = distinct(table["key"].combine_chunks())[0][order]
        first = order[np.sort(np.unique(keys, return_index=True)[1])]
        heavy = {name: table[name].combine_chunks() for name in columns}  # as `normalised` does, a column at a time
        write_parquet(paths.root / "exact.parquet", taken(heavy, first))

    return work, count(paths)


def polars_exact(_params: Params, paths: Paths) -> Prepared:
    import polars as pl

    from stages.core.unseen import HIDDEN

    def work() -> None:
        hidden = HIDDEN.replace(r"\0-\b", r"\x00-\x08")  # as Rust's regular expressions write them
        text = pl.col("text").str.normalize("NFC").str.replace_all(f"[{hidden}]", "")
        text = text.str.replace_all(r"\s+", " ").str.strip_chars()
        key = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")
        frame = pl.scan_parquet(paths.raw).with_columns(text=text).with_columns(key=key.str.strip_chars())
        rows = frame.sort("row_id").unique("key", keep="first", maintain_order=True).collect()
        rows.select("row_id", "text", "origin", "kept", "label").write_parquet(paths.root / "polars.parquet")

    return work, count(paths)


def texts_and_task(params: Params, paths: Paths) -> tuple[pa.Table, Any, Any, dict[str, Any]]:
    from stages.core import plugins
    from stages.models.pretrained import load_tokenizer
    from stages.tasks import TASKS

    table = pq.read_table(paths.clean, columns=["row_id", "text", "label"]).slice(0, TOKENIZED_ROWS).combine_chunks()
    space = {"labels": sorted(set(table["label"].to_pylist()))}
    tokenizer = load_tokenizer(params.model)
    tokenizer.backend_tokenizer.no_padding()  # as the stage does
    values = {"space": space, "max_tokens": params.tokenize.max_tokens, "stride": None}
    return table, plugins.part(TASKS, params.task.name, "encoding", key="task.name"), tokenizer, values


def tokenize(params: Params, paths: Paths) -> Prepared:
    import datasets

    from stages.tokens.arrow import write_tokens

    datasets.disable_progress_bars()
    table, task, tokenizer, values = texts_and_task(params, paths)
    return lambda: write_tokens(table, paths.root / "tokens", task, tokenizer, values), len(table)


def encode_batch_fast(params: Params, paths: Paths) -> Prepared:
    table, _, tokenizer, values = texts_and_task(params, paths)
    engine = tokenizer.backend_tokenizer
    engine.enable_truncation(values["max_tokens"])
    texts = table["text"].to_pylist()

    def batches() -> Iterator[int]:
        for at in range(0, len(texts), 1000):
            yield len(engine.encode_batch_fast(texts[at : at + 1000]))

    return lambda: sum(batches()), len(texts)


WAYS: dict[str, Callable[..., Prepared]] = {
    way.__name__: way
    for way in (
        clean, rules, datasets_rules, datasets_rules_all, datasketch_clean, exact, polars_exact, tokenize,
        encode_batch_fast,
    )
}  # fmt: skip

if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in WAYS:
        measure(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
