"""How far a student's logits are from its teacher's."""

from __future__ import annotations

import torch
from torch.nn import functional


def kd_loss(student: torch.Tensor, teacher: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of the softened logits over the last axis, times temperature squared, in nats.

    (B, K) each gives (B,), and (B, T, K) each gives (B, T). Raises ValueError where the shapes differ.
    Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"kd_loss: student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ.")
    student_log_p = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log_p = functional.log_softmax(teacher.float() / temperature, dim=-1)
    each = functional.kl_div(student_log_p, teacher_log_p, log_target=True, reduction="none")
    return each.sum(-1) * temperature**2
