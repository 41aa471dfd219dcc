"""benchmarks/zero.py, which is for GPUs, on this CPU: a tiny model, every ZeRO stage, and the whole pipeline."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, edit_params, make_project, run

from stages.core.paths import MODELS


@pytest.mark.slow
def test_the_script_for_gpus_runs_here_with_a_tiny_model(tmp_path: Path) -> None:
    project = make_project(tmp_path / "winnow")
    edit_params(project, finetune__epochs=1, distill__epochs=1)
    run(project, "git", "commit", "-qam", "short")
    out = tmp_path / "zero.json"
    command = [sys.executable, "benchmarks/zero.py", "--tiny", "--steps", "1", "--out", str(out)]
    run(REPOSITORY, *command, "--pipeline", "--project", str(project))
    report = json.loads(out.read_text())
    assert [way["zero_stage"] for way in report["runs"]] == [0, 1, 2, 3]
    assert all(way["tokens_per_second"] > 0 and way["updates"] == 4 for way in report["runs"])
    assert report["pipelines"]["fp32"]["training"]["teacher"]["precision"] == "fp32"
    assert set(report["pipelines"]["fp32"]["macro_f1"]) == set(MODELS)
