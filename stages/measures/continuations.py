"""What a model writes where it goes on with texts that it has not seen: whether it repeats itself, copies, or stops."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.contracts import as_one
from stages.core.params.evaluate import EvaluateParams
from stages.tasks.contract import Judged
from stages.tasks.shared.written import copied, repetition

if TYPE_CHECKING:
    from stages.measures.opened import Opened

MOST = 100  # texts, as each token is a step
MOST_WORDS = 30  # of a beginning
FEWEST = 4  # words of a text that has a beginning


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`continuations`, of a model that writes on: what follows the first half of some test texts, of 30 words at most.

    Half of what the model reads and writes at once is left to write.

    `repetition` is the share of runs of four words that were written already, `copied` that of words that the beginning
    has, `characters` the mean length, `empty` the share where nothing follows. Nothing of other tasks, and of models
    that only read.
    """
    if model.runner.write is None or model.generation is None or model.of_measures.own_truth is None:
        return {}
    most = 1_000 if model.max_tokens is None else model.max_tokens // 2
    begun = [text for text in (beginning(as_one(text), most) for text in judged.texts) if text]
    some = random.Random(judged.seed).sample(begun, min(len(begun), MOST, params.perturbed_rows))
    if not some:
        return {"continuations": {"rows": 0}}
    written = model.runner.write(some, model.generation)
    found = {
        "repetition": np.mean([repetition(text) for text in written]),
        "copied": np.mean([copied(*both) for both in zip(some, written, strict=True)]),
        "characters": np.mean([len(text) for text in written]),
        "empty": np.mean([not text.strip() for text in written]),
    }
    return {"continuations": {"rows": len(some), **{name: round(float(mean), 6) for name, mean in found.items()}}}


def beginning(text: str, most: int) -> str:
    """The first half of its words, as they stand there, MOST_WORDS at most; nothing of a text of fewer than FEWEST.

    It has at most `most` bytes, so at most as many tokens whatever the tokenizer; a first word of more is cut.
    """
    words = list(re.finditer(r"\S+", text))
    if len(words) < FEWEST:
        return ""
    ends = [word.end() for word in words[: min(len(words) // 2, MOST_WORDS)]]
    fitting = [end for end in ends if len(text[:end].encode()) <= most]
    return text[: fitting[-1]] if fitting else text[: ends[0]].encode()[:most].decode(errors="ignore")
