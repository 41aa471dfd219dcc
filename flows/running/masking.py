"""Removal of secrets from everything that is shown or kept: log lines, errors, reports, messages.

A secret is the value of an environment variable whose name says so, and a password or token in a URL.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

MASK = "***"
MIN_LENGTH = 6  # a shorter value would mask words that only look like it

_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|_PASS$|PASSPHRASE|CREDENTIAL|AUTH_STRING|CONNECTION_STRING|API_?KEY|ACCESS_?KEY"
    r"|ACCOUNT_?KEY|PRIVATE_?KEY|WEBHOOK",
    re.I,
)
# https://TOKEN@host and scheme://user:password@host; in ssh://git@host there is nothing to hide.
# Keys of S3 may hold slashes. No part of a pattern is tried again from another start, nor taken back (`++`): what is
# masked comes from children and the network, and takes time in proportion to its length.
_USER = re.compile(
    r"(https?://)[^\s/@]++@|(s3://[^\s/@:]*+:)(?:(?!s3://)[^\s@])++@|(?<=[a-z0-9+.-])(://[^\s/@:]*+:)[^\s/@]++@", re.I
)
_QUERY = re.compile(
    r"([?&](?:(?=[\w.-]*?(?:token|secret|password|signature|credential|api_?key|accesskeyid))[\w.-]++|sig)=)"
    r"[^\s&#'\"]++",
    re.I,
)


def masked(text: str) -> str:
    """`text` with *** where a secret stood."""
    return next(masked_each([text]))


def masked_each(texts: Iterable[str]) -> Iterator[str]:
    """Each of `texts` as `masked` gives it; the environment is searched for secrets once."""
    pattern = _pattern(_secrets())
    for text in texts:
        yield _masked(text, pattern)


def _masked(text: str, pattern: re.Pattern[str] | None) -> str:
    if pattern:
        text = pattern.sub(MASK, text)
    text = _USER.sub(lambda found: f"{found[1] or found[2] or found[3]}{MASK}@", text)
    return _QUERY.sub(rf"\g<1>{MASK}", text)


def masked_start(text: str, limit: int) -> str:
    """The first `limit` characters of `masked(text)`, with "..." as the last where more follows.

    Whatever the length of `text`, little more than `limit` of it is looked at. No part of a secret is shown that
    extends beyond the part looked at.
    """
    longest = max(map(len, _secrets()), default=0)
    if len(text) <= limit + longest:
        start, end = masked(text), None
    else:
        # An @ where it is cut: what may be the start of a URL's password is one.
        start = masked(f"{text[: limit + longest]}@")
        end = len(start) - longest - 1  # behind it, a secret may have begun
    shown = start[:end]
    return shown if end is None and len(shown) <= limit else f"{shown[: limit - 3]}..."


def holds_a_secret(text: str) -> bool:
    """Whether a URL in `text` carries one."""
    return bool(_USER.search(text) or _QUERY.search(text))


def keys_with_a_secret(values: Any, key: str = "") -> Iterator[str]:
    """The dotted keys of nested `values` that hold a URL with a secret."""
    if isinstance(values, dict):
        for name, value in values.items():
            yield from keys_with_a_secret(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, list | tuple):
        for position, value in enumerate(values):
            yield from keys_with_a_secret(value, f"{key}[{position}]")
    elif isinstance(values, str) and holds_a_secret(values):
        yield key


def _secrets() -> tuple[str, ...]:
    found = {value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    # Of "user:password" the second part may be shown alone.
    found |= {value.partition(":")[2] for value in found if "://" not in value}
    # A private key has several lines, and what is shown comes a line at a time.
    found |= {line.strip() for value in found for line in value.splitlines()}
    return tuple(sorted((value for value in found if len(value) >= MIN_LENGTH), key=len, reverse=True))


@functools.lru_cache(maxsize=4)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, secrets))) if secrets else None
