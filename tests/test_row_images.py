"""Images of rows on the page of a review: those whose answers turned are seen, and nothing is loaded for it."""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from review_fixtures import empty_review
from test_images import GREEN, RED, SETTINGS, encoded, plain

from flows.review.evidence import Flip
from flows.review.page.page import render
from flows.review.row_images import Rows, uris
from stages.reading.images import image_of
from stages.reading.pixels import ImagesWriter


@pytest.fixture
def images(tmp_path: Path) -> tuple[bytes, list[str]]:
    """The content of an images.arrow with a red and a green image, and their names."""
    with ImagesWriter(tmp_path / "images.arrow", SETTINGS.size) as writer:
        names = [writer.add(image_of(encoded(plain(colour)), SETTINGS)) for colour in (RED, GREEN)]
    return (tmp_path / "images.arrow").read_bytes(), names


def test_an_image_is_shown_by_its_own_bytes(images: tuple[bytes, list[str]]) -> None:
    content, names = images
    uri = uris(content)
    for name, colour in zip(names, (RED, GREEN), strict=True):
        start, _, data = uri(name).partition(",")
        assert start == "data:image/webp;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert shown.shape == (8, 8, 3)
        assert np.abs(shown.astype(int) - colour).max() < 12
    assert uri("image of another name") == ""


def test_a_row_with_an_image_is_told_by_its_text_and_other_pairs_by_both(images: tuple[bytes, list[str]]) -> None:
    content, names = images
    rows = Rows({"a": (names[0], "a fox"), "b": ("one", "other"), "c": "alone"}, uris(content))
    assert rows.of("a") == ("a fox", uris(content)(names[0]))
    assert [rows.of(row) for row in ("b", "c", "d")] == [("one | other", ""), ("alone", ""), ("", "")]


def test_the_page_has_the_images_of_rows_whose_answers_turned(images: tuple[bytes, list[str]]) -> None:
    content, names = images
    uri = uris(content)(names[1])
    flips = (
        Flip(
            "quantized", "a", "a <fox>", "pair x", "0.5, text 1, image 1", "0.4, text 2, image 1", 1.0, 0.5, image=uri
        ),
        Flip("quantized", "b", "no image", "x", "y", "z", 0.0, 0.0),
    )
    page = render(dataclasses.replace(empty_review(), flips=flips, candidate="quantized"))
    assert page.count("<img ") == 1
    before, _, after = page.partition(f'<img src="{uri}" alt="the image of the row">')
    assert before.rstrip().endswith('dir="auto">')
    assert after.startswith("a &lt;fox&gt;</td>")
