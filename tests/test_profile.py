"""The stage `profile`: all models in turns, in one run, with what each round found."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import REPOSITORY, edit_params, run
from test_baseline import trained

from stages.core import machine
from stages.profile import combined, in_turns, measured

TEXTS = {"sea": ["ship tide wave"] * 6, "kitchen": ["oven pan spoon"] * 6}


def test_every_model_has_its_turn_before_any_has_a_second() -> None:
    asked: list[tuple[int, str]] = []

    def measure(name: str, number: int) -> dict[str, float]:
        asked.append((number, name))
        return {"latency_p50_ms": number + len(name)}

    found = in_turns(["a", "bb"], 2, measure)
    assert asked == [(0, "a"), (0, "bb"), (1, "a"), (1, "bb")]
    assert found["bb"] == [{"latency_p50_ms": 2}, {"latency_p50_ms": 3}]


def test_a_figure_is_the_median_of_its_rounds_which_are_kept() -> None:
    table = {"threads_1": {"batch_8": 5.0}}
    rounds = [{"latency_p50_ms": ms, "size_mb": 7.21} for ms in (1.0, 9.0, 2.0)]
    rounds[0]["throughput"] = table  # type: ignore[assignment]
    assert combined(rounds) == {
        "latency_p50_ms": 2.0, "size_mb": 7.21, "throughput": table, "rounds": {"latency_p50_ms": [1.0, 9.0, 2.0]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a baseline and its rows, and parameters of two short rounds."""
    folder = tmp_path_factory.mktemp("profile")
    trained(folder, TEXTS, also=["test"])
    shutil.copyfile(REPOSITORY / "params.yaml", folder / "params.yaml")
    edit_params(folder, profile__rounds=2, profile__single_rows=3, profile__throughput_rows=4, profile__batch_sizes=[2])
    return folder


def test_the_file_names_the_machine_and_the_day_and_holds_each_round(folder: Path) -> None:
    run(folder, sys.executable, "-m", "stages.profile", "baseline", PYTHONPATH=str(REPOSITORY))
    found = json.loads((folder / "metrics/profile/baseline.json").read_text())
    assert (found["processor"], found["threads"]) == (machine.processor(), 2)
    assert found["date"] == datetime.now(UTC).date().isoformat()
    assert found["throughput"].keys() == {"threads_1", "threads_2"}
    for figure in ("latency_p50_ms", "latency_p99_ms", "throughput_rows_per_s", "start_up_ms", "peak_rss_mb"):
        first, second = found["rounds"][figure]
        assert found[figure] == pytest.approx((first + second) / 2, abs=1e-3)


def test_a_model_that_cannot_be_opened_ends_the_stage_with_its_own_words(folder: Path, tmp_path: Path) -> None:
    spoiled = shutil.copytree(folder, tmp_path / "spoiled")
    shutil.rmtree(spoiled / "metrics", ignore_errors=True)
    (spoiled / "artifacts/models/baseline/vocabulary.json").write_text("[]")
    done = run(spoiled, sys.executable, "-m", "stages.profile", "baseline", check=False, PYTHONPATH=str(REPOSITORY))
    assert done.returncode == 1
    assert "timing@baseline@table: " in done.stderr
    assert "vocabulary.json was altered" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (spoiled / "metrics/profile").exists()


def test_a_process_that_is_killed_is_told_of_as_it_could_not_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ChildProcessError, match="measures the model 'teacher' was ended by SIGKILL"):
        measured("teacher", 0)
