"""Losses of the first steps in each precision and ZeRO stage, beside those of float32 and of a CPU.

`python -m gpu_kit.exactness PROJECT` prints those of float32 as JSON: what the kit takes along of the CPU.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gpu_kit.part import Findings, Kit, greatest

STEPS = 12
SKIPS = 8  # steps more, at most, in which a loss scale is found
ZERO_STAGES = (0, 1, 2, 3)
# Of the first loss, before anything was learned; and of all, where the weights too are rounded after each step.
TOLERANCES = {"fp32": (1e-4, 1e-3), "fp16": (2e-3, 0.05), "bf16": (1e-2, 0.1)}


def exactness(kit: Kit, found: Findings) -> None:
    """Losses of each way; each is to be near float32's in ZeRO-0, and that near the CPU's, as all are without it."""
    project = kit.new_project("exactness", {})
    compare(found, tried(project, dict.fromkeys(("fp32", *kit.precisions))), kit.about["cpu"]["losses"])


class Tried(NamedTuple):
    """One way to train."""

    precision: str
    zero_stage: int
    losses: list[float]
    skipped: int
    failure: str = ""
    """Why there are no losses."""


def tried(project: Path, precisions: Iterable[str]) -> Iterator[Tried]:
    """Each of the precisions in each ZeRO stage."""
    for precision, stage in itertools.product(precisions, ZERO_STAGES):
        try:
            yield Tried(precision, stage, *losses(project, precision=precision, zero_stage=stage))
        except Exception as error:  # the other ways are to be tried all the same
            yield Tried(precision, stage, [], 0, f"{type(error).__name__}: {error}"[:500])


def compare(found: Findings, ways: Iterable[Tried], of_cpu: list[float]) -> None:
    """Judge each way beside float32 in ZeRO-0, where that trained, else beside the CPU."""
    exact: list[float] | None = None
    for way in ways:
        name = f"{way.precision}, ZeRO-{way.zero_stage}"
        if way.failure:
            found.check(f"{name}: it trains", False, way.failure)
            continue
        found.add(name, {"losses": way.losses, "skipped_steps": way.skipped})
        beside, whose = (of_cpu, "a CPU's in fp32") if exact is None else (exact, "fp32's in ZeRO-0")
        judge(found, name, way.losses, beside, tolerances=TOLERANCES[way.precision], whose=whose)
        if (way.precision, way.zero_stage) == ("fp32", 0):
            exact = way.losses


def judge(
    found: Findings, name: str, values: list[float], exact: list[float], *, tolerances: tuple[float, float], whose: str
) -> None:
    """Check losses of a way against exact ones: the first loss, and all of them, as shares of the first."""
    found.check(f"a loss scale is found in {name}", len(values) == len(exact), len(values))
    away = [abs(one - other) / exact[0] for one, other in zip(values, exact, strict=False)]
    for which, some, tolerance in zip(("first loss", "losses"), (away[:1], away), tolerances, strict=True):
        of_them = greatest(some)
        found.check(f"{which} in {name}: within {tolerance} of {whose}", of_them <= tolerance, of_them)


def losses(project: Path, *, precision: str, zero_stage: int) -> tuple[list[float], int]:
    """The losses of `finetune`'s first steps, all on one batch, without dropout, at a constant rate; steps skipped.

    Steps that the loss scale of fp16 skips come first, change nothing, and are left out: so that all ways make the
    same steps.
    """
    import torch

    from stages.core import plugins
    from stages.core.params.file import load_params
    from stages.core.paths import Paths
    from stages.models import FAMILIES
    from stages.models.pretrained import locate
    from stages.tasks import TASKS
    from stages.training import loop
    from stages.training.checkpoints import Checkpoints
    from stages.training.engine import start_engine
    from stages.training.meter import Meter
    from stages.training.rows import open_training_data

    os.chdir(project)  # the weights' folder is named from there
    params, data = load_params(project / "params.yaml"), open_training_data(Paths(project))
    changes = {"precision": precision, "zero_stage": zero_stage, "schedule": "constant", "warmup_ratio": 0.0}
    own = params.finetune.model_copy(update=changes)
    without_dropout = params.model.model_copy(update={"encoder_dropout": 0.0, "head_dropout": 0.0})
    family: Any = plugins.load(FAMILIES, params.model.family, key="model.family")
    task: Any = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    torch.manual_seed(params.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    model = family.build(locate(params.model), without_dropout, task.head(data.space))
    rows = loop.steps_of(data, own, params.seed, 0)[0]
    engine = start_engine(model, family.parts(model), own, STEPS, data.max_tokens)

    def loss(logits: torch.Tensor, batch: Any, _rows: Any) -> torch.Tensor:
        return task.loss(logits, batch["labels"]).mean()

    nowhere = loop.Places(Path(os.devnull), Path(os.devnull), Checkpoints(None))
    learner = loop.Learner(family, task, loss, params.task.measure)
    meter = Meter(engine.cost, engine.device, engine.precision, 0)
    job = loop.Job(engine, data, learner, nowhere, own, params.seed, meter)
    engine.deepspeed.module.train()
    values: list[float] = []
    while len(values) - engine.deepspeed.skipped_steps < STEPS and len(values) < STEPS + SKIPS:
        values.append(round(loop.one_step(job, rows, 0, 0).item(), 6))
    skipped = int(engine.deepspeed.skipped_steps)
    del job, engine, model
    gc.collect()
    return values[skipped:], skipped


if __name__ == "__main__":
    print(json.dumps(losses(Path(sys.argv[1]).resolve(), precision="fp32", zero_stage=0)[0]))
