"""How likely a language model finds the words of each label, in one pass over all that is asked of it.

What sequences of tokens have in common is read once: they are a tree, whose every token sees those on its way to the
root, as with a cache of keys and values, and stands at the place that it has in its own sequence:

    begin  Text  :  a  loaf  .  Topic  :  kitchen               T tokens of a tree, C labels
                                       |  forest
                    N/A      .  Topic  :  kitchen
                                       |  forest
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from stages.prompting.prompts import Continued


class Tree:
    """Token sequences that begin alike, each distinct beginning once."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.places: list[int] = []
        """Of each token its place in its sequences, from 0."""
        self._before: list[int] = []
        self._number: dict[tuple[int, int], int] = {}

    def add(self, ids: Sequence[int]) -> list[int]:
        """Take a sequence in -> the numbers of its tokens in the tree."""
        way: list[int] = []
        before = -1
        for place, token in enumerate(ids):
            number = self._number.setdefault((before, token), len(self.tokens))
            if number == len(self.tokens):
                self.tokens.append(token)
                self.places.append(place)
                self._before.append(before)
            way.append(number)
            before = number
        return way

    def seen(self) -> np.ndarray:
        """(T, T) bool: which tokens each token sees: itself, and those before it in its sequences."""
        seen_TT = np.eye(len(self.tokens), dtype=bool)
        for number, before in enumerate(self._before):
            if before >= 0:
                seen_TT[number] |= seen_TT[before]
        return seen_TT


@torch.inference_mode()
def log_likelihoods(language: Any, asked: Sequence[Sequence[Continued]]) -> list[list[np.ndarray]]:
    """Of all that is asked of each of B rows, (C,) float64: the log-likelihood in nats of each label's tokens, summed.

    `language`: a decoder of transformers with its head, in evaluation mode, whose attention takes a mask of bool.
    """
    trees = [Tree() for _ in asked]
    ways = [[[tree.add(ids) for ids in one.ids_C] for one in row] for tree, row in zip(trees, asked, strict=True)]
    hidden_BTH = _hidden(language, trees)
    return [
        [_of_labels(language, hidden_TH, tree, own, one.start) for own, one in zip(of_row, row, strict=True)]
        for hidden_TH, tree, of_row, row in zip(hidden_BTH, trees, ways, asked, strict=True)
    ]


def _hidden(language: Any, trees: Sequence[Tree]) -> torch.Tensor:
    """(B, T, H): the model's vector of each token of each tree; trees are filled up with what sees itself alone."""
    longest = max(len(tree.tokens) for tree in trees)
    ids_BT, places_BT = (np.zeros((len(trees), longest), dtype=np.int64) for _ in range(2))
    seen_BTT = np.tile(np.eye(longest, dtype=bool), (len(trees), 1, 1))
    for row, tree in enumerate(trees):
        count = len(tree.tokens)
        ids_BT[row, :count], places_BT[row, :count] = tree.tokens, tree.places
        seen_BTT[row, :count, :count] = tree.seen()
    ids, places, seen = (torch.from_numpy(one).to(language.device) for one in (ids_BT, places_BT, seen_BTT))
    found: torch.Tensor = language.base_model(
        input_ids=ids, attention_mask=seen.unsqueeze(1), position_ids=places, use_cache=False
    ).last_hidden_state
    return found


def _of_labels(
    language: Any, hidden_TH: torch.Tensor, tree: Tree, ways_C: Sequence[Sequence[int]], start: int
) -> np.ndarray:
    """(C,): of each label the sum over its tokens, each by the vector of the token before it."""
    before = sorted({number for way in ways_C for number in way[start - 1 : -1]})
    logits_PV = language.lm_head(hidden_TH[before]).double()
    logs_PV = logits_PV - logits_PV.logsumexp(-1, keepdim=True)
    row = {number: at for at, number in enumerate(before)}
    steps = [list(zip(way[start - 1 :], way[start:], strict=False)) for way in ways_C]
    return np.array([sum(float(logs_PV[row[own], tree.tokens[token]]) for own, token in way) for way in steps])
