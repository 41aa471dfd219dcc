"""The guard of int8's quality: where it loses too much, the most sensitive matrices stay in float32."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.divergence import divergence
from stages.core.contracts import Quantizable, QuantizationRows, Runner
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")
SENSITIVITY_ROWS = 1000  # at most so many validation rows for each matrix
DIGITS = 6


def guarded(
    model: Quantizable,
    folder: Path,
    *,
    backend: str,
    open_runner: Callable[[Path, int], Runner],
    params: QuantizeParams,
    rows: QuantizationRows,
) -> dict[str, Any]:
    """Write `model` to `folder`, which holds what else `open_runner` needs, in int8 as far as `max_loss` allows.

    Sensitivity is how much nearer the answers come to the exact ones when that matrix alone stays in float32. The
    most sensitive is put back first, then the next, until no more than `max_loss` of macro-F1 is lost. Returns the
    figures and the names: what goes to metrics/quantization.json.
    """

    def answers(kept: Collection[str], texts: slice = slice(None)) -> np.ndarray:
        model.write(folder, kept)
        return open_runner(folder, 1).predict(rows.validation[texts])  # sums do not depend on the number of threads

    exact = rows.score(rows.exact_NC)
    kept: list[str] = []
    found_NC = answers(kept)
    lost_by_all = exact - rows.score(found_NC)
    sensitivity: dict[str, float] = {}
    if lost_by_all > params.max_loss:
        some = slice(SENSITIVITY_ROWS)
        whole = divergence(rows.exact_NC[some], found_NC[some])
        for name in model.matrices:
            sensitivity[name] = round(whole - divergence(rows.exact_NC[some], answers([name], some)), DIGITS)
        for name in sorted(sensitivity, key=lambda name: -sensitivity[name]):
            kept.append(name)
            found_NC = answers(kept)
            if exact - rows.score(found_NC) <= params.max_loss:
                break
        if (lost := exact - rows.score(found_NC)) > params.max_loss:
            raise ValueError(
                f"quantize: {backend} loses {lost:.4f} macro-F1 even with all matrices in float32;"
                f" quantize.max_loss is {params.max_loss:g}. Take another backend, or allow more."
            )
        log.info(
            "quantize: int8 lost %.4f macro-F1, more than quantize.max_loss (%g). In float32 stay %s: it loses %.4f",
            lost_by_all, params.max_loss, ", ".join(kept), lost,
        )  # fmt: skip
    return {
        "backend": backend,
        "activations": model.activations,
        **({} if model.most_threads is None else {"most_threads": model.most_threads}),
        "matrices": len(model.matrices),
        "kept": kept,
        "sensitivity": sensitivity,
        "float32_macro_f1": round(exact, DIGITS),
        "macro_f1": round(rows.score(found_NC), DIGITS),
        "lost": round(exact - rows.score(found_NC), DIGITS),
        "lost_without_guard": round(lost_by_all, DIGITS),
        "max_loss": params.max_loss,
        "agreement": round(float((found_NC.argmax(1) == rows.exact_NC.argmax(1)).mean()), DIGITS),
        "divergence": round(divergence(rows.exact_NC, found_NC), DIGITS),
    }
