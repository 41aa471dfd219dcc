"""What other libraries' errors say, for messages of one line."""

from __future__ import annotations


def one_line(error: Exception) -> str:
    """The error's text without line breaks and without its full stop; its kind where it has no text."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
