"""What may be done to a text: each rule turns a Daft string expression into a Daft string expression.

The rules run inside Daft: in Rust where it has a function for them, in batches of Python where it has none.
They are the same in one process and on a cluster.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence

import daft
import pyarrow as pa
from daft import lit
from daft.functions import length, lower, regexp_replace, strip, substr, when

LONGEST_WORD = 64  # a cut goes back to the last word's start, unless the word is longer than this

# Zero-width and bidirectional marks, the soft hyphen, the byte order mark, annotation marks, tags.
INVISIBLE = (
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # inside texts
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"  # around them
)
_INVISIBLE_OR_CONTROL = rf"[{INVISIBLE}]|[\p{{Cc}}&&[^\s]]"

# Elements that end a line of text leave a space behind, the others nothing.
BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|col|colgroup|dd|details|dialog|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|html|legend|li|link|"
    "main|menu|meta|nav|noscript|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|td|template|"
    "textarea|tfoot|th|thead|title|tr|ul"
)
INLINES = (
    "a|abbr|acronym|area|audio|b|base|bdi|bdo|big|button|canvas|cite|code|data|datalist|del|dfn|em|embed|font|i|"
    "iframe|img|input|ins|kbd|label|map|mark|meter|object|output|param|picture|progress|q|rp|rt|ruby|s|samp|"
    "script|slot|small|source|span|strike|strong|style|sub|sup|svg|time|track|tt|u|var|video|wbr"
)
_ATTRIBUTE = r"""\s+[a-z_:@][\w:.-]*(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+))?"""
_REMARK = r"(?is)<!--.*?-->|<script\b[^<>]*>.*?</script\s*>|<style\b[^<>]*>.*?</style\s*>"
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE_CHARACTER = re.compile(f"[{INVISIBLE}\0-\b\x0e-\x1f\x7f-\x84\x86-\x9f]")

Rule = Callable[[daft.Expression], daft.Expression]


def _in_batches(change: Callable[[str], str]) -> Rule:
    """A rule out of a Python function, for what Daft has no function for."""

    @daft.func.batch(return_dtype=daft.DataType.string(), use_process=False)
    def changed(texts: daft.Series) -> pa.Array:
        results = (None if text is None else change(text) for text in texts.to_pylist())
        return pa.array(results, pa.large_string())

    return changed


def _tags(names: str) -> str:
    """A pattern for the tags of these elements and of no other: `<type>` and `<object at 0x7f>` are code."""
    return rf"(?i)<(?:{names})(?:{_ATTRIBUTE})*\s*/?>|</(?:{names})\s*>"


def _unescape(entity: re.Match[str]) -> str:
    return _INVISIBLE_CHARACTER.sub("", html.unescape(entity[0]))


_nfc = _in_batches(lambda text: unicodedata.normalize("NFC", text))
_nfkc = _in_batches(lambda text: unicodedata.normalize("NFKC", text))
_entities = _in_batches(lambda text: _ENTITY.sub(_unescape, text) if "&" in text else text)


def unicode_nfc(text: daft.Expression) -> daft.Expression:
    """Composed Unicode: one way to write an accented letter."""
    return _nfc(text)


def unicode_nfkc(text: daft.Expression) -> daft.Expression:
    """Composed Unicode, and full-width letters, ligatures and the like as plain ones."""
    return _nfkc(text)


def invisible_characters(text: daft.Expression) -> daft.Expression:
    """Control characters that are no white space, zero-width and bidirectional marks and soft hyphens go."""
    return regexp_replace(text, _INVISIBLE_OR_CONTROL, "")


def html_markup(text: daft.Expression) -> daft.Expression:
    """Comments, scripts and the tags of HTML's elements go, entities become characters; `a < b` stays."""
    text = regexp_replace(text, _REMARK, " ")
    text = regexp_replace(text, _tags(BLOCKS), " ")
    text = regexp_replace(text, _tags(INLINES), "")
    return _entities(text)


def white_space(text: daft.Expression) -> daft.Expression:
    """Runs of white space become one space; none is left at the ends."""
    return strip(regexp_replace(text, r"\s+", " "))


def lower_case(text: daft.Expression) -> daft.Expression:
    return lower(text)


RULES: dict[str, Rule] = {
    "unicode_nfc": unicode_nfc,
    "unicode_nfkc": unicode_nfkc,
    "invisible_characters": invisible_characters,
    "html_markup": html_markup,
    "white_space": white_space,
    "lower_case": lower_case,
}


def apply(rules: Sequence[str], text: daft.Expression) -> daft.Expression:
    """The rules of these names, in this order."""
    for name in rules:
        text = RULES[name](text)
    return text


def cut(text: daft.Expression, max_chars: int) -> daft.Expression:
    """At most `max_chars` characters, without half a word at the end."""
    head = regexp_replace(substr(text, 0, max_chars + 1), rf"\s+\S{{0,{LONGEST_WORD}}}$", "")
    return when(length(text) > lit(max_chars), substr(head, 0, max_chars)).otherwise(text)
