"""The benchmarks' parameters are some that params.yaml takes, and their arithmetic is right."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import REPOSITORY, run
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from flows.edits import set_values
from stages import machine
from stages.params import load_params


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark that the test names."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    yield importlib.import_module(request.param)
    sys.modules.pop(request.param)


FIGURES = sorted((REPOSITORY / "benchmarks").glob("*.json"))


@pytest.mark.parametrize("path", FIGURES, ids=[path.stem for path in FIGURES])
def test_figures_say_of_which_commit_day_and_processor_they_are(path: Path) -> None:
    made = json.loads(path.read_text(encoding="utf-8"))["made"]
    assert made.keys() == {"commit", "date", "processor"}
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", made["commit"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"])


@pytest.mark.parametrize("path", FIGURES, ids=[path.stem for path in FIGURES])
def test_each_benchmark_writes_its_figures_by_the_one_that_adds_that(path: Path) -> None:
    script = REPOSITORY / "tests/soak.py" if path.stem == "soak" else path.with_suffix(".py")
    assert "record.write(" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("benchmark", ["record"], indirect=True)
def test_what_is_recorded_is_this_commit_this_day_and_this_processor(benchmark: ModuleType, tmp_path: Path) -> None:
    benchmark.write(tmp_path / "figures.json", {"rows": 3})
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["rows"] == 3
    assert found["made"]["commit"].removesuffix("-dirty") == run(REPOSITORY, "git", "rev-parse", "HEAD").stdout.strip()
    assert found["made"]["date"] == datetime.now(UTC).date().isoformat()
    assert found["made"]["processor"] == machine.processor()


@pytest.mark.parametrize("benchmark", ["runners"], indirect=True)
def test_of_a_peers_ways_to_batch_the_fastest_counts(benchmark: ModuleType) -> None:
    rounds = [{"p50_ms": 2.0, "padded": 10.0, "equal lengths": 30.0}, {"p50_ms": 1.0, "padded": 40.0}]
    assert benchmark.fastest(rounds) == {"p50_ms": 1.0, "rows_per_s": 40.0, "batches": "padded"}


@pytest.mark.parametrize("benchmark", ["contestants"], indirect=True)
def test_peers_get_rows_filled_or_of_one_length_with_the_same_ids(benchmark: ModuleType, tmp_path: Path) -> None:
    words = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "model.json").write_text('{"pad_id": 0, "max_tokens": 8}')
    texts = ["a b a", "b", "a"]
    ((filled, mask),) = benchmark.padded(tmp_path)(texts)
    assert (filled.tolist(), mask.tolist()) == ([[4, 5, 4], [5, 0, 0], [4, 0, 0]], [[1, 1, 1], [1, 0, 0], [1, 0, 0]])
    assert [ids.tolist() for ids, _ in benchmark.equally_long(tmp_path)(texts)] == [[[4, 5, 4]], [[5], [4]]]


@pytest.mark.parametrize("benchmark", ["training"], indirect=True)
def test_finetune_is_compared_with_the_better_precision_of_the_others(benchmark: ModuleType) -> None:
    speeds = dict.fromkeys(benchmark.WAYS, 100.0) | {"finetune": 400.0, "trainer_bf16": 50.0, "bare_fp32": 200.0}
    found = benchmark.compared(speeds)
    assert (found["best of trainer_grouped and trainer_bf16"], found["best of bare and bare_fp32"]) == (4, 2)


@pytest.mark.parametrize("benchmark", ["banking77"], indirect=True)
def test_banking77_changes_parameters_that_there_are(benchmark: ModuleType, tmp_path: Path) -> None:
    copied = shutil.copyfile(REPOSITORY / "params.yaml", tmp_path / "params.yaml")
    set_values(copied, benchmark.PARAMETERS)
    params = load_params(copied)
    assert (params.ingest.path, params.finetune.teachers) == ("data/banking77", 3)


@pytest.mark.parametrize("benchmark", ["banking77"], indirect=True)
def test_banking77s_table_has_the_mean_and_each_seed(benchmark: ModuleType) -> None:
    cost = {"size_mb": 7.21, "latency_p50_ms": 0.356}
    runs = {20: {"quantized": {"accuracy": 0.93, **cost}}, 23: {"quantized": {"accuracy": 0.94}}}
    assert "| quantized | 93.50 | 93.00, 94.00 | 7.2 | 0.36 |" in benchmark.as_table(runs)


@pytest.mark.parametrize("benchmark", ["epoch_choice"], indirect=True)
def test_choosing_costs_nothing_where_epochs_are_alike_and_much_where_the_last_is_worst(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "HALVES", 5)
    truth = np.tile([0, 1, 2, 3], 50)
    right = truth.copy()
    right[:20] = (right[:20] + 1) % 4
    assert benchmark.lost_by_choosing(np.array([right, right, right]), truth, 1) == 0
    generator = np.random.default_rng(0)
    by_chance = [np.where(generator.random(200) < 0.7, truth, (truth + 1) % 4) for _ in range(20)]
    assert benchmark.lost_by_choosing(np.array([*by_chance, truth]), truth, 1) == 0, "the last is right"
    assert benchmark.lost_by_choosing(np.array([*by_chance, truth * 0]), truth, 1) < -20, "the last is the worst"
