"""Texts to a model's outputs: rows of equal length in batches, windows put together; for the runners of token models.

texts ── windows_of ──> windows ── run, by length ──> logits ── merged, activated ──> Outputs of the texts
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tokenizers import Encoding, Tokenizer

from stages.core import plugins
from stages.core.contracts import INPUTS, Image, Outputs, Runner, Text, each
from stages.core.model_folder import reads_apart
from stages.tasks import FORMERLY, TASKS
from stages.tasks.contract import TaskAnswers, TaskEncoding
from stages.tokens.windows import Windows, are_pairs, windows_of

BATCH_TOKENS = 2048  # in one run of the model, whatever the batch of the caller
BATCH_IMAGES = 32  # the same
# Characters that are read for each token that the model takes. A word longer than that is one unknown token to
# WordPiece, so the first tokens of a text rarely need more, and a megabyte costs as little as some thousand characters.
CHARACTERS_A_TOKEN = 100
WINDOWED_CHARACTERS = 1_000_000  # of a text that is read in windows, which takes time in proportion
Length = TypeVar("Length", int, tuple[int, int])
"""Of a row, or of the two parts of one."""
Run = Callable[..., np.ndarray]
"""run(input_ids, attention_mask), of pairs run(input_ids, attention_mask, token_type_ids), (B, T) int64 each: logits,
(B, K), or of each token (B, T, K)."""


class Reader(NamedTuple):
    """How texts become windows of tokens."""

    tokenizer: Tokenizer
    max_tokens: int
    stride: int | None
    """The tokens that neighbouring windows share; None where long texts are cut."""
    characters: bool
    """Whether it is to be known where each token stands in its text."""
    apart: bool = False
    """Whether the two texts of a pair are read apart."""

    def read(self, texts: Sequence[Text]) -> Windows:
        """The windows of each text or pair. Half a surrogate pair is read as "?"."""
        most = WINDOWED_CHARACTERS if self.stride is not None else self.max_tokens * CHARACTERS_A_TOKEN
        cut = [each(lambda part: part[:most], text) for text in texts]
        try:
            return self._windows(cut)
        except TypeError:  # what is no valid Unicode is no text to it
            return self._windows([each(_valid, text) for text in cut])

    def _windows(self, texts: Sequence[Text]) -> Windows:
        return windows_of(
            texts, self.tokenizer, max_tokens=self.max_tokens, stride=self.stride, characters=self.characters
        )


def open_reader(folder: Path, description: Mapping[str, Any], *, characters: bool = False) -> Reader:
    """The tokenizer in `folder`, as the model's `description` (model.json) says."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    stride = description["stride"] if description.get("long_texts") == "windows" else None
    return Reader(tokenizer, description["max_tokens"], stride, characters, reads_apart(description))


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def runner_of(
    folder: Path, description: Mapping[str, Any], run: Run, of_images: Callable[[np.ndarray], np.ndarray] | None = None
) -> Runner:
    """The runner of a model that `run` computes; `folder` has its tokenizer.

    `of_images`: of a model that takes images too, their pixels (B, S, S, 3) uint8 -> (B, K).
    """
    task = task_of(description)
    encoding: TaskEncoding = _part(folder, task, "encoding")
    answers: TaskAnswers = _part(folder, task, "answers")
    reader = open_reader(folder, description, characters=encoding.characters)
    space, temperature = description["space"], np.float32(description.get("temperature", 1.0))

    def predict(texts: Sequence[Text]) -> Outputs:
        found = outputs(texts, reader, run, size=answers.size(space), window=answers.window, of_images=of_images)
        return found._replace(values=answers.activate(found.values / temperature))

    return Runner(task=task, space=space, predict=predict)


def task_of(description: Mapping[str, Any]) -> str:
    """The name of a model's task, as it is called now."""
    return FORMERLY.get(description["task"], description["task"])


def _part(folder: Path, task: str, part: str) -> Any:
    return plugins.part(TASKS, task, part, key=f"{folder / 'model.json'}: task")


def distance_of(folder: Path, description: Mapping[str, Any]) -> Callable[[np.ndarray, np.ndarray], float]:
    """distance(exact, other): how far the outputs of two sets of logits (N, K) are apart, to the model's task."""
    answers: TaskAnswers = _part(folder, task_of(description), "answers")

    def distance(exact_NK: np.ndarray, other_NK: np.ndarray) -> float:
        return answers.divergence(*(Outputs(answers.activate(logits)) for logits in (exact_NK, other_NK)))

    return distance


def outputs(
    texts: Sequence[Text], reader: Reader, run: Run, *, size: int,
    window: Callable[[np.ndarray], np.ndarray] = lambda logits_TK: logits_TK,
    of_images: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Outputs:  # fmt: skip
    """What the model puts out for each text, `size` numbers or as many for each token, in their order.

    A text in windows has the mean of theirs, each counted by its tokens; a token that several windows have, the output
    of the one that it stands deepest in, as `window` makes it of all that window's (T, K). Only rows of the same length
    share a run: nothing is padded, which costs more than the further runs. Of pairs that are read apart each distinct
    text is read once.
    """
    if are_pairs(texts) and reader.apart:
        sequences = in_turn(texts)
        place = {text: number for number, text in enumerate(dict.fromkeys(sequences))}
        found = outputs(list(place), reader, run, size=size, of_images=of_images).values
        numbers = np.array([place[text] for text in sequences]).reshape(len(texts), 2)
        return Outputs(found[numbers], numbers=numbers)
    if of_images is not None and any(isinstance(text, Image) for text in texts):
        return _of_both(texts, reader, run, size, of_images)
    windows = reader.read(texts)
    logits: list[np.ndarray] = [np.empty(0)] * len(windows.encodings)
    lengths = [len(encoding) for encoding in windows.encodings]
    for rows in equally_long(lengths, lambda length: max(1, BATCH_TOKENS // max(1, length))):
        batch = run(*model_inputs([windows.encodings[row] for row in rows], are_pairs=are_pairs(texts)))
        for row, found in zip(rows, batch, strict=True):
            logits[row] = found
    if reader.characters:
        of_tokens = _by_token(windows, list(map(window, logits)), reader.stride, np.empty((0, size), np.float32))
        firsts = [text if isinstance(text, str) else text[0] for text in texts]
        return of_tokens._replace(texts=firsts, characters=_without_blanks(of_tokens, firsts))
    return Outputs(_by_text(windows, np.stack(logits)) if logits else np.empty((0, size), np.float32))


def _of_both(
    texts: Sequence[Text], reader: Reader, run: Run, size: int, of_images: Callable[[np.ndarray], np.ndarray]
) -> Outputs:
    """The outputs of texts and of images, in their order."""
    at_images = [at for at, text in enumerate(texts) if isinstance(text, Image)]
    at_texts = [at for at, text in enumerate(texts) if not isinstance(text, Image)]
    images = [text for text in texts if isinstance(text, Image)]
    parts = [
        of_images(np.stack([image.pixels for image in images[start : start + BATCH_IMAGES]]))
        for start in range(0, len(images), BATCH_IMAGES)
    ]
    found = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
    found[at_images] = np.concatenate(parts)
    if at_texts:
        found[at_texts] = outputs([texts[at] for at in at_texts], reader, run, size=size).values
    return Outputs(found)


def in_turn(texts: Sequence[Text]) -> list[str]:
    """The first text of each pair, and behind it the second."""
    return [part for pair in texts for part in pair]


def _by_text(windows: Windows, logits_WK: np.ndarray) -> np.ndarray:
    """(N, K): the mean over the windows of each text."""
    if len(logits_WK) == 1 or windows.at[-1] == len(windows.at) - 1:
        return logits_WK
    first = np.flatnonzero(np.diff(windows.at, prepend=-1))
    tokens = np.array([[float(len(encoding))] for encoding in windows.encodings])
    mean = np.add.reduceat(logits_WK * tokens, first, axis=0) / np.add.reduceat(tokens, first, axis=0)
    return mean.astype(np.float32)


def _of_first(encoding: Encoding) -> np.ndarray:
    """The numbers of the tokens of a text, of a pair those of the first one; without special ones."""
    of_T = np.array([-1 if of is None else of for of in encoding.sequence_ids])
    return np.flatnonzero((of_T == 0) & (np.array(encoding.special_tokens_mask) == 0))


def _by_token(windows: Windows, logits: Sequence[np.ndarray], stride: int | None, none: np.ndarray) -> Outputs:
    """The outputs of each text's tokens, without special ones; of those that two windows share each gives one half."""
    values, characters = [none], [np.empty((0, 2), dtype=np.int64)]
    last, shared = len(windows.at) - 1, stride or 0
    counts = np.zeros(1 + (windows.at[-1] if windows.at else -1), dtype=np.int64)
    for number, (encoding, at, found) in enumerate(zip(windows.encodings, windows.at, logits, strict=True)):
        own = _of_first(encoding)
        begins = shared // 2 if number > 0 and windows.at[number - 1] == at else 0
        ends = len(own) - (shared - shared // 2 if number < last and windows.at[number + 1] == at else 0)
        own = own[begins:ends]
        values.append(found[own])
        characters.append(np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)[own])
        counts[at] += len(own)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Outputs(np.concatenate(values), offsets, np.concatenate(characters))


def _without_blanks(of_tokens: Outputs, texts: Sequence[str]) -> np.ndarray:
    """(tokens, 2): where each token stands in its text, without the blanks at its ends; blanks alone have no place.

    Where a mark in a token begins a word (XLM-R's, ALBERT's), it stands for the blank before that word.
    """
    assert of_tokens.offsets is not None
    assert of_tokens.characters is not None
    found, places = of_tokens.characters.copy(), of_tokens.characters.tolist()
    for text, first, end in zip(texts, of_tokens.offsets[:-1], of_tokens.offsets[1:], strict=True):
        for token in range(first, end):
            inside = text[slice(*places[token])]
            if inside != (bare := inside.strip()):
                begins = places[token][0] + len(inside) - len(inside.lstrip())
                found[token] = begins, begins + len(bare)
    return found


def model_inputs(encodings: Sequence[Encoding], *, are_pairs: bool) -> list[np.ndarray]:
    """The inputs of a model, in the order of INPUTS, (B, T) int64 each, for B encodings of T tokens."""
    input_ids = np.array([encoding.ids for encoding in encodings], dtype=np.int64)
    types = [np.array([encoding.type_ids for encoding in encodings], dtype=np.int64)] if are_pairs else []
    return [input_ids, np.ones_like(input_ids), *types]


def calibration_inputs(
    texts: Sequence[Text], folder: Path, description: Mapping[str, Any]
) -> list[dict[str, np.ndarray]]:
    """The inputs (1, T) of each text or window, by the tokenizer in `folder`. Raises ValueError where there is none."""
    if not texts:
        raise ValueError(
            "quantize: ranges of activations are learned from calibration rows, and there are none. Add training rows,"
            " or set quantize.activations to 'dynamic' (onnxruntime_int8)."
        )
    reader = open_reader(folder, description)
    if are_pairs(texts) and reader.apart:
        texts = in_turn(texts)
    return [
        dict(zip(INPUTS, model_inputs([encoding], are_pairs=are_pairs(texts)), strict=False))
        for encoding in reader.read(texts).encodings
    ]


def only_taken(names: Collection[str], inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Those of `inputs`, in the order of INPUTS, that a model with inputs of these `names` takes."""
    return {name: array for name, array in zip(INPUTS, inputs, strict=False) if name in names}


def equally_long(lengths: Sequence[Length], size: Callable[[Length], int]) -> list[list[int]]:
    """Positions of rows of the same length, the longest first, at most `size(length)` together."""
    by_length: dict[Length, list[int]] = {}
    for row, length in enumerate(lengths):
        by_length.setdefault(length, []).append(row)
    groups = []
    for length in sorted(by_length, reverse=True):
        rows, most = by_length[length], size(length)
        groups += [rows[i : i + most] for i in range(0, len(rows), most)]
    return groups
