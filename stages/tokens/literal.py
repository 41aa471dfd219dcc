"""Tokenizers that read a text as text alone: a `</s>` that somebody wrote is four characters, and ends nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

BYTE = "<0x[0-9A-F]{2}>"  # the name of a piece for a byte of a character that the vocabulary does not have


def literal(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of the tokenizer for which no part of a text is a special token, or the name of a byte.

    `encode_special_tokens` alone is not enough: a Unigram model, and others that take a whole word where they know it,
    find the names of special tokens among their own pieces. So these names are parted behind their first character
    before the model sees them. All other texts give the tokens that they gave. The attribute is not kept in
    tokenizer.json, so whoever opens the file calls this again; a second call changes nothing.
    """
    described = json.loads(tokenizer.to_str())
    found = Tokenizer.from_str(json.dumps(described))
    found.encode_special_tokens = True
    before = described["pre_tokenizer"]
    if names := [name for name in _misread(found, described) if _place(name) not in json.dumps(before)]:
        found = Tokenizer.from_str(json.dumps({**described, "pre_tokenizer": parting(before, names)}))
        found.encode_special_tokens = True
    return found


def ids_of(file: Path, most: int, clean: Callable[[str], str], texts: Sequence[str]) -> list[list[int]]:
    """The numbers of each text's tokens, `most` at most, by the tokenizer.json `file` as `literal` reads.

    Texts are cleaned; one of which nothing is left is read as it is.
    """
    tokenizer = literal(Tokenizer.from_file(str(file)))
    tokenizer.enable_truncation(most)
    return [encoding.ids for encoding in tokenizer.encode_batch([clean(text) or text for text in texts])]


def parting(before: Mapping[str, Any] | None, names: list[str]) -> dict[str, Any]:
    """The pre-tokenizer (of tokenizer.json) `before`, and behind it one that parts the names after one character.

    BYTE among `names` stands for those of all bytes.
    """
    part = {
        "type": "Split",
        "pattern": {"Regex": "|".join(map(_pattern, names))},
        "behavior": "Isolated",
        "invert": False,
    }
    if before is None:
        return part
    steps = before["pretokenizers"] if before["type"] == "Sequence" else [before]
    return {"type": "Sequence", "pretokenizers": [*steps, part]}


def _pattern(name: str) -> str:
    """A regular expression for the name's first character where the others follow."""
    return f"<(?={BYTE[1:]})" if name == BYTE else f"{re.escape(name[0])}(?={re.escape(name[1:])})"


def _place(name: str) -> str:
    """The pattern as it stands in JSON."""
    return json.dumps(_pattern(name))[1:-1]


def _misread(tokenizer: Tokenizer, described: Mapping[str, Any]) -> list[str]:
    """The names that the tokenizer finds in texts; BYTE for those of all bytes."""
    special = {token["content"]: token["id"] for token in described["added_tokens"] if token["special"]}
    vocabulary = described["model"].get("vocab") or {}
    if not isinstance(vocabulary, dict):  # of Unigram, whose unknown piece no text may name either
        unknown = described["model"].get("unk_id")
        special |= {} if unknown is None else {vocabulary[unknown][0]: unknown}
        special |= {name: number for number, (name, _) in enumerate(vocabulary) if re.fullmatch(BYTE, name)}
    found = [name for name, number in special.items() if len(name) > 1 and _reads(tokenizer, name, number)]
    plain = [name for name in found if not re.fullmatch(BYTE, name)]
    return plain if len(plain) == len(found) else [BYTE, *plain]


def _reads(tokenizer: Tokenizer, name: str, number: int) -> bool:
    """Whether a text that holds the name gives its token."""
    texts = (name, f"a{name}b", f"a {name} b")
    return any(number in tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
