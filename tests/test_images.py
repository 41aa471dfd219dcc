"""Images as they are read: twenty kinds of them, each read right or named, and none that harms."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.contracts import UNREADABLE_IMAGES
from stages.core.params.ingest import ImagesParams
from stages.reading.images import ReadImage, UnreadableImageError, image_of, likeness_of, read_image

SETTINGS = ImagesParams(
    size=8, fit="pad", background=[255, 255, 255], min_side=2, max_side=4096, max_pixels=4_000_000, max_bytes=200_000
)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(colour: object = RED, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def noise(size: int = 64) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (size, size, 3)).astype(np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 1, colours: int = 0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def middle(read: ReadImage) -> tuple[int, ...]:
    return tuple(read.pixels[4, 4].tolist())


def inflating(count: int) -> bytes:
    packer = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(count)) + packer.flush()


# read right


def turned() -> bytes:
    """Above red and below blue, with EXIF that says: turn it by 90 degrees, so that red is at the right."""
    image = plain(RED, size=(16, 16))
    image.paste(BLUE, (0, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif, quality=95)


def grey_of_16_bits() -> bytes:
    return encoded(Image.fromarray(np.full((16, 16), 128 * 257, dtype=np.uint16)))


def animated(kind: str) -> bytes:
    return encoded(plain(GREEN), kind, save_all=True, append_images=[plain(RED), plain(BLUE)], lossless=True)


def palette() -> bytes:
    image = plain(0, mode="P")
    image.putpalette([*RED, *BLUE])
    image.paste(1, (0, 0, 16, 16))
    return encoded(image, transparency=0)


READ: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: encoded(plain(RED)), RED),
    "webp": (lambda: encoded(plain(GREEN), "WEBP", lossless=True), GREEN),
    "cmyk": (lambda: encoded(plain((0, 255, 255, 0), mode="CMYK"), "JPEG", quality=95), RED),
    "animated gif": (lambda: animated("GIF"), GREEN),
    "animated webp": (lambda: animated("WEBP"), GREEN),
    "animated png": (lambda: animated("PNG"), GREEN),
    "16 bits": (grey_of_16_bits, (128, 128, 128)),
    "palette": (palette, BLUE),
    "palette, transparent": (lambda: encoded(plain(0, mode="P"), transparency=0), WHITE),
    "alpha, transparent": (lambda: encoded(plain((255, 0, 0, 0), mode="RGBA")), WHITE),
    "alpha, half": (lambda: encoded(plain((255, 0, 0, 128), mode="RGBA")), (255, 127, 127)),
    "grey with alpha": (lambda: encoded(plain((0, 0), mode="LA")), WHITE),
    "grey": (lambda: encoded(plain(77, mode="L")), (77, 77, 77)),
    "black and white": (lambda: encoded(plain(1, mode="1")), WHITE),
    "something behind its end": (lambda: encoded(plain(RED)) + b"<script>alert(1)</script>" * 9, RED),
    "exif that is damaged": (
        lambda: png(16, 16, chunk(b"eXIf", b"MM\0*\xff\xff"), chunk(b"IDAT", zlib.compress(bytes(16 * 17))), bits=8),
        (0, 0, 0),
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_an_image_of_this_kind_is_read_right(kind: str) -> None:
    make, colour = READ[kind]
    read = image_of(make(), SETTINGS)
    assert read.pixels.shape == (8, 8, 3)
    assert read.pixels.dtype == np.uint8
    assert np.abs(np.subtract(middle(read), colour)).max() <= 2


def test_what_a_camera_held_upright_took_is_turned() -> None:
    read = image_of(turned(), SETTINGS)
    left, right = read.pixels[4, 1].astype(int), read.pixels[4, 6].astype(int)
    assert left[2] > 200 > 100 > left[0]
    assert right[0] > 200 > 100 > right[2]


def test_a_wrong_ending_changes_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.txt", "a"):
        (tmp_path / name).write_bytes(encoded(plain(BLUE), "JPEG", quality=95))
        assert np.abs(np.subtract(middle(read_image(name, tmp_path, SETTINGS)), BLUE)).max() <= 2


@pytest.mark.parametrize(
    ("fit", "corner", "centre"), [("pad", WHITE, RED), ("crop", RED, RED), ("stretch", GREEN, RED)]
)
def test_a_wide_image_is_padded_or_cropped_or_stretched(fit: str, corner: object, centre: object) -> None:
    image = plain(GREEN, size=(32, 16))
    image.paste(RED, (5, 0, 27, 16))
    read = image_of(encoded(image), SETTINGS.model_copy(update={"fit": fit}))
    assert (read.width, read.height) == (32, 16)
    assert tuple(read.pixels[0, 0]) == corner
    assert middle(read) == centre


@pytest.mark.parametrize("size", [(1024, 8), (8, 1024)])
def test_of_a_very_long_image_a_line_is_left(size: tuple[int, int]) -> None:
    read = image_of(encoded(plain(RED, size=size)), SETTINGS.model_copy(update={"fit": "pad", "min_side": 1}))
    assert (read.pixels == RED).all(axis=2).any()


# named


UNREAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "a png that is cut off": (lambda: encoded(noise())[:-3000], "image_broken"),
    "a jpeg that is cut off": (lambda: encoded(noise(), "JPEG")[:-900], "image_broken"),
    "a webp that is cut off": (lambda: encoded(noise(), "WEBP")[:-900], "image_broken"),
    "a png with a flipped bit": (lambda: encoded(plain())[:45] + b"\x01" + encoded(plain())[46:], "image_broken"),
    "0 bytes": (lambda: b"", "image_empty"),
    "1 x 1": (lambda: encoded(plain(size=(1, 1))), "image_too_small"),
    "30,000 x 30,000": (lambda: png(30_000, 30_000, chunk(b"IDAT", inflating(1))), "image_too_large"),
    "2^31 x 2^31": (lambda: png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", b"")), "image_too_large"),
    "many pixels": (lambda: encoded(plain(1, mode="1", size=(4000, 3000))), "image_too_large"),
    "a text": (lambda: b"no image at all", "image_format"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image_format"),
    "tiff": (lambda: encoded(plain(), "TIFF"), "image_format"),
    "bmp": (lambda: encoded(plain(), "BMP"), "image_format"),
    "postscript": (lambda: encoded(plain(), "EPS"), "image_format"),
    "a text chunk that inflates to 100 MB": (
        lambda: png(16, 16, chunk(b"zTXt", b"a\0\0" + inflating(100)), chunk(b"IDAT", zlib.compress(bytes(64)))),
        "image_broken",
    ),
    "more bytes than allowed": (lambda: encoded(noise(512)), "image_too_large"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_an_image_of_this_kind_is_named_and_takes_no_memory(kind: str) -> None:
    make, reason = UNREAD[kind]
    data = make()
    tracemalloc.start()
    with pytest.raises(UnreadableImageError) as told:
        image_of(data, SETTINGS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told.value.reason == reason in UNREADABLE_IMAGES
    assert peak < 4 << 20
    assert "\n" not in str(told.value)


def test_pixels_that_inflate_to_more_than_the_image_has_are_not_kept() -> None:
    data = png(16, 16, chunk(b"IDAT", inflating(150)))
    tracemalloc.start()
    assert image_of(data, SETTINGS).pixels.shape == (8, 8, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


@pytest.mark.parametrize("name", ["../a.png", "/etc/hostname", "b/../../a.png", "file:///a.png", "a\0.png"])
def test_a_path_out_of_the_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.png").write_bytes(encoded(plain()))
    with pytest.raises(UnreadableImageError, match="leads out") as told:
        read_image(name, tmp_path / "data", SETTINGS)
    assert told.value.reason == "image_outside"


def test_a_path_as_windows_writes_it_is_told_as_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"has a backslash\. Write / between folders") as told:
        read_image("..\\a.png", tmp_path, SETTINGS)
    assert told.value.reason == "image_outside"


def test_a_link_out_of_the_folder_is_named_and_one_within_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for path in (tmp_path / "a.png", folder / "b.png"):
        path.write_bytes(encoded(plain()))
    (folder / "out.png").symlink_to("../a.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "within.png").symlink_to("b.png")
    with pytest.raises(UnreadableImageError, match="is a link out of the data's folder") as told:
        read_image("out.png", folder, SETTINGS)
    assert told.value.reason == "image_outside"
    with pytest.raises(UnreadableImageError) as told:
        read_image("circle.png", folder, SETTINGS)
    assert told.value.reason == "image_missing"
    assert middle(read_image("within.png", folder, SETTINGS)) == RED


def test_what_is_no_file_is_named_and_waited_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("none.png", "folder", "pipe", "", "a" * 300):
        with pytest.raises(UnreadableImageError) as told:
            read_image(name, tmp_path, SETTINGS)
        assert told.value.reason == "image_missing"


# near copies


def test_a_copy_that_is_smaller_or_saved_again_has_nearly_the_hash_and_another_image_has_not() -> None:
    smooth = noise(6).resize((96, 96), Image.Resampling.BICUBIC)
    other = Image.fromarray(np.asarray(noise(7))[::-1, ::-1]).resize((96, 96), Image.Resampling.BICUBIC)
    again = Image.open(io.BytesIO(encoded(smooth.resize((64, 64)), "JPEG", quality=60)))
    own = likeness_of(smooth)
    assert (own ^ likeness_of(again)).bit_count() <= 4
    assert (own ^ likeness_of(other)).bit_count() > 12
    assert likeness_of(Image.linear_gradient("L")) == 0  # each row of one brightness
    assert likeness_of(Image.linear_gradient("L").rotate(90)) in (0, 2**64 - 1)
