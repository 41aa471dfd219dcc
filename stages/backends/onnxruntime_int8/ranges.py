"""The ranges of activations, learned from calibration rows.

A few outliers widen a range so much that all other values lose digits; clipping too many loses their information. The
share to clip is measured: it is the one whose int8 model puts out what is most like the exact outputs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

log = logging.getLogger("winnow")
CUT_SHARES = (0.0, 1e-5, 3e-5, 1e-4, 2e-4, 3e-4, 1e-3)  # of an input's values, at each end
BINS = 1 << 16

Ranges = dict[str, tuple[float, float]]
Row = Mapping[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]
"""distance(exact, other): of logits (N, K)."""


def learn(
    tapped: onnx.ModelProto, build: Callable[[Ranges], onnx.ModelProto], rows: Sequence[Row], distance: Distance
) -> Ranges:
    """The ranges of the outputs of `tapped` except `logits`, over `rows`, each of them a row's inputs (1, T) by name.

    `build(ranges)` gives the int8 model whose outputs are compared by `distance`. Everything runs in one thread,
    so that the ranges do not depend on the number of threads.
    """
    session = _open(tapped)
    names = [output.name for output in session.get_outputs() if output.name != "logits"]
    histograms = _histograms(session, names, rows)
    exact_NK = _logits(session, rows)
    found: dict[float, tuple[float, Ranges]] = {}
    for share in CUT_SHARES:
        ranges = {name: histogram.without(share) for name, histogram in histograms.items()}
        found[share] = distance(exact_NK, _logits(_open(build(ranges)), rows)), ranges
    best = min(found, key=lambda share: found[share][0])
    log.info(
        "quantize: ranges of activations from %d rows, %g of the values cut at each end: int8's outputs diverge by %.5f"
        " from float32's (0: the same; with nothing cut %.5f)",
        len(rows), best, found[best][0], found[0.0][0],
    )  # fmt: skip
    return found[best][1]


@dataclass(frozen=True)
class Histogram:
    """Histogram of one activation's values between the least and the largest."""

    low: float
    high: float
    counts: np.ndarray

    def without(self, share: float) -> tuple[float, float]:
        """The ends of the range when `share` of the values is cut at each end."""
        below = np.cumsum(self.counts) / self.counts.sum()
        width = (self.high - self.low) / (BINS - 1)
        first, last = np.searchsorted(below, share), np.searchsorted(below, 1 - share)
        return self.low + float(first) * width, self.low + float(last) * width


def _histograms(
    session: onnxruntime.InferenceSession, names: Sequence[str], rows: Sequence[Row]
) -> Mapping[str, Histogram]:
    low, high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for values in _runs(session, names, rows):
        for name, value in zip(names, values, strict=True):
            low[name], high[name] = min(low[name], float(value.min())), max(high[name], float(value.max()))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in names}
    for values in _runs(session, names, rows):
        for name, value in zip(names, values, strict=True):
            bins_per_unit = (BINS - 1) / max(high[name] - low[name], 1e-12)
            bins = ((value.ravel() - low[name]) * bins_per_unit).astype(np.int64)
            counts[name] += np.bincount(bins, minlength=BINS)
    return {name: Histogram(low[name], high[name], counts[name]) for name in names}


def _logits(session: onnxruntime.InferenceSession, rows: Sequence[Row]) -> np.ndarray:
    """(N, K): of each row, or of each token of each row."""
    return np.concatenate([logits.reshape(-1, logits.shape[-1]) for (logits,) in _runs(session, ["logits"], rows)])


def _runs(
    session: onnxruntime.InferenceSession, names: Sequence[str], rows: Sequence[Row]
) -> Iterator[list[np.ndarray]]:
    taken = {one.name for one in session.get_inputs()}
    for row in rows:
        yield session.run(names, {name: array for name, array in row.items() if name in taken})


def _open(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
