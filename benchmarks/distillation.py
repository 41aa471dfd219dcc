"""What caching the teacher's logits gains: `python benchmarks/distillation.py` (after `make repro`; some minutes).

The same steps of `distill` on the default corpus, through its own engine and loop, in turns: with logits from the file
that `cache_logits` wrote, and with a teacher that runs in each step. With T and S the forward passes of teacher and
student, training takes about 3S a step, so the most that caching can gain is (T+3S)/3S; T and S are measured on the
same batches. Each turn is a process of its own; the figures are medians. Writes distillation.json beside this file.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch

from stages.core.machine import cores

ROOT = Path(__file__).resolve().parents[1]
WARMUP, STEPS, TURNS = 4, 40, 5


def main() -> None:
    turns = []
    for turn in range(TURNS):
        done = subprocess.run(
            [sys.executable, __file__, "one"], cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(cores())},
        )  # fmt: skip
        turns.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"turn {turn + 1}: {turns[-1]}", flush=True)
    seconds = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    gain = statistics.median(turn["online"] / turn["cached"] for turn in turns)
    possible = statistics.median(1 + turn["teacher_forward"] / (3 * turn["student_forward"]) for turn in turns)
    report = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "steps": STEPS,
        "turns": TURNS,
        "ms_a_step": {name: round(1000 * value / STEPS, 2) for name, value in seconds.items()},
        "gain": round(gain, 3),
        "possible_gain": round(possible, 3),
        "share_of_possible": round(gain / possible, 3),
    }
    record.write(Path(__file__).with_suffix(".json"), report)


def one(stack: ExitStack) -> None:
    """Seconds of the steps each way, in this process; what is opened is closed with `stack`."""
    from stages.core.params.file import load_params
    from stages.core.paths import Paths
    from stages.distill import untrained
    from stages.models.encoder import FAMILY
    from stages.tasks.text_classification.learning import LEARNING
    from stages.training import loop
    from stages.training.batches import collate
    from stages.training.checkpoints import Checkpoints
    from stages.training.distillation import distillation_loss, read_answers, relation_heads
    from stages.training.engine import start_engine
    from stages.training.inference import autocast
    from stages.training.meter import Meter
    from stages.training.rows import open_training_data

    torch.set_num_threads(cores())
    params, paths = load_params(ROOT / "params.yaml"), Paths(ROOT)
    if params.distill.family != "encoder":
        raise SystemExit(f"distill.family is '{params.distill.family}'. Allowed here: encoder.")
    data = open_training_data(paths, transfer=True)
    teacher = FAMILY.open(paths.model("teacher"))
    student = untrained(teacher, params.distill, FAMILY, FAMILY, data, LEARNING)
    distilled = distillation_loss(
        params.distill.losses.model_dump(), temperature=params.distill.temperature, task=LEARNING,
        answers=read_answers(paths.logits, data.train), taps=lambda: FAMILY.taps(student),
        teacher_layers=params.distill.teacher_layers,
        heads=lambda: relation_heads(*(FAMILY.units(model)["heads"][0] for model in (teacher, student))),
    )  # fmt: skip
    cached = stack.enter_context(distilled)
    steps = loop.steps_of(data, params.distill, params.seed, 0)
    engine = start_engine(student, FAMILY.parts(student), params.distill, len(steps), data.max_tokens)
    teacher.to(engine.device)

    def batch_of(rows_B: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        batch = collate([data.train[row] for row in rows_B], pad_id=data.pad_id)
        return batch["input_ids"].to(engine.device), batch["attention_mask"].to(engine.device)

    def online(logits_BC: torch.Tensor, batch: Any, rows_B: np.ndarray) -> torch.Tensor:
        with torch.inference_mode(), autocast(engine.device, engine.precision):
            teacher(*batch_of(rows_B))
        return cached(logits_BC, batch, rows_B)

    def training(loss: Callable[..., torch.Tensor]) -> Callable[[int, np.ndarray], Any]:
        meter = Meter(engine.cost, engine.device, engine.precision, 0)
        nowhere = loop.Places(Path(os.devnull), Path(os.devnull), Checkpoints(None))
        job = loop.Job(
            engine,
            data,
            loop.Learner(FAMILY, LEARNING, loss, params.task.measure),
            nowhere,
            params.distill,
            params.seed,
            meter,
        )
        return lambda number, rows: loop.one_step(job, rows, 0, number)

    def forward(model: torch.nn.Module) -> Callable[[int, np.ndarray], Any]:
        def run(_number: int, rows: np.ndarray) -> None:
            with torch.inference_mode(), autocast(engine.device, engine.precision):
                model(*batch_of(rows))

        return run

    ways = {
        "cached": training(cached), "online": training(online),
        "teacher_forward": forward(teacher), "student_forward": forward(engine.deepspeed.module),
    }  # fmt: skip
    print(json.dumps({name: seconds(way, steps) for name, way in ways.items()}))


def seconds(way: Callable[[int, np.ndarray], Any], steps: list[np.ndarray]) -> float:
    """Of STEPS steps, after a few to get warm; always the same rows."""
    for number in range(WARMUP):
        way(number, steps[number])
    wait()
    started = time.perf_counter()
    for number in range(WARMUP, WARMUP + STEPS):
        way(number, steps[number])
    wait()
    return time.perf_counter() - started


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with ExitStack() as opened:
            one(opened)
    else:
        main()
