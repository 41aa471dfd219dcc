"""A csv of many rows through `winnow predict FILE -o OUT`: rows a second against the runner's own, and the memory.

    python benchmarks/predict_file.py [--rows 1000000] [--project .] [--threads 2]

The rows are short texts, made of the words of training texts of the project. The runner alone is given the same texts
in lists of the same length as the command's batches; both run in processes of their own, in turns, so that what else
the machine does falls on both. Writes predict_file.json beside this file.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
from record import ROOT

from flows.answering.filling import BATCH
from stages.backends.runners import open_runner
from stages.reading.clean_rows import read_split

WORDS = (4, 16)  # of a row
ROUNDS = 3
PART = 20  # the runner alone has a 20th of the rows in each round: enough to know its speed by


def write_rows(path: Path, rows: int, project: Path) -> None:
    """A csv of `rows` rows with an id, a text and a column that is only carried along."""
    draw = random.Random(0)
    training = read_split(project / "artifacts/data/clean.parquet", "train")["text"].to_pylist()
    words = [word for text in training[:2000] for word in text.split()]
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["id", "text", "team"])
        for number in range(rows):
            lines.writerow([number, " ".join(draw.choices(words, k=draw.randint(*WORDS))), f"team {number % 7}"])


def runner_alone(path: Path, rows: int, model: Path, threads: int, round_: int) -> float:
    """Rows a second of the runner by itself, of a part of the rows that is another in each round."""
    wanted = max(rows // PART, min(rows, 4 * BATCH))
    start = (round_ * wanted) % max(rows - wanted + 1, 1)
    with path.open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for at, row in enumerate(csv.DictReader(file)) if start <= at < start + wanted]
    runner = open_runner(model, threads=threads)
    runner.predict(texts[:64])
    started = time.perf_counter()
    for at in range(0, len(texts), BATCH):
        runner.predict(texts[at : at + BATCH])
    return len(texts) / (time.perf_counter() - started)


def command(path: Path, rows: int, model: Path, threads: int) -> tuple[float, float, float]:
    """Rows a second of the command, without its start; its peak memory in MB; and the seconds of its start."""
    out = path.with_name("out.csv")

    def timed(file: Path) -> float:
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "flows.cli", "predict", str(file), "-o", str(out), "--model", str(model),
             "--threads", str(threads), "--text-column", "text"],
            cwd=path.parent, check=True,
        )  # fmt: skip
        return time.perf_counter() - started

    one = path.with_name("one.csv")
    one.write_text("id,text,team\n1,a word,none\n", encoding="utf-8")
    start = timed(one)
    seconds = timed(path) - start
    with out.open(encoding="utf-8") as file:
        assert sum(1 for _ in file) == rows + 1
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    return rows / seconds, peak, start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--project", type=Path, default=ROOT)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    chosen = parser.parse_args()
    model = chosen.project.resolve() / "artifacts/models/quantized"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, chosen.rows, chosen.project)
        alone, found = [], []
        for round_ in range(chosen.rounds):
            alone.append(runner_alone(path, chosen.rows, model, chosen.threads, round_))
            found.append(command(path, chosen.rows, model, chosen.threads))
            alone.append(runner_alone(path, chosen.rows, model, chosen.threads, round_))
    own, speed = statistics.median(alone), statistics.median(one[0] for one in found)
    record.write_beside(
        chosen.output,
        f"{chosen.rows} rows",
        {
            "rows": chosen.rows,
            "threads": chosen.threads,
            "rounds": chosen.rounds,
            "runner_rows_per_s": round(own),
            "command_rows_per_s": round(speed),
            "share_of_runner": round(speed / own, 3),
            "peak_rss_mb": round(max(one[1] for one in found)),
            "start_s": round(statistics.median(one[2] for one in found), 2),
        },
    )


if __name__ == "__main__":
    main()
