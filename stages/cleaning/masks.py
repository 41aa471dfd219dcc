"""Rules that put a word in the place of URLs, e-mail addresses, phone numbers and numbers: `clean.masks`."""

from __future__ import annotations

import daft
from daft.functions import regexp_replace

from stages.params import CleanParams

_URL = r"(?i)\b(?:https?://|ftp://|www\.)[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]"
_EMAIL = r"(?i)\b[a-z0-9][a-z0-9._%+-]*@(?:[a-z0-9-]+\.)+[a-z]{2,}\b"
# International (+49 30 1234567), with an area code in brackets ((030) 123-4567), or in North America's groups.
_PHONE = (
    r"\+\d{1,3}[ ./-]?(?:\(\d{1,5}\)|\d{1,5})(?:[ ./-]?\d{2,5}){1,5}\b"
    r"|\(\d{2,5}\)[ ./-]?\d{3,4}(?:[ ./-]?\d{2,5})+\b"
    r"|\b(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}\b"
)
_NUMBER = r"\b\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?\b"


def _put(text: daft.Expression, pattern: str, mask: str) -> daft.Expression:
    return regexp_replace(text, pattern, mask.replace("$", "$$"))


def mask_urls(text: daft.Expression, params: CleanParams) -> daft.Expression:
    """Addresses that begin with http, https, ftp or www become `masks.url`."""
    return _put(text, _URL, params.masks.url)


def mask_emails(text: daft.Expression, params: CleanParams) -> daft.Expression:
    """E-mail addresses become `masks.email`."""
    return _put(text, _EMAIL, params.masks.email)


def mask_phone_numbers(text: daft.Expression, params: CleanParams) -> daft.Expression:
    """Phone numbers (international, with an area code in brackets, North American) become `masks.phone_number`."""
    return _put(text, _PHONE, params.masks.phone_number)


def mask_numbers(text: daft.Expression, params: CleanParams) -> daft.Expression:
    """Numbers become `masks.number`; a digit inside a word (`utf8`) stays. Put it after mask_phone_numbers."""
    return _put(text, _NUMBER, params.masks.number)
