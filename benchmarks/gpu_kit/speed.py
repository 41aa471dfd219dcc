"""How fast a BERT of the base size learns rows of 128 tokens, with how much memory, and how fast Trainer has it.

`python -m gpu_kit.speed compile` (or `eager`) prints Trainer's figures as JSON: a process of its own.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu_kit.part import SAID, Findings, Kit

# Dense bf16 products, in 1e12 operations a second, as the makers state them; the first name that is a part counts.
STATED_PEAKS = {
    "GB200": 2500.0, "B200": 2250.0, "GH200": 989.4, "H200": 989.4, "H100 PCIe": 756.0, "H100 NVL": 835.5,
    "H100": 989.4, "H800": 989.4, "A100": 312.0, "A800": 312.0, "L40S": 362.1, "L40": 181.1, "L4": 121.0,
    "A10G": 70.0, "A10": 125.0, "A40": 149.7, "RTX 6000 Ada": 364.2, "RTX 4090": 165.2,
}  # fmt: skip
LEAST_MFU = 0.40  # of the stated peak
WAYS: tuple[dict[str, Any], ...] = (
    {"precision": "bf16", "zero_stage": 0, "compile": False, "deterministic": True},
    {"precision": "fp16", "zero_stage": 0, "compile": False, "deterministic": True},
    {"precision": "bf16", "zero_stage": 1, "compile": False, "deterministic": True},
    {"precision": "bf16", "zero_stage": 2, "compile": False, "deterministic": True},
    {"precision": "bf16", "zero_stage": 3, "compile": False, "deterministic": True},
    {"precision": "bf16", "zero_stage": 0, "compile": False, "deterministic": False},
    {"precision": "bf16", "zero_stage": 0, "compile": True, "deterministic": True},
)
LABELS, TOKENS = 32, 128
WARMUP = 5  # steps of Trainer before the clock starts


def size_of(*, gpu: bool) -> dict[str, Any]:
    """The size of a run: a batch that fills a GPU; on a CPU one of no time."""
    return {"tiny": False, "batch_size": 256, "steps": 40} if gpu else {"tiny": True, "batch_size": 4, "steps": 2}


def speed(kit: Kit, found: Findings) -> None:
    """Tokens a second, share of the peak and memory of each way; Trainer's on the same rows, compiled and not."""
    import torch
    import zero

    stated = stated_peak(torch.cuda.get_device_name()) if kit.gpu else None
    found.add("stated_bf16_peak_tflops", stated)
    runs: list[dict[str, Any]] = []
    for way in WAYS if kit.gpu else [way for way in WAYS if way["precision"] != "fp16" and not way["compile"]]:
        try:
            figures = zero.figures({**way, **size_of(gpu=kit.gpu)})
            runs.append({**way, **figures, "mfu_of_stated": share(figures["achieved_gflops"] / 1e3, stated)})
        except Exception as error:  # the other ways are to be tried all the same
            runs.append({**way, "failure": f"{type(error).__name__}: {error}"[:500]})
        found.add("winnow", runs)
        gc.collect()
        torch.cuda.empty_cache()
    done = [run for run in runs if "failure" not in run]
    found.check("every way trains", len(done) == len(runs), f"{len(done)} of {len(runs)}")
    best = max(done, key=lambda run: run["tokens_per_second"])
    if stated:
        found.check(
            f"the fastest way: at least {LEAST_MFU} of the stated peak",
            best["mfu_of_stated"] >= LEAST_MFU,
            best["mfu_of_stated"],
        )
    others = {way: trainer_apart(way, gpu=kit.gpu) for way in (("eager", "compile") if kit.gpu else ("eager",))}
    found.add("trainer_bf16", others)
    if speeds := [other["tokens_per_second"] for other in others.values() if "failure" not in other]:
        found.add("winnow_to_best_trainer", round(best["tokens_per_second"] / max(speeds), 3))
    found.check("Trainer trains too", len(speeds) == len(others), others)


def stated_peak(device: str) -> float | None:
    """The stated bf16 peak of a GPU by its name, in 1e12 operations a second; None for one that is not in the table."""
    return next((peak for name, peak in STATED_PEAKS.items() if name in device), None)


def share(of: float, peak: float | None) -> float | None:
    """A speed's share of the peak, if that is known."""
    return round(of / peak, 4) if peak else None


def trainer_apart(way: str, *, gpu: bool) -> dict[str, Any]:
    """The figures of `trainer`, from a process of its own; or why there are none."""
    command = [sys.executable, "-m", "gpu_kit.speed", way, *([] if gpu else ["tiny"])]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
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

    class Wrapped(torch.nn.Module):
        """The model with its loss, as Trainer wants one."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any) -> dict[str, torch.Tensor]:
            logits = self.inner(input_ids, attention_mask)
            return {"loss": LEARNING.loss(logits, labels).mean(), "logits": logits}

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
        model.encoder.set_attn_implementation("sdpa")  # type: ignore[operator]
    arguments = TrainingArguments(
        output_dir=os.environ.get("TMPDIR", "/tmp"),  # noqa: S108  # nothing is saved
        per_device_train_batch_size=size["batch_size"], max_steps=steps, bf16=True, torch_compile=compiled,
        optim="adamw_torch_fused", max_grad_norm=1.0, dataloader_num_workers=4 if gpu else 0, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=not gpu, remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    Trainer(Wrapped(), arguments, data_collator=collate, train_dataset=rows, callbacks=[Watch()]).train()
    tokens = int(rows.lengths[: size["batch_size"] * size["steps"]].sum())
    most = torch.cuda.max_memory_allocated() / 1e6 if gpu else None
    return {
        "tokens_per_second": round(tokens / clock["seconds"]), "compile": compiled,
        "most_held_mb": round(most) if most else None,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(trainer(compiled=sys.argv[1] == "compile", gpu="tiny" not in sys.argv)))
