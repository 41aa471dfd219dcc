"""benchmarks/zero.py, which is for GPUs, on this CPU: a tiny model, in every ZeRO stage."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, run


@pytest.mark.slow
def test_the_script_for_gpus_runs_here_with_a_tiny_model(tmp_path: Path) -> None:
    out = tmp_path / "zero.json"
    command = [sys.executable, "benchmarks/zero.py", "--tiny", "--steps", "1", "--out", str(out)]
    run(REPOSITORY, *command)
    report = json.loads(out.read_text())
    assert [way["zero_stage"] for way in report["runs"]] == [0, 1, 2, 3]
    assert all(way["tokens_per_second"] > 0 and way["updates"] == 4 for way in report["runs"])
