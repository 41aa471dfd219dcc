"""Bytes to numbered lines of text: encoding, unreadable parts of a line, and bounded memory.

An encoding that a file does not announce is never guessed: on 17 short files in 12 languages, charset-normalizer took 5
for another encoding, French and Swedish among them, and the texts came out wrong without a word. Its candidates go into
the message instead, each with its reading of the first such line.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, TextIO

import charset_normalizer

SAMPLE = 1 << 20  # bytes looked at for the encoding
OTHER_ENCODING = 0.05  # of the sampled lines; with more that are not UTF-8, the file is in another encoding
NUL_SHARE = 0.2  # of the sampled bytes; with more, the file is UTF-16 or -32
EXCERPT = 200  # characters
BOMS = (  # UTF-32's starts with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNDECODED = re.compile("[\udc00-\udcff]")  # a byte that no character has, as _keep_bytes leaves it


class Fault(NamedTuple):
    """Why something cannot be read: one of contracts.UNREADABLE, and the finding, with the next step."""

    reason: str
    detail: str


class Line(NamedTuple):
    number: int
    text: str
    """A line with its end; of a line that is too long, the start."""
    fault: Fault | None


def encoding_of(stream: BinaryIO, encoding: str, shown: str, *, has_params: bool = True) -> str:
    """The codec to read `stream` with; `stream` is left at its start.

    `encoding` is the parameter: "auto" (a byte order mark, or else UTF-8), or a codec's name. Raises ValueError where
    the start of the file, named `shown`, is neither, with candidates; by `has_params` it says to set the parameter.
    """
    if encoding != "auto":
        return encoding
    sample = stream.read(SAMPLE)
    stream.seek(0)
    for bom, codec in BOMS:
        if sample.startswith(bom):
            return codec
    if sample.count(0) > NUL_SHARE * len(sample):
        codec = "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
        remedy = f"set ingest.encoding to {codec}" if has_params else f"save it as UTF-8: `iconv -f {codec} -t utf-8`"
        raise ValueError(f"{shown} is full of NUL bytes, as UTF-16 is. If so, {remedy}.")
    lines = sample.splitlines()
    if len(sample) == SAMPLE:  # cut, perhaps within a character
        lines[-1] = _whole_characters(lines[-1])
    others = [(number, line) for number, line in enumerate(lines, start=1) if not _is_utf8(line)]
    if len(others) > OTHER_ENCODING * len(lines):
        remedy = "Set ingest.encoding to what it is, or save it as UTF-8" if has_params else "Save it as UTF-8"
        raise ValueError(
            f"{shown}, line {others[0][0]}: not UTF-8, as {len(others)} of the first {len(lines)} lines. {remedy}. "
            f"That line reads: {_candidates([line for _, line in others[:100]])}."
        )
    return "utf-8"


def lines_of(stream: BinaryIO, encoding: str, *, max_chars: int, newline: str) -> Iterator[Line]:
    """The lines of `stream`, of at most `max_chars` characters each; longer ones are skipped, and no more is held.

    `newline` is as in `open`: "" for lines that may end in a carriage return, "\\n" for those that do not.
    """
    buffered = _Buffered(stream, SAMPLE)  # type: ignore[arg-type]
    text = _Pieces(io.TextIOWrapper(buffered, encoding, errors="winnow_keep_bytes", newline=newline), newline)
    number = 0
    while line := text.read(max_chars + 1):
        number += 1
        if number == 1:
            line = line.removeprefix("\ufeff")
        if len(line) > max_chars and not line.endswith(text.ends):
            length = len(line) + _skip_line(text, max_chars)
            detail = f"{length:,} characters, allowed {max_chars:,} (ingest.max_row_chars)"
            yield Line(number, line[:EXCERPT], Fault("too_long", detail))
        else:
            yield Line(number, line, fault_in(line))


def fault_in(text: str) -> Fault | None:
    """The fault in a decoded text: a byte that the encoding has no character for, or NUL; None where there is none."""
    if not text.isascii() and (found := UNDECODED.search(text)):
        byte = ord(found[0]) - 0xDC00
        return Fault("not_text", f"byte 0x{byte:02x} has no meaning in the file's encoding (ingest.encoding)")
    if "\0" in text:
        return Fault("nul", "a NUL byte. Write the file again, or take it out: tr -d '\\000'")
    return None


def excerpt(text: str) -> str:
    """The start of an unreadable text; bytes without a character, and NUL, as \\xNN."""
    shown = UNDECODED.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text[:EXCERPT])
    return shown.replace("\0", "\\x00").rstrip("\r\n")


class _Buffered(io.BufferedReader):
    """A buffered reader that does not close the stream when it is deleted: whoever opened it closes it."""

    def close(self) -> None:
        if not self.closed:
            self.detach()


class _Pieces:
    """Lines, or pieces of them of limited length, of which none ends between a carriage return and its newline."""

    def __init__(self, text: TextIO, newline: str) -> None:
        self._text = text
        self._ahead = ""  # a character that was read to see whether it is that newline
        self.ends = ("\n",) if newline == "\n" else ("\n", "\r")

    def read(self, chars: int) -> str:
        piece = self._ahead
        if not piece.endswith(self.ends):
            piece += self._text.readline(chars - len(piece))
        is_cut_there = piece.endswith("\r") and (len(piece) >= chars or piece == self._ahead)
        self._ahead = self._text.readline(1) if is_cut_there and "\r" in self.ends else ""
        if self._ahead == "\n":
            piece, self._ahead = f"{piece}\n", ""
        return piece


def _skip_line(text: _Pieces, chars: int) -> int:
    """Read on to the end of the line, `chars` at a time. Returns the number of characters read."""
    skipped = 0
    while piece := text.read(chars):
        skipped += len(piece)
        if piece.endswith(text.ends):
            break
    return skipped


def _whole_characters(line: bytes) -> bytes:
    """The bytes without an incomplete UTF-8 character at the end."""
    for length in range(1, min(4, len(line) + 1)):
        if line[-length] >= 0xC0:
            return line[:-length]
        if line[-length] < 0x80:
            break
    return line


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _candidates(lines: Sequence[bytes]) -> str:
    """The first line in candidate encodings: the commonest Western one, and those that charset-normalizer proposes."""
    readings: dict[str, str] = {}
    for codec in ("cp1252", *(match.encoding for match in charset_normalizer.from_bytes(b"\n".join(lines)))):
        readings.setdefault(lines[0].decode(codec, errors="replace")[:60].strip(), codec)
    return ", ".join(f"{codec} '{reading}'" for reading, codec in list(readings.items())[:3])


def _keep_bytes(error: UnicodeError) -> tuple[str, int]:
    """Error handler that decodes bytes without a character to lone surrogates, which no decoded text has otherwise."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("winnow_keep_bytes", _keep_bytes)
