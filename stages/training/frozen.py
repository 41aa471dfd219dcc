"""A pretrained model that is not trained: what its head reads, and a linear head put into it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stages.training.inference import predict_logits
from stages.training.rows import TokenRows


def read_by_head(model: nn.Module, head: nn.Module, rows: TokenRows, *, pad_id: int, title: str) -> np.ndarray:
    """The vectors float32 that the model's `head` reads: (N, F) of rows, or of a token head (tokens, F).

    The head becomes the identity, so that it puts out what it reads; one without a layer is it already, and puts out
    (N, 2, F) of rows whose two texts are read apart.
    """
    if isinstance(head, nn.Linear):
        width = head.in_features
        put_in(head, np.eye(width, dtype=np.float32), np.zeros(width, dtype=np.float32))
    return predict_logits(model, rows, pad_id=pad_id, precision="fp32", title=title)


def put_in(head: nn.Module, coefficients: np.ndarray, intercept_K: np.ndarray) -> None:
    """Give the linear head these weights (K, F), whatever its size was; one without a layer takes none.

    One that reaches to other tokens takes (K, F, places).
    """
    if not isinstance(head, nn.Linear | nn.Conv1d):
        return
    device = head.weight.device
    if isinstance(head, nn.Linear):
        head.out_features = len(coefficients)
    head.weight = nn.Parameter(torch.from_numpy(coefficients).to(device))
    head.bias = nn.Parameter(torch.from_numpy(intercept_K).to(device))


def some_of(rows: TokenRows, most: int) -> TokenRows:
    """Rows evenly taken, so that there are some `most` of them, or where tokens have targets so many tokens, or fewer.

    Of a text in windows all are taken, or none, so it may be a few more.
    """
    count = int(rows.offsets[-1]) if rows.per_token else len(rows)
    step = -(-count // most)
    if step <= 1:
        return rows
    begins = rows.first_of_texts
    ends = np.append(begins[1:], len(rows))
    taken = [np.arange(begins[text], ends[text]) for text in range(0, len(begins), step)]
    return rows.of_numbers(np.concatenate(taken))
