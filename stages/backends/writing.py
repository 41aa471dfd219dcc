"""Texts that are written, and the probabilities of texts that are there: what the runners of writing models share.

texts ── prompts ──> stages.decoding ── stepper ──> texts written           (write, stream)
texts ── rows as in training ── run, by length ──> log-probability a token  (predict)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from stages.backends.batching import BATCH_TOKENS, CHARACTERS_A_TOKEN, WINDOWED_CHARACTERS, Run, equally_long, task_of
from stages.core.contracts import NO_LABEL, Generation, Outputs, Runner, Text, UnwritableError, Writing
from stages.core.model_folder import generation_of
from stages.decoding import writing as decoding
from stages.decoding.stepper import Prompt, Stepper, TokenModel, Written
from stages.tasks.contract import TargetError
from stages.tokens.literal import literal
from stages.tokens.windows import are_pairs
from stages.tokens.writing import Learned, learned, prompts

CONTEXT = 8  # tokens before what is written by which its first blank is known
LOGITS = 1 << 26  # numbers that one run may put out: 256 MB


class Backed(NamedTuple):
    """A writing model, as a backend opens it."""

    open: Callable[[], Stepper]
    """open(): a stepper, for one batch of texts to be written."""
    run: Run
    """run(input_ids, attention_mask), of a source that is read apart run(..., ..., decoder_input_ids), int64: logits of
    the next token at each place of what is written, (B, T, V) float32."""


class Scored(NamedTuple):
    """Rows of which each label's probability is asked; W of them."""

    at: Sequence[int]
    """The number of the text that each is of."""
    input_ids: Sequence[Sequence[int]]
    labels: Sequence[Sequence[int]]
    begins: Sequence[int] | None
    """How many tokens the source has, where it is read apart."""
    places: Sequence[Sequence[tuple[int, int]]]


def writing_runner(folder: Path, description: Mapping[str, Any], model: Backed) -> Runner:
    """The runner of a model that writes; `folder` has its tokenizer."""
    asked = _Asked(folder, description, model)
    return Runner(
        task=task_of(description), space=description["space"], predict=asked.predict, write=asked.write,
        written=asked.written, stream=asked.stream,
    )  # fmt: skip


class _Asked:
    """A model, and what is asked of it."""

    def __init__(self, folder: Path, description: Mapping[str, Any], model: Backed) -> None:
        self._tokenizer = tokenizer = literal(Tokenizer.from_file(str(folder / "tokenizer.json")))
        self._writing = Writing.of(description["writing"])
        self._usual = generation_of(description)
        self._max_tokens = description["max_tokens"]
        self._stride = description["stride"] if description.get("long_texts") == "windows" else None
        self._most = WINDOWED_CHARACTERS if self._stride is not None else self._max_tokens * CHARACTERS_A_TOKEN
        self._model = model
        self._tokens = TokenModel(
            open=model.open,
            # Not by way of `self`: a circle would keep a model in memory that nobody has any more.
            decode=lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True),
            end=self._writing.end,
            positions=None if self._writing.source == "apart" else self._max_tokens,
        )

    def write(self, texts: Sequence[str], how: Generation) -> list[str]:
        """What follows each text, or is written for it. Raises UnwritableError where there is no room, or no text."""
        return [one.text for one in decoding.write(self._tokens, self._prompts(texts), how)]

    def written(self, texts: Sequence[str], how: Generation) -> Outputs:
        """The same, and of each token that was written its log-probability, whatever `how` made of it."""
        given = self._prompts(texts)
        written = decoding.write(self._tokens, given, how)
        return self._outputs(_rows_of(given, written), texts)._replace(written=[one.text for one in written])

    def stream(self, text: str, how: Generation) -> Iterator[str]:
        """The same of one text, in pieces."""
        return decoding.stream(self._tokens, self._prompts([text])[0], how)

    def predict(self, texts: Sequence[Text]) -> Outputs:
        """The log-probability of each token: of texts, of targets behind their sources, or of what is written now."""
        if self._writing.source is not None and not are_pairs(texts):
            assert self._usual is not None
            return self.written([str(text) for text in texts], self._usual)
        rows = self._learned(texts)
        firsts = [text if isinstance(text, str) else text[0] for text in texts]
        found = self._outputs(Scored(rows.at, rows.input_ids, rows.labels, rows.begins, rows.places), firsts)
        return found if are_pairs(texts) else found._replace(texts=self._read(firsts, rows))

    def _read(self, texts: Sequence[str], rows: Learned) -> list[str]:
        """The texts as far as they are read."""
        read = [text[: self._most] for text in texts]
        for at, length, places in zip(rows.at, rows.full_lengths, rows.places, strict=True):
            if length > self._max_tokens and self._stride is None:
                read[at] = read[at][: places[-1][1]]
        return read

    def _prompts(self, texts: Sequence[str]) -> list[Prompt]:
        """What is read before a text is written. Sources are cut as in training, other texts never."""
        most = self._max_tokens * CHARACTERS_A_TOKEN
        found = prompts(_valid([text[:most] for text in texts]), self._tokenizer, self._writing,
                        max_tokens=self._max_tokens)  # fmt: skip
        refused = {at: reason for at, (text, one) in enumerate(zip(texts, found, strict=True))
                   if (reason := self._refused(text, one.ids, most))}  # fmt: skip
        if refused:
            raise UnwritableError(refused)
        if self._writing.source is not None:
            return [Prompt(one.ids, one.source) for one in found]
        begin = int(self._writing.begin is not None)
        return [Prompt(one.ids, None, one.ids[begin:][-CONTEXT:]) for one in found]

    def _refused(self, text: str, ids: Sequence[int], most: int) -> str | None:
        """Why nothing can be written for a text; None: it can."""
        if self._writing.source is not None:
            return None if text.strip() else "is empty: there is nothing to write for. Leave it out."
        if not ids:
            return "is empty, and the model has no token with which a text begins. Give it a beginning."
        if len(text) <= most and len(ids) < self._max_tokens:
            return None
        found = f"{len(text):,} characters" if len(text) > most else f"{len(ids):,} tokens"
        return (
            f"has {found}, and the model reads and writes {self._max_tokens:,} tokens together. Allowed: up to"
            f" {self._max_tokens - 1:,} tokens. Shorten it: what is written follows its end."
        )

    def _learned(self, texts: Sequence[Text]) -> Learned:
        sources, targets = None, [text[: self._most] for text in texts if isinstance(text, str)]
        if are_pairs(texts):
            sources, targets = _valid([text[0][: self._most] for text in texts]), [text[1] for text in texts]
        try:
            return learned(
                _valid(targets), sources, self._tokenizer, self._writing, max_tokens=self._max_tokens,
                stride=self._stride, characters=True,
            )  # fmt: skip
        except TargetError as error:
            raise ValueError(f"text {error.row + 1}: {error}") from None

    def _outputs(self, rows: Scored, texts: Sequence[str]) -> Outputs:
        """The log-probabilities of the labels, those of one text after those of another."""
        found = scored(rows, self._model.run, self._tokenizer.get_vocab_size())
        labelled = [[at for at, label in enumerate(own) if label != NO_LABEL] for own in rows.labels]
        counts = np.zeros(len(texts), dtype=np.int64)
        for at, own in zip(rows.at, labelled, strict=True):
            counts[at] += len(own)
        places = [places[at] for places, own in zip(rows.places, labelled, strict=True) for at in own]
        return Outputs(
            np.concatenate([np.empty(0, np.float32), *found])[:, None],
            np.concatenate([[0], counts.cumsum()]),
            np.array(places, dtype=np.int64).reshape(-1, 2),
            texts,
        )


def _valid(texts: Sequence[str]) -> list[str]:
    """The texts, half a surrogate pair as "?"."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def _rows_of(given: Sequence[Prompt], written: Sequence[Written]) -> Scored:
    """The rows in which the tokens that were written are labels."""
    sources = [list(one.source or ()) for one in given]
    before = [len(source) + len(one.ids) - 1 for source, one in zip(sources, given, strict=True)]
    rows = list(zip(sources, given, written, strict=True))
    return Scored(
        at=range(len(given)),
        input_ids=[[*source, *one.ids, *text.ids[:-1]] for source, one, text in rows],
        labels=[[*[NO_LABEL] * count, *text.ids] for count, text in zip(before, written, strict=True)],
        begins=None if given and given[0].source is None else [len(source) for source in sources],
        places=[[(0, 0)] * (count + len(text.ids)) for count, text in zip(before, written, strict=True)],
    )


def scored(rows: Scored, run: Run, vocabulary: int) -> list[np.ndarray]:
    """Of each row the log-probabilities (nats, float32) of its labels, where there are any.

    `vocabulary`: how many tokens there are, about. Only rows of the same length share a run: nothing is padded.
    """
    found: list[np.ndarray] = [np.empty(0, np.float32)] * len(rows.at)
    lengths = [(len(ids), rows.begins[row] if rows.begins else 0) for row, ids in enumerate(rows.input_ids)]
    for group in equally_long(lengths, lambda length: _size(*length, vocabulary)):
        begins = lengths[group[0]][1]
        ids = np.array([rows.input_ids[row] for row in group], dtype=np.int64)
        parts = [ids[:, :begins], ids[:, begins:]] if begins else [ids]
        logits_BTV = run(parts[0], np.ones_like(parts[0]), *parts[1:])
        for row, logits_TV in zip(group, logits_BTV, strict=True):
            found[row] = _of_labels(logits_TV, np.array(rows.labels[row][begins:]))
    return found


def _size(length: int, begins: int, vocabulary: int) -> int:
    """How many rows share a run."""
    return max(1, min(BATCH_TOKENS // max(1, length), LOGITS // (max(1, length - begins) * vocabulary)))


def _of_labels(logits_TV: np.ndarray, labels_T: np.ndarray) -> np.ndarray:
    at = np.flatnonzero(labels_T != NO_LABEL)
    logits_NV = logits_TV[at]
    largest_N1 = logits_NV.max(axis=-1, keepdims=True, initial=-np.inf)
    normalizer_N = np.log(np.exp(logits_NV - largest_N1).sum(axis=-1, dtype=np.float64)) + largest_N1[:, 0]
    return (logits_NV[np.arange(len(at)), labels_T[at]] - normalizer_N).astype(np.float32)
