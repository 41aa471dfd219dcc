"""Rules in Daft: whole batches of texts at once, on this machine or on a cluster."""

from __future__ import annotations

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.cleaning.rules import Cleaning, cutting_cleaner

CLEANED = daft.DataType.struct({"text": daft.DataType.string(), "was_cut": daft.DataType.bool()})
# Patterns (RE2) of texts that a rule may change: Arrow finds them several times faster than Python passes a text by.
# Other rules may change any text.
MAY_CHANGE = {
    "unicode_nfc": r"[^\x00-\x7f]",
    "unicode_nfkc": r"[^\x00-\x7f]",
    "invisible_characters": r"[^\t-\r -~]",
    "html_markup": r"[<&;]",
    "white_space": r"[^ -~]|  |^ | $",
    "lower_case": r"[A-Z]|[^\x00-\x7f]",
    "mask_urls": r"://|[wW]\.",
    "mask_emails": "@",
    "mask_phone_numbers": r"[0-9]|[^\x00-\x7f]",
    "mask_numbers": r"[0-9]|[^\x00-\x7f]",
    "no_digits": r"[0-9]|[^\x00-\x7f]",
    "no_punctuation": r"[^A-Za-z0-9 ]",
}


def cleaned(text: daft.Expression, cleaning: Cleaning) -> daft.Expression:
    """A struct for each text: the clean `text`, null where there is none, and whether it `was_cut`."""
    clean = cutting_cleaner(cleaning)
    patterns = [MAY_CHANGE.get(name, "") for name in cleaning.rules]
    pattern = "|".join(dict.fromkeys(patterns)) if all(patterns) else ""

    @daft.func.batch(return_dtype=CLEANED, use_process=False)
    def batch(texts: daft.Series) -> pa.Array:
        array = texts.to_arrow()
        asked = pc.greater(pc.utf8_length(array), cleaning.max_chars)
        if patterns:
            asked = pc.or_(asked, pc.match_substring_regex(array, pattern))
        asked = pc.fill_null(asked, False)
        were_cut = np.zeros(len(array), dtype=bool)
        if pc.any(asked).as_py():
            results = [clean(text) for text in array.filter(asked).to_pylist()]
            were_cut[asked.to_numpy(zero_copy_only=False)] = [was_cut for _, was_cut in results]
            array = pc.replace_with_mask(array, asked, pa.array([text for text, _ in results], pa.large_string()))
        return pa.StructArray.from_arrays([array, pa.array(were_cut)], ["text", "was_cut"])

    return batch(text)


def not_ascii(array: pa.Array) -> pa.BooleanArray:
    """Whether each text has a character beyond ASCII; null without a text. About ten times faster than a pattern."""
    return pc.invert(pc.string_is_ascii(array))
