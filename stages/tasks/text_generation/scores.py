"""What the measures of a text's likelihood are counted from, and the score by which int8 is judged.

N rows, S = 3 counts: the nats of a text, its bytes in UTF-8, its words. They do not hang on the tokenizer, so models
with other tokens can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.tasks.shared.written import BITS

NAMES = ("bits_per_byte", "word_perplexity")
BYTES_A_WORD = 40  # in the mean, at most; a clause of Chinese, whose letters take 3 each, has more
LARGEST = 700.0  # nats; e to more than 709 is no number


def size(text: str) -> str:
    """A text's target: its bytes and its words, "52 9"; what is between blanks is a word."""
    return f"{len(text.encode('utf-8', 'surrogatepass'))} {len(text.split())}"


def sizes(truths: Sequence[str]) -> np.ndarray:
    """(N, 2) float64: bytes and words of targets."""
    return np.array([truth.split() for truth in truths], dtype=np.float64).reshape(len(truths), 2)


def counts(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N, S) float64: what each row adds. An answer is the nats of its text."""
    nats_N = np.array([float(answer) for answer in answers], dtype=np.float64)
    return np.column_stack([nats_N, sizes(truths)])


def bits_per_byte(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): how many bits a byte of text takes, at the model's probabilities."""
    sums = np.asarray(sums_RS)
    return sums[:, 0] / np.maximum(sums[:, 1], 1) / BITS


def word_perplexity(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): e to the nats a word takes; what is between blanks is a word."""
    sums = np.asarray(sums_RS)
    return np.exp(np.minimum(sums[:, 0] / np.maximum(sums[:, 2], 1), LARGEST))


def has_words(truths: Sequence[str]) -> bool:
    """Whether the texts have blanks between words, as those of Chinese, Japanese and Thai have not."""
    totals = sizes(truths).sum(0)
    return not len(truths) or bool(totals[0] <= BYTES_A_WORD * totals[1])


def score(truths: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Each measure of all rows together, with its sign turned, so that higher is better."""
    sums = counts(truths, answers).sum(0).reshape(1, -1)
    return {"bits_per_byte": -float(bits_per_byte(sums)[0]), "word_perplexity": -float(word_perplexity(sums)[0])}
