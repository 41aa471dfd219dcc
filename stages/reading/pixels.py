"""The images of all rows, once each, as pixels in a memory-mapped Arrow file beside the rows, which name them.

    rows     text: imagekcbfd...   text_pair: a red fox
    images   name: imagekcbfd...   pixels: S x S x 3 bytes   likeness: 64 bits   width, height: of the image itself

A name is of letters alone, and says what the pixels are: images with the same pixels are one, and no cleaning rule but
those that cut words changes it. S pixels of a side.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stages.core.contracts import Image

if TYPE_CHECKING:
    from stages.reading.images import ReadImage

GROUP = 1024  # images that are written, and mapped, at once
NAMED, LETTERS = "image", 24  # a name's beginning, and its letters of 4 bits behind it
_OF_HEX = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


def name_of(pixels: np.ndarray) -> str:
    """The name of an image of these pixels, (S, S, 3) uint8."""
    return NAMED + hashlib.sha256(pixels.tobytes()).hexdigest()[:LETTERS].translate(_OF_HEX)


class ImagesWriter:
    """Writes images to a file, some at a time, to bound memory; equal images give equal bytes."""

    def __init__(self, path: Path, size: int) -> None:
        """`size`: S; 0 of rows that have no images."""
        self._schema = pa.schema(
            {"name": pa.string(), "pixels": pa.binary(3 * size * size), "likeness": pa.uint64(), "width": pa.int32(),
             "height": pa.int32()}
        )  # fmt: skip
        self._writer = pa.ipc.new_file(path, self._schema)
        self._names: set[str] = set()
        self._rows: list[tuple[str, bytes, int, int, int]] = []

    def __enter__(self) -> ImagesWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._flush()
        self._writer.close()

    def add(self, image: ReadImage) -> str:
        """Keep the image, unless one of the same pixels was. Returns its name."""
        name = name_of(image.pixels)
        if name not in self._names:
            self._names.add(name)
            self._rows.append((name, image.pixels.tobytes(), image.likeness, image.width, image.height))
            if len(self._rows) == GROUP:
                self._flush()
        return name

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, one.type) for column, one in zip(columns, self._schema, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._rows = []


class Images:
    """The images in a file, by their names and numbers; pixels are read from the disk as they are asked for."""

    def __init__(self, source: Path | bytes) -> None:
        """`source`: the file, or its content. Raises pyarrow's errors where it is no such file."""
        opened = pa.BufferReader(source) if isinstance(source, bytes) else pa.memory_map(str(source))
        self._table = pa.ipc.open_file(opened).read_all()
        self.size = int(np.sqrt(self._table.schema.field("pixels").type.byte_width // 3))
        self._groups = [
            np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[: len(chunk) * 3 * self.size**2].reshape(
                len(chunk), self.size, self.size, 3
            )
            for chunk in self._table["pixels"].chunks
        ]
        self._numbers = {name: number for number, name in enumerate(self._table["name"].to_pylist())}

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, number: int) -> np.ndarray:
        """(S, S, 3) uint8: the pixels of image `number`."""
        pixels: np.ndarray = self._groups[number // GROUP][number % GROUP]
        return pixels

    def numbers_of(self, names: Sequence[str]) -> np.ndarray:
        """(N,) int64: the numbers of the images of these names. Raises ValueError for one that is not there."""
        if missing := next((name for name in names if name not in self._numbers), None):
            raise ValueError(f"there are no pixels of {missing}. Make them again: `dvc repro --force ingest`.")
        return np.array([self._numbers[name] for name in names], dtype=np.int64)

    def image(self, name: str) -> Image:
        """The image of that name. Raises ValueError where it is not there."""
        return Image(name, self[int(self.numbers_of([name])[0])])

    @property
    def likenesses(self) -> np.ndarray:
        """(M,) uint64: their difference hashes."""
        return np.asarray(self._table["likeness"].to_numpy())

    @property
    def names(self) -> list[str]:
        """By number."""
        return list(self._numbers)


def open_images(path: Path | None) -> Images | None:
    """The images in that file; None where there is no file, or no image in it, as rows are texts."""
    if path is None or not path.is_file():
        return None
    found = Images(path)
    return found if len(found) else None


def near_copies(likeness_M: np.ndarray, bits: int) -> np.ndarray:
    """(P, 2): pairs of numbers of images whose hashes differ in at most `bits` bits; of equal ones a chain.

    Two such hashes agree in one of `bits` + 1 parts altogether, so only those that do are compared.
    """
    hashes_U, first_U, at_M = np.unique(likeness_M.astype(np.uint64), return_index=True, return_inverse=True)
    found = [np.stack([first_U[at_M], np.arange(len(likeness_M))], axis=1)]
    edges = np.linspace(0, 64, bits + 2).astype(np.uint64)
    for low, high in itertools.pairwise(edges) if bits else ():
        part_U = (hashes_U >> low) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(part_U, kind="stable")
        bounds = [0, *(np.flatnonzero(np.diff(part_U[order])) + 1).tolist(), len(order)]
        for begin, end in itertools.pairwise(bounds):
            found += [first_U[pairs] for pairs in _within(order[begin:end], hashes_U, bits)]
    pairs = np.concatenate(found)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _within(some: np.ndarray, hashes_U: np.ndarray, bits: int) -> list[np.ndarray]:
    """Of some hashes, by their numbers, the pairs that differ in at most `bits` bits."""
    found = []
    for place, one in enumerate(some[:-1]):
        others = some[place + 1 :]
        near = others[np.bitwise_count(hashes_U[others] ^ hashes_U[one]) <= bits]
        if len(near):
            found.append(np.stack([np.full(len(near), one), near], axis=1))
    return found
