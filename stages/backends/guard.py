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

from stages.core.contracts import Outputs, Quantizable, QuantizationRows, Runner
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

    def outputs(self, kept: Collection[str], rows: slice = slice(None)) -> Outputs:
        """The outputs for validation rows with the matrices `kept` in float32; the model stays written that way."""
        self.model.write(self.folder, kept)
        runner = self.open_runner(self.folder, 1)  # one thread: sums do not depend on the number of threads
        return runner.predict(self.rows.validation[rows])

    def lost(self, found: Outputs) -> float:
        """The score of the exact outputs minus the score of these."""
        return self.rows.score(self.rows.exact) - self.rows.score(found)


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

    The most sensitive matrix is put back to float32 first, then the next, until no more than `max_loss` of the measure
    is lost. Returns the figures and the names, for metrics/quantization.json. Raises ValueError where more is lost with
    all matrices in float32.
    """
    trials = Trials(model, folder, open_runner, rows)
    all_int8 = found = trials.outputs(())
    kept: list[str] = []
    sensitivity: dict[str, float] = {}
    if trials.lost(all_int8) > params.max_loss:
        sensitivity = _sensitivity(trials, all_int8)
        kept, found = _put_back(trials, sensitivity, all_int8, backend, params.max_loss)
        log.info(
            "quantize: int8 lost %.4f of %s, more than quantize.max_loss (%g). In float32 stay %s: it loses %.4f",
            trials.lost(all_int8), rows.measure, params.max_loss, ", ".join(kept), trials.lost(found),
        )  # fmt: skip
    return {
        "backend": backend,
        "activations": model.activations,
        **({} if model.most_threads is None else {"most_threads": model.most_threads}),
        "matrices": len(model.matrices),
        "kept": kept,
        "sensitivity": sensitivity,
        "measure": rows.measure,
        "float32": round(rows.score(rows.exact), DIGITS),
        "int8": round(rows.score(found), DIGITS),
        "lost": round(trials.lost(found), DIGITS),
        "lost_without_guard": round(trials.lost(all_int8), DIGITS),
        "max_loss": params.max_loss,
        "agreement": round(rows.agreement(found, rows.exact), DIGITS),
        "divergence": round(rows.divergence(rows.exact, found), DIGITS),
    }


def _sensitivity(trials: Trials, all_int8: Outputs) -> dict[str, float]:
    """For each matrix, how much nearer the outputs come to the exact ones when it alone stays in float32."""
    some, divergence = slice(SENSITIVITY_ROWS), trials.rows.divergence
    numbers = range(len(trials.rows.validation))[some]
    exact = trials.rows.exact.of_rows(numbers)
    whole = divergence(exact, all_int8.of_rows(numbers))
    return {
        name: round(whole - divergence(exact, trials.outputs([name], some)), DIGITS) for name in trials.model.matrices
    }


def _put_back(
    trials: Trials, sensitivity: Mapping[str, float], found: Outputs, backend: str, max_loss: float
) -> tuple[list[str], Outputs]:
    """The matrices that stay in float32, the most sensitive first, and the outputs of the model with them."""
    kept: list[str] = []
    for name in sorted(sensitivity, key=lambda name: -sensitivity[name]):
        kept.append(name)
        found = trials.outputs(kept)
        if trials.lost(found) <= max_loss:
            return kept, found
    raise ValueError(
        f"quantize: {backend} loses {trials.lost(found):.4f} of {trials.rows.measure} even with all matrices in"
        f" float32; quantize.max_loss is {max_loss:g}. Take another backend, or allow more."
    )
