"""The rule for HTML: it becomes the text that a reader would see; text that only looks like HTML stays."""

from __future__ import annotations

import html
import html.entities
import re

from stages.core.unseen import HIDDEN_CHARACTER, MAY_STAY

# Elements that end a line of text leave a space behind, the others nothing.
_BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|col|colgroup|dd|details|dialog|div|dl|dt|fieldset|"
    "figcaption|figure|footer|form|frame|frameset|h1|h2|h3|h4|h5|h6|head|header|hgroup|hr|html|legend|li|link|"
    "main|menu|meta|nav|noscript|ol|optgroup|option|p|pre|search|section|select|summary|table|tbody|td|template|"
    "textarea|tfoot|th|thead|title|tr|ul"
)
_INLINES = (
    "a|abbr|acronym|area|audio|b|base|bdi|bdo|big|button|canvas|cite|code|data|datalist|del|dfn|em|embed|font|i|"
    "iframe|img|input|ins|kbd|label|map|mark|meter|object|output|param|picture|progress|q|rp|rt|ruby|s|samp|"
    "script|slot|small|source|span|strike|strong|style|sub|sup|svg|time|track|tt|u|var|video|wbr"
)
BLOCKS, INLINES = frozenset(_BLOCKS.split("|")), frozenset(_INLINES.split("|"))
# Elements that are often left open, or have no end: a tag of theirs alone is markup. One of another element may be a
# placeholder (`cp <source> <output>`) or a type (`List<a>`), unless its end follows, or it has an attribute of HTML's.
LEFT_OPEN = frozenset(
    ["br", "hr", "wbr", "p", "li", "dt", "dd", "td", "th", "tr", "tbody", "thead", "tfoot", "body", "html", "head"]
)
BARE_ATTRIBUTES = (  # that stand without a value
    "allowfullscreen|async|autofocus|autoplay|checked|compact|controls|default|defer|disabled|download|hidden|inert|ismap"
    "|itemscope|loop|multiple|muted|nohref|noshade|novalidate|nowrap|open|readonly|required|reversed|selected"
)
_VALUED = r"""[a-z_:@][\w:.-]*\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+)"""
_ELEMENT = f"{_BLOCKS}|{_INLINES}"
_TAG = re.compile(
    rf"(?i)<(?:(?P<end>/)(?P<ended>{_ELEMENT})\s*"
    rf"|(?P<begun>{_ELEMENT})(?P<attributes>(?:\s+(?:{_VALUED}|(?:{BARE_ATTRIBUTES})(?![\w=-])))*)\s*/?)>"
)
ESCAPES = 4  # tags that were escaped so often are seen as tags
_REMARK = re.compile("<!--"), re.compile("-->")
_SCRIPT = re.compile(r"(?i)<script\b[^<>]*>"), re.compile(r"(?i)</script\s*>")
_STYLE = re.compile(r"(?i)<style\b[^<>]*>"), re.compile(r"(?i)</style\s*>")
# An entity, however often its `&` was escaped; and those whose `&` was lost on the way, as in `it#39;s`.
_ENTITY = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)*(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ESCAPED_AMPERSANDS = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+(?=[#A-Za-z])", re.IGNORECASE)
_BARE = re.compile(r"(?<![&#])#(?:3[4689]|8(?:2(?:1[1267]|2[016]|30)));|(?<![\w&#;])(?:quot|apos|nbsp|amp);")


def html_markup(text: str) -> str:
    """Comments, scripts and the tags of HTML's elements go, entities become characters; `a < b` and `List<a>` stay."""
    for _ in range(ESCAPES):
        before = text
        if "<" in text:
            for opening, closing in (_REMARK, _SCRIPT, _STYLE):
                text = _without(text, opening, closing)
            text = _untagged(text)
        if "&" in text:
            text = _ENTITY.sub(_character, text)
        if ";" in text:
            text = _BARE.sub(lambda bare: html.unescape(f"&{bare[0]}"), text)
        if text == before:
            break
    return text


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """The text with a space in place of each part from an opening to the next closing."""
    parts, at = [], 0
    while (begin := opening.search(text, at)) and (end := closing.search(text, begin.end())):
        parts += [text[at : begin.start()], " "]
        at = end.end()
    return "".join([*parts, text[at:]]) if parts else text


def _untagged(text: str) -> str:
    last_end = {end["ended"].lower(): end.start() for end in _TAG.finditer(text) if end["end"]}

    def left(tag: re.Match[str]) -> str:
        name = (tag["ended"] or tag["begun"]).lower()
        is_markup = tag["end"] or name in LEFT_OPEN or tag["attributes"] or last_end.get(name, -1) > tag.start()
        if not is_markup:
            return tag[0]
        return " " if name in BLOCKS else ""

    return _TAG.sub(left, text)


def _character(entity: re.Match[str]) -> str:
    """The character of an entity; empty for a hidden one. `invisible_characters` judges those that may be visible."""
    single = _ESCAPED_AMPERSANDS.sub("&", entity[0])
    if single[1] != "#" and single[1:] not in html.entities.html5:
        return single  # html.unescape would take `&region;` for `&reg;ion;`
    character = html.unescape(single)
    return character if MAY_STAY.match(character) else HIDDEN_CHARACTER.sub("", character)
