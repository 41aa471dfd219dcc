"""The language of a text, by py3langid (its model is in the package; nothing is downloaded)."""

from __future__ import annotations

import importlib
from typing import Any

import daft
import pyarrow as pa

from stages.core.plugins import install_extra


def identifier() -> Any:
    """The identifier of py3langid. Raises ValueError where the package is not installed."""
    try:
        return importlib.import_module("py3langid")
    except ModuleNotFoundError:
        raise ValueError(
            "params.yaml: clean.languages and clean.target_languages need py3langid. Set null, or install it from the"
            f" project's folder: {install_extra('languages')}"
        ) from None


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False)
def language(texts: daft.Series) -> pa.Array:
    """The ISO 639 code of each text's language. A guess, and a poor one below some 50 letters."""
    return language_of(texts.to_arrow())


def language_of(texts: pa.Array) -> pa.LargeStringArray:
    """The same of an array of texts; null where there is no text."""
    classify = identifier().classify
    return pa.array([None if text is None else classify(text)[0] for text in texts.to_pylist()], pa.large_string())
