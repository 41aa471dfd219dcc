"""Values for a corpus that is not the released one: it may differ from that as it likes."""

from __future__ import annotations

from typing import Any

OTHER_DATA: dict[str, Any] = {
    "validate.max_label_drift": None,
    "validate.max_length_drift": None,
    "validate.max_word_drift": None,
    "validate.max_rows_lost": None,
}
