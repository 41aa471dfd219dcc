"""How fast `finetune` trains: `python benchmarks/training.py` (after `make repro`; some minutes on two cores).

Real tokens (no padding) a second over the same optimizer steps of the default corpus and model, with the same batch
size and threads, each way in a process of its own, in turns; the median of three:

- trainer: Hugging Face's Trainer as most call it: fp32, rows in random order;
- trainer_grouped, trainer_bf16: Trainer with rows of similar length together, in fp32 and in bf16;
- bare: a plain torch loop with bf16, the same batches as finetune's, and fused AdamW; bare_fp32: in fp32;
- finetune: the stage's own engine and loop, with params.yaml as it is;
- finetune_all: the same with nothing frozen, as the others have it.

`finetune_to` has, beside each way, the better of the two precisions of Trainer with rows grouped and of the bare loop:
where a CPU is slow in bf16, finetune trains in fp32, and so may they. The share of the peak is that of the fastest
product of square matrices, in the fastest of the precisions. Writes training.json beside this file.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import record
import torch
import zero

from stages.core.machine import cores
from stages.training.meter import matrix_peak

ROOT = Path(__file__).resolve().parents[1]
WARMUP, STEPS, TURNS = 4, 30, 3
WAYS = ("trainer", "trainer_grouped", "trainer_bf16", "bare", "bare_fp32", "finetune", "finetune_all")
BETTER_OF = (("trainer_grouped", "trainer_bf16"), ("bare", "bare_fp32"))


def main() -> None:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(TURNS):
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, __file__, way], cwd=ROOT, capture_output=True, text=True, check=True,
                env={**os.environ, "OMP_NUM_THREADS": str(cores())},
            )  # fmt: skip
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"turn {turn + 1}: {way:14}{found[way][-1]['tokens_per_second']:10.0f} tokens/s", flush=True)
    speeds = {way: statistics.median(run["tokens_per_second"] for run in runs) for way, runs in found.items()}
    operations = statistics.median(run["operations_per_second"] for run in found["finetune"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peaks = {precision: matrix_peak(precision, device) for precision in ("fp32", "bf16", "fp16")}
    report = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "steps": STEPS,
        "turns": TURNS,
        "tokens_per_second": {way: round(speed) for way, speed in speeds.items()},
        "finetune_to": compared(speeds),
        "matrix_peak_gflops": {name: round(value / 1e9) for name, value in peaks.items()},
        "finetune_share_of_peak": round(operations / max(peaks.values()), 4),
    }
    record.write(Path(__file__).with_suffix(".json"), report)


def compared(speeds: dict[str, float]) -> dict[str, float]:
    """How many times as fast finetune is as each other way, and as the better precision of those that have two."""
    best = {f"best of {' and '.join(ways)}": max(speeds[way] for way in ways) for ways in BETTER_OF}
    others = {way: speed for way, speed in speeds.items() if way != "finetune"}
    return {way: round(speeds["finetune"] / speed, 2) for way, speed in (others | best).items()}


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(way: str) -> None:
    """One way, in this process; prints its figures as JSON."""
    from stages.core import plugins
    from stages.core.params.file import load_params
    from stages.core.paths import Paths
    from stages.models import FAMILIES
    from stages.models.pretrained import locate
    from stages.tasks import TASKS
    from stages.training.rows import open_training_data

    torch.set_num_threads(cores())
    params, paths = load_params(ROOT / "params.yaml"), Paths(ROOT)
    data = open_training_data(paths)
    family: Any = plugins.load(FAMILIES, params.model.family, key="model.family")
    task: Any = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    torch.manual_seed(params.seed)
    model = family.build(locate(params.model), params.model, task.head(data.space))
    kind = next((kind for name, kind in (("trainer", trainer), ("bare", bare)) if way.startswith(name)), finetune)
    clock = kind(way, model, data, params, family, task)
    print(json.dumps({
        "tokens_per_second": clock.tokens / clock.seconds, "operations_per_second": clock.operations / clock.seconds
    }))  # fmt: skip


class Clock:
    """Counts the tokens and the time of the steps after the warm-up."""

    def __init__(self) -> None:
        self.steps, self.tokens, self.operations, self.started, self.seconds = 0, 0, 0.0, 0.0, 0.0

    def step(self, tokens: int, operations: float = 0.0) -> bool:
        """One step is done; whether that was the last one."""
        wait()
        self.steps += 1
        if self.steps == WARMUP:
            self.started = time.perf_counter()
        elif self.steps > WARMUP:
            self.tokens += tokens
            self.operations += operations
            self.seconds = time.perf_counter() - self.started
        return self.steps == WARMUP + STEPS


def finetune(way: str, model: Any, data: Any, params: Any, family: Any, task: Any) -> Clock:
    from stages.training import loop
    from stages.training.checkpoints import Checkpoints
    from stages.training.engine import start_engine
    from stages.training.meter import Meter

    own = params.finetune.model_copy(update={"freeze_embeddings": False}) if way == "finetune_all" else params.finetune
    steps = loop.steps_of(data, own, params.seed, 0)
    engine = start_engine(model, family.parts(model), own, len(steps) * own.epochs, data.max_tokens)

    def loss(logits: torch.Tensor, batch: Any, _rows: Any) -> torch.Tensor:
        return task.loss(logits, batch["labels"]).mean()

    meter = Meter(engine.cost, engine.device, engine.precision, 0)
    nowhere = loop.Places(Path(os.devnull), Path(os.devnull), Checkpoints(None))
    job = loop.Job(
        engine, data, loop.Learner(family, task, loss, params.task.measure), nowhere, own, params.seed, meter
    )
    engine.deepspeed.module.train()
    clock = Clock()
    for number, rows in enumerate(steps):
        loop.one_step(job, rows, 0, number)
        if clock.step(int(data.train.lengths[rows].sum()), engine.cost(data.train.lengths[rows])):
            break
    return clock


def bare(way: str, model: Any, data: Any, params: Any, _family: Any, task: Any) -> Clock:
    from stages.training import batches as batches_of
    from stages.training.samplers import length_bucketed_batches

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.finetune.encoder_learning_rate, fused=True)
    batches = length_bucketed_batches(
        data.train.lengths, batch_size=params.finetune.batch_size, seed=params.seed, epoch=0
    )
    clock = Clock()
    for rows in batches:
        batch = batches_of.collate([data.train[row] for row in rows], pad_id=data.pad_id)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=way == "bare"):
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
            value = task.loss(logits, batch["labels"].to(device)).mean()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), params.finetune.max_gradient_norm)
        optimizer.step()
        optimizer.zero_grad()
        if clock.step(int(data.train.lengths[rows].sum())):
            break
    return clock


def trainer(way: str, model: Any, data: Any, params: Any, _family: Any, task: Any) -> Clock:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from stages.training import batches as batches_of

    clock, pending = Clock(), 0

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_more: Any) -> Any:  # noqa: ARG002
            control.should_training_stop = clock.step(pending)
            return control

    def collate(examples: list[Any]) -> dict[str, torch.Tensor]:
        nonlocal pending
        pending = sum(len(example["input_ids"]) for example in examples)
        return batches_of.collate(examples, pad_id=data.pad_id)

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(data.train)

        def __getitem__(self, at: int) -> dict[str, Any]:
            return data.train[at]

    arguments = TrainingArguments(
        output_dir="/tmp/winnow-trainer",  # noqa: S108  # nothing is saved
        per_device_train_batch_size=params.finetune.batch_size,
        num_train_epochs=params.finetune.epochs,
        learning_rate=params.finetune.encoder_learning_rate,
        bf16=way == "trainer_bf16",
        train_sampling_strategy="random" if way == "trainer" else "group_by_length",
        length_column_name="length",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        seed=params.seed,
        remove_unused_columns=False,
        logging_strategy="no",
    )
    Trainer(
        zero.WithLoss(model, task.loss), arguments, data_collator=collate, train_dataset=Rows(), callbacks=[Watch()]
    ).train()
    return clock


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
