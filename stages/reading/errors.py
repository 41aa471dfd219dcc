"""Errors of other libraries as messages of one line, and an error for files that are too large."""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """The error's text without line breaks and without its full stop; its kind where it has no text."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def too_large(shown: str, max_bytes: int) -> ValueError:
    """The error for a file that holds more than `ingest.max_file_bytes`."""
    return ValueError(
        f"{shown} holds more than {max_bytes:,} bytes, unzipped (ingest.max_file_bytes). Raise that, if the file is"
        " what you expect; a small archive can fill a disk."
    )
