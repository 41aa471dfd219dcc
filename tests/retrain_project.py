"""A clone of a small project that can be retrained, with an origin and a DVC remote.

Its stages are the real ones, up to a real baseline; only `validate` is a line that lets everything pass, in a
hundredth of the time.
"""

from __future__ import annotations

import atexit
import csv
import functools
import random
import shutil
import tempfile
from pathlib import Path

import yaml
from conftest import REPOSITORY, TOPICS, edit_params, init_repository, run, write_corpus

from stages.core.files import write_json
from stages.core.paths import Paths

STAGES = ("ingest", "clean", "validate", "baseline", "evaluate")
ROWS = 120  # of each label, at first


def make_retrain_project(folder: Path) -> Path:
    """The clone `folder/clone`: reproduced, committed, pushed to `folder/origin.git` and `folder/store`.

    Nothing is released yet.
    """
    shutil.copytree(_template(), folder, symlinks=True)
    clone = folder / "clone"
    run(clone, "git", "remote", "add", "origin", str(folder / "origin.git"))
    run(clone, "git", "fetch", "-q", "origin")
    return clone


@functools.cache
def _template() -> Path:
    home = Path(tempfile.mkdtemp(prefix="winnow-test-"))
    atexit.register(shutil.rmtree, home)
    clone = home / "all/clone"
    clone.mkdir(parents=True)
    for name in ("stages", "params.yaml", "constraints.txt", ".dvcignore", ".gitignore"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, clone / name)
    _write_graph(clone)
    write_json(Paths(clone).released_data, {})
    write_corpus(clone / "data/corpus.csv", rows_per_label=ROWS)
    edit_params(clone, ingest__source="files", ingest__path="data/corpus.csv", ingest__columns__label="topic")
    _edit_params(clone)
    init_repository(clone)
    for command in (
        ["dvc", "remote", "add", "-q", "-d", "store", "../store"],
        ["dvc", "repro", "-q"],
        ["git", "add", "-A"],
        ["git", "add", "--force", "data/corpus.csv"],
        ["git", "commit", "-q", "-m", "first results"],
        ["dvc", "push", "-q", "--run-cache"],
        ["git", "clone", "-q", "--bare", ".", "../origin.git"],
    ):
        run(clone, *command)
    return clone.parent


def make_retrain_project_in_a_subfolder(folder: Path) -> Path:
    """As above, of a project that `winnow init` made in `folder/clone/text/topics`, which is returned."""
    top = folder / "clone"
    top.mkdir(parents=True)
    data = write_corpus(folder / "corpus.csv", rows_per_label=ROWS)
    for words in ("init -q -b main", "config user.email tests@localhost", "config user.name tests"):
        run(top, "git", *words.split())
    run(top, "winnow", "init", "text/topics", "--data", str(data), "--label", "topic")
    project = top / "text/topics"
    _write_graph(project)
    _edit_params(project)
    for command in (
        ["dvc", "remote", "add", "-q", "-d", "store", str(folder / "store")],
        ["dvc", "repro", "-q"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "first results"],
        ["dvc", "push", "-q", "--run-cache"],
        ["git", "clone", "-q", "--bare", str(top), str(folder / "origin.git")],
        ["git", "remote", "add", "origin", str(folder / "origin.git")],
        ["git", "fetch", "-q", "origin"],
    ):
        run(project, *command)
    return project


def _edit_params(clone: Path) -> None:
    edit_params(
        clone,
        baseline__max_ngram=1, evaluate__resamples=100, evaluate__perturbed_rows=5,
        promotion__model="baseline", promotion__margin=0.2, promotion__anchor_margin=0.2,
        promotion__max_ece=None, task__measure="accuracy",
        promotion__max_latency_p50_ms=None, promotion__max_size_mb=None,
    )  # fmt: skip


def _write_graph(clone: Path) -> None:
    """The stages of the clone's dvc.yaml, or of this repository's where it has none, that are needed here."""
    whole = clone / "dvc.yaml" if (clone / "dvc.yaml").is_file() else REPOSITORY / "dvc.yaml"
    graph = yaml.safe_load(whole.read_text(encoding="utf-8"))
    stages = {name: graph["stages"][name] for name in STAGES}
    stages["evaluate"]["foreach"] = {"baseline": stages["evaluate"]["foreach"]["baseline"]}
    stages["validate"]["cmd"] = "echo 1 > artifacts/data/validation.json && echo '{}' > metrics/data/profile.json"
    artifacts = {"model": {"path": "artifacts/models/baseline", "type": "model"}}
    text = yaml.safe_dump({"stages": stages, "artifacts": artifacts}, sort_keys=False)
    (clone / "dvc.yaml").write_text(text, encoding="utf-8")


def more_rows(clone: Path, count: int, *, seed: int, labels: tuple[str, ...] = tuple(TOPICS)) -> None:
    """Append `count` new rows to the corpus, as a nightly delivery does."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = labels[number % len(labels)]
        words = [*draw.sample(TOPICS[label], 4), f"batch{seed}x{number}"]
        draw.shuffle(words)
        rows.append((" ".join(words) + ".", label))
    with (clone / "data/corpus.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
