"""The encoding of texts as tokens, and of labels as numbers. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import TaskEncoding

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def encode(
    rows: Mapping[str, Sequence[Any]],
    *,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    max_tokens: int,
    stride: int | None = None,
) -> dict[str, list[Any]]:
    """Columns `text` and `label` -> `input_ids` (`max_tokens` at most), `label` (a number; of None NO_LABEL),
    `full_length`.

    `full_length` is the number of tokens, special ones included, before cutting. With a `stride` nothing is cut: each
    window of a text is a row, with its label and `row_id`, and shares so many tokens with the one before; the
    `full_length` of all but the first is 0. Where there is a column `text_pair`, both texts are encoded together, the
    longer one is cut first, and there is `boundary`: how many tokens have type 0. Raises ValueError, with the row's id
    where `rows` has a column `row_id`, for a label that is not one of `labels`; and for pairs with a `stride`.
    """
    numbers: dict[str | None, int] = {None: NO_LABEL} | {label: number for number, label in enumerate(labels)}
    unknown = [at for at, label in enumerate(rows["label"]) if label not in numbers]
    if unknown:
        where = f"row {rows['row_id'][unknown[0]]}" if "row_id" in rows else f"row number {unknown[0]}"
        raise ValueError(
            f"{where} has the label '{rows['label'][unknown[0]]}', which no training row has. "
            f"Allowed: {', '.join(labels)}. Give it training rows, or take it out."
        )
    if "text_pair" in rows:
        if stride is not None:
            raise ValueError(
                "params.yaml: tokenize.long_texts is 'windows', and ingest.columns.text_pair gives pairs of texts. "
                "Allowed for pairs: truncate, which cuts the longer text first."
            )
        pairs = list(zip(rows["text"], rows["text_pair"], strict=True))
        made, at = _pair_tokens(pairs, tokenizer, max_tokens), list(range(len(pairs)))
    else:
        input_ids, full_lengths, at = _tokens(list(rows["text"]), tokenizer, max_tokens, stride)
        made = {"input_ids": input_ids, "full_length": full_lengths}
    ids = {"row_id": [rows["row_id"][row] for row in at]} if "row_id" in rows else {}
    return {**ids, **made, "label": [numbers[rows["label"][row]] for row in at]}


def _tokens(
    texts: list[str], tokenizer: PreTrainedTokenizerFast, max_tokens: int, stride: int | None
) -> tuple[list[list[int]], list[int], list[int]]:
    """The first piece of each text, or all with a `stride`; their full length; and the text that each is of.

    The length is that of a text's pieces put together, given with its first. The tokenizer's own engine gives ids
    without offsets, of which transformers' call would make lists for nothing.
    """
    engine = tokenizer.backend_tokenizer
    engine.no_padding()
    engine.enable_truncation(max_tokens, stride=stride or 0)  # at the end, as runners cut
    repeated = tokenizer.num_special_tokens_to_add() + (stride or 0)
    input_ids, full_lengths, at = [], [], []
    for number, encoding in enumerate(engine.encode_batch_fast(texts)):
        ids = encoding.ids
        more = encoding.overflowing if len(ids) == max_tokens else []
        windows = more if stride is not None else []
        input_ids += [ids, *(window.ids for window in windows)]
        full_lengths += [len(ids) + sum(len(piece) - repeated for piece in more), *[0] * len(windows)]
        at += [number] * (1 + len(windows))
    return input_ids, full_lengths, at


def _pair_tokens(
    pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, max_tokens: int
) -> dict[str, list[Any]]:
    """`input_ids`, `full_length` and `boundary` of each pair. Raises ValueError where types are not first 0, then 1."""
    engine = tokenizer.backend_tokenizer
    engine.no_padding()
    engine.no_truncation()
    encodings = engine.encode_batch_fast(pairs)
    full_lengths = [len(encoding.ids) for encoding in encodings]
    long = [at for at, length in enumerate(full_lengths) if length > max_tokens]
    engine.enable_truncation(max_tokens)
    for at, encoding in zip(long, engine.encode_batch_fast([pairs[at] for at in long]), strict=True):
        encodings[at] = encoding
    boundaries = [encoding.type_ids.count(0) for encoding in encodings]
    for encoding, boundary in zip(encodings, boundaries, strict=True):
        if any(encoding.type_ids[:boundary]) or not set(encoding.type_ids[boundary:]) <= {1}:
            raise ValueError(
                "params.yaml: model.name: its tokenizer gives the tokens of a pair the types"
                f" {sorted(set(encoding.type_ids))} in an order of its own. Allowed with ingest.columns.text_pair:"
                " tokenizers that give 0 to the first text and then 1 to the second, or 0 to all, as those of bert,"
                " roberta and distilbert."
            )
    return {"input_ids": [encoding.ids for encoding in encodings], "full_length": full_lengths, "boundary": boundaries}


ENCODING = TaskEncoding(encode=encode)
