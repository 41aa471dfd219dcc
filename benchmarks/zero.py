"""ZeRO stages and precisions side by side: `python benchmarks/zero.py`, on several GPUs or on a CPU.

A BERT of the base size (random weights: speed and memory do not depend on them) learns rows of 128 tokens, through the
engine of `finetune` and `distill`, in every ZeRO stage and precision: real tokens a second, the share of the measured
matrix peak (MFU), and the memory that each process holds. Each way is a run of its own, in a process a GPU; on a CPU
in fp32, and in two processes, so that there is something to share out.

`state` is what the tensors of a process hold between the backward pass and the optimizer's step; `promised` is what the
method's arithmetic says of weights, gradients and AdamW's state, by the bytes a weight that DeepSpeed keeps: gathered
weights and buffers come on top. `most_held` is the most at any time, with activations and what the allocator keeps: on
a GPU as torch allocated it, on a CPU resident.

`--tiny` is for a try. Writes zero.json, or what `--out` says. Of one GPU the kit (docs/gpu.md) says this and more, by
`figures` here.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import record
import torch

from stages.core.machine import cores
from stages.training.processes import greatest, join, rank, world_size

ROOT = Path(__file__).resolve().parents[1]
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
STAGES = (0, 1, 2, 3)
WARMUP = 3


def main() -> None:
    arguments = parse()
    if arguments.way:
        found = figures(json.loads(arguments.way))
        if rank() == 0:
            print(json.dumps(found))
        return
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    processes = gpus or 2
    ways = [
        {"precision": precision, "zero_stage": stage, "compile": compiled}
        for precision in (("fp16", "bf16") if gpus else ("fp32",))
        for stage in STAGES
        for compiled in ((False, True) if gpus and stage == 0 else (False,))
    ]
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if gpus else "cpu",
        "processes": processes,
        "model": "tiny" if arguments.tiny else "BERT base",
        "runs": [],
    }
    for way in ways:
        common = {"tiny": arguments.tiny, "batch_size": arguments.batch_size or (256 if gpus else 4 * processes)}
        report["runs"].append(started({**way, **common, "steps": arguments.steps or (40 if gpus else 3)}, processes))
        print(json.dumps(report["runs"][-1]), flush=True)
    record.write(Path(arguments.out), report)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a model that takes no time")
    parser.add_argument("--batch-size", type=int, help="rows an optimizer step, over all processes")
    parser.add_argument("--steps", type=int, help="steps that count, after the first few")
    parser.add_argument("--out", default=str(Path(__file__).with_suffix(".json")))
    parser.add_argument("--way", help=argparse.SUPPRESS)
    return parser.parse_args()


def started(options: dict[str, Any], processes: int) -> dict[str, Any]:
    """The figures of one way, from processes of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *launcher, __file__, "--way", json.dumps(options)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(max(1, cores() // processes))},
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{options}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def figures(options: dict[str, Any]) -> dict[str, Any]:
    """The figures of one way, in each of its processes.

    `options`: precision, zero_stage, compile, batch_size, steps, tiny; and deterministic, by default as the stages.
    """
    from stages.core.params.file import load_params
    from stages.models.encoder import FAMILY
    from stages.tasks.text_classification.learning import LEARNING
    from stages.training import loop
    from stages.training.checkpoints import Checkpoints
    from stages.training.engine import start_engine
    from stages.training.meter import Meter, cost_of_rows
    from stages.training.rows import TrainingData

    tokens, labels = (16, 2) if options["tiny"] else (128, 32)
    values = {name: options[name] for name in ("precision", "zero_stage", "compile", "batch_size")}
    params = load_params(ROOT / "params.yaml").finetune.model_copy(update={**values, "freeze_embeddings": False})
    rows: Any = Rows(options["batch_size"] * (WARMUP + options["steps"]), tokens, labels)
    space = {"labels": [str(number) for number in range(labels)]}
    data = TrainingData(train=rows, validation=rows, space=space, pad_id=0, max_tokens=tokens)
    torch.use_deterministic_algorithms(options.get("deterministic", True), warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # as the stages do
    join()
    cost_of_rows(built(TINY, labels), tokens)  # loads what a model needs, so that it does not count as the model's
    before = held()
    model = built(TINY if options["tiny"] else BASE, labels)
    weights = sum(p.numel() for p in model.parameters())
    steps = loop.steps_of(data, params, 1, 0)
    engine = start_engine(model, FAMILY.parts(model), params, len(steps), tokens)
    meter = Meter(engine.cost, engine.device, engine.precision, 0)
    loss = lambda logits, batch, _rows: LEARNING.loss(logits, batch["labels"]).mean()  # noqa: E731
    learner = loop.Learner(FAMILY, LEARNING, loss, "macro_f1")
    nowhere = loop.Places(Path(os.devnull), Path(os.devnull), Checkpoints(None))
    job = loop.Job(engine, data, learner, nowhere, params, 1, meter)
    engine.deepspeed.module.train()
    for number, of_step in enumerate(steps):
        if number == WARMUP:
            wait()
            forget_peak()
            meter.start()
        loop.one_step(job, of_step, 0, number)
        if number >= WARMUP:
            meter.take(rows.lengths[of_step])
    wait()
    meter.stop()
    updates = engine.updates  # the look at the state takes a step more
    state = state_held(engine.deepspeed, lambda: loop.one_step(job, steps[-1], 0, 0), before)
    state, most = greatest(state, engine.device), greatest(most_held(before), engine.device)
    promised = weights * bytes_a_weight(engine.precision, options["zero_stage"], world_size()) / 1e6
    return {
        **values, "weights": weights, "updates": updates, "state_mb_per_process": round(state),
        "promised_mb_per_process": round(promised), "most_held_mb_per_process": round(most), **meter.report(),
    }  # fmt: skip


def bytes_a_weight(precision: str, stage: int, processes: int) -> float:
    """Of weights, gradients, and the optimizer's state (masters, where there are, and AdamW's two moments)."""
    own = 4 if precision == "fp32" or (precision == "bf16" and stage == 0) else 2  # bf16 in ZeRO-0 is autocast
    masters = 4 if own == 2 or stage else 0  # a sharded optimizer has float32 copies of its part in any case
    state = masters + 8
    return (
        own / (processes if stage == 3 else 1)
        + own / (processes if stage >= 2 else 1)
        + state / (processes if stage >= 1 else 1)
    )


class Rows:
    """Random rows of so many tokens, none of them padding."""

    def __init__(self, count: int, tokens: int, labels: int) -> None:
        random = np.random.default_rng(0)
        self._ids = random.integers(5, 100, (count, tokens), dtype=np.int32)
        self.targets = random.integers(0, labels, count)
        self.lengths = np.full(count, tokens, dtype=np.int64)
        self.row_ids = [str(number) for number in range(count)]

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {"input_ids": self._ids[at], "target": int(self.targets[at])}


def built(size: dict[str, Any], labels: int) -> torch.nn.Module:
    """A classifier on a BERT of that size, with random weights."""
    from transformers import AutoModel, BertConfig

    from stages.core.contracts import Head
    from stages.models.encoder import EncoderWithHead

    torch.manual_seed(0)
    encoder = AutoModel.from_config(BertConfig(**size, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    return EncoderWithHead(encoder, pooling="mean", dropout=0.0, head=Head("row", labels))


class WithLoss(torch.nn.Module):
    """A model with its loss, (B,) of logits and labels, as Trainer wants one."""

    def __init__(self, model: torch.nn.Module, loss: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.inner, self._loss = model, loss

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any) -> dict[str, torch.Tensor]:
        """Its mean loss, and the logits."""
        logits = self.inner(input_ids, attention_mask)
        return {"loss": self._loss(logits, labels).mean(), "logits": logits}


def held() -> float:
    """MB of memory that this process holds, of a GPU where there is one, after what is free was given back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        return torch.cuda.memory_allocated() / 1e6
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / 1e6


def forget_peak() -> None:
    """The most that is held is counted from here."""
    held()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def state_held(module: Any, one_step: Callable[[], Any], before: float) -> float:
    """MB of all tensors of this process between the backward pass and the optimizer's step.

    `before`: MB that a GPU held already, of which its allocator says no more than the sum.
    """
    step, found = module.step, 0.0

    def look() -> None:
        nonlocal found
        found = tensors_mb(module.module) - (before if torch.cuda.is_available() else 0.0)
        module.step = step
        step()

    module.step = look
    one_step()
    return found


def tensors_mb(model: torch.nn.Module) -> float:
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 1e6
    gc.collect()
    known = [item for item in gc.get_objects() if isinstance(item, torch.Tensor)]
    known += [p.grad for p in model.parameters() if p.grad is not None]
    sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in known}
    return sum(sizes.values()) / 1e6


def most_held(before: float) -> float:
    """MB beyond `before`: of a GPU's memory, or of the process's own."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6 - before
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6 - before


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
