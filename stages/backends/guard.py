"""The guard of int8's quality: where it loses too much, the most sensitive matrices stay in float32.

all int8 ── loses no more than max_loss ──────────────────────────> done
        └─ loses more: how much does each matrix harm? ── the worst back to float32, one after the other ──> done
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.divergence import divergence
from stages.core.contracts import Quantizable, QuantizationRows, Runner
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")
SENSITIVITY_ROWS = 1000  # validation rows for each matrix, at most
DIGITS = 6


@dataclass(frozen=True)
class Trials:
    """A model that is written to `folder` repeatedly, each time with other matrices in float32."""

    model: Quantizable
    folder: Path
    open_runner: Callable[[Path, int], Runner]
    rows: QuantizationRows

    def answers(self, kept: Collection[str], rows: slice = slice(None)) -> np.ndarray:
        """The answers to validation rows with the matrices `kept` in float32; the model stays written that way."""
        self.model.write(self.folder, kept)
        runner = self.open_runner(self.folder, 1)  # one thread: sums do not depend on the number of threads
        return runner.predict(self.rows.validation[rows])

    def lost(self, found_NC: np.ndarray) -> float:
        """The score of the exact answers minus the score of these."""
        return self.rows.score(self.rows.exact_NC) - self.rows.score(found_NC)


def guarded(
    model: Quantizable,
    folder: Path,
    *,
    backend: str,
    open_runner: Callable[[Path, int], Runner],
    params: QuantizeParams,
    rows: QuantizationRows,
) -> dict[str, Any]:
    """Write `model`, int8 as far as `max_loss` allows, to `folder`, which holds the other files for `open_runner`.

    The most sensitive matrix is put back to float32 first, then the next, until no more than `max_loss` of macro-F1 is
    lost. Returns the figures and the names, for metrics/quantization.json. Raises ValueError where more is lost with
    all matrices in float32.
    """
    trials = Trials(model, folder, open_runner, rows)
    all_int8_NC = found_NC = trials.answers(())
    kept: list[str] = []
    sensitivity: dict[str, float] = {}
    if trials.lost(all_int8_NC) > params.max_loss:
        sensitivity = _sensitivity(trials, all_int8_NC)
        kept, found_NC = _put_back(trials, sensitivity, all_int8_NC, backend, params.max_loss)
        log.info(
            "quantize: int8 lost %.4f macro-F1, more than quantize.max_loss (%g). In float32 stay %s: it loses %.4f",
            trials.lost(all_int8_NC), params.max_loss, ", ".join(kept), trials.lost(found_NC),
        )  # fmt: skip
    return {
        "backend": backend,
        "activations": model.activations,
        **({} if model.most_threads is None else {"most_threads": model.most_threads}),
        "matrices": len(model.matrices),
        "kept": kept,
        "sensitivity": sensitivity,
        "float32_macro_f1": round(rows.score(rows.exact_NC), DIGITS),
        "macro_f1": round(rows.score(found_NC), DIGITS),
        "lost": round(trials.lost(found_NC), DIGITS),
        "lost_without_guard": round(trials.lost(all_int8_NC), DIGITS),
        "max_loss": params.max_loss,
        "agreement": round(rows.agreement(found_NC, rows.exact_NC), DIGITS),
        "divergence": round(divergence(rows.exact_NC, found_NC), DIGITS),
    }


def _sensitivity(trials: Trials, all_int8_NC: np.ndarray) -> dict[str, float]:
    """For each matrix, how much nearer the answers come to the exact ones when it alone stays in float32."""
    some = slice(SENSITIVITY_ROWS)
    exact_NC = trials.rows.exact_NC[some]
    whole = divergence(exact_NC, all_int8_NC[some])
    return {
        name: round(whole - divergence(exact_NC, trials.answers([name], some)), DIGITS)
        for name in trials.model.matrices
    }


def _put_back(
    trials: Trials, sensitivity: Mapping[str, float], found_NC: np.ndarray, backend: str, max_loss: float
) -> tuple[list[str], np.ndarray]:
    """The matrices that stay in float32, the most sensitive first, and the answers of the model with them."""
    kept: list[str] = []
    for name in sorted(sensitivity, key=lambda name: -sensitivity[name]):
        kept.append(name)
        found_NC = trials.answers(kept)
        if trials.lost(found_NC) <= max_loss:
            return kept, found_NC
    raise ValueError(
        f"quantize: {backend} loses {trials.lost(found_NC):.4f} macro-F1 even with all matrices in float32;"
        f" quantize.max_loss is {max_loss:g}. Take another backend, or allow more."
    )
