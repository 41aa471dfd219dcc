"""Tokenized rows as flat arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset

from stages.core.contracts import BEGINS, NAMED, NO_LABEL, PLACE, Space
from stages.core.files import read_json
from stages.core.params.debias import COUNTERFACTUAL
from stages.core.paths import GROUPS, TRANSFER, Paths
from stages.reading.pixels import Images, open_images

# What the ids of texts that are none of the corpus's begin with.
HIDDEN, WRITTEN = "hidden ", "written "


class Beside(NamedTuple):
    """The images of N rows."""

    pixels: Images
    numbers: np.ndarray
    """(N,): which image each row has."""


class TokenRows:
    """The rows of one split: `row_id`, `input_ids` (T,) int32 and `target`.

    Where long texts become windows each window is a row here, behind that before it, with the `row_id` of its text.
    `targets` (N,) hold a number for each row, (N, C) a vector, or (tokens,) with `per_token` a number for each token;
    NO_LABEL or NaN where there is none. `lengths` (N,) int64 holds the number of tokens of each row; `offsets` (N + 1,)
    where each begins among all tokens; `boundaries` (N,), of pairs alone, how many tokens of each have the type 0, the
    others having the type 1. With `apart` they are how many tokens the first of a row's two sequences has, which a
    model reads apart. With `decoded` they are how many tokens a row's source has; behind them are a decoder's inputs,
    to which alone there are outputs. `beside`, of rows with images alone, are these, which a model reads apart from
    the tokens.
    """

    def __init__(
        self,
        row_ids: list[str],
        targets: np.ndarray,
        offsets: np.ndarray,
        tokens: np.ndarray,
        boundaries: np.ndarray | None = None,
        *,
        per_token: bool = False,
        apart: bool = False,
        decoded: bool = False,
        beside: Beside | None = None,
    ) -> None:
        self.beside = beside
        self.row_ids, self.targets, self.per_token, self.apart = row_ids, targets, per_token, apart
        self.decoded = decoded
        self.offsets, self._tokens = offsets - offsets[0], tokens[offsets[0] : offsets[-1]]
        self.boundaries = boundaries
        self.lengths: np.ndarray = np.diff(offsets).astype(np.int64)

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, index: int | np.integer) -> dict[str, Any]:
        row = {"input_ids": self._tokens[self._span(index)], "target": self._target(index)}
        if self.beside is not None:
            return {**row, "pixel_values": self.beside.pixels[int(self.beside.numbers[index])]}
        return row if self.boundaries is None else {**row, self._place: int(self.boundaries[index])}

    @property
    def _place(self) -> str:
        """What a row calls its boundary."""
        return BEGINS if self.decoded else PLACE[self.apart]

    @property
    def _kind(self) -> dict[str, bool]:
        return {"per_token": self.per_token, "apart": self.apart, "decoded": self.decoded}

    @property
    def has_two(self) -> bool:
        """Whether a row has two outputs: of its two texts, or of its image and its text."""
        return self.apart or self.beside is not None

    @property
    def pixels(self) -> Images | None:
        """The images that rows have; None of rows without."""
        return None if self.beside is None else self.beside.pixels

    @property
    def without_images(self) -> TokenRows:
        """The rows as texts alone."""
        return TokenRows(
            self.row_ids, self.targets, self.offsets, self._tokens, self.boundaries, **self._kind, beside=None
        )

    def _span(self, index: int | np.integer) -> slice:
        return slice(self.offsets[index], self.offsets[index + 1])

    def _target(self, index: int | np.integer) -> Any:
        return self.targets[self._span(index)] if self.per_token else self.targets[index]

    def places(self, numbers: np.ndarray | Sequence[int]) -> np.ndarray:
        """The places of the tokens of some rows among all tokens, row after row."""
        return np.concatenate([np.arange(self.offsets[number], self.offsets[number + 1]) for number in numbers])

    def begins_of(self, numbers: np.ndarray | Sequence[int]) -> np.ndarray:
        """How many tokens of each of some rows have no output: those of a source that is read apart."""
        return self.boundaries[numbers] if self.decoded and self.boundaries is not None else np.zeros(len(numbers), int)

    def places_of_outputs(self, numbers: np.ndarray | Sequence[int]) -> np.ndarray:
        """The places among all tokens, row after row, of those tokens of some rows to which there are outputs."""
        begins = self.offsets[:-1][numbers] + self.begins_of(numbers)
        return np.concatenate(
            [np.arange(begin, self.offsets[number + 1]) for begin, number in zip(begins, numbers, strict=True)]
        )

    @property
    def n_targets(self) -> np.ndarray:
        """(N,) int64: how many targets each row has; of a row with one target, or one vector, 1 or 0."""
        is_there = there(self.targets).astype(np.int64)
        return np.add.reduceat(is_there, self.offsets[:-1]) if self.per_token else is_there

    @property
    def sequences(self) -> np.ndarray:
        """(S + 1,): where each sequence that a model reads begins among all tokens: a row, or each of its two."""
        if not self.apart:
            return self.offsets
        assert self.boundaries is not None
        begins = np.stack([self.offsets[:-1], self.offsets[:-1] + self.boundaries], axis=1)
        return np.append(begins, self.offsets[-1])

    def sequences_of(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of some rows' sequences, as in a batch: of two the first ones of all, then the second ones."""
        return np.concatenate([2 * numbers, 2 * numbers + 1]) if self.apart else numbers

    def lengths_of(self, numbers: np.ndarray) -> np.ndarray:
        """The number of tokens of each of some rows' sequences, in the order of `sequences_of`."""
        if not self.apart:
            return self.lengths[numbers]
        assert self.boundaries is not None
        first = self.boundaries[numbers].astype(np.int64)
        return np.concatenate([first, self.lengths[numbers] - first])

    @property
    def has_target(self) -> np.ndarray:
        """(N,) bool: whether there is something to learn from each row, or from one of its tokens."""
        is_there = there(self.targets)
        return np.logical_or.reduceat(is_there, self.offsets[:-1]) if self.per_token else is_there

    @property
    def first_of_texts(self) -> np.ndarray:
        """(texts,) the number of the first row of each text."""
        return np.flatnonzero([i == 0 or self.row_ids[i] != self.row_ids[i - 1] for i in range(len(self))])

    def counts(self) -> dict[str, int]:
        """How many texts there are of each kind: the corpus's with a target, and without, and those made of them."""
        has_target = self.has_target.tolist()
        kinds = [_kind_of(self.row_ids[row], has_target[row]) for row in self.first_of_texts]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(("train_rows", *kinds))}

    def by_text(self, values: np.ndarray) -> np.ndarray:
        """The mean of values (N, ...) over the windows of each text, weighted by their tokens.

        Where each text is one row, the values are returned unchanged, to the last bit.
        """
        first = self.first_of_texts
        tokens_N = self.lengths.astype(np.float64).reshape(-1, *[1] * (values.ndim - 1))
        mean = np.add.reduceat(values * tokens_N, first, axis=0) / np.add.reduceat(tokens_N, first, axis=0)
        return mean.astype(values.dtype)

    def answered(self, logits: np.ndarray) -> tuple[Sequence[Any], Sequence[np.ndarray]]:
        """The targets as numbers, and the logits, as a task's `score` takes them.

        `logits` (N, K): of each text its target, and the mean over its windows. `logits` (tokens, K): of each window
        the targets (T,) and the logits (T, K) of its tokens.
        """
        if not self.per_token:
            return self.targets[self.first_of_texts].tolist(), list(self.by_text(logits))
        spans = [self._span(number) for number in range(len(self))]
        return [self.targets[span] for span in spans], [logits[span] for span in spans]

    def of_numbers(self, numbers: np.ndarray) -> TokenRows:
        """Some of the rows, in this order."""
        return TokenRows(
            [self.row_ids[number] for number in numbers],
            self.targets[self.places(numbers)] if self.per_token else self.targets[numbers],
            np.concatenate([[0], np.cumsum(self.lengths[numbers])]).astype(np.int64),
            np.concatenate([self._tokens[self._span(number)] for number in numbers]),
            None if self.boundaries is None else self.boundaries[numbers],
            **self._kind,
            beside=self.beside and self.beside._replace(numbers=self.beside.numbers[numbers]),
        )

    def used_tokens(self, *, targets: bool = False) -> list[int]:
        """The ids that occur, each once; with `targets` those that are to be written too."""
        tokens = np.concatenate([self._tokens, self.targets[there(self.targets)]]) if targets else self._tokens
        return np.unique(tokens).tolist()

    def renumbered(self, kept: Sequence[int], *, targets: bool = False) -> TokenRows:
        """The same rows with `kept[i]` renumbered to i, with `targets` in these too; all that occur must be kept."""
        number = np.full(max(kept) + 1, -1, dtype=np.int32)
        number[list(kept)] = np.arange(len(kept), dtype=np.int32)
        learned = np.where(there(self.targets), number[self.targets], NO_LABEL) if targets else self.targets
        tokens = number[self._tokens]
        return TokenRows(self.row_ids, learned, self.offsets, tokens, self.boundaries, **self._kind, beside=self.beside)

    def and_unlabelled(self, tokens: np.ndarray, lengths: np.ndarray) -> TokenRows:
        """These rows, followed by others without targets: `tokens` are all their tokens, `lengths` the number of each.

        For pairs they are copies: equally many of each row, one row's after the other's, each as long as the row.
        """
        names = [f"{HIDDEN}{number}" for number in range(len(lengths))]
        nothing = np.nan if self.targets.dtype.kind == "f" else NO_LABEL
        count = len(tokens) if self.per_token else len(lengths)
        targets = np.full((count, *self.targets.shape[1:]), nothing, dtype=self.targets.dtype)
        copies = len(lengths) // len(self)
        repeated = None if self.boundaries is None else np.repeat(self.boundaries, copies)
        beside = self.beside and self.beside._replace(numbers=np.repeat(self.beside.numbers, copies))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return self.and_rows(TokenRows(names, targets, offsets, tokens, repeated, **self._kind, beside=beside))

    def and_written(
        self, *, input_ids: np.ndarray, lengths: np.ndarray, labels: np.ndarray, begins: np.ndarray | None = None
    ) -> TokenRows:
        """These rows, followed by others with targets of their tokens; `begins` of sources that are read apart."""
        names = [f"{WRITTEN}{number}" for number in range(len(lengths))]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return self.and_rows(TokenRows(names, labels, offsets, input_ids, begins, **self._kind, beside=None))

    def and_rows(self, others: TokenRows) -> TokenRows:
        """These rows, followed by others of the same kind: single texts, or pairs."""
        both = (self, others)
        boundaries = [rows.boundaries for rows in both if rows.boundaries is not None]
        lengths = np.concatenate([rows.lengths for rows in both])
        return TokenRows(
            [*self.row_ids, *others.row_ids],
            np.concatenate([rows.targets for rows in both]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([rows._tokens for rows in both]),
            np.concatenate(boundaries) if boundaries else None,
            **self._kind,
            beside=self.beside
            and others.beside
            and self.beside._replace(numbers=np.concatenate([self.beside.numbers, others.beside.numbers])),
        )


def _kind_of(row_id: str, has_target: bool) -> str:
    for beginning, kind in ((HIDDEN, "hidden_copies"), (WRITTEN, "written_texts")):
        if row_id.startswith(beginning):
            return kind
    if " " in row_id:  # with the name of the list that changed it: stages/tokens/people.py
        return "swapped_copies"
    return "train_rows" if has_target else "unlabelled_rows"


def there(targets: np.ndarray) -> np.ndarray:
    """(N,) or (tokens,): whether each of the targets is one: it is not NO_LABEL, or of numbers with a point not NaN.

    A vector is one where any of its numbers is.
    """
    found = ~np.isnan(targets) if targets.dtype.kind == "f" else targets != NO_LABEL
    return found if found.ndim == 1 else found.any(1)


def rows_of(encoded: Mapping[str, Sequence[Any]], images: Images | None = None) -> TokenRows:
    """Rows from the columns that `stages.tokens.encoded` makes; `images`, where rows name some."""
    input_ids, per_token = encoded["input_ids"], "labels" in encoded
    tokens = np.fromiter((token for row in input_ids for token in row), dtype=np.int32)
    targets = [number for row in encoded["labels"] for number in row] if per_token else encoded["label"]
    place = _place(encoded)
    boundaries = None if place is None else np.array(encoded[place], dtype=np.int32)
    return TokenRows(
        list(encoded["row_id"]), np.array(targets), np.cumsum([0, *map(len, input_ids)], dtype=np.int64), tokens,
        boundaries, per_token=per_token, apart=place == PLACE[True], decoded=place == BEGINS,
        beside=None if images is None else Beside(images, images.numbers_of(encoded[NAMED])),
    )  # fmt: skip


def _place(columns: Collection[str]) -> str | None:
    """The column that says how many tokens the first text of a pair, or a source, has."""
    return next((name for name in (*PLACE.values(), BEGINS) if name in columns), None)


def read_tokens(folder: Path, images: Images | None = None) -> TokenRows:
    """The rows of one split, from Arrow; `images`, where they name some."""
    table = Dataset.load_from_disk(str(folder)).data.table.combine_chunks()
    tokens, per_token = table["input_ids"].combine_chunks(), "labels" in table.column_names
    targets = _numbers(table["labels" if per_token else "label"], per_token=per_token)
    place = _place(table.column_names)
    return TokenRows(
        table["row_id"].to_pylist(), targets, tokens.offsets.to_numpy(), tokens.values.to_numpy(),
        None if place is None else table[place].to_numpy(), per_token=per_token, apart=place == PLACE[True],
        decoded=place == BEGINS,
        beside=None if images is None else Beside(images, images.numbers_of(table[NAMED].to_pylist())),
    )  # fmt: skip


def _numbers(targets: pa.ChunkedArray, *, per_token: bool) -> np.ndarray:
    """The targets of a column of Arrow, as `TokenRows` has them."""
    if not pa.types.is_nested(targets.type):
        return targets.to_numpy()
    numbers = targets.combine_chunks().flatten().to_numpy()
    return numbers if per_token else numbers.reshape(len(targets), -1)


class Groups(NamedTuple):
    """The groups of people that rows are about: G names, and for each of N rows the number of its own."""

    names: tuple[str, ...]
    of_rows_N: np.ndarray


def read_groups(path: Path, rows: TokenRows) -> Groups:
    """The groups at `path` of the training rows; each window has its text's. Raises ValueError for other rows."""
    found = read_json(path)
    first = rows.first_of_texts
    if len(found["train"]) != len(first):
        raise ValueError(f"{path}: groups of {len(found['train'])} rows for {len(first)}. Run tokenize again.")
    windows = np.diff(np.append(first, len(rows)))
    return Groups(tuple(found["names"]), np.repeat(np.array(found["train"], dtype=np.int64), windows))


@dataclass(frozen=True)
class TrainingData:
    """The input of one training run.

    `space`: all that can be answered; `pad_id` fills batches; no row has more than `max_tokens`; neighbouring windows
    share `stride` of them (None: long texts were cut). `writing`: how rows were made for models that write, as
    `Writing.described` says it; None for others.
    """

    train: TokenRows
    validation: TokenRows
    space: Space
    pad_id: int
    max_tokens: int
    stride: int | None = None
    writing: dict[str, Any] | None = None
    groups: Groups | None = None
    """Of the training rows, where `debias` treats them by group."""
    balanced_N: np.ndarray | None = None
    """The groups by which rows are drawn, each as often as any other; None: each row is there once."""
    images: dict[str, Any] | None = None
    """How images are read, of rows that have some."""

    @property
    def reading(self) -> dict[str, Any]:
        """The settings by which texts become tokens, for model.json."""
        windows = {} if self.stride is None else {"long_texts": "windows", "stride": self.stride}
        if self.writing is not None:
            kind: dict[str, Any] = {"writing": self.writing}
        elif self.images is not None:
            kind = {"images": self.images}
        else:
            kind = {} if self.train.boundaries is None else {"apart" if self.train.apart else "pairs": True}
        return {"max_tokens": self.max_tokens, "pad_id": self.pad_id, **windows, **kind}

    @property
    def numbered(self) -> dict[str, Any]:
        """Those settings that hang on the numbers of tokens."""
        return {"pad_id": self.pad_id} | ({} if self.writing is None else {"writing": self.writing})


def open_training_data(paths: Paths, *, transfer: bool = False) -> TrainingData:
    """The tokenized training and validation rows.

    Behind the training rows stand their copies with words swapped, where `tokenize` made them, and with `transfer` the
    rows of that split.
    """
    description = read_json(paths.tokens / "space.json")
    images = open_images(paths.images) if "images" in description else None
    train = read_tokens(paths.tokens / "train", images)
    groups = read_groups(paths.tokens / GROUPS, train) if (paths.tokens / GROUPS).is_file() else None
    for split in (COUNTERFACTUAL, *([TRANSFER] if transfer else [])):
        if (paths.tokens / split).is_dir():
            train = train.and_rows(read_tokens(paths.tokens / split, images))
    return TrainingData(
        train=train,
        validation=read_tokens(paths.tokens / "validation", images),
        space=description["space"],
        pad_id=description["pad_id"],
        max_tokens=description["max_tokens"],
        stride=description.get("stride"),
        writing=description.get("writing"),
        groups=groups,
        images=description.get("images"),
    )
