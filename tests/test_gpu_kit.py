"""The kit for machines with a GPU: what is written, what is refused, how its parts end, and all of it on this CPU."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bare_python
import numpy as np
import pytest
import yaml
from conftest import REPOSITORY, run, tiny_params
from safetensors.numpy import load_file, save_file
from test_distilled_vectors import ROWS
from test_tokenize import write_clean

from stages.core.files import sha256
from stages.core.params.file import load_params
from stages.core.paths import Paths

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
TRAINED = {"teacher": 1.0, "student": 1.0, "pruned": 1.0}  # of a corpus whose labels have no word in common


@pytest.fixture(scope="module")
def kits() -> Iterator[Any]:
    """The modules of benchmarks/gpu.py and its kit, by their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "benchmarks"))
        names = ("gpu", "gpu_kit.build", "gpu_kit.part", "gpu_kit.pipeline", "gpu_kit.exactness", "gpu_kit.speed")
        yield SimpleNamespace(**{name.rpartition(".")[2]: importlib.import_module(name) for name in names})
        for name in list(sys.modules):
            if name.partition(".")[0] in ("gpu", "gpu_kit", "zero", "record"):
                del sys.modules[name]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Paths:
    return write_project(tmp_path_factory.mktemp("kit") / "project", tiny_models("bert"))


def write_project(root: Path, tiny: Path) -> Paths:
    """A tiny project that looks as if it had been reproduced."""
    from stages.tokenize import tokenize

    many = [
        (f"{row_id}-{again}", f"{text} {' '.join(['old'] * again)}", label, split)
        for again in range(3)
        for row_id, text, label, split in ROWS
    ]
    paths = write_clean(root, many)
    params = tiny_params(
        paths, tiny, distill__teacher_layers=[0, 2], prune__common_words=1, finetune__batch_size=8,
        finetune__epochs=12, distill__batch_size=8, distill__epochs=12, prune__epochs=8,
        finetune__encoder_learning_rate=5.0e-3, finetune__head_learning_rate=2.0e-2, finetune__freeze_embeddings=False,
        distill__encoder_learning_rate=3.0e-3, prune__encoder_learning_rate=3.0e-3,
    )  # fmt: skip
    tokenize(params, paths)
    paths.training("teacher").parent.mkdir(parents=True)
    rows = sum(row[3] == "train" for row in many)
    for name, score in TRAINED.items():
        report = {"train_rows": rows, "validation_macro_f1": score}
        paths.training(name).write_text(json.dumps(report), encoding="utf-8")
    return paths


@pytest.fixture(scope="module")
def kit(kits: Any, project: Paths) -> Path:
    """A kit of the tiny project, with wheels of the packages that are installed here."""
    wheels = project.root.parent / "wheels"
    for name in kits.build.packages():
        bare_python.wheel_of(name, wheels)
    out: Path = project.root.parent / ".gpu-kit"
    kits.build.build(project.root, out, python=HERE, wheels=wheels)
    return out


def test_the_kits_weights_are_rounded_to_float16_and_its_parameters_name_just_these(
    kits: Any, kit: Path, project: Paths, tmp_path: Path
) -> None:
    kits.part.Kit(kit, tmp_path, gpu=False).unpack()
    params = load_params(kit / "project/params.yaml")
    assert params.model.sha256 == sha256(tmp_path / "pretrained/model.safetensors")
    theirs = load_file(Path(load_params(project.params).model.name) / "model.safetensors")
    ours = load_file(tmp_path / "pretrained/model.safetensors")
    assert ours.keys() == theirs.keys()
    floating = [name for name, tensor in theirs.items() if tensor.dtype == np.float32]
    assert floating
    assert all(np.array_equal(ours[name], theirs[name].astype(np.float16)) for name in floating)
    changed = {"model": params.model}
    assert load_params(project.params).model_copy(update=changed) == params, "nothing else is another"


def test_a_kit_that_was_altered_names_the_file_and_one_for_another_python_says_which(
    kits: Any, kit: Path, tmp_path: Path
) -> None:
    assert kits.part.Kit(kit, tmp_path, gpu=False).faults() == []
    altered = tmp_path / "kit"
    run(tmp_path, "cp", "-r", str(kit), str(altered))
    about = json.loads((altered / "manifest.json").read_text())
    (altered / "manifest.json").write_text(json.dumps({**about, "python": "3.9"}))
    with (altered / "project/stages/finetune.py").open("a") as file:
        file.write("\n")
    first, second = kits.part.Kit(altered, tmp_path, gpu=False).faults()
    assert first.startswith(f"{altered}/project/stages/finetune.py: it is not as it was written")
    assert f"is Python {HERE}. Allowed: 3.9" in second


def test_a_kit_in_a_folder_that_paths_are_parted_at_is_refused_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "of 12:30"
    folder.mkdir()
    script = shutil.copy(REPOSITORY / "benchmarks/gpu_kit/run.sh", folder)
    done = run(tmp_path, "bash", str(script), "out", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "has a colon in its name" in done.stderr


def test_a_stage_that_says_much_before_its_checkpoint_does_not_wait_for_a_reader(
    kits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/__init__.py").touch()
    (tmp_path / "stages/finetune.py").write_text(LOUD)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert kits.pipeline.kill_after_checkpoint(tmp_path, {}) == 7


LOUD = """
import sys, time
from pathlib import Path

sys.stderr.write("a warning\\n" * 20_000)
Path(".dvc/tmp/winnow/checkpoints/teacher/1/step-7").mkdir(parents=True)
time.sleep(20)
"""


def test_without_what_repro_makes_no_kit_is_made_and_the_next_step_is_told(kits: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no artifacts/data/clean.parquet.*make repro"):
        kits.build.build(tmp_path, tmp_path / "out", python=HERE, wheels=None)
    assert not (tmp_path / "out").exists()


def test_a_kit_too_large_names_its_largest_files(kits: Any, tmp_path: Path) -> None:
    for name, size in (("small", 2**20), ("large", 54 * 2**20)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    kits.build.refuse_large(tmp_path)  # 55 MiB, to the byte
    (tmp_path / "more").write_bytes(b"1")
    with pytest.raises(ValueError, match=r"Allowed: 55 MiB. Largest: large 54.0 MiB, small 1.0 MiB, more 0.0 MiB"):
        kits.build.refuse_large(tmp_path)


def test_every_package_of_the_kit_is_pinned(kits: Any) -> None:
    pins = kits.build.pinned(kits.build.packages())
    assert pins["ruamel.yaml"].startswith("ruamel.yaml==")
    with pytest.raises(ValueError, match="does not pin no-such-package"):
        kits.build.pinned(("torch", "no-such-package"))


PARTS = """
import time
from gpu_kit.part import SkippedError

def good(kit, found):
    found.check("two and two", True, 4)

def missed(kit, found):
    found.check("it is fast", False, 0.1)

def broken(kit, found):
    found.add("seen", 1)
    raise RuntimeError("no such thing")

def slow(kit, found):
    found.add("seen", 1)
    time.sleep(60)

def endless(kit, found):
    import os
    kit.folder.joinpath("pid").write_text(str(os.getpid()))
    time.sleep(60)

def left_out(kit, found):
    raise SkippedError("no GPU")

def gone(kit, found):
    import os
    print("the driver fell over", flush=True)
    os._exit(7)
"""


WHOLE = """
from pathlib import Path
import gpu
from gpu_kit.part import Kit

gpu.ended_by_signals()
here = Path.cwd()
gpu.together(Kit(here, here, gpu=True), (gpu.Part("parts", "endless", 60),), here)
"""


def test_a_part_that_fails_or_takes_too_long_says_why_and_keeps_what_it_has_found(
    kits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("good", "missed", "broken", "slow", "left_out", "gone")
    (tmp_path / "parts.py").write_text(PARTS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    wave = tuple(kits.gpu.Part("parts", name, 3) for name in names)
    found = kits.gpu.together(kits.part.Kit(tmp_path, scratch, gpu=True), wave, out)
    assert {name: part["status"] for name, part in found.items()} == {
        "good": "held", "missed": "not held", "broken": "failed", "slow": "failed", "left_out": "skipped",
        "gone": "failed",
    }  # fmt: skip
    assert found["broken"]["why"] == "RuntimeError: no such thing"
    assert found["slow"]["why"] == "it took longer than its 3 s, and was ended"
    assert (found["broken"]["seen"], found["slow"]["seen"], found["left_out"]["why"]) == (1, 1, "no GPU")
    assert "ended with 7: the driver fell over" in found["gone"]["why"]
    assert {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")} == found


@pytest.mark.parametrize("by", ["SIGINT", "SIGTERM"])
def test_no_part_goes_on_where_the_kit_is_interrupted(tmp_path: Path, by: str) -> None:
    (tmp_path / "parts.py").write_text(PARTS)
    (tmp_path / "whole.py").write_text(WHOLE)
    path = os.pathsep.join([str(REPOSITORY / "benchmarks"), str(tmp_path)])
    process = subprocess.Popen([sys.executable, "whole.py"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    pid = tmp_path / "pid"
    until(lambda: pid.is_file() and pid.read_text() != "")
    process.send_signal(signal.Signals[by])
    assert process.wait(30) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, a minute at most."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_all_limits_together_leave_time_for_the_rest_of_eight_minutes(kits: Any) -> None:
    assert sum(max(part.seconds for part in wave) for wave in kits.gpu.WAVES) <= 460


def test_a_gpus_stated_peak_goes_by_its_name_and_not_by_one_that_begins_alike(kits: Any) -> None:
    peaks = {
        "NVIDIA H200": 989.4, "NVIDIA H100 80GB HBM3": 989.4, "NVIDIA H100 PCIe": 756.0, "NVIDIA GH200 480GB": 989.4,
        "NVIDIA A100-SXM4-80GB": 312.0, "NVIDIA A10G": 70.0, "NVIDIA A10": 125.0, "NVIDIA L40S": 362.1,
        "NVIDIA B200": 2250.0, "NVIDIA GB200": 2500.0, "NVIDIA L4": 121.0, "some other": None,
        "NVIDIA RTX A1000 Laptop GPU": None, "NVIDIA A100 80GB PCIe": 312.0, "NVIDIA RTX A4000": None,
    }  # fmt: skip
    assert {name: kits.speed.stated_peak(name) for name in peaks} == peaks


def test_a_score_is_held_beside_the_cpus(kits: Any) -> None:
    found = kits.pipeline.beside_cpu({"updates": 3, "validation_macro_f1": 0.55}, {"validation_macro_f1": 0.5})
    assert found == {"gpu": 0.55, "cpu": 0.5, "difference": 0.05}


def test_losses_are_held_by_their_first_and_by_all_of_them_as_shares_of_the_first(kits: Any, tmp_path: Path) -> None:
    found = kits.part.Findings(tmp_path / "found.json")
    exact, tolerances = [4.0, 2.0, 1.0], (0.01, 0.1)
    kits.exactness.judge(found, "fp16", [4.02, 2.2, 0.4], exact, tolerances=tolerances, whose="fp32's")
    kits.exactness.judge(found, "bf16", [4.2, 2.2], exact, tolerances=tolerances, whose="fp32's")
    checks = json.loads((tmp_path / "found.json").read_text())["checks"]
    assert [(check["held"], check["found"]) for check in checks] == [
        (True, 3), (True, 0.005), (False, 0.15), (False, 2), (False, 0.05), (True, 0.05),
    ]  # fmt: skip


def test_where_fp32_does_not_train_all_losses_are_held_beside_the_cpus(kits: Any, tmp_path: Path) -> None:
    found, way = kits.part.Findings(tmp_path / "found.json"), kits.exactness.Tried
    ways = [way("fp32", 0, [], 0, "no memory"), way("fp16", 0, [4.0, 2.0], 1), way("bf16", 0, [4.0, 2.0], 0)]
    kits.exactness.compare(found, ways, [4.0, 2.0])
    checks = found.content["checks"]
    assert [check["held"] for check in checks] == [False, *[True] * 6]
    assert [check["what"].endswith("of a CPU's in fp32") for check in checks if ": within" in check["what"]] == [
        True
    ] * 4


def test_where_fp32_trains_other_losses_are_held_beside_its_own(kits: Any, tmp_path: Path) -> None:
    found, way = kits.part.Findings(tmp_path / "found.json"), kits.exactness.Tried
    kits.exactness.compare(found, [way("fp32", 0, [4.0, 2.0], 0), way("bf16", 0, [4.0, 3.0], 0)], [4.0, 2.0])
    held = {check["what"]: check["held"] for check in found.content["checks"] if ": within" in check["what"]}
    assert held == {
        "first loss in fp32, ZeRO-0: within 0.0001 of a CPU's in fp32": True,
        "losses in fp32, ZeRO-0: within 0.001 of a CPU's in fp32": True,
        "first loss in bf16, ZeRO-0: within 0.01 of fp32's in ZeRO-0": True,
        "losses in bf16, ZeRO-0: within 0.1 of fp32's in ZeRO-0": False,
    }


def test_where_no_way_trains_the_checks_say_so(kits: Any, tmp_path: Path) -> None:
    found, failed = kits.part.Findings(tmp_path / "found.json"), {"failure": "no memory"}
    kits.speed.judge(found, [failed, failed], failed, 989.4)
    assert [check["held"] for check in found.content["checks"]] == [False, False]


def test_the_farthest_weight_is_told_beside_the_greatest_of_its_tensor(kits: Any, tmp_path: Path) -> None:
    save_file({"a": np.array([1.0, -4.0]), "b": np.array([0.5])}, tmp_path / "one")
    save_file({"a": np.array([1.5, -4.0]), "b": np.array([0.5])}, tmp_path / "other")
    assert kits.pipeline.farthest(tmp_path / "one", tmp_path / "other") == 0.125
    assert kits.pipeline.farthest(tmp_path / "one", tmp_path / "one") == 0


def test_a_message_about_memory_says_what_ran_out_and_what_to_set(kits: Any) -> None:
    from stages.training.guards import memory_is_enough

    params = load_params(REPOSITORY / "params.yaml").finetune.model_copy(update={"batch_size": 8192})
    with pytest.raises(ValueError) as told, memory_is_enough(params):
        raise MemoryError
    assert kits.pipeline.tells_of_memory(f"finetune: {told.value}")
    assert not kits.pipeline.tells_of_memory("finetune: training: out of memory with batch_size 32. Set batch_size 16")


@pytest.mark.slow
def test_the_whole_kit_runs_here_in_a_python_with_nothing_but_what_a_bare_machine_has(
    kits: Any, kit: Path, tmp_path: Path
) -> None:
    python = bare_python.make_bare(tmp_path / "bare", without=kits.build.packages())
    out = tmp_path / "out"
    done = run(tmp_path, str(kit / "run.sh"), str(out), "--rehearse", check=False, PYTHON=str(python), PYTHONPATH="")
    found = json.loads((out / "gpu.json").read_text())
    status = {name: part["status"] for name, part in found["parts"].items()}
    assert status == {
        "exactness": "held", "stages": "held", "resume": "held", "speed": "held", "torchao_int8": "skipped",
        "out_of_memory": "skipped",
    }, f"{done.stderr}\n{json.dumps(found, indent=1)}"  # fmt: skip
    assert done.returncode == 0
    assert found["made"]["commit"] == json.loads((kit / "manifest.json").read_text())["made"]["commit"]
    assert found["parts"]["exactness"]["fp32, ZeRO-0"]["skipped_steps"] == 0
    assert found["parts"]["resume"]["same_bytes_resumed"]
    assert set(found["parts"]["stages"]["bf16"]["scores"]) == set(TRAINED)
    assert {way["zero_stage"] for way in found["parts"]["speed"]["winnow"]} == {0, 1, 2, 3}
    assert not yaml.safe_load((kit / "project/params.yaml").read_text())["finetune"]["zero_stage"]
    assert sorted(path.name for path in out.iterdir()) == sorted([*(f"{name}.json" for name in status), "gpu.json"])
