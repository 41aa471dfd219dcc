"""The training engine against a plain torch loop, over ZeRO stages and processes; and runs that are cut off."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_python
from conftest import REPOSITORY, write_tiny_model
from flow_fixtures import environment
from safetensors.torch import load_file
from test_training import params, write_tokens

TOLERANCE = 1e-4  # of a weight, in float32, after 12 steps of 3e-3; 1.4e-5 was the most, over three processors
TIMEOUT = 240  # seconds for the longest of them
ONE: dict[str, Any] = {"epochs": 1, "batch_size": 8}  # of one epoch the last weights are the best
UNCLIPPED = {**ONE, "max_gradient_norm": 1e9}
ACCUMULATED: dict[str, Any] = {"epochs": 1, "batch_size": 10}
FP16 = {"precision": "fp16"}
NO_FP16 = "finetune.precision is 'fp16', in which this device does not train. Allowed here: auto, bf16, fp32."
STAGES = (0, 1, 2, 3)

# What one process makes, and what two make, one run after another; ZeRO-3 comes last, as it changes torch for good.
ALONE: dict[str, dict[str, Any]] = {
    **{f"straight{stage}": {"dropout": 0.3, "changes": {"epochs": 3, "zero_stage": stage}} for stage in (0, 2)},
    "straight fp16": {"dropout": 0.3, "changes": {**FP16, "epochs": 3}},
    "plain": {"plain": True, "changes": ONE},
    "plain nineteen": {"plain": True, "changes": {"epochs": 1, "batch_size": 19}},
    "plain five": {"plain": True, "labels": 5, "changes": ONE},
    **{f"zero{stage}": {"changes": {**ONE, "zero_stage": stage}} for stage in STAGES},
    **{f"whole{steps}": {"plain": True, "changes": {"epochs": 1, "batch_size": 10 * steps}} for steps in (2, 3)},
    **{f"parts{steps}": {"changes": {**ACCUMULATED, "accumulation_steps": steps}} for steps in (2, 3)},
    "plain gradients": {"plain": True, "gradients": True, "changes": UNCLIPPED},
    **{f"gradients{stage}": {"gradients": True, "changes": {**UNCLIPPED, "zero_stage": stage}} for stage in STAGES},
    "nan": {"nan_at": 5},
    "broken": {"broken_by_the_last_step": True, "changes": {"epochs": 1}},
    "stuck": {"stuck": True, "changes": {"epochs": 6, "batch_size": 4, "patience": 6}},
    "overflow": {"overflow": True, "changes": {**FP16, "epochs": 1}},
    "long overflow": {"overflow": True, "changes": {**FP16, "epochs": 8}},
    "sharded overflow": {"overflow": True, "changes": {**FP16, "epochs": 8, "zero_stage": 2}},
}
TEXT_PAIR: dict[str, dict[str, Any]] = {
    **{f"pair{stage}": {"changes": {**ONE, "zero_stage": stage}} for stage in STAGES},
    "pair parts2": {"changes": {**ACCUMULATED, "accumulation_steps": 2}},
    **{f"pair gradients{n}": {"gradients": True, "changes": {**UNCLIPPED, "zero_stage": n}} for n in STAGES},
    "pair nineteen": {"changes": {"epochs": 1, "batch_size": 19}},
    "others": {"keys": ["0" * 16, "1" * 16]},
}


class Lab:
    """A folder with a tiny model and tokens, in which runs are made."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said = ""
        write_tokens(home)
        self.model = write_tiny_model(home / "model", wide=True)

    def run(self, name: str, **options: Any) -> Path:
        """Make one run, and give the folder of its results."""
        processes, expect, before = options.pop("processes", 1), options.pop("expect", 0), options.pop("before", ())
        return self.run_all({name: options}, processes=processes, expect=expect, before=before) / name

    def run_all(
        self,
        runs: dict[str, dict[str, Any]],
        *,
        processes: int = 1,
        expect: int | None = 0,
        before: tuple[str, ...] = (),
    ) -> Path:
        """Make runs, and give the folder of their folders.

        `expect`: the exit code, None for any but 0. `before`: a command that runs the rest.
        """
        common = {"root": str(self.home), "model": str(self.model)}
        given = [
            {
                **common,
                "out": str(self.home / name),
                "params": params(weight_decay=0.1, **options.get("changes", {})).model_dump(),
                **{key: str(value) if isinstance(value, Path) else value for key, value in options.items()},
            }
            for name, options in runs.items()
        ]
        file = self.home / "runs.json"
        file.write_text(json.dumps(given))
        script = [str(REPOSITORY / "tests/training_run.py"), str(file)]
        elastic = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        forked = f"{warm_python.bin_folder()}/forked"
        command = [*before, sys.executable if before else forked, *(elastic if processes > 1 else []), *script]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment(OMP_NUM_THREADS="1", PYTHON_EXEC=forked), capture_output=True,
            text=True, check=False, timeout=TIMEOUT,
        )  # fmt: skip
        self.said = done.stderr
        assert done.returncode == expect if expect is not None else done.returncode != 0, done.stderr[-3000:]
        return self.home


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "weights.safetensors")


def report(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def refused(out: Path) -> str:
    """Why a run did not end well; it has published nothing."""
    assert not (out / "weights.safetensors").exists()
    return (out / "error.txt").read_text()


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> tuple[float, str]:
    """The largest difference between two sets of tensors, and where it is."""
    assert one.keys() == other.keys()
    return max(((one[name] - other[name]).abs().max().item(), name) for name in one)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def alone(lab: Lab) -> Path:
    """The runs of one process."""
    in_order = sorted(ALONE.items(), key=lambda run: run[1].get("changes", {}).get("zero_stage") == 3)
    return lab.run_all(dict(in_order))


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Path:
    """The runs of two processes."""
    return lab.run_all(TEXT_PAIR, processes=2)


@pytest.mark.parametrize("stage", STAGES)
def test_each_zero_stage_gives_the_weights_and_losses_of_a_plain_torch_loop(alone: Path, stage: int):
    out = alone / f"zero{stage}"
    assert furthest(weights(out), weights(alone / "plain"))[0] < TOLERANCE
    losses = report(alone / "plain")["losses"]
    mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
    assert report(out)["history"][0]["train_loss"] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_learn_what_one_does_and_report_the_mean_over_all_rows(alone: Path, pair: Path, stage: int):
    out = pair / f"pair{stage}"
    assert report(out)["world"] == 2
    assert furthest(weights(out), weights(alone / "plain"))[0] < TOLERANCE
    for left, right in zip(report(out)["history"], report(alone / "zero0")["history"], strict=True):
        assert left == pytest.approx(right, abs=2e-6)


def test_batches_that_two_processes_cannot_share_evenly_count_by_their_rows(alone: Path, pair: Path):
    plain = alone / "plain nineteen"
    losses = report(plain)["losses"]
    assert [rows for _, rows in losses].count(19) > 1
    assert losses[-1][1] % 2 == 1, "ten rows and nine; in the end one and none"
    assert furthest(weights(pair / "pair nineteen"), weights(plain))[0] < TOLERANCE
    mean = sum(loss * rows for loss, rows in losses) / sum(rows for _, rows in losses)
    assert report(pair / "pair nineteen")["history"][0]["train_loss"] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("parts", ["parts2", "parts3", "pair parts2"])
def test_accumulated_batches_are_one_of_their_size_to_the_last_ragged_one(alone: Path, pair: Path, parts: str):
    whole = weights(alone / f"whole{parts[-1]}")
    assert furthest(weights(pair / parts), whole)[0] < TOLERANCE


@pytest.mark.parametrize("kind", ["gradients", "pair gradients"])
@pytest.mark.parametrize("stage", STAGES)
def test_gradients_are_those_of_torch_tensor_by_tensor(alone: Path, pair: Path, kind: str, stage: int):
    expected = load_file(alone / "plain gradients/gradients.safetensors")
    found = load_file(pair / f"{kind}{stage}/gradients.safetensors")
    assert max(tensor.abs().max().item() for tensor in expected.values()) > 1e-3
    difference, name = furthest(found, expected)
    assert difference < 1e-6, name


def test_processes_that_were_given_something_else_are_refused(pair: Path):
    said = refused(pair / "others")
    assert "the data, the parameters, the code or the precision are others in process 1 than in process 0" in said


def test_weights_that_the_last_step_breaks_are_not_published(alone: Path):
    assert "epoch 1/1: weights are not finite numbers (" in refused(alone / "broken")


def test_a_run_of_steps_without_an_update_stops_before_its_end(alone: Path):
    assert "epoch 5/6: no update was made in many steps" in refused(alone / "stuck")


def test_a_loss_that_is_no_number_stops_it_with_the_step_and_the_rows(alone: Path):
    said = refused(alone / "nan")
    assert "the loss is nan at step 5, in the batch of rows train-" in said
    assert "Lower the learning rates" in said


@pytest.mark.parametrize("name", ["overflow", "long overflow", "sharded overflow"])
def test_steps_that_the_loss_scaler_skips_all_are_no_training(alone: Path, name: str):
    said = refused(alone / name)
    if NO_FP16 in said:
        pytest.skip(said)
    assert "no update was made" in said
    assert "Set precision to bf16 or fp32" in said


@pytest.mark.parametrize(
    ("stage", "kill_at"),
    [(0, 9), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((0, 3), (0, 6), (0, 7), (2, 3), (2, 6)))],
)
def test_a_run_killed_with_9_goes_on_to_the_same_bytes(lab: Lab, alone: Path, tmp_path: Path, kill_at: int, stage: int):
    kept = tmp_path / "kept"
    changes = {"zero_stage": stage, "epochs": 3}
    options: dict[str, Any] = {"dropout": 0.3, "changes": changes}
    straight = alone / f"straight{stage}"
    name = f"cut{stage}at{kill_at}"
    lab.run(name, **options, checkpoints=str(kept), kill_at=kill_at, expect=-9)
    assert not (lab.home / name / "weights.safetensors").exists()
    out = lab.run(name, **options, checkpoints=str(kept))
    assert "goes on after step" in lab.said or kill_at <= 2
    assert (out / "weights.safetensors").read_bytes() == (straight / "weights.safetensors").read_bytes()
    assert report(out) == report(straight)
    for file in sorted(path for path in (straight / "curves").rglob("*") if path.is_file()):
        assert (out / file.relative_to(straight)).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize("stage", [3, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 1, 2))])
def test_a_run_goes_on_with_another_number_of_processes_and_another_zero_stage(
    lab: Lab, alone: Path, tmp_path: Path, stage: int
):
    kept, name = tmp_path / "kept", f"rest{stage}"
    options = {"checkpoints": str(kept), "labels": 5}  # two processes do not divide the head's five biases
    lab.run(name, **options, changes=ONE, kill_at=8, expect=-9)
    out = lab.run(name, **options, processes=2, changes={**ONE, "zero_stage": stage})
    assert "goes on after step 6" in lab.said
    assert furthest(weights(out), weights(alone / "plain five"))[0] < TOLERANCE


@pytest.mark.slow
def test_a_run_in_fp16_goes_on_to_the_same_bytes(lab: Lab, alone: Path, tmp_path: Path):
    if not (alone / "straight fp16/weights.safetensors").exists():
        pytest.skip(refused(alone / "straight fp16"))
    options: dict[str, Any] = {"dropout": 0.3, "changes": {**FP16, "epochs": 3}, "checkpoints": str(tmp_path / "kept")}
    lab.run("cut fp16", **options, kill_at=9, expect=-9)
    out = lab.run("cut fp16", **options)
    assert "goes on after step 8" in lab.said
    assert (out / "weights.safetensors").read_bytes() == (alone / "straight fp16/weights.safetensors").read_bytes()
    assert report(out) == report(alone / "straight fp16")


def test_a_run_killed_after_its_early_stop_does_not_go_on_learning(lab: Lab, tmp_path: Path):
    """The kill comes when all is learned, and before the results are written."""
    changes = {"epochs": 12, "patience": 1}
    options: dict[str, Any] = {"changes": changes, "checkpoints": str(tmp_path / "kept"), "fitted": True}
    out = lab.run("stopped", **options, kill_after=True, expect=-9)
    space = json.loads((out / "space.json").read_text())
    assert space.keys() == {"labels", "first"}
    (out / "space.json").unlink()
    lab.run("stopped", **options)
    assert "stopped early" in lab.said
    assert json.loads((out / "space.json").read_text()) == space, "what was fitted to the kept epoch's answers"
    history = report(out)["history"]
    assert report(out)["kept_epoch"] == len(history) - 1, "one epoch of patience, and no more"
    assert json.loads((out / "speed.json").read_text())["tokens_per_second"] > 0
    lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert sum("validation" in line for line in lines) == len(history)


def spoiled(path: Path, how: str) -> None:
    file = path / "trained.safetensors"
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    elif how == "cut short":
        content = content[: len(content) // 2]
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content)


@pytest.mark.parametrize("how", ["flipped", *(pytest.param(x, marks=pytest.mark.slow) for x in ("cut short", "gone"))])
def test_a_checkpoint_that_is_not_as_written_is_named_and_the_one_before_is_used(
    lab: Lab, alone: Path, tmp_path: Path, how: str
):
    kept = tmp_path / "kept"
    options: dict[str, Any] = {"dropout": 0.3, "changes": {"epochs": 3}}
    straight = alone / "straight0"
    lab.run(f"spoiled {how}", **options, checkpoints=str(kept), kill_at=9, expect=-9)
    older, newest = sorted(kept.glob("step-*"))
    spoiled(newest, how)
    out = lab.run(f"spoiled {how}", **options, checkpoints=str(kept))
    assert f"{newest}: the checkpoint is not as it was written" in lab.said
    assert f"goes on after step {int(older.name[5:])}" in lab.said
    assert (out / "weights.safetensors").read_bytes() == (straight / "weights.safetensors").read_bytes()


def test_a_rank_that_is_killed_ends_all_in_a_bounded_time(lab: Lab):
    lab.run("lost", processes=2, kill_at=3, kill_rank=1, expect=None)
    assert not (lab.home / "lost/weights.safetensors").exists()


@pytest.mark.slow
def test_a_checkpoint_holds_no_pickle_and_only_the_last_few_are_kept(lab: Lab, tmp_path: Path):
    kept = tmp_path / "kept"
    lab.run("many", checkpoints=str(kept), changes={"epochs": 3}, kill_at=17, expect=-9)
    found = sorted(kept.glob("step-*"))
    assert [int(path.name[5:]) for path in found] == [14, 16]
    assert {path.suffix for folder in found for path in folder.iterdir()} == {".safetensors", ".json"}
    shutil.rmtree(kept)


def test_a_full_disk_fails_the_run_and_leaves_earlier_checkpoints(lab: Lab, tmp_path: Path):
    kept = tmp_path / "kept"
    kept.mkdir()
    one = lab.home / "one checkpoint"
    lab.run("first", checkpoints=str(one), kill_at=3, expect=-9)
    size = sum(path.stat().st_size for path in one.rglob("*"))
    # Room for one and a half, in a file system of its own that is there only for that process.
    small = (
        f"mount -t tmpfs -o size={int(1.5 * size)} tmpfs '{kept}' && trap 'ls {kept} > {tmp_path}/left' EXIT; \"$@\""
    )
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    lab.run("full", checkpoints=str(kept), before=("unshare", "-rm", "sh", "-c", small, "sh"), expect=1)
    assert "the checkpoint cannot be written" in lab.said
    assert "Free some space" in lab.said
    assert (tmp_path / "left").read_text().split() == ["step-00000002"]
    assert not (lab.home / "full/weights.safetensors").exists()


@pytest.mark.parametrize("rename", [3, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 5))])
def test_a_run_killed_while_it_publishes_a_checkpoint_goes_on_from_the_last_whole_one(
    lab: Lab, alone: Path, tmp_path: Path, rename: int
):
    kept = tmp_path / "kept"
    options: dict[str, Any] = {"dropout": 0.3, "changes": {"epochs": 3}}
    straight = alone / "straight0"
    lab.run(f"publishing {rename}", **options, checkpoints=str(kept), kill_at_rename=rename, expect=-9)
    whole = sorted(path.name for path in kept.glob("step-*"))
    assert len(whole) == min(rename - 1, 2)
    assert len(list(kept.glob(".draft-*"))) == 1, "it was cut off between writing and publishing"
    out = lab.run(f"publishing {rename}", **options, checkpoints=str(kept))
    assert ("goes on after step" in lab.said) == bool(whole)
    assert (out / "weights.safetensors").read_bytes() == (straight / "weights.safetensors").read_bytes()


def test_out_of_memory_says_what_to_lower(lab: Lab):
    changes = {"epochs": 1, "batch_size": 96 * 200}
    lab.run("memory", repeat=200, spare_mb=800, changes=changes, expect=1)
    assert f"out of memory with batch_size {96 * 200}" in lab.said
    assert f"batch_size {96 * 100} with accumulation_steps 2" in lab.said
    assert "activation_checkpointing: true" in lab.said
    assert not (lab.home / "memory/weights.safetensors").exists()
