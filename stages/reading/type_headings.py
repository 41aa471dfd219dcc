"""The types that the heading of a numpydoc parameter names, as a set of labels.

    int or None, default=5                              int, None
    {'auto', 'full'} or callable, optional              callable, options
    array-like of shape (n,) or (n, m), default=None    None, array_like
    list of str                                         list: what a parameter is, not what it holds

A set that lacks a type would be a wrong target, so a heading with a part that is not known has no set at all.
"""

from __future__ import annotations

import re

from stages.reading.numpydoc import OPTIONAL

NONE, OPTIONS, TUPLE = "None", "options", "tuple"
_LIKE = r"[ _-]?like"
_OF = r"(?:(?:np|numpy|pd|pandas|matplotlib)[. ])?"
_INSTANCE = r"(?: (?:object|instance))?"
LABELS = {
    NONE: r"none",
    "array_like": rf"(?:array|vector|matrix){_LIKE}",
    "bool": rf"{_OF}bool_?|boolean|true|false",
    "callable": r"callable(?: object)?|func|function|callback",
    "dict": rf"(?:dict|dictionary)(?:{_LIKE})?|mapping",
    "float": rf"{_OF}float(?:32|64)?|floating|double|[-+]?(?:np\.)?inf",
    "int": rf"{_OF}u?int(?:8|16|32|64)?|integer",
    "list": r"list",
    "ndarray": rf"{_OF}(?:nd)?array",
    "number": rf"scalar(?:{_LIKE})?|number|numeric|complex|real(?: number)?",
    OPTIONS: r"[\"'][^\"']*[\"']|[-+]?\d[\w.+-]*|\.\.\.",
    "pandas": (
        rf"{_OF}(?:data ?frame|series|(?:multi|datetime|range|period|timedelta|interval|categorical)?index)(?: object)?"
    ),
    "sequence": rf"(?:list|sequence|iterable)(?:{_LIKE})|sequence|iterable|iterator|collection|set|frozenset",
    "sparse": r"(?:sparse|csr|csc|coo|bsr|dia|lil|dok)[ _-](?:matrix|array|matrice)|spmatrix|sparray",
    "str": rf"string(?:{_LIKE})?|str|text",
    TUPLE: r"(?:\d-|two-)?tuple|pair",
    "object": (
        rf"object|any|hashable{_INSTANCE}|\w+ (?:object|instance)|estimator{_INSTANCE}|cross-validation generator"
        rf"|{_OF}random[ _.]?(?:state|generator|randomstate){_INSTANCE}|{_OF}generator{_INSTANCE}|{_OF}axes{_INSTANCE}"
        rf"|{_OF}(?:dtype|data[ -]?type)|extensiondtype|type"
        r"|label|name|column|level|key|(?:level|column|index) (?:name|label)|linearoperator|slice"
        rf"|path(?:{_LIKE})?|pathlib\.path|file(?:{_LIKE}(?: object)?| handle|name)?|buffer"
        rf"|{_OF}(?:date|datetime|timestamp|timedelta|period|dateoffset|offset)(?:{_LIKE}|\.\w+)?"
    ),
}  # fmt: skip
"""The labels, each with what stands for it, in lower case and in the singular.

`object` is an instance of any other class, such as an estimator, an open file, a date, a dtype; `options` one of some
values that the heading lists; `pandas` a Series, a DataFrame or an Index; a `number` may be an integer or a float.
"""

_KNOWN = {label: re.compile(pattern) for label, pattern in LABELS.items()}
_DEFAULT = re.compile(r"[,;.]?\s*\(?\b(?:by )?default(?:s|ed)?\b(?: value)?(?: is| to)?[\s:=]*")
_HELD = re.compile(r"(?<=\bof) \{[^{}]*\}|\bdtype ?= ?\{[^{}]*\}")  # list of {int, str}
_BRACES = re.compile(r"\{([^{}]*)\}")
_GROUP = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_BARE_GROUP = re.compile(r"(^|,|\bor\b)\s*\([^()]*,[^()]*\)\s*(?=$|,|\bor\b)")  # float or (float, float)
_BETWEEN = re.compile(r"\s*(,|;|/|\||\bor\b)\s*")
_GROUP_BEHIND_OR = re.compile(r"\bor\s*[\[(]([^\[\]()]*)[\])]")  # int or [int, int]; or (n,), which is a shape
_ARRAYS, _OF_ARRAYS = {"array_like", "ndarray"}, {"bool", "float", "int", "number", "str"}
_BEFORE = re.compile(
    r"^(?:(?:an?|the|either|single|strictly|positive|negative|non-?negative|non-?zero|real|complex|real-valued|dense"
    r"|square|structured|symmetric|(?:c-)?contiguous|boolean|bool|integer|int|float|str|string|numeric|\w-?d"
    r"|(?:one|two|\d)-dimensional|\d-element) )+(?=\S)"
)
_AFTER = re.compile(
    r"\s*(?:[<>=]|\b(?:of|with|in|containing|that|which|between|from|to|for|shape|as|length|compatible|castable"
    r"|convertible|broadcastable|coercible|satisfying|implementing)\b).*"
)
_NO_TYPE = re.compile(  # a part that says more of the type before it
    r"(?:dtype ?[=:]|(?:of|shape|ndim|size|optional|required|broadcast\w*|keyword|positional|in)\b).*"
    r"|len(?:gth)?(?![-\w]).*"
    r"|[<>=].*|.?|\w-?d|keyword-only"
)


def types_of(heading: str) -> frozenset[str] | None:
    """The labels of the types that a heading names, among them None where that is the default; None: not all are known.

    Markup must be out of it already, as `numpydoc.entries` has it.
    """
    named, *default = _DEFAULT.split(heading.lower(), maxsplit=1)
    found = {NONE} if default and default[0].startswith("none") else set()
    named = _HELD.sub("", OPTIONAL.sub("", named))
    if "shape" not in named and "array" not in named:
        named = _BARE_GROUP.sub(rf"\1 {TUPLE} ", named)
    if any(_names_a_type(members) for members in _GROUP_BEHIND_OR.findall(named)):
        return None
    parts = [_of_braces(members) for members in _BRACES.findall(named)]
    parts.append(_of_alternatives(_without_groups(_BRACES.sub(",", named))))
    for types in parts:
        if types is None:
            return None
        found |= types
    return frozenset(found) if found - {NONE} else None


def _of_braces(members: str) -> set[str] | None:
    """Of 'a', 'b', None: options and None; of array-like, callable: the types; of bare words (index, columns): options.

    None where some of the members are types and others are not known, or are no single words.
    """
    parts = [part for part in _BETWEEN.split(_without_groups(members))[::2] if part]
    known = [_of_part(part) for part in parts]
    if not any(known):
        return {OPTIONS} if all(" " not in part for part in parts) else None
    return None if None in known else set().union(*(types for types in known if types))


def _of_alternatives(named: str) -> set[str] | None:
    found: set[str] = set()
    before: set[str] = set()
    holds = False  # whether the part before says what it holds: "list of lists, tuples or sets" is a list
    pieces = _BETWEEN.split(named)
    for separator, part in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        bare = part.strip(" .:")
        is_held = holds and _is_plural(bare) and _of_part(bare)
        if _NO_TYPE.fullmatch(bare) or is_held or (separator == "," and bare.startswith("same ")):
            continue
        types = _of_part(bare)
        # The type of an array's members, or another type? "array_like, float"
        if types is None or (separator == "," and before & _ARRAYS and types <= _OF_ARRAYS):
            return None
        found |= types
        before, holds = types, " of " in bare
    return found


def _names_a_type(members: str) -> bool:
    return any((_of_part(part.strip()) or {OPTIONS}) != {OPTIONS} for part in members.split(","))


def _is_plural(part: str) -> bool:
    word = _AFTER.sub("", part)
    return word.endswith("s") and word != "series"


def _of_part(part: str) -> set[str] | None:
    word = _BEFORE.sub("", _AFTER.sub("", part))
    for form in (word, word.removesuffix("s")):
        for label, pattern in _KNOWN.items():
            if pattern.fullmatch(form):
                return {label}
    return None


def _without_groups(text: str) -> str:
    """Without what stands in brackets: "array-like (n, m)", "(n,) array_like", "sequence[str]"."""
    before = None
    while text != before:
        before, text = text, _GROUP.sub(" ", text)
    return " ".join(text.split())
