"""Losses beyond a task's own."""

from __future__ import annotations

import torch
from torch.nn import functional


def kd_loss(student_BC: torch.Tensor, teacher_BC: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of the softened logits, times temperature squared.

    B examples, C classes; both (B, C). Returns a scalar, the mean over B, in nats.
    Raises ValueError where the shapes differ.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    if student_BC.shape != teacher_BC.shape:
        raise ValueError(f"kd_loss: student {tuple(student_BC.shape)} and teacher {tuple(teacher_BC.shape)} differ.")
    student_log_p = functional.log_softmax(student_BC.float() / temperature, dim=-1)
    teacher_log_p = functional.log_softmax(teacher_BC.float() / temperature, dim=-1)
    return functional.kl_div(student_log_p, teacher_log_p, log_target=True, reduction="batchmean") * temperature**2
