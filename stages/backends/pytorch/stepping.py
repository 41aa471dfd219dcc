"""Decoding with PyTorch: the cache is transformers' own. R sequences, T tokens, S tokens of a source, V of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, EncoderDecoderCache

from stages.decoding.stepper import Stepper


def stepper_of(model: Any) -> Stepper:
    """The stepper of one of transformers' models that have a head on the vocabulary; it is in evaluation mode."""
    return EncoderDecoderStepper(model) if model.config.is_encoder_decoder else DecoderStepper(model)


class DecoderStepper:
    """A decoder's (GPT-2, Llama). Sequences are filled up on their left, where the mask hides it."""

    def __init__(self, model: Any) -> None:
        """`model`: see `stepper_of`."""
        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._mask_RT = torch.empty(0, 0, dtype=torch.long)

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """Read the sequences -> logits (R, V). There are no sources apart."""
        assert sources is None
        input_ids, self._mask_RT = _filled(ids, self._model.device, on_left=True)
        return self._logits(input_ids, (self._mask_RT.cumsum(-1) - 1).clamp(min=0))

    @torch.inference_mode()
    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Append a token each -> logits (R, V)."""
        if order_R is not None:
            order = torch.from_numpy(order_R).to(self._model.device)
            self._cache.batch_select_indices(order)
            self._mask_RT = self._mask_RT[order]
        self._mask_RT = torch.cat([self._mask_RT, self._mask_RT.new_ones(len(tokens_R), 1)], dim=1)
        tokens_R1 = torch.from_numpy(tokens_R).to(self._model.device)[:, None]
        return self._logits(tokens_R1, self._mask_RT.sum(-1, keepdim=True) - 1)

    @torch.inference_mode()
    def _logits(self, input_ids: torch.Tensor, position_ids: torch.Tensor) -> np.ndarray:
        found = self._model(
            input_ids=input_ids, attention_mask=self._mask_RT, position_ids=position_ids,
            past_key_values=self._cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        return found.logits[:, -1].float().cpu().numpy()


class EncoderDecoderStepper:
    """An encoder-decoder's (T5). Sources are filled up on their right; all sequences begin with one token."""

    def __init__(self, model: Any) -> None:
        """`model`: see `stepper_of`."""
        self._model = model
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._mask_RS = torch.empty(0, 0, dtype=torch.long)
        self._source_RSH = torch.empty(0, 0, 0)

    @torch.inference_mode()
    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """Read the sources, and the start tokens -> logits (R, V)."""
        assert sources is not None
        assert len({len(row) for row in ids}) == 1, "all begin with the start token alone"
        source_ids, self._mask_RS = _filled(sources, self._model.device, on_left=False)
        encoder = self._model.get_encoder()
        self._source_RSH = encoder(input_ids=source_ids, attention_mask=self._mask_RS).last_hidden_state
        return self._logits(torch.tensor(ids, device=self._model.device))

    @torch.inference_mode()
    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Append a token each -> logits (R, V)."""
        if order_R is not None:
            order = torch.from_numpy(order_R).to(self._model.device)
            self._cache.batch_select_indices(order)
            self._mask_RS, self._source_RSH = self._mask_RS[order], self._source_RSH[order]
        return self._logits(torch.from_numpy(tokens_R).to(self._model.device)[:, None])

    def _logits(self, decoder_input_ids: torch.Tensor) -> np.ndarray:
        found = self._model(
            encoder_outputs=(self._source_RSH,), attention_mask=self._mask_RS, decoder_input_ids=decoder_input_ids,
            past_key_values=self._cache, use_cache=True,
        )  # fmt: skip
        return found.logits[:, -1].float().cpu().numpy()


def _filled(rows: Sequence[Sequence[int]], device: torch.device, *, on_left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Token numbers and mask (R, T) int64 of rows of any lengths; what fills them has the number 0."""
    length = max(map(len, rows))
    ids, mask = torch.zeros(len(rows), length, dtype=torch.long), torch.zeros(len(rows), length, dtype=torch.long)
    for at, row in enumerate(rows):
        own = slice(length - len(row), None) if on_left else slice(len(row))
        ids[at, own], mask[at, own] = torch.tensor(list(row)), 1
    return ids.to(device), mask.to(device)
