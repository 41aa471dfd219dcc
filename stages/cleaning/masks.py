"""Rules that put a word in the place of URLs, e-mail addresses, phone numbers and numbers: `clean.masks`."""

from __future__ import annotations

from collections.abc import Mapping

import regex

_URL = regex.compile(r"(?i)(?<![a-z0-9])(?:https?://|ftp://|www\.)[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]")
# Bounded as addresses are, and numbers below: no text, however odd, takes more time than in proportion to its length.
# Of any script with blanks between words: in others an address stands between the letters of its sentence.
ADDRESS_LETTERS = r"(?V1)[[\p{L}\p{M}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]"
_LETTERS = ADDRESS_LETTERS.removeprefix("(?V1)")
_EMAIL = regex.compile(
    rf"(?V1)(?:{_LETTERS}|[\p{{N}}_])(?:{_LETTERS}|[\p{{N}}_.%+'-]){{0,63}}"
    rf"@(?:(?:{_LETTERS}|[\p{{N}}-]){{1,63}}\.){{1,8}}{_LETTERS}{{2,24}}"
)
# International (+49 30 / 1234567, +33 (0)1 23 45 67 89), with an area code in brackets ((030) 123-4567), or in North
# America's groups. Between two groups of digits something stands, so that there is one way alone to part them.
_BETWEEN = "(?: ?[/–-] ?|[ .])"
_PHONE = regex.compile(
    rf"\(?\+\d{{1,15}}\)?(?:(?:{_BETWEEN}?\(\d{{1,5}}\){_BETWEEN}?|{_BETWEEN})\d{{1,15}}){{0,8}}(?!\d|[.,]\d| ?%)"
    rf"|\(0\d{{1,4}}\){_BETWEEN}?\d{{1,15}}(?:{_BETWEEN}\d{{1,15}}){{0,5}}(?!\d)"
    r"|\(\d{2,5}\)[ ./-]?\d{3,4}(?:[ ./-]?\d{2,5}){1,4}\b"
    r"|\b(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}\b"
)
_GROUP = regex.compile(r"\d+")
_NUMBER = regex.compile(r"\b\d+(?:[.,:]\d+)*(?:[eE][+-]?\d+)?\b")


def _put(text: str, pattern: regex.Pattern[str], mask: str) -> str:
    return pattern.sub(lambda _: mask, text)


def mask_urls(text: str, masks: Mapping[str, str]) -> str:
    """Addresses that begin with http, https, ftp or www become `masks.url`."""
    return _put(text, _URL, masks["url"])


def mask_emails(text: str, masks: Mapping[str, str]) -> str:
    """E-mail addresses become `masks.email`."""
    return _put(text, _EMAIL, masks["email"]) if "@" in text else text


def mask_phone_numbers(text: str, masks: Mapping[str, str]) -> str:
    """Phone numbers (international, with an area code in brackets, North American) become `masks.phone_number`."""
    return _PHONE.sub(lambda found: masks["phone_number"] if _has_digits_enough(found[0]) else found[0], text)


def _has_digits_enough(found: str) -> bool:
    """Whether a phone number may be meant: of eight digits, or of seven with three or more of them in a group."""
    groups = [len(group) for group in _GROUP.findall(found)]
    return sum(groups) >= 8 or (sum(groups) == 7 and max(groups) >= 3)


def mask_numbers(text: str, masks: Mapping[str, str]) -> str:
    """Numbers become `masks.number`; a digit inside a word (`utf8`) stays. Put it after mask_phone_numbers."""
    return _put(text, _NUMBER, masks["number"])
