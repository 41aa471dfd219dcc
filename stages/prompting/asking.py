"""A language model that is asked by prompts, as any model is: texts in, a probability of each label out.

Sources: Brown et al. 2020, arXiv:2005.14165 (demonstrations in the context, likelihoods of answers); Zhao et al. 2021,
arXiv:2102.09690 (calibration by what says nothing). N texts, B of a batch, C labels, F texts that say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stages.core.contracts import Outputs, Text, each
from stages.core.progress import progress
from stages.prompting.demonstrations import Demonstrations
from stages.prompting.likelihoods import log_likelihoods
from stages.prompting.prompts import Continued, Prompt, Reader
from stages.prompting.values import PromptValues


class Asker:
    """The model, with all that its prompts are made of."""

    def __init__(
        self, language: Any, reader: Reader, demonstrations: Demonstrations, values: PromptValues,
        clean: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        """`language`: see `log_likelihoods`; `clean(text)`: the text as training rows are cleaned."""
        self._language, self._reader, self._demonstrations, self._values = language, reader, demonstrations, values
        self._clean = clean
        self._content_free: dict[tuple[int, ...], np.ndarray] = {}
        self.told: Counter[str] = Counter()
        """Over all texts so far: `texts`, `demonstrations` that had room, and `cut`, the texts that lost their end."""

    def predict(self, texts: Sequence[Text]) -> Outputs:
        """The probabilities (N, C) of the labels for each text. Raises ValueError as `Reader.read`."""
        size = self._values.batch_size
        batches = [texts[at : at + size] for at in range(0, len(texts), size)]
        found = [self._of_batch([each(self._clean, text) for text in batch]) for batch in progress(batches, "prompts")]
        return Outputs(np.concatenate(found).astype(np.float32))

    def _of_batch(self, texts: Sequence[Text]) -> np.ndarray:
        """(B, C): the probabilities."""
        nearest = self._demonstrations.nearest(texts, self._values.demonstrations)
        prompts = [
            self._reader.read(text, near, self._demonstrations.rows) for text, near in zip(texts, nearest, strict=True)
        ]
        self._tell(prompts)
        is_new = [self._is_new(prompts, number) for number in range(len(prompts))]
        asked = [
            [prompt.asked, *(prompt.content_free if new else [])] for prompt, new in zip(prompts, is_new, strict=True)
        ]
        found = log_likelihoods(self._language, asked)
        shares = [
            [self._shares(one, logs_C) for one, logs_C in zip(*of_row, strict=True)]
            for of_row in zip(asked, found, strict=True)
        ]
        for prompt, new, (_, *of_nothing) in zip(prompts, is_new, shares, strict=True):
            if new:
                self._content_free[prompt.shown] = np.stack(of_nothing)
        if not self._values.content_free:
            return np.stack([own_C for own_C, *_ in shares])
        return np.stack([
            calibrated(own_C, self._content_free[prompt.shown])
            for prompt, (own_C, *_) in zip(prompts, shares, strict=True)
        ])  # fmt: skip

    def _is_new(self, prompts: Sequence[Prompt], number: int) -> bool:
        """Whether what says nothing has not been asked with these demonstrations before, nor in this batch."""
        shown = prompts[number].shown
        earlier = {prompt.shown for prompt in prompts[:number]}
        return bool(self._values.content_free) and shown not in self._content_free and shown not in earlier

    def _shares(self, asked: Continued, logs_C: np.ndarray) -> np.ndarray:
        """(C,): the probabilities of the labels, if it is one of them."""
        scores_C = logs_C / np.array(asked.lengths) if self._values.length_normalized else logs_C
        return np.exp(scores_C - np.logaddexp.reduce(scores_C))

    def _tell(self, prompts: Sequence[Prompt]) -> None:
        self.told["texts"] += len(prompts)
        self.told["demonstrations"] += sum(len(prompt.shown) for prompt in prompts)
        self.told["cut"] += sum(prompt.is_cut for prompt in prompts)


def calibrated(shares_C: np.ndarray, content_free_FC: np.ndarray) -> np.ndarray:
    """(C,): each label's probability over the mean of those that it has for what says nothing; their sum is 1.

    So a label that the model prefers whatever it reads is preferred no more.
    Source: Zhao et al. 2021, arXiv:2102.09690, section 5: W is the diagonal of 1 / p_cf, and b is 0.
    """
    over_C = shares_C / np.maximum(content_free_FC.mean(0), np.finfo(np.float64).tiny)
    return over_C / over_C.sum()
