"""Greedy decoding and sampling: each sequence goes on with one token, and leaves its batch where it ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from stages.core.contracts import Generation
from stages.decoding.pieces import TextSoFar
from stages.decoding.scores import likeliest, penalize, probabilities
from stages.decoding.stepper import Prompt, TokenModel, Written


class Continuation:
    """What is written behind a prompt, as it grows."""

    def __init__(self, prompt: Prompt, model: TokenModel, how: Generation, most: int) -> None:
        self.prompt, self._how, self._end, self._most = prompt, how, model.end, most
        self.text = TextSoFar(model.decode, prompt.context, how.stop)
        self.ids: list[int] = []
        self.ended = ""
        self._random = _random(prompt, how.seed) if how.temperature else None

    def choose(self, logits_V: np.ndarray) -> int:
        """The next token. Writes into `logits_V`."""
        if self._how.repetition_penalty != 1:
            penalize(logits_V, [*self.prompt.ids, *self.ids], self._how.repetition_penalty)
        if self._random is None:
            return int(logits_V.argmax())
        # Above the largest there is nothing, so that no temperature, however low, makes infinities of several tokens.
        scores_V = (logits_V - logits_V.max()).astype(np.float64) / self._how.temperature
        at_N = likeliest(scores_V, top_k=self._how.top_k, top_p=self._how.top_p)
        # In the order of the vocabulary, as rounding may change that of the probabilities.
        cumulated_N = probabilities(scores_V[at_N]).cumsum()
        drawn = cumulated_N.searchsorted(self._random.random() * cumulated_N[-1], side="right")
        return int(at_N[min(drawn, len(at_N) - 1)])

    def take(self, token: int) -> None:
        """Go on with a token."""
        self.ids.append(token)
        if token == self._end:
            self.ended = "end"
        else:
            self.text.add(token)
        if self.text.stopped:
            self.ended = "stop"
        elif not self.ended and len(self.ids) == self._most:
            self.ended = "length"
        if self.ended:
            self.text.finish()
            if self.text.stopped:  # by characters that were known only now
                self.ended = "stop"

    def written(self) -> Written:
        """The text, as far as it is."""
        return Written(self.text.text, self.ids, self.ended)


def _random(prompt: Prompt, seed: int) -> np.random.Generator:
    """Random numbers of the prompt and the seed alone, so that a text is drawn alike in any batch."""
    told = repr((list(prompt.ids), prompt.source and list(prompt.source)))
    digest = hashlib.sha256(told.encode()).digest()
    return np.random.Generator(np.random.PCG64([seed, int.from_bytes(digest[:16], "big")]))


def steps(model: TokenModel, sequences: Sequence[Continuation]) -> Iterator[None]:
    """Write all of them together; after each token of theirs the caller may look at them."""
    running = list(sequences)
    stepper = model.open()
    sources = [one.prompt.source for one in running if one.prompt.source is not None]
    logits_RV = stepper.begin([one.prompt.ids for one in running], sources or None)
    while True:
        tokens = [one.choose(logits_V) for one, logits_V in zip(running, _own(logits_RV), strict=True)]
        for one, token in zip(running, tokens, strict=True):
            one.take(token)
        yield
        order_R = np.array([row for row, one in enumerate(running) if not one.ended], dtype=np.int64)
        if not len(order_R):
            return
        all_go_on = len(order_R) == len(running)
        running = [running[row] for row in order_R]
        logits_RV = stepper.step(np.array(tokens, dtype=np.int64)[order_R], None if all_go_on else order_R)


def _own(logits_RV: np.ndarray) -> np.ndarray:
    """Logits that may be written into."""
    return logits_RV if logits_RV.flags.writeable else logits_RV.copy()
