"""Schedules of learning rates over the steps."""

from __future__ import annotations

import math

from stages.core.params.training import Schedule


def factor(schedule: Schedule, step: int, *, warmup_steps: int, total_steps: int) -> float:
    """The factor of the peak rate at `step` (from 0): rising over the warmup, then according to `schedule`."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
