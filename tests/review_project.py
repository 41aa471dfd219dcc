"""A git and DVC repository whose stages make up the answers of all models in no time, with a real remote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from conftest import REPOSITORY, run

from stages.core.paths import MODELS

MAKE = '''
"""Answers of a model on made-up rows: `python make.py MODEL`, or `python make.py clean`."""
import csv, json, random, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq, yaml
from scipy.stats import binomtest

name = sys.argv[1]
made = yaml.safe_load(Path("made.yaml").read_text())
labels, rows = made["labels"], made["rows"]
draw = random.Random(1)
truth = [draw.choice(labels) for _ in range(rows)]
ids = [f"{made.get('first', 0) + i:06}" for i in range(rows)]

def write(path, table):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)

if name == "clean":
    first = made.get("topmost", 0)
    raw = [f"text {first + int(i):06}" for i in ids]
    clean = [f"text {i} about {label} <b>&amp; | @someone" for i, label in zip(ids, truth)]
    for which, texts in (("raw", raw), ("clean", clean)):
        write(f"artifacts/data/{which}.parquet", {"row_id": ids, "text": texts, "label": truth})
    sys.exit()
skill = made["skill"][name]
own = random.Random(name)
answers = [label if own.random() < skill else own.choice(labels) for label in truth]
for i in random.Random(2).sample(range(rows), made["worse"].get(name, 0)):
    answers[i] = labels[(labels.index(truth[i]) + 1) % len(labels)]
high, low = 0.8, 0.2 / (len(labels) - 1)
score = [float(answer == label) for answer, label in zip(answers, truth)]
probabilities = {f"p_{label}": [high if answer == label else low for answer in answers] for label in labels}
length = ["short" if i % 2 else "long" for i in range(rows)]
write(f"artifacts/predictions/{name}.parquet",
      {"row_id": ids, "unit": ids, "truth": truth, "answer": answers, "score": score, "confidence": [high] * rows,
       "slice: length": length, "log_loss": [0.3 if right else 2.3 for right in score],
       "brier": [0.1 if right else 1.2 for right in score], **probabilities})
accuracy = sum(score) / rows
curve = Path(f"artifacts/curves/{name}/plots/metrics/train/loss.tsv")
curve.parent.mkdir(parents=True, exist_ok=True)
curve.write_text("step\\tloss\\n" + "".join(f"{step}\\t{made.get('loss', 2) / step}\\n" for step in (1, 2)))
tables = Path(f"artifacts/tables/{name}")
tables.mkdir(parents=True, exist_ok=True)
bins = [("low", "high", "rows", "confidence", "score"), (0.8, 0.867, rows, high, accuracy)]
for title, lines in (("reliability", bins), ("confusion", [("actual", "predicted"), *zip(truth, answers)])):
    with (tables / f"{title}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
wilson = binomtest(round(accuracy * rows), rows).proportion_ci(0.95, method="wilson")
ends = {"low": wilson.low, "high": wilson.high}
quality = {"accuracy": accuracy, "macro_f1": accuracy, "log_loss": 0.5, "brier": 0.2, "ece": abs(high - accuracy),
           "rows": rows, "intervals": {"accuracy": ends, "macro_f1": ends}, "per_label": {},
           "slices": {}, "robustness": {}, "fairness": {"identity_swaps": {"rows": 0, "flip_rate": None}}}
profile = {"latency_p50_ms": 2.0, "latency_p99_ms": 4.0, "throughput_rows_per_s": 500.0, "size_mb": 16.0,
           "start_up_ms": 100.0, "peak_rss_mb": 200.0, "threads": 2, "processor": made.get("processor", "one")}
for kind, content in (("quality", quality), ("profile", profile)):
    path = Path(f"metrics/{kind}/{name}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True))
'''

DVC_YAML = f"""
stages:
  clean:
    cmd: python make.py clean
    deps: [make.py, made.yaml]
    outs: [artifacts/data/raw.parquet, artifacts/data/clean.parquet]
  evaluate:
    foreach: [{", ".join(MODELS)}]
    do:
      cmd: python make.py ${{item}}
      deps: [make.py, made.yaml, artifacts/data/clean.parquet]
      params: [evaluate]
      outs:
        - artifacts/predictions/${{item}}.parquet
        - artifacts/tables/${{item}}
        - artifacts/curves/${{item}}
      metrics:
        - metrics/quality/${{item}}.json: {{cache: false}}
        - metrics/profile/${{item}}.json: {{cache: false}}
"""
SKILL = {
    "baseline": 0.7,
    "static": 0.75,
    "probe": 0.8,
    "teacher": 0.9,
    "student": 0.89,
    "pruned": 0.885,
    "quantized": 0.88,
}
MADE: dict[str, Any] = {"labels": ["sea", "kitchen", "forest"], "rows": 600, "skill": SKILL, "worse": {}}


def make_review_project(folder: Path) -> Path:
    """On `main` everything is reproduced, committed and pushed to the remote beside the folder."""
    folder.mkdir(parents=True)
    for name in ("params.yaml", "constraints.txt", "Makefile", ".gitignore"):
        shutil.copyfile(REPOSITORY / name, folder / name)
    (folder / "make.py").write_text(MAKE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.email", "tests@localhost")
    run(folder, "git", "config", "user.name", "tests")
    run(folder, "dvc", "init", "-q")
    run(folder, "dvc", "config", "core.analytics", "false")
    store = folder.parent / f"{folder.name}-store"
    store.mkdir()
    run(folder, "dvc", "remote", "add", "-q", "-d", "store", str(store))
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "start")
    change(folder, "first results")
    return folder


def change(folder: Path, subject: str, **made: Any) -> None:
    """Reproduce with other values of made.yaml, commit, push the data."""
    (folder / "made.yaml").write_text(yaml.safe_dump(MADE | made))
    run(folder, "dvc", "repro", "-q")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", subject)
    run(folder, "dvc", "push", "-q")


def review(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(folder, "winnow", "review", *arguments, check=check)
