"""Images of files and of cells to pixels, safely: limits before anything is decoded, and a named reason for each that
cannot be read.

bytes ── limits, format ──> Pillow ── turned as EXIF says, 8 bits, on a background ──> RGB ── fitted ──> S x S pixels

Only the decoders of FORMATS are ever asked, whatever a file's name ends in: what an image is, its first bytes say.
S pixels of a side; pixels are (S, S, 3) uint8, red, green and blue.
"""

from __future__ import annotations

import contextlib
import io
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.reading.errors import one_line

if TYPE_CHECKING:
    from stages.core.params.ingest import ImagesParams

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # max_pixels refuses, and says so

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
Reason = Literal[
    "image_missing", "image_outside", "image_empty", "image_format", "image_broken", "image_too_large",
    "image_too_small",
]  # fmt: skip
SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of a grey value of 16 bits
WHOLE_BYTE = 257  # 65,535 / 255
HASHED = 8  # rows, and bits of each, of a hash


class UnreadableImageError(ValueError):
    """An image that cannot be read: the reason, one of UNREADABLE_IMAGES, and what was found with the next step."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class ReadImage(NamedTuple):
    """An image as it is read."""

    pixels: np.ndarray
    """(S, S, 3) uint8."""
    width: int
    """Of the image itself, turned as it is shown."""
    height: int
    likeness: int
    """Its difference hash, 64 bits: near copies differ in few of them."""


def read_image(name: str, folder: Path, settings: ImagesParams) -> ReadImage:
    """The image at the path `name`, from `folder`, which may not lead out of it, by `..` or by a link.

    Raises UnreadableImageError.
    """
    return image_of(_bytes_of(name, folder, settings.max_bytes), settings)


def image_of(data: bytes, settings: ImagesParams) -> ReadImage:
    """The image of these bytes. Of an animation it is the first picture. Raises UnreadableImageError."""
    if not data:
        raise UnreadableImageError("image_empty", "the image has 0 bytes. Write or fetch it again")
    if len(data) > settings.max_bytes:
        raise _too_large(f"{len(data):,} bytes", f"{settings.max_bytes:,} (ingest.images.max_bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, settings)
            image.load()
            whole = on_background(_turned(image), settings.background)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(
            "image_format", f"its bytes are those of no image. Allowed: {', '.join(FORMATS)}. Save it as one of them"
        ) from None
    except Image.DecompressionBombError:
        raise _too_large("far more pixels than any photograph", f"{settings.max_pixels:,}") from None
    except Exception as error:  # whatever Pillow raises for bytes that are no whole image
        raise UnreadableImageError(
            "image_broken", f"the image is not whole ({one_line(error)[:100]}). Write or fetch it again"
        ) from None
    width, height = whole.size
    return ReadImage(fitted(whole, settings), width, height, likeness_of(whole))


def _bytes_of(name: str, folder: Path, max_bytes: int) -> bytes:
    """The bytes of the file, at most one more than allowed."""
    path = PurePosixPath(name)
    if "\\" in name:
        raise UnreadableImageError(
            "image_outside", f"the image's path {name[:80]!r} has a backslash. Write / between folders"
        )
    if path.is_absolute() or ".." in path.parts or "\0" in name or "://" in name:
        raise UnreadableImageError(
            "image_outside", f"the image's path {name[:80]!r} leads out of the data's folder. Allowed: paths within it"
        )
    found = folder / path
    try:
        if not found.resolve(strict=True).is_relative_to(folder.resolve()):
            raise UnreadableImageError(
                "image_outside", f"the image {name[:80]} is a link out of the data's folder. Put the file itself there"
            )
        if not stat.S_ISREG(found.stat().st_mode):
            raise UnreadableImageError("image_missing", f"{name[:80]} is no file. Name the image's own")
        with found.open("rb") as file:
            return file.read(max_bytes + 1)
    except (OSError, RuntimeError) as error:  # the second, of links in a circle
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else one_line(error)
        raise UnreadableImageError(
            "image_missing", f"the image {name[:80]} cannot be read: {reason}. Put it there, or mend the path"
        ) from None


def _check_size(size: tuple[int, int], settings: ImagesParams) -> None:
    """Refuse a size, as the first bytes tell it, before memory is taken for it."""
    width, height = size
    if max(size) > settings.max_side:
        raise _too_large(f"{width:,} x {height:,} pixels", f"{settings.max_side:,} a side (ingest.images.max_side)")
    if width * height > settings.max_pixels:
        raise _too_large(f"{width:,} x {height:,} pixels", f"{settings.max_pixels:,} (ingest.images.max_pixels)")
    if min(size) < settings.min_side:
        raise UnreadableImageError(
            "image_too_small",
            f"the image has {width} x {height} pixels. Allowed: {settings.min_side} a side and more"
            " (ingest.images.min_side)",
        )


def _too_large(found: str, allowed: str) -> UnreadableImageError:
    return UnreadableImageError(
        "image_too_large", f"the image has {found}. Allowed: at most {allowed}. Make it smaller"
    )


def _turned(image: Image.Image) -> Image.Image:
    """As a camera says in EXIF that it is to be shown; as it is where that cannot be read."""
    with contextlib.suppress(Exception):  # whatever Pillow raises for EXIF that is damaged, of a whole image
        return ImageOps.exif_transpose(image)
    return image


def on_background(image: Image.Image, background: Sequence[int]) -> Image.Image:
    """The image in RGB, of 8 bits each; what is transparent shows the background."""
    if image.mode in SIXTEEN_BITS:
        grey_HW = np.clip(np.asarray(image).astype(np.int64) // WHOLE_BYTE, 0, 255)
        return Image.fromarray(grey_HW.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, (*background, 255)), over).convert("RGB")
    return image.convert("RGB")


def fitted(image: Image.Image, settings: ImagesParams) -> np.ndarray:
    """(S, S, 3) uint8: the image with S pixels a side.

    `crop`: its shorter side is S, and of the longer one the middle; `pad`: its longer side is, and beside it is the
    background; `stretch`: both are.
    """
    size = (settings.size, settings.size)
    if settings.fit == "crop":
        made = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    elif settings.fit == "pad":
        scale = settings.size / max(image.size)
        inside = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))  # `pad` alone rounds to 0
        small = image if image.size == inside else image.resize(inside, Image.Resampling.BICUBIC)
        made = ImageOps.pad(small, size, Image.Resampling.BICUBIC, color=tuple(settings.background))
    else:
        made = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(made, dtype=np.uint8)


def likeness_of(image: Image.Image) -> int:
    """The difference hash: of 8 rows of 9 grey values, whether each is brighter than the next; 64 bits.

    Source: Krawetz 2013, "Kind of Like That", hackerfactor.com/blog/index.php?/archives/529.
    """
    grey = np.asarray(image.convert("L").resize((HASHED + 1, HASHED), Image.Resampling.BILINEAR), dtype=np.int16)
    bits = (grey[:, :-1] > grey[:, 1:]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
