"""The parts that run stages as a user does, by `python -m stages.NAME`: scores, kill and resume, memory, torchao."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from functools import partial
from pathlib import Path
from typing import Any

from gpu_kit.part import Findings, Kit, SkippedError, greatest, run_stage, sha256, start_stage, threads_for

MODEL_OF = {"finetune": "teacher", "cache_logits": None, "distill": "student", "prune": "pruned"}
ZERO_STAGES = (1, 2, 3)  # 0 is that of params.yaml, in which all four stages run
AT_ONCE = 4  # stages on one GPU
SCORE_TOLERANCE = 0.03  # of the validation rows' score: other arithmetic is as another seed, by which it moves so far
RESUMED_STEPS = 500  # of the run that is killed, at least, so that there is time to
WEIGHT_TOLERANCE = 1e-3  # of a weight of the resumed run, beside the greatest of its tensor
POLL_SECONDS = 0.005
BALLAST_SPARES = 3 * 2**30  # bytes of the GPU's memory that a stage is left with: enough for a batch as usual
TOO_MANY_ROWS = 8192  # of a batch


def changed_to(precision: str, zero_stage: int = 0) -> dict[str, Any]:
    """The changes of params.yaml for a precision and a ZeRO stage, of all that trains."""
    return {
        **{f"{stage}.precision": precision for stage in ("finetune", "distill")},
        **{f"{stage}.zero_stage": zero_stage for stage in ("finetune", "distill")},
    }


def stages(kit: Kit, found: Findings) -> None:
    """The four stages in each precision, and `finetune` in each ZeRO stage; scores beside those of the CPU.

    Several run at once: one leaves a GPU idle most of the time, and nothing here is timed.
    """
    runs: dict[str, Callable[[], dict[str, Any]]] = {}
    for precision in kit.precisions:
        runs[precision] = partial(chain, kit, precision, 0, tuple(MODEL_OF))
        for zero_stage in ZERO_STAGES if kit.gpu else ZERO_STAGES[-1:]:
            runs[f"{precision}, ZeRO-{zero_stage}"] = partial(chain, kit, precision, zero_stage, ("finetune",))
    with ThreadPoolExecutor(AT_ONCE if kit.gpu else 2) as pool:
        started = {pool.submit(run): name for name, run in runs.items()}
        for done in as_completed(started):
            name, result = started[done], done.result()
            found.add(name, result)
            found.check(f"stages in {name}: all end well", "failure" not in result, result.get("failure"))
            for model, score in result["scores"].items():
                what = f"score of the {model} in {name}: within {SCORE_TOLERANCE} of the CPU's"
                found.check(what, abs(score["difference"]) <= SCORE_TOLERANCE, score["difference"])


def chain(kit: Kit, precision: str, zero_stage: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Run stages one after another in a project of their own: seconds, scores, and what failed, if something did."""
    project = kit.new_project(project_of(precision, zero_stage), changed_to(precision, zero_stage))
    result: dict[str, Any] = {"seconds": {}, "scores": {}}
    for name in names:
        ran = run_stage(project, name, threads=threads_for(2 * AT_ONCE))
        result["seconds"][name] = ran.seconds
        if ran.failure:
            return {**result, "failure": f"{name} {ran.failure}"}
        if model := MODEL_OF[name]:
            report = json.loads((project / f"metrics/training/{model}.json").read_text(encoding="utf-8"))
            result["scores"][model] = beside_cpu(report, kit.about["cpu"]["training"][model])
    return result


def project_of(precision: str, zero_stage: int = 0) -> str:
    """The name of the project in which `chain` ran."""
    return f"{precision}-zero-{zero_stage}"


def beside_cpu(report: dict[str, Any], cpu: dict[str, Any]) -> dict[str, float]:
    """A training's score on validation rows, that of the CPU, and the difference."""
    (name,) = (name for name in report if name.startswith("validation_"))
    return {"gpu": report[name], "cpu": cpu[name], "difference": round(report[name] - cpu[name], 6)}


def resume(kit: Kit, found: Findings) -> None:
    """Kill a `finetune` with SIGKILL after its first checkpoint, and go on; twice uninterrupted beside it.

    The two uninterrupted runs say whether this hardware makes the same bytes twice at all.
    """
    changes = {**changed_to(kit.precisions[1]), "finetune.epochs": epochs_for(kit), "finetune.select_by": "last"}
    runs = {name: kit.new_project(f"resume-{name}", changes) for name in ("whole", "again", "killed")}
    often = {"WINNOW_CHECKPOINT_SECONDS": "0.5"}
    with ThreadPoolExecutor(2) as pool:
        whole = {name: pool.submit(run_stage, runs[name], "finetune", threads=1) for name in ("whole", "again")}
        if not kit.gpu:
            wait(whole.values())  # two cores are too few for three
        step = kill_after_checkpoint(runs["killed"], often)
        found.add("killed_after_step", step)
        published = (runs["killed"] / "artifacts/models/teacher").exists()
        found.check("a killed run publishes nothing", not published, published)
        resumed = run_stage(runs["killed"], "finetune", threads=1, environment=often)
        for name, ran in [*((name, run.result()) for name, run in whole.items()), ("resumed", resumed)]:
            if ran.failure:
                raise RuntimeError(f"finetune, the {name} run, {ran.failure}")
    found.check("the second run goes on where the first was", f"goes on after step {step}" in resumed.said, step)
    weights = {name: run / "artifacts/models/teacher/model.safetensors" for name, run in runs.items()}
    found.add("same_bytes_twice", sha256(weights["whole"]) == sha256(weights["again"]))
    found.add("same_bytes_resumed", sha256(weights["whole"]) == sha256(weights["killed"]))
    twice, apart = (farthest(weights["whole"], weights[name]) for name in ("again", "killed"))
    found.add("farthest_weight_twice", twice)
    what = f"weights as those of the uninterrupted run: the same bytes, or within {WEIGHT_TOLERANCE}"
    found.check(what, apart <= WEIGHT_TOLERANCE, apart)


def epochs_for(kit: Kit) -> int:
    """So many epochs of `finetune` that there are RESUMED_STEPS steps."""
    params = kit.params["finetune"]
    a_step = params["batch_size"] * params["accumulation_steps"]
    return -(-RESUMED_STEPS * a_step // kit.about["cpu"]["train_rows"])


def kill_after_checkpoint(project: Path, environment: dict[str, str]) -> int:
    """Start `finetune`, kill it when its first checkpoint is there, and return the step that that is of.

    Raises RuntimeError where it ends by itself before.
    """
    log, checkpoints = project / "killed.log", project / ".dvc/tmp/winnow/checkpoints/teacher"
    with log.open("wb") as said:  # no pipe: nobody reads it while there is nothing to kill yet
        process = start_stage(project, "finetune", threads=1, environment=environment, said=said)
    while process.poll() is None:
        if any(checkpoints.glob("*/step-*")):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return max(int(path.name.removeprefix("step-")) for path in checkpoints.glob("*/step-*"))
        time.sleep(POLL_SECONDS)
    last = log.read_text(encoding="utf-8", errors="replace")[-500:]
    raise RuntimeError(f"finetune ended before it could be killed: {last}")


def farthest(one: Path, other: Path) -> float:
    """The greatest difference between two models' weights, each beside the greatest weight of its tensor."""
    from safetensors.numpy import load_file

    ours, theirs = load_file(one), load_file(other)
    return greatest([
        float(abs(ours[name] - theirs[name]).max() / max(float(abs(ours[name]).max()), 1e-12)) for name in ours
    ])  # fmt: skip


def out_of_memory(kit: Kit, found: Findings) -> None:
    """`finetune` with a batch too large, on a GPU whose memory something else holds: what it says, what it leaves."""
    if not kit.gpu:
        raise SkippedError("no GPU: of a CPU's memory tests/test_engine.py says what happens")
    import torch

    project = kit.scratch / project_of(kit.precisions[1])
    made = project / "artifacts/models/teacher/model.safetensors"
    if not made.is_file():
        raise SkippedError("the stages made no teacher that could be lost")
    before = sha256(made)
    kit.set_params(project, {**changed_to(kit.precisions[1]), "finetune.batch_size": TOO_MANY_ROWS})
    free, _ = torch.cuda.mem_get_info()
    ballast = torch.empty(max(0, free - BALLAST_SPARES), dtype=torch.uint8, device="cuda")
    ran = run_stage(project, "finetune", threads=threads_for(1))
    del ballast
    said = ran.said.strip().splitlines()
    found.add("said", said[-3:])
    found.check("it ends with 1", ran.code == 1, ran.code)
    found.check("it says what to lower", any(tells_of_memory(line) for line in said), said[-1:])
    found.check("it says so in a line, without a traceback", "Traceback" not in ran.said, len(said))
    found.check("the teacher that was there is as it was", made.is_file() and sha256(made) == before, made.name)


def tells_of_memory(line: str) -> bool:
    """Whether a line says that memory ran out, and what to set."""
    return f"out of memory with batch_size {TOO_MANY_ROWS}" in line and "Set batch_size" in line


def torchao_int8(kit: Kit, found: Findings) -> None:
    """`quantize` by torchao, of the model that the stages made: what int8 loses there."""
    site = kit.scratch / "torchao"
    if not site.is_dir():
        raise SkippedError("torchao is not in this kit")
    project = kit.scratch / project_of(kit.precisions[1])
    if not (project / "artifacts/models/pruned").is_dir():
        raise SkippedError("the stages made no pruned model to quantize")
    kit.set_params(project, {**changed_to(kit.precisions[1]), "quantize.backend": "torchao_int8"})
    environment = {"PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{site}"}
    ran = run_stage(project, "quantize", threads=threads_for(1), environment=environment)
    found.add("seconds", ran.seconds)
    if ran.failure:
        raise RuntimeError(f"quantize {ran.failure}")
    report = json.loads((project / "metrics/quantization.json").read_text(encoding="utf-8"))
    found.add("quantization", report)
    lost = round(report["float32"] - report["int8"], 6)
    found.check("int8 loses no more than quantize.max_loss", lost <= kit.params["quantize"]["max_loss"], lost)
