"""The contracts of plug-ins: frozen records of functions. Nothing heavy is imported here."""

from __future__ import annotations

import functools
import json
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stages.core.unseen import HIDDEN, JOINERS, without_hidden, without_selectors

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from stages.core.params.distill import DistillParams
    from stages.core.params.model import ModelParams


Text = str | tuple[str, str]
"""The input of a model: a text, or a pair of texts, in order."""


def each(change: Callable[[str], str], text: Text) -> Text:
    """Apply `change` to a text, or to both texts of a pair; an image stays as it is."""
    first, *second = (
        part if isinstance(part, Image) else change(part) for part in ((text,) if isinstance(text, str) else text)
    )
    return (first, second[0]) if second else first


def as_one(text: Text) -> str:
    """A text, or both texts of a pair with a blank between them."""
    return text if isinstance(text, str) else " ".join(text)


class Image(str):
    """An image in the place of a text: its name, with its pixels, (S, S, 3) uint8."""

    __slots__ = ("pixels",)
    pixels: np.ndarray

    def __new__(cls, name: str, pixels: np.ndarray) -> Image:
        made = super().__new__(cls, name)
        made.pixels = pixels
        return made

    def __getnewargs__(self) -> tuple[str, np.ndarray]:  # type: ignore[override]
        """What a copy of it is made of."""
        return str(self), self.pixels


class RawRow(NamedTuple):
    """A row as a source gives it, before any judgement."""

    text: str | None
    label: str | None  # the task's target; here as the source has it, a list or an object as JSON
    origin: str  # where it stands, stable over machines: "train.csv:17", "pandas/core/frame.py:DataFrame.head"
    split: str | None = None  # train, validation, test, transfer (no label), held_out; None: to be drawn
    group: str | None = None  # rows that belong together, and so to the same split; None: a row by itself
    kept: str | None = None  # the columns of ingest.keep_columns, as a JSON object of texts and nulls
    text_pair: str | None = None  # the second text, where rows are pairs (ingest.columns.text_pair)
    image: bytes | None = None  # of a row whose text names an image: its bytes, where the source has them itself


class RejectedRow(NamedTuple):
    """A row that a source cannot read; it goes to quarantine, and is counted."""

    origin: str  # where it stands, as that of a RawRow
    reason: str  # one of UNREADABLE, or of UNREADABLE_IMAGES
    detail: str  # what was found, and the next step
    excerpt: str  # its start; bytes that are no characters as \\xNN


NO_LABEL = -1  # in the place of a target's number, where there is none; of numbers with a point NaN

UNREADABLE = (
    "bad_quotes",  # a quote that is not closed, or goes on after it was
    "bad_target",  # a target that the task cannot read: fewer tags than words, a span outside its text
    "missing_column",  # an object without one of the wanted columns
    "not_an_object",
    "not_json",
    "not_text",  # bytes that the encoding has no character for
    "nul",
    "ragged",  # more or fewer fields than the header
    "repeated_id",  # an id that an earlier row of the file has
    "too_long",  # than ingest.max_row_chars
    "wrong_type",  # an array or an object where a text is expected
)
UNREADABLE_IMAGES = (
    "image_broken",  # cut off, or damaged
    "image_empty",  # of 0 bytes
    "image_format",  # bytes of no image, or of one of another format
    "image_missing",  # a path at which there is no file
    "image_outside",  # a path, or a link, that leads out of the data's folder
    "image_too_large",  # than the limits of ingest.images
    "image_too_small",  # the same
)

TEXT, TARGET, IMAGE = "text", "target", "image"
"""What a column is for: its roles, of which a task says where it takes lists and objects (TaskData.structured).

IMAGE in the place of TEXT: the first text of a row is an image, a path or its bytes.
"""


_BLANK = re.compile(rf"[\s{HIDDEN}]*")
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
WHOLE_NUMBER = r"^(-?\d+)\.0+$"  # the group is what is left of 1.0


def as_kept(columns: Sequence[str], values: Sequence[Any]) -> str | None:
    """The `kept` of a row: its values of `columns`; None where there are no columns."""
    if not columns:
        return None
    texts = [as_text(value) for value in values]
    return json.dumps(dict(zip(columns, texts, strict=True)), ensure_ascii=False, sort_keys=True)


def as_text(value: Any) -> str | None:
    """A cell of a source as a text: 1.0 is "1", True "true"; bytes must be UTF-8.

    None, NaN, and a text of which nothing can be seen, are missing.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if value is None or isinstance(value, str):
        return None if value is None or _BLANK.fullmatch(value) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        if isinstance(value, dict | list)
        else str(value)
    )


@functools.lru_cache(maxsize=1 << 12)
def as_label(text: str | None) -> str | None:
    """The canonical form of a label: labels that look the same are the same text; one that shows nothing is missing.

    Invisible characters are removed, except joiners and tags with a visible effect on their neighbours; letters are
    composed (NFC); runs of white space become one space, and none is left at the ends.
    """
    if text is None:
        return None
    label, before = text, None
    while label != before:  # what goes may leave letters together that compose, or joiners at an end
        before = label
        label = without_selectors(without_hidden(unicodedata.normalize("NFC", label)))
        label = " ".join(label.strip(JOINERS).split())
    return label or None


def is_number(label: str) -> bool:
    """Whether a label is a number as tables write it: 3, -3, 3.50."""
    return _NUMBER.fullmatch(label) is not None


def as_labels(texts: Iterable[str]) -> list[str]:
    """Labels as `ingest` writes a whole column of them: in canonical form and, where all are numbers, 1.0 as 1."""
    labels = [label for text in texts if (label := as_label(text)) is not None]
    return [re.sub(WHOLE_NUMBER, r"\1", label) for label in labels] if all(map(is_number, labels)) else labels


INPUTS = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids", "pixel_values")
"""The inputs of a model, in this order: the third for pairs alone, the fourth for models that read a source apart
from what they write, (B, T) of what is written; the last for models that read an image beside the text, (B, S, S, 3)
uint8."""


PLACE = {False: "boundary", True: "second"}
"""The column of encoded pairs that says how many tokens the first text has, by `TaskEncoding.apart`."""

NAMED = "image"
"""The column of encoded rows that has the name of the image that is read beside the text."""

BEGINS = "begins"
"""The column that says how many tokens a source has that is read apart: behind them are the decoder's inputs."""


def inputs_of(batch: Mapping[str, torch.Tensor]) -> Iterator[torch.Tensor]:
    """The tensors of a batch that are inputs of the model."""
    return (batch[name] for name in INPUTS if name in batch)


@dataclass(frozen=True)
class Parts:
    """The parts of a model for training. The modules are the model's own."""

    encoder: nn.Module
    embeddings: nn.Module
    """Inside the encoder."""
    layers: Sequence[nn.Module]
    """Inside the encoder, the lowest first; empty where all layers share their weights (ALBERT)."""
    head: nn.Module
    above: Sequence[nn.Module] = ()
    """Inside the encoder, behind its last layer: a norm, or what makes logits."""
    beside: Sequence[Sequence[nn.Module]] = ()
    """The same layers by stack, where several stand beside each other, as towers do; empty: all are one stack."""


@dataclass(frozen=True)
class Units:
    """The prunable units of one layer: its attention heads, or the neurons of its feed-forward part.

    Unit u is the rows u * size to (u + 1) * size - 1 of each producer's weights, and these columns of the consumer's.
    Where several heads share keys and values, all of them together are one unit.
    """

    producers: Sequence[nn.Linear]
    consumer: nn.Linear
    size: int
    blocks: int = 1
    """How many times a producer has all units, one block of rows behind another: 3 where one matrix makes queries, keys
    and values."""
    resized: Callable[[int], object] = lambda _count: None
    """resized(count): tells the layer how many units it has left, where its code counts them."""
    sizes: Sequence[int] | None = None
    """The rows that a unit has of each producer, where they are not `size`: of keys and values that heads share."""
    selected: Callable[[Sequence[int]], object] = lambda _kept: None
    """selected(kept): tells the layer which of its units are left, where weights elsewhere belong to them."""

    def __len__(self) -> int:
        return self.consumer.in_features // self.size


class Reader(NamedTuple):
    """A layer norm, and the matrices that read its output: their columns are its dimensions."""

    norm: nn.LayerNorm
    matrices: Sequence[nn.Linear]


@dataclass(frozen=True)
class Taps:
    """The modules that put out a model's inner vectors, each (B, T, width)."""

    embeddings: nn.Module
    hidden: Sequence[nn.Module]
    """One for each layer: its output."""
    queries: Sequence[nn.Module]
    keys: Sequence[nn.Module]
    values: Sequence[nn.Module]


@dataclass(frozen=True)
class Family:
    """A family of models: functions that build, take apart, write and open them."""

    build: Callable[[Path, ModelParams, Head], nn.Module]
    """build(folder, model, head): pretrained weights and a new head.

    The model is called with INPUTS, (B, T) each; a family without token types ignores the third. It puts out (B, K), or
    of a head of the kind `token` (B, T, K); of one of the kind `vector` (B, width), each of length 1. Of the kind
    `vocabulary` it puts out (B, T, V), of each place the logits of the next token, and no place sees a later one. A
    family that reads its source apart is called with ids and mask of the source and `decoder_input_ids` (B, U), and
    puts out (B, U, V).
    """
    parts: Callable[[nn.Module], Parts]
    """parts(model): the parts with learning rates of their own, which can also be frozen."""
    student: Callable[[nn.Module, Sequence[int]], nn.Module]
    """student(teacher, layers): a copy of the teacher that has only those layers."""
    units: Callable[[nn.Module], Mapping[str, Sequence[Units]]]
    """units(model): the prunable units, one entry a layer: `heads` and `feed_forward`. ValueError without any."""
    readers: Callable[[nn.Module], Sequence[Reader]]
    """readers(model): the readers of the vectors between layers (the residual stream), from the input to the output.

    ValueError where the model cannot be made narrower.
    """
    narrower: Callable[[nn.Module, torch.Tensor, Sequence[Sequence[int]]], nn.Module]
    """narrower(model, projection_Hh, heads): a copy whose layers pass on vectors times `projection_Hh`.

    That is a matrix of orthonormal columns. Of layer i the copy has only the attention heads `heads[i]`, as many as go
    into the width.
    """
    taps: Callable[[nn.Module], Taps]
    """taps(model): the modules that put out its inner vectors. ValueError where they cannot be told apart."""
    cut_vocabulary: Callable[[nn.Module, Sequence[int], int], nn.Module]
    """cut_vocabulary(model, kept, max_tokens): a copy with only the token embeddings `kept`, in that order.

    It has no more positions than a text of `max_tokens` takes.
    """
    new_vocabulary: Callable[[nn.Module, Sequence[Sequence[int]]], nn.Module]
    """new_vocabulary(model, pieces): a copy whose token i has the mean of the embeddings of the tokens pieces[i]."""
    write: Callable[[nn.Module, Path], None]
    """write(model, folder): config.json and model.safetensors, byte-stable."""
    open: Callable[..., nn.Module]
    """open(folder, weights=None): the model that `write` wrote there, in evaluation mode.

    `weights`, a mapping of names to tensors, replace those in model.safetensors.
    """
    begin: Callable[[Parts, DistillParams, Head], nn.Module] | None = None
    """begin(teacher, params, head): an untrained student of a teacher of another family, taken apart.

    It starts with the teacher's token embeddings. None where the family has none. The caller has set torch's seed.
    """
    first_values: Callable[[nn.Module, Iterable[Mapping[str, torch.Tensor]]], None] | None = None
    """first_values(model, batches): give new parts of a teacher the values that training rows say, and keep some there.

    `batches` are of rows without their images. None: new parts begin at random.
    """


Space = Mapping[str, Any]
"""All that can be answered, learned from training rows and kept in model.json: {"labels": [...]}, {"tags": [...]}."""


class Head(NamedTuple):
    """What a model puts out: `size` numbers for each row, or for each token.

    Of the kind `vector` it is the pooled vector itself, scaled to length 1; there is no layer, and `size` is 0. Of the
    kind `vocabulary` it is the logits of the next token, of which there are as many as the model has embeddings: a task
    gives the `size` 0, as it does not know them, and config.json has their number.
    """

    kind: Literal["row", "token", "vector", "vocabulary"]
    size: int
    reach: int = 0
    """Of the kind `token`: how many tokens on each side the output of one is made of too, as a convolution."""

    def described(self) -> dict[str, Any]:
        """The entry of a model's config.json."""
        reach = {"reach": self.reach} if self.reach else {}
        return {"head": {"kind": self.kind, "size": self.size, **reach}}

    @property
    def writes(self) -> bool:
        """Whether the model writes: then it has no head of its own, but the logits of the next token."""
        return self.kind == "vocabulary"

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Head:
        """The head of the model of this config.json; those of earlier versions have `n_labels`, numbers of a row."""
        if "head" not in config:
            return cls("row", config["n_labels"])
        head = config["head"]
        return cls(head["kind"], head["size"], head.get("reach", 0))


class Writing(NamedTuple):
    """How a model that writes reads a source and ends a text: the entry `writing` of model.json."""

    begin: int | None
    """The token in front of all others: a decoder's first input; None: there is none."""
    end: int
    """The token behind the last one."""
    separator: tuple[int, ...]
    """The tokens between a source and what is written, where the one stands `before` the other."""
    prefix: str
    """A text in front of each source: "summarize: "."""
    source: Literal["before", "apart"] | None
    """Where the source is read: before what is written, as one sequence with it; apart, by an encoder; None: no source.
    """
    max_target_tokens: int
    """The room of what is written, its end included, where there is a source."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """Those that stand around texts and their sources."""
        return (*(() if self.begin is None else (self.begin,)), self.end, *self.separator)

    def of_kept(self, kept: Sequence[int]) -> Writing:
        """The same with the numbers that its tokens have among the `kept`."""
        begin = None if self.begin is None else kept.index(self.begin)
        return self._replace(
            begin=begin, end=kept.index(self.end), separator=tuple(kept.index(token) for token in self.separator)
        )

    def described(self) -> dict[str, Any]:
        """The entry of model.json."""
        return {**self._asdict(), "separator": list(self.separator)}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Writing:
        """That of an entry of model.json."""
        return cls(**{**found, "separator": tuple(found["separator"])})


# Beyond these nothing changes in what is written, but numbers overflow: of a repetition penalty, of the length's power.
SMALLEST_PENALTY, LARGEST_PENALTY, LARGEST_POWER = 0.001, 1000, 10


class Generation(NamedTuple):
    """How texts are written: the section `generate` of params.yaml, which the quantized model's model.json has as the
    entry `generation`."""

    max_new_tokens: int
    """The most tokens that are written, the end included."""
    beams: int = 1
    """Beams that are searched; 1: none."""
    temperature: float = 0.0
    """Of sampling; 0: the likeliest token is taken."""
    top_k: int = 0
    """Only so many of the likeliest tokens are drawn from; 0: all."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this share are drawn from."""
    repetition_penalty: float = 1.0
    """Logits of tokens that are there already are divided by it, or where they are negative multiplied."""
    length_penalty: float = 1.0
    """Of beams: their score is divided by their length to this power."""
    stop: tuple[str, ...] = ()
    """Texts at which writing ends; they are not written."""
    seed: int = 0
    """Of sampling."""

    def described(self) -> dict[str, Any]:
        """The entry of model.json."""
        return {**self._asdict(), "stop": list(self.stop)}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Generation:
        """That of an entry of model.json."""
        return cls(**{**found, "stop": tuple(found["stop"])})


class Outputs(NamedTuple):
    """A model's outputs for N rows, in their order; float32."""

    values: np.ndarray
    """(N, K); of a head of the kind `token` (tokens, K), those of one row after those of another.

    Of pairs whose texts are read apart (N, 2, K): the output of the first text, and that of the second.
    """
    offsets: np.ndarray | None = None
    """(N + 1,): where the tokens of each row begin; None where each row has one output."""
    characters: np.ndarray | None = None
    """(tokens, 2): where each token stands in its text; twice the same number for a special token."""
    texts: Sequence[str] | None = None
    """(N,): those texts, as the model reads them, of pairs the first ones; None where each row has one output."""
    numbers: np.ndarray | None = None
    """(N, 2): which texts a pair that is read apart has; equal texts have equal numbers. None of others."""
    written: Sequence[str] | None = None
    """(N,): what a model that writes wrote; `values` (tokens, 1) are the log-probabilities, in nats, of its tokens, the
    end included. None where none was asked to write."""

    def of_rows(self, rows: np.ndarray | Sequence[int]) -> Outputs:
        """The outputs of some rows, by their numbers."""
        import numpy as np

        rows = np.asarray(rows)
        if self.offsets is None:
            return Outputs(self.values[rows], numbers=None if self.numbers is None else self.numbers[rows])

        assert self.characters is not None
        at = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows]
        tokens = np.concatenate(at) if at else np.arange(0)
        ends = np.cumsum([0, *(len(own) for own in at)])
        texts = None if self.texts is None else [self.texts[row] for row in rows]
        written = None if self.written is None else [self.written[row] for row in rows]
        return Outputs(self.values[tokens], ends, self.characters[tokens], texts, written=written)


class UnwritableError(ValueError):
    """Texts for which nothing can be written: `reasons`, by their numbers, in words; nothing was written for others."""

    def __init__(self, reasons: Mapping[int, str]) -> None:
        first = min(reasons)
        super().__init__(f"text {first + 1} {reasons[first]}")
        self.reasons = reasons


@dataclass(frozen=True)
class Runner:
    """An opened model, with any backend."""

    task: str
    """The name of its task, one of stages/tasks."""
    space: Space
    """All that it can answer."""
    predict: Callable[[Sequence[Text]], Outputs]
    """predict(texts): the outputs in the order of the texts, as the task's `activate` makes them: probabilities."""
    clean: Callable[[str], str] = str
    """clean(text): the text as `predict` reads it, in which places are counted."""
    write: Callable[[Sequence[str], Generation], list[str]] | None = None
    """write(texts, generation): what follows each text, or of a task with a source what is written for it.

    None: the model writes nothing.
    """
    written: Callable[[Sequence[str], Generation], Outputs] | None = None
    """written(texts, generation): the same, with the probability of each token that was written."""
    stream: Callable[[str, Generation], Iterator[str]] | None = None
    """stream(text, generation): the same of one text, piece by piece as it is written; together they are what `write`
    gives."""


@dataclass(frozen=True)
class QuantizationRows:
    """The rows that a backend may use while it quantizes. N validation rows."""

    calibration: Sequence[Text]
    """Training texts, from which the ranges of activations can be learned."""
    validation: Sequence[Text]
    exact: Outputs
    """The outputs of the model in float32 for the validation rows."""
    measure: str
    """What the score is: task.measure."""
    score: Callable[[Outputs], float]
    """score(outputs): the measure of such answers to the validation rows; higher is better."""
    agreement: Callable[[Outputs, Outputs], float]
    """agreement(one, other): the share to which both give the same answer, or nearly where answers are numbers."""
    divergence: Callable[[Outputs, Outputs], float]
    """divergence(exact, other): how far other outputs are from the exact ones; 0 where all are equal."""


@dataclass(frozen=True)
class Quantizable:
    """A model that a backend has prepared for int8."""

    matrices: tuple[str, ...]
    """The names of the matrices that can stay in float32, from the input to the output."""
    write: Callable[[Path, Collection[str]], None]
    """write(folder, kept): the model's files, int8 but for the matrices `kept`; over those of an earlier call."""
    activations: str
    """static or dynamic: the quantization that was really done, whatever was asked for."""
    most_threads: int | None = None
    """1 where answers to a batch would depend on the number of threads; None: they never do."""
