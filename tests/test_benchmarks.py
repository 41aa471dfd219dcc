"""The benchmarks' parameters are some that params.yaml takes, and their arithmetic is right."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import REPOSITORY

from flows.edits import set_values
from stages.params import load_params


@pytest.fixture
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The benchmark that the test names."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    yield importlib.import_module(request.param)
    sys.modules.pop(request.param)


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
