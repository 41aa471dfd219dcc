"""The stage `finetune` as people start it: in one process, in several, on several machines; and ended by force."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from conftest import edit_params, make_project, run
from safetensors.torch import load_file

from stages.training.launch import launch

PYTHON = sys.executable


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose data stages have run."""
    project = make_project(tmp_path_factory.mktemp("launching") / "win now")
    edit_params(
        project, finetune__epochs=4, finetune__patience=5, model__head_dropout=0.0,
        finetune__precision="fp32",  # in bf16 two processes round otherwise than one
    )  # fmt: skip
    for stage in ("ingest", "clean", "tokenize"):
        run(project, "python", "-m", f"stages.{stage}")
    return project


@pytest.fixture
def project(tokens: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "win now"
    shutil.copytree(tokens, copied)
    return copied


@pytest.fixture(scope="module")
def alone(tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which the teacher was trained by one process."""
    copied = tmp_path_factory.mktemp("alone") / "winnow"
    shutil.copytree(tokens, copied)
    run(copied, "python", "-m", "stages.finetune")
    return copied


def report(project: Path) -> dict[str, Any]:
    return json.loads((project / "metrics/training/teacher.json").read_text())


def speed(project: Path) -> dict[str, Any]:
    return json.loads((project / "metrics/training_speed/teacher.json").read_text())


def same_teacher(one: Path, other: Path) -> None:
    for left, right in zip(report(one)["history"], report(other)["history"], strict=True):
        assert left == pytest.approx(right, abs=1e-4)
    weights = [load_file(project / "artifacts/models/teacher/model.safetensors") for project in (one, other)]
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max().item() < 1e-4, name


def test_a_run_records_its_speed_on_this_hardware(alone: Path) -> None:
    told = speed(alone)
    assert told["processes"] == 1
    assert told["hardware"]
    assert told["tokens_per_second"] > 0
    assert told["peak_memory_mb_per_process"] > 50
    assert 0 < told["mfu"] < 1
    assert told["achieved_gflops"] == pytest.approx(told["mfu"] * told["matrix_peak_gflops"], rel=0.1, abs=0.2)
    assert "tokens_per_second" not in report(alone)


def test_each_point_is_a_line_of_json(alone: Path) -> None:
    file = alone / "artifacts/step_logs/teacher.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert steps
    assert {"step", "epoch", "learning_rate", "tokens_per_second", "seconds_left", "memory_mb"} <= steps[0].keys()
    assert [line["epoch"] for line in lines if "validation" in line] == [1, 2, 3, 4]


def test_two_processes_are_asked_for_by_the_environment_alone(alone: Path, project: Path) -> None:
    done = run(project, "python", "-m", "stages.finetune", WINNOW_PROCESSES="2")
    assert "2 processes" in done.stderr
    assert done.stderr.count("training:") == 1, "one of them speaks"
    assert speed(project)["processes"] == 2
    same_teacher(alone, project)


@pytest.mark.parametrize("method", ["contrastive", "zero_shot"])
def test_two_processes_make_the_teacher_of_few_labels_that_one_makes(
    project: Path, tmp_path: Path, method: str
) -> None:
    edit_params(project, finetune__method=method, finetune__epochs=1, finetune__contrastive__pairs_per_row=2)
    other = tmp_path / "other"
    shutil.copytree(project, other)
    run(project, "python", "-m", "stages.finetune")
    run(other, "python", "-m", "stages.finetune", WINNOW_PROCESSES="2")
    one, two = (load_file(of / "artifacts/models/teacher/model.safetensors") for of in (project, other))
    compared = [name for name in one if method == "zero_shot" or not name.startswith("head.")]  # a fit ends elsewhere
    assert max((one[name] - two[name]).abs().max().item() for name in compared) < 1e-4
    assert report(project)["validation_macro_f1"] == pytest.approx(report(other)["validation_macro_f1"], abs=0.1)


def test_a_number_of_processes_that_cannot_be_is_one_line(tokens: Path) -> None:
    done = run(tokens, PYTHON, "-m", "stages.finetune", check=False, WINNOW_PROCESSES="two")
    assert done.returncode == 1
    assert done.stderr == "finetune: WINNOW_PROCESSES is 'two'. Allowed: a whole number from 1.\n"


@pytest.mark.parametrize("value", ["0", "-1", "1.5", ""])
def test_only_whole_numbers_of_processes_are_taken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WINNOW_PROCESSES", value)
    with pytest.raises(ValueError, match="Allowed: a whole number from 1"):
        launch("stages.finetune")


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINNOW_PROCESSES", raising=False)
    monkeypatch.delenv("WINNOW_HOSTFILE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert launch("stages.finetune") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no such file"),
        ("# none\n", "no machines"),
        ("one slots=2\n", "one machine. Start there, with WINNOW_PROCESSES"),
        ("one slots=2\ntwo\n", "line 2: 'two'"),
        ("one; touch x slots=1\n", "line 1"),
        ("-oProxyCommand=x slots=1\n", "line 1"),
    ],
)
def test_a_hostfile_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, said: str
) -> None:
    hostfile = tmp_path / "hosts"
    if content is not None:
        hostfile.write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_HOSTFILE", str(hostfile))
    with pytest.raises(ValueError, match=re.escape(said)):
        launch("stages.finetune")
    assert {path.name for path in tmp_path.iterdir()} <= {"hosts"}


def test_a_hostfile_starts_deepspeeds_launcher_with_winnows_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hosts").write_text("one slots=2  # the first\n\ntwo slots=2\n")
    monkeypatch.chdir(tmp_path)
    for name in ("DS_ENV_FILE", "DS_ACCELERATOR", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that what is set there is undone
    monkeypatch.setenv("WINNOW_HOSTFILE", "hosts")
    monkeypatch.setenv("WINNOW_CHECKPOINTS", "/shared/of all")
    monkeypatch.setenv("WINNOW_ALERT_WEBHOOK", "https://secret")
    command = launch("stages.finetune") or []
    assert command[1:] == [
        "-m", "deepspeed.launcher.runner", "--hostfile", "hosts", "--no_local_rank", "--module", "stages.finetune"
    ]  # fmt: skip
    handed_on = Path(os.environ["DS_ENV_FILE"]).read_text()
    assert "WINNOW_CHECKPOINTS=/shared/of all\n" in handed_on
    assert "secret" not in handed_on


@pytest.mark.slow
def test_two_nodes_of_deepspeeds_launcher_train_what_one_process_does(alone: Path, project: Path) -> None:
    """Each with a launcher of its own, as on machines without ssh between them; here both are this machine."""
    (project / "hosts").write_text("node-a slots=1\nnode-b slots=1\n")
    common = ["--hostfile", "hosts", "--no_ssh", "--no_local_rank", "--master_addr", "127.0.0.1"]
    common += ["--master_port", str(free_port())]
    nodes = [
        subprocess.Popen(
            [PYTHON, "-m", "deepspeed.launcher.runner", *common, "--node_rank", number, "--module", "stages.finetune"],
            cwd=project,
            env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in ("0", "1")
    ]
    for node in nodes:
        said, _ = node.communicate(timeout=180)
        assert node.returncode == 0, said[-3000:]
    assert speed(project)["processes"] == 2
    same_teacher(alone, project)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(project: Path, **environment: str) -> subprocess.Popen[bytes]:
    """`finetune` in two processes, for so many epochs that it is under way for long."""
    edit_params(project, finetune__epochs=5000, finetune__patience=5000)
    stage = subprocess.Popen(
        [PYTHON, "-m", "stages.finetune"],
        cwd=project,
        env={**os.environ, "WINNOW_PROCESSES": "2", "WINNOW_CHECKPOINT_SECONDS": "0.5", **environment},
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: list((project / ".dvc/tmp/winnow/checkpoints/teacher").glob("*/step-*")), seconds=120)
    return stage


def eventually(holds: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.2)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGINT))]
)
def test_a_signal_to_the_stage_ends_all_its_processes_and_it_goes_on_later(
    project: Path, number: signal.Signals
) -> None:
    stage = started(project)
    family = psutil.Process(stage.pid).children(recursive=True)
    assert len(family) >= 3, "the launcher, and two that train"
    stage.send_signal(number)
    assert stage.wait(timeout=60) != 0
    _, alive = psutil.wait_procs(family, timeout=120)
    assert alive == []
    assert not (project / "artifacts/models/teacher").exists()
    edit_params(project, finetune__epochs=5000, finetune__patience=5000)
    again = subprocess.Popen(
        [PYTHON, "-m", "stages.finetune"], cwd=project, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert again.stderr is not None
    said = ""
    for line in again.stderr:
        said += line
        if "goes on after step" in line:
            break
    again.kill()
    again.wait()
    assert "goes on after step" in said, said


@pytest.mark.slow
def test_a_process_that_falls_silent_fails_the_stage_when_the_others_have_waited(project: Path) -> None:
    stage = started(project, WINNOW_RANK_TIMEOUT_MINUTES="0.2")
    family = psutil.Process(stage.pid).children(recursive=True)
    workers = [process for process in family if not process.children() and "stages.finetune" in process.cmdline()]
    assert len(workers) == 2
    workers[1].suspend()
    try:
        assert stage.wait(timeout=120) != 0
    finally:
        for process in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert not (project / "artifacts/models/teacher").exists()


@pytest.mark.slow
def test_a_process_that_is_lost_fails_the_stage_in_a_bounded_time(project: Path) -> None:
    stage = started(project)
    family = psutil.Process(stage.pid).children(recursive=True)
    workers = [process for process in family if not process.children() and "stages.finetune" in process.cmdline()]
    assert len(workers) == 2
    workers[1].kill()
    assert stage.wait(timeout=90) != 0
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert alive == []
    assert not (project / "artifacts/models/teacher").exists()
