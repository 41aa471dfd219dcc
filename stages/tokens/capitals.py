"""Marks for capitals, so that a model that was trained on lower-case text can tell `Foo` from `foo`.

Where a run of capitals begins, in a word or within one, a token of its own stands before it: one for a single capital,
another for several. They take two unused places of the vocabulary, so that the model keeps its shape; what they mean it
learns in training. tokenizer.json holds all of it: whoever opens it needs no further code.
Source: inline casing, Bérard et al. 2019, arXiv:1907.06170.
"""

from __future__ import annotations

import json
import string
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from stages.core.tokenizer_kinds import ONE, SEVERAL, unmarkable, unused_places
from stages.tokens.trained import rebuilt


def marked(pretrained: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer with marks before the capitals A to Z, those with accents included.

    Raises ValueError for one that does not ignore capitals as BERT's do, or has no unused places.
    """
    source = json.loads(pretrained.backend_tokenizer.to_str())
    if fault := unmarkable(source):
        raise ValueError(fault)
    vocabulary = source["model"]["vocab"]
    unused = sorted(unused_places(vocabulary), key=lambda one: vocabulary[one])
    for mark, place in zip((ONE, SEVERAL), unused, strict=False):
        vocabulary[mark] = vocabulary.pop(place)
    source["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    source["normalizer"] = _with_marks(source["normalizer"])
    return rebuilt(Tokenizer.from_str(json.dumps(source)), pretrained)


def _with_marks(normalizer: dict[str, Any]) -> dict[str, Any]:
    """The normalizer, with the marks put in before words are put in lower case.

    A pattern replaces a letter by the mark and the letter: one that matched nothing but a place, as tokenizers 0.22
    would have it for all letters at once, leaves the places of all further characters wrong.
    """
    accents = normalizer["strip_accents"]
    cased = {**normalizer, "lowercase": False, "strip_accents": True if accents is None else accents}
    before = rf"(?<![A-Z{ONE}{SEVERAL}])"
    several = [_replaced(f"{before}{letter}(?=[A-Z])", f"{SEVERAL}{letter}") for letter in string.ascii_uppercase]
    one = [_replaced(f"{before}{letter}", f"{ONE}{letter}") for letter in string.ascii_uppercase]
    return {"type": "Sequence", "normalizers": [cased, *several, *one, {"type": "Lowercase"}]}


def _replaced(pattern: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": by}
