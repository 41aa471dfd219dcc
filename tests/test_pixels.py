"""The images of all rows in one file: kept once, named by their pixels, read where they are asked for."""

from __future__ import annotations

import copy
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_images import BLUE, RED, encoded, plain

from stages.cleaning.images import with_kin_of_images
from stages.core.contracts import Image, RawRow, RejectedRow
from stages.core.params.ingest import ImagesParams
from stages.ingest import folder_of
from stages.reading import pixels
from stages.reading.image_rows import with_images
from stages.reading.images import ReadImage
from stages.reading.pixels import Images, ImagesWriter, name_of, near_copies, open_images
from stages.reading.values import is_image_cell, of_cell

SETTINGS = ImagesParams(
    size=8, fit="pad", background=[255, 255, 255], min_side=2, max_side=4096, max_pixels=4_000_000, max_bytes=200_000
)


def made(number: int) -> ReadImage:
    return ReadImage(np.full((8, 8, 3), number, dtype=np.uint8), 16, 32, number)


def written(path: Path, numbers: list[int]) -> list[str]:
    with ImagesWriter(path, 8) as images:
        return [images.add(made(number)) for number in numbers]


def test_images_are_kept_once_and_found_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "GROUP", 2)
    names = written(tmp_path / "a", [5, 6, 5, 7, 8, 9])
    images = Images(tmp_path / "a")
    assert (len(images), images.size, names[0] == names[2]) == (5, 8, True)
    assert images.numbers_of(names).tolist() == [0, 1, 0, 2, 3, 4]
    assert [int(images.image(name).pixels.max()) for name in names] == [5, 6, 5, 7, 8, 9]
    assert images.likenesses.tolist() == [5, 6, 7, 8, 9]
    assert all(re.fullmatch("image[a-p]{24}", name) for name in names)
    with pytest.raises(ValueError, match="there are no pixels of imagex"):
        images.numbers_of(["imagex"])
    written(tmp_path / "b", [5, 6, 7, 8, 9])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_without_images_have_an_empty_file(tmp_path: Path) -> None:
    with ImagesWriter(tmp_path / "none", 0):
        pass
    assert open_images(tmp_path / "none") is open_images(tmp_path / "missing") is open_images(None) is None


def test_an_image_is_its_name_and_keeps_its_pixels() -> None:
    image = Image("imageabc", np.zeros((8, 8, 3), dtype=np.uint8))
    assert image == "imageabc"
    numbers: dict[str, int] = {image: 1}
    assert numbers["imageabc"] == 1
    for again in (copy.copy(image), copy.deepcopy(image)):
        assert (again, again.pixels.shape) == ("imageabc", (8, 8, 3))


def test_near_copies_are_all_pairs_whose_hashes_differ_in_few_bits() -> None:
    draw = np.random.default_rng(3)
    hashes = draw.integers(0, 2**63, 60, dtype=np.uint64)
    for number in range(0, 60, 4):  # some near copies, and copies
        hashes[number + 1] = hashes[number] ^ np.uint64(1 << int(draw.integers(64)))
        hashes[number + 2] = hashes[number]
    for bits in (0, 1, 2, 5):
        found = {frozenset(pair) for pair in near_copies(hashes, bits).tolist()}
        wanted = {(i, j) for i in range(60) for j in range(i) if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= bits}
        assert components(found) == components({frozenset(pair) for pair in wanted})


def components(pairs: set[frozenset[int]]) -> set[frozenset[int]]:
    groups = [{number} for number in range(60)]
    for pair in pairs:
        one, other = (next(group for group in groups if number in group) for number in sorted(pair))
        if one is not other:
            groups.remove(other)
            one |= other
    return {frozenset(group) for group in groups}


def test_rows_of_near_copies_are_kin(tmp_path: Path) -> None:
    names = written(tmp_path / "a", [0b0000, 0b0001, 0b0011, 0b111111])
    images = Images(tmp_path / "a")
    named = [*(names[at] for at in (0, 3, 2, 0, 1)), None]
    rows = pd.DataFrame({"row_id": list("abcdef"), "group": [None, None, None, None, "g", None]})
    assert with_kin_of_images(rows, images, named, 1).tolist() == ["a", "b", "a", "a", "a", "f"]
    assert with_kin_of_images(rows, images, named, 0).tolist() == ["a", "b", "c", "a", "g", "f"]


def test_the_bytes_of_broken_images_are_not_kept(tmp_path: Path) -> None:
    """A reason is kept for each path, as rows may share it; what was read is not."""
    size, count = 4_000_000, 8
    for number in range(count):
        (tmp_path / f"{number}.png").write_bytes(bytes([number]) * size)
    how = SETTINGS.model_copy(update={"max_bytes": 2 * size})
    rows = [RawRow(f"{number}.png", "a", f"a:{number}", text_pair="a") for number in range(count)]
    with ImagesWriter(tmp_path / "images", 8) as images:
        tracemalloc.start()
        found = list(with_images(rows, tmp_path, how, images))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert [row.reason for row in found if isinstance(row, RejectedRow)] == ["image_format"] * count
    assert most < 3 * size


def test_rows_have_their_images_names_or_the_reason(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(encoded(plain(RED)))
    rows: list[RawRow | RejectedRow] = [
        RawRow("red.png", "a", "a:1", text_pair="a"),
        RawRow("none.png", "b", "a:2"),
        RawRow("whatever.png", "b", "a:3", image=encoded(plain(BLUE))),
        RawRow(None, "b", "a:4"),
        RejectedRow("a:5", "ragged", "x", "y"),
        RawRow("red.png", "c", "a:6"),
        RawRow(None, "c", "a:7", image=b"text"),
        RawRow("../red.png", "c", "a:8"),
    ]
    with ImagesWriter(tmp_path / "images", 8) as images:
        found = list(with_images(rows, tmp_path, SETTINGS, images))
    red, none, blue, missing, _, again, text, outside = found
    assert isinstance(red, RawRow)
    assert red.text == name_of(np.full((8, 8, 3), RED, dtype=np.uint8)) == again[0] != blue[0]
    assert (missing, found[4]) == (rows[3], rows[4])
    assert [row.reason for row in (none, text, outside) if isinstance(row, RejectedRow)] == [
        "image_missing", "image_format", "image_outside"
    ]  # fmt: skip
    assert all(row.image is None for row in found if isinstance(row, RawRow))
    assert len(Images(tmp_path / "images")) == 2


def test_an_images_cell_is_a_path_or_bytes_or_both() -> None:
    assert of_cell("a.png") == ("a.png", None)
    assert of_cell(b"x") == (None, b"x")
    assert of_cell({"bytes": b"x", "path": "a.png"}) == ("a.png", b"x")
    assert of_cell({"bytes": None, "path": "a.png"}) == ("a.png", None)
    for cell in (3, "a", {"bytes": 3}, {"path": "a", "other": 1}, ["a"]):
        assert not is_image_cell(cell)


def test_images_are_read_from_the_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert folder_of(str(tmp_path)) == folder_of(str(tmp_path / "a.csv")) == tmp_path
    with pytest.raises(ValueError, match="images are read from folders alone"):
        folder_of("s3://bucket/data")
