"""Ways to change an image that leave what it shows. S pixels of a side; pixels are (S, S, 3) uint8."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from stages.core.contracts import Image, Text

CUT = 8  # of a side, one part in so many is cut off at each end


def blurred(pixels: np.ndarray) -> np.ndarray:
    """Each pixel as the mean of itself and the eight around it."""
    wide = np.pad(pixels.astype(np.float64), ((1, 1), (1, 1), (0, 0)), mode="edge")
    size = len(pixels)
    summed = sum(wide[y : y + size, x : x + size] for y in range(3) for x in range(3))
    return np.rint(summed / 9).astype(np.uint8)


def cropped(pixels: np.ndarray) -> np.ndarray:
    """The middle of the image, three quarters of each side, made as large as the whole."""
    size = len(pixels)
    inner = size - 2 * (size // CUT)
    at = size // CUT + np.arange(size) * inner // size
    return pixels[np.ix_(at, at)]


def grey(pixels: np.ndarray) -> np.ndarray:
    """The image without colours: of each pixel its brightness, as television has it (ITU-R BT.601)."""
    brightness = np.rint(pixels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(brightness[..., None], 3, axis=-1)


CHANGES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"blurred": blurred, "cropped": cropped, "grey": grey}


def has_image(text: Text) -> bool:
    """Whether the first part of a pair is an image."""
    return not isinstance(text, str) and isinstance(text[0], Image)


def with_image(text: Text, change: Callable[[np.ndarray], np.ndarray]) -> Text:
    """A pair of an image and a text with the image changed; it has another name, unless nothing changed."""
    assert not isinstance(text, str)
    image, other = text
    assert isinstance(image, Image)
    pixels = change(image.pixels)
    return text if np.array_equal(pixels, image.pixels) else (Image(f"{image} {change.__name__}", pixels), other)
