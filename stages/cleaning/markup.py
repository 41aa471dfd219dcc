"""Rules for markup: HTML and Markdown become the text that a reader would see."""

from __future__ import annotations

import html
import re

import daft
from daft.functions import regexp_replace
from markdown_it import MarkdownIt
from markdown_it.token import Token

from stages.cleaning.batches import where
from stages.cleaning.characters import INVISIBLE_CHARACTER

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
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _tags(names: str) -> str:
    """A pattern for the tags of these elements and of no other: `<type>` and `<object at 0x7f>` are code."""
    return rf"(?i)<(?:{names})(?:{_ATTRIBUTE})*\s*/?>|</(?:{names})\s*>"


def _unescape(entity: re.Match[str]) -> str:
    return INVISIBLE_CHARACTER.sub("", html.unescape(entity[0]))


_entities = where("&", lambda text: _ENTITY.sub(_unescape, text))


def html_markup(text: daft.Expression) -> daft.Expression:
    """Comments, scripts and the tags of HTML's elements go, entities become characters; `a < b` stays."""
    text = regexp_replace(text, _REMARK, " ")
    text = regexp_replace(text, _tags(BLOCKS), " ")
    text = regexp_replace(text, _tags(INLINES), "")
    return _entities(text)


def _seen(tokens: list[Token]) -> str:
    """What a reader sees of a block's inline parts."""
    breaks = {"softbreak": "\n", "hardbreak": "\n"}
    return "".join(
        _seen(token.children or []) if token.type == "image" else breaks.get(token.type, token.content)
        for token in tokens
    )


def _plain(text: str) -> str:
    blocks = _MARKDOWN.parse(text)
    parts = [_seen(block.children) if block.children else block.content for block in blocks]
    return "\n".join(part.strip("\n") for part in parts if part)


# What may be Markdown; `_` only at a word's edge, so that snake_case words are not parsed in vain.
_markdown = where(r"[*`\[\]#>~|\\]|(?:^|\W)_|_(?:\W|$)|(?m:^\s*(?:[-+=]|\d+[.)]|    ))", _plain)


def markdown_markup(text: daft.Expression) -> daft.Expression:
    """Emphasis, headings, lists, tables, code marks and links of Markdown become the text that a reader sees."""
    return _markdown(text)
