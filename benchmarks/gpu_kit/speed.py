"""How fast a BERT of the base size learns rows of 128 tokens, with how much memory, and how fast Trainer has it.

`python -m gpu_kit.speed compile` (or `eager`) prints Trainer's figures as JSON: a process of its own.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_kit.part import SAID, Findings, Kit

# Dense bf16 products, in 1e12 operations a second, by the makers; the first whose words are in a device's name counts.
STATED_PEAKS = {
    "GB200": 2500.0, "B200": 2250.0, "GH200": 989.4, "H200": 989.4, "H100 PCIe": 756.0, "H100 NVL": 835.5,
    "H100": 989.4, "H800": 989.4, "A100": 312.0, "A800": 312.0, "L40S": 362.1, "L40": 181.1, "L4": 121.0,
    "A10G": 70.0, "A10": 125.0, "A40": 149.7, "RTX 6000 Ada": 364.2, "RTX 4090": 165.2,
}  # fmt: skip
LEAST_MFU = 0.40  # of the stated peak
AS_THE_STAGES: dict[str, Any] = {"precision": "bf16", "zero_stage": 0, "compile": False, "deterministic": True}
WAYS = (  # in the order of what one would know first, should the time not suffice
    AS_THE_STAGES,
    {**AS_THE_STAGES, "deterministic": False},
    {**AS_THE_STAGES, "compile": True},
    *({**AS_THE_STAGES, "zero_stage": stage} for stage in (1, 2, 3)),
    {**AS_THE_STAGES, "precision": "fp16"},
)
BEFORE_TRAINER = 2  # of them
GROUP = ("RANK", "LOCAL_RANK", "WORLD_SIZE")  # by which Trainer would look for the group that our engine has joined
LABELS, TOKENS = 32, 128
WARMUP = 5  # steps of Trainer before the clock starts


def size_of(*, gpu: bool) -> dict[str, Any]:
    """The size of a run: a batch that fills a GPU; on a CPU one of no time."""
    return {"tiny": False, "batch_size": 256, "steps": 40} if gpu else {"tiny": True, "batch_size": 4, "steps": 2}


def speed(kit: Kit, found: Findings) -> None:
    """Tokens a second, share of the peak and memory of each way; and Trainer's, compiled, on the same rows."""
    import torch

    stated = stated_peak(torch.cuda.get_device_name()) if kit.gpu else None
    found.add("stated_bf16_peak_tflops", stated)
    ways = [way for way in WAYS if kit.gpu or (way["precision"] != "fp16" and not way["compile"])]
    measure(kit, found, ways[:BEFORE_TRAINER], stated)
    other = trainer_apart("compile" if kit.gpu else "eager", gpu=kit.gpu)
    found.add("trainer_bf16", other)
    measure(kit, found, ways[BEFORE_TRAINER:], stated)
    judge(found, found.content["winnow"], other, stated)


def judge(found: Findings, ways: Sequence[dict[str, Any]], other: dict[str, Any], stated: float | None) -> None:
    """Check that each of our ways and the `other`, Trainer, trained, and the fastest by its share of the peak."""
    done = [run for run in ways if "failure" not in run]
    found.check("every way trains", len(done) == len(ways), f"{len(done)} of {len(ways)}")
    found.check("Trainer trains too", "failure" not in other, other.get("failure"))
    if not done:
        return
    best = max(done, key=lambda run: run["tokens_per_second"])
    if "failure" not in other:
        found.add("fastest_to_trainer", round(best["tokens_per_second"] / other["tokens_per_second"], 3))
    if stated:
        share = best["mfu_of_stated"]
        found.check(f"the fastest way: at least {LEAST_MFU} of the stated peak", share >= LEAST_MFU, share)


def measure(kit: Kit, found: Findings, ways: Sequence[dict[str, Any]], stated: float | None) -> None:
    """Add the figures of some ways to `winnow` among the findings; of one that fails, why."""
    import torch
    import zero

    for way in ways:
        try:
            figures = {**way, **zero.figures({**way, **size_of(gpu=kit.gpu)})}
            figures["mfu_of_stated"] = round(figures["achieved_gflops"] / 1e3 / stated, 4) if stated else None
        except Exception as error:  # the other ways are to be tried all the same
            figures = {**way, "failure": f"{type(error).__name__}: {error}"[:SAID]}
        found.add("winnow", [*found.content.get("winnow", []), figures])
        gc.collect()
        torch.cuda.empty_cache()


def stated_peak(device: str) -> float | None:
    """The stated bf16 peak of a GPU by its name, in 1e12 operations a second; None for one that is not in the table."""
    return next((peak for name, peak in STATED_PEAKS.items() if re.search(rf"\b{re.escape(name)}\b", device)), None)


def trainer_apart(way: str, *, gpu: bool) -> dict[str, Any]:
    """The figures of `trainer`, from a process of its own; or why there are none."""
    command = [sys.executable, "-m", "gpu_kit.speed", way, *([] if gpu else ["tiny"])]
    alone = {name: value for name, value in os.environ.items() if name not in GROUP}
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**alone, "PYTHONPATH": path}
    )  # fmt: skip
    if done.returncode:
        return {"failure": f"ended with {done.returncode}: {done.stderr[-SAID:].strip()}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def trainer(*, compiled: bool, gpu: bool) -> dict[str, Any]:
    """Hugging Face's Trainer with bf16, fused AdamW and workers for its rows; model, loss and clipping as ours."""
    import torch
    import zero
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from stages.tasks.text_classification.learning import LEARNING

    size = size_of(gpu=gpu)
    steps = WARMUP + size["steps"]
    rows: Any = zero.Rows(size["batch_size"] * steps, TOKENS if gpu else 16, LABELS)
    model = zero.built(zero.BASE if gpu else zero.TINY, LABELS)
    clock = {"begun": 0.0, "seconds": 0.0}

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> Any:  # noqa: ARG002
            if state.global_step == WARMUP:
                zero.wait()
                clock["begun"] = time.perf_counter()
            if state.global_step == steps:
                zero.wait()
                clock["seconds"] = time.perf_counter() - clock["begun"]
            return control

    def collate(examples: list[Any]) -> dict[str, torch.Tensor]:
        ids = torch.stack([torch.from_numpy(example["input_ids"]) for example in examples]).long()
        labels = torch.tensor([example["target"] for example in examples])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}

    if gpu:
        model.encoder.set_attn_implementation("sdpa")
    arguments = TrainingArguments(
        output_dir=os.environ.get("TMPDIR", "/tmp"),  # noqa: S108  # nothing is saved
        per_device_train_batch_size=size["batch_size"], max_steps=steps, bf16=True, torch_compile=compiled,
        optim="adamw_torch_fused", max_grad_norm=1.0, dataloader_num_workers=4 if gpu else 0, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=not gpu, remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    Trainer(
        zero.WithLoss(model, LEARNING.loss), arguments, data_collator=collate, train_dataset=rows, callbacks=[Watch()]
    ).train()
    tokens = int(rows.lengths[: size["batch_size"] * size["steps"]].sum())
    most = torch.cuda.max_memory_allocated() / 1e6 if gpu else None
    return {
        "tokens_per_second": round(tokens / clock["seconds"]), "compile": compiled,
        "most_held_mb": round(most) if most else None,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(trainer(compiled=sys.argv[1] == "compile", gpu="tiny" not in sys.argv)))
