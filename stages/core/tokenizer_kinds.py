"""What kinds of tokenizers can be trained on a corpus, or be given marks for capitals. It needs no library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ONE, SEVERAL = "⁁", "⁂"  # a caret, an asterism: rare, and punctuation, which is a token of its own in BERT's splitting


HIDING = ("[MASK]", "<mask>", "[UNK]")  # the first that a tokenizer has stands for a hidden token


def untrainable(model: Mapping[str, Any]) -> str | None:
    """Why no tokenizer of this kind (the `model` of tokenizer.json) can be trained; None where one can."""
    kind, affixes = model.get("type"), model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    if kind in ("WordPiece", "Unigram") or (kind == "BPE" and not affixes):
        return None
    named = f"{kind} with marks within words" if kind == "BPE" else kind
    return (
        f"params.yaml: tokenize.tokenizer is trained, and the model's own is of the kind {named}. Allowed for it:"
        " pretrained. It would come out otherwise each time; WordPiece, byte-level BPE and Unigram do not."
    )


def unmarkable(tokenizer: Mapping[str, Any]) -> str | None:
    """Why the tokenizer (tokenizer.json) cannot have marks before capitals; None where it can.

    It ignores capitals as BERT's do, and has two unused places.
    """
    normalizer, vocabulary = tokenizer.get("normalizer") or {}, (tokenizer.get("model") or {}).get("vocab") or {}
    if normalizer.get("type") != "BertNormalizer" or not normalizer.get("lowercase"):
        reason = "its tokenizer does not put words in lower case as BERT's uncased ones do, so that capitals reach it"
    elif len(unused_places(vocabulary)) < 2 or {ONE, SEVERAL} & set(vocabulary):
        reason = f"its vocabulary has no two unused places for the marks {ONE} and {SEVERAL}"
    else:
        return None
    return f"params.yaml: tokenize.capitals is 'marked', and {reason}. Allowed for this model: pretrained."


def tokens_of(tokenizer: Mapping[str, Any]) -> set[str]:
    """All tokens of a tokenizer (tokenizer.json)."""
    vocabulary = (tokenizer.get("model") or {}).get("vocab") or ()
    pieces = vocabulary if isinstance(vocabulary, Mapping) else (piece for piece, _ in vocabulary)  # Unigram's
    return {*pieces, *(token["content"] for token in tokenizer.get("added_tokens") or ())}


def unused_places(vocabulary: Iterable[Any]) -> list[str]:
    """BERT's vocabularies leave some places for tokens that a user needs."""
    return [token for token in vocabulary if isinstance(token, str) and token.startswith("[unused")]


def nothing_to_hide_behind(copies: int) -> str:
    """Why rows cannot be copied with tokens hidden."""
    return (
        f"params.yaml: cache_logits.augmented_copies is {copies}. Allowed: 0, as the tokenizer of this model has no"
        f" token to hide others behind ({', '.join(HIDING)})."
    )
