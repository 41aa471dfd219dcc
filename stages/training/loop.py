"""The training loop that `finetune`, `distill` and `prune` share.

The result does not depend on the number of processes, except for what the model draws at random: dropout, changes of
images.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from stages.core.contracts import Family, Space, inputs_of
from stages.core.params.training import TrainingParams
from stages.core.progress import progress
from stages.tasks.contract import TaskLearning
from stages.training.batches import batch_of, by_row
from stages.training.checkpoints import Checkpoints
from stages.training.curves import Curves, open_curves, read_curves
from stages.training.engine import Engine, start_engine
from stages.training.guards import LossWatch, check_finite, check_weights, loss_scale_is_found, memory_is_enough
from stages.training.inference import predict_logits, scores_of, space_of
from stages.training.meter import Meter, StepLog, peak_memory_mb
from stages.training.people import Scales, balanced_draw
from stages.training.processes import agreed, rank, refuse_differences, total, world_size
from stages.training.rows import TrainingData
from stages.training.samplers import length_bucketed_batches, share, shuffled_batches

log = logging.getLogger("winnow")
LOG_EVERY = 20  # optimizer steps between two points of a curve
REHEARSALS = 40  # steps until a loss scale of fp16 is low enough, at most

Weights = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, Mapping[str, torch.Tensor], np.ndarray], torch.Tensor]
"""loss(logits, batch, row_numbers_B): a scalar, the mean over B; `batch` comes from `collate`, with `counted` (B,).

Of a task whose loss is the mean over targets (`by_tokens`) there are `weights` (B,) too, how many each example has: it
is then the mean with these weights (`mean_of_rows`). Where rows are treated by group there are `scales` (B,) of their
losses.
"""


@dataclass
class Standing:
    """The progress and history of a run: with the weights and AdamW's moments, all that it needs to continue."""

    watch: LossWatch
    epoch: int = 0  # the one under way, from 0
    step: int = 0  # optimizer steps of it that are done
    loss_sum: float = 0.0  # over the rows of this epoch, or their targets
    rows: int = 0
    window_sum: float = 0.0  # over the rows, or their targets, since the last point of the curve
    window_rows: int = 0
    kept_score: float = -math.inf
    kept_epoch: int = -1
    kept_space: dict[str, Any] = field(default_factory=dict)  # with what that epoch's model says of how to answer
    group_weights: list[float] = field(default_factory=list)  # of `Scales`, where they change
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def of(cls, numbers: dict[str, Any]) -> Standing:
        """A Standing from the result of `dataclasses.asdict`."""
        return cls(**{**numbers, "watch": LossWatch(**numbers["watch"])})

    def take(self, loss: float, rows: int) -> None:
        """Count one more step, with its mean loss over `rows` rows, or so many targets."""
        self.watch.begin(loss)
        self.step += 1
        self.loss_sum, self.rows = self.loss_sum + loss * rows, self.rows + rows
        self.window_sum, self.window_rows = self.window_sum + loss * rows, self.window_rows + rows

    def end_window(self, title: str) -> float:
        """End a window of steps. Returns its mean loss over the rows; raises ValueError where the loss has run away."""
        mean = self.window_sum / self.window_rows
        self.window_sum, self.window_rows = 0.0, 0
        self.watch.look(mean, title)
        return mean

    def end_epoch(self, scores: dict[str, float]) -> float:
        """End the epoch, and record its mean loss over the rows with its scores. Returns the loss."""
        mean = self.loss_sum / self.rows
        self.history.append({"train_loss": round(mean, 6), **{name: round(s, 6) for name, s in scores.items()}})
        self.epoch, self.step, self.loss_sum, self.rows = self.epoch + 1, 0, 0.0, 0
        return mean


class Learner(NamedTuple):
    """The subject of a training: the model family, the task, the loss, and the score that chooses the epoch."""

    family: Family
    task: TaskLearning
    loss: Loss
    measure: str
    """One of those that the task's `score` gives."""
    scales: Scales | None = None
    """By which the rows' losses count, where rows are treated by group."""


class Places(NamedTuple):
    """The places where a run keeps its progress."""

    curves: Path
    """A folder: DVCLive's curves."""
    step_log: Path
    """A file with a line of JSON for each point."""
    checkpoints: Checkpoints


@dataclass(frozen=True)
class Job:
    """The objects that all steps of a run share."""

    engine: Engine
    data: TrainingData
    learner: Learner
    places: Places
    params: TrainingParams
    seed: int
    meter: Meter
    n_targets: np.ndarray | None = None
    """(N,): how many targets each training row has, where the loss is the mean over them; None: over rows."""

    def weight(self, rows: np.ndarray) -> int:
        """How much these rows count together in the mean of a step's loss; 1 at least."""
        return max(1, len(rows) if self.n_targets is None else int(self.n_targets[rows].sum()))

    def steps(self, epoch: int) -> list[np.ndarray]:
        """The rows of each optimizer step of an epoch."""
        return steps_of(self.data, self.params, self.seed, epoch)


class Trained(NamedTuple):
    """The result of a run."""

    model: nn.Module
    """With the weights of the epoch that was kept: by default the best on validation."""
    report: dict[str, Any]
    """The course of the training; nothing in it depends on the clock."""
    speed: dict[str, Any]
    """Its speed on this hardware."""
    space: Space
    """All that it can answer, with what its validation rows say of how to."""


def train(
    model: nn.Module, data: TrainingData, learner: Learner, places: Places, *, params: TrainingParams, seed: int
) -> Trained:
    """Train a copy of `model`.

    From a checkpoint of this run, if there is one, it continues. Raises ValueError where the loss stops being a finite
    number or runs away, where no update was made, where memory is too small, or where processes differ in their inputs.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing reads fresh memory; filled, each buffer would be written twice.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    trained = copy.deepcopy(model)  # the engine takes the other apart: ZeRO-3 leaves its tensors empty
    total_steps = sum(len(steps_of(data, params, seed, epoch)) for epoch in range(params.epochs))
    parts = learner.family.parts(model)
    kind = getattr(getattr(parts.encoder, "config", None), "model_type", "")
    with memory_is_enough(params, kind=kind, whole_batch=learner.task.whole_batch), loss_scale_is_found():
        engine = start_engine(
            model, parts, params, total_steps, data.max_tokens, decoded=data.train.decoded,
            image_size=data.train.beside and data.train.beside.pixels.size,
        )  # fmt: skip
        refuse_differences(
            places.checkpoints.key,
            engine.device,
            "training: the data, the parameters, the code or the precision are others",
        )
        meter = Meter(engine.cost, engine.device, engine.precision, params.epochs * int(data.train.lengths.sum()))
        n_targets = data.train.n_targets if learner.task.by_tokens else None
        job = Job(engine, data, learner, places, params, seed, meter, n_targets)
        log.info(
            "training: %d rows, %s, ZeRO-%d, on %s%s", len(data.train), engine.precision, engine.zero_stage,
            engine.device, f", {world_size()} processes" if world_size() > 1 else "",
        )  # fmt: skip
        standing, kept = _learn(job)
    if engine.updates < 1:
        raise ValueError(
            f"training: no update was made in {engine.deepspeed.global_steps} steps: the loss scaler skipped them all."
            " Set precision to bf16 or fp32, or lower the learning rates."
        )
    trained.load_state_dict(kept)
    return Trained(trained, _report(job, standing), meter.report(), standing.kept_space or data.space)


def _report(job: Job, standing: Standing) -> dict[str, Any]:
    return {
        "precision": job.engine.precision,
        "zero_stage": job.engine.zero_stage,
        "updates": job.engine.updates,
        **job.data.train.counts(),
        "kept_epoch": standing.kept_epoch + 1,
        "epochs_run": len(standing.history),
        f"validation_{job.learner.measure}": round(standing.kept_score, 6),
        "history": standing.history,
    }


def _learn(job: Job) -> tuple[Standing, Weights]:
    """Run all remaining epochs, until the score no longer improves. Returns the standing and the weights to keep."""
    params = job.params
    standing, kept, curves = _resumed(job)
    steps_before = job.engine.deepspeed.global_steps
    steps = StepLog(job.places.step_log, after=job.engine.deepspeed.global_steps, validated=not standing.step)
    with open_curves(job.places.curves, curves) as lines:
        while standing.epoch < params.epochs and standing.epoch - 1 - standing.kept_epoch < params.patience:
            kept = _one_epoch(job, standing, kept, lines, steps)
    if job.places.checkpoints.keep_finished and steps_before < job.engine.deepspeed.global_steps:
        _save(job, standing, kept)
    if standing.epoch < params.epochs:
        log.info("stopped early: no better %s for %d epochs", job.learner.measure, params.patience)
    return standing, kept


def steps_of(data: TrainingData, params: TrainingParams, seed: int, epoch: int) -> list[np.ndarray]:
    """The rows of each optimizer step of an epoch; where groups are balanced, a row may be there more than once.

    They are of similar length, so that little is padded; where they are packed, of any.
    """
    rows = params.batch_size * params.accumulation_steps
    if params.packed:
        return shuffled_batches(len(data.train), batch_size=rows, seed=seed, epoch=epoch)
    if data.balanced_N is None:
        return length_bucketed_batches(data.train.lengths, batch_size=rows, seed=seed, epoch=epoch)
    drawn_N = balanced_draw(data.balanced_N, seed=seed, epoch=epoch)
    lengths_N = data.train.lengths[drawn_N]
    return [drawn_N[at] for at in length_bucketed_batches(lengths_N, batch_size=rows, seed=seed, epoch=epoch)]


def _one_epoch(job: Job, standing: Standing, kept: Weights, lines: Curves, step_log: StepLog) -> Weights:
    """Run the rest of an epoch over the training rows, then validate. Returns the weights to keep."""
    title = f"epoch {standing.epoch + 1}/{job.params.epochs}"
    _all_steps(job, standing, kept, Points(lines, step_log), title)
    logits = _on_validation(job)
    scores = scores_of(logits, job.data.validation, job.learner.task.score)
    done = job.engine.deepspeed.global_steps
    lines.log(done, {f"validation/{name}": score for name, score in scores.items()})
    step_log.write(done, epoch=standing.epoch + 1, validation=scores)
    epoch, train_loss = standing.epoch, standing.end_epoch(scores)
    log.info(
        "%s: loss %.4f, validation %s, %.0f tokens/s", title, train_loss,
        ", ".join(f"{name} {score:.4f}" for name, score in scores.items()), job.meter.tokens_per_second,
    )  # fmt: skip
    if (score := scores[job.learner.measure]) > standing.kept_score or job.params.select_by == "last":
        standing.kept_score, standing.kept_epoch, kept = score, epoch, job.engine.weights()
        check_weights(kept, title)
        space = space_of(logits, job.data.validation, job.learner.task, job.data.space, job.learner.measure)
        standing.kept_space = dict(space)
    _save_where_due(job, standing, kept)
    return kept


class Points(NamedTuple):
    """The places where the points of the curves go."""

    lines: Curves
    step_log: StepLog


def _all_steps(job: Job, standing: Standing, kept: Weights, points: Points, title: str) -> None:
    """Run the remaining optimizer steps of an epoch; every LOG_EVERY log a point of the curves, and save where due."""
    engine, meter = job.engine, job.meter
    steps = job.steps(standing.epoch)
    engine.deepspeed.module.train()
    meter.start()
    shown = progress(steps[standing.step :], title, done=standing.step)
    window: list[tuple[np.ndarray, torch.Tensor]] = []  # a GPU asked for each loss at once waits each time
    for number, rows in enumerate(shown, start=standing.step + 1):
        window.append((rows, one_step(job, rows, standing.epoch, number - 1)))
        meter.take(job.data.train.lengths_of(rows))
        is_point = engine.deepspeed.global_steps % LOG_EVERY == 0
        if is_point or number == len(steps):
            _take(job, standing, window, title)
        if is_point:
            meter.stop()
            shown.set_postfix(**_point(job, standing, points, title))
            _save_where_due(job, standing, kept)
            meter.start()
    meter.stop()


def _point(job: Job, standing: Standing, points: Points, title: str) -> dict[str, str]:
    """Log a point for the steps since the last one. Returns the values for the progress bar."""
    engine, meter = job.engine, job.meter
    done, mean, rate = engine.deepspeed.global_steps, standing.end_window(title), engine.learning_rate
    standing.watch.count(engine.updates, done, title)
    speed, left = meter.tokens_per_second, meter.seconds_left
    points.lines.log(done, {"train/loss": mean, "train/learning_rate": rate})
    points.step_log.write(
        done, epoch=standing.epoch + 1, loss=mean, learning_rate=rate, tokens_per_second=round(speed),
        seconds_left=round(left, 1), skipped_steps=engine.deepspeed.skipped_steps,
        memory_mb=round(peak_memory_mb(engine.device)),
    )  # fmt: skip
    return {"loss": f"{mean:.3f}", "lr": f"{rate:.1e}", "tokens_s": f"{speed:.0f}", "left": f"{left:.0f}s"}


def _on_validation(job: Job) -> np.ndarray:
    """The logits of the validation rows, or what the task's score needs of them."""
    return predict_logits(
        job.engine.deepspeed.module, job.data.validation, pad_id=job.data.pad_id, precision=job.engine.precision,
        title="validation", reduced=job.learner.task.reduced,
    )  # fmt: skip


def _save_where_due(job: Job, standing: Standing, kept: Weights) -> None:
    if agreed(job.places.checkpoints.due(), job.engine.device):
        _save(job, standing, kept)


def _take(job: Job, standing: Standing, window: list[tuple[np.ndarray, torch.Tensor]], title: str) -> None:
    """Count the losses of some steps, and clear them. Raises ValueError where one is not a number."""
    losses = total(torch.stack([part for _, part in window])).tolist()
    first = job.engine.deepspeed.global_steps - len(window) + 1
    for at, ((rows, _), loss) in enumerate(zip(window, losses, strict=True)):
        check_finite(loss, first + at, [job.data.train.row_ids[row] for row in rows[:5]], title)
        standing.take(loss, job.weight(rows))
    window.clear()


def one_step(job: Job, rows: np.ndarray, epoch: int, step: int) -> torch.Tensor:
    """Make one optimizer step. Returns this process's part of the mean loss over `rows`; the parts add up to it."""
    engine, module = job.engine, job.engine.deepspeed
    engine.set_learning_rates(module.global_steps)
    summed = torch.zeros((), device=engine.device)
    batches = share(rows, batches=job.params.accumulation_steps, processes=world_size(), process=rank())
    for number, own in enumerate(batches):
        # Random numbers follow from where the run is, so that a run that goes on has the same ones.
        torch.manual_seed(int(np.random.SeedSequence([job.seed, epoch, step, number, rank()]).generate_state(1)[0]))
        # Each process takes part in each batch, if only with a row of no weight.
        to_take = own if len(own) else rows[:1]
        taken, collated = batch_of(job.data, to_take, packed=job.params.packed, n_targets=job.n_targets)
        batch = {name: tensor.to(engine.device) for name, tensor in collated.items()}
        batch["counted"] = torch.full((len(batch["labels"]),), len(own) > 0, device=engine.device)
        if job.learner.scales is not None:
            batch["scales"] = job.learner.scales.of(taken, rows, engine.device)
        logits = by_row(module(*inputs_of(batch)), batch)
        # The parts add up to the mean over all rows, or all targets.
        share_of_step = job.weight(own) / job.weight(rows) if len(own) else 0.0
        part = job.learner.loss(logits, batch, taken) * share_of_step
        # DeepSpeed takes the mean over the batches and the processes; this undoes it.
        module.backward(part * (job.params.accumulation_steps * world_size()))
        module.step()
        summed += part.detach().float()
    if job.learner.scales is not None:
        job.learner.scales.end_step(rows)
    return summed


def _resumed(job: Job) -> tuple[Standing, Weights, dict[str, str]]:
    """The standing at the end of an earlier attempt of this run, or at the start; with weights kept and curves."""
    found = job.places.checkpoints.newest()
    at = f"{found[1]['engine']['global_steps'] if found else 0:016x}"
    refuse_differences(
        at, job.engine.device,
        "training: another checkpoint is found (set WINNOW_CHECKPOINTS to a folder that all machines share)",
    )  # fmt: skip
    if found is None:
        guess = job.learner.task.guess(job.data.space)
        return Standing(watch=LossWatch(guess)), job.engine.weights(), {}
    tensors, numbers = found
    rows = job.steps(0)[0]
    job.engine.deepspeed.module.train()  # as in an epoch: inner vectors, for one, are kept for the loss only then
    for _ in range(REHEARSALS):  # AdamW makes its moments at its first step: one whose results are then replaced
        one_step(job, rows, 0, 0)
        if job.engine.updates:
            break
    job.engine.restore(tensors["trained"], numbers["engine"])
    standing = Standing.of(numbers["standing"])
    if job.learner.scales is not None:
        job.learner.scales.restore(standing.group_weights)
    job.meter.restore(numbers["meter"])
    log.info("training: goes on after step %d, in epoch %d", job.engine.deepspeed.global_steps, standing.epoch + 1)
    return standing, tensors["kept"], numbers["curves"]


def _save(job: Job, standing: Standing, kept: Weights) -> None:
    if job.engine.updates < 1:
        return  # the loss scaler has skipped every step so far: there is nothing to resume
    tensors, numbers = job.engine.state()  # every process takes part
    if job.learner.scales is not None:
        standing.group_weights = job.learner.scales.q_G.tolist()
    if rank() == 0:
        job.places.checkpoints.save(
            job.engine.deepspeed.global_steps,
            {"trained": tensors, "kept": kept},
            {
                "engine": numbers,
                "standing": asdict(standing),
                "curves": read_curves(job.places.curves),
                "meter": job.meter.state(),
            },
        )
