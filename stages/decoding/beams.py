"""Beam search, which writes what transformers' `generate` writes with `early_stopping=False`, its default.

Of each prompt K hypotheses run side by side. A step makes the 2 K best continuations of them:

    which end (the end token, a stop string, the length) and are among the first K    compete to be the answer
    the first K of those that do not end                                              go on

A prompt is done once its best running hypothesis cannot become better than the worst of K that ended.
Source: transformers 5, GenerationMixin._beam_search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stages.core.contracts import Generation
from stages.decoding.pieces import TextSoFar
from stages.decoding.scores import log_softmax, penalize
from stages.decoding.stepper import Prompt, TokenModel, Written

RULED_OUT = np.float32(-1e9)  # added to the score of what may not go on


class Hypothesis(NamedTuple):
    """A text that is being written."""

    score: np.float32
    """The sum of its tokens' logarithmic probabilities."""
    ids: tuple[int, ...]
    text: TextSoFar | None
    """None where there are no stop strings to be looked for."""
    row: int = 0
    """The row of the batch that it goes on from."""
    ended: str = ""


class Beams:
    """The hypotheses of one prompt."""

    def __init__(self, prompt: Prompt, model: TokenModel, how: Generation, most: int, row: int) -> None:
        """`row`: the prompt's row of the batch."""
        self._prompt, self._model, self._how, self._most = prompt, model, how, most
        text = TextSoFar(model.decode, prompt.context, how.stop) if how.stop else None
        self.running = [Hypothesis(np.float32(0), (), text, row)]
        self._ended: list[tuple[np.float32, Hypothesis]] = []
        self.done = False

    def advance(self, scores_KV: np.ndarray, first_row: int) -> None:
        """Go on by one token. `scores_KV`: of each running hypothesis, whose rows begin at `first_row`.

        They are logarithmic probabilities, and are written into.
        """
        if self._how.repetition_penalty != 1:
            for scores_V, one in zip(scores_KV, self.running, strict=True):
                penalize(scores_V, [*self._prompt.ids, *one.ids], self._how.repetition_penalty)
        scores_KV += np.array([one.score for one in self.running], dtype=np.float32)[:, None]
        best = [self._continued(*place, first_row) for place in _best(scores_KV, 2 * self._how.beams)]
        self._compete([one for one in best[: self._how.beams] if one.ended])
        ruled = [one._replace(score=one.score + RULED_OUT, ended="") if one.ended else one for one in best]
        self.running = sorted(ruled, key=lambda one: -one.score)[: self._how.beams]
        self.done = all(one.ended for one in best) or not self._may_improve()

    def _continued(self, score: np.float32, beam: int, token: int, first_row: int) -> Hypothesis:
        before = self.running[beam]
        ids, text = (*before.ids, token), before.text
        ended = "end" if token == self._model.end else ""
        if text is not None and not ended:
            text = text.copied()
            text.add(token)
            ended = "stop" if text.stopped else ""
        return Hypothesis(score, ids, text, first_row + beam, ended or ("length" if len(ids) == self._most else ""))

    def _compete(self, ended: Sequence[Hypothesis]) -> None:
        length = len(ended[0].ids) if ended else 1
        weighed = [(self._weighed(one.score, length), one) for one in ended]
        self._ended = sorted([*self._ended, *weighed], key=lambda one: -one[0])[: self._how.beams]

    def _weighed(self, score: np.float32, length: int) -> np.float32:
        return score / np.float32(length**self._how.length_penalty)

    def _may_improve(self) -> bool:
        """Whether a running hypothesis may still become better than the worst that ended."""
        if len(self._ended) < self._how.beams:
            return True
        worst = self._ended[-1][0]
        return bool(self._weighed(self.running[0].score, len(self.running[0].ids)) > worst)

    def written(self) -> Written:
        """The best text that ended."""
        best = self._ended[0][1]
        text = best.text
        if text is None:
            text = TextSoFar(self._model.decode, self._prompt.context, ())
            for token in best.ids[: -1 if best.ended == "end" else None]:
                text.add(token)
        text.finish()
        return Written(text.text, list(best.ids), best.ended)


def _best(scores_KV: np.ndarray, count: int) -> list[tuple[np.float32, int, int]]:
    """The `count` best continuations, or all, the best first: the score, the hypothesis, the token."""
    flat = scores_KV.reshape(-1)
    count = min(count, flat.size)
    at = np.argpartition(flat, -count)[-count:]
    at = at[np.lexsort((at, -flat[at]))]
    vocabulary = scores_KV.shape[1]
    return [(flat[one], int(one) // vocabulary, int(one) % vocabulary) for one in at]


def search(model: TokenModel, prompts: Sequence[Prompt], how: Generation, most: Sequence[int]) -> list[Written]:
    """The likeliest text that is found behind each prompt, of at most `most` tokens."""
    stepper = model.open()
    every = [Beams(prompt, model, how, limit, row)
             for row, (prompt, limit) in enumerate(zip(prompts, most, strict=True))]  # fmt: skip
    sources = [prompt.source for prompt in prompts if prompt.source is not None]
    logits_RV = stepper.begin([prompt.ids for prompt in prompts], sources or None)
    going = every
    while True:
        scores_RV, at = log_softmax(logits_RV), 0
        for one in going:
            count = len(one.running)
            one.advance(scores_RV[at : at + count], at)
            at += count
        going = [one for one in going if not one.done]
        if not going:
            return [one.written() for one in every]
        running = [hypothesis for one in going for hypothesis in one.running]
        tokens_R = np.array([hypothesis.ids[-1] for hypothesis in running], dtype=np.int64)
        logits_RV = stepper.step(tokens_R, np.array([hypothesis.row for hypothesis in running], dtype=np.int64))
