"""The contrastive loss: what belongs together is to be found among a batch. B examples."""

from __future__ import annotations

import math

import torch


def contrastive(
    logits_BB: torch.Tensor, targets_B2: torch.Tensor, known_B: torch.Tensor, *, scale: float = 1.0
) -> torch.Tensor:
    """(B,) InfoNCE in nats, the mean of both directions: from what is first in each row to the second, and back.

    logits_BB: of each first one with each second one, the rows' own on the diagonal. targets_B2: which ones they are;
    known_B: bool, False for rows that have no target, which no other is told apart from. Logits are multiplied by
    `scale`, as cosines are.

    Source: van den Oord et al. 2018, arXiv:1807.03748; with the batch's other texts, Henderson et al. 2017,
    arXiv:1705.00652.
    """
    query_B, text_B = targets_B2.unbind(1)
    there_B = _found_among(logits_BB, query_B, text_B, known_B, scale)
    return (there_B + _found_among(logits_BB.T, text_B, query_B, known_B, scale)) / 2


def _found_among(
    logits_BB: torch.Tensor, asked_B: torch.Tensor, wanted_B: torch.Tensor, known_B: torch.Tensor, scale: float
) -> torch.Tensor:
    """(B,): minus the log probability of each row's own second one among those of the batch.

    Others that belong to what is asked, too, are left out, and one that several rows have counts once.
    """
    same_asked_BB, same_wanted_BB = (side[:, None] == side for side in (asked_B, wanted_B))
    belongs_BB = (same_asked_BB.float() @ same_wanted_BB.float()) > 0
    again_B = same_wanted_BB.tril(-1).any(1)
    own_BB = torch.eye(len(asked_B), dtype=torch.bool, device=logits_BB.device)
    left_out_BB = (belongs_BB | again_B | ~known_B) & ~own_BB
    return -(scale * logits_BB).masked_fill(left_out_BB, -math.inf).log_softmax(1).diagonal()
