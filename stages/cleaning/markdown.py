"""The rule for Markdown: it becomes the text that a reader would see."""

from __future__ import annotations

import regex
from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST = 50_000  # characters of a text that is parsed, which may take time by the square
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
# Signs of possible Markdown; `_` only at a word's edge, so that snake_case words are not parsed in vain.
_MAYBE = regex.compile(r"[*`\[\]#>~|\\]|(?:^|\W)_|_(?:\W|$)|(?m:^[^\S\n]*(?:[-+=]|\d+[.)]|    ))")


def markdown_markup(text: str) -> str:
    """Emphasis, headings, lists, tables, code marks and links of Markdown become the text that a reader sees."""
    if len(text) > LONGEST or not _MAYBE.search(text):
        return text
    blocks = _MARKDOWN.parse(text)
    parts = [_seen(block.children) if block.children else block.content for block in blocks]
    return "\n".join(part.strip("\n") for part in parts if part)


def _seen(tokens: list[Token]) -> str:
    """The visible text of a block's inline parts."""
    breaks = {"softbreak": "\n", "hardbreak": "\n"}
    return "".join(
        _seen(token.children or []) if token.type == "image" else breaks.get(token.type, token.content)
        for token in tokens
    )
